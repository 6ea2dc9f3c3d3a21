"""Starts, calls, counts and stops the output modules of a running daemon.

An exception of a module is logged (the first one, then at most one a minute, with the number of those in between) and
counted against the module; the other modules still get the message.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from netconsd.interfaces import (
    IBatchOutputModule,
    ICountsLosses,
    IListening,
    IOutputModule,
    IReloadable,
    ITakesLegacyDatagrams,
)
from netconsd.outputs.errors import PrintableFailure, place, raised
from netconsd.outputs.loader import ModuleError
from netconsd.outputs.modulefile import FileError
from netconsd.outputs.timelimit import LEAST_SECONDS, TimeLimit
from netconsd.protocol.counters import ModuleCounters
from netconsd.protocol.message import LegacyDatagram, LegacyMessage, Message
from netconsd.protocol.plural import plural

# A module that fails with every message must not fill the log.
SECONDS_BETWEEN_REPORTS = 60.0
#: By the name of a package that a shipped module imports when it starts: the extra of netconsd that installs it.
EXTRAS = {"re2": "logger"}


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
        #: Whether it takes legacy text by the datagram instead of by the line.
        self.takes_datagrams = ITakesLegacyDatagrams.providedBy(module)
        #: Per worker, written by its thread only.
        self.counters = [ModuleCounters() for _ in range(worker_count)]
        #: Written by the reactor's thread.
        self.reload_errors = 0
        self._report = report
        self._lock = threading.Lock()
        self._next_report = float("-inf")
        self._unreported = 0
        self._hand_over = self._hand_over_batch if IBatchOutputModule.providedBy(module) else self._hand_over_each

    def handle(self, worker: int, messages: list[Message]) -> None:
        """Hand the messages of a worker to the module, in that worker's thread; raises nothing."""
        counters = self.counters[worker]
        # The module may keep the list, and change it.
        count = len(messages)
        counters.called_at = started = monotonic()
        self._hand_over(counters, worker, messages)
        counters.seconds += monotonic() - started
        counters.called_at = 0.0
        counters.batches += 1
        counters.messages += count

    def _hand_over_each(self, counters: ModuleCounters, worker: int, messages: list[Message]) -> None:
        handle = self.module.handle
        for message in messages:
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

    def lost(self, worker: int) -> int | None:
        """Return the module's own count of lost messages for a worker, None if that raises; in the reactor's thread."""
        if not ICountsLosses.providedBy(self.module):
            return 0
        try:
            return int(self.module.lost(worker))
        except Exception:
            self.report_error()
            return None

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


class Outputs:
    """The modules of a daemon. All methods except ``deliver`` are for the reactor's thread."""

    def __init__(self, modules: Mapping[str, Any], worker_count: int, stop_timeout: float = 30.0) -> None:
        """
        :param modules: by the name for logs and counters.
        :param stop_timeout: seconds that the Deferred of a module's ``stop`` may take. A ``stop`` or ``reload`` that
            blocks for so long is logged.
        :raises ModuleError: if one provides neither :class:`IOutputModule` nor :class:`IBatchOutputModule`.
        """
        for name, module in modules.items():
            if not (IOutputModule.providedBy(module) or IBatchOutputModule.providedBy(module)):
                raise ModuleError(f"{name}: provides neither IOutputModule nor IBatchOutputModule")
        self._modules = modules
        self._worker_count = worker_count
        self._stop_timeout = stop_timeout
        self._timelimit = TimeLimit(max(stop_timeout, LEAST_SECONDS))
        self._reactor: Any = None
        self._log = Logger("netconsd")
        #: The started modules, in the order given.
        self.started: list[RunningModule] = []
        #: Whether a module takes legacy text by the datagram. Then ``deliver`` needs both datagrams and lines.
        self.legacy_datagrams = any(ITakesLegacyDatagrams.providedBy(module) for module in modules.values())

    async def start(self, reactor: Any) -> None:
        """Start one module after the other.

        :param reactor: errors are logged in its thread, and stops are timed by its clock.
        :raises ModuleError: for the first module that does not start; the modules before it are stopped again.
        """
        self._reactor = reactor
        for name, module in self._modules.items():
            try:
                await maybeDeferred(module.start, self._worker_count)
            except GeneratorExit:
                raise
            # BaseException here and below: sys.exit() in a module must not end the daemon.
            except BaseException as error:
                await self.stop()
                raise ModuleError(_why_not_started(name, module, error)) from error
            self.started.append(RunningModule(name, module, self._worker_count, self._report_from_thread))

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
                    reason = "the stop came before the end of listening()" if cancelled else raised(error)
                    raise ModuleError(f"{output.name}: {reason}") from error

    def deliver(self, worker: int, messages: list[Message]) -> None:
        """Hand messages to every module, in the worker's thread."""
        if self.legacy_datagrams:
            self._deliver_either(worker, messages)
            return
        if len(self.started) == 1:
            self.started[0].handle(worker, messages)
            return
        for output in self.started:
            # A list for each module: a module may change its list.
            output.handle(worker, messages.copy())

    def _deliver_either(self, worker: int, messages: list[Message]) -> None:
        """Deliver legacy text to some modules by the datagram, and to the others by the line."""
        for output in self.started:
            other = LegacyMessage if output.takes_datagrams else LegacyDatagram
            wanted = [message for message in messages if not isinstance(message, other)]
            if wanted:
                output.handle(worker, wanted)

    def reload(self) -> None:
        """Let the modules that provide :class:`IReloadable` reopen their files."""
        for output in self.started:
            if IReloadable.providedBy(output.module):
                try:
                    self._timelimit.call(f"Module {output.name}: reload()", output.module.reload)
                except BaseException:
                    output.reload_errors += 1
                    output.report_error()

    async def stop(self) -> None:
        """Stop the modules, the last one first; the workers have ended before.

        A module whose Deferred does not fire within ``stop_timeout`` is logged and left. A module that blocks is logged
        (:class:`netconsd.outputs.timelimit.TimeLimit`), but the stop cannot continue before it returns.
        """
        while self.started:
            output = self.started.pop()
            # maybeDeferred inside the watched call, so that the first part of a coroutine is watched too.
            stop = partial(maybeDeferred, output.module.stop)
            watched = partial(self._timelimit.call, f"Module {output.name}: stop()", stop)
            try:
                await _within(self._stop_timeout, maybeDeferred(watched), self._reactor)
            except GeneratorExit:
                raise
            except _StopTimeout:
                self._log.warn(
                    "Module {name} has not stopped within {seconds:g} seconds (--stop-timeout); the stop continues "
                    "without it",
                    name=output.name,
                    seconds=self._stop_timeout,
                )
            except BaseException:
                self._log.failure("Module {name} failed to stop", name=output.name)

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
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        text = f"{name}: did not start: it needs the Python package that provides {package!r}, which is not installed"
        return f"{text}: pip install 'netconsd[{EXTRAS[package]}]'" if package in EXTRAS else text
    file = getattr(module, "__file__", None) or getattr(sys.modules.get(type(module).__module__), "__file__", None)
    line = place(file, error) if file else None
    return f"{name}: did not start: {raised(error)}" + (f" ({line})" if line != file else "")
