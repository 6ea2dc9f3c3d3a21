"""netconsd in the foreground: its lines on standard error, a closed terminal, and a closed pipe."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import Application
from twisted.internet.error import ConnectionDone
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.failure import Failure

from netconsd.daemon.foreground import PipeWatch, ShortLog, Style, error_head, is_service, reader_has_closed, style_of
from netconsd.daemon.process import Daemon
from tests.support.daemons import FakeService
from tests.support.loopback import send
from tests.support.processes import SECONDS, command, environment

RUN = [sys.executable, "-m", "netconsd", "run"]
OPTIONS = ["-u0", "-a127.0.0.1"]


class Pipe:
    """A pipe whose ends a test closes."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def close_reading(self) -> None:
        os.close(self.reading)
        self.reading = -1

    def close(self) -> None:
        for descriptor in (self.reading, self.writing):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """An open pipe."""
    made = Pipe()
    yield made
    made.close()


def lines(style: Style, emit: Callable[[Logger], object], namespace: str = "netconsd", output: int = 1) -> list[str]:
    """Return what the log writes for the events of a logger."""
    stream = io.StringIO()
    emit(Logger(namespace, observer=ShortLog(stream, style, output=output)))
    return stream.getvalue().splitlines()


def test_short_lines() -> None:
    """A line begins with the program and, from a warning on, a word; no time, no namespace."""
    assert lines("short", lambda log: log.info("a")) == ["netconsd: a"]
    assert lines("short", lambda log: log.warn("a")) == ["netconsd: warning: a"]
    assert lines("short", lambda log: log.error("a")) == ["netconsd: error: a"]
    assert lines("short", lambda log: log.info("a"), "netconsd.logger") == ["netconsd: a"]
    assert lines("short", lambda log: log.info("netconsd 1 listens")) == ["netconsd 1 listens"]


def test_lines_of_twisted() -> None:
    """Twisted's own events are left out below a warning."""
    for level in (LogLevel.debug, LogLevel.info):
        assert lines("short", lambda log, level=level: log.emit(level, "a"), "twisted.internet.base") == []  # type: ignore[misc]
    assert lines("short", lambda log: log.warn("a"), "twisted.internet.base") == ["netconsd: warning: a"]


def test_lines_of_ports() -> None:
    """The lines of Twisted's older log are left out if they are about a port; those of a module are not."""
    stream = io.StringIO()
    observer = ShortLog(stream, "short")
    texts = ("netconsd monitoring starting on 9100", "(TCP Port 9100 Closed)", "a module is starting", "(Port)")
    for text in texts:
        observer({"log_namespace": "log_legacy", "log_text": text, "log_format": "{log_text}"})
    assert stream.getvalue().splitlines() == ["netconsd: a module is starting", "netconsd: (Port)"]


def test_lines_in_a_file() -> None:
    """In a file a line begins with the time and its zone."""
    (line,) = lines("dated", lambda log: log.info("a"))
    date, rest = line.split(" ", 1)
    assert rest == "netconsd: a"
    assert len(date) == len("2026-11-28T04:21:41+0000")


def test_lines_for_the_journal() -> None:
    """For systemd's journal each line, also of a traceback, has the priority of its event."""
    levels = ("debug", "info", "warn", "error", "critical")
    written = [lines("journal", lambda log, level=level: getattr(log, level)("a\nb")) for level in levels]  # type: ignore[misc]
    assert written == [[f"<{number}>a", f"<{number}>b"] for number in (7, 6, 4, 3, 2)]
    failed = lines("journal", lambda log: log.failure("a", Failure(ValueError("x"))))
    assert failed[0] == "<2>a"
    assert len(failed) > 1
    assert all(line.startswith("<2>") for line in failed)


def test_a_log_that_cannot_be_written() -> None:
    """A closed stream, and none at all, raise nothing."""
    stream = io.StringIO()
    stream.close()
    for broken in (stream, None):
        Logger("netconsd", observer=ShortLog(broken, "short")).info("a")


def test_failures_to_write_to_a_closed_pipe(pipe: Pipe) -> None:
    """A module's BrokenPipeError is logged, unless the reader of the standard output has ended."""
    failure = Failure(BrokenPipeError(32, "Broken pipe"))
    assert lines("short", lambda log: log.failure("a", failure), output=pipe.writing)
    pipe.close_reading()
    assert lines("short", lambda log: log.failure("a", failure), output=pipe.writing) == []
    assert lines("short", lambda log: log.failure("a", Failure(OSError("x"))), output=pipe.writing)


