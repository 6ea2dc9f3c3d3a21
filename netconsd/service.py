"""The receiver as an ``IService``: the order of its start and of its stop.

Start: ``privilegedStartService`` binds the sockets; then the outputs, the workers and the listeners start, each after
the one before is ready. Stop: the listeners stop, the workers deliver everything they hold, the outputs stop; each step
is awaited before the next.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from netconsd.crash.watch import watches
from netconsd.logger.hostnames import HostsError
from netconsd.monitor.crashes import Crashes, LastReport
from netconsd.monitor.log import DropLog, log_end, log_failures, log_start, totals
from netconsd.monitor.modulelog import ModuleLog
from netconsd.monitor.snapshot import Snapshot, take
from netconsd.monitor.top_senders import TopList, TopSenders
from netconsd.names import Names
from netconsd.outputs.draining import Draining, Part
from netconsd.outputs.runner import Outputs, RunningModule
from netconsd.protocol.allowlist import AllowList
from netconsd.protocol.message import Message, Source
from netconsd.protocol.plural import plural
from netconsd.receive.lanes import Lane, Workers
from netconsd.receive.reader import BatchReader, Receiver
from netconsd.receive.sockets import bind, describe, destinations, granted_rcvbuf, send_to
from netconsd.settings import ConfigError, Settings, option_fields

if TYPE_CHECKING:
    from netconsd.monitor.http import MonitoringPort

__all__ = ["NetconsdService"]

# The time until a loss of datagrams is logged. The kernel's counter of drops has 32 bits, which cannot wrap unnoticed
# in a second; reading it costs a microsecond per listener.
LOOK_SECONDS = 1.0
# The least receive buffer with which a reader pauses, and the bytes of buffer for each second of a pause: 500,000
# messages per second fill half of it. The kernel's default of 208 KiB overflows at some 270 datagrams.
PAUSE_RCVBUF = 2 * 1024 * 1024
PAUSE_BYTES_PER_SECOND = 1024 * 1024 * 1024


class _Phase(Enum):
    IDLE = auto()
    BOUND = auto()
    STARTING = auto()
    RECEIVING = auto()
    STOPPING = auto()


@dataclass
class _Bound:
    """The ports of a service, from ``privilegedStartService`` on; a reader takes its socket over."""

    sockets: list[socket.socket]
    monitoring: MonitoringPort | None
    port: int

    def close_sockets(self) -> None:
        while self.sockets:
            self.sockets.pop().close()


class Running:
    """The workers and readers of a service, from the start of its modules to the end of its stop."""

    def __init__(
        self,
        settings: Settings,
        outputs: Outputs,
        sockets: Sequence[socket.socket],
        receiver: Callable[[socket.socket, int, int, int, AllowList], Any],
        reactor: Any,
        names: Names,
        marked: Callable[[list[Any]], list[Any]] = lambda found: found,
    ) -> None:
        """
        :param sockets: acknowledgements are sent from the first one, whose port the senders know.
        :param marked: returns reports and events as the modules get them.
        """
        self.readers: list[BatchReader] = []
        self.totals_logged = False
        self._settings = settings
        self._outputs = outputs
        self._receiver = receiver
        self._reactor = reactor
        self._log = Logger("netconsd")
        self._module_log = ModuleLog(self._log)
        # A copy, so that datagrams that the workers still have after the reader closed its socket are acknowledged.
        self._reply_socket = sockets[0].dup() if settings.acks and sockets else None

        #: What the workers found; without reports and events if no module takes them.
        self.crashes = Crashes(names.known)

        def deliver(worker: int, messages: list[Message]) -> None:
            names.learn(messages)
            outputs.deliver(worker, messages)

        def publish(worker: int, found: list[Any]) -> None:
            found = marked(found)
            self.crashes.note(found)
            outputs.publish(worker, found)

        wanted = outputs.wants_reports, outputs.wants_events

        self.workers = Workers(
            deliver if settings.host_key else outputs.deliver,
            settings,
            reactor=reactor,
            legacy_datagrams=outputs.legacy_datagrams,
            reply=partial(send_to, self._reply_socket) if self._reply_socket else None,
            watch=watches(*wanted, self._watch_failed, settings.sources_share) if any(wanted) else None,
            publish=publish,
        )
        self.top = TopSenders(self.workers.lanes, reactor, names)
        self.look_call = LoopingCall(self._look)
        self._drop_log: DropLog | None = None
        # Senders that had begun to exceed --rate at the last look.
        self._limited_count = 0

    def _watch_failed(self) -> None:
        """Log the exception that is being handled, in a worker's thread."""
        self._reactor.callFromThread(
            self._log.failure,
            "Looking for crash reports failed, which is a defect of netconsd; please report it. No message is lost",
            Failure(),
        )

    def start(self, sockets: list[socket.socket], pause: float) -> None:
        """Start the workers, then a reader for each socket, which is removed from the list."""
        self.workers.start()
        while sockets:
            reader = BatchReader(
                sockets[0],
                self.workers,
                batch=self._settings.batch,
                pause=pause,
                reactor=self._reactor,
                allowed=AllowList(self._settings.allow),
                receiver=self._receiver,
            )
            self.readers.append(reader)
            reader.startListening()
            del sockets[0]

    def apply(self, name: str, value: Any) -> None:
        """Apply the new value of a setting that is ``reloadable``."""
        if name == "allow":
            for reader in self.readers:
                reader.allow(AllowList(value))
        elif name == "rate":
            for lane in self.workers.lanes:
                lane.set_rate(value)
        else:
            raise AssertionError(f"{name} is declared as reloadable, and nothing applies it")

    def watch_losses(self) -> None:
        """From now on, log losses of datagrams while they happen."""
        by_kernel, queue_full, not_allowed, over_rate = self._losses()
        self._limited_count = self._take_limited()[1]
        self._drop_log = DropLog(self._log, by_kernel, queue_full, not_allowed, over_rate)
        self.look_call.clock = self._reactor
        self.look_call.start(LOOK_SECONDS, now=False)

    async def stop_readers(self) -> None:
        """Read what the kernel has received, and close the sockets."""
        if self.look_call.running:
            self.look_call.stop()
        for reader in self.readers:
            reader.drain()
            await reader.stopListening()

    async def stop_workers(self, draining: Draining) -> None:
        """Wait until the workers, then the queues of the modules, have delivered everything or were given up."""
        await draining.wait(self.workers.stop(), [self._part_of(lane) for lane in self.workers.lanes])
        parts = [self._part_in(output, queue.worker) for output in self._outputs.started for queue in output.queues]
        await draining.wait(self._outputs.finish(), parts)
        if self._reply_socket is not None:
            self._reply_socket.close()

    def _part_of(self, lane: Lane) -> Part:
        number = lane.number
        # A single module is called in the worker's thread; several modules keep no worker waiting.
        called = [output for output in self._outputs.started if not output.queues]

        def done() -> int:
            return int(lane.counters.datagrams) + sum(output.progress(number) for output in called)

        def left() -> str:
            texts = [_left(output, number) for output in called if output.waiting(number)]
            queued = plural(lane.waiting, "datagram")
            return ", ".join([*texts, *([f"{queued} left in worker {number}"] if lane.waiting else [])])

        def give_up(reason: str) -> None:
            lane.give_up()
            in_hand = sum(output.give_up(number) for output in called)
            self._log.warn(
                "Worker {number} is given up, because {module} blocks: {reason}. {queued} in its queue, all messages "
                "that it holds, and {messages} that the module has in hand are dropped (dropped_at_stop)",
                number=number,
                module=", ".join(f"module {output.name}" for output in called) or "a module",
                reason=reason,
                queued=plural(lane.waiting, "datagram"),
                messages=plural(in_hand, "message"),
            )

        return Part(lambda: lane.running, done, left, give_up)

    def _part_in(self, output: RunningModule, worker: int) -> Part:
        def give_up(reason: str) -> None:
            self._log.warn(
                "Module {name} is given up in worker {worker}: {reason}. {messages} in its queue and in hand are "
                "dropped (dropped_at_stop)",
                name=output.name,
                worker=worker,
                reason=reason,
                messages=plural(output.give_up(worker), "message"),
            )

        return Part(
            lambda: output.queues[worker].running,
            lambda: output.progress(worker),
            lambda: _left(output, worker) if output.waiting(worker) else "",
            give_up,
        )

    def _look(self) -> None:
        for number, reader in enumerate(self.readers):
            if reader.check(number) and number == 0 and self._reply_socket is not None:
                os.dup2(reader.fileno(), self._reply_socket.fileno(), inheritable=False)
        now = monotonic()
        if self._drop_log is not None:
            by_kernel, queue_full, not_allowed, over_rate = self._losses()
            limited, count = self._take_limited()
            begun, self._limited_count = count - self._limited_count, count
            self._drop_log.update(by_kernel, queue_full, now, not_allowed, over_rate, limited, begun)
        self._module_log.update(self._outputs.started, now)

    def _losses(self) -> tuple[list[int], list[int], list[int], list[int]]:
        """Return the drops of each listener or worker: by the kernel, by the full queue, by --allow, and by --rate."""
        for reader in self.readers:
            reader.look()
        return (
            [reader.counters.dropped_by_kernel or 0 for reader in self.readers],
            [lane.queue_counters.dropped_queue_full for lane in self.workers.lanes],
            [reader.counters.dropped_not_allowed for reader in self.readers],
            [lane.counters.dropped_over_rate for lane in self.workers.lanes],
        )

    def _take_limited(self) -> tuple[list[Source], int]:
        """Return the latest senders that have begun to exceed --rate since the last call, and how many ever have."""
        latest = [source for lane in self.workers.lanes for source in lane.take_limited()]
        return latest, sum(lane.counters.senders_limited for lane in self.workers.lanes)


