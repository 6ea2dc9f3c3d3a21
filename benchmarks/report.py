"""The results, for people and for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import FLOOR, PEER, Result
from benchmarks.scenarios import MB, TARGETS, Target

COMPILED = "compiled"
# On a busy machine the sender may be slower than the rate, or the receiver may lose messages.
ENOUGH = 0.98
FIGURES = ("offered_rate", "received_rate", "loss", "cpu", "cpu_reader", "ratio", "memory", "peak")
HEAD = (
    "scenario",
    "build",
    "offered",
    "received",
    "loss",
    "CPU",
    "reader",
    "floor",
    "ratio",
    "memory",
    "peak",
    "of note",
)
UNITS = ("", "", "1000/s", "1000/s", "%", "µs", "µs", "µs", "", "MB", "MB", "")
LEFT = (0, 1, 11)


def machine(rcvbuf: int, pinned: bool) -> dict[str, Any]:
    """The facts of the machine on which the figures depend."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": model[0].partition(":")[2].strip() if model else platform.machine(),
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "twisted": version("twisted"),
        "netconsd": version_of_netconsd(),
        "rcvbuf": rcvbuf,
        "pinned": pinned,
        "load_average": os.getloadavg()[0],
    }


def version_of_netconsd() -> str:
    """The version of the checkout."""
    import netconsd

    return netconsd.__version__


def as_json(results: Sequence[Result], facts: dict[str, Any]) -> dict[str, Any]:
    """The machine, medians, single runs, and verdicts on the targets. In seconds and bytes."""
    return {
        "machine": facts,
        "results": [
            {
                "scenario": result.scenario.name,
                "about": result.scenario.about,
                "rate": result.rate,
                "senders": result.scenario.senders,
                "receiver": receiver,
                "median": {figure: result.median(receiver, figure) for figure in FIGURES},
                "runs": [asdict(run) | {"loss": run.loss} for run in runs],
            }
            for result in results
            for receiver, runs in result.runs.items()
        ],
        "targets": [
            asdict(target) | {"rate": rate, "measured": measured, "verdict": verdict}
            for target, rate, measured, verdict in compared(results)
        ],
    }


def table(results: Sequence[Result]) -> str:
    """Medians, one line per scenario, rate and build."""
    rows: list[tuple[str, ...]] = [HEAD, UNITS]
    rows += [_row(result, build) for result in results for build in result.runs if build != FLOOR]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(2, "-" * max(map(len, lines)))
    return "\n".join(lines)


def rst(content: Mapping[str, Any]) -> str:
    """The table of docs/tuning as reStructuredText: a line per scenario and rate of the compiled build.

    It has a column for the revision, and one for the C daemon, if they were measured.

    :param content: the results of :func:`as_json`.
    """
    loads: dict[tuple[str, int], dict[str, Any]] = {}
    for row in content["results"]:
        loads.setdefault((row["scenario"], row["rate"]), {})[row["receiver"]] = row["median"]
    receivers = {receiver for medians in loads.values() for receiver in medians}
    others = sorted(receiver for receiver in receivers if receiver.startswith(f"{COMPILED} "))
    others += [PEER] * (PEER in receivers)
    names = [receiver.partition(" ")[2] or "C daemon" for receiver in others]
    rows = [("load", "messages/s", "CPU", *names, "floor", "ratio", "lost")]
    for (scenario, _), medians in loads.items():
        ours = medians.get(COMPILED)
        if ours is not None:
            rows.append(
                (
                    f"`{scenario}`",
                    f"{ours['offered_rate']:,.0f}",
                    *(_microseconds(medians.get(receiver)) for receiver in (COMPILED, *others, FLOOR)),
                    f"{ours['ratio']:.1f}",
                    f"{ours['loss']:.2%}" if ours["loss"] else "0",
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "  ".join("=" * width for width in widths)
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def _microseconds(medians: Mapping[str, float] | None) -> str:
    return "" if medians is None else f"{medians['cpu'] * 1e6:.2f} µs"


def verdicts(results: Sequence[Result]) -> str:
    """The targets with the measured figures, one line each."""
    lines = []
    for target, rate, measured, met in compared(results):
        where = f"{target.scenario}, {target.build}, {_rate(rate)}"
        figures = f"{_with_unit(target, measured)}, at most {_with_unit(target, target.limit)}"
        lines.append(f"{met:<7} {where}: {figures}")
    return "\n".join(lines)


def compared(results: Sequence[Result]) -> Iterator[tuple[Target, int, float, str]]:
    """Each target with a rate, the measured figure, and the verdict: ``pass``, ``FAIL`` or ``unclear``.

    A figure within its limit is unclear if the load did not reach the daemon in full.
    """
    for target in TARGETS:
        for result in results:
            if result.scenario.name == target.scenario and target.build in result.runs:
                measured = result.median(target.build, target.figure)
                met = measured <= target.limit
                yield (
                    target,
                    result.rate,
                    measured,
                    ("pass" if _tested(result, target) else "unclear") if met else "FAIL",
                )


def _tested(result: Result, target: Target) -> bool:
    """True if the load was complete: for a loss, its rate; for memory, its number of senders."""
    if target.figure == "loss":
        return result.median(target.build, "offered_rate") * len(result.scenario.pieces) >= ENOUGH * result.rate
    return target.figure != "memory" or result.median(target.build, "senders") >= ENOUGH * result.scenario.senders


def _row(result: Result, build: str) -> tuple[str, ...]:
    def figure(name: str, scale: float, digits: int, receiver: str = build) -> str:
        return f"{result.median(receiver, name) * scale:.{digits}f}"

    notes: dict[str, int] = {}
    for run in result.runs[build]:
        for name, count in run.notes.items():
            notes[name] = max(count, notes.get(name, 0))
    lost = result.median(FLOOR, "loss")
    other = [f"{name} {count}" for name, count in notes.items()] + ([f"floor lost {lost:.2%}"] if lost else [])
    return (
        f"{result.scenario.name} {_rate(result.rate)}",
        build,
        figure("offered_rate", 1e-3, 0),
        figure("received_rate", 1e-3, 0),
        figure("loss", 100, 2),
        figure("cpu", 1e6, 2),
        figure("cpu_reader", 1e6, 2),
        figure("cpu", 1e6, 2, FLOOR),
        figure("ratio", 1, 2),
        figure("memory", 1 / MB, 1),
        figure("peak", 1 / MB, 1),
        ", ".join(other),
    )


def _rate(rate: int) -> str:
    return f"{rate / 1000:g}k/s" if rate else "full"


def _with_unit(target: Target, value: float) -> str:
    if target.figure == "ratio":
        return f"{value:.2f} times the floor"
    return f"{value:.2%} lost" if target.figure == "loss" else f"{value / MB:.0f} MB above idle"
