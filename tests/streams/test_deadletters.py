"""Refused records are in a file of JSON lines, which has a bound and survives torn lines."""

from __future__ import annotations

import json
from pathlib import Path

from netconsd.store.findings import report_of
from netconsd.streams.deadletters import ANSWER_LIMIT, DeadLetters
from netconsd.streams.record import Record
from netconsd.testing import crash_report, extended_message

RECORD = Record(extended_message("x", seq=7), "192.0.2.1/1/7", 1)


def test_a_long_answer_is_cut(tmp_path: Path) -> None:
    """Of a server's page, the beginning is kept, in one line."""
    letters = DeadLetters(tmp_path / "dead", 1 << 20)
    assert letters.write(RECORD, "<html>\n" + "x" * 100_000, 1.0)
    line = (tmp_path / "dead").read_bytes()
    assert line.count(b"\n") == 1
    assert len(json.loads(line)["answer"]) == ANSWER_LIMIT


def test_a_report_has_its_messages(tmp_path: Path) -> None:
    """A report can be made again from its dead letter."""
    report = crash_report()
    DeadLetters(tmp_path / "dead", 1 << 20).write(Record(report, "i"), "bad", 1.0)
    record = json.loads((tmp_path / "dead").read_bytes())["record"]
    assert report_of(json.dumps(record).encode()) == report


def test_a_torn_line_stays_alone(tmp_path: Path) -> None:
    """After a crash of the machine, the next letter begins a line."""
    (tmp_path / "dead").write_bytes(b'{"torn')
    DeadLetters(tmp_path / "dead", 1 << 20).write(RECORD, "bad", 1.0)
    torn, line = (tmp_path / "dead").read_bytes().splitlines()
    assert torn == b'{"torn'
    assert json.loads(line)["id"] == RECORD.id


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """A letter that cannot be written is dropped, and the next one is tried."""
    (tmp_path / "dead").mkdir()
    letters = DeadLetters(tmp_path / "dead", 1 << 20)
    assert not letters.write(RECORD, "bad", 1.0)
    assert letters.full
    (tmp_path / "dead").rmdir()
    assert letters.write(RECORD, "bad", 1.0)
    assert not letters.full


def test_the_bound(tmp_path: Path) -> None:
    """The file never exceeds its size."""
    letters = DeadLetters(tmp_path / "dead", 3000)
    assert not all(letters.write(RECORD, "bad", 1.0) for _ in range(10))
    assert 2000 < (tmp_path / "dead").stat().st_size <= 3000
