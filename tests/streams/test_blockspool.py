"""The journal of a stream as blocks: what is sent, with which identity, over restarts and damage."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.store.journal import Journal, parts
from netconsd.streams.blocks import unpack
from netconsd.streams.blockspool import RECEIVER, BlockSpool, Packed
from netconsd.streams.cursor import Cursor
from netconsd.streams.journalspool import JOURNAL, JournalSource
from netconsd.streams.lines import partition_of
from netconsd.streams.record import Record
from netconsd.streams.sink import TryLater
from netconsd.streams.spool import CURSOR, Spool
from netconsd.testing import extended_message
from tests.support.scripted_stream import messages

SHAPE = (4, 100_000)


class Stream:
    """The writer of a journal, and the reader of its blocks."""

    def __init__(self, directory: Path, *, part_bytes: int = 8 << 20, most_bytes: int = 1 << 30) -> None:
        self.directory = directory
        (directory / JOURNAL).mkdir(exist_ok=True)
        self.warnings: list[str] = []
        self.shape = SHAPE
        self.wall = 1_000.0
        self.name = "hall-a"
        self.journal = Journal(
            directory / JOURNAL, 2, first_number=1, part_bytes=part_bytes, part_seconds=1e9, most_bytes=most_bytes
        )
        self.begin()

    def begin(self, most_bytes: int = 1 << 20) -> None:
        """Begin to read, as after a start of the process."""
        position = Cursor(self.directory / CURSOR).load()
        self.spool = BlockSpool(
            self.directory, position, lambda: self.shape, most_bytes, self.warnings.append, self.name,
            wall=lambda: self.wall,
        )  # fmt: skip

    def read(self) -> list[Packed]:
        """Read a batch, and do not commit it."""
        blocks, self.position = self.spool.read(1)
        return packed(blocks)

    def commit(self, blocks: list[Packed]) -> list[Packed]:
        """Commit what was read last."""
        self.spool.commit(self.position, blocks)
        return blocks

    def names(self) -> list[str]:
        """Return the names of the journal's parts."""
        return [part.path.name for part in parts(self.directory / JOURNAL)]


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """A stream."""
    return Stream(tmp_path)


def packed(records: list[Record]) -> list[Packed]:
    """Return records, which are blocks."""
    return [record for record in records if isinstance(record, Packed)]


def bodies(blocks: list[Packed]) -> list[Message]:
    """Return the messages of blocks."""
    return [message for block in blocks for message in unpack(block.data)[1]]


def fleet(count: int, first: int = 0) -> list[Message]:
    """Return messages of seven machines in turn."""
    return [extended_message(f"line {n}", seq=n, address=f"192.0.2.{n % 7}") for n in range(first, first + count)]


def by_host(given: list[Message]) -> dict[str, list[Message]]:
    """Return messages by their machine, in order."""
    found: dict[str, list[Message]] = defaultdict(list)
    for message in given:
        found[message.source.address].append(message)
    return dict(found)


def test_messages_are_read_once_in_order(stream: Stream) -> None:
    """A machine's messages are in the blocks of its partition, in order; a restart continues at the cursor."""
    given = fleet(300)
    blocks: list[Packed] = []
    for at in range(0, 300, 50):
        stream.journal.append(0, given[at : at + 30])
        stream.journal.append(0, given[at + 30 : at + 50])
        blocks += stream.commit(stream.read())
        stream.begin()
    assert by_host(bodies(blocks)) == by_host(given)
    assert sum(block.count for block in blocks) == 300
    for block in blocks:
        hosts = {message.source.address for message in bodies([block])}
        assert {partition_of(host, SHAPE[0]) for host in hosts} == {block.partition}
    assert stream.read() == []


def test_the_head_and_the_record_agree(stream: Stream) -> None:
    """The identity of a block is in its head; its time and machine are those of its first message."""
    stream.journal.append(0, fleet(20))
    for number, block in enumerate(stream.read()):
        head, found = unpack(block.data)
        assert block.id == f"{head.receiver.hex()}/{head.run}/{head.number}"
        assert (head.number, head.count, block.body) == (number, block.count, found[0])


def test_blocks_that_may_have_been_sent_are_made_again(stream: Stream) -> None:
    """Killed between sending and the cursor, the process makes the same blocks, although more messages are there and
    the broker has other limits now; the next blocks have a greater run."""
    stream.journal.append(0, fleet(100))
    first = stream.read()
    stream.journal.append(0, fleet(50, 100))
    stream.shape = (9, 5000)
    stream.wall += 5
    stream.begin()
    again = stream.commit(stream.read())
    assert [block.data for block in again] == [block.data for block in first]
    rest = stream.commit(stream.read())
    assert by_host(bodies(again + rest)) == by_host(fleet(150))
    assert unpack(rest[0].data)[0].run > unpack(first[0].data)[0].run
    assert stream.read() == []


