"""When which sender is told what arrived (docs/wire section 7). Not for more than one thread at a time.

A sender is answered at once, and then at most once in :data:`ACK_SECONDS`, with what is known at the end of that time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from netconsd.protocol.counters import AckCounters
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable

# A sender has at most 48 records under way: 20 ms let it send 2,400 per second, and are a tenth of the reorder time, in
# which what was lost should come again.
ACK_SECONDS = 0.02
# Forged senders by the thousand: beyond so many in ACK_SECONDS, new ones are not answered. An answer costs 17 to 23 us,
# the system call included (measured, plain Python), so that 12,800 per second are a quarter of a worker's time.
RECENT_LIMIT = 256


class Acks:
    """The acknowledgements of one worker."""

    def __init__(self, table: SourceTable, reply: Callable[[bytes, bytes], bool]) -> None:
        """
        :param table: the worker's senders.
        :param reply: sends a datagram to a sender (:attr:`netconsd.message.Source.key`); ``False`` if it cannot.
        """
        self.counters = AckCounters()
        self._table = table
        self._reply = reply
        # Who was answered lately, until when that counts as lately; in this order.
        self._recent: OrderedDict[bytes, float] = OrderedDict()
        # Those of them that sent something since.
        self._owed: set[bytes] = set()

    def heard(self, senders: Iterable[bytes], now: float) -> None:
        """Answer those who sent something, now or when it is their time; what they sent was delivered, or waits."""
        self.advance(now)
        for key in dict.fromkeys(senders):
            if key in self._recent:
                self._owed.add(key)
            elif len(self._recent) < RECENT_LIMIT:
                self._answer(key, now)
            else:
                self.counters.dropped += 1

    def advance(self, now: float) -> None:
        """Answer those whose time has come."""
        while self._recent:
            key, until = next(iter(self._recent.items()))
            if until > now:
                break
            del self._recent[key]
            if key in self._owed:
                self._owed.remove(key)
                self._answer(key, now)

    def next_deadline(self) -> float:
        """When :meth:`advance` is to be called next, at the latest; ``NEVER`` if there is no need."""
        return next(iter(self._recent.values())) if self._owed else NEVER

    def finish(self) -> None:
        """Give all outstanding answers: at the end."""
        for key in self._owed:
            self._answer(key, NEVER)
        self._owed.clear()

    def _answer(self, key: bytes, now: float) -> None:
        ack = self._table.acknowledgement(key)
        if ack is None:
            return
        self._recent[key] = now + ACK_SECONDS
        if self._reply(key, ack):
            self.counters.sent += 1
        else:
            self.counters.failed += 1
