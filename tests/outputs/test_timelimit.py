"""A module that blocks the reactor's thread is named in the log."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs, formatEvent

from netconsd.outputs.runner import Outputs
from netconsd.outputs.timelimit import TimeLimit
from tests.support.outputs import HERE, done
from tests.support.scripted_lane import PATIENCE
from tests.support.scripted_module import Script


@pytest.fixture
def events() -> Iterator[Sequence[LogEvent]]:
    """The events logged so far."""
    with capturedLogs() as captured:
        yield captured


class Blocks:
    """A call that blocks until the log has the error about it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._logged = threading.Event()
        monkeypatch.setattr("netconsd.outputs.timelimit.Logger.error", self._error)
        self.texts: list[str] = []

    def _error(self, text: str, **values: object) -> None:
        self.texts.append(text.format_map(values))
        self._logged.set()

    def __call__(self) -> Any:
        assert self._logged.wait(PATIENCE)
        return "returned"


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> Blocks:
    """A call that blocks."""
    monkeypatch.setattr("netconsd.outputs.runner.LEAST_SECONDS", 0.0)
    return Blocks(monkeypatch)


def test_a_call_that_returns_in_time(events: Sequence[LogEvent]) -> None:
    """Its result or exception is passed on, nothing is logged, and no thread remains."""
    timelimit = TimeLimit(PATIENCE)
    before = set(threading.enumerate())
    assert timelimit.call("a", lambda: 7) == 7
    with pytest.raises(KeyError):
        timelimit.call("a", lambda: {"x": 1}["y"])
    # Threads of earlier tests may end meanwhile.
    assert set(threading.enumerate()) <= before
    assert [formatEvent(event) for event in events] == []


def test_a_call_that_blocks(blocks: Blocks) -> None:
    """It is logged while it blocks, and its result is passed on."""
    assert TimeLimit(0.0).call("Module a: stop()", blocks) == "returned"
    (text,) = blocks.texts
    assert text == (
        "Module a: stop() has not returned within 0 seconds (--stop-timeout) and blocks the whole daemon; "
        "a second SIGTERM ends it, or SIGKILL if the module blocks in C code"
    )


def test_a_stop_that_blocks(blocks: Blocks) -> None:
    """A module that blocks in ``stop`` is logged, the first part of a coroutine included; the others are stopped."""
    happened: list[str] = []

    async def stop() -> None:
        blocks()

    first, second = Script("first", happened), Script("second", happened)
    second.stop = stop  # type: ignore[method-assign]
    outputs = Outputs({"first": first, "second": second}, 1, 0.0)
    done(outputs.start(HERE))
    done(outputs.stop())
    assert happened == ["first start", "second start", "first stop"]
    assert blocks.texts[0].startswith("Module second: stop() has not returned")


def test_a_reload_that_blocks(blocks: Blocks) -> None:
    """A module that blocks in ``reload`` is logged, and the next one is reloaded."""
    happened: list[str] = []
    first, second = Script("first", happened), Script("second", happened)
    first.reload = blocks  # type: ignore[method-assign]
    outputs = Outputs({"first": first, "second": second}, 1, 0.0)
    done(outputs.start(HERE))
    outputs.reload()
    assert happened[2:] == ["second reload"]
    assert blocks.texts[0].startswith("Module first: reload() has not returned")


def test_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system has no more threads, a module is stopped without a watch."""

    def fail(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("netconsd.outputs.timelimit.threading.Thread.start", fail)
    assert TimeLimit(PATIENCE).call("a", lambda: 7) == 7
