"""What the log says of an overload: at once, not too often, with what to change, and when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogEvent, Logger, LogLevel, capturedLogs, formatEvent

from netconsd.monitor.losses import TELL_SECONDS, Overload


@pytest.fixture
def events() -> Iterator[Any]:
    """What is logged."""
    with capturedLogs() as captured:
        yield captured


def overload(dropped: tuple[int, ...] = (0, 0), shed: tuple[int, ...] = (0, 0)) -> Overload:
    """One of two listeners and two workers."""
    return Overload(Logger("netconsd"), dropped, shed)


def told(events: list[LogEvent]) -> list[str]:
    """The texts so far, which are forgotten."""
    texts = [formatEvent(event) for event in events]
    events.clear()
    return texts


def test_nothing_is_said_while_nothing_is_lost(events: list[LogEvent]) -> None:
    """Neither at rest, nor of what was lost before the start."""
    each = overload((7, 0), (0, 3))
    for second in range(1000):
        each.look((7, 0), (0, 3), float(second))
    assert events == []


def test_the_beginning_is_told_at_once_with_what_to_change(events: list[LogEvent]) -> None:
    """Who dropped how much, as a warning with the options to change."""
    overload().look((0, 5), (0, 0), 1.0)
    assert {event["log_level"] for event in events} == {LogLevel.warn}
    why = "because the receive buffer was full (see --rcvbuf and --listeners) or their checksum wrong"
    assert told(events) == [f"Datagrams are being lost: the kernel dropped 5 at listener 1, {why}"]
    overload((1, 1)).look((3, 2), (4, 9), 1.0)
    (both,) = told(events)
    assert "dropped 3 at listener 0, 1, " in both
    assert "; 13 found the queue of worker 0, 1 full, " in both
    assert both.endswith("see --queue, --workers and --rate")


def test_an_overload_that_lasts_is_told_once_a_minute(events: list[LogEvent]) -> None:
    """Each warning has what was lost since the one before, and all together have all."""
    each = overload()
    for second in range(601):
        each.look((0, 0), (10 * second, 0), float(second))
    counts = [int(text.split()[4]) for text in told(events)]
    assert counts == [10] + [10 * TELL_SECONDS] * 9


def test_its_end_is_told(events: list[LogEvent]) -> None:
    """When nothing was lost for a minute; after that it can begin anew, and is told at once again."""
    each = overload()
    for second in range(5):
        each.look((second, 0), (0, 0), float(second))
    for second in range(5, 200):
        each.look((4, 0), (0, 0), float(second))
    begun, rest, ended = told(events)
    assert "dropped 1 " in begun
    assert "dropped 3 " in rest
    assert ended == "No datagram has been lost for 60 seconds; 4 were in the 4 seconds before"
    each.look((5, 0), (0, 0), 200.0)
    (again,) = told(events)
    assert "dropped 1 " in again


def test_losses_now_and_then_do_not_fill_the_log(events: list[LogEvent]) -> None:
    """However often it seems to be over, there is a line a minute at most."""
    each = overload()
    for second in range(3600):
        each.look((second // 7, 0), (0, second // 11), float(second))
    assert len(events) <= 3600 / TELL_SECONDS
