"""The daemon's process around its service: signals, the service manager, a start that fails with one text.

An embedding application uses :class:`netconsd.service.NetconsdService` without it.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, Logger, LoggingFile
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from netconsd.daemon.clock import use_monotonic_clock
from netconsd.daemon.config import Configuration
from netconsd.daemon.crash import log_crashes
from netconsd.daemon.foreground import PipeWatch, ShortLog, error_head, has_terminal, is_service, style_of
from netconsd.daemon.lastthreads import end_despite_threads
from netconsd.daemon.reload import Burst, applied, differences
from netconsd.daemon.signals import StopSignals
from netconsd.daemon.stdout import NO_MEMORY, forget_stdout
from netconsd.daemon.systemd import Notifier
from netconsd.interfaces import IReloadable
from netconsd.monitor import gil
from netconsd.monitor.liveness import Liveness, hanging_modules, status
from netconsd.outputs.errors import said
from netconsd.outputs.loader import ModuleError
from netconsd.service import NetconsdService
from netconsd.settings import ConfigError, Settings

# None of our objects is part of a reference cycle, and the tables of a fleet are large: with Python's defaults (700,
# 10, 10) the collector took a third of the time with a million senders. Cycles made by modules are collected after ten
# thousand of them, and the old generation later than usual.
GC_THRESHOLDS = (10_000, 100, 100)
# Seconds. After each read the reader waits this long for Python's lock if a worker is busy; the default is 5 ms.
SWITCH_INTERVAL = 0.001
# Seconds for the totals, and for flushing the output, before the process exits. A module that hangs may hold a lock
# that the totals need, and nobody may read the output.
LAST_SECONDS = 1.0
# Beyond --stop-timeout, until the service manager kills a stop that reports no more progress: for the stops of modules.
EXTENSION_SECONDS = 60.0


class StartError(SystemExit, Exception):
    """The start failed, and the user has read why.

    An Exception, so that twistd removes its pid file and reports it to the waiting command; a SystemExit, so that
    Python prints no traceback and ends with status 1.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        # A text would be printed, to a standard error that twistd has redirected to the log.
        self.code = 1


