"""The daemon around the service: its start and stop, SIGHUP, and a start that fails with one message."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import succeed
from twisted.internet.error import CannotListenError

from netconsd.daemon.process import GC_THRESHOLDS, SWITCH_INTERVAL, Daemon
from netconsd.outputs.loader import ModuleError
from netconsd.settings import ConfigError
from tests.support.daemons import FakeReactor, FakeReceiver, Logged, daemon_log


@pytest.fixture
def receiver() -> FakeReceiver:
    """A receiver whose start the test ends."""
    return FakeReceiver()


@pytest.fixture
def reactor() -> FakeReactor:
    """A reactor that the test turns."""
    return FakeReactor()


@pytest.fixture(autouse=True)
def _process_wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what belongs to the whole process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    hang_up = signal.getsignal(signal.SIGHUP)
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)
    assert signal.getsignal(signal.SIGHUP) is hang_up
    signal.signal(signal.SIGHUP, hang_up)


@pytest.fixture
def logged() -> Iterator[Logged]:
    """What netconsd logs."""
    with daemon_log() as texts:
        yield texts


def test_start_and_stop(receiver: FakeReceiver, reactor: FakeReactor) -> None:
    """The daemon binds, starts and stops the receiver, and its stop waits for the receiver's."""
    daemon = Daemon(receiver, {}, reactor=reactor)
    daemon.privilegedStartService()
    daemon.startService()
    receiver.started.callback(None)
    stopping = daemon.stopService()
    assert receiver.calls == ["bind", "start", "stop"]
    assert not stopping.called
    receiver.stopped.callback(None)
    assert stopping.called


def test_the_process_is_set_up(receiver: FakeReceiver, reactor: FakeReactor) -> None:
    """From its start on, not before, the collector looks rarely, and a reader waits little for Python's lock."""
    gc.set_threshold(700, 10, 10)
    sys.setswitchinterval(0.005)
    daemon = Daemon(receiver, {}, reactor=reactor)
    daemon.privilegedStartService()
    assert (gc.get_threshold()[0], sys.getswitchinterval()) == (700, 0.005)
    daemon.startService()
    # Newer collectors have no third one.
    assert gc.get_threshold()[:2] == GC_THRESHOLDS[:2] == (10_000, 100)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL) == 0.001
    receiver.stopped = succeed(None)
    assert daemon.stopService().called


def test_hang_up(receiver: FakeReceiver, reactor: FakeReactor) -> None:
    """SIGHUP reloads, in the reactor's thread; while the daemon stops it does nothing; then all is as before."""
    before = signal.getsignal(signal.SIGHUP)
    daemon = Daemon(receiver, {}, reactor=reactor)
    daemon.startService()
    os.kill(os.getpid(), signal.SIGHUP)
    assert "reload" not in receiver.calls
    reactor.turn()
    assert receiver.calls == ["start", "reload"]
    stopping = daemon.stopService()
    os.kill(os.getpid(), signal.SIGHUP)
    reactor.turn()
    assert receiver.calls == ["start", "reload", "stop"]
    receiver.stopped.callback(None)
    assert stopping.called
    assert signal.getsignal(signal.SIGHUP) == before


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError("port: 1514 is in use"), "--port: 1514 is in use"),
        (ConfigError("max_sources: too many"), "--max-sources: too many"),
        (ConfigError("something else"), "something else"),
        (OSError(1, "not permitted"), "PermissionError: [Errno 1] not permitted"),
        (CannotListenError("", 1514, "busy"), "CannotListenError: Couldn't listen on any:1514: busy."),
    ],
)
def test_cannot_bind(
    receiver: FakeReceiver, error: Exception, told: str, logged: Logged, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure to bind names the option, and prints one line instead of a traceback when it ends the process."""
    receiver.bind_error = error
    with pytest.raises(ConfigError) as caught:
        Daemon(receiver, {"nodaemon": True}).privilegedStartService()
    assert str(caught.value) == told
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "__stderr__", sys.stderr)
        sys.excepthook(type(caught.value), caught.value, None)
    assert capsys.readouterr().err == f"netconsd: {told}\n"
    assert logged() == [], "the log is on the same terminal"


@pytest.mark.parametrize("process", [{"nodaemon": False}, {"nodaemon": True, "logfile": "x"}, {"syslog": True}])
def test_cannot_bind_is_logged(receiver: FakeReceiver, process: dict[str, Any], logged: Logged) -> None:
    """Where the log is not on the terminal, it says what failed, too."""
    receiver.bind_error = ConfigError("port: 1514 is in use")
    with pytest.raises(ConfigError):
        Daemon(receiver, process).privilegedStartService()
    assert logged() == ["critical: --port: 1514 is in use"]


def test_other_exceptions_keep_their_traceback(
    receiver: FakeReceiver, reactor: FakeReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the daemon explained goes without a traceback; what is a bug of ours is shown in full."""
    shown: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda type_, value, traceback: shown.append(value))
    receiver.start_error = ModuleError("x: did not start")
    with pytest.raises(ModuleError):
        Daemon(receiver, {}, reactor=reactor).startService()
    bug = RuntimeError()
    sys.excepthook(RuntimeError, bug, None)
    assert shown == [bug]
    other = FakeReceiver()
    other.start_error = bug
    with pytest.raises(RuntimeError):
        Daemon(other, {}, reactor=reactor).startService()


def test_module_fails_at_once(receiver: FakeReceiver, reactor: FakeReactor) -> None:
    """A module that raises while twistd still waits is reported by twistd; nothing was stopped or left behind."""
    receiver.start_error = ModuleError("x: did not start: OSError: gone")
    with pytest.raises(ModuleError, match=r"^x: did not start: OSError: gone$"):
        Daemon(receiver, {}, reactor=reactor).startService()
    assert not reactor.stopped


def test_module_fails_later(
    receiver: FakeReceiver, reactor: FakeReactor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module whose Deferred fails when the reactor runs stops it, says why, and makes the exit status 1."""
    at_exit: list[Any] = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    daemon = Daemon(receiver, {}, reactor=reactor)
    daemon.startService()
    receiver.started.errback(ModuleError("x: did not start: OSError: gone"))
    assert reactor.stopped
    assert capsys.readouterr().err == "netconsd: x: did not start: OSError: gone\n"
    statuses: list[int] = []
    monkeypatch.setattr("os._exit", statuses.append)
    at_exit[0]()
    assert statuses == [1]
    receiver.stopped = succeed(None)
    assert daemon.stopService().called


def test_a_reactor_that_cannot_be_kept_steady(receiver: FakeReceiver, reactor: FakeReactor, logged: Logged) -> None:
    """Where something is scheduled already, as by a module when it is imported, the daemon says so, and starts."""
    scheduled: Any = reactor
    scheduled.seconds = time.time
    scheduled.getDelayedCalls = lambda: ["a call"]
    daemon = Daemon(receiver, {}, reactor=reactor)
    daemon._keep_steady()
    (told,) = logged()
    assert told.startswith("warn: A step of the system's clock will hold up what waits")
    daemon.startService()
    assert "start" in receiver.calls
    receiver.started.callback(None)
    receiver.stopped.callback(None)
    daemon.stopService()
