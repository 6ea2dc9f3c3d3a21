"""Retention: the oldest segments are chosen, by the setting that demands it."""

from __future__ import annotations

import pytest

from netconsd.store.retention import Kept, Limits, to_delete

SEGMENTS = [Kept((number, 0), 100.0 * number, 10, 1) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), []),
        (Limits(keep=250.0), [(1, "keep"), (2, "keep")]),
        (Limits(keep=1.0), [(1, "keep"), (2, "keep"), (3, "keep"), (4, "keep")]),
        (Limits(max_size=35), [(1, "max_size"), (2, "max_size")]),
        (Limits(max_size=0), [(1, "max_size"), (2, "max_size"), (3, "max_size"), (4, "max_size")]),
        (Limits(least_free=115), [(1, "least_free"), (2, "least_free")]),
        (Limits(keep=350.0, max_size=35), [(1, "keep"), (2, "max_size")]),
    ],
)
def test_what_is_deleted(limits: Limits, expected: list[tuple[int, str]]) -> None:
    """The oldest are deleted until all limits are kept; the newest stays."""
    shuffled = [SEGMENTS[at] for at in (3, 0, 4, 1, 2)]
    gone = to_delete(shuffled, limits, now=510.0, size=50, free=100)
    assert [(kept.name[0], reason) for kept, reason in gone] == expected


def test_the_clock_was_set_back() -> None:
    """A segment from the future is as old as the next one; the last one, with none after it, as new as now."""
    future = Kept((0, 0), 1e12, 10, 1)
    gone = to_delete([future, *SEGMENTS], Limits(keep=100.0), now=510.0, size=60, free=0)
    assert [kept.name[0] for kept, _ in gone] == [0, 1, 2, 3, 4]
    gone = to_delete([*SEGMENTS, Kept((6, 0), 50.0, 10, 1)], Limits(keep=100.0), now=510.0, size=60, free=0)
    assert [kept.name[0] for kept, _ in gone] == [1, 2, 3, 4]
    future = Kept((9, 0), 1e12, 10, 1)
    gone = to_delete([future, *SEGMENTS], Limits(max_size=5), now=510.0, size=60, free=0)
    assert [kept.name[0] for kept, _ in gone] == [1, 2, 3, 4, 5]
