"""The start of the compactor on a large store, and the numbers of parts and segments, which are never used twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netconsd.store import layout
from netconsd.store.journal import Journal, parts
from netconsd.store.retention import Limits
from netconsd.testing import extended_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store import compactor, index
from netconsd.store.compactor import Compactor


def stored(directory: Path, number: int, at: float = 1000.0, **options: Any) -> Compactor:
    """Store messages of a host as a segment with the number; return its compactor."""
    (directory / layout.JOURNAL).mkdir(exist_ok=True)
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=number, part_bytes=1 << 20, part_seconds=1e9, most_bytes=1 << 40
    )
    journal.append(0, [extended_message("x", seq=number, ts_usec=1, address=f"192.0.2.{number}", received_at=at)])
    journal.close()
    made = Compactor(directory, segment_rows=1, **options)
    made.recover()
    while made.compact():
        pass
    return made


def test_the_start_reads_no_senders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the file of states, the start reads no table of a segment; the first segment after it those of the
    newest segments, as many as the bound says."""
    for number in range(1, 7):
        stored(tmp_path, number)
    (tmp_path / layout.BOOTS).unlink()
    read: list[str] = []
    table = index.Index.table

    def counted(self: index.Index, name: str, columns: Any = None) -> Any:
        read.append(self.path.name)
        return table(self, name, columns)

    monkeypatch.setattr(index.Index, "table", counted)
    monkeypatch.setattr(compactor, "BOOTS_SEGMENTS", 2)
    made = Compactor(tmp_path)
    made.recover()
    assert made.report()["segments"] == 6
    assert read == []
    made = stored(tmp_path, 7)
    newest = [file.index.name for file in layout.segment_files(tmp_path)][:6][-2:]
    assert read == newest
    assert len(made._boots.states()) == 3


def test_deleted_numbers_are_not_used_again(tmp_path: Path) -> None:
    """The newest segment stays, whatever the limits are, so that the next number follows it."""
    for number in (1, 2, 3):
        made = stored(tmp_path, number, limits=Limits(keep=60.0), clock=lambda: 1_000_000.0)
    assert made.delete()
    assert [file.number for file in layout.segment_files(tmp_path)] == [3]
    assert layout.highest_number(tmp_path) == 3


def test_a_part_without_messages_has_used_its_number(tmp_path: Path) -> None:
    """The number of a part of which nothing could be read is not used again."""
    (tmp_path / layout.JOURNAL).mkdir()
    (tmp_path / layout.JOURNAL / "0000000000000009-w0.journal").write_bytes(b"")
    made = Compactor(tmp_path)
    made.recover()
    assert made.compact()
    assert parts(tmp_path / layout.JOURNAL) == []
    assert layout.highest_number(tmp_path) == 9


@pytest.mark.parametrize("content", [b"", b"x", b"-5", b"9" * 40])
def test_a_damaged_number_is_passed_over(tmp_path: Path, content: bytes) -> None:
    """A file that is no number counts as none."""
    (tmp_path / layout.NUMBER).write_bytes(content)
    assert layout.highest_number(tmp_path) == 0
