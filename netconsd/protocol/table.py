"""The table of one worker's senders: bounded, with deadlines, ageing and eviction.

Pure: the caller passes the time in, and gets the next deadline out. Not thread-safe.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush, nlargest
from operator import attrgetter, methodcaller

from netconsd.protocol import octets
from netconsd.protocol.acknowledgement import ACK_BYTES, acknowledgement
from netconsd.protocol.counters import SENDER_COUNTERS, SenderCounters, WorkerCounters
from netconsd.protocol.legacy import FRAMINGS
from netconsd.protocol.message import LegacyDatagram, LegacyMessage, Message, Source, source_of
from netconsd.protocol.neighbours import Neighbours
from netconsd.protocol.recency import Recency
from netconsd.protocol.stream import NEVER, Stream, new_stream
from netconsd.protocol.urgent import is_urgent

# The bytes held for all senders of a worker: messages behind a gap, fragments, unfinished lines. If thousands of forged
# senders leave a gap each, the oldest held messages are released early instead of filling the memory.
TOTAL_HELD_BYTES_LIMIT = 64 * 1024 * 1024
# A machine that boots or crashes sends thousands of lines at once. A sender may therefore be ahead of its rate by the
# datagrams of this many seconds.
BURST_SECONDS = 10.0
# The end of a crash is worth more than anything else that a sender can send. After a datagram that looks urgent
# (netconsd.protocol.urgent), a sender may exceed its rate for this many seconds: 400 lines take about as long if the
# machine also writes them to a serial console of 9600 baud.
CRASH_SECONDS = 30.0
# ... by this many datagrams. An oops has 60 to 140, a report of lockdep 400, and the backtraces of 100 processors 4000.
# A flood of forged emergencies therefore gets no more than these at once,
CRASH_DATAGRAMS = 4096.0
# and as many again in this many seconds, 6.8 a second: a crash of 400 lines each minute.
CRASH_REFILL_SECONDS = 600.0
# A sender's limitation begins again after this many seconds without a drop.
LIMITED_SECONDS = 60.0
# The log names this many senders per worker whose limitation has begun since it last looked. Thousands can be forged.
LIMITED_SENDERS = 4
# The schedule is cleaned when it has this many more entries than twice the senders.
SCHEDULE_SLACK = 64
# A legacy datagram of 64 KiB can be 8320 messages (netconsd.protocol.legacy). A batch of a thousand of them is
# delivered in parts of this many messages, plus the messages of one datagram.
OUT_LIMIT = 8192
# A batch can also be a quarter of a gigabyte, of which a module may make ten times as much. It is delivered in parts of
# this many bytes, plus one datagram.
OUT_BYTES_LIMIT = 1024 * 1024

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(BURST_SECONDS=BURST_SECONDS, OUT_LIMIT=OUT_LIMIT, OUT_BYTES_LIMIT=OUT_BYTES_LIMIT)
globals().update(CRASH_SECONDS=CRASH_SECONDS, CRASH_DATAGRAMS=CRASH_DATAGRAMS, LIMITED_SECONDS=LIMITED_SECONDS)
globals().update(CRASH_REFILL_SECONDS=CRASH_REFILL_SECONDS)


class SourceTable:
    """The streams of a worker's senders, by :attr:`netconsd.message.Source.key`."""

    def __init__(
        self,
        counters: WorkerCounters,
        *,
        limit: int,
        reorder_time: float,
        gc_interval: float,
        age: float,
        held_limit: int = TOTAL_HELD_BYTES_LIMIT,
        legacy_datagrams: bool = False,
        rate: float = 0.0,
        framing: str = "auto",
    ) -> None:
        """
        :param limit: the greatest number of senders. A further sender replaces the one that was silent longest, so that
            datagrams with forged addresses do not fill the memory.
        :param reorder_time: the longest time in seconds that a message is held because others are missing.
        :param gc_interval: the interval in seconds at which senders are removed that were silent for ``age`` seconds; 0
            for never.
        :param held_limit: the bytes that may be held for all senders together; above it the oldest are released early.
        :param legacy_datagrams: also deliver each legacy datagram as a whole, before its lines.
        :param rate: the datagrams per second that a sender may send in the long run, and :data:`BURST_SECONDS` times as
            many at once; 0 for no limit. Datagrams above it are dropped, except those of a crash, up to
            :data:`CRASH_DATAGRAMS`.
        :param framing: where a line of legacy text ends: one of :data:`~netconsd.protocol.legacy.FRAMINGS`.
        """
        self._counters = counters
        # Seconds per datagram at the rate; 0 without a rate.
        self._interval = 1.0 / rate if rate else 0.0
        #: The senders whose limitation by ``rate`` has begun, at most :data:`LIMITED_SENDERS`, the latest last. Another
        #: thread may remove them.
        self.limited: deque[Source] = deque(maxlen=LIMITED_SENDERS)
        self._limit = limit
        self._reorder_time = reorder_time
        self._gc_interval = gc_interval
        self._age = age
        self._held_limit = held_limit
        self._legacy_datagrams = legacy_datagrams
        self._framing = FRAMINGS.index(framing)
        self._streams: dict[bytes, Stream] = {}
        self._recency = Recency()
        self._neighbours = Neighbours(limit, self._recency)
        # A heap of (deadline, ticket, stream). An entry is valid if its deadline is the stream's ``scheduled_at``
        # (NEVER without an entry). The stream may have released its messages since. The ticket is unique, so that two
        # streams are not compared.
        self._schedule: list[tuple[float, int, Stream]] = []
        self._ticket = 0
        self._cost = 0
        self._next_gc = NEVER

    def set_rate(self, rate: float) -> None:
        """Change the rate from the next datagram on; see the constructor. A sender keeps what it has used up."""
        self._interval = 1.0 / rate if rate else 0.0

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def held_bytes(self) -> int:
        """The approximate memory in bytes of all that the streams hold."""
        return self._cost

    def feed(
        self,
        senders: list[bytes],
        datagrams: list[bytes],
        received_at: float,
        now: float,
        complete: float | None = None,
    ) -> list[Message]:
        """Process a batch of datagrams; return the messages that can be delivered now, in order per sender.

        :param senders: the sender of each datagram, as :attr:`netconsd.message.Source.key`.
        :param received_at: the Unix time that the messages show.
        :param now: the monotonic time at which they were read, from which deadlines count.
        :param complete: everything received before this monotonic time is in this batch or was fed before. Deadlines up
            to it expire after the batch; by default up to ``now``.
        """
        if complete is None:
            complete = now
        messages: list[Message] = []
        done = 0
        while done < len(datagrams):
            part: list[Message] = []
            done = self.feed_part(senders, datagrams, received_at, now, done, part, complete)
            messages += part
        return messages

    def feed_part(
        self,
        senders: list[bytes],
        datagrams: list[bytes],
        received_at: float,
        now: float,
        start: int,
        out: list[Message],
        complete: float,
    ) -> int:
        """Process a batch from the index ``start``, as :meth:`feed`, to its end or a bound: :data:`OUT_LIMIT` messages
        in ``out``, or :data:`OUT_BYTES_LIMIT` bytes of datagrams.

        :returns: the index of the next datagram to process.
        """
        streams = self._streams
        index = start
        end = len(datagrams)
        size = 0
        while index < end and len(out) < OUT_LIMIT and size < OUT_BYTES_LIMIT:
            key = octets.item_at(senders, index)
            datagram = octets.item_at(datagrams, index)
            index += 1
            size += len(datagram)
            known = streams.get(key)
            if known is None:
                stream = self._add_sender(key, now, out)
            else:
                stream = known
                if stream.last_seen != now:
                    self._recency.touch(stream.number)
            count = len(out)
            if self._interval and self._is_over_rate(stream, datagram, now):
                self._drop_over_rate(stream, datagram, now)
                continue
            cost = stream.cost
            stream.feed(datagram, received_at, now, out)
            if self._interval:
                self._mark_limited(stream, out, count)
            self._cost += stream.cost - cost
            if stream.deadline < stream.scheduled_at:
                self._put_on_schedule(stream)
            if self._cost > self._held_limit:
                self._release_early(out)
        # A part expires nothing: the rest of the batch may have the missing datagrams.
        if index == end:
            self._expire(complete, out)
        return index

    def acknowledgement(self, key: bytes, room: int = ACK_BYTES) -> bytes | None:
        """The acknowledgement for a sender, in at most ``room`` bytes; ``None`` before its first record."""
        stream = self._streams.get(key)
        return None if stream is None else acknowledgement(stream, room)

    def advance(self, now: float) -> list[Message]:
        """Return the messages whose time is over by ``now``; remove senders that were silent too long.

        :param now: everything received before this monotonic time was fed.
        """
        out: list[Message] = []
        self._expire(now, out)
        return out

    def next_deadline(self) -> float:
        """The latest time for the next call of :meth:`advance`; ``NEVER`` if none is needed."""
        return min(self._schedule[0][0], self._next_gc) if self._schedule else self._next_gc

    def flush(self) -> list[Message]:
        """Return all held messages, in order per sender. The senders stay in the table."""
        out: list[Message] = []
        for stream in self._streams.values():
            count = len(out)
            stream.flush(out)
            self._mark_limited(stream, out, count)
            stream.scheduled_at = NEVER
        self._schedule.clear()
        self._cost = 0
        return out

    def heard(self, since: float) -> list[tuple[Source, float, int]]:
        """The senders heard at a monotonic time or later, each with that of its last datagram and its messages' number.

        The one heard last is first. The others cost nothing.
        """
        senders: list[tuple[Source, float, int]] = []
        recency = self._recency
        number = recency.older(0)
        while True:
            stream = recency.stream(number)
            if stream is None or stream.last_seen < since:
                return senders
            senders.append((stream.source, stream.last_seen, stream.messages))
            number = recency.older(number)

    def top(self, count: int, by: str) -> list[SenderCounters]:
        """The senders with the highest value of one of :data:`~netconsd.protocol.counters.SENDER_COUNTERS`.

        Takes about 50 ms per 100,000 senders.

        :raises ValueError: ``by`` is not one of them.
        """
        if by not in SENDER_COUNTERS:
            raise ValueError(f"{by!r} is not one of {', '.join(SENDER_COUNTERS)}")
        key = attrgetter(by) if hasattr(Stream, by) else methodcaller("count", by)
        return [_sender_counters(stream) for stream in nlargest(count, self._streams.values(), key=key)]

    def _add_sender(self, key: bytes, now: float, out: list[Message]) -> Stream:
        if len(self._streams) >= self._limit:
            self._remove_oldest(out)
            self._counters.senders_evicted += 1
        if self._gc_interval and self._next_gc == NEVER:
            self._next_gc = now + self._gc_interval
        key = octets.own(key)
        stream = new_stream(source_of(key), self._counters, self._reorder_time, self._legacy_datagrams, self._framing)
        stream.number = self._recency.add(stream)
        try:
            stream.neighbours = self._neighbours.add(key, stream)
            self._streams[key] = stream
        except MemoryError:
            self._recency.remove(stream.number)
            raise
        self._counters.senders_new += 1
        return stream

    def _is_over_rate(self, stream: Stream, datagram: bytes, now: float) -> bool:
        """True if one more datagram exceeds the sender's rate and allowance; if not, it is charged to one of them.

        The generic cell rate algorithm (GCRA): a token bucket in one number, the theoretical arrival time.
        """
        # Also of datagrams within the rate: the first line of a crash usually is, and the rest is not.
        if is_urgent(datagram):
            rare = stream.rare()
            rare.crash_until = now + CRASH_SECONDS
        theoretical_arrival = max(stream.theoretical_arrival, now) + self._interval
        if theoretical_arrival - now <= BURST_SECONDS:
            stream.theoretical_arrival = theoretical_arrival
            return False
        if stream.rare_counters is None:
            return True
        rare = stream.rare()
        if now >= rare.crash_until:
            return True
        theoretical_arrival = max(rare.crash_arrival, now) + CRASH_REFILL_SECONDS / CRASH_DATAGRAMS
        if theoretical_arrival - now > CRASH_REFILL_SECONDS:
            return True
        rare.crash_arrival = theoretical_arrival
        self._counters.accepted_over_rate += 1
        return False

    def _drop_over_rate(self, stream: Stream, datagram: bytes, now: float) -> None:
        """Count a datagram without decoding it."""
        self._counters.datagrams += 1
        self._counters.bytes += len(datagram)
        self._counters.dropped_over_rate += 1
        rare = stream.rare()
        rare.dropped_over_rate += 1
        rare.limited += 1
        rare.limited_datagrams += self._legacy_datagrams
        if now - rare.limited_at >= LIMITED_SECONDS:
            self._counters.senders_limited += 1
            self.limited.append(stream.source)
        rare.limited_at = now
        stream.datagrams += 1
        stream.bytes += len(datagram)
        stream.last_seen = now

    def _mark_limited(self, stream: Stream, out: list[Message], start: int) -> None:
        """Set ``limited`` of the sender's first message from the index ``start`` on, if it had datagrams dropped."""
        rare = stream.rare_counters
        if rare is None or not (rare.limited or rare.limited_datagrams):
            return
        # A module gets each datagram of legacy text as a whole, or its lines; it sees the number once.
        for message in out[start:]:
            if isinstance(message, LegacyDatagram):
                message._limited = rare.limited_datagrams
                rare.limited_datagrams = 0
                continue
            message._limited = rare.limited
            rare.limited = 0
            if not isinstance(message, LegacyMessage):
                rare.limited_datagrams = 0
            break

    def _remove_oldest(self, out: list[Message]) -> None:
        """Remove the sender that was silent longest, of at least one; deliver its held messages."""
        stream = self._recency.oldest()
        assert stream is not None, "there are senders"
        del self._streams[stream.source._key]
        self._neighbours.remove(stream)
        self._recency.remove(stream.number)
        self._cost -= stream.cost
        count = len(out)
        stream.flush(out)
        self._mark_limited(stream, out, count)

    def _put_on_schedule(self, stream: Stream) -> None:
        if len(self._schedule) > 2 * len(self._streams) + SCHEDULE_SLACK:
            # Most entries are of senders that were evicted before their deadline, which can be any number.
            kept = []
            for entry in self._schedule:
                other = entry[2]
                if other.deadline == NEVER:
                    # Its next deadline needs a new entry.
                    other.scheduled_at = NEVER
                elif entry[0] == other.scheduled_at:
                    kept.append(entry)
            heapify(kept)
            self._schedule = kept
        stream.scheduled_at = stream.deadline
        self._ticket += 1
        heappush(self._schedule, (stream.deadline, self._ticket, stream))

    def _expire(self, now: float, out: list[Message]) -> None:
        while self._schedule and self._schedule[0][0] <= now:
            self._expire_first(now, out)
        if now >= self._next_gc:
            self._remove_silent(now, out)

    def _expire_first(self, now: float, out: list[Message]) -> None:
        """Remove the first entry of the schedule; deliver its stream's due messages; add its next deadline."""
        deadline, _, stream = heappop(self._schedule)
        if deadline != stream.scheduled_at:
            # The stream has another entry, or had one before this.
            return
        stream.scheduled_at = NEVER
        if stream.deadline <= now:
            self._cost -= stream.cost
            count = len(out)
            stream.expire(now, out)
            self._mark_limited(stream, out, count)
            self._cost += stream.cost
        if stream.deadline != NEVER:
            self._put_on_schedule(stream)

    def _release_early(self, out: list[Message]) -> None:
        """Flush the streams with the earliest deadlines until the held bytes are within the bound."""
        while self._cost > self._held_limit and self._schedule:
            deadline, _, stream = heappop(self._schedule)
            if deadline != stream.scheduled_at:
                continue
            stream.scheduled_at = NEVER
            if stream.deadline > deadline:
                # The messages of this entry were delivered; any messages held now have a later deadline.
                if stream.deadline != NEVER:
                    self._put_on_schedule(stream)
                continue
            self._cost -= stream.cost
            self._counters.released_early += 1
            count = len(out)
            stream.flush(out)
            self._mark_limited(stream, out, count)

    def _remove_silent(self, now: float, out: list[Message]) -> None:
        while True:
            stream = self._recency.oldest()
            if stream is None or stream.last_seen > now - self._age:
                break
            self._remove_oldest(out)
            self._counters.senders_expired += 1
        self._next_gc = now + self._gc_interval if self._streams else NEVER


def _sender_counters(stream: Stream) -> SenderCounters:
    return SenderCounters(
        address=stream.source.address,
        port=stream.source.port,
        last_seen=stream.last_seen,
        name="",
        **{name: stream.count(name) for name in SENDER_COUNTERS},
    )
