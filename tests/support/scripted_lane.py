"""A lane that runs in the test's thread, with a scripted queue and clock."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from netconsd.protocol.message import Message
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from netconsd.testing import extended, legacy, source

# The most seconds that a test waits for another thread.
PATIENCE = 30.0

ALICE = source("192.0.2.1").key
BOB = source("192.0.2.2").key


class SameThread:
    """Replaces a thread: runs its target within ``start``."""

    def __init__(self, *, target: Callable[..., None], args: tuple[Any, ...], name: str, daemon: bool) -> None:
        self._target = target
        self._args = args
        self.name = name
        self.daemon = daemon

    def start(self) -> None:
        self._target(*self._args)


class Mailbox:
    """Replaces a reactor: keeps the calls that threads request until :meth:`wait_for` makes them in this thread."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Callable[[], object]] = queue.Queue()

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:  # noqa: N802
        self.calls.put(partial(function, *arguments))

    def wait_for(self, deferred: Deferred[None]) -> None:
        """Make the requested calls until the Deferred has fired."""
        while not deferred.called:
            self.calls.get(timeout=PATIENCE)()


class Delivered:
    """Keeps the delivered messages, and the worker and number of messages of each call."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.workers: list[int] = []
        self.sizes: list[int] = []

    def __call__(self, worker: int, messages: list[Message]) -> None:
        self.workers.append(worker)
        self.sizes.append(len(messages))
        self.messages += messages

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]


def lane_with(
    deliver: Callable[[int, list[Message]], object], *, clock: Callable[[], float] = lambda: 0.0, **settings: Any
) -> Lane:
    """A lane with number 3 and the settings of a single worker, which runs in the caller's thread."""
    return Lane(3, deliver, Settings(**{"workers": 1, **settings}), clock=clock, thread=SameThread)


def run(lane: Lane, finished: Callable[[], object] = lambda: None) -> None:
    """Stop the lane, then run it to its end."""
    lane.stop()
    lane.start(finished)


def put(lane: Lane, *datagrams: bytes, sender: bytes = ALICE, received_at: float = 0.0, now: float = 0.0) -> None:
    """Queue a batch from one sender."""
    lane.put([sender] * len(datagrams), list(datagrams), received_at, now)


def records(numbers: Iterable[int]) -> list[bytes]:
    """Extended datagrams whose texts are their sequence numbers."""
    return [extended(str(number), seq=number) for number in numbers]


def lines(numbers: Iterable[int]) -> list[bytes]:
    """Legacy datagrams of one line each."""
    return [legacy(str(number)) for number in numbers]


class Scripted:
    """Replaces the queue and the clock: ``get`` returns the next item without waiting.

    For the item :attr:`NOTHING`, ``get`` advances the clock by the timeout and raises ``queue.Empty``.
    """

    NOTHING = "nothing"

    def __init__(self) -> None:
        self.now = 0.0
        self.items: list[Any] = []
        #: The timeout of each ``get``; None is without a limit.
        self.timeouts: list[float | None] = []

    def put(self, item: Any) -> None:
        self.items.append(item)

    def get(self, timeout: float | None) -> Any:
        self.timeouts.append(timeout)
        item = self.items.pop(0)
        if item is self.NOTHING:
            assert timeout is not None, "the lane would wait without a limit"
            self.now += timeout
            raise queue.Empty
        return item
