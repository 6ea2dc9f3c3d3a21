"""The output modules of a running daemon: started, called, counted, stopped.

What a module raises is logged (the first time, then at most once a minute, with the number of times in between) and
counted against it; the other modules still get the message.
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
from netconsd.outputs.timelimit import LEAST_SECONDS, TimeLimit, TimeLimitExceeded
from netconsd.protocol.counters import ModuleCounters
from netconsd.protocol.message import LegacyDatagram, LegacyMessage, Message

# A module that fails with every message must not fill the log.
SECONDS_BETWEEN_REPORTS = 60.0
#: What to install for the packages that shipped modules import when they start, as they are called in ``import``.
EXTRAS = {"re2": "logger"}


class RunningModule:
    """One module, started."""

    def __init__(
        self, name: str, module: Any, worker_count: int, report: Callable[[Failure, str, int], object]
    ) -> None:
        """
        :param module: provides one of the two interfaces.
        :param report: called with a failure, the module's name, and how many went unreported since the last.
        """
        self.name = name
        self.module = module
        #: Whether it takes legacy text by the datagram, and not by the line.
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
        """Give the module the messages of a worker, in that worker's thread; raises nothing."""
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
            # BaseException: sys.exit() in a module would end the worker's thread, and nobody would see.
            try:
                handle(worker, message)
            except BaseException:
                counters.errors += 1
                self.complain()

    def _hand_over_batch(self, counters: ModuleCounters, worker: int, messages: list[Message]) -> None:
        try:
            self.module.handle_batch(worker, messages)
        except BaseException:
            counters.errors += 1
            self.complain()

    def lost(self, worker: int) -> int:
        """How many messages of a worker the module says that it has lost; in the reactor's thread."""
        if not ICountsLosses.providedBy(self.module):
            return 0
        try:
            return int(self.module.lost(worker))
        except Exception:
            self.complain()
            return 0

    def complain(self) -> None:
        """Report the exception that is being handled, unless another one was just reported."""
        with self._lock:
            now = monotonic()
            if now < self._next_report:
                self._unreported += 1
                return
            self._next_report = now + SECONDS_BETWEEN_REPORTS
            unreported, self._unreported = self._unreported, 0
        self._report(PrintableFailure(), self.name, unreported)  # type: ignore[no-untyped-call]


