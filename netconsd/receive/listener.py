"""A Twisted protocol that receives datagrams on any reactor and queues them for the lanes of their senders."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from netconsd.protocol.allowlist import EVERYONE, AllowList
from netconsd.protocol.counters import ListenerCounters
from netconsd.protocol.message import is_link_local, with_scope, without_scope
from netconsd.receive.lanes import Lane, Workers
from netconsd.receive.sockets import packed_address, scope_of

#: The value for ``maxPacketSize``; no UDP datagram is larger.
MAX_DATAGRAM = 65536
# Seconds. A socket that is never empty for this long is overloaded, or its port is paused; deadlines expire then.
FULL_SECONDS = 1.0
# The default of the largest number of datagrams that a lane gets at a time.
BATCH = 512


class NetconsoleListener(DatagramProtocol):
    """A protocol for ``reactor.listenUDP(port, NetconsoleListener(workers), maxPacketSize=MAX_DATAGRAM)``.

    Datagrams that arrive in one turn of the reactor are queued together, with one time stamp. With Twisted's default
    of 8192 bytes for ``maxPacketSize``, the kernel truncates larger datagrams; they are counted. For the reactor's
    thread only.
    """

    noisy = False

    def __init__(
        self,
        workers: Workers,
        *,
        batch: int = BATCH,
        allowed: AllowList = EVERYONE,
        call_later: Callable[[float, Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param workers: the lanes; to be started before the first datagram and stopped after the last one.
        :param batch: a lane's datagrams are queued when ``batch`` of them have arrived, or at the end of the turn.
        :param allowed: the addresses whose datagrams are accepted.
        :param call_later: the reactor's ``callLater``; by default that of the listening reactor.
        :param clock: monotonic time in seconds, from the same clock as the workers'.
        :param wall_clock: Unix time in seconds.
        """
        self.counters = ListenerCounters()
        self._workers = workers
        self._batch = batch
        self._allowed = allowed
        self._call_later = call_later
        self._clock = clock
        self._wall_clock = wall_clock
        self._pending: dict[Lane, tuple[list[bytes], list[bytes]]] = {}
        self._received_at = self._now = 0.0
        self._max_size = MAX_DATAGRAM
        #: See :class:`netconsd.receive.lanes.Port`.
        self.complete = float("-inf")
        # The first call of catch_up since the socket was known to be empty.
        self._behind_since: float | None = None

    def startProtocol(self) -> None:
        # Twisted's own ports have both attributes, although IUDPTransport does not declare them.
        port: Any = self.transport
        if self._call_later is None:
            self._call_later = port.reactor.callLater
        self._max_size = getattr(port, "maxPacketSize", MAX_DATAGRAM)
        if self._max_size < MAX_DATAGRAM:
            Logger("netconsd").warn(
                "Datagrams of more than {size} bytes will be truncated: pass maxPacketSize={wanted} to listenUDP",
                size=self._max_size,
                wanted=MAX_DATAGRAM,
            )
        self._workers.ports.append(self)

    def stopProtocol(self) -> None:
        self.flush()
        if self in self._workers.ports:
            self._workers.ports.remove(self)

    def catch_up(self, wanted: float) -> None:
        """See :class:`netconsd.receive.lanes.Port`. The reactor's port reads the socket in the next turns."""
        now = self._clock()
        readable = self._is_readable()
        if readable is None:
            # The port has read the socket once the reactor has made another turn.
            readable = self._behind_since is None
        if self._behind_since is None:
            self._behind_since = now
        if not readable or now - self._behind_since >= FULL_SECONDS:
            self.flush()
            self.complete = now
            self._behind_since = None

    def _is_readable(self) -> bool | None:
        """True if the socket has unread datagrams; None if the transport does not show its socket."""
        try:
            port: Any = self.transport
            poll = select.poll()
            poll.register(port.getHandle(), select.POLLIN)
            return bool(poll.poll(0))
        except (AttributeError, OSError, TypeError, ValueError):
            return None

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        counters = self.counters
        counters.datagrams += 1
        counters.bytes += len(datagram)
        if len(datagram) >= self._max_size:
            counters.truncated += 1
        host, port = addr[:2]
        packed = packed_address(host)
        if packed is None:
            counters.dropped_bad_address += 1
            counters.dropped_bytes += len(datagram)
            return
        packed = without_scope(packed)
        if not self._allowed.admits(packed):
            counters.dropped_not_allowed += 1
            counters.dropped_bytes += len(datagram)
            return
        if not self._pending:
            self._received_at = self._wall_clock()
            self._now = self._clock()
            assert self._call_later is not None, "startProtocol is called before the first datagram"
            self._call_later(0, self.flush)
        lane = self._workers.lane_for(packed)
        pending = self._pending.get(lane)
        if pending is None:
            pending = self._pending[lane] = ([], [])
        senders, datagrams = pending
        address = with_scope(packed, scope_of(host)) if is_link_local(packed) else packed
        senders.append(address + port.to_bytes(2, "big"))
        datagrams.append(datagram)
        if len(datagrams) >= self._batch:
            self._pending[lane] = ([], [])
            self._put(lane, senders, datagrams)

    def flush(self) -> None:
        """Queue the datagrams that were received in this turn."""
        pending, self._pending = self._pending, {}
        for lane, (senders, datagrams) in pending.items():
            if datagrams:
                self._put(lane, senders, datagrams)

    def _put(self, lane: Lane, senders: list[bytes], datagrams: list[bytes]) -> None:
        try:
            lane.put(senders, datagrams, self._received_at, self._now, complete=self._workers.complete)
        except Exception:
            self.counters.dropped_read_error += len(datagrams)
            self.counters.dropped_bytes += sum(map(len, datagrams))
            Logger("netconsd").failure("Dropped {number} datagrams because queueing them failed", number=len(datagrams))
