"""The daemon and its service manager: when what is told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from netconsd.daemon.process import Daemon
from netconsd.daemon.systemd import Notifier
from tests.monitor.test_liveness import FakeLane
from tests.support.daemons import FakeReactor, FakeReceiver, daemon_log


class Told(Notifier):
    """Writes down the first line of what would be sent."""

    def __init__(self, **environment: str) -> None:
        super().__init__({"NOTIFY_SOCKET": "/x", **environment})
        self.states: list[str] = []

    def _tell(self, *lines: str) -> None:
        self.states.append(lines[0])


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Put the signal's disposition back."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_order_of_states() -> None:
    """READY comes when the receiver receives, not before; a reload is told while it lasts; at the end STOPPING."""
    told, receiver, reactor = Told(), FakeReceiver(), FakeReactor()
    daemon = Daemon(receiver, {}, notifier=told, reactor=reactor)
    daemon.privilegedStartService()
    daemon.startService()
    signal.raise_signal(signal.SIGHUP)
    reactor.turn()
    assert told.states == []
    receiver.started.callback(None)
    assert told.states == ["READY=1"]
    signal.raise_signal(signal.SIGHUP)
    reactor.turn()
    assert receiver.calls.count("reload") == 2
    assert told.states == ["READY=1", "RELOADING=1", "READY=1"]
    receiver.stopped = succeed(None)
    daemon.stopService()
    assert told.states[3:] == ["STOPPING=1"]


def test_start_that_fails_is_not_ready() -> None:
    """A daemon that cannot start never says READY."""
    told, receiver = Told(), FakeReceiver()
    receiver.start_error = OSError("no")
    daemon = Daemon(receiver, {}, notifier=told, reactor=FakeReactor())
    with pytest.raises(Exception, match="no"):
        daemon.startService()
    assert told.states == []


def test_watchdog() -> None:
    """The watchdog is answered twice within its time, but not while a worker hangs, and not after the stop."""
    told, receiver, clock = Told(WATCHDOG_USEC="60000000"), FakeReceiver(), Clock()
    reactor: Any = FakeReactor()
    reactor.callLater, reactor.seconds = clock.callLater, clock.seconds
    lane = FakeLane(4)
    receiver.lanes = [FakeLane(), lane]
    daemon = Daemon(receiver, {}, notifier=told, reactor=reactor)
    daemon.startService()
    assert clock.getDelayedCalls() == []
    receiver.started.callback(None)
    assert told.states == ["READY=1", "WATCHDOG=1"]
    clock.pump([30, 30])
    assert told.states[2:] == ["WATCHDOG=1", "WATCHDOG=1"]
    lane.backlog = 1
    with daemon_log() as logged:
        clock.pump([30, 30, 30])
    assert told.states[4:6] == ["WATCHDOG=1", "WATCHDOG=1"]
    assert told.states[6].startswith("STATUS=Worker 4 does not get on")
    assert "the watchdog is not answered" in logged()[-1]
    lane.counters.datagrams += 1
    clock.advance(30)
    assert told.states[7:] == ["WATCHDOG=1"]
    receiver.stopped = succeed(None)
    daemon.stopService()
    assert clock.getDelayedCalls() == []


def test_without_watchdog_there_is_no_timer() -> None:
    """A daemon whose service manager has no watchdog for it has no timer."""
    reactor: Any = FakeReactor()  # which has no callLater
    receiver = FakeReceiver()
    Daemon(receiver, {}, notifier=Told(), reactor=reactor).startService()
    receiver.started.callback(None)
