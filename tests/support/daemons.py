"""Fakes of the daemon's collaborators, its log, and a module."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from netconsd.protocol.counters import WorkerCounters
from netconsd.receive.lanes import Lane
from netconsd.service import NetconsdService
from netconsd.settings import Settings

Logged = Callable[[], list[str]]

MODULE = """
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer
from netconsd.interfaces import IOutputModule, IReloadable

@implementer(IOutputModule, IReloadable)
class Output:
    def __init__(self, *, way: str = "") -> None:
        self.way = way
    def start(self, worker_count):
        if self.way == "raise":
            raise OSError("no such database")
        if self.way == "later":
            late = Deferred()
            reactor.callLater(0, late.errback, OSError("no such database"))
            return late
    def handle(self, worker, message): ...
    def stop(self):
        print("stopped", flush=True)
    def reload(self):
        print("reloaded", flush=True)
"""


class FakeService(NetconsdService):
    """A service that does nothing; tests decide how its start and stop end."""

    def __init__(self) -> None:
        super().__init__({})
        self.calls: list[str] = []
        self.reloaded: list[Settings | None] = []
        self.stopped: Deferred[None] = Deferred()
        self.bind_error: Exception | None = None
        self.start_error: Exception | None = None
        self.fake_lanes: list[Any] = []

    @property
    def lanes(self) -> Sequence[Lane]:
        return self.fake_lanes

    def privilegedStartService(self) -> None:
        self.calls.append("bind")
        if self.bind_error:
            raise self.bind_error

    def startService(self) -> None:
        self.calls.append("start")
        if self.start_error:
            self.started.errback(self.start_error)

    def stopService(self) -> Deferred[None]:
        self.calls.append("stop")
        return self.stopped

    def reload(self, settings: Settings | None = None) -> tuple[str, ...]:
        self.calls.append("reload")
        self.reloaded.append(settings)
        return ()

    def log_totals(self) -> None:
        self.calls.append("totals")


@dataclass
class FakeLane:
    """A worker with the attributes that a watchdog reads."""

    number: int = 0
    running: bool = True
    backlog: int = 0
    waiting: int = 0
    senders: int = 0
    counters: WorkerCounters = field(default_factory=WorkerCounters)


class FakeReactor:
    """Keeps the calls of other threads, of signal handlers and of the end until the test makes them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.seconds = self.clock.seconds
        self.callLater = self.clock.callLater
        self.calls: list[Any] = []
        self.signals: list[int] = []
        self.at_end: list[Any] = []
        self.running = self.stopped = False

    def callFromThread(self, function: Any, *arguments: Any) -> None:  # noqa: N802
        self.calls.append((function, arguments))

    def callWhenRunning(self, function: Any) -> None:  # noqa: N802
        self.calls.append((function, ()))

    def addSystemEventTrigger(self, phase: str, event: str, function: Any) -> None:  # noqa: N802
        assert (phase, event) == ("after", "shutdown")
        self.at_end.append(function)

    def sigInt(self, number: int) -> None:  # noqa: N802
        self.signals.append(number)

    sigTerm = sigInt  # noqa: N815

    def turn(self) -> None:
        while self.calls:
            function, arguments = self.calls.pop(0)
            function(*arguments)

    def stop(self) -> None:
        self.stopped = True


@contextmanager
def process_settings() -> Iterator[None]:
    """Restore the handlers of signals, the collector's thresholds and the switch interval."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in numbers]
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


@contextmanager
def daemon_log() -> Iterator[Logged]:
    """Yield a function that returns netconsd's log lines since, with their levels."""
    with capturedLogs() as events:
        yield lambda: [
            f"{event['log_level'].name}: {formatEvent(event)}"
            for event in events
            if event.get("log_namespace") == "netconsd"
        ]
