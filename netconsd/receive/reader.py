"""Reads a socket many datagrams at a time, and fewer times when there are many.

Reading a datagram costs less than waking up for it. At rest a datagram is read as soon as it comes; under load the
reader waits a moment after each read, and the next one finds more.
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
from netconsd.receive.histogram import Histogram
from netconsd.receive.lanes import Lane, Workers
from netconsd.receive.sockets import meminfo, unwrapped

__all__ = ["BatchReader", "Receiver"]

try:
    from netconsd.receive._recvmmsg import Receiver
except ImportError:  # plain Python
    from netconsd.receive.recvfrom import Receiver  # type: ignore[assignment]

# How many system calls one release of the GIL may have: with the default batch 4096 datagrams, which the kernel has in
# the time that a busy lane may keep the GIL from us. It bounds the work of one turn of the reactor, too.
BATCHES = 8
# At the stop, what is in a socket's receive buffer is read. A sender that is faster than we are cannot hold up the
# stop, nor fill the queues with what came after it: no kernel charges less than this for a datagram (its sk_buff and
# skb_shared_info), so that after as many as can have been there nothing older is left.
LEAST_CHARGE = 384
# How often a read that fails is tried again then.
FINAL_READS = 256
# Seconds between reads that fail. A socket that has an error (no memory, say) is always ready to be read, and would
# keep the reactor busy with nothing else; in so short a time no receive buffer overflows that was not about to.
FAILURE_PAUSE = 0.01
# Datagrams per read: from one, at rest, to all slots of the default batch.
SIZE_BOUNDS = (1, 4, 16, 64, 256, 512, 1024, 2048, 4096)


@implementer(IReadDescriptor, IListeningPort)
class BatchReader:
    """A port that gives the lanes of ``workers`` what arrives at a socket.

    All methods are for the reactor's thread.
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
        :param pause: seconds to wait after a read under load; 0 for never. The socket's receive buffer has to hold
            what arrives in that time.
        :param allowed: whose datagrams are taken; those of others are counted, and go no further.
        :param receiver: makes what reads, from the socket, ``batch``, :data:`BATCHES`, the number of lanes, and
            ``allowed``.
        """
        self.counters = ListenerCounters()
        #: Datagrams per read, where there were any.
        self.sizes = Histogram(SIZE_BOUNDS)
        #: Whether the last try to read failed.
        self.failing = False
        #: Bytes of the receive buffer that are taken, of how many; both as of the last :meth:`look`.
        self.buffer_used = self.buffer_size = 0
        self._socket = bound
        self._lanes = workers.lanes
        self._pause = pause
        self._reactor = reactor
        self._receiver = receiver(bound, batch, BATCHES, len(workers.lanes), allowed)
        self._clock = clock
        self._wall_clock = wall_clock
        self._last_read = float("-inf")
        # What no lane has taken, because it raised.
        self._not_put = self._octets_not_put = 0
        self._resumption: Any = None

    def startListening(self) -> None:
        """Begin to read."""
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        """Stop reading, and close the socket; may be called again."""
        self.look()
        if self._resumption is not None:
            self._resumption.cancel()
            self._resumption = None
        self._reactor.removeReader(self)
        self._socket.close()
        return succeed(None)

    def look(self) -> None:
        """Bring up to date what the kernel says of the socket: drops, and what waits in it; once an hour or more."""
        if self.fileno() >= 0:
            info = meminfo(self._socket)
            self.counters.dropped_by_kernel = unwrapped(self.counters.dropped_by_kernel, info.drops)
            self.buffer_used, self.buffer_size = info.used, info.size

    def getHost(self) -> IPv4Address | IPv6Address:
        """Where the socket is bound."""
        host, port = self._socket.getsockname()[:2]
        return (IPv6Address if self._socket.family == socket.AF_INET6 else IPv4Address)("UDP", host, port)

    def fileno(self) -> int:
        """The socket's file descriptor, -1 when it is closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return "netconsd"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops."""
        self.stopListening()

    def doRead(self) -> None:
        """Read what is there, and pause if there seems to be more to come."""
        if self._turn():
            self._reactor.removeReader(self)

    def _turn(self) -> bool:
        """Read what is there; if there seems to be more to come, or it failed, have it read after a pause."""
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
        """Read what is there, as far as there is room for it, and give it to the lanes.

        :param now: monotonic seconds.
        :returns: how many datagrams there were. A failure is logged and counted, and so is what was lost by it.
        """
        receiver = self._receiver
        before = self.counters.datagrams
        self.failing = False
        try:
            by_lane = receiver.receive()
        except Exception:
            self._note_failure()
        else:
            received_at = self._wall_clock()
            for lane, (senders, datagrams) in zip(self._lanes, by_lane, strict=True):
                if datagrams:
                    self._put(lane, senders, datagrams, received_at, now)
        counters = self.counters
        counters.datagrams = receiver.datagrams
        counters.octets = receiver.octets
        counters.truncated = receiver.truncated
        counters.dropped_bad_address = receiver.dropped_bad_address
        counters.dropped_not_allowed = receiver.dropped_not_allowed
        counters.dropped_no_memory = receiver.dropped_no_memory + self._not_put
        counters.dropped_bytes = receiver.dropped_bytes + self._octets_not_put
        count = counters.datagrams - before
        if count:
            self.sizes.observe(count)
        return count

    def _put(self, lane: Lane, senders: list[bytes], datagrams: list[bytes], received_at: float, now: float) -> None:
        try:
            lane.put(senders, datagrams, received_at, now, self._receiver.large)
        except Exception:
            self._not_put += len(datagrams)
            self._octets_not_put += sum(map(len, datagrams))
            self._note_failure()

    def _note_failure(self) -> None:
        """Count the exception that is being handled, which must not go up to the reactor: it would drop the port."""
        self.failing = True
        self.counters.read_errors += 1
        if self.counters.read_errors & (self.counters.read_errors - 1) == 0:
            Logger("netconsd").failure(
                "Reading failed ({number} times so far; this is said whenever that has doubled)",
                number=self.counters.read_errors,
            )

    def drain(self) -> None:
        """Read what is in the socket by now: before the end. What fails is tried again."""
        self.look()
        slots = self._receiver.slots
        left = self.buffer_used // LEAST_CHARGE + slots
        not_full = 0
        for _ in range(FINAL_READS):
            count = self.read(self._clock())
            left -= count
            # Slots that stay empty mean that the socket was empty, or that the next read tells an error.
            not_full = not_full + 1 if count < slots and not self.failing else 0
            if not_full == 2 or (left <= 0 and not self.failing):
                break

    def _resume(self) -> None:
        self._resumption = None
        if not self._turn():
            self._reactor.addReader(self)
