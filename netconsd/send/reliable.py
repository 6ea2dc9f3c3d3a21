"""The sender of the reliable variant (docs/wire section 7): which records to send, which to repeat, and when.

Pure: the caller passes the time in, gets datagrams out, and reads ``deadline`` for the time of the next call.

Rules:

1. A record is kept until it is acknowledged. The numbers of the records in flight span at most :data:`AHEAD`, so that
   the receiver can still put the oldest one in its place.
2. A record that an acknowledgement names as missing is sent again, at most once in :data:`AGAIN_SECONDS`.
3. After :data:`PROBE_SECONDS` without an answer the oldest record in flight is sent again, and nothing new before an
   answer; then all unacknowledged records follow. The same applies at the start and after a silence: one record goes
   first, because a receiver that does not know the sender takes the first record it gets for the beginning.
4. After :data:`ANSWER_SECONDS` without an answer the sender is in an emergency. New records are sent at once, because
   somebody may read although nobody answers. All unacknowledged records are repeated in turn, slowly, marked
   ``ncemg=1``.
5. Any answer ends an emergency. The sender then does not know which records arrived, so it sends all of them once more
   from the oldest on, by the rules above. A receiver that has seen much newer records answers for these records while
   they arrive.
6. An acknowledgement of records that were not sent is ignored; after a second without a valid one it is an answer.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from dataclasses import dataclass

from netconsd.protocol.acknowledgement import ACK_BYTES
from netconsd.protocol.decode import Malformed, decode
from netconsd.protocol.encode import fragments
from netconsd.protocol.message import ExtendedMessage, Source
from netconsd.protocol.stream import NEVER
from netconsd.protocol.window import WINDOW

#: Default number of records that are kept: the C tool's number, at most 64 MiB.
SLOTS = 8192
# The kernel's own bound for a record of /dev/kmsg is 8 KiB (CONSOLE_EXT_LOG_MAX).
RECORD_LIMIT = 8192
# Prefix, numbers, flag and caller have about 60 bytes. Every fragment repeats the header and needs room for text.
HEADER_LIMIT = 256

# A receiver can put a record in its place until it is WINDOW behind the newest; the rest is for records in transit.
AHEAD = WINDOW * 3 // 4
# Answers arrive every 20 ms and name a missing record until it arrives: two repeats should be a round trip apart.
AGAIN_SECONDS = 0.05
# Longer than nearly every round trip.
PROBE_SECONDS = 0.25
# After this time without an acknowledgement the receiver may have been restarted, and not know the sender.
FRESH_SECONDS = 1.0

# docs/wire section 7.
ANSWER_SECONDS = 10.0
REPEAT_SECONDS = 0.1
SLOWEST_REPEAT_SECONDS = 1.0

_ACK = re.compile(rb"ncrx([0-9]{1,20})((?: [0-9]{1,20})*)[\0\n]?")
_U64_MAX = 2**64 - 1
_NOBODY = Source(bytes(16), 0)
_LONG_AGO = float("-inf")


def read_acknowledgement(datagram: bytes) -> tuple[int, list[int]] | None:
    """The last number received and the missing ones; ``None`` if the datagram is no acknowledgement."""
    match = _ACK.fullmatch(datagram) if len(datagram) <= ACK_BYTES + 1 else None
    if match is None:
        return None
    numbers = [int(match[1]), *map(int, match[2].split())]
    return (numbers[0], numbers[1:]) if max(numbers) <= _U64_MAX else None


@dataclass(slots=True)
class _Record:
    seq: int
    data: bytes
    sent_at: float = NEVER


class ReliableSender:
    """The records of one machine, and which of them one receiver has acknowledged. Times are monotonic seconds."""

    def __init__(self, slots: int = SLOTS) -> None:
        """:param slots: number of records that are kept; one more drops the oldest, which is counted."""
        #: Records dropped before they were acknowledged, and records that :meth:`add` refused.
        self.dropped = 0
        self.refused = 0
        #: True after :data:`ANSWER_SECONDS` without an answer.
        self.emergency = False
        self._slots = slots
        # Records sent and not acknowledged, and records to send. All of the former precede the latter.
        self._in_flight: OrderedDict[int, _Record] = OrderedDict()
        self._queue: deque[_Record] = deque()
        self._again: list[_Record] = []
        self._newest = -1
        # The highest seq sent.
        self._highest = -1
        # Time of the last valid acknowledgement.
        self._acknowledged_at = _LONG_AGO
        # Start of the wait for an answer.
        self._waiting_since = _LONG_AGO
        self._probed_at = _LONG_AGO
        # Until then answers are ignored: they may belong to records sent before the emergency ended.
        self._ignore_until = _LONG_AGO
        self._repeats: deque[int] = deque()
        self._repeat_at = NEVER
        self._repeat_seconds = REPEAT_SECONDS

    def __len__(self) -> int:
        return len(self._in_flight) + len(self._queue)

    @property
    def room(self) -> int:
        """Number of records to add without dropping older ones. In an emergency all slots: new ones are worth more."""
        return self._slots if self.emergency else max(0, self._slots - len(self))

    @property
    def deadline(self) -> float:
        """The time at which to call :meth:`take` if nothing happens before; ``NEVER`` if there is nothing to send."""
        if self.emergency:
            return _LONG_AGO if self._queue else self._repeat_at
        if self._in_flight:
            return min(self._waiting_since + ANSWER_SECONDS, max(self._waiting_since, self._probed_at) + PROBE_SECONDS)
        return self._ignore_until if self._queue else NEVER

    def add(self, data: bytes) -> bool:
        """Add a record of /dev/kmsg. Return ``False`` if it is malformed, or its seq not above the last one's."""
        seq = _seq(data)
        if seq is None or seq <= self._newest:
            self.refused += 1
            return False
        if len(self) >= self._slots:
            self.dropped += 1
            if self._in_flight:
                self._in_flight.popitem(last=False)
            else:
                self._queue.popleft()
        self._newest = seq
        self._queue.append(_Record(seq, data))
        return True

    def acknowledge(self, datagram: bytes, now: float) -> None:
        """Process a datagram from the receiver; one that is no acknowledgement is ignored."""
        acknowledgement = read_acknowledgement(datagram)
        if acknowledgement is None or now < self._ignore_until:
            return
        last, missing = acknowledgement
        oldest = next(iter(self._in_flight), self._highest)
        plausible = last <= self._highest and last - oldest < WINDOW
        if self.emergency or (not plausible and self._in_flight and now - self._waiting_since > FRESH_SECONDS):
            self._send_all_again(now)
        elif plausible:
            self._acknowledged_at = now
            self._settle(last, missing, now)
            self._waiting_since = now

    def take(self, now: float) -> list[bytes]:
        """Return the datagrams to send now."""
        out: list[bytes] = []
        if now < self._ignore_until:
            return out
        if self._in_flight and not self.emergency and now >= self._waiting_since + ANSWER_SECONDS:
            self._begin_emergency(now)
        for record in self._again:
            self._send(record, now, out)
        self._again = []
        if self.emergency:
            # Not the whole queue at once, so that the caller reads answers in between.
            for _ in range(min(AHEAD, len(self._queue))):
                self._send_next(now, out)
            if not self._queue and now >= self._repeat_at:
                self._repeat(now, out)
            return out
        while self._queue and self._may_send(self._queue[0].seq, now):
            self._send_next(now, out)
        if self._in_flight and now >= max(self._waiting_since, self._probed_at) + PROBE_SECONDS:
            self._probed_at = now
            self._send(next(iter(self._in_flight.values())), now, out)
        return out

    def _may_send(self, seq: int, now: float) -> bool:
        """True if rules 1 and 3 allow to send a new record."""
        if not self._in_flight:
            return True
        answered = now - self._acknowledged_at <= FRESH_SECONDS and self._probed_at <= self._waiting_since
        return answered and seq - next(iter(self._in_flight)) < AHEAD

    def _send_next(self, now: float, out: list[bytes]) -> None:
        record = self._queue.popleft()
        if not self._in_flight:
            self._waiting_since = now
        self._in_flight[record.seq] = record
        self._highest = max(self._highest, record.seq)
        self._send(record, now, out)

    def _send(self, record: _Record, now: float, out: list[bytes], *, repeat: bool = False) -> None:
        # With the mark, a receiver accepts a late record whose timestamp is far from the newest. The first record is
        # not marked: after a reboot it must reset the receiver's stream.
        repeat = repeat or (record.sent_at != NEVER and self._acknowledged_at != _LONG_AGO)
        record.sent_at = now
        data = record.data
        if repeat:
            header, _, body = data.partition(b";")
            data = header + b",ncemg=1;" + body
        out += fragments(data)

    def _settle(self, last: int, missing: list[int], now: float) -> None:
        """Delete the acknowledged records, and schedule the missing ones."""
        missing_set = set(missing)
        for seq in list(self._in_flight):
            if seq > last:
                break
            if seq not in missing_set:
                del self._in_flight[seq]
        if self._probed_at > self._waiting_since:
            # After a silence, the records above the last number were lost, or the receiver recognises them by seq.
            self._queue_again(after=last)
        for seq in missing:
            record = self._in_flight.get(seq)
            if record is not None and now >= record.sent_at + AGAIN_SECONDS:
                record.sent_at = now
                self._again.append(record)

    def _queue_again(self, after: int) -> None:
        """Put the records in flight whose seq is above ``after`` back into the queue."""
        while self._in_flight and next(reversed(self._in_flight)) > after:
            self._queue.appendleft(self._in_flight.popitem()[1])

    def _send_all_again(self, now: float) -> None:
        """End an emergency by rule 5."""
        self.emergency = False
        self._queue_again(after=-1)
        self._again = []
        self._acknowledged_at = _LONG_AGO
        self._waiting_since = now
        self._ignore_until = now + PROBE_SECONDS

    def _begin_emergency(self, now: float) -> None:
        self.emergency = True
        self._repeats.clear()
        self._repeat_seconds = REPEAT_SECONDS / 2
        self._repeat_at = now

    def _repeat(self, now: float, out: list[bytes]) -> None:
        """Send one record again. After a round over all records, start another one at half the speed."""
        if not self._repeats:
            self._repeats.extend(self._in_flight)
            self._repeat_seconds = min(2 * self._repeat_seconds, SLOWEST_REPEAT_SECONDS)
        record = None
        while self._repeats and record is None:
            record = self._in_flight.get(self._repeats.popleft())
        if record is not None:
            self._send(record, now, out, repeat=True)
        self._repeat_at = now + self._repeat_seconds


def _seq(data: bytes) -> int | None:
    """The seq of a record; ``None`` if it is malformed or too large."""
    if len(data) > RECORD_LIMIT or not 0 <= data.find(b";") <= HEADER_LIMIT:
        return None
    try:
        message = decode(data, _NOBODY, 0.0)
    except Malformed:
        return None
    return message.seq if isinstance(message, ExtendedMessage) else None
