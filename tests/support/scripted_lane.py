"""A lane without a thread of its own, and without waiting: for the tests of lanes."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable
from typing import Any

from netconsd.protocol.message import Message
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from netconsd.testing import extended, legacy, source

# Seconds that a test waits for another thread at most.
PATIENCE = 5.0

ALICE = source("192.0.2.1").key
BOB = source("192.0.2.2").key


class SameThread:
    """In place of a thread: runs when it is started, before ``start`` returns."""

    def __init__(self, *, target: Callable[..., None], args: tuple[Any, ...], name: str, daemon: bool) -> None:
        self._target = target
        self._args = args
        self.name = name
        self.daemon = daemon

    def start(self) -> None:
        self._target(*self._args)


class Delivered:
    """What a lane delivered: (worker, text) in order, and how many messages each call had."""

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
    """Lane 3 of one, whose thread is this one."""
    return Lane(3, deliver, Settings(**{"workers": 1, **settings}), clock=clock, thread=SameThread)


def run(lane: Lane, finished: Callable[[], object] = lambda: None) -> None:
    """Stop the lane, then let it do what it does until then."""
    lane.stop()
    lane.start(finished)


def put(lane: Lane, *datagrams: bytes, sender: bytes = ALICE, received_at: float = 0.0, now: float = 0.0) -> None:
    """Queue a batch from one sender."""
    lane.put([sender] * len(datagrams), list(datagrams), received_at, now)


def records(numbers: Iterable[int]) -> list[bytes]:
    """Datagrams with these sequence numbers, which are their texts, too."""
    return [extended(str(number), seq=number) for number in numbers]


def lines(numbers: Iterable[int]) -> list[bytes]:
    """Legacy datagrams of a line each."""
    return [legacy(str(number)) for number in numbers]


class Scripted:
    """In place of the queue and the clock: what was put in comes out, and nobody waits.

    Where :attr:`NOTHING` was put, nothing comes until the time that the lane asked for is over.
    """

    NOTHING = "nothing"

    def __init__(self) -> None:
        self.now = 0.0
        self.items: list[Any] = []
        #: How long the lane was ready to wait, each time; None is for ever.
        self.timeouts: list[float | None] = []

    def put(self, item: Any) -> None:
        self.items.append(item)

    def get(self, timeout: float | None) -> Any:
        self.timeouts.append(timeout)
        item = self.items.pop(0)
        if item is self.NOTHING:
            assert timeout is not None, "the lane would wait for ever"
            self.now += timeout
            raise queue.Empty
        return item
