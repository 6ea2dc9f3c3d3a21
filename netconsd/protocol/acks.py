"""The schedule of one worker's acknowledgements (docs/wire section 7). Not thread-safe.

Rules:

1. Only a record, or a fragment of one, is acknowledged. An acknowledgement is no record, so that two receivers do not
   answer each other. A service that returns each datagram (RFC 862) or answers each (RFC 864) gets one acknowledgement
   for a record that was forged with its address, and none for its answers. Nothing else is answered, also not if its
   sender sent records before.
2. A sender's first records are acknowledged at once. Within the next :data:`ACK_SECONDS` it gets no acknowledgement,
   and at their end one for all records since.
3. The bytes sent to an address, whatever the port, never exceed the bytes received from it. An acknowledgement for
   which the address has not sent enough is dropped.
4. Of one address at most :data:`ADDRESS_LIMIT` senders, of all together at most :data:`RECENT_LIMIT`, are acknowledged
   within :data:`ACK_SECONDS`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from netconsd.protocol.acknowledgement import ACK_BYTES
from netconsd.protocol.counters import AckCounters
from netconsd.protocol.decode import Malformed, decode
from netconsd.protocol.message import Source
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable

# A sender has at most 48 unacknowledged records. With 20 ms it can send 2,400 records per second, and a lost record can
# be re-sent within the reorder time, which is ten times as long.
ACK_SECONDS = 0.02
# Against thousands of forged senders: beyond this number within ACK_SECONDS, no further sender is answered. An answer
# takes 17 to 23 us, the system call included (measured, plain Python), so that 12,800 per second take a quarter of a
# worker's time.
RECENT_LIMIT = 256
# Against one address with thousands of forged ports, which would use up RECENT_LIMIT. Machines behind one translated
# address share these 800 answers per second.
ADDRESS_LIMIT = 16
# Bytes that an address has sent and that were not answered are remembered up to this number. It is enough for several
# long acknowledgements in a row, and bounds the answers to an address that was forged all day.
CREDIT_LIMIT = 16 * ACK_BYTES
# Addresses whose bytes are remembered. The one silent longest is forgotten, which never lets more be sent to it.
ADDRESSES_LIMIT = 4096

_NOBODY = Source(bytes(16), 0)
# The bytes of the address in a key; the port follows.
_ADDRESS = slice(16)


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
        # The number of senders in _recent of each address.
        self._answered: dict[bytes, int] = {}
        # The senders in _recent that have sent records since.
        self._due: set[bytes] = set()
        # The bytes that may be sent to an address; the address that is silent longest is first.
        self._credit: OrderedDict[bytes, int] = OrderedDict()

    def heard(self, senders: Sequence[bytes], datagrams: Sequence[bytes], now: float) -> None:
        """Acknowledge the senders of the records in a processed batch, now or at the end of ACK_SECONDS.

        :param senders: the sender of each datagram.
        """
        self.advance(now)
        for key, size in _records(senders, datagrams).items():
            address = key[_ADDRESS]
            self._add_credit(address, size)
            if key in self._recent:
                self._due.add(key)
            elif len(self._recent) < RECENT_LIMIT and self._answered.get(address, 0) < ADDRESS_LIMIT:
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
            self._forget_answer(key[_ADDRESS])
            if key in self._due:
                self._due.remove(key)
                self._answer(key, now)

    def next_deadline(self) -> float:
        """The latest time for the next call of :meth:`advance`; ``NEVER`` if none is needed."""
        return next(iter(self._recent.values())) if self._due else NEVER

    def finish(self) -> None:
        """Send all acknowledgements that are due later; to be called at the end."""
        for key in self._due:
            self._send(key)
        self._due.clear()

    def _answer(self, key: bytes, now: float) -> None:
        if self._send(key):
            self._recent[key] = now + ACK_SECONDS
            address = key[_ADDRESS]
            self._answered[address] = self._answered.get(address, 0) + 1

    def _send(self, key: bytes) -> bool:
        """Acknowledge the records of a sender; return ``False`` if there is nothing to send."""
        address = key[_ADDRESS]
        credit = self._credit.get(address, 0)
        ack = self._table.acknowledgement(key, min(ACK_BYTES, credit))
        if ack is None:
            return False
        if not ack:
            self.counters.dropped += 1
            return False
        self._credit[address] = credit - len(ack)
        if self._reply(key, ack):
            self.counters.sent += 1
        else:
            self.counters.failed += 1
        return True

    def _add_credit(self, address: bytes, size: int) -> None:
        credit = self._credit.pop(address, 0) + size
        if len(self._credit) >= ADDRESSES_LIMIT:
            self._credit.popitem(last=False)
        self._credit[address] = min(credit, CREDIT_LIMIT)

    def _forget_answer(self, address: bytes) -> None:
        self._answered[address] -= 1
        if not self._answered[address]:
            del self._answered[address]


def _records(senders: Sequence[bytes], datagrams: Sequence[bytes]) -> dict[bytes, int]:
    """The senders of records, each with the bytes of its datagrams from its first record on."""
    sizes: dict[bytes, int] = {}
    for key, datagram in zip(senders, datagrams, strict=True):
        if key in sizes:
            sizes[key] += len(datagram)
        elif _is_record(datagram):
            sizes[key] = len(datagram)
    return sizes


def _is_record(datagram: bytes) -> bool:
    # Another receiver's acknowledgement is never a record, whatever follows in the datagram.
    if datagram.startswith(b"ncrx"):
        return False
    try:
        return decode(datagram, _NOBODY, 0.0) is not None
    except Malformed:
        return False
