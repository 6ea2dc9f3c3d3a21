"""Keyed lanes: a thread and a queue each; the datagrams of one sender always go through the same one.

The producer (the reactor's thread) puts batches of datagrams in; the lane's thread has the table of its senders and
calls ``deliver`` with batches of messages. Nothing is shared but the queue and counters that one thread writes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any
from zlib import crc32

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from netconsd.protocol.acks import Acks
from netconsd.protocol.counters import DATAGRAM_OUTCOMES, QueueCounters, WorkerCounters
from netconsd.protocol.message import Message
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable
from netconsd.receive.histogram import Histogram
from netconsd.settings import Settings

#: Called in a lane's thread, one call at a time per lane: the lane's number, and at least one message.
Deliver = Callable[[int, list[Message]], object]
#: Called in a lane's thread: sends a datagram to a sender (:attr:`netconsd.message.Source.key`), and says whether it
#: went.
Reply = Callable[[bytes, bytes], bool]

# Kernels send at most 1000 bytes. A larger datagram takes as many places in a queue as it has KiB, so that a queue's
# bound is one on memory, too.
PLACE_BYTES = 1024
# Seconds. At rest a message is with the modules within a millisecond, and under load within the pause of the reader and
# the time of a batch; 0.2 is the default reorder time, and a queue that is full can be many seconds long.
DELAY_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

#: Called in a lane's thread with the table of its senders.
Question = Callable[[SourceTable], object]


@dataclass(slots=True)
class _Batch:
    senders: list[bytes]
    datagrams: list[bytes]
    received_at: float
    now: float
    places: int


class Lane:
    """One worker: a thread that turns datagrams into messages and hands them to ``deliver``.

    ``put``, ``ask`` and ``stop`` are for one thread, the producer's.
    """

    def __init__(
        self,
        number: int,
        deliver: Deliver,
        settings: Settings,
        *,
        legacy_datagrams: bool = False,
        reply: Reply | None = None,
        clock: Callable[[], float] = monotonic,
        thread: Callable[..., Any] = threading.Thread,
    ) -> None:
        self.number = number
        self.counters = WorkerCounters()
        self.queue_counters = QueueCounters()
        #: Seconds from receipt to the call of ``deliver``, waiting for order included: that of the first message of
        #: each call, counted for each message of it.
        self.delays = Histogram(DELAY_BOUNDS)
        #: Whether the thread runs.
        self.running = False
        self._deliver = deliver
        self._clock = clock
        self._make_thread = thread
        self._limit = settings.queue
        # Each lane gets its share of the table; addresses spread evenly.
        self._table = SourceTable(
            self.counters,
            limit=settings.sources_share,
            reorder_time=settings.reorder,
            gc_interval=settings.gc_interval,
            age=settings.gc_age,
            legacy_datagrams=legacy_datagrams,
            rate=settings.rate,
        )
        self._queue: SimpleQueue[_Batch | Question | None] = SimpleQueue()
        #: What acknowledges, if that is wanted.
        self.acks = Acks(self._table, reply) if reply is not None else None
        # Places taken since the start: the producer adds to the first, the lane's thread to the second.
        self._places_put = 0
        self._places_done = 0
        # Unix time minus monotonic time, as of the last batch.
        self._epoch = 0.0
        self._log = Logger("netconsd")

    @property
    def backlog(self) -> int:
        """How many places of the queue are taken."""
        return self._places_put - self._places_done

    @property
    def waiting(self) -> int:
        """How many datagrams of the queue it has not looked at."""
        return max(0, self.queue_counters.queued - self.counters.datagrams - self.counters.dropped_error)

    @property
    def senders(self) -> int:
        """How many senders are remembered."""
        return len(self._table)

    def put(
        self, senders: list[bytes], datagrams: list[bytes], received_at: float, now: float, large: bool = True
    ) -> None:
        """Queue a batch. What the queue has no room for is shed, the newest first, and counted.

        :param senders: the sender of each datagram, as :attr:`netconsd.message.Source.key`. Both lists are the lane's
            from now on.
        :param received_at: Unix time in seconds.
        :param now: monotonic time in seconds.
        :param large: whether there may be a datagram of :data:`PLACE_BYTES` or more among them.
        """
        places = len(datagrams)
        if large:
            places = sum(_places(datagram) for datagram in datagrams)
        room = self._limit - self.backlog
        if places > room:
            keep = places = 0
            for datagram in datagrams:
                # Into an empty queue fits at least one, of whatever size.
                if places + _places(datagram) > room and (keep or self.backlog):
                    break
                places += _places(datagram)
                keep += 1
            self._shed(senders, datagrams, keep)
        if datagrams:
            self.queue_counters.queued += len(datagrams)
            self._places_put += places
            try:
                self._queue.put(_Batch(senders, datagrams, received_at, now, places))
            except MemoryError:
                self.queue_counters.queued -= len(datagrams)
                self._places_put -= places
                self._shed(senders, datagrams, 0)

    def _shed(self, senders: list[bytes], datagrams: list[bytes], keep: int) -> None:
        """Count all but the first so many, and drop them."""
        counters = self.queue_counters
        octets = sum(map(len, datagrams)) - sum(map(len, datagrams[:keep]))
        # Together: if there is no memory for the sums, nothing is counted, and the caller knows.
        counters.dropped_queue_full, counters.dropped_queue_full_bytes = (
            counters.dropped_queue_full + len(datagrams) - keep,
            counters.dropped_queue_full_bytes + octets,
        )
        del senders[keep:], datagrams[keep:]

    def ask(self, question: Question) -> None:
        """Have a function called in the lane's thread, after what was put before; not at all if that has ended."""
        self._queue.put(question)

    def start(self, finished: Callable[[], object]) -> None:
        """Start the thread.

        :param finished: called in that thread, as the last thing it does.
        """
        thread = self._make_thread(target=self._run, args=(finished,), name=f"netconsd-{self.number}", daemon=True)
        self.running = True
        try:
            thread.start()
        except RuntimeError:
            self.running = False
            raise

    def stop(self) -> None:
        """Let the thread end, after everything put before has been delivered."""
        self._queue.put(None)

    def _run(self, finished: Callable[[], object]) -> None:
        try:
            while self._turn():
                pass
        finally:
            self.running = False
            finished()

    def _turn(self) -> bool:
        """Serve one batch or one deadline; ``False`` after the last one."""
        last = False
        try:
            deadline = self._table.next_deadline()
            if self.acks is not None:
                deadline = min(deadline, self.acks.next_deadline())
            try:
                timeout = None if deadline == NEVER else max(0.0, deadline - self._clock())
                batch = self._queue.get(timeout=timeout)
            except Empty:
                now = self._clock()
                self._hand_out(self._table.advance(now))
                if self.acks is not None:
                    self.acks.advance(now)
                return True
            if batch is None:
                last = True
                self._hand_out(self._table.flush())
                if self.acks is not None:
                    self.acks.finish()
                return False
            if not isinstance(batch, _Batch):
                batch(self._table)
                return True
            before, octets_before = self.counters.datagrams, self.counters.octets
            try:
                self._feed(batch)
                if self.acks is not None:
                    self.acks.heard(batch.senders, batch.now)
            except BaseException:
                self._skip(batch, before, octets_before)
                raise
            finally:
                self._places_done += batch.places
        except BaseException:
            # Nothing that a datagram says can raise, nor a module (Outputs catches it). But neither a bug of ours nor
            # sys.exit() in somebody's `deliver` may make us deaf to a part of the fleet.
            self._log.failure("Worker {number} failed; it goes on with the next batch", number=self.number)
        return not last

    def _feed(self, batch: _Batch) -> None:
        self._epoch = batch.received_at - batch.now
        done = 0
        while done < len(batch.datagrams):
            messages: list[Message] = []
            try:
                done = self._table.feed_part(
                    batch.senders, batch.datagrams, batch.received_at, batch.now, done, messages
                )
            finally:
                self._hand_out(messages)

    def _skip(self, batch: _Batch, before: int, octets_before: int) -> None:
        """Count what an exception kept us from looking at to the end: the rest of a batch, and the datagram in hand.

        :param before: the datagrams, and their bytes, that were counted before the batch; each of them has a fate.
        """
        counters = self.counters
        done = sum(getattr(counters, fate) for fate in DATAGRAM_OUTCOMES) - before
        counters.datagrams = before + done
        counters.octets = octets_before + sum(map(len, batch.datagrams[:done]))
        counters.dropped_error += len(batch.datagrams) - done
        counters.dropped_error_bytes += sum(map(len, batch.datagrams[done:]))

    def _hand_out(self, messages: list[Message]) -> None:
        if messages:
            # A step of the system's clock shows only in what was received before it.
            delay = self._clock() + self._epoch - messages[0].received_at
            self.delays.observe(max(0.0, delay), len(messages))
            self._deliver(self.number, messages)


