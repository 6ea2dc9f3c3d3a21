"""The window of recently delivered records: a ring that agrees with a dict."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.protocol.window import ABSENT, WINDOW, Window
from tests.support.memory import bytes_for

U64_MAX = 2**64 - 1
STARTS = [0, 1, 7, 8, 63, 64, 416, 2**32 - 1, 2**63, U64_MAX - 1000, U64_MAX - 64, U64_MAX - 8]


class Table:
    """A window as a dict."""

    def __init__(self, seq: int, ts_usec: int) -> None:
        self.top = seq
        self.timestamps = {seq: ts_usec}

    def ts_usec(self, seq: int) -> int:
        """As :meth:`netconsd.protocol.window.Window.ts_usec`."""
        return self.timestamps.get(seq, ABSENT) if self.top - seq < WINDOW else ABSENT

    def advance(self, seq: int, ts_usec: int) -> None:
        """As :meth:`netconsd.protocol.window.Window.advance`."""
        self.top = seq
        self.timestamps[seq] = ts_usec

    def fill(self, seq: int, ts_usec: int) -> None:
        """As :meth:`netconsd.protocol.window.Window.fill`."""
        self.timestamps[seq] = ts_usec


def agree(window: Window, table: Table) -> None:
    """Both have the same timestamps for all seqs up to two windows below the top."""
    assert window.last_seq == table.top
    lowest = max(0, table.top - 2 * WINDOW)
    numbers = [0, lowest // 2, *range(lowest, table.top + 1)]
    assert [window.ts_usec(seq) for seq in numbers] == [table.ts_usec(seq) for seq in numbers]


@pytest.mark.parametrize("start", STARTS)
def test_first_record(start: int) -> None:
    """A new window has exactly one record."""
    window = Window(start, 5)
    agree(window, Table(start, 5))
    assert window.ts_usec(start) == 5


@pytest.mark.parametrize("start", STARTS[:-2])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 8, 9])
def test_steady_sender(start: int, step: int) -> None:
    """Of a sender that advances in equal steps, the last 64 seqs are remembered."""
    window, table = Window(start, 0), Table(start, 0)
    for number in range(1, 100):
        window.advance(start + number * step, number)
        table.advance(start + number * step, number)
        agree(window, table)


@pytest.mark.parametrize("jump", [1, 6, 7, 8, 9, 15, 16, 31, 32, 33, 62, 63, 64, 65, 127, 128, 1000, 2**32, 2**63])
def test_jump(jump: int) -> None:
    """After a jump, the seqs that are still within the window are remembered, and the skipped ones are absent."""
    for filled in (0, 5, 70):
        window, table = Window(100, 0), Table(100, 0)
        for number in range(101, 101 + filled):
            window.advance(number, number)
            table.advance(number, number)
        window.advance(100 + filled + jump, 1)
        table.advance(100 + filled + jump, 1)
        agree(window, table)


def test_largest_jump() -> None:
    """The window advances from the lowest to the highest seq."""
    window, table = Window(0, 0), Table(0, 0)
    window.advance(U64_MAX, 1)
    table.advance(U64_MAX, 1)
    agree(window, table)


@pytest.mark.parametrize("distance", range(WINDOW))
def test_fill(distance: int) -> None:
    """A record up to 63 below the top, also below the first one, can be filled in; others are unchanged."""
    for first in (True, False):
        window, table = Window(1000, 5), Table(1000, 5)
        if not first:
            for number in range(1010, 1100, 10):
                window.advance(number, number)
                table.advance(number, number)
        window.fill(table.top - distance, 7)
        table.fill(table.top - distance, 7)
        agree(window, table)


def test_forgets() -> None:
    """The seq 63 below the top is remembered, the one 64 below is not."""
    window = Window(100, 5)
    window.advance(100 + WINDOW - 1, 6)
    assert window.ts_usec(100) == 5
    window.advance(100 + WINDOW, 7)
    assert window.ts_usec(100) == ABSENT


@pytest.mark.parametrize("distance", [1, 2, WINDOW - 1])
def test_restart(distance: int) -> None:
    """After a restart nothing from before is remembered, also between the new record and one below it."""
    window, table = Window(100, 5), Table(200, 6)
    for seq in range(101, 300):
        window.advance(seq, seq)
    window.restart(200, 6)
    agree(window, table)
    window.fill(200 - distance, 7)
    table.fill(200 - distance, 7)
    agree(window, table)
    assert window.missing_seqs() == [*range(200 - distance + 1, 200)]


def test_absent() -> None:
    """A record can be added as ABSENT, and filled in later."""
    window = Window(100, ABSENT)
    assert window.ts_usec(100) == ABSENT
    window.fill(100, ABSENT - 1)
    assert window.ts_usec(100) == ABSENT - 1
    window.advance(101, ABSENT)
    assert (window.ts_usec(100), window.ts_usec(101)) == (ABSENT - 1, ABSENT)


def test_memory() -> None:
    """A window of two records takes less than 300 bytes, the largest less than 850."""

    def long_used() -> Window:
        window = Window(2**50, 2**60)
        for number in range(2**50 + 1, 2**50 + 1000):
            window.advance(number, 2**60)
        return window

    assert bytes_for(lambda: [Window(2**50 + number, 2**60) for number in range(100)]) < 100 * 300
    assert bytes_for(lambda: [long_used() for _ in range(10)]) < 10 * 850


_steps = st.sampled_from([1, 1, 1, 2, 3, 7, 8, 9, 30, 63, 64, 65, 200])
_timestamps = st.integers(0, 5) | st.sampled_from([ABSENT - 1, ABSENT])


@settings(max_examples=300)
@given(
    st.sampled_from(STARTS) | st.integers(0, U64_MAX),
    _timestamps,
    st.lists(st.tuples(st.sampled_from(["advance", "fill", "restart"]), _steps, _timestamps), max_size=40),
)
def test_any_sequence(start: int, ts_usec: int, operations: list[tuple[str, int, int]]) -> None:
    """After any operations, up to the highest seq, a window agrees with a dict."""
    window, table = Window(start, ts_usec), Table(start, ts_usec)
    for operation, step, value in operations:
        if operation == "restart":
            window.restart(step, value)
            table = Table(step, value)
        elif operation == "advance" and table.top + step <= U64_MAX:
            window.advance(table.top + step, value)
            table.advance(table.top + step, value)
        elif operation == "fill" and step - 1 < WINDOW and table.top >= step - 1:
            window.fill(table.top - (step - 1), value)
            table.fill(table.top - (step - 1), value)
        agree(window, table)
