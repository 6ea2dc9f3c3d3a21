"""How the cost of a message grows with rate, senders and size: ``python -m benchmarks growth``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks import growth_chart, loads, place, report
from benchmarks.measure import FLOOR, Result, measure
from benchmarks.receivers import floor
from benchmarks.scenarios import FULL, PACED, SCENARIOS, Scenario

#: The values of each axis: messages per second, senders, and bytes of a datagram.
AXES: Final[Mapping[str, tuple[int, ...]]] = {
    "rate": (10_000, 30_000, 100_000, 200_000, 300_000, FULL),
    "senders": (1, 100, 4_096, 65_536, 1_000_000),
    # Netconsole sends at most 1,000 bytes, and larger messages in fragments.
    "size": (100, 140, 250, 500, 1_000),
}
# A run at a low rate takes no longer than this.
SECONDS: Final = 5
MESSAGES: Final = 600_000
QUICK: Final = 2_000


def scenario_at(axis: str, value: int) -> tuple[Scenario, int]:
    """The load of a point: the scenario in-order with one value changed, and its rate."""
    base = replace(SCENARIOS["in-order"], builds=("compiled",), messages=MESSAGES)
    rate = value if axis == "rate" else PACED
    if axis == "senders":
        # Two of each sender, and a table that is not distributed quite evenly.
        options = ("--max-sources", str(max(200_000, value * 11 // 10)))
        base = replace(base, senders=value, messages=max(MESSAGES, 2 * value), options=options)
    elif axis == "size":
        base = replace(base, pieces=loads.in_order(size=value))
    elif rate:
        base = replace(base, messages=min(MESSAGES, rate * SECONDS))
    return replace(base, name=f"{axis} {value or 'full'}"), rate


def point(axis: str, value: int, result: Result) -> dict[str, Any]:
    """The medians of a point. The rate of ``x`` is the one that the sender reached."""
    first = next(name for name in result.runs if name != FLOOR)
    x = result.median(first, "offered_rate") if axis == "rate" else value
    medians = {
        receiver: {figure: result.median(receiver, figure) for figure in ("cpu", "ratio", "loss")}
        for receiver in result.runs
    }
    return {"axis": axis, "x": x, "medians": medians}


def table(content: Mapping[str, Any]) -> str:
    """A line for each point: microseconds of each receiver, and the ratio to the floor."""
    receivers = growth_chart.receivers(content["points"])
    lines = [f"{'':<20}" + "".join(f"{growth_chart.short(receiver):>28}" for receiver in receivers)]
    for each in content["points"]:
        line = f"{each['axis']:<8}{each['x']:>12,.0f}"
        for receiver in receivers:
            median = each["medians"].get(receiver)
            cell = "" if median is None else f"{median['cpu'] * 1e6:.2f} µs"
            if median is not None and receiver != FLOOR:
                cell += f", {median['ratio']:.2f} times" + (f", {median['loss']:.0%} lost" if median["loss"] else "")
            line += f"{cell:>28}"
        lines.append(line)
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__.partition(":")[0] + ".")
    options.add_argument("axes", nargs="*", metavar="AXIS", help=f"{', '.join(AXES)} (default: all)")
    options.add_argument("--quick", action="store_true", help="a few messages, once, as a test of the benchmark")
    options.add_argument("--runs", type=int, default=3, help="runs per figure; the median counts [%(default)s]")
    place.add_options(options)
    options.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    options.add_argument("--chart", type=Path, metavar="FILE", help="draw the figures, as SVG")
    options.add_argument("--load", type=Path, metavar="FILE", help="load the figures of --json instead of measuring")
    return options


def main(arguments: Sequence[str]) -> int:
    """Measure or load, print, write and draw; return the exit status, which does not depend on figures."""
    options = parser().parse_args(arguments)
    for axis in options.axes:
        if axis not in AXES:
            raise SystemExit(f"benchmarks: no axis {axis!r}; the axes are {', '.join(AXES)}")
    content = json.loads(options.load.read_text()) if options.load else _measured(options)
    print(table(content))
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    if options.chart:
        options.chart.write_text(growth_chart.svg(content))
    return 0


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    points = []
    with place.prepared(options, {"compiled"}, place.show) as prepared:
        with floor(prepared.floor, 1, prepared.receiver_cpus) as probe:
            facts = report.machine(probe.rcvbuf or 0, prepared.sender_cpus != prepared.receiver_cpus)
        for axis in options.axes or AXES:
            for value in AXES[axis]:
                scenario, rate = scenario_at(axis, value)
                if options.quick:
                    scenario = replace(scenario, messages=QUICK, senders=min(QUICK, scenario.senders))
                result = measure(scenario, rate, 1 if options.quick else options.runs, prepared, place.show)
                points.append(point(axis, value, result))
    place.show("")
    return {"machine": facts, "points": points}
