"""The daemon around the service: its start and stop, its signals, and a start that fails with one text."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.error import CannotListenError

from netconsd.daemon.process import GC_THRESHOLDS, SWITCH_INTERVAL, Daemon, StartError
from netconsd.daemon.reload import BURST_LIMIT, BURST_PAUSE
from netconsd.daemon.stdout import NO_MEMORY
from netconsd.outputs.loader import ModuleError
from netconsd.settings import ConfigError
from tests.support.daemons import FakeReactor, FakeService, Logged, daemon_log, process_settings
from tests.support.scripted_lane import PATIENCE


@pytest.fixture
def service() -> FakeService:
    """A service whose start the test ends."""
    return FakeService()


@pytest.fixture
def reactor() -> FakeReactor:
    """A reactor that the test turns."""
    return FakeReactor()


@pytest.fixture(autouse=True)
def _process_wide() -> Iterator[None]:
    """Restore the process's settings."""
    with process_settings():
        yield


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The standard error that the daemon prints to."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stream)
    return stream


@pytest.fixture
def logged() -> Iterator[Logged]:
    """The log lines of netconsd."""
    with daemon_log() as lines:
        yield lines


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit statuses of ``os._exit``."""
    # The thread of the last lines may begin late.
    monkeypatch.setattr("netconsd.daemon.process.LAST_SECONDS", PATIENCE)
    result: list[int] = []
    monkeypatch.setattr("os._exit", result.append)
    return result


def test_start_and_stop(service: FakeService, reactor: FakeReactor) -> None:
    """The daemon binds, starts and stops the service, and its stop waits for the service's."""
    daemon = Daemon(service, {}, reactor=reactor)
    daemon.privilegedStartService()
    daemon.startService()
    service.started.callback(None)
    stopping = daemon.stopService()
    assert service.calls == ["bind", "start", "stop"]
    assert not stopping.called
    service.stopped.callback(None)
    assert stopping.called


def test_the_process_is_set_up(service: FakeService, reactor: FakeReactor) -> None:
    """The start, and not the binding, sets the collector's thresholds and the switch interval."""
    gc.set_threshold(700, 10, 10)
    sys.setswitchinterval(0.005)
    daemon = Daemon(service, {}, reactor=reactor)
    daemon.privilegedStartService()
    assert (gc.get_threshold()[0], sys.getswitchinterval()) == (700, 0.005)
    daemon.startService()
    # Newer collectors have no third generation.
    assert gc.get_threshold()[:2] == GC_THRESHOLDS[:2] == (10_000, 100)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL) == 0.001


def test_sighup(service: FakeService, reactor: FakeReactor) -> None:
    """SIGHUP reloads in the reactor's thread, does nothing during the stop, and has its old handler after it."""
    before = signal.getsignal(signal.SIGHUP)
    daemon = Daemon(service, {}, reactor=reactor)
    daemon.startService()
    os.kill(os.getpid(), signal.SIGHUP)
    assert reactor.clock.getDelayedCalls() == []
    reactor.turn()
    reactor.clock.advance(BURST_PAUSE)
    assert service.calls == ["start", "reload"]
    os.kill(os.getpid(), signal.SIGHUP)
    reactor.turn()
    stopping = daemon.stopService()
    os.kill(os.getpid(), signal.SIGHUP)
    reactor.turn()
    reactor.clock.advance(BURST_LIMIT)
    assert service.calls == ["start", "reload", "stop"]
    service.stopped.callback(None)
    assert stopping.called
    assert signal.getsignal(signal.SIGHUP) == before


def test_second_signal(
    service: FakeService, reactor: FakeReactor, logged: Logged, statuses: list[int], tmp_path: Path
) -> None:
    """The first signal stops the reactor; the second logs the totals, removes the pid file, and exits with status 1."""
    pidfile = tmp_path / "twistd.pid"
    pidfile.write_text("7")
    Daemon(service, {"pidfile": str(pidfile)}, reactor=reactor).startService()
    reactor.turn()
    signal.raise_signal(signal.SIGTERM)
    assert reactor.signals == [signal.SIGTERM]
    assert statuses == []
    signal.raise_signal(signal.SIGINT)
    assert statuses == [1]
    assert service.calls == ["start", "totals"]
    assert logged() == ["critical: SIGINT: a second signal ends netconsd before its stop is complete"]
    assert not pidfile.exists()


