"""A service on the loopback interface, a module that blocks, and the log."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from netconsd.protocol.message import Message
from netconsd.receive.reader import Receiver
from netconsd.service import NetconsdService, Running
from netconsd.settings import Settings
from tests.support.loopback import Arrivals

# The longest time in seconds that a worker waits for the test.
PATIENCE = 30.0


class Log:
    """The events logged so far."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def lines(self, level: LogLevel = LogLevel.info) -> list[str]:
        """Return the lines of netconsd with this level."""
        return [
            formatEvent(event)
            for event in self.events
            if event["log_level"] is level and event["log_namespace"] == "netconsd"
        ]


@contextmanager
def logging() -> Iterator[Log]:
    """Yield the log of the block."""
    result = Log()
    observer: Any = result.events.append
    globalLogPublisher.addObserver(observer)
    try:
        yield result
    finally:
        globalLogPublisher.removeObserver(observer)


def make(modules: dict[str, Any], *, reactor: Any = None, receiver: Any = Receiver, **settings: Any) -> NetconsdService:
    """Return a service, by default on a free port of 127.0.0.1."""
    chosen = Settings(**{"port": 0, "address": "127.0.0.1", "rcvbuf": 1024 * 1024, **settings})
    return NetconsdService(modules, chosen, reactor=reactor, receiver=receiver)


@asynccontextmanager
async def running(modules: dict[str, Any], **settings: Any) -> AsyncIterator[NetconsdService]:
    """Yield a started service, and stop it."""
    service = make(modules, **settings)
    service.startService()
    await service.started
    try:
        yield service
    finally:
        await service.stopService()


def run_of(service: NetconsdService) -> Running:
    """Return the workers and readers of a started service."""
    assert service._run is not None
    return service._run


class StandsStill:
    """Delegates to the reactor; its time stands still while threads with these names run.

    The stop of a service with this reactor gives up the threads that hang, and none that is only late.
    """

    def __init__(self, *names: str) -> None:
        from twisted.internet import reactor

        self._names = set(names)
        self._now = reactor.seconds()

    def __getattr__(self, name: str) -> Any:
        from twisted.internet import reactor

        return getattr(reactor, name)

    def seconds(self) -> float:
        from twisted.internet import reactor

        if not any(thread.name in self._names for thread in threading.enumerate()):
            self._now = reactor.seconds()
        return self._now


async def until_counted(service: NetconsdService, messages: int) -> None:
    """Wait until the modules' counters have this number of messages: a call is counted after it has returned."""
    from twisted.internet import reactor

    while sum(module.messages for module in service.snapshot().modules) < messages:
        await deferLater(reactor, 0)


def is_free(port: int) -> bool:
    """Return whether a port can be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def after_turns(count: int, function: Callable[[], object]) -> None:
    """Call the function after this number of turns of the reactor."""
    from twisted.internet import reactor

    call_later: Any = reactor.callLater
    call_later(0, function if count == 1 else partial(after_turns, count - 1, function))


def note(result: Any, events: list[str], event: str) -> Any:
    """A callback that appends its event."""
    events.append(event)
    return result


class Blocked(Arrivals):
    """A module that blocks its worker until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.release = threading.Event()

    def handle(self, worker: int, message: Message) -> None:
        self.entered.set()
        assert self.release.wait(PATIENCE)
        super().handle(worker, message)
