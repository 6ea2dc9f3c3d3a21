"""The schedule of one worker's acknowledgements (docs/wire section 7). Not thread-safe.

A sender's first datagrams are acknowledged at once. Within the next :data:`ACK_SECONDS` it gets no acknowledgement, and
at their end one for all datagrams since.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from netconsd.protocol.counters import AckCounters
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable

# A sender has at most 48 unacknowledged records. With 20 ms it can send 2,400 records per second, and a lost record can
# be re-sent within the reorder time, which is ten times as long.
ACK_SECONDS = 0.02
# Against thousands of forged senders: beyond this number within ACK_SECONDS, no further sender is answered. An answer
# takes 17 to 23 us, the system call included (measured, plain Python), so that 12,800 per second take a quarter of a
# worker's time.
RECENT_LIMIT = 256


class Acks:
    """The acknowledgements of one worker."""

    def __init__(self, table: SourceTable, reply: Callable[[bytes, bytes], bool]) -> None:
        """
        :param table: the worker's senders.
        :param reply: sends a datagram to a sender (:attr:`netconsd.message.Source.key`); returns ``False`` on failure.
        """
        self.counters = AckCounters()
        self._table = table
        self._reply = reply
        # The senders answered within the last ACK_SECONDS, each with the end of that time; in that order.
        self._recent: OrderedDict[bytes, float] = OrderedDict()
        # The senders in _recent that have sent datagrams since.
        self._due: set[bytes] = set()

    def heard(self, senders: Iterable[bytes], now: float) -> None:
        """Acknowledge the senders of a processed batch, now or at the end of ACK_SECONDS."""
        self.advance(now)
        for key in dict.fromkeys(senders):
            if key in self._recent:
                self._due.add(key)
            elif len(self._recent) < RECENT_LIMIT:
                self._answer(key, now)
            else:
                self.counters.dropped += 1

    def advance(self, now: float) -> None:
        """Send the acknowledgements that are due by ``now``."""
        while self._recent:
            key, until = next(iter(self._recent.items()))
            if until > now:
                break
            del self._recent[key]
            if key in self._due:
                self._due.remove(key)
                self._answer(key, now)

    def next_deadline(self) -> float:
        """The latest time for the next call of :meth:`advance`; ``NEVER`` if none is needed."""
        return next(iter(self._recent.values())) if self._due else NEVER

    def finish(self) -> None:
        """Send all acknowledgements that are due later; to be called at the end."""
        for key in self._due:
            self._answer(key, NEVER)
        self._due.clear()

    def _answer(self, key: bytes, now: float) -> None:
        ack = self._table.acknowledgement(key)
        if ack is None:
            return
        self._recent[key] = now + ACK_SECONDS
        if self._reply(key, ack):
            self.counters.sent += 1
        else:
            self.counters.failed += 1
