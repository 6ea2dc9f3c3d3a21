"""Draws docs/images/rooms.svg, the rooms of netconsd/ and the imports between them: python docs/rooms.py

The picture is made from the import statements. An arrow means "imports". Arrows that follow from others (if a imports b
and b imports c, the arrow from a to c) are left out, and so are the files of the root that only re-export.
tests/project/test_architecture.py fails if the picture is not that of the code.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "netconsd"
PICTURE = ROOT / "docs/images/rooms.svg"

# Files of the root that have no code of their own: re-exports, the version, the build.
LEFT_OUT = ("__init__", "__main__", "build", "embedding", "message", "sinks")
# Pixels.
BOX_WIDTH, BOX_HEIGHT, GAP, FLOOR_HEIGHT, MARGIN = 190, 88, 28, 136, 24
LINES = 4
CHARACTERS_PER_LINE = 31


def room_of(module: str) -> str:
    """The room that a dotted name is in: the folder with a slash, or the file of the root."""
    name = module.split(".")[1] if "." in module else "__init__"
    return f"{name}/" if (PACKAGE / name).is_dir() else name


def imported(file: Path) -> set[str]:
    """The rooms that a file imports from, in functions as well."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from netconsd import x` can name a module or something in the package itself.
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {room_of(name) for name in names if name.startswith("netconsd.")}


def files() -> dict[str, list[Path]]:
    """The Python files of each room, sorted; the shipped modules are the room ``modules/``."""
    rooms: dict[str, list[Path]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        rooms.setdefault(room_of(".".join(file.relative_to(ROOT).with_suffix("").parts)), []).append(file)
    rooms["modules/"] = sorted((ROOT / "modules").glob("*.py"))
    return {room: paths for room, paths in rooms.items() if room not in LEFT_OUT}


def graph() -> dict[str, set[str]]:
    """The rooms that each room imports."""
    rooms = files()
    return {
        room: {target for path in paths for target in imported(path)} & set(rooms) - {room}
        for room, paths in rooms.items()
    }


def floors(arrows: dict[str, set[str]]) -> dict[str, int]:
    """The floor of each room: 0 if it imports no other, else one above the highest that it imports.

    :raises RecursionError: if imports go round in a circle.
    """

    @cache
    def floor(room: str) -> int:
        return max((floor(below) + 1 for below in arrows[room]), default=0)

    return {room: floor(room) for room in arrows}


def without_shortcuts(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that do not follow from others."""

    @cache
    def below(room: str) -> frozenset[str]:
        return frozenset(arrows[room]).union(*(below(each) for each in arrows[room]))

    return {
        room: {target for target in targets if not any(target in below(other) for other in targets - {target})}
        for room, targets in arrows.items()
    }


def purpose(room: str) -> str:
    """The first sentence of a room's docstring, without the full stop."""
    file = PACKAGE / room / "__init__.py" if room.endswith("/") else PACKAGE / f"{room}.py"
    if room == "modules/":
        return "the shipped output modules"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).partition(". ")[0].rstrip(".").replace("`", "")


def lines_of(text: str) -> list[str]:
    """A text cut into at most :data:`LINES` lines; an ellipsis shows that there is more."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > CHARACTERS_PER_LINE:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], f"{lines[LINES - 1].rstrip(',;')} …"]


def svg() -> str:
    """The picture: one row of boxes per floor, the highest floor first."""
    arrows = graph()
    floor_of = floors(arrows)
    rows: dict[int, list[str]] = {}
    for room in sorted(arrows):
        rows.setdefault(floor_of[room], []).append(room)
    top = max(rows)
    width = 2 * MARGIN + max(len(row) for row in rows.values()) * (BOX_WIDTH + GAP) - GAP
    height = 2 * MARGIN + top * FLOOR_HEIGHT + BOX_HEIGHT
    place: dict[str, tuple[int, int]] = {}
    for floor, row in rows.items():
        left = (width - len(row) * (BOX_WIDTH + GAP) + GAP) // 2
        for index, room in enumerate(row):
            place[room] = left + index * (BOX_WIDTH + GAP), MARGIN + (top - floor) * FLOOR_HEIGHT
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' font-family="DejaVu Sans, Verdana, sans-serif">'
        ),
        "<title>The rooms of netconsd; an arrow means: imports</title>",
        (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
            ' orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#789"/></marker></defs>'
        ),
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for room, targets in sorted(without_shortcuts(arrows).items()):
        for target in sorted(targets):
            (x, y), (to_x, to_y) = place[room], place[target]
            start, end, bend = x + BOX_WIDTH // 2, to_x + BOX_WIDTH // 2, (to_y - y - BOX_HEIGHT) // 2
            parts.append(
                f'<path d="M{start} {y + BOX_HEIGHT} C{start} {y + BOX_HEIGHT + bend} {end} {to_y - bend} {end} {to_y}"'
                ' fill="none" stroke="#789" marker-end="url(#head)"/>'
            )
    for room, (x, y) in sorted(place.items()):
        fill = "#e8f0fa" if room.endswith("/") else "#f6f2e6"
        name = room if room.endswith("/") else f"{room}.py"
        parts.append(
            f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="{fill}" stroke="#456"/>'
        )
        parts.append(f'<text x="{x + 10}" y="{y + 19}" font-size="13" font-weight="bold">{escape(name)}</text>')
        for index, line in enumerate(lines_of(purpose(room))):
            parts.append(f'<text x="{x + 10}" y="{y + 36 + 14 * index}" font-size="9.5">{escape(line)}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(svg(), encoding="utf-8")
