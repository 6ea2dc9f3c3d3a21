"""The numbers of parts and segments are the order of a sender's messages, whoever writes, is killed, or sets the clock:
boots and sums depend on it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.journal import Journal, parts
from netconsd.testing import extended_message
from tests.support.failing_disk import Killed
from tests.support.scripted_lane import PATIENCE

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from modules.store import Store as Module
from netconsd.store import Store
from netconsd.store.compactor import Compactor

BEGAN = 1_699_999_200.0


def said(host: int, seq: int, after: float, *, boot: bool = False, uptime: float | None = None) -> Message:
    """Return a message that a host sends some seconds after BEGAN, when all booted."""
    message = extended_message(
        "x",
        seq=seq,
        ts_usec=round((after if uptime is None else uptime) * 1e6),
        address=f"192.0.2.{host}",
        received_at=BEGAN + after,
    )
    message._boot = boot
    return message


def journal_of(directory: Path, number: int = 1, workers: int = 1, clock: Callable[[], float] = lambda: 0.0) -> Journal:
    """Return a journal whose parts are closed by ``close``."""
    (directory / layout.JOURNAL).mkdir(exist_ok=True, parents=True)
    return Journal(
        directory / layout.JOURNAL,
        workers,
        first_number=number,
        part_bytes=1 << 20,
        part_seconds=300.0,
        most_bytes=1 << 40,
        clock=clock,
    )


def started(directory: Path) -> Compactor:
    """Return a compactor of a new process."""
    made = Compactor(directory)
    made.recover()
    return made


def a_segment(directory: Path, number: int, messages: list[Message]) -> None:
    """Make a segment of messages."""
    journal = journal_of(directory, number)
    journal.append(0, messages)
    journal.close()
    assert started(directory).compact()


def boots_of(directory: Path) -> set[tuple[str, int]]:
    """Return the boots of each host, by its messages."""
    return {(stored.message.source.address, stored.boot) for stored in Store(directory).messages()}


def test_boots_are_counted_once_after_a_merge(tmp_path: Path) -> None:
    """A large segment lies between small ones: the boots of a host, and its last one, are the same after all merges."""
    a_segment(tmp_path, 1, [said(1, 1, 1)])
    large = [said(2, seq, 2) for seq in range(600)]
    a_segment(tmp_path, 2, [said(1, 2, 2), said(1, 0, 60, boot=True, uptime=1), *large])
    a_segment(tmp_path, 3, [said(1, 1, 70, uptime=11)])
    for number in range(4, 10):
        a_segment(tmp_path, number, [said(3, number, 100)])
    # The hour is over.
    a_segment(tmp_path, 10, [said(3, 10, 4000)])
    before = Store(tmp_path).hosts()
    made = started(tmp_path)
    while made.merge():
        pass
    assert len(layout.segment_files(tmp_path)) < 4
    assert [(host.boots, host.boot) for host in before] == [(2, BEGAN + 59), (1, BEGAN), (1, BEGAN)]
    assert Store(tmp_path).hosts() == before


@pytest.mark.parametrize("merged", [False, True])
def test_a_part_of_a_quiet_worker_that_becomes_a_segment_late(tmp_path: Path, merged: bool) -> None:
    """A worker's part is older than a segment of another worker. The compactor is killed before it has written the
    states that follow from the part: the host is nevertheless in the same boot, for it and for readers."""
    journal = journal_of(tmp_path, workers=2)
    journal.append(0, [said(1, 1, 1.0)])
    journal.append(1, [said(2, 1, 1.0)])
    with journal._writers[1]._lock:
        journal._writers[1]._end()
    journal.sync()
    assert started(tmp_path).compact()
    assert [file.number for file in layout.segment_files(tmp_path)] == [2]
    journal.close()
    killed = started(tmp_path)

    def kill(*_: Any) -> None:
        raise Killed

    killed._save_boots = kill  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        killed.compact()
    if merged:
        again = started(tmp_path)
        again._segment_rows = 2
        assert again._within(list(again._segments.values())) == [(1, 0), (2, 0)]
        again._to_merge = lambda: [(1, 0), (2, 0)]  # type: ignore[method-assign]
        assert again.merge()
    # By its own clock, the boot would be a second later.
    journal = journal_of(tmp_path, 3)
    journal.append(0, [said(1, 2, 51.5, uptime=50.0)])
    journal.close()
    same = {("192.0.2.1", BEGAN), ("192.0.2.2", BEGAN)}
    assert boots_of(tmp_path) == same
    assert started(tmp_path).compact()
    assert boots_of(tmp_path) == same


def test_a_part_is_closed_although_the_clock_was_set_back(tmp_path: Path) -> None:
    """Otherwise it would be open, and no segment, for as long as the clock was set back."""
    now = [1e9]
    journal = journal_of(tmp_path, clock=lambda: now[0])
    journal.append(0, [said(1, 1, 1.0)])
    journal.sync()
    now[0] -= 3600
    assert [part.is_open for part in parts(journal.directory)] == [True]
    journal.sync()
    assert [part.is_open for part in parts(journal.directory)] == [False]


class NoThread:
    """Replaces a thread: does nothing."""

    def __init__(self, **_: object) -> None: ...

    def start(self) -> None: ...

    def join(self, timeout: float) -> None: ...


@pytest.mark.parametrize("before", [False, True])
def test_the_compactor_of_a_killed_daemon_still_works(
    tmp_path: Path, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It turns the parts into a segment while the next daemon starts, before or after that lists the segments: the next
    part has a new number. With a used one, its messages would be taken for those of the segment, and removed."""
    journal = journal_of(tmp_path, 5)
    journal.append(0, [said(1, 1, 1.0)])
    journal.close()
    real = layout.segment_files

    def listed(directory: Path) -> list[layout.SegmentFile]:
        monkeypatch.undo()
        found = real(directory)
        started(directory).compact()
        return real(directory) if before else found

    monkeypatch.setattr(layout, "segment_files", listed)
    module = Module(directory=tmp_path)
    module.thread = NoThread
    module.start(1)
    try:
        module.handle_batch(0, [said(1, 2, 2.0)])
        assert [part.number for part in parts(tmp_path / layout.JOURNAL)] == [6]
    finally:
        module.finish()
    started(tmp_path)
    assert [stored.message.seq for stored in Store(tmp_path).messages()] == [1, 2]  # type: ignore[attr-defined]


