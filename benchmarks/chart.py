"""A chart of CPU per message as SVG: a bar per scenario with its floor inside, and a line at the target."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

WIDTH = 860
LABEL = 250
RIGHT = 150
BAR = 18
STEP = 28
TOP = 56
COLORS = {"floor": "#8a94a6", "compiled": "#2f6fde", "plain": "#e0902f"}


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
        name = f"{row['scenario']}, {rate}" + (", plain" if row["receiver"] == "plain" else "")
        middle = y + BAR / 2 + 4
        parts.append(f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>')
        parts.append(_bar(y, cpu * scale, COLORS[row["receiver"]]))
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
            *_legend(),
            *parts,
            "</g></svg>\n",
        ]
    )


def _bar(y: float, width: float, color: str) -> str:
    return f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{color}"/>'


def _legend() -> list[str]:
    parts = []
    x = LABEL
    for color, text in (
        (COLORS["floor"], "only reading"),
        (COLORS["compiled"], "netconsd, compiled"),
        (COLORS["plain"], "netconsd, plain Python"),
        ("#c22", "target"),
    ):
        parts.append(
            f'<rect x="{x}" y="30" width="10" height="10" fill="{color}"/><text x="{x + 15}" y="39">{text}</text>'
        )
        x += 25 + 7 * len(text)
    return parts
