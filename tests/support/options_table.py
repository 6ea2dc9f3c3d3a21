"""The table of docs/options, made from the declarations; ``python -m tests.support.options_table`` writes it there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from netconsd.settings import OPTIONS, Option

PAGE = Path(__file__).parents[2] / "docs/options.rst"
HEAD = ("option", "meaning", "values", "default")
WIDTHS = (29, 52, 18, 15)
RULE = "  ".join("=" * width for width in WIDTHS)


def table() -> str:
    """Return the table in reStructuredText."""
    rows = [_row(option) for option in OPTIONS.values()]
    return "\n".join([RULE, _line(*HEAD), RULE, *rows, RULE, ""])


def _row(option: Option) -> str:
    names = f"`-{option.short}`, " if option.short else ""
    value = f" {option.value}" if option.value else ""
    cells = [f"{names}`--{option.name}{value}`", option.help, option.values, option.default]
    columns = [textwrap.wrap(cell, width) for cell, width in zip(cells, WIDTHS, strict=True)]
    height = max(map(len, columns))
    return "\n".join(
        _line(*(column[line] if line < len(column) else "" for column in columns)) for line in range(height)
    )


def _line(*cells: str) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


if __name__ == "__main__":
    rule = re.escape(RULE)
    page = PAGE.read_text()
    PAGE.write_text(
        re.sub(f"{rule}\n.*?\n{rule}\n.*?\n{rule}\n", lambda match: table(), page, count=1, flags=re.DOTALL)
    )
