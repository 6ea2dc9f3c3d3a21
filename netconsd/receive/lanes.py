"""Lanes: each has a thread and a queue, and all datagrams of one address go through the same lane.

The producer (the reactor's thread) queues batches of datagrams. The lane's thread owns the table of its senders and
calls ``deliver`` with batches of messages. The two threads share only the queue and counters, each of which one thread
writes.

**Deadlines.** A deadline of a table (for order, fragments, unfinished lines and silent senders) expires only after
everything that was received before it has been processed, so that a pause of the process or of the machine does not
look like loss. Received means in the queue of the lane, or in the receive buffer of the socket of a :class:`Port`. A
batch says up to which time it is *complete*, and expires the deadlines up to that time. If no batch has expired a
deadline :data:`GRACE_SECONDS` after it, the lane asks the reactor's thread for a *mark*: the ports are read until
everything from before the deadline is queued, then the mark is queued, and expires the deadline when the lane reaches
it. A blocked reactor therefore delays held messages. Acknowledgements need no mark: an early one causes a re-send, but
no loss.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Protocol
from zlib import crc32

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from netconsd.protocol.acks import Acks
from netconsd.protocol.counters import DATAGRAM_OUTCOMES, CrashCounters, QueueCounters, WorkerCounters
from netconsd.protocol.message import LegacyDatagram, LegacyMessage, Message, Source, without_scope
from netconsd.protocol.placesize import places_of
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import LIMITED_SENDERS, SourceTable
from netconsd.receive.histogram import Histogram
from netconsd.settings import Settings

#: Called in a lane's thread with the lane's number and at least one message; one call at a time per lane.
Deliver = Callable[[int, list[Message]], object]
#: Called in a lane's thread: sends a datagram to a sender (:attr:`netconsd.message.Source.key`); returns whether the
#: system accepted it.
Reply = Callable[[bytes, bytes], bool]

# Seconds. At rest a message reaches the modules within a millisecond, and under load within the reader's pause plus the
# time of a batch. 0.2 is the default reorder time, and a full queue can hold many seconds.
DELAY_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# Seconds until the ports are asked again if one of them is not complete. A reader under load reads after its pause of
# five milliseconds anyway.
MARK_SECONDS = 0.002
# Seconds after a deadline for which a lane waits for a batch that expires it, before it asks for a mark. Under load
# each batch is complete up to the read before it, one pause of five milliseconds earlier, so that the second batch
# after a deadline expires it. A mark wakes up both threads, and costs as much as a hundred messages.
GRACE_SECONDS = 0.015

#: Called in a lane's thread with the table of its senders.
Question = Callable[[SourceTable], object]


@dataclass(slots=True)
class _Batch:
    senders: list[bytes]
    datagrams: list[bytes]
    received_at: float
    now: float
    complete: float
    places: int


class Port(Protocol):
    """A reader of a socket that queues datagrams for lanes. For the reactor's thread only."""

    @property
    def complete(self) -> float:
        """Everything that the socket received before this monotonic time is queued or counted as dropped."""
        ...

    def catch_up(self, wanted: float) -> None:
        """Bring ``complete`` nearer to ``wanted``, a monotonic time in the past, with bounded work.

        Called again after :data:`MARK_SECONDS` until ``wanted`` is reached; a port reaches it in a bounded time,
        although its socket may be full or fail.
        """
        ...


class Watcher(Protocol):
    """Finds what several messages say together. For the lane's thread; nothing raises."""

    @property
    def counters(self) -> CrashCounters: ...

    @property
    def open_reports(self) -> int: ...

    def look(self, messages: list[Message], now: float) -> list[Any]:
        """Return what was found in messages that are about to be delivered; in most calls nothing."""
        ...

    def advance(
        self, now: float, received_at: float, heard: Callable[[float], Iterable[tuple[Source, float, int]]]
    ) -> list[Any]:
        """Return what is found because its time is over by ``now``: everything received before it was looked at.

        :param received_at: the Unix time of ``now``.
        :param heard: :meth:`netconsd.protocol.table.SourceTable.heard`.
        """
        ...

    def next_deadline(self) -> float:
        """The latest monotonic time for the next call of ``advance``; :data:`NEVER` if none is needed."""
        ...

    def finish(self, now: float) -> list[Any]:
        """Return what is found because no message follows."""
        ...

    def abandon(self, whose: Callable[[Source], bool], why: str) -> list[Any]:
        """Return what is found because another process continues with some senders."""
        ...


