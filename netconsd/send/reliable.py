"""The sender's side of the reliable variant (docs/wire section 7): what to send, what again, and when.

Pure: the caller passes the time in, gets datagrams out, and learns when to ask again.

Rules:

1. A record is kept until it is acknowledged. At most :data:`AHEAD` numbers lie between the oldest record under way and
   the newest, so that the receiver can still put the oldest in its place.
2. What an acknowledgement names as missing is sent again, at most once in :data:`AGAIN_SECONDS`.
3. After :data:`PROBE_SECONDS` without an answer the oldest record under way is sent again, and nothing new before an
   answer comes; then all that is still open follows. So it is at the beginning and after a silence, too: one record
   goes first, since a receiver that knows nothing takes the first one that it gets for the beginning.
4. After :data:`ANSWER_SECONDS` without an answer it is an emergency. New records go out as they come: if nobody
   answers, perhaps somebody reads. All that was sent is sent again, over and over and slowly, marked ``ncemg=1``.
5. Any sign of life ends an emergency. Nobody knows then what arrived, so everything is sent once more, from the oldest
   record on and by the rules above. A receiver that has seen much newer ones takes that for a restart.
6. An acknowledgement that cannot be true is ignored; after a second without a true one it is a sign of life.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque

from netconsd.protocol.acknowledgement import ACK_BYTES
from netconsd.protocol.decode import Malformed, decode
from netconsd.protocol.encode import fragments
from netconsd.protocol.message import ExtendedMessage, Source
from netconsd.protocol.stream import NEVER
from netconsd.protocol.window import WINDOW

#: How many records are kept unless the caller says otherwise: as many as in the C tool, 64 MiB at the very most.
SLOTS = 8192
# The kernel's own bound for a record of /dev/kmsg is 8 KiB (CONSOLE_EXT_LOG_MAX).
RECORD_LIMIT = 8192
# Prefix, numbers, flag and caller are some 60 bytes. Every fragment needs room for the header and more.
HEADER_LIMIT = 256

# A receiver can put a record in its place until it is WINDOW behind the newest; the rest is for what is on the way.
AHEAD = WINDOW * 3 // 4
# Answers come every 20 ms and name what is missing until it has come: a round trip should lie between two repeats.
AGAIN_SECONDS = 0.05
# Longer than nearly every round trip.
PROBE_SECONDS = 0.25
# How long an acknowledgement proves that the receiver knows us. It may have been started anew since.
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
    """The last number received and the missing ones; ``None`` for anything else than an acknowledgement."""
    match = _ACK.fullmatch(datagram) if len(datagram) <= ACK_BYTES + 1 else None
    if match is None:
        return None
    numbers = [int(match[1]), *map(int, match[2].split())]
    return (numbers[0], numbers[1:]) if max(numbers) <= _U64_MAX else None


class _Record:
    __slots__ = ("data", "sent_at", "seq")

    def __init__(self, seq: int, data: bytes) -> None:
        self.seq = seq
        self.data = data
        self.sent_at = NEVER


class ReliableSender:
    """The records of one machine on their way to one receiver. Times are monotonic seconds."""

    def __init__(self, slots: int = SLOTS) -> None:
        """
        :param slots: how many records are kept; one more pushes out the oldest, which is counted.
        """
        #: Records that were acknowledged; those pushed out before they were; those that :meth:`add` refused.
        self.acknowledged = 0
        self.dropped = 0
        self.refused = 0
        #: Datagrams that were no acknowledgements, and acknowledgements that could not be true.
        self.malformed = 0
        self.implausible = 0
        #: Whether nobody has answered for :data:`ANSWER_SECONDS`.
        self.emergency = False
        self._slots = slots
        # Sent, and not acknowledged; and not sent yet, or to be sent anew. All of the first are before the second.
        self._under_way: OrderedDict[int, _Record] = OrderedDict()
        self._queue: deque[_Record] = deque()
        self._again: list[_Record] = []
        self._newest = -1
        # The highest number sent.
        self._highest = -1
        # The last true acknowledgement.
        self._heard = _LONG_AGO
        # Since when an answer is expected.
        self._since = _LONG_AGO
        self._probed_at = _LONG_AGO
        # Answers to what was sent before this time are not told from those to what is sent now.
        self._deaf_until = _LONG_AGO
        self._repeats: deque[int] = deque()
        self._repeat_at = NEVER
        self._repeat_seconds = REPEAT_SECONDS

    def __len__(self) -> int:
        return len(self._under_way) + len(self._queue)

    @property
    def room(self) -> int:
        """How many records to add at most, lest they push out older ones: in an emergency new ones are worth more."""
        return self._slots if self.emergency else max(0, self._slots - len(self))

    @property
    def deadline(self) -> float:
        """When to call :meth:`take` if nothing happens before; ``NEVER`` if there is no need."""
        if self.emergency:
            return _LONG_AGO if self._queue else self._repeat_at
        if self._under_way:
            return min(self._since + ANSWER_SECONDS, max(self._since, self._probed_at) + PROBE_SECONDS)
        return self._deaf_until if self._queue else NEVER

    def add(self, data: bytes) -> bool:
        """Take a record as /dev/kmsg has it; ``False`` for what is none, or does not come after the one before."""
        seq = _seq(data)
        if seq is None or seq <= self._newest:
            self.refused += 1
            return False
        if len(self) >= self._slots:
            self.dropped += 1
            if self._under_way:
                self._under_way.popitem(last=False)
            else:
                self._queue.popleft()
        self._newest = seq
        self._queue.append(_Record(seq, data))
        return True

    def acknowledge(self, datagram: bytes, now: float) -> None:
        """Take what came from the receiver."""
        found = read_acknowledgement(datagram)
        if found is None:
            self.malformed += 1
            return
        last, missing = found
        if now < self._deaf_until:
            return
        oldest = next(iter(self._under_way), self._highest)
        plausible = last <= self._highest and last - oldest < WINDOW
        if not plausible:
            self.implausible += 1
        if self.emergency or (not plausible and self._under_way and now - self._since > FRESH_SECONDS):
            self._start_anew(now)
        elif plausible:
            self._heard = now
            self._settle(last, missing, now)
            self._since = now

    def take(self, now: float) -> list[bytes]:
        """The datagrams to send now."""
        out: list[bytes] = []
        if now < self._deaf_until:
            return out
        if self._under_way and not self.emergency and now >= self._since + ANSWER_SECONDS:
            self._begin_emergency(now)
        for record in self._again:
            self._send(record, now, out)
        self._again = []
        if self.emergency:
            # Not all that was held back at once, so that an answer is heard in between.
            for _ in range(min(AHEAD, len(self._queue))):
                self._send_next(now, out)
            if not self._queue and now >= self._repeat_at:
                self._repeat(now, out)
            return out
        while self._queue and self._may_send(self._queue[0].seq, now):
            self._send_next(now, out)
        if self._under_way and now >= max(self._since, self._probed_at) + PROBE_SECONDS:
            self._probed_at = now
            self._send(next(iter(self._under_way.values())), now, out)
        return out

    def _may_send(self, seq: int, now: float) -> bool:
        """Rules 1 and 3."""
        if not self._under_way:
            return True
        answered = now - self._heard <= FRESH_SECONDS and self._probed_at <= self._since
        return answered and seq - next(iter(self._under_way)) < AHEAD

    def _send_next(self, now: float, out: list[bytes]) -> None:
        record = self._queue.popleft()
        if not self._under_way:
            self._since = now
        self._under_way[record.seq] = record
        self._highest = max(self._highest, record.seq)
        self._send(record, now, out)

    def _send(self, record: _Record, now: float, out: list[bytes], *, repeat: bool = False) -> None:
        # The mark lets a record be late whose time stamp is far from that of the newest. The first record must not
        # have it: after a reboot it has to make counting start anew.
        repeat = repeat or (record.sent_at != NEVER and self._heard != _LONG_AGO)
        record.sent_at = now
        data = record.data
        if repeat:
            header, _, body = data.partition(b";")
            data = header + b",ncemg=1;" + body
        out += fragments(data)

    def _settle(self, last: int, missing: list[int], now: float) -> None:
        """Forget what was received, and see to what was not."""
        wanted = set(missing)
        for seq in list(self._under_way):
            if seq > last:
                break
            if seq not in wanted:
                del self._under_way[seq]
                self.acknowledged += 1
        if self._probed_at > self._since:
            # There was silence, so what is open beyond the last number was lost, or waits and is known by its number.
            self._queue_again(after=last)
        for seq in missing:
            record = self._under_way.get(seq)
            if record is not None and now >= record.sent_at + AGAIN_SECONDS:
                record.sent_at = now
                self._again.append(record)

    def _queue_again(self, after: int) -> None:
        """Put what is under way, above a number, back into the queue."""
        while self._under_way and next(reversed(self._under_way)) > after:
            self._queue.appendleft(self._under_way.popitem()[1])

    def _start_anew(self, now: float) -> None:
        """Rule 5."""
        self.emergency = False
        self._queue_again(after=-1)
        self._again = []
        self._heard = _LONG_AGO
        self._since = now
        self._deaf_until = now + PROBE_SECONDS

    def _begin_emergency(self, now: float) -> None:
        self.emergency = True
        self._repeats.clear()
        self._repeat_seconds = REPEAT_SECONDS / 2
        self._repeat_at = now

    def _repeat(self, now: float, out: list[bytes]) -> None:
        """Send one record again, and when all had their turn begin anew, more slowly."""
        if not self._repeats:
            self._repeats.extend(self._under_way)
            self._repeat_seconds = min(2 * self._repeat_seconds, SLOWEST_REPEAT_SECONDS)
        record = None
        while self._repeats and record is None:
            record = self._under_way.get(self._repeats.popleft())
        if record is not None:
            self._send(record, now, out, repeat=True)
        self._repeat_at = now + self._repeat_seconds


def _seq(data: bytes) -> int | None:
    """The number of a record that can be sent."""
    if len(data) > RECORD_LIMIT or not 0 <= data.find(b";") <= HEADER_LIMIT:
        return None
    try:
        message = decode(data, _NOBODY, 0.0)
    except Malformed:
        return None
    return message.seq if isinstance(message, ExtendedMessage) else None
