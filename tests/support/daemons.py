"""The daemon's collaborators as tests have them: a receiver, a reactor, what is logged, and a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

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
        if self.way == "import":
            import no_such_library.part
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


class FakeReceiver:
    """Stands for the service; tests decide how its start ends."""

    def __init__(self, modules: Mapping[str, Any] | None = None, settings: Settings | None = None) -> None:
        self.modules = modules
        self.settings = settings
        self.calls: list[str] = []
        self.started: Deferred[None] = Deferred()
        self.stopped: Deferred[None] = Deferred()
        self.bind_error: Exception | None = None
        self.start_error: Exception | None = None
        self.lanes: list[Any] = []

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

    def reload(self) -> None:
        self.calls.append("reload")


class FakeReactor:
    """Keeps what other threads and signals want to be called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.stopped = False

    def callFromThread(self, function: Any, *arguments: Any) -> None:  # noqa: N802
        self.calls.append((function, arguments))

    def callWhenRunning(self, function: Any) -> None:  # noqa: N802
        """It never runs by itself."""

    def turn(self) -> None:
        while self.calls:
            function, arguments = self.calls.pop(0)
            function(*arguments)

    def stop(self) -> None:
        self.stopped = True


@contextmanager
def daemon_log() -> Iterator[Logged]:
    """The texts that netconsd logs meanwhile, with their levels."""
    with capturedLogs() as events:
        yield lambda: [
            f"{event['log_level'].name}: {formatEvent(event)}"
            for event in events
            if event.get("log_namespace") == "netconsd"
        ]
