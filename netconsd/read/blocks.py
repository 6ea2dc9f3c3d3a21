"""Numbered lines of a stream of bytes, read in large blocks: only lines that are looked for are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

#: Bytes of a read: the cost of a call does not matter.
BLOCK: Final = 1 << 20
#: Bytes of a line: the rest is dropped. That is the limit for a line that arrives by network, and 60 times a record.
LINE_LIMIT: Final = 1 << 16
#: The same for a line that begins with ``{``, as a part of an object is none: a message of 128 KiB, the longest, has up
#: to 2.5 MB in the format of :mod:`netconsd.jsonl`, with each octet an escape, in three fields.
OBJECT_LIMIT: Final = 4 << 20
#: Bytes before a line that :meth:`Lines.before` still has: 50 lines of 80 bytes of each of 16 hosts.
BEHIND: Final = 1 << 16
# A hole in a line: a file that was torn has thousands of NULs, a serial line that was disturbed has single ones.
_HOLE: Final = bytes(8)


class Lines:
    """The lines of a stream, in order. For one thread.

    A line ends with a newline, or with the stream. NULs before a line are no part of it: file systems fill the hole
    with them that a crash tore.
    """

    def __init__(
        self,
        read: Callable[[int], bytes | None],
        find: Callable[[bytes, int, int], int] | None = None,
        *,
        number: int = 0,
        block: int = BLOCK,
        line_limit: int = LINE_LIMIT,
        behind: int = BEHIND,
    ) -> None:
        """
        :param read: returns at most so many bytes; ``b""`` at the end; None if there are none at present.
        :param find: ``find(data, start, end)`` returns the lowest index of something that is looked for in a line, or
            -1. Without it every line is returned.
        :param number: the lines before the stream.
        """
        self._read = read
        self._find = find
        self._block = block
        self._line_limit = line_limit
        self._behind = behind
        self._data = b""
        # The begin of the next line; of the last one that was returned.
        self._at = 0
        self._last = 0
        # The end of the last whole line in the data.
        self._whole = 0
        self._ended = False
        # Whether the data begins with the begin of a line.
        self._whole_begin = True
        # True within a line of which the begin was returned, and the rest is dropped.
        self._dropping = False
        #: The number of the last line that was returned or passed over.
        self.number = number
        #: Whether every line is returned, or only those with something that is looked for.
        self.every = find is None

    def next(self) -> bytes | None:
        """Return the next line without its newline; None at the end, or if there is nothing at present.

        :attr:`ended` tells the two apart.
        """
        while True:
            line = self._next_in_data()
            if line is not None:
                return line
            if not self._refill():
                return None

    @property
    def ended(self) -> bool:
        """True after the end of the stream; what is left is a line without a newline."""
        return self._ended

    def before(self) -> Iterator[bytes]:
        """The lines before the one that was returned last, the latest first, as far as they are still there."""
        data, end = self._data, self._last
        while end > 0:
            begin = data.rfind(b"\n", 0, end - 1) + 1
            if begin == 0 and not self._whole_begin:
                # Probably a part of a line only.
                return
            yield data[begin : end - 1]
            end = begin

    def _next_in_data(self) -> bytes | None:
        if self._dropping and not self._drop():
            return None
        data, at, whole = self._data, self._at, self._whole
        if at >= whole:
            return None
        if not self.every and self._find is not None:
            hit = self._find(data, at, whole)
            if hit < 0:
                self.number += data.count(b"\n", at, whole)
                self._at = whole
                if not data.endswith(b"\n", at, whole):
                    self.number += 1
                    self._dropping = not self._ended
                return None
            begin = data.rfind(b"\n", at, hit) + 1
            if begin:
                self.number += data.count(b"\n", at, begin)
                at = begin
        self.number += 1
        self._last = at
        end = data.find(b"\n", at, whole)
        if end < 0:
            # A line that is too long, or the last one.
            self._at = end = whole
            self._dropping = not self._ended
        else:
            self._at = end + 1
        return data[at : min(end, at + self._limit(at))].lstrip(b"\0")

    def _limit(self, at: int) -> int:
        return max(self._line_limit, OBJECT_LIMIT) if self._data.startswith(b"{", at) else self._line_limit

    def _drop(self) -> bool:
        """Pass over the rest of a line that is too long; return False if its end is not in the data.

        A line goes on behind a hole, as if it began there, because a crash tears holes.
        """
        data, at = self._data, self._at
        end = data.find(b"\n", at)
        hole = data.rfind(_HOLE, at, len(data) if end < 0 else end)
        if hole >= 0:
            self.number -= 1
            self._at = hole + len(_HOLE)
        elif end < 0:
            self._at = self._whole = len(data)
            return False
        else:
            self._at = end + 1
        self._whole = max(self._whole, self._at)
        self._dropping = False
        return True

    def _refill(self) -> bool:
        """Read a block; return False if there is none."""
        if self._ended:
            return False
        block = self._read(self._block)
        if block is None:
            return False
        if not block:
            # The rest of the stream is the last line.
            self._ended = True
            self._whole = len(self._data)
            return self._at < self._whole and not self._dropping
        if self._at == len(self._data) and not self._dropping:
            block = block.lstrip(b"\0")
        keep = max(0, self._at - self._behind)
        self._whole_begin = self._whole_begin and keep == 0
        self._data = self._data[keep:] + block
        self._at -= keep
        self._whole = max(self._at, self._data.rfind(b"\n") + 1)
        if self._whole == self._at and len(self._data) - self._at > self._limit(self._at):
            self._whole = len(self._data)
        return True