#: Called in a lane's thread with the lane's number and what its watcher found, behind the messages.
Publish = Callable[[int, list[Any]], object]


#: Called in a lane's thread with the lane and a deadline that has passed: has ``Lane.mark`` called.
AskMark = Callable[["Lane", float], object]


class Lane:
    """One worker: a thread that turns datagrams into messages and passes them to ``deliver``.

    Every queued datagram is delivered, held, or counted as dropped. An exception in ``deliver`` does not end the
    thread. Only one thread, the producer's, may call ``put`` and ``put_messages``; any may call ``ask``, ``mark`` and
    ``stop``.
    """

    def __init__(
        self,
        number: int,
        deliver: Deliver,
        settings: Settings,
        *,
        legacy_datagrams: bool = False,
        reply: Reply | None = None,
        ask_mark: AskMark | None = None,
        watch: Watcher | None = None,
        publish: Publish | None = None,
        clock: Callable[[], float] = monotonic,
        thread: Callable[..., Any] = threading.Thread,
    ) -> None:
        """
        :param ask_mark: without it a deadline expires when it has passed and the queue is empty.
        :param watch: looks at all messages before their delivery.
        :param publish: receives what ``watch`` finds.
        """
        self.number = number
        #: None if nobody wants what it finds.
        self.watch = watch
        self._publish = publish
        # The lane's thread counts here.
        self._counters = WorkerCounters()
        #: What the thread has counted, as of the last call of ``deliver`` or later. Replaced, and not changed any more,
        #: so that any thread may read it: the values are those of one moment.
        self.counters = self._counters.copy()
        self.queue_counters = QueueCounters()
        #: Seconds from receipt to the call of ``deliver``, time held for order included. The delay of a call's first
        #: message counts for each of its messages.
        self.delays = Histogram(DELAY_BOUNDS)
        #: Whether the thread is running.
        self.running = False
        #: Incomplete messages and unfinished lines at the time of :meth:`give_up`.
        self.given_up = 0
        self._deliver = deliver
        self._clock = clock
        self._make_thread = thread
        self._limit = settings.queue
        # Each lane gets an equal share, because addresses are spread evenly.
        self._legacy_datagrams = legacy_datagrams
        self._table = SourceTable(
            self._counters,
            limit=settings.sources_share,
            reorder_time=settings.reorder,
            gc_interval=settings.gc_interval,
            age=settings.gc_age,
            legacy_datagrams=legacy_datagrams,
            rate=settings.rate,
            framing=settings.framing,
        )
        self._queue: SimpleQueue[_Batch | Question | float | None] = SimpleQueue()
        self._ask_mark = ask_mark
        # Whether a mark was asked for and has not come: one at a time, so that marks need no bound of their own.
        self._mark_asked = False
        #: Sends acknowledgements; None without ``reply``.
        self.acks = Acks(self._table, reply) if reply is not None else None
        # Places taken and released since the start: the producer writes the first, the lane's thread the second.
        self._places_put = 0
        self._places_done = 0
        # Unix time minus monotonic time, as of the last batch.
        self._epoch = 0.0
        self._log = Logger("netconsd")

    @property
    def backlog(self) -> int:
        """The number of taken places in the queue."""
        return max(0, self._places_put - self._places_done)

    @property
    def waiting(self) -> int:
        """The number of queued datagrams that the lane has not read yet."""
        return max(0, self.queue_counters.queued - self.counters.datagrams - self.counters.dropped_error)

    @property
    def senders(self) -> int:
        """The number of senders in the table."""
        return len(self._table)

    def take_limited(self) -> list[Source]:
        """Remove and return the latest senders that have begun to exceed ``--rate``. For the reactor's thread."""
        limited = self._table.limited
        result: list[Source] = []
        # The lane's thread may add some meanwhile.
        while limited and len(result) < LIMITED_SENDERS:
            result.append(limited.popleft())
        return result

    def put(
        self,
        senders: list[bytes],
        datagrams: list[bytes],
        received_at: float,
        now: float,
        large: bool = True,
        complete: float | None = None,
    ) -> None:
        """Queue a batch. If the queue is full, the newest datagrams of the batch are dropped and counted.

        :param senders: the sender of each datagram, as :attr:`netconsd.message.Source.key`. The caller may not use
            either list afterwards, unless the call raises: then they hold the datagrams that are neither queued nor
            counted.
        :param received_at: Unix time in seconds.
        :param now: monotonic time in seconds at which they were read. Deadlines count from it.
        :param large: whether any of the datagrams may have :data:`~netconsd.protocol.placesize.PLACE_BYTES` or more.
        :param complete: all datagrams received before this monotonic time are in this batch or were queued before; by
            default ``now``.
        """
        places = len(datagrams)
        if large:
            places = sum(places_of(len(datagram)) for datagram in datagrams)
        room = self._limit - self.backlog
        if places > room:
            keep = places = 0
            for datagram in datagrams:
                # An empty queue accepts one datagram of any size.
                if places + places_of(len(datagram)) > room and (keep or self.backlog):
                    break
                places += places_of(len(datagram))
                keep += 1
            dropped_bytes = sum(map(len, datagrams[keep:]))
            self.queue_counters.dropped_queue_full += len(datagrams) - keep
            self.queue_counters.dropped_queue_full_bytes += dropped_bytes
            del senders[keep:], datagrams[keep:]
        count = len(datagrams)
        if count:
            # Counted after the call, so that the caller can count the batch elsewhere if the call raises.
            self._queue.put(_Batch(senders, datagrams, received_at, now, now if complete is None else complete, places))
            self.queue_counters.queued += count
            self._places_put += places

    def put_messages(self, messages: list[Message], now: float) -> None:
        """Queue messages that are delivered as they are, behind all earlier batches; also if the queue is full.

        They are counted as ``taken``, and take places until they are delivered. If a module takes legacy text by the
        datagram, each line is also delivered as a datagram of its own.

        :param messages: at least one; the caller may not use the list afterwards.
        :param now: monotonic time in seconds; deadlines up to it expire after the delivery.
        """
        received_at = messages[-1].received_at

        def pass_on(_: SourceTable) -> None:
            self._epoch = received_at - now
            self._counters.messages += count
            self._counters.taken += count
            try:
                self._deliver_all(_with_datagrams(messages) if self._legacy_datagrams else messages, now)
                self._advance(now)
            finally:
                self._places_done += count

        count = len(messages)
        self._queue.put(pass_on)
        self._places_put += count

    def ask(self, question: Question) -> None:
        """Call a function in the lane's thread, after all earlier batches; never if the thread has ended."""
        self._queue.put(question)

    def abandon(self, whose: Callable[[Source], bool], why: str) -> None:
        """Have the watcher end what it knows of some senders, after all earlier batches; any thread.

        :param whose: whether a sender is one of them; called in the lane's thread.
        :param why: the reason in words.
        """
        watch = self.watch
        if watch is not None:
            self.ask(lambda _: self._publish_all(watch.abandon(whose, why)))

    def set_rate(self, rate: float) -> None:
        """Change the rate of each sender; applied in the lane's thread, after all earlier batches."""
        self.ask(lambda table: table.set_rate(rate))

    def mark(self, complete: float) -> None:
        """Expire the deadlines up to ``complete``, after all earlier batches, also if the queue is full."""
        self._queue.put(complete)

    def start(self, finished: Callable[[], object]) -> None:
        """Start the thread.

        :param finished: called in that thread, as its last action.
        :raises RuntimeError: if the system cannot start a thread.
        """
        thread = self._make_thread(target=self._run, args=(finished,), name=f"netconsd-{self.number}", daemon=True)
        self.running = True
        try:
            thread.start()
        except RuntimeError:
            self.running = False
            raise

    def stop(self) -> None:
        """End the thread after it has delivered all earlier batches and all held messages."""
        self._queue.put(None)

    def give_up(self) -> None:
        """Count in ``given_up`` the parts of messages that the thread holds, because it does not end.

        The other messages that it holds, and the datagrams in its queue, follow from its counters.
        """
        self.given_up = self.counters.unfinished

    def _run(self, finished: Callable[[], object]) -> None:
        try:
            while self._turn():
                pass
        finally:
            self.running = False
            finished()

    def _turn(self) -> bool:
        """Process one batch, question, mark or deadline; return ``False`` after the stop."""
        stopping = False
        try:
            try:
                item = self._queue.get(timeout=self._timeout())
            except Empty:
                self._reach_deadline()
                return True
            stopping = item is None
            if item is None:
                self._finish()
            elif isinstance(item, _Batch):
                self._process(item)
            elif isinstance(item, float):
                self._mark_asked = False
                self._advance(item)
            else:
                item(self._table)
        except BaseException:
            # No datagram and no module (the runner catches it) can raise here. But a failed allocation, a bug of
            # netconsd, or sys.exit() in the `deliver` of an embedding program must not end a part of the reception.
            self._log.failure("Worker {number} failed; it continues with the next batch", number=self.number)
        return not stopping

    def _timeout(self) -> float | None:
        """Seconds until the lane acts on its next deadline; None without one, or if a mark will come."""
        deadline = NEVER if self._mark_asked else self._next_deadline() + self._grace
        if self.acks is not None:
            deadline = min(deadline, self.acks.next_deadline())
        return None if deadline == NEVER else max(0.0, deadline - self._clock())

    @property
    def _grace(self) -> float:
        """Seconds for which the lane waits for a batch after a deadline."""
        return 0.0 if self._ask_mark is None else GRACE_SECONDS

    def _reach_deadline(self) -> None:
        now = self._clock()
        deadline = self._next_deadline()
        if deadline + self._grace <= now and not self._mark_asked:
            if self._ask_mark is None:
                self._advance(now)
            else:
                self._ask_mark(self, deadline)
                self._mark_asked = True
        if self.acks is not None:
            self.acks.advance(now)

    def _next_deadline(self) -> float:
        deadline = self._table.next_deadline()
        return deadline if self.watch is None else min(deadline, self.watch.next_deadline())

    def _advance(self, now: float) -> None:
        """Expire the deadlines up to ``now``: everything received before it was processed."""
        self._deliver_all(self._table.advance(now), now)
        self._advance_watch(now)

    def _advance_watch(self, now: float) -> None:
        if self.watch is not None and now >= self.watch.next_deadline():
            received_at = now + self._epoch
            self._publish_all(self.watch.advance(now, received_at, self._table.heard))

    def _finish(self) -> None:
        now = self._clock()
        self._deliver_all(self._table.flush(), now)
        if self.watch is not None:
            self._publish_all(self.watch.finish(now))
        if self.acks is not None:
            self.acks.finish()

    def _process(self, batch: _Batch) -> None:
        datagrams, byte_count = self._counters.datagrams, self._counters.bytes
        try:
            self._feed(batch)
            if self.acks is not None:
                self.acks.heard(batch.senders, batch.datagrams, batch.now)
        except BaseException:
            self._count_dropped(batch, datagrams, byte_count)
            raise
        finally:
            self._places_done += batch.places

    def _feed(self, batch: _Batch) -> None:
        self._epoch = batch.received_at - batch.now
        done = 0
        while done < len(batch.datagrams):
            messages: list[Message] = []
            try:
                done = self._table.feed_part(
                    batch.senders, batch.datagrams, batch.received_at, batch.now, done, messages, batch.complete
                )
            finally:
                self._deliver_all(messages, batch.now)
        self._advance_watch(batch.complete)

    def _count_dropped(self, batch: _Batch, datagrams: int, byte_count: int) -> None:
        """Count the datagrams of a batch that have no outcome because of an exception.

        :param datagrams: the value of the counter before the batch, when each counted datagram had an outcome.
        :param byte_count: the value of the counter before the batch.
        """
        counters = self._counters
        done = sum(getattr(counters, outcome) for outcome in DATAGRAM_OUTCOMES) - datagrams
        counters.datagrams = datagrams + done
        counters.bytes = byte_count + sum(map(len, batch.datagrams[:done]))
        counters.dropped_error += len(batch.datagrams) - done
        counters.dropped_error_bytes += sum(map(len, batch.datagrams[done:]))
        self.counters = counters.copy()

    def _deliver_all(self, messages: list[Message], now: float) -> None:
        # Before the delivery, from which a module may not return.
        self.counters = self._counters.copy()
        if messages:
            # A step of the system's clock affects only the delays of messages received before it.
            delay = self._clock() + self._epoch - messages[0].received_at
            self.delays.observe(max(0.0, delay), len(messages))
            if self.watch is None:
                self._deliver(self.number, messages)
                return
            # Before the delivery: a module may change the list.
            found = self.watch.look(messages, now)
            try:
                self._deliver(self.number, messages)
            finally:
                self._publish_all(found)

    def _publish_all(self, found: list[Any]) -> None:
        if found and self._publish is not None:
            self._publish(self.number, found)


