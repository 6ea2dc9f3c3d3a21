"""A stop waits as long as there is progress; what is given up is counted."""

from __future__ import annotations

import threading
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule
from netconsd.outputs.draining import REPORT_SECONDS, Draining, Part
from netconsd.outputs.progress import Progress
from netconsd.outputs.runner import Outputs
from netconsd.protocol.counters import ModuleCounters
from netconsd.protocol.message import Message
from netconsd.testing import RecordingModule
from tests.support.outputs import begin, fired, some, started
from tests.support.scripted_lane import PATIENCE


class Script:
    """A part whose progress the test makes."""

    def __init__(self, clock: Clock, timeout: float = 30.0, limit: float = 300.0) -> None:
        self.count = 0
        self.ended = False
        self.reasons: list[str] = []
        self.reports: list[str] = []
        self.finished: Deferred[None] = Deferred()
        self.part = Part(lambda: not self.ended, lambda: self.count, lambda: "9 left in x", self.reasons.append)
        draining = Draining(timeout, limit, clock, self.reports.append)
        finished: Deferred[Any] = self.finished
        finished.addErrback(lambda failure: None)
        self.waited = begin(draining.wait(finished, [self.part]))

    def end(self) -> None:
        self.ended = True
        self.finished.callback(None)


def test_progress() -> None:
    """The seconds count from the look that saw the last change, or the first work; without work they are 0."""
    progress = Progress()
    assert [progress.look(1, True, now) for now in (5.0, 6.0, 8.0)] == [0.0, 1.0, 3.0]
    assert progress.look(2, True, 9.0) == 0.0
    assert progress.look(2, False, 90.0) == 0.0
    assert progress.look(2, True, 100.0) == 0.0


def test_a_stop_waits_while_there_is_progress() -> None:
    """However slow, a part with progress is waited for; the wait is over as soon as it has ended."""
    clock = Clock()
    script = Script(clock)
    for _ in range(14):
        clock.pump([1.0] * 20)
        script.count += 1
    assert not fired(script.waited)
    script.end()
    assert fired(script.waited)
    assert script.reasons == []
    assert clock.getDelayedCalls() == []


def test_a_stop_gives_up_what_makes_no_progress() -> None:
    """After --stop-timeout without progress a part is given up, and the stop continues."""
    clock = Clock()
    script = Script(clock, timeout=30.0)
    clock.pump([1.0] * 20)
    script.count += 1
    clock.pump([1.0] * 30)
    assert not fired(script.waited)
    clock.pump([1.0] * 2)
    assert fired(script.waited)
    assert script.reasons == ["no progress for 30 seconds (--stop-timeout)"]
    assert clock.getDelayedCalls() == []


def test_a_stop_has_a_limit() -> None:
    """After --stop-limit everything is given up, whatever the progress."""
    clock = Clock()
    script = Script(clock, limit=60.0)
    for _ in range(59):
        clock.advance(1.0)
        script.count += 1
    assert not fired(script.waited)
    clock.advance(1.0)
    assert fired(script.waited)
    assert script.reasons == ["the stop has taken 60 seconds (--stop-limit)"]


def test_a_stop_reports_what_is_left() -> None:
    """Every few seconds there is a line with the rest."""
    clock = Clock()
    script = Script(clock)
    clock.pump([1.0] * int(2 * REPORT_SECONDS))
    assert script.reports == ["Stopping: 9 left in x"] * 2
    script.end()


def queue_part(outputs: Outputs, number: int, dropped: list[int]) -> Part:
    """The part of a module's queue in worker 0, as the service makes it."""
    output = outputs.started[number]
    return Part(
        lambda: output.queues[0].running,
        lambda: output.done(0),
        lambda: f"{output.waiting(0)} left",
        lambda reason: dropped.append(output.give_up(0)),
    )


