"""Finds the lines that can concern a crash, at a gigabyte per second: every other line costs nothing more. Pure."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Sequence

from netconsd.crash import search

#: Bytes of a literal at least: with shorter ones the search reads nearly every byte.
SHORTEST = 6

# The search reads a *gram*, 4 bytes, at every `step` bytes only. Of each literal it knows the grams at `step` places in
# a row, its window, so that one of the grams that it reads is in the window wherever the literal begins. A hash of the
# gram selects a bit, which is set for one in 60 of other grams, and a bucket of entries: gram, its place in the
# literal, the begin and length of the literal. The search in C (search.pxd) has the same constants.
_GRAM = 4
_MULTIPLIER = 0x9E3779B1
_HASH_SHIFT = 17
_BUCKET_SHIFT = 24
# How often a byte is part of a log's ordinary text, roughly: a window of rare bytes is rarely looked at in vain.
_COMMON = {byte: weight for weight, some in ((4, b" 0"), (3, b"aeinorst"), (2, b"cdlmpu:123"), (1, b"bfghkvxy.,-_]["))
           for byte in some}  # fmt: skip


class Prefilter:
    """Finds the first of some literals in bytes. For any number of threads."""

    def __init__(self, literals: Sequence[bytes]) -> None:
        """
        :param literals: at least :data:`SHORTEST` bytes each; the search is the faster, the longer the shortest is.
        :raises ValueError: if one is shorter.
        """
        for literal in literals:
            if len(literal) < SHORTEST:
                raise ValueError(f"{literal!r} is shorter than {SHORTEST} bytes")
        different = sorted(set(literals))
        self._pattern = re.compile(_alternatives(different) if different else rb"(?!)")
        self._literals = b"".join(different)
        self._step = min(map(len, different), default=SHORTEST) - _GRAM + 1
        # The farthest place of a gram in its literal.
        self._reach = 0
        bits = bytearray(1 << 32 - _HASH_SHIFT - 3)
        buckets: list[list[int]] = [[] for _ in range(1 << 32 - _BUCKET_SHIFT)]
        begin = 0
        for literal in different:
            window = _rarest_window(literal, self._step)
            for place in range(window, window + self._step):
                gram = int.from_bytes(literal[place : place + _GRAM], sys.byteorder)
                hashed = gram * _MULTIPLIER & 0xFFFFFFFF
                bits[hashed >> _HASH_SHIFT + 3] |= 1 << (hashed >> _HASH_SHIFT & 7)
                buckets[hashed >> _BUCKET_SHIFT] += gram, place, begin, len(literal)
                self._reach = max(self._reach, place)
            begin += len(literal)
        self._bits = bytes(bits)
        self._entries = array("I", [number for bucket in buckets for number in bucket])
        self._buckets = array("I", [0])
        for bucket in buckets:
            self._buckets.append(self._buckets[-1] + len(bucket))

    def find(self, data: bytes, start: int, end: int) -> int:
        """Return the lowest index from ``start`` on at which a literal begins that ends at ``end`` or before; or -1.

        :param start: not negative; ``end`` is not either, and may be beyond the bytes.
        """
        return search.first(
            data,
            start,
            end,
            self._pattern,
            self._literals,
            self._bits,
            self._buckets,
            self._entries,
            self._step,
            self._reach,
        )


def _alternatives(literals: Sequence[bytes]) -> bytes:
    """Return a pattern for the literals, branching byte by byte: twice as fast as a list of them.

    Of a literal and another one that begins with it, the shorter one is enough: the index is the same.
    """
    if b"" in literals:
        return b""
    rests: dict[bytes, list[bytes]] = {}
    for literal in literals:
        rests.setdefault(literal[:1], []).append(literal[1:])
    branches = [re.escape(first) + _alternatives(rest) for first, rest in rests.items()]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


def _rarest_window(literal: bytes, step: int) -> int:
    """Return the place from which on the literal has the rarest grams at ``step`` places."""

    def commonness(window: int) -> int:
        grams = (literal[place : place + _GRAM] for place in range(window, window + step))
        return sum(5 ** sum(_COMMON.get(byte, 0) for byte in gram) for gram in grams)

    return min(range(len(literal) - _GRAM - step + 2), key=commonness)
