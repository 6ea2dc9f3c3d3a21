"""The daemon's process around its service: SIGHUP, the service manager, a start that fails with one message.

An embedding application has none of them: it uses :class:`netconsd.service.NetconsdService`.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from netconsd.daemon.clock import use_monotonic_clock
from netconsd.daemon.config import OPTIONS
from netconsd.daemon.signals import StopSignals
from netconsd.daemon.systemd import Notifier
from netconsd.monitor.liveness import Lane, Liveness, status
from netconsd.outputs.errors import raised
from netconsd.outputs.loader import ModuleError
from netconsd.outputs.timelimit import LEAST_SECONDS, TimeLimit
from netconsd.settings import ConfigError

__all__ = ["Daemon", "Receiver", "timelimit_of_modules"]

# Nothing of ours is part of a reference cycle, and the tables of a fleet are large: with Python's defaults (700, 10,
# 10) the collector took a third of the time with a million senders, looking through them. Modules may make cycles;
# those are found after ten thousand of them, and the old ones later than usual.
GC_THRESHOLDS = (10_000, 100, 100)
# What a module that blocks in the reactor's thread is interrupted with: nothing else of the daemon uses it.
INTERRUPT = signal.SIGALRM
# Seconds. After each read the reader waits for Python's lock, for so long if a worker is busy; the default is 5 ms.
SWITCH_INTERVAL = 0.001


def timelimit_of_modules(stop_timeout: float) -> TimeLimit:
    """What a process of its own has: a module that blocks in ``stop`` or ``reload`` is interrupted.

    That works where Python waits. One that cannot be interrupted in ``stop``, because it waits in C code, ends the
    process with status 1, when it has had the time twice.

    :param stop_timeout: seconds.
    """

    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, INTERRUPT)

    return TimeLimit(max(stop_timeout, LEAST_SECONDS), interrupt=interrupt, end=_exit_with_failure)


class Receiver(Protocol):
    """What of :class:`netconsd.service.NetconsdService` is used here."""

    started: Deferred[None]

    def privilegedStartService(self) -> None:
        """Bind the sockets."""

    def startService(self) -> None:
        """Begin to start; ``started`` tells how it ends."""

    def stopService(self) -> Deferred[None]:
        """Stop, and fire when that is done."""

    def reload(self) -> None:
        """Reopen files."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """The workers."""


class Daemon(Service):
    """A child of twistd's application that starts and stops the receiver, and hands SIGHUP on to it.

    A start that fails ends the process with status 1 and one message, without a traceback: on stderr when in the
    foreground; else in the log, and, as long as the command that started the daemon waits, in short from that.
    """

    def __init__(
        self,
        receiver: Receiver,
        process: Mapping[str, Any],
        *,
        notifier: Notifier | None = None,
        timelimit: TimeLimit | None = None,
        reactor: Any = None,
    ) -> None:
        """
        :param process: twistd's options, which tell where messages can be seen.
        :param timelimit: the receiver's, that of :func:`timelimit_of_modules`.
        :param notifier: what hears how the daemon is; by default nobody.
        :param reactor: by default the installed one, from the start of the service on.
        """
        self._receiver = receiver
        self._foreground = bool(process.get("nodaemon", True))
        # The log is what stands beside stderr on the terminal: a message need not be in both.
        logfile = process.get("logfile")
        elsewhere = process.get("syslog") or process.get("logger") or logfile not in (None, "", "-")
        self._log_is_seen = self._foreground and not elsewhere
        self._reactor = reactor
        self._log = Logger("netconsd")
        self._timelimit = timelimit or TimeLimit(0.0)
        # The handlers of signals before ours.
        self._before: dict[signal.Signals, Any] = {}
        self._stop_signals: StopSignals | None = None
        self._notifier = notifier or Notifier({})
        self._watch: LoopingCall | None = None
        self._is_ready = False

    def privilegedStartService(self) -> None:
        """Bind the sockets.

        :raises ConfigError: if that is not possible; nothing but the text will be printed.
        """
        try:
            self._receiver.privilegedStartService()
        except (ConfigError, OSError, CannotListenError) as error:
            raise self._told(error) from None
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Begin to start the receiver; if that fails at once, it is as if the sockets could not be bound.

        :raises ConfigError: as above.
        :raises ModuleError: if a module cannot start.
        """
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
            self._keep_steady()
        super().startService()  # type: ignore[no-untyped-call]
        self._take_stop_signals()
        gc.set_threshold(*GC_THRESHOLDS)
        sys.setswitchinterval(SWITCH_INTERVAL)
        # Before the receiver starts: who reads in the log that it runs may send the signal at once.
        for number, handler in ((signal.SIGHUP, self._hung_up), (INTERRUPT, self._timelimit.interrupted)):
            self._before[number] = signal.signal(number, handler)
        at_once: list[BaseException] = []
        failed: Callable[[BaseException], None] = at_once.append
        self._receiver.started.addCallbacks(self._ready, lambda failure: failed(failure.value))
        try:
            self._receiver.startService()
        except (ConfigError, OSError, CannotListenError) as error:
            at_once.append(error)
        failed = self._end
        if at_once:
            super().stopService()  # type: ignore[no-untyped-call]
            if self._stop_signals is not None:
                self._stop_signals.let_go()
            self._let_go_of_signals()
            raise self._told(at_once[0]) from None

    def stopService(self) -> Deferred[None]:
        """Stop the receiver, and fire when it has delivered everything.

        SIGHUP does nothing in the meantime; it is only then that it may end the process again.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._is_ready = False
        self._notifier.stopping()
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        return maybeDeferred(self._receiver.stopService).addBoth(self._let_go_of_signals)

    def _ready(self, _: None) -> None:
        self._is_ready = True
        self._notifier.ready(status(self._receiver.lanes))
        seconds = self._notifier.watchdog
        if seconds:
            self._watch = LoopingCall(self._look_after_the_workers, Liveness(seconds))
            self._watch.clock = self._reactor
            # Twice within the time, as sd_watchdog_enabled(3) advises.
            self._watch.start(seconds / 2)

    def _look_after_the_workers(self, liveness: Liveness) -> None:
        """Let the watchdog end a process whose workers hang: its queues only grow, and a new one may do better."""
        lanes = self._receiver.lanes
        hanging = liveness.hanging(lanes, self._reactor.seconds())
        text = status(lanes, hanging)
        if hanging:
            self._notifier.unwell(text)
            self._log.error("{text}; the watchdog is not answered", text=text)
        else:
            self._notifier.alive(text)

    def _keep_steady(self) -> None:
        try:
            use_monotonic_clock(self._reactor)
        except RuntimeError as error:
            self._log.warn(
                "A step of the system's clock will hold up what waits: a module, or somebody else, has scheduled "
                "something before the start ({error})",
                error=error,
            )

    def _take_stop_signals(self) -> None:
        # Unless somebody has taken them already, as `netconsd run` has.
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._stop_signals = StopSignals(self._asked_to_stop)
            self._reactor.callWhenRunning(self._stop_signals.reactor_runs)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        # What Twisted's handlers are: twistd ends the process by the same signal then.
        (self._reactor.sigInt if number == signal.SIGINT else self._reactor.sigTerm)(number)

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        # A signal comes between any two instructions: what there is to do is done by the reactor.
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        if self.running:
            self._log.info("SIGHUP: the modules reopen their files")
            if self._is_ready:
                self._notifier.reloading()
            self._receiver.reload()
            if self._is_ready:
                self._notifier.ready(status(self._receiver.lanes))

    def _let_go_of_signals(self, result: Any = None) -> Any:
        """Let go of all but those that stop, which are to change nothing until the process has ended."""
        while self._before:
            number, handler = self._before.popitem()
            # None is one that was not set by Python, and cannot be set by it again.
            if handler is not None:
                signal.signal(number, handler)
        return result

    def _told(self, error: BaseException) -> BaseException:
        """Make what to raise: twistd takes its pid file away, reports to who waits, and lets the exception pass."""
        if not isinstance(error, (ConfigError, ModuleError, OSError, CannotListenError)):
            return error
        kind = ModuleError if isinstance(error, ModuleError) else ConfigError
        told = kind(_with_option(str(error) if isinstance(error, (ConfigError, ModuleError)) else raised(error)))
        if not self._log_is_seen:
            self._log.critical("{text}", text=str(told))
        before = sys.excepthook

        def without_traceback(type_: Any, value: BaseException, traceback: Any) -> None:
            if value is told:
                print(f"netconsd: {value}", file=sys.__stderr__)
            else:
                before(type_, value, traceback)

        sys.excepthook = without_traceback
        return told

    def _end(self, error: BaseException) -> None:
        """End a process whose reactor runs already."""
        if isinstance(error, ModuleError):
            if not self._log_is_seen:
                self._log.critical("{text}", text=str(error))
            print(f"netconsd: {error}", file=sys.__stderr__, flush=True)
        else:
            self._log.failure("netconsd cannot start", Failure(error))
        # twistd returns 0 whenever the reactor has stopped. By then, it took away its pid file and closed the log.
        atexit.register(_exit_with_failure)
        with suppress(ReactorNotRunning):
            self._reactor.stop()


def _with_option(text: str) -> str:
    """Name the option where a text of the service names the setting: ``port: ...``, ``max_sources: ...``."""
    name, colon, rest = text.partition(":")
    option = name.replace("_", "-")
    return f"--{option}{colon}{rest}" if option in OPTIONS else text


def _exit_with_failure() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
    os._exit(1)
