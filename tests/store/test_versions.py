"""A store of the previous version of the schema is read, continued and merged; one of a later version is left alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.store.records import Damaged
from netconsd.testing import extended_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
import pyarrow as pa
import pyarrow.parquet as pq

from netconsd.store import compactor, segment
from netconsd.store.compactor import Compactor
from netconsd.store.reader import Store

MESSAGES = [extended_message(f"line {seq}", seq=seq, caller="T1", received_at=1e6 + seq) for seq in range(20)]
for _message in MESSAGES[::2]:
    # No UTF-8: a column that version 1 added has the bytes.
    _message._caller = b"T\xff1"


def stored(directory: Path, messages: Sequence[Message], number: int) -> layout.SegmentFile:
    """Make a segment of messages, and return it."""
    (directory / layout.JOURNAL).mkdir(exist_ok=True)
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=number, part_bytes=1 << 20, part_seconds=1e9, most_bytes=1 << 40
    )
    journal.append(0, list(messages))
    journal.close()
    made = Compactor(directory)
    made.recover()
    made.compact()
    return layout.segment_files(directory)[-1]


def as_version(file: layout.SegmentFile, version: int, without: set[str]) -> None:
    """Write a segment again as one of another version, which does not have some columns."""
    table = pq.read_table(file.path)
    about = json.loads(table.schema.metadata[b"netconsd"])
    kept = table.select([name for name in table.column_names if name not in without])
    metadata = {b"netconsd": json.dumps({**about, "version": version}).encode()}
    with pq.ParquetWriter(file.path, kept.schema.with_metadata(metadata), write_page_checksum=True) as writer:
        writer.write_table(pa.Table.from_arrays(kept.columns, schema=kept.schema.with_metadata(metadata)))
    file.index.write_bytes(compactor.rebuilt(file.path))


def texts(directory: Path) -> list[str]:
    """Return the texts of a store in the order of time."""
    return [found.message.text for found in Store(directory).messages()]


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """Return a store of the previous version."""
    file = stored(tmp_path, MESSAGES[:10], 1)
    as_version(file, segment.SCHEMA_VERSION - 1, set(segment.ADDED[segment.SCHEMA_VERSION]))
    return tmp_path


def test_each_version_is_described() -> None:
    """Each version after the first has added columns, which are nullable."""
    assert set(segment.ADDED) == set(range(segment.OLDEST_VERSION + 1, segment.SCHEMA_VERSION + 1))
    for names in segment.ADDED.values():
        assert names and all(segment.SCHEMA.field(name).nullable for name in names)


def test_the_previous_version_is_read(previous: Path) -> None:
    """All messages are found, what the version did not have is null, and the conditions of searches work."""
    assert texts(previous) == [message.text for message in MESSAGES[:10]]
    store = Store(previous)
    assert [found.message.text for found in store.messages(grep="line 7")] == ["line 7"]
    found = [found.message.caller for found in store.messages()]
    # The bytes of a caller that is no UTF-8 are not known; its text is.
    assert found == [message.caller for message in MESSAGES[:10]]


def test_versions_are_merged(previous: Path) -> None:
    """Segments of both versions become one of this version, and nothing is lost or doubled."""
    stored(previous, MESSAGES[10:], 2)
    # The hour before is over.
    stored(previous, [extended_message("later", seq=1, received_at=2e6)], 3)
    made = Compactor(previous)
    made.recover()
    assert made.merge()
    found = []
    for file in layout.segment_files(previous):
        opened, about = segment.open_segment(file.path)
        opened.close()
        found.append((about.generation, about.version))
    assert sorted(found) == [(0, segment.SCHEMA_VERSION), (1, segment.SCHEMA_VERSION)]
    assert texts(previous) == [*(message.text for message in MESSAGES), "later"]


@pytest.mark.parametrize("missing", ["text", "caller_bytes"])
def test_a_column_of_the_version_must_be_there(tmp_path: Path, missing: str) -> None:
    """A segment of this version without one of its columns is damaged, and named."""
    file = stored(tmp_path, MESSAGES, 1)
    with pytest.raises(Damaged, match=f'"{missing}", which are missing'):
        as_version(file, segment.SCHEMA_VERSION, {missing})


def test_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """A segment of a later netconsd is named, neither merged nor removed, and the others are found."""
    file = stored(tmp_path, MESSAGES[:10], 1)
    stored(tmp_path, MESSAGES[10:], 2)
    table = pq.read_table(file.path)
    about = json.loads(table.schema.metadata[b"netconsd"])
    later = {b"netconsd": json.dumps({**about, "version": segment.SCHEMA_VERSION + 1}).encode()}
    pq.write_table(table.replace_schema_metadata(later), file.path)
    warned: list[str] = []
    made: Any = Compactor(tmp_path, warn=warned.append)
    made.recover()
    while made.merge():
        pass
    assert [text for text in warned if file.path.name in text and "its version is 2" in text]
    assert file.path.exists()
    assert texts(tmp_path) == [message.text for message in MESSAGES[10:]]