def test_failures_after_the_standard_output_was_replaced(pipe: Pipe) -> None:
    """A BrokenPipeError that is logged when /dev/null is in the pipe's place already is no news either."""

    def fail_late(log: Logger) -> None:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), pipe.writing)
        log.failure("a", Failure(BrokenPipeError(32, "Broken pipe")))

    assert lines("short", fail_late, output=pipe.writing) == []


def test_styles(tmp_path: Path, pipe: Pipe) -> None:
    """A file has the time, the journal priorities, and a pipe or a stream without a descriptor neither."""
    with open(tmp_path / "log", "w") as file, os.fdopen(os.dup(pipe.writing), "w") as stream:
        assert style_of(file, {}) == "dated"
        assert style_of(stream, {}) == "short"
        status = os.fstat(stream.fileno())
        assert style_of(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}) == "journal"
        assert style_of(stream, {"JOURNAL_STREAM": "1:2"}) == "short"
    assert style_of(io.StringIO(), {}) == style_of(None, {}) == "short"


def test_the_beginning_of_an_error(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error's line begins with the program, and in the journal with the priority of errors."""
    with os.fdopen(os.dup(pipe.writing), "w") as stream:
        assert error_head("netconsd check", stream) == "netconsd check: "
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert error_head("netconsd check", stream) == "<3>"


def test_the_log_of_an_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only in the foreground, and without a place that the user chose, the log is short lines on standard error."""
    chosen: tuple[dict[str, Any], ...] = ({"nodaemon": False}, {"logfile": "x"}, {"logfile": "-"}, {"syslog": True})
    for process in ({}, {"nodaemon": True}, *chosen):
        application = Application("netconsd")
        Daemon(FakeService(), process).setServiceParent(application)
        observer = application.getComponent(ILogObserver, None)
        assert isinstance(observer, ShortLog) == (process not in chosen)


def test_services() -> None:
    """A service has a notification socket, or is itself the process that systemd started."""
    assert not is_service({})
    assert is_service({"NOTIFY_SOCKET": "/run/x"})
    assert is_service({"SYSTEMD_EXEC_PID": "7"}, pid=lambda: 7)
    assert not is_service({"SYSTEMD_EXEC_PID": "6", "INVOCATION_ID": "x"}, pid=lambda: 7)


class Readers:
    """The part of a reactor that has readers."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.remove(reader)


@pytest.mark.parametrize("way", ["doRead", "connectionLost"])
def test_a_watched_pipe(pipe: Pipe, way: str) -> None:
    """The function is called once, after the reader has closed the pipe, however the reactor reports that."""
    reactor, calls = Readers(), list[str]()
    watch = PipeWatch(lambda: calls.append("closed"), reactor, pipe.writing)
    watch.start()
    assert reactor.readers == [watch]
    assert not reader_has_closed(watch.fileno())
    watch.doRead()
    assert calls == []
    pipe.close_reading()
    for _ in range(2):
        getattr(watch, way)(*([Failure(ConnectionDone())] if way == "connectionLost" else []))
    assert calls == ["closed"]
    assert reactor.readers == []


def test_no_pipe(tmp_path: Path) -> None:
    """A file and a closed descriptor are not watched."""
    reactor = Readers()
    with open(tmp_path / "x", "w") as file:
        PipeWatch(lambda: None, reactor, file.fileno()).start()
    PipeWatch(lambda: None, reactor, -1).start()
    assert reactor.readers == []


def port_of(line: str) -> int:
    """Return the port in the first line of a daemon."""
    return int(line.split("UDP port ")[1].partition(";")[0])


@pytest.mark.parametrize("start", [[*RUN, *OPTIONS], command("-n", "--pidfile=", "netconsd", *OPTIONS)])
def test_a_closed_pipe_ends_it(tmp_path: Path, start: list[str]) -> None:
    """The daemon has only messages on standard output, and ends when the reader of that has ended."""
    with subprocess.Popen(
        [*start, "printer"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            first = process.stderr.readline()
            assert first.startswith("netconsd ")
            send(port_of(first), b"6,1,5,-;hello\n")
            assert process.stdout.readline().endswith(" hello\n")
            process.stdout.close()
            rest = process.stderr.read()
            status = process.wait(SECONDS)
        finally:
            process.kill()
    assert status == -signal.SIGPIPE
    assert "netconsd: The reader of the standard output has closed it: netconsd stops\n" in rest
    assert "netconsd: Total: 1 datagram received, 1 message from 1 sender\n" in rest
    assert "Traceback" not in rest
    assert "twisted" not in rest


# Makes standard input the controlling terminal of the new session, and executes the command. SIGHUP has its effect also
# if the tests run under nohup(1).
ON_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
# As nohup(1).
NOHUP = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


@contextmanager
def on_terminal(directory: Path, *arguments: str, errors: int | None = None) -> Iterator[tuple[Any, Any]]:
    """A process with a terminal of its own, and the terminal's other end, which a test closes."""
    terminal, screen = os.openpty()
    with (
        os.fdopen(terminal, "rb", buffering=0) as other_end,
        subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, *arguments],
            cwd=directory,
            env=environment(),
            stdin=screen,
            stdout=screen,
            stderr=errors,
            start_new_session=True,
        ) as process,
    ):
        os.close(screen)
        try:
            yield process, other_end
        finally:
            process.kill()


def test_a_closed_terminal_ends_it(tmp_path: Path) -> None:
    """SIGHUP reloads while the terminal is open; when the terminal is closed, the daemon stops by that signal."""
    (tmp_path / "x.py").write_text(RELOADS)
    with (
        open(tmp_path / "log", "w") as log,
        on_terminal(tmp_path, *RUN, *OPTIONS, "printer", "x.py", errors=log.fileno()) as (process, screen),
    ):
        assert screen.readline().strip() == b"started"
        process.send_signal(signal.SIGHUP)
        assert screen.readline().strip() == b"reloaded"
        screen.close()
        assert process.wait(SECONDS) == -signal.SIGHUP
    text = (tmp_path / "log").read_text()
    assert "netconsd: The terminal was closed: netconsd stops\n" in text
    assert "netconsd: Total: " in text


def test_nohup(tmp_path: Path) -> None:
    """With SIGHUP ignored at the start, as by nohup, the daemon outlives its terminal, and SIGHUP reloads."""
    (tmp_path / "x.py").write_text(RELOADS)
    reading, writing = os.pipe()
    arguments = [sys.executable, "-c", NOHUP, *RUN, *OPTIONS, "x.py"]
    with (
        os.fdopen(reading) as log,
        on_terminal(tmp_path, *arguments, errors=writing) as (process, screen),
    ):
        os.close(writing)
        assert screen.readline().strip() == b"started"
        screen.close()
        process.send_signal(signal.SIGHUP)
        while "SIGHUP: " not in log.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


RELOADS = """
from zope.interface import implementer
from netconsd.interfaces import IListening, IOutputModule, IReloadable

@implementer(IOutputModule, IReloadable, IListening)
class Output:
    def start(self, worker_count): ...
    def listening(self, addresses): print("started")
    def handle(self, worker, message): ...
    def stop(self): ...
    def reload(self): print("reloaded")
"""


def test_has_terminal(tmp_path: Path) -> None:
    """A process in a session of its own has no terminal; one that was given a terminal has it."""
    code = "from netconsd.daemon.foreground import has_terminal; raise SystemExit(7 if has_terminal() else 0)"
    arguments = [sys.executable, "-c", code]
    done = subprocess.run(arguments, env=environment(), start_new_session=True, check=False)
    assert done.returncode == 0
    with on_terminal(tmp_path, *arguments) as (process, _):
        assert process.wait(SECONDS) == 7


PRINTS = """
from zope.interface import moduleProvides
from netconsd.interfaces import IOutputModule
moduleProvides(IOutputModule)
def start(worker_count):
    print("two", "words")
    raise RuntimeError("enough")
def handle(worker, message): ...
def stop(): ...
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_line_of_a_module_is_written_at_once(tmp_path: Path, unbuffered: str) -> None:
    """A module's print is one write, so that no line of another thread comes between, although PYTHONUNBUFFERED has
    Python write each word and the newline alone."""
    (tmp_path / "prints.py").write_text(PRINTS)
    # Each write to such a socket is one datagram.
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with reading:
        with writing:
            done = subprocess.run(
                [*RUN, *OPTIONS, "prints.py"], cwd=tmp_path, env={**environment(), "PYTHONUNBUFFERED": unbuffered},
                stdout=writing.fileno(), stderr=subprocess.PIPE, check=False, timeout=SECONDS,
            )  # fmt: skip
        assert done.returncode == 1, done.stderr
        reading.setblocking(False)
        assert reading.recv(4096) == b"two words\n"
        with pytest.raises(BlockingIOError):
            reading.recv(4096)
