"""The daemon as an ``IService``: the order of start and stop, and back.

Start: sockets are bound in ``privilegedStartService``; then outputs, workers, listeners, each ready before the next.
Stop: listeners, workers drained and what they hold delivered, outputs; each is waited for before the next.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from netconsd.monitor.log import DropLog, log_end, log_failures, log_start
from netconsd.monitor.snapshot import Snapshot, take
from netconsd.monitor.top_senders import TopList, TopSenders
from netconsd.outputs.runner import Outputs
from netconsd.outputs.timelimit import TimeLimit
from netconsd.protocol.allowlist import AllowList
from netconsd.receive.lanes import Lane, Reply, Workers
from netconsd.receive.reader import BatchReader, Receiver
from netconsd.receive.sockets import bind, describe, destinations, granted_rcvbuf, send_to
from netconsd.settings import ConfigError, Settings

if TYPE_CHECKING:
    from netconsd.monitor.http import MonitoringPort

# How soon it is said that datagrams are being lost. The kernel's counter of drops has 32 bits, which do not wrap unseen
# in a second; to ask for it costs a microsecond per listener.
LOOK_SECONDS = 1.0
# The least receive buffer with which a reader pauses. In a pause of two milliseconds, 500,000 messages per second fill
# half of it; the kernel's own default of 208 KiB overflows at some 270 datagrams.
PAUSE_RCVBUF = 2 * 1024 * 1024

__all__ = ["NetconsdService"]


class NetconsdService(Service):
    """Receives messages and hands them to output modules, as a child of any Twisted application.

    All methods are for the reactor's thread. A stopped service can be started again.
    """

    def __init__(
        self,
        modules: Mapping[str, Any],
        settings: Settings | None = None,
        *,
        reactor: Any = None,
        receiver: Callable[[socket.socket, int, int, int, AllowList], Any] = Receiver,
        sockets: Callable[[Settings], list[socket.socket]] = bind,
        timelimit: TimeLimit | None = None,
    ) -> None:
        """
        :param modules: the output modules, by the name that stands in logs and counters; each provides
            :class:`~netconsd.interfaces.IOutputModule` or :class:`~netconsd.interfaces.IBatchOutputModule`.
        :param settings: port, bounds and so on; the defaults if not given.
        :param reactor: by default the installed one, from the start of the service on.
        :param receiver: makes what reads a socket (:class:`~netconsd.receive.reader.BatchReader`): compiled where that
            is built.
        :param sockets: makes the bound, non-blocking UDP sockets to listen on, at least one.
        :param timelimit: what becomes of a module that blocks in ``stop`` or ``reload``; by default it is named in the
            log.
        :raises ModuleError: if a module provides neither interface.
        """
        self.settings = settings or Settings()
        self._modules = dict(modules)
        self._reactor = reactor
        self._receiver = receiver
        self._bind = sockets
        self._log = Logger("netconsd")
        self._sockets: list[socket.socket] = []
        self._readers: list[BatchReader] = []
        # What acknowledgements are sent from, with the port that the senders know.
        self._answering: socket.socket | None = None
        self._workers: Workers | None = None
        self._outputs = Outputs(self._modules, self.settings.workers, self.settings.stop_timeout, timelimit)
        self._last = Snapshot()
        self._monitoring: MonitoringPort | None = None
        self._top: TopSenders | None = None
        #: Whether messages are received.
        self.receiving = False
        self._overload: DropLog | None = None
        self._looks = LoopingCall(self._look)
        #: The UDP port, once the sockets are bound; 0 before.
        self.port = 0
        #: Fires with None when messages are received, or fails with ModuleError if a module could not start (and then
        #: nothing runs, but ``stopService`` may be called all the same). A new one is made by ``stopService``.
        self.started: Deferred[None] = Deferred()
        # Fires when the start has come to its end, either way.
        self._settled: Deferred[None] | None = None
        self._stopping = DeferredLock()

    @property
    def lanes(self) -> Sequence[Lane]:
        """The workers, while there are any."""
        return self._workers.lanes if self._workers else ()

    def privilegedStartService(self) -> None:
        """Bind the sockets.

        :raises ConfigError: if that is not possible.
        """
        if self.settings.metrics is not None:
            # Here, because its libraries are optional.
            from netconsd.monitor.http import MonitoringPort

            self._monitoring = MonitoringPort(self)
        try:
            self._sockets = self._bind(self.settings)
        except ConfigError:
            if self._monitoring is not None:
                self._monitoring.close()
                self._monitoring = None
            raise
        self.port = self._sockets[0].getsockname()[1]
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Begin to start the outputs, the workers and the listeners; ``started`` tells how it ended.

        :raises ConfigError: as ``privilegedStartService``, if that was not called before.
        """
        if not self._sockets:
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        if self._monitoring is not None:
            self._monitoring.start(self._reactor)
        self._settled = Deferred.fromCoroutine(self._start()).addCallback(self._tell)

    def stopService(self) -> Deferred[None]:
        """Stop receiving, deliver all that was received, log the totals, stop the modules; then fire.

        May be called at any time, and again while it is under way.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return self._stopping.run(lambda: Deferred.fromCoroutine(self._stop()))

    def reload(self) -> None:
        """Let the modules reopen their files and reread what they can, as SIGHUP does."""
        self._outputs.reload()

    def snapshot(self) -> Snapshot:
        """All counters as they are now; those of the end if it does not run."""
        if self._workers is None:
            return self._last
        return take(self._readers, self._workers.lanes, self._outputs.started)

    def top_senders(self, by: str = "datagrams") -> Deferred[TopList]:
        """The senders with the most of a counter, of those that are remembered; see
        :class:`netconsd.embedding.TopList`.

        :raises RuntimeError: if no worker runs.
        """
        if self._top is None:
            raise RuntimeError("not running")
        return self._top.get(by)

    async def _start(self) -> Exception | None:
        """Start everything; if that fails, stop it again and return why."""
        try:
            await self._outputs.start(self._reactor)
            self._workers = Workers(
                self._outputs.deliver,
                self.settings,
                reactor=self._reactor,
                legacy_datagrams=self._outputs.legacy_datagrams,
                reply=self._make_reply(),
            )
            self._workers.start()
            self._top = TopSenders(self._workers.lanes, self._reactor)
            granted = min(map(granted_rcvbuf, self._sockets))
            where = describe(self._sockets)
            addresses = destinations(self._sockets)
            # A small buffer would overflow while we pause.
            pause = self.settings.pause if granted >= PAUSE_RCVBUF else 0.0
            while self._sockets:
                self._listen(self._sockets[0], self._workers, pause)
                del self._sockets[0]
            url = self._monitoring.url if self._monitoring is not None else None
            log_start(self._log, self.settings, where, len(self._readers), tuple(self._modules), granted, url)
            await self._outputs.listening(addresses)
        except Exception as error:
            await self._shut_down(tell=False)
            return error
        self.receiving = True
        self._overload = DropLog(self._log, *self._lost())
        self._looks.clock = self._reactor
        self._looks.start(LOOK_SECONDS, now=False)
        return None

    def _tell(self, error: Exception | None) -> None:
        if error is None:
            self.started.callback(None)
        else:
            self.started.errback(error)

    def _make_reply(self) -> Reply | None:
        if not self.settings.acks:
            return None
        # A copy, so that what the workers still have when the reader has closed its socket is acknowledged, too.
        self._answering = self._sockets[0].dup()
        return partial(send_to, self._answering)

    def _listen(self, bound: socket.socket, workers: Workers, pause: float) -> None:
        reader = BatchReader(
            bound,
            workers,
            batch=self.settings.batch,
            pause=pause,
            reactor=self._reactor,
            allowed=AllowList(self.settings.allow),
            receiver=self._receiver,
        )
        self._readers.append(reader)
        reader.startListening()

    async def _stop(self) -> None:
        if self._settled is not None:
            # A module whose start never ends must not keep us from stopping.
            self._settled.cancel()
            await self._settled
            self._settled = None
        await self._shut_down(tell=self._workers is not None)
        if self.started.called:
            self.started = Deferred()

    async def _shut_down(self, *, tell: bool) -> None:
        """Stop what is there, in order.

        :param tell: whether to log the totals: before the modules stop, for one of them might not come to its end.
        """
        self.receiving = False
        if self._looks.running:
            self._looks.stop()
        for reader in self._readers:
            reader.drain()
            await reader.stopListening()
        self._close_sockets()
        self.port = 0
        if self._workers is not None:
            await self._stop_workers(self._workers)
        if self._answering is not None:
            self._answering.close()
            self._answering = None
        log_failures(self._log, self._outputs.started)
        self._last = self.snapshot()
        if tell:
            log_end(self._log, self._last)
        await self._outputs.stop()
        self._readers = []
        self._workers = self._top = None
        # Last, so that the way to the end can be watched.
        monitoring, self._monitoring = self._monitoring, None
        if monitoring is not None:
            await monitoring.stop()

    def _look(self) -> None:
        """Keep up with what is lost, and say so while it happens."""
        if self._overload is not None:
            self._overload.update(*self._lost(), self._reactor.seconds())

    def _lost(self) -> tuple[list[int], list[int]]:
        """What the kernel has dropped of each listener so far, and what each worker's queue had no room for."""
        for reader in self._readers:
            reader.look()
        return [reader.counters.dropped_by_kernel for reader in self._readers], [
            lane.queue_counters.dropped_queue_full for lane in self.lanes
        ]

    async def _stop_workers(self, workers: Workers) -> None:
        stopped = workers.stop()
        late = self._reactor.callLater(self.settings.stop_timeout, stopped.cancel)
        await stopped
        if late.active():
            late.cancel()
        for lane in workers.unfinished:
            self._log.warn(
                "Worker {number} has not come to its end within {seconds:g} seconds: a module does not return. "
                "What is in its queue, {count} datagrams, is lost, and so is what waits in it (abandoned)",
                number=lane.number,
                seconds=self.settings.stop_timeout,
                count=lane.waiting,
            )

    def _close_sockets(self) -> None:
        while self._sockets:
            self._sockets.pop().close()
