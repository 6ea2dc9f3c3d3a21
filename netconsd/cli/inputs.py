"""The files that commands read, with a bar on standard error while they are read."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from typing import BinaryIO, Final

from netconsd.rendering import printable

#: The name of standard input.
STDIN: Final = "-"
#: Columns of a terminal that does not say how many it has.
COLUMNS: Final = 80
#: Columns that a long text has on a terminal that is too narrow.
LEAST_ROOM: Final = 10
# Bytes from which on a file is worth a progress bar: a tenth of a second.
_LARGE: Final = 32 << 20
_BAR: Final = 30


def opened(name: str) -> BinaryIO:
    """Return a file for reading.

    :raises OSError: if it cannot be opened, or is a directory.
    """
    if name == STDIN:
        return open(os.dup(0), "rb", buffering=0)
    return open(name, "rb", buffering=0)


def cut(line: str, width: int) -> str:
    """Return a line that fits a terminal; whole where there is none."""
    return line if not width or len(line) <= width else f"{line[: width - 1]}…"


def broken(text: str, width: int, column: int, indent: int) -> list[str]:
    """Break a text into lines of a terminal, between words if possible, as the printer does; whole where there is none.

    :param width: columns of the terminal; 0 for none.
    :param column: where the first line begins.
    :param indent: where the further lines begin.
    """
    if not width:
        return [text]
    parts = []
    start, room = 0, max(1, width - column)
    while len(text) - start > room:
        end = start + room
        # A space at the end may be in the next line's place.
        space = text.rfind(" ", start + 1 + room // 2, end + 1)
        if space > 0:
            end = space
        parts.append(text[start:end])
        start = end + (space > 0)
        room = max(LEAST_ROOM, width - indent)
    return [*parts, text[start:]]


class Bar:
    """A bar on standard error that shows how much is done. For one thread."""

    def __init__(self, name: str, shown: bool) -> None:
        """:param shown: whether it is long enough for a bar, which only a terminal gets."""
        self._name = printable(name)
        self._shown = shown and sys.stderr is not None and sys.stderr.isatty()
        self._percent = -1

    def show(self, done: int, total: int) -> None:
        """Show that so much of the total is done."""
        percent = min(100, done * 100 // total) if total else 100
        if self._shown and percent != self._percent:
            self._percent = percent
            bar = "#" * (percent * _BAR // 100)
            width = shutil.get_terminal_size((COLUMNS, 24)).columns
            text = cut(f"[{bar:{_BAR}}] {percent:3} %  {self._name}", width - 1)
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the bar away."""
        if self._percent >= 0:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._percent = -1


class Progress:
    """A file; while it is read, a bar on standard error shows how much of it was, if it is large and on a terminal."""

    def __init__(self, file: BinaryIO, name: str, large: int = _LARGE) -> None:
        """:param large: bytes from which on a file has a bar."""
        self._file = file
        status = os.fstat(file.fileno())
        self._size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        self._bar = Bar(name, self._size >= large)
        self._done = 0
        # A terminal has an end for each Ctrl-D, and the first one is meant.
        self._ended = False

    def read(self, size: int) -> bytes:
        if self._ended:
            return b""
        data = self._file.read(size)
        self._ended = not data
        self._done += len(data)
        self._bar.show(self._done, self._size)
        return data

    def clear(self) -> None:
        """Take the bar away."""
        self._bar.clear()
