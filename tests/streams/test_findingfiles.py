"""Reports and events are read from the files of days, once each."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.store.findings import EVENTS, REPORTS, Findings, line_of
from netconsd.streams import findingfiles
from netconsd.streams.findingfiles import FindingSource
from netconsd.streams.spool import Spool
from netconsd.testing import crash_report, event

DAY = 86_400.0
NOW = 20_000 * DAY + 100


@pytest.fixture
def findings(tmp_path: Path) -> Findings:
    """The files of a directory."""
    return Findings(tmp_path, 1)


def add(findings: Findings, *times: float) -> None:
    """Write an event for each time, and a report for the first."""
    findings.append(0, REPORTS, times[0], line_of(crash_report(received_at=times[0])))
    for at in times:
        findings.append(0, EVENTS, at, line_of(event(received_at=at)))


def test_each_is_read_once(tmp_path: Path, findings: Findings) -> None:
    """A source continues at its place, in any pieces."""
    add(findings, NOW - DAY, NOW, NOW + 1)
    found = []
    position = None
    while True:
        source = FindingSource(tmp_path, position, deletes=True, clock=lambda: NOW)
        records = source.read(1)
        if not records:
            break
        found += records
        position = source.position()
    assert [record.body for record in found] == [
        crash_report(received_at=NOW - DAY),
        *(event(received_at=at) for at in (NOW - DAY, NOW, NOW + 1)),
    ]
    assert len({record.id for record in found}) == 4


def test_large_reports_are_read_in_pieces(tmp_path: Path, findings: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read has a bounded number of bytes, and says that there is more: the stream does not wait before the next."""
    monkeypatch.setattr(findingfiles, "READ_BYTES", 1000)
    for second in range(20):
        findings.append(0, REPORTS, NOW, line_of(crash_report(received_at=NOW + second)))
    source = FindingSource(tmp_path, None)
    spool = Spool(tmp_path, {"findings": source})
    sizes = []
    while True:
        records, _ = spool.read(100)
        if not records:
            break
        sizes.append(len(records))
        assert spool.full or sum(sizes) == 20
    assert sizes == [1] * 20
    assert not spool.full


def test_of_a_store_only_new_ones_are_read(tmp_path: Path, findings: Findings) -> None:
    """A stream of a store begins with the start of the daemon, also after a restart of its process."""
    add(findings, NOW - 3 * DAY, NOW - 1, NOW)
    source = FindingSource(tmp_path, None, since=NOW)
    assert [record.kind for record in source.read(10)] == ["event"]
    add(findings, NOW - 2)
    source = FindingSource(tmp_path, source.position(), since=NOW + 9)
    assert source.read(10) == []
    add(findings, NOW + 1)
    assert len(source.read(10)) == 2


def test_only_the_kinds_that_are_wanted(tmp_path: Path, findings: Findings) -> None:
    """With the kind of events, no report is read."""
    add(findings, NOW)
    source = FindingSource(tmp_path, None, kinds=[EVENTS], deletes=True)
    assert [record.kind for record in source.read(10)] == ["event"]


def test_delivered_files_of_old_days_are_deleted(tmp_path: Path, findings: Findings) -> None:
    """The stream's own files are deleted after their day, when they were delivered; those of a store never."""
    add(findings, NOW - 3 * DAY, NOW)
    for deletes, left in ((False, 3), (True, 1)):
        source = FindingSource(tmp_path, None, deletes=deletes, clock=lambda: NOW)
        findings.append(0, EVENTS, NOW - 3 * DAY, line_of(event(received_at=NOW - 3 * DAY)))
        source.read(2)
        source.committed(source.position(), [])
        assert len(list(tmp_path.rglob("*.jsonl"))) == (2 if deletes else 3)
        source.read(10)
        source.committed(source.position(), [])
        assert len(list(tmp_path.rglob("*.jsonl"))) == left


def test_damaged_lines(tmp_path: Path, findings: Findings) -> None:
    """A damaged line is counted and passed over; one that is being written is read when it is whole."""
    add(findings, NOW)
    path = next((tmp_path / EVENTS).iterdir())
    line = path.read_bytes()
    path.write_bytes(b'{"torn\n\n' + line + line[:20])
    source = FindingSource(tmp_path, None, kinds=[EVENTS])
    assert len(source.read(10)) == 1
    assert source.dropped == 1
    path.write_bytes(b'{"torn\n\n' + line + line)
    assert len(source.read(10)) == 1
