"""The usual silences of a sender, and the silences that are longer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from netconsd.crash.silence import (
    DUE_LIMIT,
    EVIDENCE,
    FORGET_SECONDS,
    LEARN_SECONDS,
    LEAST_MESSAGES,
    LEAST_SECONDS,
    PERIOD_SECONDS,
    SCHEDULE_SLACK,
    TIMES,
    Silence,
)
from netconsd.testing import source

HOUR = 3600.0
DAY = 24 * HOUR
LOOK = 60.0
ALICE = source("192.0.2.1")


class Watcher:
    """A silence table with a clock, which looks each minute."""

    def __init__(self, limit: int = 10) -> None:
        self.silence = Silence(limit)
        self.now = 0.0
        #: (when, length in seconds, usual) of each silence, and (when, length) of each end.
        self.found: list[tuple[float, float, float]] = []
        self.ended: list[tuple[float, float]] = []

    def hear(self, times: Iterable[float]) -> None:
        """Run until the last of the times, at each of which a message of Alice's arrives."""
        for at in times:
            self.run(at)
            self.now = at
            lasted = self.silence.hear(ALICE, at, LEAST_MESSAGES)
            if lasted is not None:
                self.ended.append((at, lasted))

    def run(self, until: float) -> None:
        while self.now + LOOK <= until:
            self.now += LOOK
            self.silence.look(self.now)
            self.found += [(self.now, lasted, usual) for _, lasted, usual in self.silence.due(self.now)]


def every(seconds: float, until: float, start: float = 0.0) -> list[float]:
    """Times at equal intervals."""
    return [start + index * seconds for index in range(int((until - start) / seconds) + 1)]


def test_a_heartbeat_that_stops() -> None:
    """A sender of a message a minute is silent after 15 minutes, once, and its usual silence is a minute."""
    watcher = Watcher()
    watcher.hear(every(60.0, 2 * DAY))
    assert watcher.found == []
    watcher.run(4 * DAY)
    assert watcher.found == [(2 * DAY + LEAST_SECONDS, LEAST_SECONDS, 60.0)]


def test_an_hourly_message_does_not_alarm() -> None:
    """A quiet machine with one message an hour, one of which is missing now and then, is never silent."""
    watcher = Watcher()
    watcher.hear([at for index, at in enumerate(every(HOUR, 30 * DAY)) if index % 37])
    assert watcher.found == []


def test_an_hourly_message_that_stops() -> None:
    """A sender of a message an hour is silent after three hours."""
    watcher = Watcher()
    watcher.hear(every(HOUR, 3 * DAY))
    watcher.run(4 * DAY)
    assert watcher.found == [(3 * DAY + TIMES * HOUR, TIMES * HOUR, HOUR)]


@pytest.mark.parametrize("lines", [10, 5000])
def test_a_boot_and_then_nothing(lines: int) -> None:
    """A machine that boots and logs nothing from then on is never silent: nothing is known of its usual silence."""
    watcher = Watcher()
    watcher.hear(every(0.01, lines * 0.01))
    watcher.run(60 * DAY)
    assert watcher.found == []


def test_not_before_a_day() -> None:
    """The silence of the first night does not alarm; of the second, it is usual."""
    watcher = Watcher()
    for day in range(3):
        watcher.hear(every(300.0, day * DAY + 12 * HOUR, day * DAY))
    watcher.run(3 * DAY)
    assert watcher.found == []


def test_evidence_is_ten_times_the_silence() -> None:
    """A sender with gaps of two hours is watched after 60 hours, not before."""
    for hours, alarms in ((58, 0), (62, 1)):
        watcher = Watcher()
        watcher.hear(every(2 * HOUR, hours * HOUR))
        watcher.run(hours * HOUR + DAY)
        assert len(watcher.found) == alarms, hours
    assert EVIDENCE * TIMES * 2 == 60


def test_heard_again() -> None:
    """The first message ends the silence, and its length is learnt: the next one of that length is usual."""
    watcher = Watcher()
    watcher.hear(every(60.0, 2 * DAY))
    watcher.hear([2 * DAY + 5 * HOUR])
    assert watcher.ended == [(2 * DAY + 5 * HOUR, 5 * HOUR)]
    assert len(watcher.found) == 1
    watcher.hear(every(60.0, 8 * DAY, watcher.now + 60.0))
    watcher.hear([watcher.now + 5 * HOUR])
    assert len(watcher.found) == len(watcher.ended) == 1


