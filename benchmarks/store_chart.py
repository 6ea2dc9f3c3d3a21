"""A chart of the proof ``store`` as SVG: processor time and bytes per message of each store, and the targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

WIDTH = 860
LABEL = 200
RIGHT = 170
BAR = 18
STEP = 28
TOP = 56
NAMES = {
    "netconsd": "netconsd",
    "duckdb": "DuckDB's own file",
    "sqlite-trigram": "SQLite, FTS5 trigram",
    "sqlite-words": "SQLite, FTS5 unicode61",
    "victorialogs": "VictoriaLogs",
}
COLORS = {"rows": "#8a94a6", "engine": "#2f6fde", "bytes": "#2f6fde"}
#: The targets: microseconds, and bytes.
TARGETS = {"cost": 2.0, "bytes": 30.0}


def svg(content: Mapping[str, Any]) -> str:
    """Draw the results of :func:`benchmarks.store.measure`."""
    results = content["results"]
    parts = ['<text x="8" y="20" font-size="15">CPU time per message: making rows or the journal; storing</text>']
    parts += _legend()
    y = _panel(parts, TOP, results, "cost", ("rows", "engine"), 1e6, "µs")
    parts.append(f'<text x="8" y="{y + 24}" font-size="15">Bytes on disk per message, all files</text>')
    height = _panel(parts, y + 40, results, "bytes", ("bytes",), 1.0, "bytes")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 8}">',
            '<g font-family="sans-serif" font-size="12" fill="#222">',
            f'<rect width="{WIDTH}" height="{height + 8}" fill="#fff"/>',
            *parts,
            "</g></svg>\n",
        ]
    )


def _panel(
    parts: list[str], top: int, results: Mapping[str, Any], total: str, keys: tuple[str, ...], unit: float, name: str
) -> int:
    """Draw a bar for each store; return the end of the panel."""
    scale = (WIDTH - LABEL - RIGHT) / max(result[total] * unit for result in results.values())
    for number, (store, result) in enumerate(results.items()):
        y = top + number * STEP
        middle = y + BAR / 2 + 4
        parts.append(f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(NAMES[store])}</text>')
        x = float(LABEL)
        for key in keys:
            width = result[key] * unit * scale
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLORS[key]}"/>')
            x += width
        end = x
        if store == "netconsd":
            at = LABEL + TARGETS[total] * scale
            parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y - 4}" y2="{y + BAR + 4}" stroke="#c22" stroke-width="2"/>'
            )
            end = max(end, at)
        value = result[total] * unit
        digits = 1 if value >= 10 else 2
        times = "" if store == "netconsd" else f", {value / (results['netconsd'][total] * unit):.1f} times"
        parts.append(f'<text x="{end + 8:.1f}" y="{middle}">{value:.{digits}f} {name}{times}</text>')
    return top + len(results) * STEP


def _legend() -> list[str]:
    parts = []
    x = LABEL
    for color, text in ((COLORS["rows"], "rows or journal"), (COLORS["engine"], "storing"), ("#c22", "target")):
        parts.append(
            f'<rect x="{x}" y="30" width="10" height="10" fill="{color}"/><text x="{x + 15}" y="39">{text}</text>'
        )
        x += 25 + 7 * len(text)
    return parts
