"""A chart of the figures of ``growth`` as SVG: a panel for each axis, with a line for each receiver."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.chart import color, legend, name

WIDTH = 860
TOP = 76
HEIGHT = 220
LEFT = 44
GAP = 46
TITLES = {"rate": "messages per second", "senders": "senders", "size": "bytes of a message"}


def short(receiver: str) -> str:
    """A receiver for the head of a table."""
    return "floor" if receiver == "floor" else name(receiver).removeprefix("netconsd, ")


def receivers(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """The receivers that any of the points has, in order."""
    return list(dict.fromkeys(receiver for each in points for receiver in each["medians"]))


def svg(content: Mapping[str, Any]) -> str:
    """Draw the results of ``growth``. The scale of the cost is linear, the other one logarithmic."""
    points = content["points"]
    axes = list(dict.fromkeys(each["axis"] for each in points))
    measured = receivers(points)
    step = _step(max(median["cpu"] * 1e6 for each in points for median in each["medians"].values()))
    width = (WIDTH - LEFT - GAP * (len(axes) - 1) - 16) / len(axes)
    parts = [
        _panel([each for each in points if each["axis"] == axis], measured, LEFT + number * (width + GAP), width, step)
        for number, axis in enumerate(axes)
    ]
    bottom = TOP + HEIGHT + 48
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom}">',
            '<g font-family="sans-serif" font-size="12" fill="#222">',
            f'<rect width="{WIDTH}" height="{bottom}" fill="#fff"/>',
            '<text x="8" y="20" font-size="15">CPU time per message, in µs</text>',
            *legend(measured, LEFT),
            *parts,
            "</g></svg>\n",
        ]
    )


def _step(largest: float) -> tuple[float, float]:
    """The distance of the grid's lines, and the end of the scale: a multiple of it, with at most six lines."""
    for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0):
        if largest <= 6 * step:
            break
    return step, max(1, math.ceil(largest / step)) * step


def _panel(
    points: Sequence[Mapping[str, Any]], measured: Sequence[str], left: float, width: float, scale: tuple[float, float]
) -> str:
    step, end = scale
    logs = [math.log10(each["x"]) for each in points]
    first, span = min(logs), (max(logs) - min(logs)) or 1.0
    bottom = TOP + HEIGHT

    def x_of(value: float) -> float:
        return left + 6 + (math.log10(value) - first) / span * (width - 12)

    def y_of(microseconds: float) -> float:
        return bottom - microseconds / end * HEIGHT

    parts = []
    for line in range(round(end / step) + 1):
        y = y_of(line * step)
        parts.append(f'<line x1="{left:.1f}" x2="{left + width:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{line * step:g}</text>')
    shown = -math.inf
    for each in points:
        x = x_of(each["x"])
        # Labels of neighbours that are too close would overlap.
        if x - shown >= 34:
            parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(each["x"])}</text>')
            shown = x
    title = escape(TITLES[points[0]["axis"]])
    parts.append(f'<text x="{left + width / 2:.1f}" y="{bottom + 36}" text-anchor="middle">{title}</text>')
    for receiver in measured:
        drawn = [
            (x_of(each["x"]), y_of(each["medians"][receiver]["cpu"] * 1e6), each["medians"][receiver]["loss"])
            for each in points
            if receiver in each["medians"]
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in drawn)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color(receiver)}" stroke-width="2"/>')
        for x, y, loss in drawn:
            # Hollow: messages were lost, so that the cost is that of a part of the load.
            fill = "#fff" if loss else color(receiver)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{fill}" stroke="{color(receiver)}"/>')
    return "\n".join(parts)


def _number(value: float) -> str:
    """A number for the axis: 140, 4k, 66k, 1M."""
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.0f}{suffix}"
    return f"{value:.0f}"
