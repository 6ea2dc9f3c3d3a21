"""The datagrams of an overload: every kind that costs a receiver memory, from real and from forged senders.

Senders are numbers; their addresses are in 127.64.0.0/10 (:mod:`netconsd.send.source_addresses`).
"""

from __future__ import annotations

from collections.abc import Callable

from netconsd.protocol.encode import CHUNK, extended, fragments
from netconsd.send.fleet import FORMATS, Fleet, Template

#: A batch: the number of the sender of each datagram, and the datagrams.
Batch = tuple[list[int], list[bytes]]

#: Number of real senders per format; they have the lowest numbers.
REAL = 100
FIRST_FORGED = 1024
FORGED = 1_000_000
# The largest datagram of UDP over IPv4.
LARGEST = 65_507
# Forged senders per batch.
BATCH_SENDERS = 16

_LONG = b"x" * (CHUNK - 64)
_HUGE = b"y" * (LARGEST - 64)


def _whole(seq: int, text: bytes) -> bytes:
    # Not by protocol.encode, which escapes a text byte by byte: too slow.
    return b"6,%d,%d,-;%b\n" % (seq, 10**12 + seq, text)


# Built once: building each datagram would make the sender too slow.
_FIRST, _SECOND = extended("forged", seq=7), extended("forged", seq=8)
_AFTER_GAP, _HUGE_AFTER_GAP = _whole(1000, _LONG), _whole(1000, _HUGE)
_PIECES = fragments(extended(_LONG * 60, seq=7))
_HUGE_PIECE = b"6,9,9,-,ncfrag=0/131072;" + _HUGE
_HALF = b"a line without an end " + _LONG
_HUGE_HALF = b"x" * (LARGEST - 1)
_NEWLINES = b"\n" * LARGEST


class Pressure:
    """An endless series of batches. For one thread at a time."""

    def __init__(self, kinds: list[str]) -> None:
        """
        :param kinds: names of :data:`KINDS`, which take turns; forged senders are new in each batch.
        """
        self._kinds = [KINDS[kind] for kind in kinds]
        #: Number of batches so far.
        self.number = 0

    def next(self) -> Batch:
        """The next batch."""
        turn, kind = divmod(self.number, len(self._kinds))
        self.number += 1
        return self._kinds[kind](turn, self.number)


_FLEETS = [Fleet(Template(format), REAL, 0, nth * REAL) for nth, format in enumerate(FORMATS)]
# Lines, because dropped messages with numbers would leave gaps, and later ones would be held.
_KERNELS = Fleet(Template("legacy", CHUNK), REAL, 0, 0)


def _real(turn: int, number: int) -> Batch:
    """Real senders in every format."""
    nth, fleet = divmod(turn, len(_FLEETS))
    return _FLEETS[fleet].batch(nth * BATCH_SENDERS, (nth + 1) * BATCH_SENDERS)


def _full(turn: int, number: int) -> Batch:
    """The largest datagrams of kernels, none of which is held: each fills a place in a queue."""
    return _KERNELS.batch(turn * BATCH_SENDERS, (turn + 1) * BATCH_SENDERS)


def _forged(number: int, datagrams: list[bytes]) -> Batch:
    """The same datagrams from each of :data:`BATCH_SENDERS` new senders."""
    first = number * BATCH_SENDERS
    numbers = [FIRST_FORGED + (first + index) % FORGED for index in range(BATCH_SENDERS)]
    return [number for number in numbers for _ in datagrams], datagrams * BATCH_SENDERS


def _new(turn: int, number: int) -> Batch:
    """Forged senders with the full state of a sender: numbers in order, and a line."""
    return _forged(number, [_FIRST, _SECOND, b"a line\n"])


def _held(turn: int, number: int) -> Batch:
    """One held item per forged sender: a message after a gap, a fragment, or an unfinished line; small and large."""
    senders, datagrams = _forged(number, [_FIRST, (_AFTER_GAP, _PIECES[0], _HALF)[turn % 3]])
    # The second datagram of some senders is a large one.
    datagrams[1:12:2] = [_HUGE_AFTER_GAP, _HUGE_PIECE, _HUGE_HALF] * 2
    return senders, datagrams


def _large(turn: int, number: int) -> Batch:
    """The largest possible datagrams: a whole message, a held one, a fragment, a line without an end, and newlines."""
    senders, _ = _forged(number, [b""])
    return (
        [senders[0], senders[1], senders[1], *senders[2:5]],
        [_whole(turn, _HUGE), _FIRST, _HUGE_AFTER_GAP, _HUGE_PIECE, _HUGE_HALF, _NEWLINES],
    )


#: The kinds of load, named after the lines of :mod:`benchmarks.bounds`; and real senders.
KINDS: dict[str, Callable[[int, int], Batch]] = {
    "real": _real,
    "queue": _full,
    "senders": _new,
    "held": _held,
    "large": _large,
}
