"""Which records were delivered lately: a ring of stamps that does what a plain table would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.window import ABSENT, WINDOW, Window
from tests.support.memory import bytes_for
from tests.support.strategies import examples

U64_MAX = 2**64 - 1
STARTS = [0, 1, 7, 8, 63, 64, 416, 2**32 - 1, 2**63, U64_MAX - 1000, U64_MAX - 64, U64_MAX - 8]


class Table:
    """What a window promises, by the simplest means."""

    def __init__(self, seq: int, stamp: int) -> None:
        self.top = seq
        self.stamps = {seq: stamp}

    def ts_usec(self, seq: int) -> int:
        """As :meth:`netconsd.protocol.window.Window.ts_usec`."""
        return self.stamps.get(seq, ABSENT) if self.top - seq < WINDOW else ABSENT

    def advance(self, seq: int, stamp: int) -> None:
        """As :meth:`netconsd.protocol.window.Window.advance`."""
        self.top = seq
        self.stamps[seq] = stamp

    def fill(self, seq: int, stamp: int) -> None:
        """As :meth:`netconsd.protocol.window.Window.fill`."""
        self.stamps[seq] = stamp


def agree(window: Window, table: Table) -> None:
    """Both say the same about every number that matters."""
    assert window.top == table.top
    lowest = max(0, table.top - 2 * WINDOW)
    numbers = [0, lowest // 2, *range(lowest, table.top + 1)]
    assert [window.ts_usec(seq) for seq in numbers] == [table.ts_usec(seq) for seq in numbers]


@pytest.mark.parametrize("start", STARTS)
def test_first_record(start: int) -> None:
    """A new window knows one record, and no other."""
    window = Window(start, 5)
    agree(window, Table(start, 5))
    assert window.ts_usec(start) == 5


@pytest.mark.parametrize("start", STARTS[:-2])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 8, 9])
def test_steady_sender(start: int, step: int) -> None:
    """A sender that goes on in equal steps has its last 64 numbers remembered."""
    window, table = Window(start, 0), Table(start, 0)
    for number in range(1, 100):
        window.advance(start + number * step, number)
        table.advance(start + number * step, number)
        agree(window, table)


@pytest.mark.parametrize("jump", [1, 6, 7, 8, 9, 15, 16, 31, 32, 33, 62, 63, 64, 65, 127, 128, 1000, 2**32, 2**63])
def test_jump(jump: int) -> None:
    """After a jump, what stays within the window is still known, and the numbers passed over are not."""
    for filled in (0, 5, 70):
        window, table = Window(100, 0), Table(100, 0)
        for number in range(101, 101 + filled):
            window.advance(number, number)
            table.advance(number, number)
        window.advance(100 + filled + jump, 1)
        table.advance(100 + filled + jump, 1)
        agree(window, table)


def test_largest_jump() -> None:
    """From the lowest to the highest number there is, and no further."""
    window, table = Window(0, 0), Table(0, 0)
    window.advance(U64_MAX, 1)
    table.advance(U64_MAX, 1)
    agree(window, table)


@pytest.mark.parametrize("distance", range(WINDOW))
def test_fill(distance: int) -> None:
    """A record up to 63 numbers below the top, also below the first one, can be filled in; others are untouched."""
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
    """The number 63 below the top is remembered, that 64 below is not."""
    window = Window(100, 5)
    window.advance(100 + WINDOW - 1, 6)
    assert window.ts_usec(100) == 5
    window.advance(100 + WINDOW, 7)
    assert window.ts_usec(100) == ABSENT


def test_absent() -> None:
    """A record can be known to be absent, and be filled in later."""
    window = Window(100, ABSENT)
    assert window.ts_usec(100) == ABSENT
    window.fill(100, ABSENT - 1)
    assert window.ts_usec(100) == ABSENT - 1
    window.advance(101, ABSENT)
    assert (window.ts_usec(100), window.ts_usec(101)) == (ABSENT - 1, ABSENT)


def test_memory() -> None:
    """A window of a sender's second message takes some 250 bytes, and the largest 512 for the stamps more."""

    def long_used() -> Window:
        window = Window(2**50, 2**60)
        for number in range(2**50 + 1, 2**50 + 1000):
            window.advance(number, 2**60)
        return window

    assert bytes_for(lambda: [Window(2**50 + number, 2**60) for number in range(100)]) < 100 * 300
    assert bytes_for(lambda: [long_used() for _ in range(10)]) < 10 * 850


_steps = st.sampled_from([1, 1, 1, 2, 3, 7, 8, 9, 30, 63, 64, 65, 200])
_stamps = st.integers(0, 5) | st.sampled_from([ABSENT - 1, ABSENT])


@examples(300)
@given(
    st.sampled_from(STARTS) | st.integers(0, U64_MAX),
    _stamps,
    st.lists(st.tuples(st.booleans(), _steps, _stamps), max_size=40),
)
def test_any_sequence(start: int, stamp: int, operations: list[tuple[bool, int, int]]) -> None:
    """Whatever is advanced to and filled in, up to the highest number there is, a window agrees with a table."""
    window, table = Window(start, stamp), Table(start, stamp)
    for is_advance, step, value in operations:
        if is_advance and table.top + step <= U64_MAX:
            window.advance(table.top + step, value)
            table.advance(table.top + step, value)
        elif not is_advance and step - 1 < WINDOW and table.top >= step - 1:
            window.fill(table.top - (step - 1), value)
            table.fill(table.top - (step - 1), value)
        agree(window, table)
