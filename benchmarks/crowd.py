"""Who sends in a flood: strangers who forge a new address for each datagram, and real machines in their midst.

Everybody sends from an address of 127.64.0.0/10, by number: see :mod:`netconsd.send.source_addresses`.
"""

from __future__ import annotations

from collections.abc import Iterator

from netconsd.protocol.encode import CHUNK, extended, fragments
from netconsd.send.fleet import Fleet, Template

#: Real senders are those with the lowest numbers: the addresses that begin with :data:`REAL_PREFIX`.
REAL = 100
REAL_PREFIX = "127.64.0."
FIRST_FORGED = 256
#: So many forged datagrams come to one message of a real sender: to 1,000 one of each real sender.
FORGED_PER_MESSAGE = 10

# Made once: a sender that makes each anew is slower than any flood.
_LONG = b"x" * (CHUNK - 64)
_PIECES = fragments(extended(_LONG * 100, seq=7))
_WHOLE = extended("forged", seq=7)
_LAST = extended(_LONG, seq=2**64 - 1, msgid=7)


def forged(number: int) -> bytes:
    """A datagram of a stranger: whole, or something of which the rest never comes, as large as it can be."""
    kind = number % 4
    if kind == 0:
        return _WHOLE
    if kind == 1:
        return _PIECES[number % len(_PIECES)]
    return _LAST if kind == 2 else b"a line without an end " + _LONG


class Crowd:
    """A number of forged datagrams, and the real messages between them, in the order in which they are sent."""

    def __init__(self, forged: int) -> None:
        #: Datagrams of strangers, each from another address.
        self.forged = forged
        #: Messages of all real senders together, as many from each.
        self.messages = forged // FORGED_PER_MESSAGE // REAL * REAL
        # Half of the real ones send messages in pieces.
        self._fleets = [Fleet(Template(format), REAL // 2, 0, first) for format, first in _PARTS]

    def message(self, number: int) -> tuple[int, list[bytes]]:
        """A real message: its sender, and its datagrams."""
        nth, which = divmod(number, 2)
        return self._fleets[which].message(nth)

    def batches(self) -> Iterator[tuple[list[int], list[bytes]]]:
        """Senders and datagrams, a real message and the strangers' that come to it at a time."""
        for number in range(self.forged // FORGED_PER_MESSAGE):
            senders: list[int] = []
            datagrams: list[bytes] = []
            if number < self.messages:
                sender, datagrams = self.message(number)
                senders = [sender] * len(datagrams)
            strangers = range(number * FORGED_PER_MESSAGE, (number + 1) * FORGED_PER_MESSAGE)
            yield [*senders, *(FIRST_FORGED + each for each in strangers)], [*datagrams, *map(forged, strangers)]


_PARTS = (("sysdata", 0), ("fragments", REAL // 2))
