"""A chart of CPU per message as SVG: a bar per scenario with its floor inside, and a line at the target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import escape

WIDTH = 860
LABEL = 250
RIGHT = 150
BAR = 18
STEP = 28
TOP = 56
COLORS = {"floor": "#8a94a6", "compiled": "#2f6fde", "plain": "#e0902f", "peer": "#7d4fa8"}
NAMES = {
    "floor": "only reading",
    "compiled": "netconsd, compiled",
    "plain": "netconsd, plain Python",
    "peer": "C daemon",
}
REVISION = "#7fb2f0"


def color(receiver: str) -> str:
    """The color of a receiver; that of revisions is a light one."""
    return COLORS.get(receiver, REVISION)


def name(receiver: str) -> str:
    """A receiver for the legend: "netconsd, compiled", "netconsd 1a2b3c4"."""
    build, _, revision = receiver.partition(" ")
    return NAMES.get(receiver) or f"netconsd {revision}{', plain Python' if build == 'plain' else ''}"


def svg(report: dict[str, Any]) -> str:
    """Draw the results of :func:`benchmarks.report.as_json`."""
    floors = {(row["scenario"], row["rate"]): row for row in report["results"] if row["receiver"] == "floor"}
    bars = [row for row in report["results"] if row["receiver"] != "floor"]
    limits = {
        (target["scenario"], target["build"]): target["limit"]
        for target in report["targets"]
        if target["figure"] == "ratio"
    }
    largest = max((row["median"]["cpu"] for row in bars), default=1e-6)
    scale = (WIDTH - LABEL - RIGHT) / largest
    parts = []
    for number, row in enumerate(bars):
        y = TOP + number * STEP
        cpu = row["median"]["cpu"]
        floor = floors[row["scenario"], row["rate"]]["median"]["cpu"]
        rate = f"{row['rate'] // 1000}k/s" if row["rate"] else "full rate"
        other = "" if row["receiver"] == "compiled" else f", {row['receiver'].removeprefix('compiled ')}"
        label = f"{row['scenario']}, {rate}{other}"
        middle = y + BAR / 2 + 4
        parts.append(f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>')
        parts.append(_bar(y, cpu * scale, color(row["receiver"])))
        parts.append(_bar(y, min(cpu, floor) * scale, COLORS["floor"]))
        end = cpu * scale
        limit = limits.get((row["scenario"], row["receiver"]))
        if limit is not None and limit * floor * scale <= WIDTH - LABEL - 8:
            x = LABEL + limit * floor * scale
            end = max(end, limit * floor * scale)
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 4}" y2="{y + BAR + 4}" stroke="#c22" stroke-width="2"/>'
            )
        text = f"{cpu * 1e6:.2f} µs, {row['median']['ratio']:.1f} times"
        parts.append(f'<text x="{LABEL + end + 8:.1f}" y="{middle}">{text}</text>')
    height = TOP + len(bars) * STEP + 8
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
            '<g font-family="sans-serif" font-size="12" fill="#222">',
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            '<text x="8" y="20" font-size="15">CPU time per message, and how many times that of only reading it</text>',
            *legend(["floor", *dict.fromkeys(row["receiver"] for row in bars)], LABEL, target=True),
            *parts,
            "</g></svg>\n",
        ]
    )


def _bar(y: float, width: float, color: str) -> str:
    return f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{color}"/>'


def legend(receivers: Iterable[str], x: int, *, target: bool = False) -> list[str]:
    """A colored square and the name of each receiver, from ``x`` on."""
    entries = [(color(receiver), name(receiver)) for receiver in receivers]
    parts = []
    for fill, text in entries + [("#c22", "target")] * target:
        parts.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{fill}"/>')
        parts.append(f'<text x="{x + 15}" y="39">{escape(text)}</text>')
        x += 25 + 7 * len(text)
    return parts
