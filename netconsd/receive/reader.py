"""A reactor's port that reads a socket many datagrams at a time, and pauses between reads under load.

Reading a datagram costs less than waking up for it. At rest a datagram is read as soon as it arrives. Under load the
reader pauses after each read, so that the next read returns more datagrams.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netconsd.protocol.allowlist import EVERYONE, AllowList
from netconsd.protocol.counters import ListenerCounters
from netconsd.receive.binding import Binding
from netconsd.receive.histogram import Histogram
from netconsd.receive.lanes import Lane, Workers
from netconsd.receive.sockets import MemInfo, meminfo, unwrapped

__all__ = ["BatchReader", "Receiver"]

try:
    from netconsd.receive._recvmmsg import Receiver
except ImportError:  # plain Python
    from netconsd.receive.recvfrom import Receiver  # type: ignore[assignment]

# The largest number of system calls per release of the GIL. With the default batch these are 4096 datagrams, as many as
# arrive while a busy lane makes the reader wait for the GIL. The constant also bounds the work of one reactor turn.
BATCHES = 8
# At the stop, the datagrams in the socket's receive buffer are read. The kernel charges at least this number of bytes
# per datagram (its sk_buff and skb_shared_info), which bounds the number of datagrams in the buffer. After that number,
# the reader stops, so that a sender faster than the reader neither delays the stop nor fills the queues.
LEAST_CHARGE = 384
# The largest number of reads at the stop, failed ones included.
FINAL_READS = 256
# Seconds between failing reads. A socket with an error (no memory, for example) is always ready to be read, and would
# keep the reactor busy. The time is too short for a receive buffer to overflow that was not almost full.
FAILURE_PAUSE = 0.01
# Seconds. While reads fail, datagrams that complete held messages may be in the socket. After this time the held
# messages are delivered nevertheless, because the reads may fail for ever.
FAILING_SECONDS = 1.0
# Datagrams per read: from one, at rest, to all slots of the default batch.
SIZE_BOUNDS = (1, 4, 16, 64, 256, 512, 1024, 2048, 4096)


@implementer(IReadDescriptor, IListeningPort)
class BatchReader:
    """A port that queues a socket's datagrams for the lanes of ``workers``.

    No failed system call, allocation or lane ends the reading: failures are logged and counted. For the reactor's
    thread only.
    """

    def __init__(
        self,
        bound: socket.socket,
        workers: Workers,
        *,
        batch: int,
        pause: float,
        reactor: Any,
        allowed: AllowList = EVERYONE,
        receiver: Callable[[socket.socket, int, int, int, AllowList], Any] = Receiver,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param bound: a bound, non-blocking UDP socket; the reader closes it.
        :param batch: datagrams per system call.
        :param pause: seconds to wait after a read under load; 0 never waits. The socket's receive buffer has to hold
            the datagrams of that time.
        :param allowed: the addresses whose datagrams are accepted; others are counted and dropped.
        :param receiver: called with the socket, ``batch``, :data:`BATCHES`, the number of lanes, and ``allowed``;
            returns the receiver.
        """
        self.counters = ListenerCounters()
        #: Datagrams per read, empty reads excluded.
        self.sizes = Histogram(SIZE_BOUNDS)
        #: Whether the last read failed.
        self.failing = False
        #: The reason why the socket cannot receive, as of the last :meth:`check`; empty if it can.
        self.problem = ""
        #: Used and total bytes of the receive buffer, as of the last :meth:`look`; None if unknown.
        self.buffer_used: int | None = 0
        self.buffer_size: int | None = 0
        self._socket = bound
        self._lanes = workers.lanes
        self._pause = pause
        self._reactor = reactor
        self._receiver = receiver(bound, batch, BATCHES, len(workers.lanes), allowed)
        self._clock = clock
        self._wall_clock = wall_clock
        #: See :class:`netconsd.receive.lanes.Port`.
        self.complete = float("-inf")
        self._workers = workers
        # The begin of the last read if it left slots empty. It has emptied the socket or met an error, which the next
        # read raises; so the next read without an error confirms that the socket was empty.
        self._emptied_at = float("-inf")
        # While each read fills all slots: the datagrams that may be before those received after _behind_at.
        self._behind = 0
        self._behind_at = float("-inf")
        self._failing_since: float | None = None
        self._last_read = float("-inf")
        # Datagrams, and their bytes, dropped because queueing them raised an exception.
        self._dropped = self._dropped_bytes = 0
        self._resumption: Any = None
        self._binding: Binding | None = None
        # Drops of the sockets before this one.
        self._dropped_before = 0

    def allow(self, allowed: AllowList) -> None:
        """Accept datagrams of these addresses only, from the next read on."""
        self._receiver.allow(allowed)

    def startListening(self) -> None:
        self._binding = Binding(self._socket)
        self._workers.ports.append(self)
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        """Stop reading and close the socket; a second call has no effect."""
        self.look()
        if self._resumption is not None:
            self._resumption.cancel()
            self._resumption = None
        self._reactor.removeReader(self)
        if self in self._workers.ports:
            self._workers.ports.remove(self)
        self._socket.close()
        return succeed(None)

    def look(self) -> None:
        """Update ``counters.dropped_by_kernel`` and the use of the receive buffer from the kernel.

        To be called at least once an hour, because the kernel's counter of drops has 32 bits.
        """
        if self.fileno() >= 0:
            info = self._meminfo()
            if info is not None:
                before = self._dropped_before
                now = unwrapped((self.counters.dropped_by_kernel or 0) - before, info.drops)
                self.counters.dropped_by_kernel = before + now
                self.buffer_used, self.buffer_size = info.used, info.size

    def _meminfo(self) -> MemInfo | None:
        """The kernel's figures; None, and logged once, if the system has none (gVisor; Linux before 4.12)."""
        try:
            return meminfo(self._socket)
        except OSError as error:
            if self.counters.dropped_by_kernel is not None:
                Logger("netconsd").warn(
                    "This system does not say how many datagrams the kernel dropped (SO_MEMINFO: {error}); "
                    "dropped_by_kernel is unknown",
                    error=error.strerror,
                )
            self.counters.dropped_by_kernel = self.buffer_used = self.buffer_size = None
            return None

    def check(self, number: int) -> bool:
        """Find out whether the socket can receive, and bind it again if its interface was replaced; log changes.

        To be called every second while the reader is started.

        :param number: the listener's number, for the log.
        :returns: whether the socket was bound again.
        """
        if self._binding is None:
            return False
        self.look()
        is_lost = self._binding.is_lost
        if is_lost:
            # The new socket has the same descriptor, and the reactor would go on to watch the old one.
            self._reactor.removeReader(self)
        problem, bound_again = self._binding.check()
        if bound_again:
            self._dropped_before = self.counters.dropped_by_kernel or 0
        if is_lost and self._resumption is None:
            self._reactor.addReader(self)
        log = Logger("netconsd")
        if problem and problem != self.problem:
            log.error("Listener {number} cannot receive: {problem}", number=number, problem=problem)
        elif bound_again or (self.problem and not problem):
            log.warn("Listener {number} can receive again", number=number)
        self.problem = problem
        return bound_again

    def getHost(self) -> IPv4Address | IPv6Address:
        """The address and port of the socket."""
        host, port = self._socket.getsockname()[:2]
        return (IPv6Address if self._socket.family == socket.AF_INET6 else IPv4Address)("UDP", host, port)

    def fileno(self) -> int:
        """The socket's file descriptor; -1 if it is closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "netconsd"

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor when it stops."""
        self.stopListening()

    def doRead(self) -> None:
        """Read the waiting datagrams, and pause under load or after a failure."""
        if self._turn():
            self._reactor.removeReader(self)

    def _turn(self) -> bool:
        """Read the waiting datagrams; under load or after a failure, schedule the next read and return ``True``."""
        now = self._clock()
        count = self.read(now)
        if self.failing:
            self._resumption = self._reactor.callLater(FAILURE_PAUSE, self._resume)
            return True
        busy = count > 1 or now - self._last_read < self._pause
        self._last_read = now
        if not busy or not self._pause or count >= self._receiver.slots:
            return False
        self._resumption = self._reactor.callLater(self._pause, self._resume)
        return True

    def read(self, now: float) -> int:
        """Read at most as many datagrams as the receiver has slots, and queue them for the lanes.

        A failure is logged and counted, as are the datagrams that it drops.

        :param now: the monotonic time at the begin of the read. Deadlines count from its end, because the process may
            have been stopped in between.
        :returns: the number of datagrams read, dropped ones included.
        """
        receiver = self._receiver
        before = self.counters.datagrams
        self.failing = False
        try:
            by_lane = receiver.receive()
        except Exception:
            self._note_failure()
            self._note_failed_read(now)
        else:
            received_at, read_at = self._wall_clock(), self._clock()
            self._note_read(receiver.datagrams - before, now)
            complete = self._workers.complete
            for lane, (senders, datagrams) in zip(self._lanes, by_lane, strict=True):
                if datagrams:
                    self._put(lane, senders, datagrams, received_at, read_at, complete)
        counters = self.counters
        counters.datagrams = receiver.datagrams
        counters.bytes = receiver.received_bytes
        counters.truncated = receiver.truncated
        counters.dropped_bad_address = receiver.dropped_bad_address
        counters.dropped_not_allowed = receiver.dropped_not_allowed
        counters.dropped_read_error = receiver.dropped_read_error + self._dropped
        counters.dropped_bytes = receiver.dropped_bytes + self._dropped_bytes
        count = counters.datagrams - before
        if count:
            self.sizes.observe(count)
        return count

    def catch_up(self, wanted: float) -> None:
        """See :class:`netconsd.receive.lanes.Port`. In a pause, the read at its end does it."""
        # The second read confirms the first.
        for _ in range(2):
            if self._resumption is not None or self.complete >= wanted:
                break
            self.read(self._clock())
            if self.failing:
                break

    def _note_read(self, count: int, began_at: float) -> None:
        """Update ``complete`` after a read without an error."""
        self._failing_since = None
        self.complete = max(self.complete, self._emptied_at)
        if count < self._receiver.slots:
            self._behind = 0
            self._emptied_at = began_at
            if not count:
                self.complete = began_at
            return
        # The socket is never empty while its senders are faster than the reader. Then the number of datagrams in its
        # buffer says how many have to be read.
        if self._behind > 0:
            self._behind -= count
            if self._behind > 0:
                return
            self.complete = max(self.complete, self._behind_at)
        self._behind_at = self._clock()
        info = self._meminfo()
        self._behind = FINAL_READS * count if info is None else 1 + info.used // LEAST_CHARGE

    def _note_failed_read(self, now: float) -> None:
        self._emptied_at = float("-inf")
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since >= FAILING_SECONDS:
            self.complete = now

    def _put(
        self,
        lane: Lane,
        senders: list[bytes],
        datagrams: list[bytes],
        received_at: float,
        read_at: float,
        complete: float,
    ) -> None:
        try:
            lane.put(senders, datagrams, received_at, read_at, self._receiver.large, complete)
        except Exception:
            self._dropped += len(datagrams)
            self._dropped_bytes += sum(map(len, datagrams))
            self._note_failure()

    def _note_failure(self) -> None:
        """Count and log the current exception, which must not reach the reactor: it would drop the port."""
        self.failing = True
        self.counters.read_errors += 1
        if self.counters.read_errors & (self.counters.read_errors - 1) == 0:
            Logger("netconsd").failure(
                "Reading failed ({number} times so far; logged each time that number doubles)",
                number=self.counters.read_errors,
            )

    def drain(self) -> None:
        """Read the datagrams in the socket's receive buffer, before the stop; failing reads are retried."""
        self.look()
        slots = self._receiver.slots
        left = FINAL_READS * slots if self.buffer_used is None else self.buffer_used // LEAST_CHARGE + slots
        partial_reads = 0
        for _ in range(FINAL_READS):
            count = self.read(self._clock())
            left -= count
            # A read that leaves slots empty has either emptied the socket or met an error, which the next read raises.
            partial_reads = partial_reads + 1 if count < slots and not self.failing else 0
            if partial_reads == 2 or (left <= 0 and not self.failing):
                break

    def _resume(self) -> None:
        self._resumption = None
        if not self._turn():
            self._reactor.addReader(self)
