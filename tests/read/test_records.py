"""Records in a file are datagrams: with values, in order, and with a time that tells a reboot from a repetition."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from netconsd.message import ExtendedMessage
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.table import SourceTable
from netconsd.read.entries import Datagram, Line
from netconsd.read.reader import reader_of
from netconsd.read.records import REMEMBERED_LIMIT, _Clock


def read(data: bytes) -> list[Datagram]:
    """The datagrams of a file that is replayed."""
    return [entry for entry in reader_of(io.BytesIO(data), year=2026, datagrams=True) if isinstance(entry, Datagram)]


def messages(data: bytes) -> list[ExtendedMessage]:
    """The messages of a file that is replayed."""
    table = SourceTable(WorkerCounters(), limit=9, reorder_time=0.2, gc_interval=0.0, age=0.0)
    found = []
    for entry in read(data):
        found += table.feed([entry.key], [entry.data], entry.time, entry.time)
    return [message for message in [*found, *table.flush()] if isinstance(message, ExtendedMessage)]


def record(seq: int, seconds: float, text: str = "a") -> bytes:
    """A record of /dev/kmsg."""
    return f"6,{seq},{round(seconds * 1e6)},-;{text}\n".encode()


def test_a_file_of_kmsg() -> None:
    """A record has its number, its level, its dictionary, its newlines and the place in the file."""
    data = (
        b"6,801,5140900,-;usb 1-1: new\n SUBSYSTEM=usb\n DEVICE=c189:1\n3,803,5141000,-,caller=T12;sd\\x0a\\xc3\\xa9\n"
    )
    first, second = messages(data)
    assert (first.seq, first.level, first.dictionary) == (801, 6, {"SUBSYSTEM": "usb", "DEVICE": "c189:1"})
    assert (second.seq, second.text, second.caller, second.missing) == (803, "sd\n\u00e9", "T12", 1)
    assert [entry.number for entry in read(data)] == [1, 4]


def test_fragments_without_newlines() -> None:
    """Fragments that nc wrote one behind the other are parted at their headers, also within a value."""
    data = b"6.1,6,416,1758426,-,ncfrag=0/26;first chunk,6.1,6,416,1758426,-,ncfrag=12/26; second\n rol"
    data = data.replace(b"0/26", b"0/28").replace(b"12/26", b"12/28") + b"6.1,6,416,1758426,-,ncfrag=24/28;e=w\n"
    (message,) = messages(data + b"6.1,6,417,1758427,-;next\n")[:1]
    assert (message.text, message.userdata, message.incomplete) == ("first chunk, second", {"role": "w"}, False)


def test_a_buffer_that_was_read_twice() -> None:
    """``cat /dev/kmsg >> log`` once an hour: the records of the second time are marked, and are no boot."""
    data = b"".join(record(seq, 10 + seq) for seq in range(100))
    found = messages(data + data + record(100, 110))
    assert [message.replayed for message in found] == [False] * 100 + [True] * 100 + [False]
    assert not any(message.boot for message in found)


def test_boots() -> None:
    """A second boot in the file is a boot, although the file has no times of day."""
    data = b"".join(record(seq, 1 + seq) for seq in range(200))
    found = messages(data + b"".join(record(seq, 0.5 + seq) for seq in range(9)))
    assert [message.seq for message in found if message.boot] == [0]
    assert not any(message.replayed for message in found)


def test_overtaken_datagrams() -> None:
    """Datagrams that overtook each other before nc wrote them are put in order."""
    found = messages(record(1, 1) + record(3, 1.002) + record(2, 1.001) + record(4, 1.003))
    assert [message.seq for message in found] == [1, 2, 3, 4]
    assert not any(message.boot or message.out_of_order for message in found)


def test_a_damaged_time() -> None:
    """A record with an impossible time does not move the clock for the records after it."""
    data = record(1, 1) + b"6,2,9999999999999999999,-;a\n" + record(3, 3)
    assert [entry.time for entry in read(data)] == [0.0, 0.0, 2.0]


def test_the_clock_is_bounded() -> None:
    """Remembered records are bounded."""
    clock = _Clock()
    for seq in range(REMEMBERED_LIMIT + 9):
        clock.advance(seq, seq)
    assert len(clock._times) == REMEMBERED_LIMIT


def test_other_files_are_text() -> None:
    """A file that begins with something else has lines, and so has one in which crashes are searched."""
    assert isinstance(next(iter(reader_of(io.BytesIO(b"x\n" + record(1, 1)), year=2026, datagrams=True))), Line)
    assert isinstance(next(iter(reader_of(io.BytesIO(record(1, 1)), year=2026))), Line)


@given(
    st.lists(
        st.sampled_from([b"6,1,2,-;", b"6,3,2,-,ncfrag=0/9;", b"\n", b" a=b", b"x", b"\xff", b"<6>[    1.000000] "])
    )
)
def test_any_bytes(parts: list[bytes]) -> None:
    """No bytes raise, and no byte of a record is lost."""
    data = b"6,0,1,-;" + b"".join(parts)
    assert sum(len(entry.data) for entry in read(data)) >= len(data.replace(b"\n", b""))
