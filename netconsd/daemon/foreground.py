"""netconsd in the foreground: short log lines on standard error, and the end of its terminal or of its reader.

A tool ends when its terminal is closed (SIGHUP) or when the reader of its output ends (``netconsd printer | head``).
A service does neither: it has no terminal, and its service manager has its output.
"""

from __future__ import annotations

import os
import re
import select
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, TextIO

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from twisted.python.failure import Failure
from zope.interface import implementer

Style = Literal["short", "dated", "journal"]

#: Priorities of syslog(3), which sd-daemon(3) has as a prefix of lines.
_PRIORITIES: Final = {
    LogLevel.debug: 7, LogLevel.info: 6, LogLevel.warn: 4, LogLevel.error: 3, LogLevel.critical: 2,
}  # fmt: skip
_WORDS: Final = {LogLevel.warn: "warning: ", LogLevel.error: "error: ", LogLevel.critical: "error: "}


# The start and the end of a TCP port (twisted.internet.tcp.Port).
_OF_PORTS: Final = re.compile(r".+ starting on \S+|\(.+ Port \S+ Closed\)")


def _is_of_twisted(namespace: str, event: LogEvent) -> bool:
    """True for an event of Twisted itself. Its ports log by its older API, which has no namespace."""
    if namespace == "log_legacy":
        return _OF_PORTS.fullmatch(str(event.get("log_text", ""))) is not None
    return namespace.startswith("twisted.")


@implementer(ILogObserver)
class ShortLog:
    """Writes log events to a stream as lines of a tool: ``netconsd: warning: ...``. Any thread; never raises.

    Twisted's own events below a warning are left out: they are about its reactor and its protocols.
    """

    def __init__(self, stream: TextIO | None, style: Style, *, output: int = 1) -> None:
        """
        :param stream: None drops everything.
        :param style: ``dated`` adds the time; ``journal`` has sd-daemon(3)'s priorities instead of words.
        :param output: the descriptor of the standard output. If its reader has closed it, the failures of modules to
            write there are no news.
        """
        self._stream = stream
        self._style = style
        self._output = output
        self._identity = _identity(output)

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        namespace = str(event.get("log_namespace", ""))
        if self._stream is None or (level in (LogLevel.debug, LogLevel.info) and _is_of_twisted(namespace, event)):
            return
        failure = event.get("log_failure")
        if isinstance(failure, Failure) and failure.check(BrokenPipeError) and self._has_lost_its_reader():
            return
        text = eventAsText(event, includeTimestamp=False, includeSystem=False).rstrip("\n")
        if self._style == "journal":
            lines = [f"<{_PRIORITIES[level]}>{line}" for line in text.split("\n")]
        else:
            head = _WORDS.get(level, "")
            # The line of the start says itself which program and version it is.
            name = "" if not head and text.startswith("netconsd ") else "netconsd: "
            date = f"{_date(event['log_time'])} " if self._style == "dated" else ""
            lines = [f"{date}{name}{head}{text}"]
        # A closed terminal, a full disk: a log that cannot be written must not end the daemon.
        with suppress(OSError, ValueError):
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()

    def _has_lost_its_reader(self) -> bool:
        """Return whether the reader of the standard output has closed it. Then netconsd puts /dev/null in its place,
        and a failure from before can be logged after that."""
        return _identity(self._output) != self._identity or reader_has_closed(self._output)


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def style_of(stream: TextIO | None, environment: Mapping[str, str] | None = None) -> Style:
    """Return the style for a stream: priorities for systemd's journal, the time for a file, otherwise neither.

    :param environment: by default that of the process; ``JOURNAL_STREAM`` is read (systemd.exec(5)).
    """
    environment = os.environ if environment is None else environment
    try:
        status = os.fstat(stream.fileno()) if stream is not None else None
    except (OSError, ValueError):
        return "short"
    if status is None:
        return "short"
    if environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
        return "journal"
    return "dated" if stat.S_ISREG(status.st_mode) else "short"


def error_head(name: str, stream: TextIO | None) -> str:
    """Return the beginning of an error's line on a stream: ``netconsd: ``, or in systemd's journal the priority."""
    return f"<{_PRIORITIES[LogLevel.error]}>" if style_of(stream) == "journal" else f"{name}: "


def is_service(environment: Mapping[str, str] | None = None, *, pid: Callable[[], int] = os.getpid) -> bool:
    """Return whether a service manager started this process, and not one of its ancestors.

    :param environment: by default that of the process; ``NOTIFY_SOCKET`` and ``SYSTEMD_EXEC_PID`` are read. (The
        programs of a desktop inherit ``INVOCATION_ID``.)
    """
    environment = os.environ if environment is None else environment
    return bool(environment.get("NOTIFY_SOCKET")) or environment.get("SYSTEMD_EXEC_PID") == str(pid())


def has_terminal() -> bool:
    """Return whether the process has a controlling terminal; it has none after that was closed (tty(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def reader_has_closed(descriptor: int) -> bool:
    """Return whether a descriptor is the writing end of a pipe whose readers have all closed it."""
    try:
        poll = select.poll()
        poll.register(descriptor, 0)
        return any(events & select.POLLERR for _, events in poll.poll(0))
    except (OSError, ValueError):
        return False


@implementer(IReadDescriptor)
class PipeWatch:
    """Calls a function once when the readers of a pipe have closed it, also while nothing is written."""

    def __init__(self, closed: Callable[[], object], reactor: Any, descriptor: int = 1) -> None:
        """:param descriptor: the writing end. Nothing is watched if it is no pipe."""
        self._closed = closed
        self._reactor = reactor
        self._descriptor = descriptor
        self._watching = False

    def start(self) -> None:
        """Begin to watch."""
        try:
            is_pipe = stat.S_ISFIFO(os.fstat(self._descriptor).st_mode)
        except OSError:
            return
        if is_pipe:
            # The writing end of a pipe is never ready to be read, except for the error that its readers are gone.
            self._reactor.addReader(self)
            self._watching = True

    def stop(self) -> None:
        """Stop watching; a second call has no effect."""
        if self._watching:
            self._watching = False
            self._reactor.removeReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "netconsd"

    def doRead(self) -> None:
        """Called by reactors that report the error as readiness."""
        if self._watching and reader_has_closed(self._descriptor):
            self.stop()
            self._closed()

    def connectionLost(self, reason: Failure) -> None:
        """Called by reactors that report the error as a lost connection, and at their end."""
        self.doRead()


def _date(unix: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(unix))
