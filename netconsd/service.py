"""The daemon as an ``IService``: the order of start and stop, and back.

Start: sockets are bound in ``privilegedStartService``; then outputs, workers, listeners, each ready before the next.
Stop: listeners, workers drained and what they hold delivered, outputs; each is waited for before the next.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

import netconsd
from netconsd.build import KIND
from netconsd.ledger import total
from netconsd.outputs import Outputs
from netconsd.reader import BatchReader, Receiver
from netconsd.settings import Settings
from netconsd.sockets import bind, granted_rcvbuf, send_to
from netconsd.workers import Reply, Workers

# How long a stop waits for the workers. A module that hangs, in a write to a terminal that nobody reads, say, must not
# make the daemon unstoppable; one that is only slow should get its messages out. systemd kills after 90 seconds.
STOP_SECONDS = 30.0
# The least receive buffer with which a reader pauses. In a pause of a millisecond, 500,000 messages per second fill
# half of it; the kernel's own default of 208 KiB overflows at some 270 datagrams.
PAUSE_RCVBUF = 1024 * 1024


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
        receiver: Callable[[socket.socket, int, int, int], Any] = Receiver,
    ) -> None:
        """
        :param modules: the output modules, by the name that stands in logs and counters; each provides
            :class:`~netconsd.interfaces.IOutputModule` or :class:`~netconsd.interfaces.IBatchOutputModule`.
        :param settings: port, bounds and so on; the defaults if not given.
        :param reactor: by default the installed one, from the start of the service on.
        :param receiver: makes what reads a socket (:class:`~netconsd.reader.BatchReader`): compiled where that is
            built.
        :raises ModuleError: if a module provides neither interface.
        """
        self.settings = settings or Settings()
        self._modules = dict(modules)
        self._reactor = reactor
        self._receiver = receiver
        self._log = Logger("netconsd")
        self._sockets: list[socket.socket] = []
        self._readers: list[BatchReader] = []
        # What acknowledgements are sent from, with the port that the senders know.
        self._answering: socket.socket | None = None
        self._workers: Workers | None = None
        self._outputs = Outputs(self._modules, self.settings.workers)
        #: The UDP port, once the sockets are bound; 0 before.
        self.port = 0
        #: Fires with None when messages are received, or fails with ModuleError if a module could not start (and then
        #: nothing runs, but ``stopService`` may be called all the same). A new one is made by ``stopService``.
        self.started: Deferred[None] = Deferred()
        # Fires when the start has come to its end, either way.
        self._settled: Deferred[None] | None = None
        self._stopping = DeferredLock()

    def privilegedStartService(self) -> None:
        """Bind the sockets.

        :raises ConfigError: if that is not possible.
        """
        self._sockets = bind(self.settings)
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
        self._settled = Deferred.fromCoroutine(self._start()).addCallback(self._tell)

    def stopService(self) -> Deferred[None]:
        """Stop receiving, deliver all that was received, stop the modules, log the totals; then fire.

        May be called at any time, and again while it is under way.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return self._stopping.run(lambda: Deferred.fromCoroutine(self._stop()))

    def reload(self) -> None:
        """Let the modules reopen their files and reread what they can, as SIGHUP does."""
        self._outputs.reload()

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
            granted = granted_rcvbuf(self._sockets[0])
            # A small buffer would overflow while we pause.
            pause = self.settings.pause if granted >= PAUSE_RCVBUF else 0.0
            while self._sockets:
                self._listen(self._sockets[0], self._workers, pause)
                del self._sockets[0]
        except Exception as error:
            await self._shut_down()
            return error
        self._announce(granted)
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
        running = self._workers, self._readers
        await self._shut_down()
        if running[0] is not None:
            self._log_totals(running[0], running[1])
        if self.started.called:
            self.started = Deferred()

    async def _shut_down(self) -> None:
        """Stop what is there, in order."""
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
        self._log_failures()
        await self._outputs.stop()
        self._readers = []
        self._workers = None

    async def _stop_workers(self, workers: Workers) -> None:
        stopped = workers.stop()
        late = self._reactor.callLater(STOP_SECONDS, stopped.cancel)
        await stopped
        if late.active():
            late.cancel()
        for lane in workers.unfinished:
            self._log.warn(
                "Worker {number} has not come to its end within {seconds} seconds: a module does not return. "
                "What is in its queue, {backlog} datagrams, is lost",
                number=lane.number,
                seconds=STOP_SECONDS,
                backlog=lane.backlog,
            )

    def _close_sockets(self) -> None:
        while self._sockets:
            self._sockets.pop().close()

    def _log_failures(self) -> None:
        for output in self._outputs.started:
            errors = sum(tally.errors for tally in output.tallies) + output.reload_errors
            if errors:
                self._log.warn(
                    "Module {name}: {errors} calls failed of those for {messages} messages",
                    name=output.name,
                    errors=errors,
                    messages=sum(tally.messages for tally in output.tallies),
                )

    def _announce(self, granted: int) -> None:
        settings = self.settings
        self._log.info(
            "netconsd {version} ({kind}) listens on {address}, UDP port {port}; {listeners} listener(s), "
            "{workers} worker(s), modules: {modules}",
            version=netconsd.__version__,
            kind=KIND,
            address=settings.address or "all addresses, IPv4 and IPv6",
            port=self.port,
            listeners=settings.listeners,
            workers=settings.workers,
            modules=", ".join(self._modules) or "none, so messages go nowhere",
        )
        if granted < settings.rcvbuf:
            self._log.warn(
                "The kernel granted a receive buffer of {granted} of the {wanted} bytes asked for: bursts can be lost. "
                "Run 'sysctl -w net.core.rmem_max={wanted}', or give the daemon CAP_NET_ADMIN, or set --rcvbuf",
                granted=granted,
                wanted=settings.rcvbuf,
            )

    def _log_totals(self, workers: Workers, readers: list[BatchReader]) -> None:
        for number, reader in enumerate(readers):
            self._log.info("Listener {number}: {datagrams} datagrams", number=number, datagrams=reader.tally.datagrams)
        for lane in workers.lanes:
            self._log.info(
                "Worker {number}: {messages} messages from {senders} senders",
                number=lane.number,
                messages=lane.tally.messages,
                senders=lane.tally.sources_made,
            )
        counters = total(lane.tally for lane in workers.lanes)
        received = sum(reader.tally.datagrams for reader in readers)
        self._log.info(
            "In all: {datagrams} datagrams received, {messages} messages from {senders} senders",
            datagrams=received,
            messages=counters["messages"],
            senders=counters["sources_made"],
        )
        counters["shed"] = sum(lane.queue_tally.shed for lane in workers.lanes)
        for name in ("dropped", "truncated", "refused", "read_errors"):
            counters[name] = sum(getattr(reader.tally, name) for reader in readers)
        for name in ("sent", "failed", "crowded"):
            counters[f"acks_{name}"] = sum(getattr(lane.acks.tally, name) for lane in workers.lanes if lane.acks)
        worth_telling = {name: counters[name] for name in TOLD_AT_THE_END if counters[name]}
        if worth_telling:
            self._log.info(
                "Of note: {list}", list=", ".join(f"{name} {count}" for name, count in worth_telling.items())
            )


#: The counters of docs/counters that the totals name if they are not zero.
TOLD_AT_THE_END = (
    "dropped",
    "shed",
    "skipped",
    "truncated",
    "refused",
    "read_errors",
    "malformed",
    "duplicates",
    "empty",
    "late",
    "incomplete",
    "superseded",
    "replayed",
    "lost",
    "missing",
    "crowded",
    "sources_aged",
    "sources_evicted",
    "acks_sent",
    "acks_failed",
    "acks_crowded",
)
