"""The messages of a fleet have a kernel's formats, and numbers per sender."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.decode import Fragment, decode
from netconsd.protocol.encode import CHUNK
from netconsd.protocol.message import ExtendedMessage, LegacyMessage
from netconsd.protocol.reassembly import Reassembly
from netconsd.protocol.table import SourceTable
from netconsd.send.fleet import FIRST_SEQ, FIRST_USEC, FORMATS, LARGEST, Fleet, Template
from netconsd.testing import legacy_message, source

ONE_PIECE = [name for name in FORMATS if name != "fragments"]
SENDER = source()


def read(pieces: list[bytes]) -> ExtendedMessage | LegacyMessage:
    """Decode the datagrams, which must be exactly one message."""
    decoded = [decode(piece, SENDER, 1.0) for piece in pieces]
    first = decoded[0]
    if isinstance(first, Fragment):
        reassembly = Reassembly(first, 0.0)
        for fragment in decoded:
            assert isinstance(fragment, Fragment)
            assert reassembly.add(fragment.offset, fragment.piece.raw)
        assert reassembly.complete
        return reassembly.message()
    assert len(decoded) == 1
    return legacy_message(pieces[0]) if first is None else first


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str) -> None:
    """A message has the seq, timestamp and fields of its format."""
    message = read(Template(name).fill(1234567, 1234567890123, 42))
    assert message.ts_usec == 1234567890123
    assert message.level == 6
    if isinstance(message, LegacyMessage):
        assert name == "legacy"
        assert message.text.startswith("1234567 netconsblaster: ")
        return
    assert message.seq == 1234567
    assert "netconsblaster: " in message.text
    assert (message.release is not None) == (name != "extended")
    assert bool(message.userdata) == (name in ("userdata", "sysdata"))
    assert message.msgid == (42 if name == "sysdata" else None)
    assert (message.taskname, message.cpu) == (("kworker/0:1", 3) if name == "sysdata" else (None, None))


@pytest.mark.parametrize("name", ONE_PIECE)
@pytest.mark.parametrize("size", [None, 160 + 100, CHUNK])
def test_size(name: str, size: int | None) -> None:
    """A message in one datagram has exactly the requested size, or its format's default size."""
    fleet = Fleet(Template(name, size), 1, 0)
    expected = [size or FORMATS[name]]
    # With sysdata the size is exact from a sender's millionth message on, because of the digits of the msgid.
    number = 1_000_000 if name == "sysdata" else 0
    assert [len(piece) for piece in fleet.message(number)[1]] == expected


@pytest.mark.parametrize("size", [CHUNK + 1, 2500, LARGEST])
def test_fragments(size: int) -> None:
    """All fragments but the last have 1000 bytes; the header and the reassembled body have the requested size."""
    pieces = Fleet(Template("fragments", size), 1, 0).message(0)[1]
    assert [len(piece) for piece in pieces[:-1]] == [CHUNK] * (len(pieces) - 1)
    header = pieces[0].partition(b",ncfrag=")[0]
    assert len(read(pieces).raw) == size - len(header) - 1
    assert len(pieces) == len(Template("fragments", size))


@pytest.mark.parametrize(
    ("name", "size", "error"),
    [
        ("xml", None, "no format 'xml'; valid are legacy, extended, release, userdata, sysdata, fragments"),
        ("extended", 26, "26 is not between 27 and 1000 bytes"),
        ("extended", CHUNK + 1, "1001 is not between 27 and 1000 bytes"),
        ("fragments", CHUNK, "1000 is not between 1001 and 65536 bytes"),
        ("fragments", LARGEST + 1, "65537 is not between"),
    ],
)
def test_invalid_template(name: str, size: int | None, error: str) -> None:
    """An unknown format and an impossible size are errors that name the valid values."""
    with pytest.raises(ValueError, match=error):
        Template(name, size)


@given(
    name=st.sampled_from([*FORMATS]),
    senders=st.integers(1, 20),
    first=st.integers(0, 2**40),
    number=st.integers(0, 10**7),
    count=st.integers(0, 30),
)
def test_batch(name: str, senders: int, first: int, number: int, count: int) -> None:
    """``batch`` and ``message`` yield the same datagrams."""
    fleet = Fleet(Template(name), senders, 5, first)
    messages = map(fleet.message, range(number, number + count))
    one_by_one = [(sender, piece) for sender, pieces in messages for piece in pieces]
    assert list(zip(*fleet.batch(number, number + count), strict=True)) == one_by_one


def test_later_run() -> None:
    """A receiver that saw an earlier run takes a later one for a reboot of each sender, and drops nothing."""
    counters = WorkerCounters()
    table = SourceTable(counters, limit=10, reorder_time=0.2, gc_interval=60.0, age=3600.0, held_limit=10**6)
    for boot_usec in (5_000_000, 7_000_000):
        senders, datagrams = Fleet(Template("extended"), 2, boot_usec).batch(0, 20)
        table.feed([source(f"127.64.0.{sender}").key for sender in senders], datagrams, 1.0, 1.0)
    assert (counters.messages, counters.dropped_duplicate, counters.resets) == (40, 0, 4)


def test_numbers_per_sender() -> None:
    """Senders take turns; each has consecutive seqs and msgids, and no timestamp repeats."""
    fleet = Fleet(Template("sysdata"), 3, 77, 1000)
    seen = defaultdict(list)
    stamps = []
    for number in range(30):
        sender, pieces = fleet.message(number)
        message = read(pieces)
        assert isinstance(message, ExtendedMessage)
        seen[sender].append((message.seq, message.msgid))
        stamps.append(message.ts_usec)
        assert fleet.is_first(number) == (message.seq == FIRST_SEQ)
    assert seen == {sender: [(FIRST_SEQ + nth, nth + 1) for nth in range(10)] for sender in (1000, 1001, 1002)}
    assert stamps == list(range(FIRST_USEC + 77, FIRST_USEC + 77 + 30))
