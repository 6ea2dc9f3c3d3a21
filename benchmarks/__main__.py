"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks import (
    brokers,
    builds,
    chart,
    findings,
    flood,
    growth,
    lanes,
    overload,
    place,
    report,
    soak,
    store,
    store_reception,
    store_start,
)
from benchmarks.daemon_log import LogError
from benchmarks.measure import measure
from benchmarks.proc import NeverQuietError
from benchmarks.receivers import ReceiverError, floor
from benchmarks.scenarios import FULL, SCENARIOS, Build, Scenario

# Enough to show that everything works; the figures mean nothing.
QUICK_MESSAGES = 20_000
QUICK_SENDERS = 5_000
# Each has its own options; proofs have a verdict.
COMMANDS = {
    "growth": growth.main,
    "lanes": lanes.main,
    "flood": flood.main,
    "soak": soak.main,
    "overload": overload.main,
    "findings": findings.main,
    "brokers": brokers.main,
    "store": store.main,
    "store-reception": store_reception.main,
    "store-start": store_start.main,
}


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; return the exit status, which depends on figures only for the proofs."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]](arguments[1:])
        return measure_or_load(arguments)
    except (
        builds.CannotBuildError,
        LogError,
        ReceiverError,
        NeverQuietError,
        OSError,
        subprocess.SubprocessError,
    ) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1


def measure_or_load(arguments: list[str]) -> int:
    """Measure the cost of a message, or load earlier results; write them as JSON and as a chart."""
    options = parser().parse_args(arguments)
    content = json.loads(options.load.read_text()) if options.load else run(options)
    if options.quick and not options.scenarios:
        store.quick()
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    if options.chart:
        options.chart.write_text(chart.svg(content))
    if options.rst:
        options.rst.write_text(f"{report.rst(content)}\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    names = "\n".join(f"  {name:<18}{scenario.about}" for name, scenario in SCENARIOS.items())
    options = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures the cost of a message in netconsd, compared with a bare reader of the same load.",
        epilog=f"scenarios (default: all):\n{names}\n\nothers, with their own options: {', '.join(COMMANDS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="see below")
    options.add_argument("--quick", action="store_true", help="a few messages, once, as a test of the benchmarks")
    options.add_argument("--runs", type=int, default=5, help="runs per figure; the median counts [%(default)s]")
    options.add_argument("--messages", type=int, help="messages per run, instead of the scenario's number")
    options.add_argument("--rate", type=int, help="datagrams per second instead of the scenario's; 0: unlimited")
    options.add_argument("--build", choices=("compiled", "plain"), help="measure only this build of netconsd")
    place.add_options(options)
    options.add_argument("--json", type=Path, metavar="FILE", help="write all results to FILE")
    options.add_argument("--chart", type=Path, metavar="FILE", help="draw CPU per message, as SVG")
    options.add_argument("--rst", type=Path, metavar="FILE", help="write the table of docs/tuning, as reStructuredText")
    options.add_argument("--load", type=Path, metavar="FILE", help="load the results of --json instead of measuring")
    return options


def selected(options: argparse.Namespace) -> list[Scenario]:
    """The scenarios that the options select.

    :raises SystemExit: for an unknown scenario.
    """
    scenarios = []
    for name in options.scenarios or SCENARIOS:
        scenario = SCENARIOS.get(name)
        if name == "stored" and not options.scenarios and find_spec("pyarrow") is None:
            print("not measured: stored needs pyarrow")
            continue
        if scenario is None:
            raise SystemExit(f"benchmarks: no scenario {name!r}; the scenarios are {', '.join(SCENARIOS)}")
        if options.quick:
            scenario = replace(
                scenario,
                messages=min(scenario.messages, QUICK_MESSAGES),
                senders=min(scenario.senders, QUICK_SENDERS),
                rates=(FULL,),
            )
        if options.messages is not None:
            scenario = replace(scenario, messages=options.messages)
        if options.rate is not None:
            scenario = replace(scenario, rates=(options.rate,))
        if options.build and options.build not in scenario.builds:
            scenario = replace(scenario, builds=(options.build,))
        scenarios.append(scenario)
    return scenarios


def run(options: argparse.Namespace) -> dict[str, object]:
    """Build, measure, and print; return the results of :func:`benchmarks.report.as_json`."""
    scenarios = selected(options)
    used: set[Build] = {build for scenario in scenarios for build in scenario.builds}
    if options.build:
        used &= {options.build}
    with place.prepared(options, used, place.show) as prepared:
        with floor(prepared.floor, 1, prepared.receiver_cpus) as probe:
            facts = report.machine(probe.rcvbuf or 0, prepared.sender_cpus != prepared.receiver_cpus)
        runs = 1 if options.quick else options.runs
        results = [
            measure(scenario, rate, runs, prepared, place.show) for scenario in scenarios for rate in scenario.rates
        ]
    place.show("")
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(f"\n{report.table(results)}")
    # The targets apply only to the scenarios' own loads.
    if scenarios == [SCENARIOS[scenario.name] for scenario in scenarios]:
        print(f"\n{report.verdicts(results)}")
    return report.as_json(results, facts)


if __name__ == "__main__":
    # As Ctrl-C, so that the processes started here are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