def test_a_part_that_a_kill_left_empty(tmp_path: Path) -> None:
    """It is removed, so that it is not the oldest one for ever."""
    (tmp_path / layout.JOURNAL).mkdir()
    (tmp_path / layout.JOURNAL / f"{1:016d}-w0.journal").touch()
    made = Compactor(tmp_path)
    waits, times = iter([True] * 5), iter(range(0, 1000, 10))
    made.run(lambda _: next(waits, False), monotonic=lambda: float(next(times)))
    assert parts(tmp_path / layout.JOURNAL) == []


def test_a_power_cut_after_a_merge(tmp_path: Path) -> None:
    """The removal of a part was not synced when its segment was merged: the part is there again, and not read twice.
    The removals are synced before the merged segment no longer names the part."""

    class Disk:
        """Keeps files that are removed from the journal until its directory is synced."""

        def __init__(self) -> None:
            self.kept: list[Path] = []
            self.journals: set[int] = set()

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def open(self, path: str, flags: int, mode: int) -> int:
            fd = os.open(path, flags, mode)
            if path == str(tmp_path / layout.JOURNAL):
                self.journals.add(fd)
            return fd

        def fsync(self, fd: int) -> None:
            if fd in self.journals:
                self.kept.clear()

        def close(self, fd: int) -> None:
            self.journals.discard(fd)
            os.close(fd)

        def unlink(self, path: str) -> None:
            if path.endswith(".journal"):
                kept = tmp_path / "kept" / Path(path).name
                kept.parent.mkdir(exist_ok=True)
                shutil.copy(path, kept)
                self.kept.append(kept)
            os.unlink(path)

    disk = Disk()
    for number in range(1, 9):
        journal = journal_of(tmp_path, number)
        journal.append(0, [said(1, number, 1.0)])
        journal.close()
        made = Compactor(tmp_path, system=disk)
        made.recover()
        assert made.compact()
    assert made.merge()
    for kept in disk.kept:
        kept.rename(tmp_path / layout.JOURNAL / kept.name)
    assert len([*Store(tmp_path).messages()]) == 8


def test_the_journal_is_closed_while_a_slow_disk_syncs(tmp_path: Path) -> None:
    """The thread that syncs has not returned when the store stops: each part is closed and renamed once."""
    closed: list[int] = []
    slow, go = threading.Event(), threading.Event()

    class Disk:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def fdatasync(self, fd: int) -> None:
            slow.set()
            assert go.wait(PATIENCE)

        def close(self, fd: int) -> None:
            closed.append(fd)
            os.close(fd)

    (tmp_path / layout.JOURNAL).mkdir()
    journal = Journal(
        tmp_path / layout.JOURNAL, 1, first_number=1, part_bytes=1, part_seconds=9, most_bytes=9999, system=Disk()
    )
    journal.append(0, [said(1, 1, 1.0)])
    threads = [threading.Thread(target=call, daemon=True) for call in (journal.sync, journal.close)]
    threads[0].start()
    assert slow.wait(PATIENCE)
    threads[1].start()
    # Without the lock, the second one is in the same call now.
    threads[1].join(0.05)
    go.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(closed) == 1