@pytest.mark.parametrize("shape", [(3, 1 << 20), (1, 700)])
def test_made_again_with_another_name(stream: Stream, shape: tuple[int, int]) -> None:
    """The blocks that may have been sent have the name of that time, and so the same messages in each; those after
    them, and the halves of a refused one, have the new name."""
    stream.shape = shape
    stream.journal.append(0, fleet(20))
    sent = stream.read()
    assert {unpack(block.data)[0].name for block in sent} == {"hall-a"}
    stream.name = "a-much-longer-name-than-before"
    stream.begin()
    assert stream.read() == sent
    stream.commit(sent)
    stream.journal.append(0, [extended_message("one"), extended_message("two")])
    (block,) = stream.read()
    assert unpack(block.data)[0].name == stream.name
    for half in packed(stream.spool.halves(block)):
        assert unpack(half.data)[0].name == stream.name


def test_a_batch_of_several_parts_is_made_again(tmp_path: Path) -> None:
    """So it is with the parts of several workers, and with a place within a part."""
    stream = Stream(tmp_path, part_bytes=3000)
    given = fleet(100)
    stream.journal.append(0, given[:10])
    stream.commit(stream.read())
    for at in range(10, 100, 10):
        stream.journal.append(0 if at < 50 else 1, given[at : at + 10])
    first = stream.read()
    stream.begin()
    again = stream.commit(stream.read())
    assert [block.data for block in again] == [block.data for block in first]
    assert sum(block.count for block in again) == 90


@pytest.mark.parametrize("wall", [1_000.0, 500.0])
def test_runs_are_never_used_again(stream: Stream, wall: float) -> None:
    """After the cursor was lost with the last second, as in a crash of the machine, and with a clock that was set back,
    other blocks have other identities."""
    stream.journal.append(0, fleet(10))
    seen = {block.id for block in stream.commit(stream.read())}
    saved = (stream.directory / CURSOR).read_bytes()
    stream.journal.append(0, fleet(10, 10))
    seen |= {block.id for block in stream.commit(stream.read())}
    stream.journal.append(0, fleet(10, 20))
    (stream.directory / CURSOR).write_bytes(saved)
    stream.wall = wall
    stream.begin()
    assert seen.isdisjoint({block.id for block in stream.read()})


def test_a_batch_that_cannot_be_read_again(stream: Stream) -> None:
    """If a part of the batch has gone, the rest has other numbers: the same ones are for the same bytes."""
    stream.journal.append(0, fleet(50))
    stream.journal.append(1, fleet(50, 50))
    seen = {block.id for block in stream.read()}
    parts(stream.directory / JOURNAL)[0].path.unlink()
    stream.begin()
    again = stream.read()
    assert by_host(bodies(again)) == by_host(fleet(50, 50))
    assert seen.isdisjoint({block.id for block in again})


def test_a_batch_is_bounded(stream: Stream) -> None:
    """A batch has the blocks of the journal up to the bound, and at least one; ``full`` says that there is more."""
    for at in range(0, 100, 10):
        stream.journal.append(0, fleet(10, at))
    stream.begin(most_bytes=1)
    for at in range(0, 100, 10):
        assert by_host(bodies(stream.commit(stream.read()))) == by_host(fleet(10, at))
        assert stream.spool.full
    assert (stream.read(), stream.spool.full) == ([], False)


def test_blocks_are_bounded(stream: Stream) -> None:
    """A block has at most the broker's bytes; a message that is larger is alone."""
    stream.shape = (1, 2000)
    given = fleet(50)
    given[20] = extended_message("x" * 3000, seq=20, address="192.0.2.6")
    stream.journal.append(0, given)
    blocks = stream.read()
    assert by_host(bodies(blocks)) == by_host(given)
    assert [block.count for block in blocks if len(block.data) > 2000] == [1]
    assert len(blocks) > 3


def test_delivered_parts_are_deleted(tmp_path: Path) -> None:
    """A part goes when it is closed and delivered, not before."""
    stream = Stream(tmp_path, part_bytes=2000)
    stream.journal.append(0, fleet(30))
    stream.journal.append(0, fleet(10, 30))
    blocks = stream.read()
    stream.journal.sync()
    assert len(stream.names()) == 2
    stream.commit(blocks)
    stream.read()
    stream.commit([])
    assert stream.names() == ["0000000000000002-w0.journal.open"]
    stream.journal.close()
    stream.read()
    stream.commit([])
    assert stream.names() == []
    stream.begin()
    assert stream.read() == []


