"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import builds, chart, flood, overload, report, soak
from benchmarks.measure import Place, measure, processors
from benchmarks.proc import NeverQuietError
from benchmarks.receivers import ReceiverError, floor
from benchmarks.scenarios import FULL, SCENARIOS, Build, Scenario

HERE = Path(__file__).parent
# Enough to see that everything works; the figures mean nothing.
QUICK_MESSAGES = 20_000
QUICK_SENDERS = 5_000
# What is proven rather than measured: each has options of its own, and a verdict.
COMMANDS = {"flood": flood.main, "soak": soak.main, "overload": overload.main}


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; return the status for the shell, which depends on the figures of the commands only."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]](arguments[1:])
        return measured(arguments)
    except (builds.CannotBuildError, ReceiverError, NeverQuietError, OSError, subprocess.SubprocessError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1


def measured(arguments: list[str]) -> int:
    """Measure what a message costs; or draw what was measured."""
    options = parser().parse_args(arguments)
    content = json.loads(options.load.read_text()) if options.load else run(options)
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    if options.chart:
        options.chart.write_text(chart.svg(content))
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    names = "\n".join(f"  {name:<18}{scenario.about}" for name, scenario in SCENARIOS.items())
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures what netconsd costs per message, beside a bare reader of the same load.",
        epilog=f"scenarios, all of them by default:\n{names}\n\n"
        f"others, with options of their own and a verdict: {', '.join(COMMANDS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="see below")
    made.add_argument("--quick", action="store_true", help="a few messages, once: to see that it works")
    made.add_argument("--runs", type=int, default=5, help="runs per figure, of which the median counts [%(default)s]")
    made.add_argument("--messages", type=int, help="messages per run, instead of the scenario's own number")
    made.add_argument(
        "--rate", type=int, help="datagrams per second instead of the scenario's own; 0: all there can be"
    )
    made.add_argument("--build", choices=("compiled", "plain"), help="measure only this build of netconsd")
    made.add_argument("--no-pin", action="store_true", help="let sender and receiver run on any processor")
    made.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    made.add_argument("--chart", type=Path, metavar="FILE", help="draw CPU per message, as SVG")
    made.add_argument("--load", type=Path, metavar="FILE", help="measure nothing: take what --json wrote, for --chart")
    return made


def chosen(options: argparse.Namespace) -> list[Scenario]:
    """The scenarios, as the options want them.

    :raises SystemExit: for one that does not exist.
    """
    found = []
    for name in options.scenarios or SCENARIOS:
        scenario = SCENARIOS.get(name)
        if scenario is None:
            raise SystemExit(f"benchmarks: there is no scenario {name!r}; there are {', '.join(SCENARIOS)}")
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
        found.append(scenario)
    return found


def run(options: argparse.Namespace) -> dict[str, object]:
    """Build, measure, and print; return what :func:`benchmarks.report.as_json` does."""
    scenarios = chosen(options)
    wanted: set[Build] = {build for scenario in scenarios for build in scenario.builds}
    if options.build:
        wanted &= {options.build}
    sender_cpus, receiver_cpus = processors(not options.no_pin)
    with tempfile.TemporaryDirectory(prefix="netconsd-benchmarks-") as name:
        directory = Path(name)
        blast = builds.c_program(HERE / "blast.c", directory / "blast")
        floor_program = builds.c_program(HERE / "floor.c", directory / "floor")
        _tell("building")
        place = Place(
            directory=directory,
            blast=blast,
            floor=floor_program,
            trees={build: builds.checkout(build, directory / build) for build in sorted(wanted)},
            sender_cpus=sender_cpus,
            receiver_cpus=receiver_cpus,
        )
        with floor(floor_program, 1, receiver_cpus) as probe:
            facts = report.machine(probe.rcvbuf or 0, sender_cpus != receiver_cpus)
        runs = 1 if options.quick else options.runs
        results = [measure(scenario, rate, runs, place, _tell) for scenario in scenarios for rate in scenario.rates]
    _tell("")
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(f"\n{report.table(results)}")
    # A load other than that for which the targets are tells nothing about them.
    if scenarios == [SCENARIOS[scenario.name] for scenario in scenarios]:
        print(f"\n{report.verdicts(results)}")
    return report.as_json(results, facts)


def _tell(text: str) -> None:
    """Say what is being done, on a terminal only, in a line that the next one overwrites."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    # As Ctrl-C: what was started has to end, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
