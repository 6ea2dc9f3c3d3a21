"""The senders of a flood: forged ones, each with one datagram, and real ones between them.

Senders are numbers; their addresses are in 127.64.0.0/10 (:mod:`netconsd.send.source_addresses`).
"""

from __future__ import annotations

from collections.abc import Iterator

from netconsd.protocol.encode import CHUNK, extended, fragments
from netconsd.send.fleet import Fleet, Template

#: Real senders have the lowest numbers, and addresses that begin with :data:`REAL_PREFIX`.
REAL = 100
REAL_PREFIX = "127.64.0."
FIRST_FORGED = 256
#: Forged datagrams per message of a real sender.
FORGED_PER_MESSAGE = 10

# Built once: building each datagram would make the sender too slow.
_LONG = b"x" * (CHUNK - 64)
_PIECES = fragments(extended(_LONG * 100, seq=7))
_WHOLE = extended("forged", seq=7)
_LAST = extended(_LONG, seq=2**64 - 1, msgid=7)


def forged(number: int) -> bytes:
    """A forged datagram: a whole message, a fragment, a gap, or a line without an end, each as large as possible."""
    kind = number % 4
    if kind == 0:
        return _WHOLE
    if kind == 1:
        return _PIECES[number % len(_PIECES)]
    return _LAST if kind == 2 else b"a line without an end " + _LONG


class Crowd:
    """Forged datagrams with real messages between them, in the order of sending."""

    def __init__(self, forged: int) -> None:
        #: Number of forged datagrams, each from a different address.
        self.forged = forged
        #: Number of messages of all real senders, the same from each.
        self.messages = forged // FORGED_PER_MESSAGE // REAL * REAL
        # Half of the real senders send fragmented messages.
        self._fleets = [Fleet(Template(format), REAL // 2, 0, first) for format, first in _PARTS]

    def message(self, number: int) -> tuple[int, list[bytes]]:
        """The sender and the datagrams of a real message."""
        nth, fleet = divmod(number, 2)
        return self._fleets[fleet].message(nth)

    def batches(self) -> Iterator[tuple[list[int], list[bytes]]]:
        """Senders and datagrams: per batch one real message and its share of the forged datagrams."""
        for number in range(self.forged // FORGED_PER_MESSAGE):
            senders: list[int] = []
            datagrams: list[bytes] = []
            if number < self.messages:
                sender, datagrams = self.message(number)
                senders = [sender] * len(datagrams)
            forged_numbers = range(number * FORGED_PER_MESSAGE, (number + 1) * FORGED_PER_MESSAGE)
            yield (
                [*senders, *(FIRST_FORGED + index for index in forged_numbers)],
                [*datagrams, *map(forged, forged_numbers)],
            )


_PARTS = (("sysdata", 0), ("fragments", REAL // 2))