def test_parts_that_the_writer_removed(tmp_path: Path) -> None:
    """Messages of a part that a full journal removed were counted as lost; those that were sent before are spared."""
    stream = Stream(tmp_path, part_bytes=1000, most_bytes=4000)
    stream.journal.append(0, fleet(20))
    sent = stream.commit(stream.read())
    for at in range(20, 200, 20):
        stream.journal.append(0, fleet(20, at))
        stream.journal.sync()
    while blocks := stream.commit(stream.read()):
        sent += blocks
    assert stream.spool.spared == 20
    assert sum(block.count for block in sent) + stream.journal.lost[0] - stream.spool.spared == 200


def test_a_damaged_block_is_counted(stream: Stream) -> None:
    """A block of the journal whose checksum is wrong is counted and named; the others are sent."""
    for at in range(0, 30, 10):
        stream.journal.append(0, fleet(10, at))
    path = parts(stream.directory / JOURNAL)[0].path
    data = bytearray(path.read_bytes())
    data[data.index(b"line 15")] ^= 1
    path.write_bytes(data)
    assert by_host(bodies(stream.read())) == by_host(fleet(10) + fleet(10, 20))
    assert stream.spool.dropped == 10
    assert "checksum" in stream.warnings[0]


def test_the_broker_does_not_answer(stream: Stream) -> None:
    """Without the broker's number of partitions nothing is read, and nothing is lost."""
    stream.journal.append(0, fleet(10))

    def away() -> tuple[int, int]:
        raise TryLater("away")

    stream.spool = BlockSpool(stream.directory, None, away, 1 << 20)
    for _ in range(2):
        with pytest.raises(TryLater):
            stream.read()
    stream.begin()
    assert by_host(bodies(stream.read())) == by_host(fleet(10))


def test_the_broker_is_not_asked_without_messages(tmp_path: Path) -> None:
    """If nothing is to be sent, a broker that is away is not asked, and no fault."""
    (tmp_path / JOURNAL).mkdir()

    def away() -> tuple[int, int]:
        raise TryLater("away")

    assert BlockSpool(tmp_path, None, away, 1 << 20).read(1)[0] == []


def test_a_full_disk(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the cursor cannot be written, blocks are sent nevertheless."""
    stream.journal.append(0, fleet(10))

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Cursor, "save", full)
    assert by_host(bodies(stream.read())) == by_host(fleet(10))


def test_halves(stream: Stream) -> None:
    """A block that a server refuses has two halves with numbers of their own; one message has none."""
    stream.shape = (1, 100_000)
    stream.journal.append(0, fleet(5))
    (block,) = stream.read()
    halves = packed(stream.spool.halves(block))
    assert [half.count for half in halves] == [2, 3]
    assert bodies(halves) == fleet(5)
    assert [unpack(each.data)[0].number for each in [block, *halves]] == [0, 1, 2]
    (one, _) = packed(stream.spool.halves(halves[0]))
    assert stream.spool.halves(one) == []
    assert one.to_json() == Record(fleet(1)[0], "").to_json()


def test_the_receiver_keeps_its_id(stream: Stream) -> None:
    """The id survives restarts; a damaged file is named, and makes a new receiver."""
    before = stream.spool.receiver
    stream.begin()
    assert (stream.spool.receiver, stream.warnings) == (before, [])
    (stream.directory / RECEIVER).write_text("{}")
    stream.begin()
    assert stream.spool.receiver != before
    assert RECEIVER in stream.warnings[0]


def test_the_format_can_be_changed(tmp_path: Path) -> None:
    """Records that were not sent one by one are sent as blocks, also those of the rest of a block; and back."""
    stream = Stream(tmp_path)
    given = messages(40)
    stream.journal.append(0, given[:10])

    def one_by_one(most: int) -> list[Message]:
        position = (Cursor(tmp_path / CURSOR).load() or {}).get("messages")
        spool = Spool(tmp_path, {"messages": JournalSource(tmp_path, position)})
        records, place = spool.read(most)
        spool.commit(place, records)
        return [record.body for record in records if isinstance(record.body, Message)]

    found = one_by_one(7)
    stream.begin()
    stream.journal.append(0, given[10:30])
    found += bodies(stream.commit(stream.read()))
    stream.journal.append(0, given[30:])
    found += one_by_one(100)
    assert by_host(found) == by_host(given)
    assert len(found) == 40


def test_a_closed_part_that_is_renamed_meanwhile(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is closed between the listing and its reading is read next time, before the parts after it."""
    stream.journal.append(0, fleet(10))
    found = parts(stream.directory / JOURNAL)
    os.rename(found[0].path, str(found[0].path).removesuffix(".open"))
    monkeypatch.setattr("netconsd.store.journal.parts", lambda directory: found)
    assert (stream.read(), stream.spool.full) == ([], True)
    monkeypatch.undo()
    assert by_host(bodies(stream.read())) == by_host(fleet(10))
