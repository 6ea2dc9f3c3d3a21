"""Draws where the processor time of a running daemon goes, as a flame graph in SVG, from what perf recorded::

    perf record -e cpu-clock -F 4000 -g -p PID -- sleep 5
    perf script -F pid,tid,ip,sym,dso | python -m benchmarks.flame flame.svg

The width of a box is its share of the samples, and its callers are below it. Python 3.11 has no frame pointers, so that
a thread's boxes are the functions in C that ran, each under its file, with the calls within the kernel above them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Final

WIDTH: Final = 1000
ROW: Final = 17
#: Boxes narrower than that are left out, with everything above them.
LEAST_WIDTH: Final = 1.5
#: Of a letter.
LETTER_WIDTH: Final = 6.2
KERNEL: Final = "[kernel.kallsyms]"
_UNKNOWN: Final = "[unknown]"
# Of the kernel, below every system call.
_ENTRIES: Final = ("entry_SYSCALL_64_after_hwframe", "do_syscall_64")
_FRAME = re.compile(r"\s+[0-9a-f]+ (.+?) \((.+)\)$")
_THREAD = re.compile(r"\s*(\d+)[/\s]+(\d+)\s*:?$")
_SUFFIX = re.compile(r"\.(cpython-[\w-]+|so[.\d]*|isra|constprop).*$")


class Node:
    """A function below its callers."""

    def __init__(self) -> None:
        self.samples = 0
        self.calls: dict[str, Node] = {}


def stacks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the stack of each sample, the outermost first: thread, file, function, and functions of the kernel."""
    thread = ""
    frames: list[tuple[str, str]] = []
    for line in (*lines, ""):
        if found := _THREAD.match(line):
            thread, frames = "reader" if found[1] == found[2] else "workers", []
        elif found := _FRAME.match(line):
            frames.append((found[1], found[2]))
        elif thread and not line.strip():
            yield _stack(thread, frames)
            thread = ""


def _stack(thread: str, frames: list[tuple[str, str]]) -> list[str]:
    kernel = [name for name, file in frames if file == KERNEL and name not in _ENTRIES]
    # Without frame pointers, only the innermost function in user mode is certain.
    user = next((_function(name, file) for name, file in frames if file not in (KERNEL, _UNKNOWN)), [])
    return [thread, *user, *(_SUFFIX.sub("", name) for name in reversed(kernel))]


def _function(name: str, path: str) -> list[str]:
    """Return a file and a function of it; Cython puts the file's name and the class before that of the function."""
    file = _SUFFIX.sub("", Path(path).name)
    return [file, name.rpartition(f"{file}_")[2].lstrip("0123456789") if "__pyx" in name else name]


def tree(samples: Iterable[list[str]]) -> Node:
    """Count the samples."""
    root = Node()
    for stack in samples:
        node = root
        node.samples += 1
        for name in stack:
            node = node.calls.setdefault(name, Node())
            node.samples += 1
    return root


def svg(root: Node, title: str) -> str:
    """Return the picture."""
    boxes: list[str] = []
    depth = _draw(root, 0.0, 0, root.samples, boxes)
    height = (depth + 2) * ROW
    size = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    paper = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/><text x="4" y="13">{escape(title)}</text>'
    return "\n".join([head, paper, f'<g transform="translate(0 {height})">', *boxes, "</g>", "</svg>", ""])


def _draw(node: Node, left: float, level: int, total: int, boxes: list[str]) -> int:
    """Add the boxes of the functions that a function calls; return the number of rows."""
    rows = level
    for name, call in sorted(node.calls.items()):
        width = WIDTH * call.samples / total
        if width >= LEAST_WIDTH:
            shown = name[: int(width / LETTER_WIDTH)]
            shown = shown if shown == name else f"{shown[:-1]}…" if len(shown) > 2 else ""
            # The same colour for the same function.
            hue = 20 + sum(name.encode()) % 40
            share = 100 * call.samples / total
            top = -(level + 1) * ROW
            shape = f'x="{left:.1f}" y="{top}" width="{width - 0.4:.1f}" height="{ROW - 1}" fill="hsl({hue},75%,70%)"'
            text = f'<text x="{left + 2:.1f}" y="{top + 12}">{escape(shown)}</text>'
            boxes.append(f"<g><title>{escape(name)}: {share:.1f} %</title><rect {shape}/>{text}</g>")
            rows = max(rows, _draw(call, left, level + 1, total, boxes))
        left += width
    return max(rows, level)


def main(arguments: list[str]) -> int:
    """Read standard input, and write the file that is named."""
    if len(arguments) not in (1, 2):
        print("usage: perf script -F pid,tid,ip,sym,dso | python -m benchmarks.flame FILE.svg [TITLE]", file=sys.stderr)
        return 2
    root = tree(stacks(sys.stdin.read().splitlines()))
    if not root.samples:
        print("there are no samples: perf script needs -F pid,tid,ip,sym,dso", file=sys.stderr)
        return 1
    title = arguments[1] if len(arguments) == 2 else "processor time"
    Path(arguments[0]).write_text(svg(root, title), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
