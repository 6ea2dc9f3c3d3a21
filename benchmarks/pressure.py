"""What is sent in an overload: everything that costs a receiver memory, from real senders and from strangers.

Everybody sends from an address of 127.64.0.0/10, by number: see :mod:`netconsd.send.source_addresses`.
"""

from __future__ import annotations

from collections.abc import Callable

from netconsd.protocol.encode import CHUNK, extended, fragments
from netconsd.send.fleet import FORMATS, Fleet, Template

#: A batch: the number of the sender of each datagram, and the datagrams.
Batch = tuple[list[int], list[bytes]]

#: Real senders have the lowest numbers, as many for each format.
REAL = 100
FIRST_FORGED = 1024
FORGED = 1_000_000
# The largest datagram of UDP over IPv4.
LARGEST = 65_507
# The senders of one batch of strangers.
TOGETHER = 16

_LONG = b"x" * (CHUNK - 64)
_HUGE = b"y" * (LARGEST - 64)


def _whole(seq: int, text: bytes) -> bytes:
    # Not by netconsd.testing, which escapes a text byte by byte.
    return b"6,%d,%d,-;%b\n" % (seq, 10**12 + seq, text)


# Made once: a sender that makes each anew is slower than any overload.
_FIRST, _SECOND = extended("forged", seq=7), extended("forged", seq=8)
_HELD, _HUGE_HELD = _whole(1000, _LONG), _whole(1000, _HUGE)
_PIECES = fragments(extended(_LONG * 60, seq=7))
_HUGE_PIECE = b"6,9,9,-,ncfrag=0/131072;" + _HUGE
_HALF = b"a line without an end " + _LONG
_HUGE_HALF = b"x" * (LARGEST - 1)
_NEWLINES = b"\n" * LARGEST


class Pressure:
    """Batches by number, without an end. Not for more than one thread at a time."""

    def __init__(self, kinds: list[str]) -> None:
        """
        :param kinds: names of :data:`KINDS`, which come by turns; strangers are new each time.
        """
        self._kinds = [KINDS[kind] for kind in kinds]
        #: How many batches there were.
        self.number = 0

    def next(self) -> Batch:
        """The next one."""
        turn, which = divmod(self.number, len(self._kinds))
        self.number += 1
        return self._kinds[which](turn, self.number)


_FLEETS = [Fleet(Template(format), REAL, 0, nth * REAL) for nth, format in enumerate(FORMATS)]
# Lines, because what is shed would leave gaps, behind which the rest would wait.
_KERNELS = Fleet(Template("legacy", CHUNK), REAL, 0, 0)


def _real(turn: int, number: int) -> Batch:
    """Machines in every format."""
    nth, which = divmod(turn, len(_FLEETS))
    return _FLEETS[which].batch(nth * TOGETHER, (nth + 1) * TOGETHER)


def _full(turn: int, number: int) -> Batch:
    """The largest datagrams of kernels, none of which waits: a place in a queue each."""
    return _KERNELS.batch(turn * TOGETHER, (turn + 1) * TOGETHER)


def _strangers(number: int, datagrams: list[bytes]) -> Batch:
    """The same datagrams from as many new senders."""
    first = number * TOGETHER
    numbers = [FIRST_FORGED + (first + each) % FORGED for each in range(TOGETHER)]
    return [number for number in numbers for _ in datagrams], datagrams * TOGETHER


def _new(turn: int, number: int) -> Batch:
    """Strangers who are remembered with all that there is to remember: numbers in order, and a line."""
    return _strangers(number, [_FIRST, _SECOND, b"a line\n"])


def _waiting(turn: int, number: int) -> Batch:
    """Of each stranger something that waits for what never comes: behind a gap, a part, a line; small and large."""
    senders, datagrams = _strangers(number, [_FIRST, (_HELD, _PIECES[0], _HALF)[turn % 3]])
    # The second of each pair.
    datagrams[1:12:2] = [_HUGE_HELD, _HUGE_PIECE, _HUGE_HALF] * 2
    return senders, datagrams


def _large(turn: int, number: int) -> Batch:
    """The largest datagrams that there can be: whole, held, in parts, without an end, and full of ends."""
    senders, _ = _strangers(number, [b""])
    return (
        [senders[0], senders[1], senders[1], *senders[2:5]],
        [_whole(turn, _HUGE), _FIRST, _HUGE_HELD, _HUGE_PIECE, _HUGE_HALF, _NEWLINES],
    )


#: What costs memory, by the line of :mod:`benchmarks.bounds` that it is for; and real senders.
KINDS: dict[str, Callable[[int, int], Batch]] = {
    "real": _real,
    "queue": _full,
    "senders": _new,
    "waiting": _waiting,
    "large": _large,
}