def pause_with(pause: float, granted: int) -> float:
    """Return the longest pause up to one of so many seconds, during which no small receive buffer overflows.

    :param granted: the bytes of the smallest buffer.
    """
    return min(pause, granted / PAUSE_BYTES_PER_SECOND) if granted >= PAUSE_RCVBUF else 0.0


def _left(output: RunningModule, worker: int) -> str:
    messages = plural(output.waiting(worker), "message", form=",")
    return f"{messages} left in module {output.name}, worker {worker}"


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
    ) -> None:
        """
        :param modules: the output modules, by the name for logs and counters; each provides
            :class:`~netconsd.interfaces.IOutputModule`, :class:`~netconsd.interfaces.IBatchOutputModule`,
            :class:`~netconsd.interfaces.IReportModule` or :class:`~netconsd.interfaces.IEventModule`.
        :param settings: port, bounds and so on; the defaults if not given.
        :param reactor: by default the installed one, from the start of the service on.
        :param receiver: makes the object that reads a socket (:class:`~netconsd.receive.reader.BatchReader`); by
            default the compiled one, if it is built.
        :param sockets: returns the bound, non-blocking UDP sockets to listen on, at least one.
        :raises ModuleError: if a module provides none of these interfaces.
        """
        self.settings = settings or Settings()
        self._modules = dict(modules)
        self._reactor = reactor
        self._receiver = receiver
        self._bind = sockets
        self._log = Logger("netconsd")
        self._names = Names(self.settings.host_key, self.settings.hosts_file, self.settings.reverse_dns)
        self._outputs = Outputs(
            self._modules, self.settings.workers, self.settings.stop_timeout, self._names, queue=self.settings.queue
        )
        self._outputs.snapshot = self.snapshot
        #: The place of the setting ``hosts_file``, for the log: an option, or a line of a file.
        self.hosts_file_place = "--hosts-file"
        #: Called in the reactor's thread every few seconds while a stop delivers messages, with what is left, in words.
        self.on_stop_progress: Callable[[str], object] | None = None
        self._phase = _Phase.IDLE
        self._bound: _Bound | None = None
        self._run: Running | None = None
        #: Fires with None when messages are received, or fails with ModuleError if a module could not start (and then
        #: nothing runs, but ``stopService`` may still be called). ``stopService`` sets a new one.
        self.started: Deferred[None] = Deferred()
        # Fires at the end of a start, whether it succeeded or failed.
        self._start_done: Deferred[None] | None = None
        self._stop_lock = DeferredLock()
        self._last_snapshot = Snapshot()

    @property
    def port(self) -> int:
        """The UDP port from the bind of the sockets to the begin of a stop; otherwise 0."""
        return self._bound.port if self._bound and self._phase is not _Phase.STOPPING else 0

    @property
    def receiving(self) -> bool:
        """True if the start is complete and no stop has begun."""
        return self._phase is _Phase.RECEIVING

    @property
    def lanes(self) -> Sequence[Lane]:
        """The workers; none before the modules have started, and none after the stop."""
        return self._run.workers.lanes if self._run else ()

    @property
    def modules(self) -> Sequence[RunningModule]:
        """The started modules; none before their start, and none after the stop."""
        return self._outputs.started

    def privilegedStartService(self) -> None:
        """Read the file of names, and bind the sockets.

        :raises ConfigError: if that is not possible.
        """
        try:
            self._names.read()
        except HostsError as error:
            raise ConfigError(f"hosts_file: {error}") from None
        monitoring = None
        if self.settings.metrics is not None:
            # Imported here, because its libraries are optional.
            from netconsd.monitor.http import MonitoringPort

            monitoring = MonitoringPort(self)
        try:
            sockets = self._bind(self.settings)
        except ConfigError:
            if monitoring is not None:
                monitoring.close()
            raise
        self._bound = _Bound(sockets, monitoring, sockets[0].getsockname()[1] if sockets else 0)
        self._phase = _Phase.BOUND
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Begin to start the outputs, the workers and the listeners; ``started`` fires at the end.

        :raises ConfigError: as ``privilegedStartService``, if that was not called before.
        """
        if self._bound is None:
            self.privilegedStartService()
        assert self._bound is not None
        super().startService()  # type: ignore[no-untyped-call]
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        if self._bound.monitoring is not None:
            self._bound.monitoring.start(self._reactor)
        self._phase = _Phase.STARTING
        self._start_done = Deferred.fromCoroutine(self._start(self._bound)).addCallback(self._fire_started)

    def stopService(self) -> Deferred[None]:
        """Stop receiving, deliver everything received, log the totals, stop the modules; then fire.

        May be called at any time, also while another call is under way.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return self._stop_lock.run(lambda: Deferred.fromCoroutine(self._stop()))

    def reload(self, settings: Settings | None = None) -> tuple[str, ...]:
        """Read the file of names again, let the modules reread what they can, and apply new settings, as SIGHUP does.

        ``allow`` applies to the next datagrams that are read, ``rate`` to those that are read after this call. All
        other fields of :attr:`settings` stay as they are.

        :param settings: the new settings; by default only the modules reload.
        :returns: the names of the fields with another value that needs a new service, in their order.
        """
        left: list[str] = []
        for name, option in option_fields().items():
            new = getattr(settings or self.settings, name)
            if new == getattr(self.settings, name):
                continue
            if not option.reloadable:
                left.append(name)
                continue
            self.settings = replace(self.settings, **{name: new})
            if self._run is not None:
                self._run.apply(name, new)
        self._names.reload(self.hosts_file_place)
        self._outputs.reload()
        return tuple(left)

    def snapshot(self) -> Snapshot:
        """Return all counters as they are now; those of the end if the service does not run."""
        if self._run is None:
            return self._last_snapshot
        lanes = self._run.workers.lanes
        return take(self._run.readers, lanes, self._outputs.started, crashes=self._run.crashes.snapshot())

    def last_reports(self) -> list[LastReport]:
        """Return the last crash reports in short, the newest first; none if the service does not run."""
        return self._run.crashes.last() if self._run else []

    def log_totals(self) -> None:
        """Log the totals as they are now, unless this run has logged them: for a process that ends without a stop.

        For the thread of the reactor, or for another one while that is blocked.
        """
        run = self._run
        if run is not None and not run.totals_logged:
            for line in totals(self.snapshot()):
                self._log.info("{line}", line=line)

    def top_senders(self, by: str = "datagrams") -> Deferred[TopList]:
        """Return the senders with the highest values of a counter; see :class:`netconsd.embedding.TopList`.

        :raises RuntimeError: if no worker runs.
        """
        if self._run is None:
            raise RuntimeError("not running")
        return self._run.top.get(by)

    async def _start(self, bound: _Bound) -> Exception | None:
        """Start everything in order; if a part fails, stop it again and return the error."""
        try:
            self._names.start(self._reactor)
            await self._outputs.start(self._reactor)
            addresses = self._start_receiving(bound)
            await self._outputs.listening(addresses)
        except Exception as error:
            await self._shut_down(bound, log_totals=False)
            return error
        assert self._run is not None
        self._run.watch_losses()
        self._phase = _Phase.RECEIVING
        return None

    def _start_receiving(self, bound: _Bound) -> Sequence[tuple[str, int]]:
        """Start the workers and readers, log it, and return the addresses that they listen on."""
        self._run = Running(self.settings, self._outputs, bound.sockets, self._receiver, self._reactor, self._names)
        granted = min(map(granted_rcvbuf, bound.sockets))
        place, addresses = describe(bound.sockets), destinations(bound.sockets)
        self._run.start(bound.sockets, pause_with(self.settings.pause, granted))
        url = bound.monitoring.url if bound.monitoring else None
        log_start(self._log, self.settings, place, len(self._run.readers), tuple(self._modules), granted, url)
        return addresses

    async def _stop_receiving(self, run: Running, draining: Draining) -> None:
        """Hand to the workers what was received, and receive nothing more."""
        await run.stop_readers()

    def _fire_started(self, error: Exception | None) -> None:
        if error is None:
            self.started.callback(None)
        else:
            self.started.errback(error)

    async def _stop(self) -> None:
        if self._start_done is not None:
            # The start of a module may never end.
            self._start_done.cancel()
            await self._start_done
            self._start_done = None
        if self._bound is not None:
            await self._shut_down(self._bound, log_totals=True)
        if self.started.called:
            self.started = Deferred()

    async def _shut_down(self, bound: _Bound, *, log_totals: bool) -> None:
        """Stop everything that was started, in order.

        The totals are logged before the modules stop, because the stop of a module may never end.
        """
        self._phase = _Phase.STOPPING
        run = self._run
        draining = None
        if run is not None:
            draining = Draining(
                self.settings.stop_timeout, self.settings.stop_limit, self._reactor, self._report_stop_progress
            )
            await self._stop_receiving(run, draining)
        bound.close_sockets()
        if run is not None and draining is not None:
            await run.stop_workers(draining)
            log_failures(self._log, self._outputs.started)
            self._last_snapshot = self.snapshot()
            if log_totals:
                log_end(self._log, self._last_snapshot)
                run.totals_logged = True
        await self._outputs.stop(draining.rest if draining else None)
        self._names.stop()
        self._run = None
        # The last part, so that the stop can be monitored.
        if bound.monitoring is not None:
            await bound.monitoring.stop()
        self._bound = None
        self._phase = _Phase.IDLE

    def _report_stop_progress(self, text: str) -> None:
        self._log.info("{text}", text=text)
        if self.on_stop_progress is not None:
            self.on_stop_progress(text)
