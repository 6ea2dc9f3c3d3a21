"""Output modules run by a test instead of a service."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent

from netconsd.outputs.runner import Outputs
from netconsd.protocol.message import Message
from netconsd.testing import legacy_message


class Here(Clock):
    """A reactor's clock that makes calls from threads at once, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = 0

    def callFromThread(self, function: Any, *arguments: object) -> None:  # noqa: N802
        self.counted += 1
        function(*arguments)


HERE: Any = Here()


class NoThread:
    """Replaces a thread: does nothing."""

    def __init__(self, *, target: Callable[..., None], args: tuple[Any, ...], name: str, daemon: bool) -> None:
        self.name = name
        self.daemon = daemon

    def start(self) -> None:
        pass


class Synchronous(Outputs):
    """Modules that are called within ``deliver``, in the test's thread, also if there are several."""

    def __init__(
        self, modules: Mapping[str, Any], worker_count: int, stop_timeout: float = 30.0, **options: Any
    ) -> None:
        super().__init__(modules, worker_count, stop_timeout, thread=NoThread, **options)

    def deliver(self, worker: int, messages: list[Message]) -> None:
        super().deliver(worker, messages)
        for output in self.started:
            for queue in output.queues:
                while queue.backlog:
                    queue._turn()


def begin(coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
    """Run a coroutine until it waits."""
    return Deferred.fromCoroutine(coroutine)


def fired(deferred: Deferred[None]) -> bool:
    """Return whether a Deferred has fired."""
    return bool(deferred.called)


def done(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that does not wait to its end, and raise its exception."""
    results: list[Any] = []
    begin(coroutine).addBoth(results.append)
    assert results, "the coroutine waits"
    if results[0] is not None:
        results[0].raiseException()


def started(worker_count: int = 1, reactor: Any = None, **modules: Any) -> Outputs:
    """Return the started modules."""
    outputs = Synchronous(modules, worker_count)
    done(outputs.start(reactor or HERE))
    return outputs


def some(*texts: str) -> list[Message]:
    """Return messages with these texts."""
    return [legacy_message(text) for text in texts]


def failures(events: Sequence[LogEvent]) -> list[str]:
    """Return the text and the exception of each event that was logged with a traceback."""
    return [f"{formatEvent(event)}: {event['log_failure'].type.__name__}" for event in events if "log_failure" in event]
