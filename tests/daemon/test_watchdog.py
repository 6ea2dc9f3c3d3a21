"""The states that the daemon reports to its service manager, and the watchdog."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from netconsd.daemon.process import Daemon
from netconsd.daemon.reload import BURST_PAUSE
from netconsd.daemon.systemd import Notifier
from tests.support.daemons import FakeLane, FakeReactor, FakeService, daemon_log, process_settings


class Recorder(Notifier):
    """Keeps the first line of each notification."""

    def __init__(self, **environment: str) -> None:
        super().__init__({"NOTIFY_SOCKET": "/x", **environment})
        self.states: list[str] = []

    def _send(self, *lines: str) -> None:
        self.states.append(lines[0])


@pytest.fixture(autouse=True)
def _process_wide() -> Iterator[None]:
    """Restore the process's settings."""
    with process_settings():
        yield


def test_order_of_states() -> None:
    """READY is sent when the service receives, RELOADING and READY around a reload, STOPPING at the stop."""
    notifier, service, reactor = Recorder(), FakeService(), FakeReactor()
    daemon = Daemon(service, {}, notifier=notifier, reactor=reactor)
    daemon.privilegedStartService()
    daemon.startService()
    signal.raise_signal(signal.SIGHUP)
    reactor.turn()
    reactor.clock.advance(BURST_PAUSE)
    assert notifier.states == []
    service.started.callback(None)
    assert notifier.states == ["READY=1"]
    # Each SIGHUP is reported at once, and both are one reload: systemd waits for a report that is newer than its own.
    for reported in (1, 2):
        signal.raise_signal(signal.SIGHUP)
        reactor.turn()
        assert notifier.states == ["READY=1", *["RELOADING=1"] * reported]
    assert service.calls.count("reload") == 1
    reactor.clock.advance(BURST_PAUSE)
    assert service.calls.count("reload") == 2
    assert notifier.states == ["READY=1", "RELOADING=1", "RELOADING=1", "READY=1"]
    service.stopped = succeed(None)
    daemon.stopService()
    assert notifier.states[4:] == ["STOPPING=1"]


def test_start_that_fails_is_not_ready() -> None:
    """A daemon that cannot start never sends READY."""
    notifier, service = Recorder(), FakeService()
    service.start_error = OSError("no")
    daemon = Daemon(service, {}, notifier=notifier, reactor=FakeReactor())
    with pytest.raises(Exception, match="no"):
        daemon.startService()
    assert notifier.states == []


def test_watchdog() -> None:
    """The watchdog is answered twice within its time, but not while a worker hangs, and not after the stop."""
    notifier, service, clock = Recorder(WATCHDOG_USEC="60000000"), FakeService(), Clock()
    reactor: Any = FakeReactor()
    reactor.callLater, reactor.seconds = clock.callLater, clock.seconds
    lane = FakeLane(4)
    service.fake_lanes = [FakeLane(), lane]
    daemon = Daemon(service, {}, notifier=notifier, reactor=reactor, clock=clock.seconds)
    daemon.startService()
    assert clock.getDelayedCalls() == []
    service.started.callback(None)
    assert notifier.states == ["READY=1", "WATCHDOG=1"]
    clock.pump([30, 30])
    assert notifier.states[2:] == ["WATCHDOG=1", "WATCHDOG=1"]
    lane.backlog = 1
    with daemon_log() as logged:
        clock.pump([30, 30, 30])
    assert notifier.states[4:6] == ["WATCHDOG=1", "WATCHDOG=1"]
    assert notifier.states[6].startswith("STATUS=Worker 4 is stuck")
    assert "the watchdog is not answered" in logged()[-1]
    lane.counters.datagrams += 1
    clock.advance(30)
    assert notifier.states[7:] == ["WATCHDOG=1"]
    service.stopped = succeed(None)
    daemon.stopService()
    assert clock.getDelayedCalls() == []


def test_a_stop_with_progress_asks_for_time() -> None:
    """Each report of progress asks the service manager for more than --stop-timeout."""
    notifier, service = Recorder(), FakeService()
    daemon = Daemon(service, {}, notifier=notifier, reactor=FakeReactor())
    daemon.startService()
    service.started.callback(None)
    daemon.stopService()
    assert service.on_stop_progress is not None
    service.on_stop_progress("Stopping: 9 messages left in module slow, worker 1")
    assert notifier.states == ["READY=1", "STOPPING=1", "EXTEND_TIMEOUT_USEC=90000000"]


def test_without_watchdog_there_is_no_timer() -> None:
    """A daemon whose service manager has no watchdog for it has no timer."""
    reactor: Any = FakeReactor()  # without callLater
    service = FakeService()
    Daemon(service, {}, notifier=Recorder(), reactor=reactor).startService()
    service.started.callback(None)
