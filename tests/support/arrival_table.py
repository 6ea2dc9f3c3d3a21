"""The table of docs/clients, made from netconsd.crash.arrival; ``python -m tests.support.arrival_table`` writes it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from netconsd.crash.arrival import ARRIVALS, Arrival, Outcome

PAGE = Path(__file__).parents[2] / "docs/clients.rst"
HEAD = ("kernel", "processor, network card", "`panic=0`", "`panic=N`, N not 0")
WIDTHS = (10, 30, 37, 37)
RULE = "  ".join("=" * width for width in WIDTHS)


def table() -> str:
    """Return the table in reStructuredText."""
    return "\n".join([RULE, _line(*HEAD), RULE, *map(_row, ARRIVALS), RULE, ""])


def _row(row: Arrival) -> str:
    setting = f"{', '.join(row.machines)}, {row.card}" + (f"; {row.condition}" if row.condition else "")
    cells = (", ".join(row.kernels), setting, _cell(row.stays), _cell(row.reboots))
    columns = [textwrap.wrap(cell, width) for cell, width in zip(cells, WIDTHS, strict=True)]
    height = max(map(len, columns))
    return "\n".join(_line(*(column[at] if at < len(column) else "" for column in columns)) for at in range(height))


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not measured"
    arrives = f"**{outcome.arrives}**" if outcome.arrives == "nothing" else outcome.arrives
    return f"{arrives}, {outcome.detail}"


def _line(*cells: str) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


if __name__ == "__main__":
    rule = re.escape(RULE)
    page = PAGE.read_text()
    PAGE.write_text(
        re.sub(f"{rule}\n.*?\n{rule}\n.*?\n{rule}\n", lambda match: table(), page, count=1, flags=re.DOTALL)
    )