class Daemon(Service):
    """A child of twistd's application that starts and stops the service and handles signals.

    A start that fails ends the process with status 1 and one text without a traceback: on stderr in the foreground,
    otherwise in the log, and in short from the waiting command that started the daemon.
    """

    def __init__(
        self,
        service: NetconsdService,
        process: Mapping[str, Any],
        *,
        notifier: Notifier | None = None,
        reactor: Any = None,
        stop_signals: StopSignals | None = None,
        clock: Callable[[], float] = time.monotonic,
        configuration: Configuration | None = None,
        reread: Callable[[], Configuration] | None = None,
    ) -> None:
        """
        :param process: twistd's options: whether the log is on the terminal, and the pid file.
        :param notifier: reports to the service manager; by default to none.
        :param reactor: by default the installed one, from the start of the service on.
        :param stop_signals: the handlers of the stop signals, if they are installed already.
        :param configuration: what the daemon is started with.
        :param reread: reads the configuration again, for SIGHUP, or raises ConfigError.
        """
        self._service = service
        foreground = bool(process.get("nodaemon", True))
        logfile = process.get("logfile")
        log_elsewhere = process.get("syslog") or process.get("logger") or logfile not in (None, "", "-")
        self._logfile = logfile
        # Then a text on stderr need not be in the log as well.
        self._log_is_on_terminal = foreground and not log_elsewhere
        self._crash_log = None if foreground or process.get("syslog") or process.get("logger") else logfile
        self._pidfile = process.get("pidfile")
        self._reactor = reactor
        if configuration is not None:
            service.hosts_file_place = configuration.located("hosts_file:").removesuffix(":")
        self._clock = clock
        self._owns_process = False
        self._log = Logger("netconsd")
        self._notifier = notifier or Notifier({})
        self._start_error: BaseException | None = None
        self._ready = False
        self._watchdog: LoopingCall | None = None
        self._sighup_before: Any = None
        self._stop_signals = stop_signals
        self._configuration = configuration
        self._reread = reread
        self._sighups: Burst | None = None
        self._ends_with_terminal = False
        self._pipe_watch: PipeWatch | None = None

    def setServiceParent(self, parent: Any) -> None:  # noqa: N802 - Twisted's name
        """Add the daemon to an application; in the foreground the log of that goes to standard error, in short lines.

        Standard output then has only what modules write, unless the user chose it for the log (``--logfile -``).
        """
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]
        if self._log_is_on_terminal and self._logfile != "-" and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, ShortLog(sys.__stderr__, style_of(sys.__stderr__)))

    def privilegedStartService(self) -> None:
        """Bind the sockets.

        :raises StartError: if that is not possible.
        """
        if self._log_is_on_terminal:
            _undo_redirection()
        try:
            self._service.privilegedStartService()
        except (ConfigError, OSError, CannotListenError, MemoryError) as error:
            raise self._reported(error) from None
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Begin to start the service.

        :raises StartError: if that fails at once. A later failure stops the reactor and ends the process.
        """
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
            use_monotonic_clock(self._reactor)
            self._owns_process = True
            gil.watch()
        super().startService()  # type: ignore[no-untyped-call]
        log_crashes(self._crash_log)
        gc.set_threshold(*GC_THRESHOLDS)
        sys.setswitchinterval(SWITCH_INTERVAL)
        # Before the service starts: a user may send a signal as soon as the log says that it runs.
        stop_signals = self._stop_signals = self._stop_signals or StopSignals()
        stop_signals.attach(self._stop_reactor, self._abort)
        self._reactor.callWhenRunning(stop_signals.reactor_runs)
        self._sighup_before = signal.signal(signal.SIGHUP, self._on_sighup)
        # nohup(1) has SIGHUP ignored: then the daemon shall outlive its terminal.
        self._ends_with_terminal = self._sighup_before != signal.SIG_IGN and has_terminal()
        if self._log_is_on_terminal and not is_service():
            self._pipe_watch = PipeWatch(self._stdout_closed, self._reactor)
            self._reactor.callWhenRunning(self._pipe_watch.start)
        try:
            self._service.startService()
        except (ConfigError, OSError, CannotListenError, MemoryError, RuntimeError) as error:
            self._start_error = self._reported(error)
        else:
            self._service.started.addCallbacks(self._on_ready, self._fail)
        if self._start_error is not None:
            super().stopService()  # type: ignore[no-untyped-call]
            stop_signals.restore()
            self._restore_sighup()
            raise self._start_error from None

    def stopService(self) -> Deferred[None]:
        """Stop the service, and fire when it has delivered everything.

        SIGHUP does nothing in the meantime.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._ready = False
        if self._sighups is not None:
            self._sighups.cancel()
        if self._pipe_watch is not None:
            self._pipe_watch.stop()
        self._notifier.stopping()
        self._service.on_stop_progress = self._on_stop_progress
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None
        return maybeDeferred(self._service.stopService).addBoth(self._restore_sighup).addBoth(self._watch_end)

    def _watch_end(self, result: Any = None) -> Any:
        """End the process although a thread of a module does not, once a signal has stopped the service."""
        number = self._stop_signal()
        if self._owns_process and number is not None:
            # As the process ends otherwise: after SIGTERM `netconsd run` returns 0.
            status = 0 if number == signal.SIGTERM else 128 + number
            end_despite_threads(partial(self._exit, status=status))
        return result

    def _stop_signal(self) -> signal.Signals | None:
        """The signal that stops the daemon; None if none has arrived."""
        if self._stop_signals is not None and self._stop_signals.first is not None:
            return self._stop_signals.first
        # The reactor's own handlers are in place for a moment, until the handlers of StopSignals replace them again.
        number = getattr(self._reactor, "_exitSignal", None)
        return None if number is None else signal.Signals(number)

    def _on_ready(self, _: None) -> None:
        self._ready = True
        self._notifier.ready(status(self._service.lanes))
        seconds = self._notifier.watchdog
        if seconds:
            self._watchdog = LoopingCall(self._answer_watchdog, Liveness(seconds))
            self._watchdog.clock = self._reactor
            # Twice within the time, as sd_watchdog_enabled(3) advises.
            self._watchdog.start(seconds / 2)

    def _answer_watchdog(self, liveness: Liveness) -> None:
        """Let the watchdog end a process whose workers hang: its queues only grow, and a new process may work.

        A module that hangs beside others that work is in the status only.
        """
        lanes, modules, now = self._service.lanes, self._service.modules, self._clock()
        hanging = liveness.hanging(lanes, now, modules)
        text = status(lanes, hanging, hanging_modules(modules, now))
        if hanging:
            self._notifier.unwell(text)
            self._log.error("{text}; the watchdog is not answered", text=text)
        else:
            self._notifier.alive(text)

    def _on_stop_progress(self, text: str) -> None:
        self._notifier.stop_progress(text, self._service.settings.stop_timeout + EXTENSION_SECONDS)

    def _stop_reactor(self, number: signal.Signals) -> None:
        # Twisted's handlers; twistd then ends the process by the same signal.
        (self._reactor.sigInt if number == signal.SIGINT else self._reactor.sigTerm)(number)

    def _stdout_closed(self) -> None:
        """Stop because the reader of the standard output has ended, as tools do."""
        forget_stdout()
        self._log.info("The reader of the standard output has closed it: netconsd stops")
        self._reactor.sigTerm(signal.SIGPIPE)

    def _abort(self, number: signal.Signals) -> None:
        """End the process after the totals, in the handler of a second signal."""
        self._exit(partial(self._log_end, number))

    def _log_end(self, number: signal.Signals) -> None:
        self._log.critical("{name}: a second signal ends netconsd before its stop is complete", name=number.name)
        self._service.log_totals()

    def _on_sighup(self, number: int, frame: FrameType | None) -> None:
        # The handler runs between any two instructions, so the reactor does the work.
        self._reactor.callFromThread(self._heard_sighup)

    def _heard_sighup(self) -> None:
        if not self.running:
            return
        if self._ends_with_terminal and not has_terminal():
            self._ends_with_terminal = False
            self._log.info("The terminal was closed: netconsd stops")
            self._reactor.sigTerm(signal.SIGHUP)
            return
        if self._sighups is None:
            self._sighups = Burst(self._reload, self._reactor)
        if self._ready:
            # At once, not at the end of the burst: `systemctl reload` returns at READY=1. systemd waits for a report
            # that is newer than its own SIGHUP, so each SIGHUP has one.
            self._notifier.reloading()
        self._sighups()

    def _reload(self) -> None:
        """Reload the modules, and read the configuration again; one with errors changes nothing."""
        reopening = [each.name for each in self._service.modules if IReloadable.providedBy(each.module)]
        if reopening:
            self._log.info(
                "SIGHUP: {modules}",
                modules=f"module {reopening[0]} reopens its files"
                if len(reopening) == 1
                else f"modules {', '.join(reopening)} reopen their files",
            )
        running = self._configuration
        if running is None or self._reread is None:
            self._service.reload()
            if not reopening and self._service.settings.hosts_file is None:
                self._log.info(
                    "SIGHUP: nothing to do: no module reopens files, and neither --config nor --hosts-file names a file"
                )
        else:
            try:
                new = self._reread()
            except ConfigError as error:
                self._log.error("SIGHUP: the old configuration stays in use: {error}", error=error)
                self._service.reload()
            else:
                self._service.reload(new.settings)
                self._report(running, new)
                self._configuration = applied(running, new)
        if self._ready:
            self._notifier.ready(status(self._service.lanes))

    def _report(self, running: Configuration, new: Configuration) -> None:
        """Log each difference between the configurations."""
        changes = list(differences(running, new))
        for change in changes:
            if change.needs_restart:
                self._log.warn("SIGHUP: {text}: needs a restart", text=change.text)
            else:
                self._log.info("SIGHUP: {text}", text=change.text)
        if not changes:
            self._log.info("SIGHUP: the configuration is unchanged")

    def _restore_sighup(self, result: Any = None) -> Any:
        before, self._sighup_before = self._sighup_before, None
        # None: not set by Python, which cannot set it again.
        if before is not None:
            signal.signal(signal.SIGHUP, before)
        return result

    def _fail(self, failure: Failure) -> None:
        """End the process because the service did not start: by an exception, or by the reactor if that runs."""
        error: Any = failure.value
        number = self._stop_signal()
        if number is not None:
            # A signal stopped the start, which is no error; the reactor stops already.
            self._log.info("{name} stopped the start: {error}", name=number.name, error=error)
            return
        self._start_error = self._reported(error)
        if not self._reactor.running:
            return
        if not isinstance(self._start_error, StartError):
            self._log.failure("netconsd cannot start", failure)
        # twistd returns 0 whenever the reactor has stopped.
        self._reactor.addSystemEventTrigger("after", "shutdown", self._exit)
        # It may be stopping.
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    def _reported(self, error: BaseException) -> BaseException:
        """Print the error for the user and return a StartError; an unexpected exception is returned as it is."""
        if isinstance(error, MemoryError):
            text = NO_MEMORY
        elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
            text = "the system starts no more threads; raise the limit (ulimit -u; TasksMax= of a service or container)"
        elif isinstance(error, (ConfigError, ModuleError)):
            text = self._located(str(error))
        elif isinstance(error, (OSError, CannotListenError)):
            text = said(error)
        else:
            return error
        if not self._log_is_on_terminal:
            self._log.critical("{text}", text=text)
        # A closed pipe must not keep the process from its end.
        with suppress(OSError, ValueError):
            print(f"{error_head('netconsd', sys.__stderr__)}{text}", file=sys.__stderr__, flush=True)
        return StartError(text)

    def _located(self, text: str) -> str:
        """Name the option or the line of the file instead of the setting at the beginning of a text."""
        return (self._configuration or Configuration(Settings())).located(text)

    def _exit(self, last: Callable[[], object] = lambda: None, status: int = 1) -> None:
        """End the process at once, with status 1 if the start failed or a second signal ends it.

        :param last: called before, in another thread.
        """
        thread = threading.Thread(target=_finish, args=(last,), daemon=True)
        # RuntimeError: the system has no more threads.
        with suppress(RuntimeError):
            thread.start()
            thread.join(LAST_SECONDS)
        if self._pidfile:
            with suppress(OSError):
                os.unlink(self._pidfile)
        os._exit(status)


def _undo_redirection() -> None:
    """Let modules print to the standard output itself, by the line; twistd redirects it to the log.

    With PYTHONUNBUFFERED, which containers set, Python would write each argument of a print and its newline alone, and
    lines of other threads would come between. A line beyond Python's buffer of 8 KiB is still written in parts.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, f"__{name}__")
        if isinstance(getattr(sys, name), LoggingFile) and stream is not None:
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout.reconfigure(line_buffering=True, write_through=False)


def _finish(last: Callable[[], object]) -> None:
    last()
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
