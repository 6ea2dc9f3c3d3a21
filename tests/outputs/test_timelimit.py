"""A module that blocks the reactor's thread: named, interrupted where that may be, and the process ended if not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs, formatEvent

from netconsd.outputs.runner import Outputs
from netconsd.outputs.timelimit import TimeLimit, TimeLimitExceeded
from tests.outputs.test_runner import HERE, done
from tests.support.scripted_lane import PATIENCE
from tests.support.scripted_module import Script


@pytest.fixture
def events() -> Iterator[Sequence[LogEvent]]:
    """What is logged."""
    with capturedLogs() as captured:
        yield captured


def told(events: Sequence[LogEvent]) -> list[str]:
    """Level and text of each event."""
    return [f"{event['log_level'].name}: {formatEvent(event)}" for event in events]


class Blocks:
    """A call that blocks until it is released, and is then interrupted as by a signal, if it is overdue."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.timelimit: Any = None

    def __call__(self) -> Any:
        assert self.release.wait(PATIENCE)
        if self.timelimit is not None:
            self.timelimit.interrupted()
        return "returned"


def test_a_call_that_returns_in_time(events: Sequence[LogEvent]) -> None:
    """What it returns or raises comes through, nothing is logged, and no thread stays."""
    timelimit = TimeLimit(PATIENCE)
    before = threading.active_count()
    assert timelimit.call("a", lambda: 7) == 7
    with pytest.raises(KeyError):
        timelimit.call("a", lambda: {"x": 1}["y"])
    assert threading.active_count() == before
    assert told(events) == []


def test_one_that_blocks_is_named(events: Sequence[LogEvent]) -> None:
    """While it blocks, the log says which it is; nothing else happens, and what it returns in the end is returned."""
    blocks = Blocks()
    timelimit = TimeLimit(0.0, interrupt=blocks.release.set)
    assert timelimit.call("Module a: stop()", blocks) == "returned"
    named = "Module a: stop() has not returned within 0 seconds (--stop-timeout), and all else waits for it"
    assert told(events) == [f"error: {named}"]


def test_one_that_blocks_is_interrupted() -> None:
    """The handler of the signal raises in the call, if it is overdue."""
    blocks = Blocks()
    blocks.timelimit = timelimit = TimeLimit(0.0, interrupt=blocks.release.set)
    with pytest.raises(TimeLimitExceeded, match=r"^a has not returned within 0 seconds \(--stop-timeout\)$"):
        timelimit.call("a", blocks)
    # The signal may come twice, or late.
    timelimit.interrupted()


def test_nothing_else_is_interrupted() -> None:
    """A signal that comes when there is no call, or one that has time left, does nothing."""
    timelimit = TimeLimit(PATIENCE)
    timelimit.interrupted()
    assert timelimit.call("a", timelimit.interrupted) is None


def test_what_cannot_be_interrupted_ends_the_process(events: Sequence[LogEvent]) -> None:
    """If the interruption did not help, the log says so, and the process is ended."""
    blocks = Blocks()
    timelimit = TimeLimit(0.0, interrupt=lambda: None, end=blocks.release.set)
    assert timelimit.call("a", blocks, last=True) == "returned"
    assert told(events)[1:] == [
        "critical: a could not be interrupted, so the process ends, and no other module is stopped"
    ]


def test_only_a_stop_ends_the_process(events: Sequence[LogEvent]) -> None:
    """For a call that is not the last thing, nothing is ended."""
    ended: list[str] = []
    blocks = Blocks()
    timelimit = TimeLimit(0.0, interrupt=blocks.release.set, end=lambda: ended.append("end"))
    timelimit.call("a", blocks)
    assert ended == []
    assert len(told(events)) == 1


def test_one_that_returns_after_all_does_not_end_the_process() -> None:
    """A call that the interruption brings back is not the end of the process."""
    ended: list[str] = []
    blocks = Blocks()
    timelimit = TimeLimit(0.2, interrupt=blocks.release.set, end=lambda: ended.append("end"))
    timelimit.call("a", blocks, last=True)
    assert ended == []


def test_a_stop_that_blocks(events: Sequence[LogEvent]) -> None:
    """A module whose stop is interrupted is named, and those behind it are stopped."""
    blocks = Blocks()
    blocks.timelimit = timelimit = TimeLimit(0.0, interrupt=blocks.release.set)
    happened: list[str] = []
    first, second = Script("first", happened), Script("second", happened)
    second.stop = blocks  # type: ignore[method-assign]
    outputs = Outputs({"first": first, "second": second}, 1, 30.0, timelimit)
    done(outputs.start(HERE))
    done(outputs.stop())
    assert happened == ["first start", "second start", "first stop"]
    named = "Module second: stop() has not returned within 0 seconds (--stop-timeout), and all else waits for it"
    gone_on = f"{named.partition(',')[0]}; the stop goes on without it"
    assert told(events)[:2] == [f"error: {named}", f"warn: {gone_on}"]


def test_a_coroutine_that_blocks(events: Sequence[LogEvent]) -> None:
    """What a stop that is a coroutine does at once is watched as well."""
    blocks = Blocks()
    blocks.timelimit = timelimit = TimeLimit(0.0, interrupt=blocks.release.set)

    async def stop() -> None:
        blocks()

    module = Script("module", [])
    module.stop = stop  # type: ignore[method-assign]
    outputs = Outputs({"module": module}, 1, 30.0, timelimit)
    done(outputs.start(HERE))
    done(outputs.stop())
    assert told(events)[0].startswith("error: Module module: stop() has not returned within 0 seconds")
    assert told(events)[1].endswith("; the stop goes on without it")


def test_a_reload_that_blocks(events: Sequence[LogEvent]) -> None:
    """A module whose reload is interrupted is named, that is an error of it, and the next one is reloaded."""
    blocks = Blocks()
    blocks.timelimit = timelimit = TimeLimit(0.0, interrupt=blocks.release.set)
    happened: list[str] = []
    first, second = Script("first", happened), Script("second", happened)
    first.reload = blocks  # type: ignore[method-assign]
    outputs = Outputs({"first": first, "second": second}, 1, 30.0, timelimit)
    done(outputs.start(HERE))
    outputs.reload()
    assert happened[2:] == ["second reload"]
    assert [output.reload_errors for output in outputs.started] == [1, 0]
    assert told(events)[0].startswith("error: Module first: reload() has not returned within 0 seconds")
    assert told(events)[1] == "critical: Module first failed"


def test_without_a_thread_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no more threads, a module is stopped all the same."""

    def fail(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("netconsd.outputs.timelimit.threading.Thread.start", fail)
    assert TimeLimit(PATIENCE).call("a", lambda: 7) == 7