@pytest.mark.parametrize("part", ["totals", "output"])
def test_an_end_that_hangs(
    service: FakeService, reactor: FakeReactor, statuses: list[int], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """The second signal ends the process even if a module holds a lock of the totals, or nobody reads the output."""
    monkeypatch.setattr("netconsd.daemon.process.LAST_SECONDS", 0.01)
    release = threading.Event()
    if part == "totals":
        service.log_totals = release.wait  # type: ignore[method-assign, assignment]
    else:
        monkeypatch.setattr(sys, "__stdout__", SimpleNamespace(flush=release.wait))
    Daemon(service, {}, reactor=reactor).startService()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert statuses == [1]
    release.set()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigError("port: 1514 is in use"), "--port: 1514 is in use"),
        (ConfigError("max_sources: too many"), "--max-sources: too many"),
        (ConfigError("something else"), "something else"),
        (MemoryError(), NO_MEMORY),
        (OSError(1, "not permitted"), "not permitted"),
        (CannotListenError("", 1514, "busy"), "Couldn't listen on any:1514: busy."),
    ],
)
def test_cannot_bind(service: FakeService, error: Exception, text: str, logged: Logged, stderr: io.StringIO) -> None:
    """A failure to bind prints one text, which names the option, and raises an exception of status 1 for twistd."""
    service.bind_error = error
    with pytest.raises(StartError) as caught:
        Daemon(service, {"nodaemon": True}).privilegedStartService()
    assert (str(caught.value), caught.value.code) == (text, 1)
    assert isinstance(caught.value, Exception), "twistd removes its pid file only then"
    assert stderr.getvalue() == f"netconsd: {text}\n"
    assert logged() == [], "the log is on the same terminal"


@pytest.mark.parametrize("process", [{"nodaemon": False}, {"nodaemon": True, "logfile": "x"}, {"syslog": True}])
def test_cannot_bind_is_logged(service: FakeService, process: dict[str, Any], logged: Logged) -> None:
    """If the log is not on the terminal, the text is in the log too."""
    service.bind_error = ConfigError("port: 1514 is in use")
    with pytest.raises(StartError):
        Daemon(service, process).privilegedStartService()
    assert logged() == ["critical: --port: 1514 is in use"]


def test_module_fails_at_once(service: FakeService, reactor: FakeReactor, stderr: io.StringIO) -> None:
    """A module that fails before the reactor runs raises for twistd, and the old signal handlers are restored."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    service.start_error = ModuleError("x: did not start: OSError: gone")
    with pytest.raises(StartError, match=r"^x: did not start: OSError: gone$"):
        Daemon(service, {}, reactor=reactor).startService()
    assert stderr.getvalue() == "netconsd: x: did not start: OSError: gone\n"
    assert not reactor.stopped
    assert [signal.getsignal(number) for number in numbers] == before


def test_module_fails_later(
    service: FakeService, reactor: FakeReactor, statuses: list[int], stderr: io.StringIO, tmp_path: Path
) -> None:
    """A module that fails while the reactor runs prints the text, stops the reactor, and the process ends with 1."""
    pidfile = tmp_path / "twistd.pid"
    pidfile.write_text("7")
    Daemon(service, {"pidfile": str(pidfile)}, reactor=reactor).startService()
    reactor.running = True
    service.started.errback(ModuleError("x: did not start: OSError: gone"))
    assert reactor.stopped
    assert stderr.getvalue() == "netconsd: x: did not start: OSError: gone\n"
    reactor.at_end[0]()
    assert statuses == [1]
    assert not pidfile.exists()


def test_a_bug_keeps_its_traceback(
    service: FakeService, reactor: FakeReactor, statuses: list[int], logged: Logged, stderr: io.StringIO
) -> None:
    """An unexpected exception is raised or logged in full, at once or later."""
    service.start_error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        Daemon(service, {}, reactor=reactor).startService()
    other = FakeService()
    Daemon(other, {}, reactor=reactor).startService()
    reactor.running = True
    other.started.errback(RuntimeError("a bug"))
    assert reactor.stopped
    assert logged() == ["critical: netconsd cannot start"]
    assert stderr.getvalue() == ""


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_too_few_resources(
    service: FakeService, reactor: FakeReactor, statuses: list[int], stderr: io.StringIO, error: Exception
) -> None:
    """A start that fails for lack of memory or threads is one text that names the limit, without a traceback."""
    reactor.running = True
    Daemon(service, {}, reactor=reactor).startService()
    service.started.errback(error)
    assert stderr.getvalue().count("\n") == 1
    assert "raise the limit (ulimit -" in stderr.getvalue()
    for function in reactor.at_end:
        function()
    assert statuses == [1]
