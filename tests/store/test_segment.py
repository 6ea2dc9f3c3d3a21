"""Segments: messages that were stored are read back equal, from files that other programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.message import LegacyDatagram, LegacyMessage, Message
from netconsd.store.boots import Boots
from netconsd.store.columns import Columns
from netconsd.store.records import Block, Damaged
from netconsd.testing import extended_message, legacy_message
from tests.support.messages import extended_messages, sources, times

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
segment = pytest.importorskip("netconsd.store.segment")


def columns_of(messages: list[Message]) -> Columns:
    """Return sorted columns of messages."""
    block, columns = Block(), Columns()
    index = 0
    while index < len(messages):
        block.clear()
        index = block.fill(messages, index)
        columns.add(bytes(block.data[16 : block.used]))
    columns.sort()
    return columns


def table_of(messages: list[Message]) -> Any:
    """Return the table of messages."""
    columns, boots = columns_of(messages), Boots()
    boots.assign(columns)
    return segment.table(columns, boots)


def written(path: Path, messages: list[Message], number: int = 7) -> Any:
    """Write a segment, and return its table."""
    table = table_of(messages)
    data, _, _ = segment.encode([table], segment.About(number, (5, 7), ((3, 1),)))
    path.write_bytes(data)
    return table


def shown(messages: list[Message]) -> list[tuple[object, ...]]:
    """Return everything of messages, with the time to the microsecond."""
    return [
        (
            type(message),
            message.source,
            round(message.received_at * 1e6),
            message._state()[2:],
            message.raw,
            message.text,
            message.level,
            message.caller,
            message.new,
            message.boot,
            message.limited,
        )
        for message in messages
    ]


@given(
    st.lists(
        extended_messages()
        | st.builds(LegacyMessage, sources, times, st.binary(min_size=1))
        | st.builds(LegacyDatagram, sources, times, st.binary(min_size=1)),
        min_size=1,
        max_size=5,
    )
)
def test_every_message_is_read_back(messages: list[Message]) -> None:
    """Messages of any bytes are equal after they were a table, sorted by sender."""
    expected = sorted(messages, key=lambda message: message.source.key)
    assert shown(segment.messages(table_of(messages))) == shown(expected)


@pytest.mark.parametrize(
    "message",
    [
        extended_message("eth0: link is down", seq=5, msgid=77, dictionary={"SUBSYSTEM": "net", "DEVICE": "n3"}),
        extended_message("a\ttab and a back\\slash", seq=5),
        extended_message("x", userdata={"role": "web", "rack": "7"}, cpu=3, taskname="kworker/3:1", msgid=0),
        extended_message("x", release="7.3.4", caller="T1", msgid=4294967295),
        legacy_message("<6>[   12.345678][   T17] usb 1-1: new device\n"),
        legacy_message("plain text\n"),
    ],
)
def test_the_bytes_of_a_kernel_are_not_kept_twice(message: Message) -> None:
    """The bytes of a message as kernels write it follow from the other columns, and are the same when read."""
    table = table_of([message])
    assert table.column("raw").null_count == 1
    assert segment.messages(table)[0].raw == message.raw


def test_some_rows_of_a_table() -> None:
    """The messages of a few rows are those of the whole table, which has more words than these rows."""
    table = table_of([extended_message("a", seq=number, userdata={"rack": str(number)}) for number in range(9)])
    whole = shown(segment.messages(table))
    assert [shown(segment.messages(table.slice(row, 1)))[0] for row in range(9)] == whole
    assert shown(segment.messages(table.slice(3, 0))) == []


def test_remembered_tails_have_a_bound() -> None:
    """The fields of short userdata are remembered, of a bounded number; long ones, which take memory, are not."""
    remembered = segment._known_tail
    remembered.cache_clear()
    short, long = ({"role": "x" * size} for size in (3, segment._TAIL_BYTES))
    for number in range(2):
        table = table_of([extended_message("a", seq=number, userdata=fields) for fields in (short, long)])
        assert table.column("userdata").to_pylist() == [json.dumps(f, separators=(",", ":")) for f in (short, long)]
        assert (remembered.cache_info().misses, remembered.cache_info().hits) == (1, number)
    assert remembered.cache_info().maxsize == segment._KNOWN_TAILS


def test_what_is_in_a_row(tmp_path: Path) -> None:
    """A row has the fields by their names, for programs that know nothing of netconsd."""
    message = extended_message(
        "eth0: down", seq=9, ts_usec=2_000_000, level=4, received_at=100.5, userdata={"role": "web"}, cpu=3, msgid=6
    )
    message._new = message._out_of_order = True
    written(tmp_path / "s.parquet", [message])
    [row] = pa.parquet.read_table(tmp_path / "s.parquet").to_pylist()
    assert (row["host"], row["text"], row["level"], row["seq"], row["boot"]) == (
        message.source.address,
        "eth0: down",
        4,
        9,
        98,
    )
    assert (row["marks"], json.loads(row["userdata"]), row["cpu"], row["msgid"]) == (
        "new,out_of_order",
        {"role": "web"},
        3,
        6,
    )
    assert row["received_at"].timestamp() == 100.5


def test_a_segment_says_what_it_was_made_from(tmp_path: Path) -> None:
    """Number, parts and replaced segments are in the metadata of the file."""
    written(tmp_path / "s.parquet", [extended_message("x")])
    file, about = segment.open_segment(tmp_path / "s.parquet")
    assert about == segment.About(7, (5, 7), ((3, 1),))
    assert len(segment.messages(segment.read_group(file, 0))) == 1


def test_flipped_bits_are_found(tmp_path: Path) -> None:
    """A flipped bit anywhere in the file raises Damaged, or is in bytes that nobody reads: never another message."""
    path = tmp_path / "s.parquet"
    messages: list[Message] = [
        extended_message(f"line {number}", seq=number, userdata={"a": "b"}) for number in range(50)
    ]
    written(path, messages)
    whole = path.read_bytes()
    _, pages_end, checksum = segment.encode([table_of(messages)], segment.About(7, (5, 7), ((3, 1),)))
    found = 0
    for at in range(0, len(whole), 13):
        data = bytearray(whole)
        data[at] ^= 0x10
        path.write_bytes(data)
        try:
            segment.check_end(path, pages_end, checksum, len(whole))
            file, _ = segment.open_segment(path)
            read = segment.messages(segment.read_group(file, 0))
        except Damaged:
            found += 1
        else:
            assert shown(read) == shown(messages)
    assert found > len(whole) // 13 * 0.7


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is not Parquet raises Damaged."""
    path = tmp_path / "s.parquet"
    path.write_bytes(content)
    with pytest.raises(Damaged):
        segment.open_segment(path)


def test_parquet_of_others_is_refused(tmp_path: Path) -> None:
    """A Parquet file without netconsd's metadata, or of a later version, is named as such."""
    path = tmp_path / "s.parquet"
    pa.parquet.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(Damaged, match="not a segment"):
        segment.open_segment(path)
    data, _, _ = segment.encode([table_of([extended_message("x")])], segment.About(1, version=99))
    path.write_bytes(data)
    with pytest.raises(Damaged, match="version is 99"):
        segment.open_segment(path)