def _places(datagram: bytes) -> int:
    return 1 + len(datagram) // PLACE_BYTES


class Workers:
    """The lanes of a daemon, or of a program that wants messages without one.

    All methods are for the reactor's thread.
    """

    def __init__(
        self,
        deliver: Deliver,
        settings: Settings | None = None,
        *,
        reactor: IReactorFromThreads | None = None,
        legacy_datagrams: bool = False,
        reply: Reply | None = None,
    ) -> None:
        """
        :param deliver: called with a worker's number and a list of messages, in that worker's thread; what it raises
            is logged.
        :param settings: ``workers``, ``queue``, ``max_sources``, ``reorder``, ``rate``, ``gc_interval`` and ``gc_age``
            are used.
        :param legacy_datagrams: whether legacy text is delivered by the datagram as well, as
            :class:`netconsd.message.LegacyDatagram`, before the lines that end in it.
        :param reply: sends acknowledgements; without it there are none.
        """
        if reactor is None:
            from twisted.internet import reactor as default

            reactor = IReactorFromThreads(default)
        settings = settings or Settings()
        self._reactor = reactor
        self.lanes = [
            Lane(number, deliver, settings, legacy_datagrams=legacy_datagrams, reply=reply)
            for number in range(settings.workers)
        ]
        self._finished: list[Deferred[None]] = []

    def start(self) -> None:
        """Start the threads."""
        for lane in self.lanes:
            finished: Deferred[None] = Deferred()
            lane.start(partial(self._reactor.callFromThread, finished.callback, None))
            self._finished.append(finished)

    def lane_for(self, address: bytes) -> Lane:
        """The lane of all senders with this address (16 bytes); the same in every run."""
        return self.lanes[crc32(address) % len(self.lanes)]

    @property
    def unfinished(self) -> list[Lane]:
        """The lanes whose threads have not ended."""
        return [lane for lane in self.lanes if lane.running]

    def stop(self) -> Deferred[None]:
        """Deliver everything queued and everything held, end the threads, and then fire the Deferred.

        If it is cancelled, because ``deliver`` hangs, it fires at once; :attr:`unfinished` tells which lanes are
        not done.
        """
        for lane in self.lanes:
            lane.stop()
        waiting, self._finished = self._finished, []
        return DeferredList(waiting, consumeErrors=True).addCallback(lambda _: None)