def test_a_silence_is_forgotten_after_two_periods() -> None:
    """What was usual a month ago is not usual any more."""
    watcher = Watcher()
    watcher.hear([0.0, 5 * HOUR])
    watcher.hear(every(60.0, 2.1 * PERIOD_SECONDS, watcher.now + 60.0))
    watcher.run(watcher.now + HOUR)
    assert [usual for _, _, usual in watcher.found] == [60.0]


def test_a_silence_before_a_boot_is_not_usual() -> None:
    """A machine that crashed, and was down for a day, is watched as closely as before."""
    watcher = Watcher()
    watcher.hear(every(60.0, 2 * DAY))
    watcher.run(3 * DAY)
    assert watcher.silence.restart(ALICE, watcher.now) == DAY
    watcher.hear(every(60.0, 4 * DAY, watcher.now + 60.0))
    watcher.run(5 * DAY)
    assert [usual for _, _, usual in watcher.found] == [60.0, 60.0]


def test_a_pause_of_netconsd_is_no_silence() -> None:
    """After netconsd itself was stopped for hours, each silence begins again, and none is learnt."""
    watcher = Watcher()
    watcher.hear(every(60.0, 2 * DAY))
    watcher.now += 6 * HOUR
    watcher.silence.look(watcher.now)
    assert watcher.silence.due(watcher.now) == []
    watcher.hear(every(60.0, 3 * DAY, watcher.now + 60.0))
    start = watcher.now
    watcher.run(watcher.now + HOUR)
    assert [(at - start, usual) for at, _, usual in watcher.found] == [(LEAST_SECONDS, 60.0)]


def test_few_messages_are_not_watched() -> None:
    """A sender with few messages takes no memory: most forged senders have one."""
    table = Silence(10)
    assert table.hear(ALICE, 1.0, LEAST_MESSAGES - 1) is None
    assert len(table) == 0
    assert table.restart(ALICE, 2.0) is None


def test_the_table_is_bounded() -> None:
    """A further sender replaces the one that is silent longest, and is counted."""
    table = Silence(3)
    for number in (1, 2, 3, 1, 4):
        table.hear(source(f"192.0.2.{number}"), float(table.evicted + number + len(table)), LEAST_MESSAGES)
    assert (len(table), table.evicted) == (3, 1)
    assert source("192.0.2.2").key not in table._senders


def test_the_schedule_is_bounded() -> None:
    """Senders that come and go do not fill the schedule."""
    table = Silence(10)
    for number in range(2000):
        table.hear(source(f"192.0.{number // 250}.{number % 250}"), float(number), LEAST_MESSAGES)
    assert len(table._schedule) <= 2 * 10 + SCHEDULE_SLACK + 1


def test_many_at_once() -> None:
    """When a switch fails, no call returns more than a bound, and the calls together return each sender once."""
    table = Silence(2 * DUE_LIMIT)
    senders = [source(f"192.0.{number // 250}.{number % 250}") for number in range(DUE_LIMIT + 10)]
    end = LEARN_SECONDS + HOUR
    for at in every(HOUR / 4, end):
        table.look(at)
        for sender in senders:
            table.hear(sender, at, LEAST_MESSAGES)
    late = end + HOUR
    for at in every(HOUR / 4, late, end):
        table.look(at)
    first = table.due(late)
    second = table.due(late)
    assert (len(first), len(second), table.due(late)) == (DUE_LIMIT, 10, [])
    assert {row[0] for row in first + second} == set(senders)


def test_a_sender_is_forgotten() -> None:
    """A sender that is silent for a month is forgotten; before, it is scheduled once."""
    watcher = Watcher()
    watcher.hear(every(60.0, 2 * DAY))
    watcher.run(2 * DAY + FORGET_SECONDS - DAY)
    assert (len(watcher.silence), len(watcher.silence._schedule)) == (1, 1)
    watcher.run(2 * DAY + FORGET_SECONDS + DAY)
    assert (len(watcher.silence), len(watcher.silence._schedule)) == (0, 0)
    assert len(watcher.found) == 1


def test_looking_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that is not watched yet, or goes on, is looked at no more often than each 15 minutes."""
    watcher = Watcher()
    watcher.hear([0.0])
    looks = 0
    put = watcher.silence._put_on_schedule

    def count(*arguments: Any) -> None:
        nonlocal looks
        looks += 1
        put(*arguments)

    monkeypatch.setattr(watcher.silence, "_put_on_schedule", count)
    watcher.run(3 * DAY)
    assert 1 <= looks <= 3 * DAY / LEAST_SECONDS
