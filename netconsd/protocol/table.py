"""The table of the senders of one worker: bounded, with deadlines, ageing and eviction.

Pure: the caller passes the time in and gets the next deadline out. Not for more than one thread at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush, nlargest
from operator import attrgetter, methodcaller

from netconsd.protocol.counters import SENDER_COUNTERS, SenderCounters, WorkerCounters
from netconsd.protocol.message import Message, source_of
from netconsd.protocol.stream import NEVER, Stream

# What all senders of a worker together may have waiting: messages behind a gap, fragments, unfinished lines. A stranger
# who forges senders by the thousand, each with a gap, gets the oldest delivered early instead of our memory.
WAITING_BYTES_LIMIT = 64 * 1024 * 1024
# A machine that boots, or dies, says thousands of lines at once. So a sender may be ahead of its rate by what it may
# send in so many seconds.
BURST_SECONDS = 10.0
# How many more entries than twice its senders the schedule has before it is cleaned.
SCHEDULE_SLACK = 64
# A legacy datagram of 64 KiB can be 8320 messages (netconsd.protocol.legacy). A batch of a thousand such is delivered
# in parts of this many messages, and what one more datagram makes of it.
OUT_LIMIT = 8192
# And it can be a quarter of a gigabyte, of which a module may make ten times as much: it is delivered in parts that
# were made of so many bytes, and one more datagram.
OUT_OCTETS_LIMIT = 1024 * 1024

_NEVER = NEVER
_OUT_LIMIT = OUT_LIMIT
_OUT_OCTETS_LIMIT = OUT_OCTETS_LIMIT
_BURST_SECONDS = BURST_SECONDS


class SourceTable:
    """The streams of the senders that this worker serves, by :attr:`netconsd.protocol.message.Source.key`."""

    __slots__ = (
        "_age",
        "_cost",
        "_counters",
        "_gc_interval",
        "_hold",
        "_interval",
        "_legacy_datagrams",
        "_limit",
        "_next_gc",
        "_schedule",
        "_streams",
        "_ticket",
        "_waiting_limit",
    )

    def __init__(
        self,
        counters: WorkerCounters,
        *,
        limit: int,
        hold: float,
        gc_interval: float,
        age: float,
        waiting_limit: int = WAITING_BYTES_LIMIT,
        legacy_datagrams: bool = False,
        rate: float = 0.0,
    ) -> None:
        """
        :param limit: how many senders are remembered; one more pushes out the one that was silent longest. Against
            strangers who forge a new address for every datagram.
        :param hold: the reorder time in seconds (:class:`netconsd.protocol.stream.Stream`).
        :param gc_interval: how often, in seconds, to forget senders that were silent for ``age`` seconds; 0 for never.
        :param waiting_limit: how many bytes may wait, of all senders.
        :param legacy_datagrams: whether legacy text is handed out by the datagram as well
            (:class:`netconsd.protocol.stream.Stream`).
        :param rate: how many datagrams per second a sender may send in the long run, and :data:`BURST_SECONDS` times as
            many at once; 0 for as many as it likes. More are dropped.
        """
        self._counters = counters
        # Seconds that a datagram takes of a sender's time; 0 for none.
        self._interval = 1.0 / rate if rate else 0.0
        self._limit = limit
        self._hold = hold
        self._gc_interval = gc_interval
        self._age = age
        self._waiting_limit = waiting_limit
        self._legacy_datagrams = legacy_datagrams
        # In the order of the last datagram: the sender that is silent longest comes first.
        self._streams: OrderedDict[bytes, Stream] = OrderedDict()
        # A heap of (deadline, ticket, stream). The entry that counts has the stream's ``scheduled_at`` (NEVER: there is
        # none); what it was made for may be over. The ticket makes every entry comparable.
        self._schedule: list[tuple[float, int, Stream]] = []
        self._ticket = 0
        self._cost = 0
        self._next_gc = _NEVER

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def waiting_bytes(self) -> int:
        """About how many bytes of memory wait in the streams."""
        return self._cost

    def feed(self, senders: list[bytes], datagrams: list[bytes], received_at: float, now: float) -> list[Message]:
        """Take a batch of datagrams, received at one time; return what can be delivered now, per sender in order.

        :param senders: the sender of each datagram, as :attr:`netconsd.protocol.message.Source.key`.
        """
        messages: list[Message] = []
        done = 0
        while done < len(datagrams):
            part: list[Message] = []
            done = self.feed_part(senders, datagrams, received_at, now, done, part)
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
    ) -> int:
        """As :meth:`feed`, from ``start`` on, until the batch is done or a bound of a part is reached.

        These are :data:`OUT_LIMIT` messages in ``out``, and :data:`OUT_OCTETS_LIMIT` bytes of datagrams.

        :returns: where to go on in the batch.
        """
        streams = self._streams
        index = start
        end = len(datagrams)
        octets = 0
        while index < end and len(out) < _OUT_LIMIT and octets < _OUT_OCTETS_LIMIT:
            key = senders[index]
            datagram = datagrams[index]
            index += 1
            octets += len(datagram)
            try:
                stream = streams[key]
                if stream.last_seen != now:
                    streams.move_to_end(key)
            except KeyError:
                stream = self._admit(key, now, out)
            if self._interval and self._is_too_much(stream, now):
                self._drop(stream, datagram, now)
                continue
            cost = stream.cost
            stream.feed(datagram, received_at, now, out)
            self._cost += stream.cost - cost
            if stream.deadline < stream.scheduled_at:
                self._put_on_schedule(stream)
            if self._cost > self._waiting_limit:
                self._relieve(out)
        self._expire(now, out)
        return index

    def acknowledgement(self, key: bytes) -> bytes | None:
        """What to answer a sender, as :meth:`netconsd.protocol.stream.Stream.acknowledgement`; None if nothing."""
        stream = self._streams.get(key)
        return None if stream is None else stream.acknowledgement()

    def advance(self, now: float) -> list[Message]:
        """Return what has waited long enough by ``now``, and forget senders that were silent too long."""
        out: list[Message] = []
        self._expire(now, out)
        return out

    def next_deadline(self) -> float:
        """When :meth:`advance` is to be called next, at the latest; ``NEVER`` if there is no need."""
        return min(self._schedule[0][0], self._next_gc) if self._schedule else self._next_gc

    def flush(self) -> list[Message]:
        """Return all that waits, per sender in order."""
        out: list[Message] = []
        for stream in self._streams.values():
            stream.flush(out)
            stream.scheduled_at = _NEVER
        self._schedule.clear()
        self._cost = 0
        return out

    def top(self, count: int, by: str) -> list[SenderCounters]:
        """The senders remembered that have the most of a counter of
        :data:`~netconsd.protocol.counters.SENDER_COUNTERS`.

        It looks at every sender: some 50 ms for 100,000 of them.

        :raises ValueError: if there is no such counter.
        """
        if by not in SENDER_COUNTERS:
            raise ValueError(f"{by!r} is not one of {', '.join(SENDER_COUNTERS)}")
        key = attrgetter(by) if hasattr(Stream, by) else methodcaller("count", by)
        return [_account(stream) for stream in nlargest(count, self._streams.values(), key=key)]

    def _admit(self, key: bytes, now: float, out: list[Message]) -> Stream:
        if len(self._streams) >= self._limit:
            self._forget_first(out)
            self._counters.senders_evicted += 1
        if self._gc_interval and self._next_gc == _NEVER:
            self._next_gc = now + self._gc_interval
        stream = Stream(source_of(key), self._counters, self._hold, self._legacy_datagrams)
        self._streams[key] = stream
        self._counters.senders_new += 1
        return stream

    def _is_too_much(self, stream: Stream, now: float) -> bool:
        """Whether a sender is ahead of its rate by more than it may; if not, one more datagram is accounted for.

        The bucket of tokens in one number: the time at which the sender has used up no more than its rate (GCRA).
        """
        even_at = max(stream.even_at, now) + self._interval
        if even_at - now > _BURST_SECONDS:
            return True
        stream.even_at = even_at
        return False

    def _drop(self, stream: Stream, datagram: bytes, now: float) -> None:
        """Count a datagram, and look at it no further."""
        self._counters.datagrams += 1
        self._counters.octets += len(datagram)
        stream.rare().count_dropped_over_rate()
        stream.datagrams += 1
        stream.octets += len(datagram)
        stream.last_seen = now

    def _forget_first(self, out: list[Message]) -> None:
        _, stream = self._streams.popitem(last=False)
        self._cost -= stream.cost
        stream.flush(out)

    def _put_on_schedule(self, stream: Stream) -> None:
        if len(self._schedule) > 2 * len(self._streams) + SCHEDULE_SLACK:
            # Senders that were evicted before their deadline; a stranger can have as many as he likes.
            kept = []
            for entry in self._schedule:
                other = entry[2]
                if other.deadline == _NEVER:
                    # It has to be put back when it waits again.
                    other.scheduled_at = _NEVER
                elif entry[0] == other.scheduled_at:
                    kept.append(entry)
            heapify(kept)
            self._schedule = kept
        stream.scheduled_at = stream.deadline
        self._ticket += 1
        heappush(self._schedule, (stream.deadline, self._ticket, stream))

    def _expire(self, now: float, out: list[Message]) -> None:
        while self._schedule and self._schedule[0][0] <= now:
            self._serve_first(now, out)
        if now >= self._next_gc:
            self._collect(now, out)

    def _serve_first(self, now: float, out: list[Message]) -> None:
        """Take the first entry off the schedule; let its stream deliver what is due, and put it back if more waits."""
        deadline, _, stream = heappop(self._schedule)
        if deadline != stream.scheduled_at:
            # There is an earlier one for it, or was.
            return
        stream.scheduled_at = _NEVER
        if stream.deadline <= now:
            self._cost -= stream.cost
            stream.expire(now, out)
            self._cost += stream.cost
        if stream.deadline != _NEVER:
            self._put_on_schedule(stream)

    def _relieve(self, out: list[Message]) -> None:
        """Deliver early what waits longest, until the rest is within the bound."""
        while self._cost > self._waiting_limit and self._schedule:
            deadline, _, stream = heappop(self._schedule)
            if deadline != stream.scheduled_at:
                continue
            stream.scheduled_at = _NEVER
            if stream.deadline > deadline:
                # What it was for has been delivered since. What waits there now, if anything does, waits less long.
                if stream.deadline != _NEVER:
                    self._put_on_schedule(stream)
                continue
            self._cost -= stream.cost
            stream.rare().count_released_early()
            stream.flush(out)

    def _collect(self, now: float, out: list[Message]) -> None:
        while self._streams:
            stream = next(iter(self._streams.values()))
            if stream.last_seen > now - self._age:
                break
            self._forget_first(out)
            self._counters.senders_expired += 1
        self._next_gc = now + self._gc_interval if self._streams else _NEVER


def _account(stream: Stream) -> SenderCounters:
    return SenderCounters(
        address=stream.source.address,
        port=stream.source.port,
        last_seen=stream.last_seen,
        **{name: stream.count(name) for name in SENDER_COUNTERS},
    )
