"""What the compactor deletes, counts and says: by age, size and free space, whatever the clock and the disk do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netconsd.store import layout
from netconsd.store.findings import EVENTS, Findings, day_files
from netconsd.store.journal import Journal
from netconsd.store.retention import Limits
from netconsd.testing import extended_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store.compactor import DELETE_SECONDS, STEADY_SECONDS, Compactor

DAY = 86400.0
#: More than a segment of a message and its index have.
LARGE = 1 << 20


def stored(directory: Path, number: int, at: float) -> layout.SegmentFile:
    """Make a segment of a message received at a time, and return it."""
    (directory / layout.JOURNAL).mkdir(exist_ok=True)
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=number, part_bytes=1 << 20, part_seconds=1e9, most_bytes=1 << 40
    )
    journal.append(0, [extended_message(f"number {number}", seq=number, received_at=at)])
    journal.close()
    made = Compactor(directory)
    made.recover()
    made.compact()
    return next(file for file in layout.segment_files(directory) if file.number == number)


def deleted(directory: Path, **options: Any) -> tuple[Compactor, list[str]]:
    """Run a new compactor's deletion; return it with its texts."""
    warned: list[str] = []
    made = Compactor(directory, warn=warned.append, **{"clock": lambda: 10 * DAY, **options})
    made.recover()
    made.delete()
    return made, warned


def numbers(directory: Path) -> list[int]:
    """Return the numbers of the segments that are there."""
    return [file.number for file in layout.segment_files(directory)]


def total(directory: Path) -> int:
    """Return the bytes of the segments."""
    return sum(path.stat().st_size for path in (directory / layout.SEGMENTS).rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store with a segment of each of five days."""
    for number in range(1, 6):
        stored(tmp_path, number, number * DAY)
    return tmp_path


def test_a_smaller_size_at_the_next_start(store: Path) -> None:
    """A store that is larger than the new ``max_size`` becomes smaller at the first deletion, and counts it."""
    made, warned = deleted(store, limits=Limits(max_size=total(store) // 2))
    assert numbers(store) == [4, 5]
    assert made.deleted == 3
    assert made.bytes == total(store)
    assert warned == ["deleted 3 segments with 3 messages, because of max_size"]


def test_free_space_is_guarded(store: Path) -> None:
    """While less is free than ``least_free``, the oldest segments go, as many as are needed."""
    each = total(store) // 5
    made, warned = deleted(store, limits=Limits(least_free=LARGE), free=lambda _: LARGE - each // 2)
    assert numbers(store) == [2, 3, 4, 5]
    assert warned == ["deleted 1 segment with 1 message, because of least_free"]
    assert made.deleted == 1


def test_segments_from_the_future_do_not_stay_for_ever(tmp_path: Path) -> None:
    """Those that were written while the clock was ahead are deleted with the next ones that were not."""
    stored(tmp_path, 1, 1000 * DAY)
    for number in (2, 3, 4):
        stored(tmp_path, number, number * DAY)
    deleted(tmp_path, limits=Limits(keep=7.5 * DAY))
    assert numbers(tmp_path) == [3, 4]


def test_a_clock_that_is_set_far_ahead_deletes_nothing(store: Path) -> None:
    """Messages are deleted for their age when the clock has had no step for an hour, and not before: somebody sets it
    right meanwhile."""
    second, clock, left = 0.0, 6.25 * DAY, dict[float, list[int]]()

    def wait(_: float) -> bool:
        nonlocal second, clock
        left[second] = numbers(store)
        second += DELETE_SECONDS
        clock += DELETE_SECONDS
        if second == 3 * STEADY_SECONDS:
            clock += 10_000 * DAY
        if second == 4 * STEADY_SECONDS - DELETE_SECONDS:
            clock -= 10_000 * DAY
        return second < 9 * STEADY_SECONDS

    made = Compactor(store, limits=Limits(keep=4.75 * DAY), clock=lambda: clock)
    made.run(wait, monotonic=lambda: second)
    assert left[STEADY_SECONDS - DELETE_SECONDS] == [1, 2, 3, 4, 5]
    assert left[2 * STEADY_SECONDS] == left[5 * STEADY_SECONDS - 3 * DELETE_SECONDS] == [2, 3, 4, 5]
    assert made.deleted == 1
    clock += 3 * DAY
    made.delete()
    assert numbers(store) == [5]


def test_a_damaged_segment_is_deleted_in_its_turn(store: Path) -> None:
    """A segment that cannot be read is counted in the size, and deleted by the hour in its name."""
    file = layout.segment_files(store)[1]
    file.path.write_bytes(b"damaged")
    file.index.write_bytes(b"damaged")
    made, _ = deleted(store, limits=Limits(keep=7.5 * DAY))
    assert numbers(store) == [3, 4, 5]
    assert made.deleted == 1, "its messages are not known"
    assert not file.index.exists()


def test_reports_and_events_follow_the_messages(store: Path) -> None:
    """Days of reports and events before all messages are deleted when room is needed; with the age, those beyond it."""

    def fill() -> None:
        findings = Findings(store, 1)
        for day in range(10):
            findings.append(0, EVENTS, day * DAY, b"{}")
        findings.close()

    fill()
    _, warned = deleted(store, limits=Limits(max_size=total(store) // 2))
    assert numbers(store) == [4, 5]
    assert [path.stem[-2:] for path in day_files(store, EVENTS)] == ["05", "06", "07", "08", "09", "10"]
    assert warned[-1] == "deleted 4 files of reports and events of days before 1970-01-05"
    deleted(store, limits=Limits(keep=2.5 * DAY))
    assert [path.stem[-2:] for path in day_files(store, EVENTS)] == ["08", "09", "10"]


def test_reports_and_events_are_in_the_size(store: Path) -> None:
    """Their bytes count for ``max_size``."""
    size = total(store)
    findings = Findings(store, 1)
    findings.append(0, EVENTS, 9 * DAY, b"x" * size)
    findings.close()
    deleted(store, limits=Limits(max_size=2 * size))
    assert numbers(store) == [2, 3, 4, 5]


def test_the_numbers_for_the_module(store: Path) -> None:
    """The report has the segments, the bytes of all files, and the oldest message; and the error of a full disk until a
    step succeeds, which is said once."""
    warned: list[str] = []
    made = Compactor(store, warn=warned.append, clock=lambda: 10 * DAY)
    times = iter(number * DELETE_SECONDS for number in range(100))
    failures: list[OSError] = [OSError(28, "No space left on device")] * 3
    reports: list[dict[str, object]] = []
    delete = made.delete

    def failing(**_: Any) -> bool:
        if failures:
            raise failures.pop()
        return delete()

    made.delete = failing  # type: ignore[method-assign]

    def wait(seconds: float) -> bool:
        reports.append(made.report())
        return len(reports) < 8

    made.run(wait, monotonic=lambda: next(times))
    assert [bool(report["failing"]) for report in reports].count(True) in (2, 3)
    assert len(warned) == 1 and "No space left" in warned[0]
    assert reports[-1] == {
        "stored": 0,
        "damaged": 0,
        "deleted": 0,
        "segments": len(numbers(store)),
        "bytes": total(store),
        "oldest": DAY,
        "failing": "",
    }