class Outputs:
    """The modules of a daemon. All methods but ``deliver`` are for the reactor's thread."""

    def __init__(
        self,
        modules: Mapping[str, Any],
        worker_count: int,
        stop_timeout: float = 30.0,
        timelimit: TimeLimit | None = None,
    ) -> None:
        """
        :param modules: by the name that stands in logs and counters.
        :param stop_timeout: how many seconds the Deferred of a module's ``stop`` may take.
        :param timelimit: calls ``stop`` and ``reload``; by default it names those that block for so long.
        :raises ModuleError: if one provides neither :class:`IOutputModule` nor :class:`IBatchOutputModule`.
        """
        for name, module in modules.items():
            if not (IOutputModule.providedBy(module) or IBatchOutputModule.providedBy(module)):
                raise ModuleError(f"{name}: provides neither IOutputModule nor IBatchOutputModule")
        self._modules = modules
        self._worker_count = worker_count
        self._stop_timeout = stop_timeout
        self._timelimit = timelimit or TimeLimit(max(stop_timeout, LEAST_SECONDS))
        self._reactor: Any = None
        self._log = Logger("netconsd")
        #: Those that are started, in the order given.
        self.started: list[RunningModule] = []
        #: Whether a module takes legacy text by the datagram: then ``deliver`` needs both, datagrams and lines.
        self.legacy_datagrams = any(ITakesLegacyDatagrams.providedBy(module) for module in modules.values())

    async def start(self, reactor: Any) -> None:
        """Start one module after the other.

        :param reactor: in whose thread errors are logged, and whose time it is that a stop may take.

        :raises ModuleError: with the first that cannot start; those before it are stopped again.
        """
        self._reactor = reactor
        for name, module in self._modules.items():
            try:
                await maybeDeferred(module.start, self._worker_count)
            except GeneratorExit:
                raise
            # BaseException here and below: sys.exit() in a module must not end what is none of its business.
            except BaseException as error:
                await self.stop()
                raise ModuleError(_why_not_started(name, module, error)) from error
            self.started.append(RunningModule(name, module, self._worker_count, self._report_from_thread))

    async def listening(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Tell the modules that provide :class:`IListening` where messages come from.

        :raises ModuleError: with the first that does not agree; all are to be stopped then.
        """
        for output in self.started:
            if IListening.providedBy(output.module):
                try:
                    await maybeDeferred(output.module.listening, addresses)
                except GeneratorExit:
                    raise
                except BaseException as error:
                    said = "was not done when it was stopped" if isinstance(error, CancelledError) else raised(error)
                    raise ModuleError(f"{output.name}: {said}") from error

    def deliver(self, worker: int, messages: list[Message]) -> None:
        """Hand messages to every module, in the worker's thread."""
        if self.legacy_datagrams:
            self._deliver_either(worker, messages)
            return
        if len(self.started) == 1:
            self.started[0].handle(worker, messages)
            return
        for output in self.started:
            # Each has a list of its own: one that empties its list takes nothing from the others.
            output.handle(worker, messages.copy())

    def _deliver_either(self, worker: int, messages: list[Message]) -> None:
        """As :meth:`deliver`, where some modules take legacy text by the datagram, and others by the line."""
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
                    output.complain()

    async def stop(self) -> None:
        """Stop the modules, the last one first; no worker may call any more.

        One that does not come to its end in time is named, and left alone. (One that does not return at all keeps the
        reactor's thread: :class:`netconsd.outputs.timelimit.TimeLimit` names it, and does what it may.)
        """
        while self.started:
            output = self.started.pop()
            # The whole of it that runs at once: of a coroutine, too.
            stop = partial(maybeDeferred, output.module.stop)
            watched = partial(self._timelimit.call, f"Module {output.name}: stop()", stop, last=True)
            try:
                await _within(self._stop_timeout, maybeDeferred(watched), output.name, self._reactor)
            except GeneratorExit:
                raise
            except TimeLimitExceeded as late:
                self._log.warn("{words}; the stop goes on without it", words=late)
            except BaseException:
                self._log.failure("Module {name} failed to stop", name=output.name)

    def _report_from_thread(self, failure: Failure, name: str, unreported: int) -> None:
        if self._reactor is not None:
            self._reactor.callFromThread(self._report, failure, name, unreported)

    def _report(self, failure: Failure, name: str, unreported: int) -> None:
        if unreported:
            self._log.failure(
                "Module {name} failed, and {unreported} times since the last report",
                failure,
                name=name,
                unreported=unreported,
            )
        else:
            self._log.failure("Module {name} failed", failure, name=name)


def _within(seconds: float, waited: Deferred[Any], name: str, reactor: Any) -> Deferred[Any]:
    """Fire as another Deferred does, or fail when the time is over, whatever that one does when it is cancelled."""
    if waited.called and not waited.paused:
        return waited
    result: Deferred[Any] = Deferred()

    def give_up() -> None:
        result.errback(TimeLimitExceeded(f"Module {name} has not stopped within {seconds:g} seconds (--stop-timeout)"))
        waited.cancel()

    def end(outcome: Any) -> None:
        if not result.called:
            late.cancel()
            result.callback(outcome)

    late = reactor.callLater(seconds, give_up)
    waited.addBoth(end)
    return result


def _why_not_started(name: str, module: object, error: BaseException) -> str:
    if isinstance(error, CancelledError):
        return f"{name}: had not started yet when it was stopped"
    if isinstance(error, FileError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        text = f"{name}: did not start: it needs the Python package that provides {package!r}, which is not installed"
        return f"{text}: pip install 'netconsd[{EXTRAS[package]}]'" if package in EXTRAS else text
    file = getattr(module, "__file__", None) or getattr(sys.modules.get(type(module).__module__), "__file__", None)
    where = place(file, error) if file else None
    return f"{name}: did not start: {raised(error)}" + (f" ({where})" if where != file else "")