def test_sixty_thousand_messages_of_a_slow_module_are_delivered() -> None:
    """60,000 queued messages at a millisecond each are delivered with the default settings, twice --stop-timeout."""
    clock = Clock()
    slow, other = RecordingModule(), RecordingModule()
    outputs = started(slow=slow, other=other)
    queue = outputs.started[0].queues[0]
    batch = some(*map(str, range(1000)))
    for _ in range(60):
        queue.put(batch, len(batch))
    dropped: list[int] = []
    reports: list[str] = []
    finished = outputs.finish()
    queue.running = True
    outputs.started[1].queues[0].running = False
    waited = begin(Draining(30.0, 300.0, clock, reports.append).wait(finished, [queue_part(outputs, 0, dropped)]))
    seconds = 0.0
    while queue.running:
        before = len(slow.calls)
        queue.running = queue._turn()
        # A millisecond for each message.
        for _ in range((len(slow.calls) - before) // 1000):
            clock.advance(1.0)
            seconds += 1.0
        assert not fired(waited)
    assert seconds == 60.0
    assert len(slow.calls) == 60_000
    assert [call.message.text for call in slow.calls[:1001]] == [*map(str, range(1000)), "0"]
    assert (dropped, outputs.started[0].counters[0].dropped_at_stop) == ([], 0)
    assert len(reports) >= 10
    assert reports[-1].startswith("Stopping: ")
    finished.cancel()


def test_progress_within_a_batch_is_seen() -> None:
    """Other threads see how far a module with ``handle`` is in its batch, without a count for each message."""
    seen: list[tuple[int, int]] = []

    class Looks(RecordingModule):
        def handle(self, worker: int, message: Message) -> None:
            super().handle(worker, message)
            seen.append((output.done(0), output.waiting(0)))

    outputs = started(looks=Looks())
    (output,) = outputs.started
    outputs.deliver(0, some(*"abc"))
    assert seen == [(0, 3), (1, 2), (2, 1)]
    assert (output.done(0), output.waiting(0)) == (3, 0)


@implementer(IBatchOutputModule)
class BlocksInBatch(RecordingModule):
    """A module that blocks in ``handle_batch``."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.release = threading.Event(), threading.Event()

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        self.entered.set()
        assert self.release.wait(PATIENCE)


class BlocksAtC(RecordingModule):
    """A module that blocks in ``handle`` at the message ``c``."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.release = threading.Event(), threading.Event()

    def handle(self, worker: int, message: Message) -> None:
        if message.text == "c":
            self.entered.set()
            assert self.release.wait(PATIENCE)
        super().handle(worker, message)


def give_up(module: BlocksAtC | BlocksInBatch) -> tuple[int, int, int]:
    """Give up a module in its call; return what it had, and its counters ``messages`` and ``dropped_at_stop`` once the
    call has returned and two messages more were delivered."""
    outputs = started(module=module)
    (output,) = outputs.started
    thread = threading.Thread(target=outputs.deliver, args=(0, some(*"abcde")), daemon=True)
    thread.start()
    assert module.entered.wait(PATIENCE)
    dropped = output.give_up(0)
    assert output.waiting(0) == 0
    module.release.set()
    thread.join(PATIENCE)
    outputs.deliver(0, some("f", "g"))
    return dropped, output.counters[0].messages, output.counters[0].dropped_at_stop


def test_messages_in_hand_are_counted_when_a_module_is_given_up() -> None:
    """The message of the call and the rest of the batch are dropped, and never handed over later; those before count as
    handed over."""
    module = BlocksAtC()
    assert give_up(module) == (3, 2, 3)
    assert [message.text for message in module.messages] == ["a", "b", "c"]


def test_a_batch_in_hand_is_counted_when_a_module_is_given_up() -> None:
    """All messages of a ``handle_batch`` that has not returned are counted: what it has done is not known."""
    assert give_up(BlocksInBatch()) == (5, 0, 5)


def test_queued_messages_are_counted_when_a_module_is_given_up() -> None:
    """The messages in its queue are dropped, and the thread hands none of them over afterwards."""
    first, second = RecordingModule(), RecordingModule()
    outputs = started(first=first, second=second)
    output = outputs.started[0]
    queue = output.queues[0]
    queue.put(some("a"), 1)
    queue._turn()
    queue.put(some("b", "c"), 2)
    with capturedLogs():
        assert output.give_up(0) == 2
    queue._turn()
    counters = output.counters[0]
    assert (counters.queued, counters.messages, counters.dropped_at_stop) == (3, 1, 2)
    assert [message.text for message in first.messages] == ["a"]


@implementer(IBatchOutputModule)
class Batches(RecordingModule):
    """A module that gets batches."""

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        self.texts = [message.text for message in messages]


class GivenUpAt(SimpleNamespace):
    """The counters of a module, which is given up when its thread sets one of them for the n-th time."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == self.__dict__["counter"]:
            self.__dict__["left"] -= 1
            if self.__dict__["left"] == 0:
                self.__dict__["output"].give_up(0)


@pytest.mark.parametrize("module", [RecordingModule, Batches])
@pytest.mark.parametrize(("counter", "time"), [("called_at", 1), ("seconds", 1), ("called_at", 2), ("batches", 1)])
def test_a_batch_is_counted_once_wherever_its_thread_is(module: type[RecordingModule], counter: str, time: int) -> None:
    """Whenever the stop gives a module up, each message of its batch is handed over or dropped in the counters."""
    outputs = started(module=module())
    (output,) = outputs.started
    numbers = {field.name: getattr(output.counters[0], field.name) for field in fields(ModuleCounters)}
    counters = GivenUpAt(**numbers | {"counter": counter, "left": time, "output": output})
    output.counters[0] = counters  # type: ignore[call-overload]
    outputs.deliver(0, some(*"abc"))
    assert counters.left <= 0
    assert counters.messages + counters.dropped_at_stop == 3
