"""A lane with a watcher: it looks before the delivery, publishes behind it, and waits for everything received."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netconsd.message import Message, Source
from netconsd.protocol.counters import CrashCounters
from netconsd.receive.lanes import GRACE_SECONDS, Lane
from netconsd.settings import Settings
from tests.support.scripted_lane import ALICE, SameThread, Scripted, put, records, run

NEVER = float("inf")


class ScriptedWatch:
    """Finds each text once it was looked at, and something more at its deadline and at the end."""

    counters = CrashCounters()
    open_reports = 0

    def __init__(self, events: list[Any], deadline: float = NEVER) -> None:
        self.events = events
        self.deadline = deadline

    def look(self, messages: list[Message], now: float) -> list[Any]:
        self.events.append(("look", [message.text for message in messages], now))
        return [f"found {message.text}" for message in messages]

    def advance(self, now: float, received_at: float, heard: Any) -> list[Any]:
        assert now >= self.deadline
        self.events.append(("advance", now, received_at, [number for _, _, number in heard(0.0)]))
        self.deadline = NEVER
        return ["expired"]

    def next_deadline(self) -> float:
        return self.deadline

    def finish(self, now: float) -> list[Any]:
        self.events.append(("finish",))
        return ["last"]

    def abandon(self, whose: Callable[[Source], bool], why: str) -> list[Any]:
        self.events.append(("abandon", why))
        return ["abandoned"]


def lane_of(events: list[Any], script: Scripted | None = None, deadline: float = NEVER, **arguments: Any) -> Lane:
    """A lane whose deliveries and publications are events."""

    def deliver(worker: int, messages: list[Message]) -> None:
        events.append(("deliver", [message.text for message in messages]))
        # As a module may do.
        messages.clear()

    lane = Lane(
        3,
        deliver,
        Settings(workers=1),
        clock=(lambda: 0.0) if script is None else (lambda: script.now),
        thread=SameThread,
        watch=ScriptedWatch(events, deadline),
        publish=lambda worker, found: events.append(("publish", worker, found)),
        **arguments,
    )
    if script is not None:
        lane._queue = script  # type: ignore[assignment]
    return lane


def test_findings_follow_their_messages() -> None:
    """Messages are looked at, delivered, then what was found is published; at the stop what the watcher has left."""
    events: list[Any] = []
    lane = lane_of(events)
    put(lane, *records([1, 2]), now=7.0)
    run(lane)
    assert events == [
        ("look", ["1", "2"], 7.0),
        ("deliver", ["1", "2"]),
        ("publish", 3, ["found 1", "found 2"]),
        ("finish",),
        ("publish", 3, ["last"]),
    ]


def test_held_messages_are_looked_at_before_the_end() -> None:
    """The stop delivers what is behind a gap, then finishes the watcher."""
    events: list[Any] = []
    lane = lane_of(events)
    put(lane, *records([1, 3]))
    run(lane)
    assert [event[0] for event in events] == ["look", "deliver", "publish"] * 2 + ["finish", "publish"]
    assert events[3][1] == ["3"]


def test_a_failed_delivery_keeps_what_was_found() -> None:
    """An exception of an embedding program's ``deliver`` costs no report."""
    events: list[Any] = []
    lane = lane_of(events)

    def fail(worker: int, messages: list[Message]) -> None:
        raise ValueError("of the program")

    lane._deliver = fail
    put(lane, *records([1]))
    lane._turn()
    assert ("publish", 3, ["found 1"]) in events


def test_a_deadline_of_the_watcher_waits_for_a_mark() -> None:
    """The lane waits until shortly after the deadline, asks for a mark, and expires it only when the mark comes."""
    events: list[Any] = []
    script = Scripted()
    marks: list[float] = []
    lane = lane_of(events, script, 5.0, ask_mark=lambda lane, deadline: marks.append(deadline))
    script.items = [Scripted.NOTHING]
    lane._turn()
    assert script.timeouts == [5.0 + GRACE_SECONDS]
    assert marks == [5.0]
    assert events == []
    put(lane, *records([1]), received_at=1004.0, now=4.0)
    lane.mark(5.0)
    lane._turn()
    lane._turn()
    assert [event[0] for event in events] == ["look", "deliver", "publish", "advance", "publish"]
    assert events[3] == ("advance", 5.0, 1005.0, [1])
    assert script.timeouts[1:] == [None, None]


def test_a_batch_expires_deadlines_up_to_the_time_to_which_it_is_complete() -> None:
    """A batch that is complete up to the deadline needs no mark; one that is not expires nothing."""
    events: list[Any] = []
    lane = lane_of(events, None, 5.0)
    lane.put([ALICE], records([1]), 1006.0, 6.0, complete=4.0)
    lane._turn()
    assert "advance" not in [event[0] for event in events]
    lane.put([ALICE], records([2]), 1006.5, 6.5, complete=6.0)
    lane._turn()
    assert ("advance", 6.0, 1006.0, [2]) in events


def test_the_senders_heard_since() -> None:
    """``SourceTable.heard`` has the senders since a time, the last one first."""
    events: list[Any] = []
    lane = lane_of(events)
    for number in range(3):
        lane.put([bytes(17) + bytes([number])], records([1]), 0.0, float(number))
        lane._turn()
    assert [(source.port, at, count) for source, at, count in lane._table.heard(1.0)] == [(2, 2.0, 1), (1, 1.0, 1)]
