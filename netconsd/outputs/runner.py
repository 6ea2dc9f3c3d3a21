"""Starts, calls, counts and stops the output modules of a running daemon.

A single module is called in the threads of the workers. Several have a queue and a thread for each worker
(:mod:`netconsd.outputs.queues`), so that none waits for another.

An exception of a module is logged (the first one, then at most one a minute, with the number of those in between) and
counted against the module; the other modules still get the message.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import length_hint
from time import monotonic
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from netconsd.crash.report import Report
from netconsd.interfaces import (
    IBatchOutputModule,
    ICountsLosses,
    ICountsUnknownLosses,
    IEventModule,
    IExportsMetrics,
    IListening,
    IOutputModule,
    IReloadable,
    IReportModule,
    ITakesLegacyDatagrams,
    IUsesNames,
    IUsesSnapshots,
    ModuleMetric,
)
from netconsd.outputs.errors import PrintableFailure, about_setting, place, raised, said
from netconsd.outputs.leftovers import Leftovers
from netconsd.outputs.loader import ModuleError
from netconsd.outputs.modulefile import FileError
from netconsd.outputs.parameters import AuthorError, parameters
from netconsd.outputs.places import places
from netconsd.outputs.progress import Progress
from netconsd.outputs.queues import ModuleQueue
from netconsd.outputs.timelimit import LEAST_SECONDS, TimeLimit
from netconsd.protocol.counters import ModuleCounters
from netconsd.protocol.message import LegacyDatagram, LegacyMessage, Message
from netconsd.protocol.plural import plural

# A module that fails with every message must not fill the log.
SECONDS_BETWEEN_REPORTS = 60.0
# A module provides at least one of these.
INTERFACES = (IOutputModule, IBatchOutputModule, IReportModule, IEventModule)
# As the default of --queue.
QUEUE_PLACES = 262_144
#: Metrics of a module's own: a module must not make the page of all others grow.
MOST_METRICS = 64
#: By the name of a package that a shipped module imports when it starts: the extra of netconsd that installs it.
EXTRAS = {"zstandard": "zstd"}


class RunningModule:
    """A started module and its counters."""

    def __init__(
        self, name: str, module: Any, worker_count: int, report: Callable[[Failure, str, int], object]
    ) -> None:
        """
        :param module: provides one of the two interfaces.
        :param report: called with a failure, the module's name, and the number of failures since the last report.
        """
        self.name = name
        self.module = module
        #: Whether it takes messages, crash reports, and events; its settings may say that it does not.
        self.takes_messages = IOutputModule.providedBy(module) or IBatchOutputModule.providedBy(module)
        self.takes_reports = IReportModule.providedBy(module) and getattr(module, "wants_reports", True)
        self.takes_events = IEventModule.providedBy(module) and getattr(module, "wants_events", True)
        #: Whether it takes legacy text by the datagram instead of by the line.
        self.takes_datagrams = ITakesLegacyDatagrams.providedBy(module)
        #: Per worker, written by its thread only.
        self.counters = [ModuleCounters() for _ in range(worker_count)]
        #: The queue of each worker; none if this is the only module.
        self.queues: list[ModuleQueue] = []
        #: Written by the reactor's thread.
        self.reload_errors = 0
        # Per worker, written by its thread: the size of the current batch, and the iterator over the rest of it, from
        # which other threads see the progress at no cost for a message; None for a batch that is handed over whole.
        self._current: list[tuple[int, Iterator[Message] | None] | None] = [None] * worker_count
        # Per worker, written and read by the reactor's thread.
        self._progress = [Progress() for _ in range(worker_count)]
        # Per worker, written by the reactor's thread.
        self._given_up = [False] * worker_count
        # Per worker, written by its thread: reports and events that were handed over together and are not returned.
        self._findings_in_hand = [0] * worker_count
        # Per worker: for the end of a batch or finding, and for give_up, so that each is counted once.
        self._batch_locks = [threading.Lock() for _ in range(worker_count)]
        self._report = report
        self._lock = threading.Lock()
        self._next_report = float("-inf")
        self._unreported = 0
        self._takes_batches = IBatchOutputModule.providedBy(module)

    def handle(self, worker: int, messages: list[Message]) -> None:
        """Hand the messages of a worker to the module, in the thread of its queue, or of the worker; raises nothing.

        After :meth:`give_up` they are dropped.
        """
        counters = self.counters[worker]
        # The module may keep the list, and change it.
        count = len(messages)
        remaining = None if self._takes_batches else iter(messages)
        # Before the look at _given_up: give_up() sets that, and then counts the batch if it is there.
        self._current[worker] = count, remaining
        if self._given_up[worker]:
            self._current[worker] = None
            return
        counters.called_at = started = monotonic()
        if remaining is None:
            self._hand_over_batch(counters, worker, messages)
        else:
            self._hand_over_each(counters, worker, remaining)
        counters.seconds += monotonic() - started
        counters.called_at = 0.0
        counters.batches += 1
        with self._batch_locks[worker]:
            if not self._given_up[worker]:
                counters.messages += count
            self._current[worker] = None

    def _hand_over_each(self, counters: ModuleCounters, worker: int, remaining: Iterator[Message]) -> None:
        handle = self.module.handle
        for message in remaining:
            # BaseException: sys.exit() in a module would end the worker's thread without a trace.
            try:
                handle(worker, message)
            except BaseException:
                counters.errors += 1
                self.report_error()

    def _hand_over_batch(self, counters: ModuleCounters, worker: int, messages: list[Message]) -> None:
        try:
            self.module.handle_batch(worker, messages)
        except BaseException:
            counters.errors += 1
            self.report_error()

    def wanted(self, found: list[Any]) -> list[Any]:
        """Return the crash reports and events that the module takes."""
        if self.takes_reports and self.takes_events:
            return found
        return [item for item in found if (self.takes_reports if isinstance(item, Report) else self.takes_events)]

    def publish(self, worker: int, found: list[Any]) -> None:
        """Hand crash reports and events to the module, in the thread of its queue, or of the worker; raises nothing.

        After :meth:`give_up` they are dropped.
        """
        counters = self.counters[worker]
        for index, item in enumerate(found):
            with self._batch_locks[worker]:
                if self._given_up[worker]:
                    return
                self._findings_in_hand[worker] = len(found) - index
            counters.called_at = started = monotonic()
            is_report = isinstance(item, Report)
            try:
                if is_report:
                    self.module.handle_report(worker, item)
                else:
                    self.module.handle_event(worker, item)
            except BaseException:
                counters.errors += 1
                self.report_error()
            counters.seconds += monotonic() - started
            counters.called_at = 0.0
            with self._batch_locks[worker]:
                if self._given_up[worker]:
                    return
                if is_report:
                    counters.reports += 1
                else:
                    counters.events += 1
                self._findings_in_hand[worker] = 0

    def waiting_findings(self, worker: int) -> int:
        """Return the number of reports and events in the module's queue and in hand; approximate while it works."""
        counters = self.counters[worker]
        if self._given_up[worker]:
            return 0
        if not self.queues:
            return self._findings_in_hand[worker]
        return max(0, counters.queued_findings - counters.reports - counters.events)

    def _in_hand(self, worker: int) -> tuple[int, int]:
        """Return the size of the current batch of a worker, and how many of it the module has not returned from."""
        current = self._current[worker]
        if current is None:
            return 0, 0
        count, remaining = current
        # The iterator has handed out the message of the current call.
        return count, count if remaining is None else min(count, length_hint(remaining) + 1)

    def done(self, worker: int) -> int:
        """Return the number of messages that the module has returned from, as far as can be seen; in any thread.

        A module with ``handle_batch`` makes visible progress with each return only.
        """
        count, in_hand = self._in_hand(worker)
        return self.counters[worker].messages + count - in_hand

    def progress(self, worker: int) -> int:
        """Return a number that grows with each message, report and event that the module has returned from."""
        counters = self.counters[worker]
        return self.done(worker) + counters.reports + counters.events

    def waiting(self, worker: int) -> int:
        """Return the number of messages in the module's queue and in hand; approximate while it works."""
        if self._given_up[worker]:
            return 0
        if not self.queues:
            return self._in_hand(worker)[1]
        return max(0, self.counters[worker].queued - self.done(worker))

    def silent_seconds(self, worker: int, now: float) -> float:
        """Return the seconds for which the module has had messages and made no progress, as seen by these calls.

        For the reactor's thread.

        :param now: monotonic seconds.
        """
        has_work = self.waiting(worker) > 0 or self.waiting_findings(worker) > 0
        return self._progress[worker].look(self.progress(worker), has_work, now)

    def give_up(self, worker: int) -> int:
        """Hand no more messages to the module, count what it has as dropped at the stop, and return that number.

        The messages of a call that has not returned are counted as well: whether the module has processed them is not
        known. For the reactor's thread.
        """
        counters = self.counters[worker]
        with self._batch_locks[worker]:
            counters.findings_at_stop += self.waiting_findings(worker)
            self._given_up[worker] = True
            count, in_hand = self._in_hand(worker)
            counters.messages += count - in_hand
            waiting = max(0, counters.queued - counters.messages) if self.queues else in_hand
            counters.dropped_at_stop += waiting
        current = self._current[worker]
        if current is not None and current[1] is not None:
            # So that no further message is handed over if the current call returns some day.
            for _ in current[1]:
                pass
        return waiting

    def lost(self, worker: int) -> int | None:
        """Return the module's own count of lost messages for a worker, None if it fails; in the reactor's thread."""
        return self._count(ICountsLosses, "lost", worker)

    def unknown_losses(self, worker: int) -> int | None:
        """Return the module's own count of failures with an unknown loss, None if it fails; in the reactor's thread."""
        return self._count(ICountsUnknownLosses, "unknown_losses", worker)

    def _count(self, interface: Any, name: str, worker: int) -> int | None:
        if not interface.providedBy(self.module):
            return 0
        try:
            return int(getattr(self.module, name)(worker))
        except Exception:
            self.report_error()
            return None

    def metrics(self) -> tuple[ModuleMetric, ...]:
        """Return the module's own metrics; none if its method fails; in the reactor's thread."""
        return self._own("metrics", _checked)

    def faults(self) -> tuple[str, ...]:
        """Return the reasons for which the module does not work; none if its method fails; in the reactor's thread."""
        return self._own("faults", lambda found: tuple(" ".join(str(text).split()) for text in found))

    def _own(self, name: str, checked: Callable[[Any], tuple[Any, ...]]) -> tuple[Any, ...]:
        if not IExportsMetrics.providedBy(self.module):
            return ()
        try:
            return checked(getattr(self.module, name)())
        except Exception:
            self.report_error()
            return ()

    def report_error(self) -> None:
        """Report the exception that is being handled, unless one was reported within the last minute."""
        with self._lock:
            now = monotonic()
            if now < self._next_report:
                self._unreported += 1
                return
            self._next_report = now + SECONDS_BETWEEN_REPORTS
            unreported, self._unreported = self._unreported, 0
        self._report(PrintableFailure(), self.name, unreported)  # type: ignore[no-untyped-call]


