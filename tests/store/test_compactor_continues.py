"""After an error of the disk the same compactor continues: no message is in two segments, and none is lost."""

from __future__ import annotations

import shutil
from contextlib import suppress
from errno import EIO
from pathlib import Path
from typing import Any

import pytest

from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.store.records import Damaged
from netconsd.testing import extended_message
from tests.support.failing_disk import FailingDisk

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store.compactor import Compactor
from netconsd.store.query import Files, Query, Search


def fill(directory: Path, first: int, batches: int) -> None:
    """Write some parts of the journal with three messages each, whose texts are unique."""
    (directory / layout.JOURNAL).mkdir(exist_ok=True)
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=first, part_bytes=1, part_seconds=1e9, most_bytes=1 << 40
    )
    for number in range(first, first + batches):
        journal.append(0, [extended_message(f"{number}.{at}", seq=3 * number + at) for at in range(3)])
        journal.sync()
    journal.close()


def texts(directory: Path) -> list[str]:
    """Return the texts that a reader finds."""
    return sorted(text for rows in Search(Files(directory), Query()) for text in rows.column("text").to_pylist())


def written(batches: int) -> list[str]:
    """Return the texts of the first batches."""
    return sorted(f"{number}.{at}" for number in range(1, batches + 1) for at in range(3))


def a_store(directory: Path) -> None:
    """Make a store with seven segments and one more part: after its segment, all are merged."""
    directory.mkdir()
    for number in range(1, 8):
        fill(directory, number, 1)
        made = Compactor(directory)
        made.recover()
        made.compact()
    fill(directory, 8, 1)


def work(made: Compactor) -> None:
    """Compact and merge until there is nothing to do."""
    while made.compact() or made.merge():
        pass


class StaysFull(FailingDisk):
    """A disk whose calls all fail, from one on, until ``works`` is set."""

    works = False

    def __getattr__(self, name: str) -> Any:
        if not self.works and self.calls > self.at >= 0:
            self.at = self.calls
        return super().__getattr__(name)


@pytest.mark.parametrize("kind", [FailingDisk, StaysFull])
@pytest.mark.parametrize(
    "names", [("rename", "fsync", "unlink"), pytest.param((), marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_after_an_error_at_each_call(tmp_path: Path, kind: type[FailingDisk], names: tuple[str, ...]) -> None:
    """Each call fails once, or all from it on; more messages come before the compactor tries again: each message is
    found once, at each time, and no file is left over."""
    a_store(tmp_path / "ready")
    shutil.copytree(tmp_path / "ready", tmp_path / "all")
    counted = FailingDisk()
    made = Compactor(tmp_path / "all", system=counted)
    made.recover()
    before = counted.calls
    work(made)
    assert {"rename", "unlink", "fsync"} <= set(counted.names[before:])
    steps = list(range(before, counted.calls))
    if names:
        # Up to the removal of the first merged segment; the others are alike.
        steps = [at for at in steps if at < counted.names.index("rmdir") and counted.names[at] in names]
    for at in steps:
        directory = tmp_path / f"{kind.__name__}{at}"
        shutil.copytree(tmp_path / "ready", directory)
        disk = kind(at, OSError(EIO, "the disk fails"))
        made = Compactor(directory, system=disk)
        made.recover()
        for number in (9, 10):
            with suppress(OSError):
                work(made)
            assert texts(directory) == written(number - 1), disk.step
            fill(directory, number, 1)
        disk.works = True  # type: ignore[attr-defined]
        work(made)
        assert texts(directory) == written(10), disk.step
        files = [path for path in directory.rglob("*") if path.is_file()]
        assert len(files) == 2 * len(layout.segment_files(directory)) + 1, disk.step


def test_a_part_of_another_version_is_kept(tmp_path: Path) -> None:
    """A part that another version wrote is renamed and named, not removed; the others become a segment, and no number
    is used twice."""
    fill(tmp_path, 1, 3)
    last = tmp_path / layout.JOURNAL / "0000000000000003-w0.journal"
    content = b"netconsd journal 2\n" + last.read_bytes()[19:]
    last.write_bytes(content)
    warnings: list[str] = []
    made = Compactor(tmp_path, warn=warnings.append)
    made.recover()
    work(made)
    assert texts(tmp_path) == written(2)
    [kept] = (tmp_path / layout.JOURNAL).iterdir()
    assert kept.name == last.name + ".foreign"
    assert kept.read_bytes() == content
    [warning] = warnings
    assert warning.startswith(f"{last}: ")
    assert kept.name in warning
    assert layout.deleted_number(tmp_path) == 3
    # Alone in the journal as well.
    kept.rename(last)
    assert not made.compact()
    assert kept.exists()


def test_a_segment_that_somebody_removed(tmp_path: Path) -> None:
    """A segment whose files were removed by hand is forgotten, and the others are merged."""
    a_store(tmp_path / "store")
    made = Compactor(tmp_path / "store")
    made.recover()
    gone = layout.segment_files(tmp_path / "store")[2]
    gone.path.unlink()
    gone.index.unlink()
    waits = iter([True] * 8)
    made.run(lambda _: next(waits, False))
    assert texts(tmp_path / "store") == [text for text in written(8) if not text.startswith("3.")]
    made.compact()
    assert not made.failing
    fill(tmp_path / "store", 9, 1)
    work(made)
    assert len(layout.segment_files(tmp_path / "store")) == 1


def test_segments_that_are_whole_and_cannot_be_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are tried once, not in a loop without a pause."""
    a_store(tmp_path / "store")
    warned: list[str] = []
    made = Compactor(tmp_path / "store", warn=warned.append)
    made.recover()
    made.compact()

    def contradictory(*_: Any) -> Any:
        raise Damaged("they contradict each other")

    monkeypatch.setattr("netconsd.store.compactor.merged", contradictory)
    assert made.merge()
    assert not made.merge()
    assert len(warned) == 1
    assert texts(tmp_path / "store") == written(8)
