"""The compactor's memory and cost have bounds: rows, bytes and senders are counted, whatever the messages are."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.message import LegacyMessage, Message
from netconsd.store import layout
from netconsd.store.boots import Boots
from netconsd.store.columns import Columns
from netconsd.store.journal import Journal
from netconsd.store.records import Block
from netconsd.testing import extended_message, source

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store import compactor, index, segment
from netconsd.store.compactor import Compactor
from netconsd.store.patterns import patterns


def generated(seed: int, count: int) -> list[Message]:
    """Return messages of some hosts in the order of arrival, of all kinds."""
    rng = random.Random(seed)
    made: list[Message] = []
    for seq in range(count):
        at = 1e9 + 1000 * seed + seq / 10
        host = rng.randrange(7)
        if rng.random() < 0.1:
            made.append(LegacyMessage(source(f"192.0.2.{host}"), at, b"<4>[   12.345678] legacy %d\xff\n" % seq))
            continue
        fields: dict[str, Any] = {"userdata": {"role": f"r{host}"}} if rng.random() < 0.3 else {}
        message = extended_message(
            f"eth{host}: {rng.choice(('up', 'down'))} {seq}",
            seq=10_000 * seed + seq,
            ts_usec=seq * 100_000 + 1,
            level=rng.randrange(8),
            address=f"192.0.2.{host}",
            received_at=at,
            release=rng.choice((None, "6.1.0", "7.3.1")),
            **fields,
        )
        message._missing = rng.choice((0, 0, 0, 5))
        message._boot = rng.random() < 0.02
        made.append(message)
    return made


def added(messages: list[Message]) -> Columns:
    """Return columns to which messages were added."""
    block, columns = Block(), Columns()
    at = 0
    while at < len(messages):
        block.clear()
        at = block.fill(messages, at)
        columns.add(bytes(block.data[16 : block.used]))
    return columns


def stored(directory: Path, messages: list[Message], number: int) -> None:
    """Write messages into a part of the journal."""
    (directory / layout.JOURNAL).mkdir(exist_ok=True)
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=number, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
    )
    journal.append(0, messages)
    journal.close()


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_rows_in_pieces_are_the_same(rows: int) -> None:
    """However many rows are filled at a time, the table is the same, with the same boots."""
    messages = generated(1, 300)
    whole, boots = added(messages), Boots()
    whole.sort()
    boots.assign(whole)
    expected = segment.table(whole, boots).to_pylist()
    pieces, boots = added(messages), Boots()
    pieces.order()
    found = []
    while pieces.fill(rows, 1 << 30):
        assert pieces.rows <= rows
        boots.assign(pieces)
        found += segment.table(pieces, boots).to_pylist()
    assert found == expected


def test_a_row_group_has_a_bound_of_bytes() -> None:
    """A row group ends with the message that reaches the bound, of whichever kind: texts, or bytes that are kept."""
    messages: list[Message] = [extended_message("x" * 1000, seq=seq) for seq in range(20)]
    messages += [LegacyMessage(source("192.0.2.9"), 1e9, b"\xff" * 500 + b"\n") for _ in range(20)]
    columns = added(messages)
    columns.order()
    total = 0
    while columns.fill(1 << 20, 4000):
        size = len(columns.text) + sum(map(len, columns.raws.values()))
        assert size <= 4000 + 4 * 1000
        total += columns.rows
    assert total == len(messages)


def test_a_merged_index_is_the_one_of_its_rows(tmp_path: Path) -> None:
    """The sections of a merged segment, added up from those of the segments, are those made from its rows."""
    for number in range(1, 5):
        stored(tmp_path, generated(number, 200 + number), number)
        made = Compactor(tmp_path)
        made.recover()
        made.compact()
    made._to_merge = lambda: sorted(made._segments)  # type: ignore[method-assign]
    made.merge()
    [file] = layout.segment_files(tmp_path)
    found = index.read(file.index)
    (tmp_path / "again.index").write_bytes(compactor.rebuilt(file.path))
    again = index.read(tmp_path / "again.index")
    assert found.rows == 810
    assert (found.groups, found.first, found.last) == (again.groups, again.first, again.last)
    for name in ("all", "groups"):
        assert found.section(name) == again.section(name)
    for name in ("hosts", "minutes"):
        assert found.table(name).to_pylist() == again.table(name).to_pylist()  # type: ignore[union-attr]
    assert patterns([found.table("patterns")]) == patterns([again.table("patterns")])


def test_a_merge_writes_whole_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row groups of a merged segment have all rows that fit, and not more bytes than a group's bound."""
    monkeypatch.setattr(compactor, "GROUP_ROWS", 64)
    monkeypatch.setattr(compactor, "GROUP_BYTES", 4000)
    for number in range(1, 4):
        long = [extended_message("y" * 1000, seq=seq, address="192.0.2.250") for seq in range(8)]
        stored(tmp_path, [*generated(number, 100), *long], number)
        made = Compactor(tmp_path)
        made.recover()
        made.compact()
    made._to_merge = lambda: sorted(made._segments)  # type: ignore[method-assign]
    made.merge()
    [file] = layout.segment_files(tmp_path)
    groups = index.read(file.index).groups
    assert sum(groups) == 3 * 108
    assert groups[0] == 64
    opened, _ = segment.open_segment(file.path)
    with opened:
        assert [opened.metadata.row_group(group).num_rows for group in range(len(groups))] == groups
        sizes = [segment.read_group(opened, group).column("text").nbytes for group in range(len(groups))]
    assert max(sizes) <= 4000


@pytest.mark.parametrize(("rows", "senders"), [(10, 1000), (1000, 13)])
def test_a_segment_takes_no_more_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, senders: int
) -> None:
    """With enough records, the next part is left for the next segment; so is one that has too many senders."""
    monkeypatch.setattr(compactor, "SEGMENT_SENDERS", senders)
    for number in range(1, 5):
        stored(
            tmp_path,
            [extended_message("x", seq=at, address=f"192.0.{number}.{at}") for at in range(6)],
            number,
        )
    made = Compactor(tmp_path, segment_rows=rows)
    made.recover()
    while made.compact():
        pass
    assert [index.read(file.index).rows for file in layout.segment_files(tmp_path)] == [12, 12]


@pytest.mark.parametrize(
    ("rows", "merged"),
    [
        ((60, 60, 60), [60, 60, 60]),  # large: never written again
        ((30, 30, 30), [90]),  # together large
        ((30, 30), [30, 30]),  # wait for others
        ((10,) * 8, [80]),  # eight of a size
        ((40, 40, 40), [80, 40]),  # as many as have place
    ],
)
def test_what_is_merged(tmp_path: Path, rows: tuple[int, ...], merged: list[int]) -> None:
    """Segments are merged when they make a large one, or are many."""
    for number, count in enumerate(rows, 1):
        stored(tmp_path, [extended_message("x", seq=1000 * number + at) for at in range(count)], number)
        made = Compactor(tmp_path, segment_rows=100)
        made.recover()
        made.compact()
    while made.merge():
        pass
    assert sorted((found.rows for _, found in made._segments.values()), reverse=True) == merged