def _checked(found: Iterable[ModuleMetric]) -> tuple[ModuleMetric, ...]:
    """Return metrics of which each can be shown.

    :raises ValueError: if there are too many, or one cannot be shown.
    """
    metrics = tuple(found)
    if len(metrics) > MOST_METRICS:
        raise ValueError(f"metrics() returned {len(metrics)} metrics; at most {MOST_METRICS} are shown")
    for metric in metrics:
        if re.fullmatch(r"[a-z][a-z0-9_]*", metric.name) is None:
            raise ValueError(
                f"metrics(): the name {metric.name!r} is not of lower case letters, digits and underscores"
            )
        if metric.value is not None:
            float(metric.value)
    return metrics


class Outputs:
    """The modules of a daemon. All methods except ``deliver`` are for the reactor's thread."""

    def __init__(
        self,
        modules: Mapping[str, Any],
        worker_count: int,
        stop_timeout: float = 30.0,
        names: Any = None,
        *,
        queue: int = QUEUE_PLACES,
        thread: Callable[..., Any] = threading.Thread,
    ) -> None:
        """
        :param modules: by the name for logs and counters.
        :param names: the :class:`netconsd.names.Names` for the modules that show names; None: they use their own.
        :param queue: places in the queue of each module and worker, if there is more than one module.
        :param stop_timeout: seconds that the Deferred of a module's ``stop`` may take. A ``stop`` or ``reload`` that
            blocks for so long is logged.
        :raises ModuleError: if one provides none of the interfaces of output modules.
        """
        for name, module in modules.items():
            if not any(interface.providedBy(module) for interface in INTERFACES):
                raise ModuleError(
                    f"{name}: provides none of IOutputModule, IBatchOutputModule, IReportModule and IEventModule"
                )
        self._modules = modules
        self._names = names
        self._worker_count = worker_count
        self._stop_timeout = stop_timeout
        self._timelimit = TimeLimit(max(stop_timeout, LEAST_SECONDS))
        self._queue = queue
        self._thread = thread
        # The started modules that take messages; by worker, the queue of each of them.
        self._takers: list[RunningModule] = []
        self._queues: list[list[ModuleQueue]] = []
        self._finished: list[Deferred[None]] = []
        self._leftovers = Leftovers()
        self._reactor: Any = None
        self._log = Logger("netconsd")
        #: Returns the state of the daemon, for modules that show it.
        self.snapshot: Callable[[], Any] | None = None
        #: The started modules, in the order given.
        self.started: list[RunningModule] = []
        #: Whether a module takes legacy text by the datagram. Then ``deliver`` needs both datagrams and lines.
        self.legacy_datagrams = any(ITakesLegacyDatagrams.providedBy(module) for module in modules.values())

    async def start(self, reactor: Any) -> None:
        """Start one module after the other, then the threads of their queues.

        :param reactor: errors are logged in its thread, and stops are timed by its clock.
        :raises ModuleError: for the first module that does not start; the modules before it are stopped again.
        """
        self._reactor = reactor
        self._leftovers = Leftovers(self._modules)
        for name, module in self._modules.items():
            try:
                if self._names is not None and IUsesNames.providedBy(module):
                    module.use_names(self._names)
                if self.snapshot is not None and IUsesSnapshots.providedBy(module):
                    module.use_snapshots(self.snapshot)
                # Called here, because a Deferred of Twisted before 24.10 loses the line of an exception.
                await _result(module.start(self._worker_count))
            except GeneratorExit:
                raise
            # BaseException here and below: sys.exit() in a module must not end the daemon.
            except BaseException as error:
                await self.stop()
                raise ModuleError(_why_not_started(name, module, error)) from error
            self._leftovers.note(name)
            self.started.append(RunningModule(name, module, self._worker_count, self._report_from_thread))
        self._takers = [output for output in self.started if output.takes_messages]
        if len(self.started) > 1:
            try:
                self._start_queues()
            except RuntimeError as error:
                await self.stop()
                raise ModuleError(f"the threads of the modules cannot start: {raised(error)}") from error

    def _start_queues(self) -> None:
        for output in self.started:
            for worker in range(self._worker_count):
                queue = ModuleQueue(output, worker, self._queue, thread=self._thread)
                finished: Deferred[None] = Deferred()
                queue.start(partial(self._fire_from_thread, finished))
                self._finished.append(finished)
                output.queues.append(queue)
        self._queues = [[output.queues[worker] for output in self._takers] for worker in range(self._worker_count)]

    async def listening(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Call ``listening`` of the modules that provide :class:`IListening`, one after the other.

        :raises ModuleError: for the first that fails; the caller has to stop all modules then.
        """
        for output in self.started:
            if IListening.providedBy(output.module):
                try:
                    await maybeDeferred(output.module.listening, addresses)
                except GeneratorExit:
                    raise
                except BaseException as error:
                    cancelled = isinstance(error, CancelledError)
                    reason = "the stop came before the end of listening()" if cancelled else said(error)
                    raise ModuleError(f"{output.name}: {reason}") from error

    def deliver(self, worker: int, messages: list[Message]) -> None:
        """Hand messages to every module, in the worker's thread: to a single one by a call, to several by queues."""
        if self._queues:
            if self.legacy_datagrams:
                self._queue_either(worker, messages)
                return
            taken = places(messages)
            for queue in self._queues[worker]:
                queue.put(messages, taken)
            return
        for output in self._takers:
            wanted = _wanted(messages, output.takes_datagrams) if self.legacy_datagrams else messages
            if wanted:
                output.handle(worker, wanted)

    def _queue_either(self, worker: int, messages: list[Message]) -> None:
        """Queue legacy text for some modules by the datagram, and for the others by the line."""
        kinds = [(wanted, places(wanted)) for wanted in (_wanted(messages, False), _wanted(messages, True))]
        for output, queue in zip(self._takers, self._queues[worker], strict=False):
            wanted, taken = kinds[output.takes_datagrams]
            if wanted:
                queue.put(wanted, taken)

    def after(self, worker: int, reached: Callable[[], object]) -> None:
        """Have a function called once, when every module has returned from what was delivered and published before, in
        the worker's thread or that of a queue; never if a module hangs. For the worker's thread.

        :param reached: may not raise.
        """
        queues = [output.queues[worker] for output in self.started if output.queues]
        if not queues:
            reached()
            return
        left = _CountDown(len(queues), reached)
        for queue in queues:
            queue.put_mark(left)

    def publish(self, worker: int, found: list[Any]) -> None:
        """Hand crash reports and events to the modules that take them, behind the messages, in the worker's thread."""
        for output in self.started:
            wanted = output.wanted(found)
            if wanted and output.queues:
                output.queues[worker].put_found(wanted)
            elif wanted:
                output.publish(worker, wanted)

    @property
    def wants_reports(self) -> bool:
        """True if a started module takes crash reports."""
        return any(output.takes_reports for output in self.started)

    @property
    def wants_events(self) -> bool:
        """True if a started module takes events."""
        return any(output.takes_events for output in self.started)

    def finish(self) -> Deferred[None]:
        """End the threads of the queues after everything they have, and fire when they have ended.

        The workers have ended before. If the Deferred is cancelled because a module hangs, it fires at once.
        """
        for output in self.started:
            for queue in output.queues:
                queue.stop()
        finished, self._finished = self._finished, []
        return DeferredList(finished, consumeErrors=True).addCallback(lambda _: None)

    def reload(self) -> None:
        """Let the modules that provide :class:`IReloadable` reopen their files."""
        for output in self.started:
            if IReloadable.providedBy(output.module):
                try:
                    self._timelimit.call(f"Module {output.name}: reload()", output.module.reload)
                except BaseException:
                    output.reload_errors += 1
                    output.report_error()

    async def stop(self, most: float | None = None) -> None:
        """Stop the modules, the last one first; the workers and the queues have ended before, or were given up.

        A thread that a module leaves behind is logged. A module whose Deferred does not fire within ``stop_timeout`` is
        logged and left. A module that blocks is logged (:class:`netconsd.outputs.timelimit.TimeLimit`), but the stop
        cannot continue before it returns.

        :param most: the rest of ``--stop-limit`` in seconds, for all modules together.
        """
        end = None if most is None else self._reactor.seconds() + most
        names = {output.name: output.module for output in self.started}
        self.finish()
        self._queues, self._takers = [], []
        while self.started:
            output = self.started.pop()
            seconds, option = self._stop_timeout, "--stop-timeout"
            if end is not None and end - self._reactor.seconds() < seconds:
                seconds, option = max(0.0, end - self._reactor.seconds()), "the rest of --stop-limit"
            # maybeDeferred inside the watched call, so that the first part of a coroutine is watched too.
            stop = partial(maybeDeferred, output.module.stop)
            watched = partial(self._timelimit.call, f"Module {output.name}: stop()", stop)
            try:
                await _within(seconds, maybeDeferred(watched), self._reactor)
            except GeneratorExit:
                raise
            except _StopTimeout:
                self._log.warn(
                    "Module {name} has not stopped within {seconds:g} seconds ({option}); the stop continues without "
                    "it",
                    name=output.name,
                    seconds=seconds,
                    option=option,
                )
            except BaseException:
                self._log.failure("Module {name} failed to stop", name=output.name)
        for text in await self._leftovers.left(names, self._reactor):
            self._log.warn("{text}; the stop continues without it", text=text)

    def _fire_from_thread(self, finished: Deferred[None]) -> None:
        self._reactor.callFromThread(finished.callback, None)

    def _report_from_thread(self, failure: Failure, name: str, unreported: int) -> None:
        if self._reactor is not None:
            self._reactor.callFromThread(self._report, failure, name, unreported)

    def _report(self, failure: Failure, name: str, unreported: int) -> None:
        if unreported:
            self._log.failure(
                "Module {name} failed, and {times} since the last report",
                failure,
                name=name,
                times=plural(unreported, "time"),
            )
        else:
            self._log.failure("Module {name} failed", failure, name=name)


class _CountDown:
    """Calls a function when it has been called for the last time; in any threads."""

    def __init__(self, count: int, last: Callable[[], object]) -> None:
        self._left = count
        self._last = last
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._last()


def _wanted(messages: list[Message], datagrams: bool) -> list[Message]:
    """The messages without the kind of legacy text that a module does not take."""
    other = LegacyMessage if datagrams else LegacyDatagram
    return [message for message in messages if not isinstance(message, other)]


def _result(outcome: Any) -> Deferred[Any]:
    """A Deferred of what a method of a module returned: itself, a coroutine, or a value."""
    return maybeDeferred(lambda: outcome)


class _StopTimeout(Exception):
    pass


def _within(seconds: float, stopped: Deferred[Any], reactor: Any) -> Deferred[Any]:
    """Fire as another Deferred does, or fail with _StopTimeout, even if that one ignores its cancellation."""
    if stopped.called and not stopped.paused:
        return stopped
    result: Deferred[Any] = Deferred()

    def time_out() -> None:
        result.errback(_StopTimeout())
        stopped.cancel()

    def end(outcome: Any) -> None:
        if not result.called:
            timer.cancel()
            result.callback(outcome)

    timer = reactor.callLater(seconds, time_out)
    stopped.addBoth(end)
    return result


def _why_not_started(name: str, module: object, error: BaseException) -> str:
    if isinstance(error, CancelledError):
        return f"{name}: the stop came before the end of its start"
    if isinstance(error, FileError):
        return str(error)
    if text := missing_package(error):
        return f"{name}: did not start: {text}"
    if about := about_setting(error, _settings_of(module)):
        return f"{name}.{about[0]}: {about[1]}"
    file = getattr(module, "__file__", None) or getattr(sys.modules.get(type(module).__module__), "__file__", None)
    line = place(file, error) if file else None
    return f"{name}: did not start: {said(error)}" + (f" ({line})" if line != file else "")


def _settings_of(module: object) -> list[str]:
    try:
        return [parameter.name for parameter in parameters(type(module))]
    except AuthorError:
        return []


def missing_package(error: BaseException) -> str:
    """The text for an import of a package that is not installed; empty for any other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    package = error.name.partition(".")[0]
    text = f"it needs the Python package that provides {package!r}, which is not installed"
    return f"{text}: pip install 'netconsd[{EXTRAS[package]}]'" if package in EXTRAS else text
