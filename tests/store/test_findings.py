"""Reports and events beside the messages: whole lines, a file for each day, within a bound."""

from __future__ import annotations

import os
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest

from netconsd.store.findings import EVENTS, MOST_WAITING, REPORTS, Findings, day_files, day_of, delete_before

DAY = 86400.0


class Disk:
    """The operating system, whose next write fails after half of it, once it is told to."""

    def __init__(self) -> None:
        self.fail = False
        self.synced: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fdatasync(self, fd: int, /) -> None:
        self.synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)

    def pwrite(self, fd: int, data: memoryview | bytes, offset: int, /) -> int:
        if self.fail:
            os.pwrite(fd, data[: len(data) // 2], offset)
            raise OSError(ENOSPC, "full")
        return os.pwrite(fd, data, offset)


def test_a_file_for_each_day(tmp_path: Path) -> None:
    """Lines of a day are in its file, also after a restart and out of order; kinds do not mix."""
    for start in (0, 1):
        findings = Findings(tmp_path, 1)
        findings.append(0, REPORTS, DAY * 2, b'{"a":%d}' % start)
        findings.append(0, REPORTS, DAY, b"{}")
        findings.append(0, EVENTS, DAY, b"[]")
        findings.sync()
        findings.close()
    assert [path.name for path in day_files(tmp_path, REPORTS)] == ["1970-01-02.jsonl", "1970-01-03.jsonl"]
    assert (tmp_path / REPORTS / "1970-01-03.jsonl").read_bytes() == b'{"a":0}\n{"a":1}\n'
    assert (tmp_path / EVENTS / "1970-01-02.jsonl").read_bytes() == b"[]\n[]\n"


def test_a_torn_line_begins_no_other(tmp_path: Path) -> None:
    """After a crash in a line, the next one is whole."""
    (tmp_path / REPORTS).mkdir()
    path = tmp_path / REPORTS / f"{day_of(0)}.jsonl"
    path.write_bytes(b'{"torn')
    findings = Findings(tmp_path, 1)
    findings.append(0, REPORTS, 0, b"{}")
    findings.close()
    assert path.read_bytes() == b'{"torn\n{}\n'


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    """A line that cannot be written leaves nothing, is counted for its worker, and raises."""
    disk = Disk()
    findings = Findings(tmp_path, 2, system=disk)
    findings.append(0, EVENTS, 0, b"{}")
    disk.fail = True
    with pytest.raises(OSError, match="full"):
        findings.append(1, EVENTS, 0, b'{"long":"line"}')
    disk.fail = False
    findings.append(0, EVENTS, 0, b"{}")
    findings.close()
    assert findings.lost == [0, 1]
    assert day_files(tmp_path, EVENTS)[0].read_bytes() == b"{}\n{}\n"


def test_a_day_has_a_bound(tmp_path: Path) -> None:
    """Lines beyond the bound of a day are dropped and counted; the next day has room."""
    findings = Findings(tmp_path, 1, day_bytes=10)
    for _ in range(5):
        findings.append(0, REPORTS, 0, b"123")
    findings.append(0, REPORTS, DAY, b"123")
    findings.close()
    assert findings.lost == [3]
    assert [path.stat().st_size for path in day_files(tmp_path, REPORTS)] == [8, 4]


def test_old_days_are_deleted(tmp_path: Path) -> None:
    """A file is deleted when its whole day is too old."""
    findings = Findings(tmp_path, 1)
    for day in range(4):
        findings.append(0, EVENTS, DAY * day, b"{}")
    findings.close()
    assert delete_before(tmp_path, DAY * 2.5) == 2
    assert [path.stem for path in day_files(tmp_path, EVENTS)] == ["1970-01-03", "1970-01-04"]


def test_the_file_of_the_day_before_is_synced(tmp_path: Path) -> None:
    """A file that is left for another day's is synced and closed by the next sync."""
    disk = Disk()
    findings = Findings(tmp_path, 1, system=disk)
    findings.append(0, EVENTS, 0, b"{}")
    findings.append(0, EVENTS, DAY, b"{}")
    assert disk.synced == []
    findings.sync()
    assert sorted(disk.synced) == ["1970-01-01.jsonl", "1970-01-02.jsonl"]
    findings.close()


def test_days_that_change_with_each_line_open_few_files(tmp_path: Path) -> None:
    """Between two syncs at most MOST_WAITING files are open besides the current ones; each line is there."""
    findings = Findings(tmp_path, 1, system=Disk())
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3 * MOST_WAITING):
        findings.append(0, EVENTS, DAY * (number % 2), b"{}")
    assert len(os.listdir("/proc/self/fd")) - before == MOST_WAITING + 1
    findings.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert [path.stat().st_size for path in day_files(tmp_path, EVENTS)] == [3 * 3 * MOST_WAITING // 2] * 2