def _with_datagrams(messages: list[Message]) -> list[Message]:
    """Return messages with a datagram before each line of legacy text."""
    result: list[Message] = []
    for message in messages:
        if isinstance(message, LegacyMessage):
            result.append(LegacyDatagram(message.source, message.received_at, message.raw))
        result.append(message)
    return result


class Workers:
    """The lanes of a daemon or of an embedding program.

    For the reactor's thread only.
    """

    def __init__(
        self,
        deliver: Deliver,
        settings: Settings | None = None,
        *,
        reactor: IReactorFromThreads | None = None,
        legacy_datagrams: bool = False,
        reply: Reply | None = None,
        watch: Callable[[], Watcher] | None = None,
        publish: Publish | None = None,
    ) -> None:
        """
        :param deliver: called with a worker's number and a list of messages, in that worker's thread. Its exceptions
            are logged.
        :param settings: uses ``workers``, ``queue``, ``max_sources``, ``reorder``, ``rate``, ``gc_interval`` and
            ``gc_age``.
        :param legacy_datagrams: whether each datagram of legacy text is also delivered, as a
            :class:`netconsd.message.LegacyDatagram` before the lines that end in it.
        :param reply: sends acknowledgements; without it none are sent.
        :param watch: makes the watcher of each lane.
        :param publish: called as ``deliver``, with what a watcher found, behind the messages that it follows from.
        """
        if reactor is None:
            from twisted.internet import reactor as default

            reactor = IReactorFromThreads(default)
        settings = settings or Settings()
        self._reactor: Any = reactor
        #: The ports that queue datagrams now. Deadlines expire only up to the time to which all of them are complete.
        self.ports: list[Port] = []
        self.lanes = [
            Lane(
                number,
                deliver,
                settings,
                legacy_datagrams=legacy_datagrams,
                reply=reply,
                ask_mark=self._ask_mark,
                watch=None if watch is None else watch(),
                publish=publish,
            )
            for number in range(settings.workers)
        ]
        self._finished: list[Deferred[None]] = []
        # The calls of _mark that wait for a port.
        self._marks: dict[Lane, Any] = {}
        self._stopping = False

    @property
    def complete(self) -> float:
        """Everything that the ports received before this monotonic time is queued or counted as dropped."""
        return min([port.complete for port in self.ports], default=-NEVER)

    def start(self) -> None:
        """Start the threads."""
        self._stopping = False
        for lane in self.lanes:
            finished: Deferred[None] = Deferred()
            lane.start(partial(self._reactor.callFromThread, finished.callback, None))
            self._finished.append(finished)

    def lane_for(self, address: bytes) -> Lane:
        """The lane of all senders with this address; the same lane in every run.

        :param address: 16 bytes, with or without the interface of a link-local address.
        """
        return self.lanes[crc32(without_scope(address)) % len(self.lanes)]

    @property
    def unfinished(self) -> list[Lane]:
        """The lanes whose threads are running."""
        return [lane for lane in self.lanes if lane.running]

    def stop(self) -> Deferred[None]:
        """Deliver all queued and held messages, end the threads, then fire the Deferred.

        If the Deferred is cancelled because ``deliver`` hangs, it fires at once; :attr:`unfinished` lists the lanes
        whose threads are still running.
        """
        # The stop delivers what the marks would have expired.
        self._stopping = True
        marks, self._marks = self._marks, {}
        for call in marks.values():
            call.cancel()
        for lane in self.lanes:
            lane.stop()
        finished, self._finished = self._finished, []
        return DeferredList(finished, consumeErrors=True).addCallback(lambda _: None)

    def _ask_mark(self, lane: Lane, deadline: float) -> None:
        """In a lane's thread."""
        self._reactor.callFromThread(self._mark, lane, deadline)

    def _mark(self, lane: Lane, deadline: float) -> None:
        """Queue a mark of at least ``deadline`` when all ports have queued everything received before it."""
        self._marks.pop(lane, None)
        if self._stopping:
            return
        try:
            for port in self.ports:
                port.catch_up(deadline)
            complete = self.complete if self.ports else deadline
            if complete >= deadline:
                lane.mark(complete)
                return
        except Exception:
            # Without its mark, the lane would never deliver its held messages.
            Logger("netconsd").failure("Worker {number}: looking for unread datagrams failed", number=lane.number)
        self._marks[lane] = self._reactor.callLater(MARK_SECONDS, self._mark, lane, deadline)
