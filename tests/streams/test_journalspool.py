"""The journal of a stream: identities, order, places and deletion, over restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.store.findings import EVENTS, REPORTS, Findings, line_of
from netconsd.store.journal import Journal, parts
from netconsd.streams.cursor import Cursor
from netconsd.streams.findingfiles import FindingSource
from netconsd.streams.journalspool import BOOTS, JOURNAL, JournalSource, next_part
from netconsd.streams.record import Record
from netconsd.streams.spool import CURSOR, Spool
from netconsd.testing import crash_report, event, extended_message, legacy_message
from tests.support.scripted_stream import messages


class Stream:
    """The writer and the reader of a journal."""

    def __init__(
        self,
        directory: Path,
        *,
        part_bytes: int = 8 << 20,
        most_bytes: int = 1 << 30,
        by_time: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self.by_time = by_time
        (directory / JOURNAL).mkdir(exist_ok=True)
        self.warnings: list[str] = []
        self.journal = Journal(
            directory / JOURNAL, 2, first_number=1, part_bytes=part_bytes, part_seconds=1e9, most_bytes=most_bytes,
            clock=clock,
        )  # fmt: skip
        self.begin()

    def begin(self) -> None:
        """Begin to read, as after a start of the process."""
        position = (Cursor(self.directory / CURSOR).load() or {}).get("messages")
        self.source = JournalSource(self.directory, position, warn=self.warnings.append, by_time=self.by_time)
        self.spool = Spool(self.directory, {"messages": self.source})

    def read(self, most: int = 1000) -> list[Record]:
        """Read records, and commit them."""
        records, position = self.spool.read(most)
        self.spool.commit(position, records)
        return records

    def names(self) -> list[str]:
        """Return the names of the journal's parts."""
        return [part.path.name for part in parts(self.directory / JOURNAL)]


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """A stream."""
    return Stream(tmp_path)


def bodies(records: list[Record]) -> list[Any]:
    """Return the messages of records."""
    return [record.body for record in records]


def test_messages_are_read_once_in_order(stream: Stream) -> None:
    """Any number is read at once; a restart continues at the cursor, also within a block."""
    given = messages(100)
    stream.journal.append(0, given[:60])
    found = bodies(stream.read(7))
    stream.begin()
    stream.journal.append(0, given[60:])
    while records := stream.read(7):
        found += bodies(records)
        stream.begin()
    assert found == given


def test_the_next_part(tmp_path: Path) -> None:
    """A part never has the number of one of which a file of the stream has a place; damaged files have none."""
    (tmp_path / JOURNAL).mkdir()
    assert next_part(tmp_path) == 1
    for text in ("{", "[]", '{"messages": null}', '{"messages": {"at": {"x": 1}}}', '{"messages": {"at": 7}}'):
        (tmp_path / CURSOR).write_text(text)
        assert next_part(tmp_path) == 1
    Cursor(tmp_path / BOOTS).save({"at": {"3": 17}, "states": []})
    assert next_part(tmp_path) == 4
    Cursor(tmp_path / CURSOR).save({"messages": {"at": {"7": [1, 0, 1], "6": [1, 0, 1]}, "finished": [6]}})
    assert next_part(tmp_path) == 8
    (tmp_path / JOURNAL / "0000000000000010-w0.journal").touch()
    assert next_part(tmp_path) == 11


def test_records_that_were_not_committed_are_read_again(stream: Stream) -> None:
    """Without a commit, a restart reads the same records, with the same identities."""
    stream.journal.append(0, messages(10))
    first, _ = stream.spool.read(5)
    stream.begin()
    assert stream.spool.read(5)[0] == first


def test_a_part_is_deleted_when_it_was_delivered(stream: Stream) -> None:
    """A part stays while it is written or has records that were not committed."""
    stream.journal.append(0, messages(10))
    stream.read()
    assert stream.names() == ["0000000000000001-w0.journal.open"]
    stream.journal.close()
    assert stream.read() == []
    assert stream.names() == []
    stream.begin()
    assert stream.read() == []
    assert stream.source.spared == 0


def test_parts_of_an_earlier_run_come_first(tmp_path: Path, stream: Stream) -> None:
    """A sender whose worker changed with a restart keeps its order."""
    stream.journal.append(1, messages(10))
    stream.journal.close()
    stream = Stream(tmp_path)
    stream.journal.append(0, messages(10, first=11))
    assert bodies(stream.read()) == messages(20)


def test_two_workers(stream: Stream) -> None:
    """The records of both workers are read, each in order."""
    for first in range(1, 41, 10):
        stream.journal.append(0, messages(10, first=first))
        stream.journal.append(1, messages(10, first=first, address="192.0.2.2"))
    found = bodies(stream.read())
    for address in ("192.0.2.1", "192.0.2.2"):
        assert [message for message in found if message.source.address == address] == messages(40, address=address)


@pytest.mark.parametrize(("size", "part_bytes"), [(1, 1), (7, 400), (1000, 8 << 20)])
def test_by_time(tmp_path: Path, size: int, part_bytes: int) -> None:
    """Blocks of two workers are read in the order of time, over parts and restarts, each once; parts are deleted."""
    stream = Stream(tmp_path, part_bytes=part_bytes, by_time=True)
    given = [messages(3, first=4, received_at=1.0)]
    stream.journal.append(1, given[0])
    stream.journal.append(0, messages(20, received_at=2.0))
    for second in range(3, 30):
        worker = second % 3 % 2
        given.append(messages(2, first=10 * second, address=f"192.0.2.{worker + 1}", received_at=float(second)))
        stream.journal.append(worker, given[-1])
    given.insert(1, messages(20, received_at=2.0))
    found = []
    while records := stream.read(size):
        found += bodies(records)
        stream.begin()
    assert found == [message for block in given for message in block]
    stream.journal.close()
    assert stream.read() == []
    assert stream.names() == []
    assert stream.warnings == []


def test_by_time_after_a_clock_was_set_back(tmp_path: Path) -> None:
    """A part that was begun at an earlier time than one of a lower number waits for that: a sender whose worker changed
    with a restart keeps its order."""
    stream = Stream(tmp_path, by_time=True)
    stream.journal.append(1, messages(10, received_at=5000.0))
    stream.journal.close()
    stream = Stream(tmp_path, by_time=True, clock=lambda: 1.0)
    stream.journal.append(0, messages(10, first=11, received_at=1000.0))
    assert [message.seq for message in bodies(stream.read())] == list(range(1, 21))


def test_by_time_after_a_clock_was_set_back_within_the_parts_of_a_worker(tmp_path: Path) -> None:
    """The same if the clock was set back between two parts of one worker, and is beyond the begin of the first one when
    the other worker begins."""
    for worker, now, sent in ((0, 1000.0, 5000.0), (0, 500.0, 500.0), (1, 1100.0, 1100.0)):
        stream = Stream(tmp_path, by_time=True, clock=lambda now=now: now)  # type: ignore[misc]
        stream.journal.append(worker, messages(3, first=round(sent), received_at=sent))
        stream.journal.close()
    assert [message.seq for message in bodies(stream.read())] == [
        *(5000, 5001, 5002, 500, 501, 502, 1100, 1101, 1102)
    ]  # fmt: skip


def test_by_time_with_parts_begun_at_once(tmp_path: Path) -> None:
    """Two workers that begin parts at the same moment take number and time in either order: that is no clock that was
    set back, and the blocks are read by time."""
    times = iter((1000.000002, 1000.000001))
    stream = Stream(tmp_path, by_time=True, clock=lambda: next(times, 1000.0))
    for second in range(6):
        stream.journal.append(second % 2, messages(1, first=second, received_at=1000.0 + second))
    assert [message.seq for message in bodies(stream.read())] == list(range(6))


def test_by_time_with_a_damaged_part(tmp_path: Path) -> None:
    """A damaged block or head ends a part as it does in the order of parts, and is reported once."""
    stream = Stream(tmp_path, by_time=True, part_bytes=1)
    for first in (1, 2):
        stream.journal.append(0, messages(1, first=first))
        stream.journal.append(1, messages(1, first=first, address="192.0.2.2"))
    stream.journal.close()
    path = parts(tmp_path / JOURNAL)[0].path
    data = bytearray(path.read_bytes())
    data[50:66] = b"\xff" * 16
    path.write_bytes(data)
    assert [(message.seq, message.source.address[-1]) for message in bodies(stream.read())] == [
        (1, "2"),
        (2, "1"),
        (2, "2"),
    ]
    assert len(stream.warnings) == 1


def test_findings_wait_for_older_messages(tmp_path: Path) -> None:
    """By time, a report is read between the messages around it, also if these are read in pieces; a report that is
    newer than all messages is read at once."""
    stream = Stream(tmp_path, by_time=True)
    findings = Findings(tmp_path, 1)
    for at in (1005.5, 1017.5):
        findings.append(0, REPORTS, at, line_of(crash_report(received_at=at)))
        findings.append(0, EVENTS, at + 0.1, line_of(event(received_at=at + 0.1)))
    for second in range(20):
        stream.journal.append(second % 2, messages(1, first=second, received_at=1000.0 + second))
    found: list[float] = []
    sizes = []
    while True:
        source = FindingSource(tmp_path, (Cursor(tmp_path / CURSOR).load() or {}).get("findings"))
        stream.begin()
        spool = Spool(tmp_path, {"findings": source, "messages": stream.source}, findings=source)
        records, position = spool.read(8)
        spool.commit(position, records)
        if not records:
            break
        found += [record.received_at for record in records]
        sizes.append((len(records), spool.full))
    assert found == sorted(found)
    assert len(found) == 24
    assert sizes == [(6, True), (8, True), (6, True), (4, False)]
    findings.append(0, REPORTS, 1030.0, line_of(crash_report(received_at=1030.0)))
    assert [record.received_at for record in spool.read(8)[0]] == [1030.0]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_findings_in_small_batches(tmp_path: Path, most: int) -> None:
    """A batch of few records has room for a report as well, while messages wait and more arrive."""
    stream = Stream(tmp_path, by_time=True)
    findings = Findings(tmp_path, 1)
    findings.append(0, REPORTS, 1000.5, line_of(crash_report(received_at=1000.5)))
    source = FindingSource(tmp_path, None)
    spool = Spool(tmp_path, {"findings": source, "messages": stream.source}, findings=source)
    found: list[Record] = []
    for second in range(6):
        stream.journal.append(0, messages(3, first=3 * second, received_at=1000.0 + second))
        records, _ = spool.read(most)
        assert len(records) <= most
        found += records
    assert [record.kind for record in found].count("report") == 1


def test_by_time_keeps_the_order_of_a_machine(tmp_path: Path) -> None:
    """Records that overtook each other on their way were put in order, and stay so, although their times are not in
    order; neither does a clock that is set back change a machine's order."""
    stream = Stream(tmp_path, by_time=True)
    source = FindingSource(tmp_path, None)
    stream.spool = Spool(tmp_path, {"findings": source, "messages": stream.source}, findings=source)
    times = ((1, 1000.0), (2, 1000.2), (3, 1000.1), (4, 1000.3), (5, 400.0), (6, 400.1))
    for seq, at in times:
        stream.journal.append(0, [extended_message("x", seq=seq, received_at=at)])
    stream.journal.append(1, [extended_message("x", seq=9, received_at=1000.25, address="192.0.2.2")])
    assert [message.seq for message in bodies(stream.read())] == [1, 2, 3, 9, 4, 5, 6]


def boots() -> list[Message]:
    """Return the messages of a machine that boots three times, one of them with the clock set back, and legacy text."""
    found: list[Message] = []
    for boot, start in enumerate((1000.0, 2000.0, 1500.0)):
        found += [
            extended_message(
                f"boot {boot} line {seq}", seq=seq, ts_usec=1_000_000 * seq, received_at=start + seq, boot=seq == 1
            )
            for seq in range(1, 9)
        ]
        found += [legacy_message(f"legacy {line}", received_at=start + 9, address="192.0.2.3") for line in range(3)]
    return found


@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_identities_are_the_same_after_a_restart(tmp_path: Path, size: int) -> None:
    """However the process is restarted and the parts are deleted, each message has the identity of one read at once."""
    whole = Stream(tmp_path)
    whole.journal.append(0, boots())
    expected = [(record.id, record.boot) for record in whole.spool.read(1000)[0]]
    assert len({name for name, _ in expected}) == len(expected)
    assert sorted({boot for _, boot in expected if boot is not None and boot > 999})[:3] == [1000, 2000, 2001]
    (tmp_path / "pieces").mkdir()
    stream = Stream(tmp_path / "pieces", part_bytes=500)
    for place in range(0, len(boots()), 5):
        stream.journal.append(0, boots()[place : place + 5])
        stream.journal.sync()
    found = []
    while records := stream.read(size):
        found += [(record.id, record.boot) for record in records]
        # Read ahead, which is lost with the process.
        stream.spool.read(3)
        stream.begin()
    assert found == expected
    assert len(stream.names()) <= 1


def test_a_removed_part_was_counted_by_the_writer(tmp_path: Path) -> None:
    """Messages of a part that the full journal removed are not read; those that were delivered before are spared."""
    stream = Stream(tmp_path, part_bytes=1000, most_bytes=5000)
    stream.journal.append(0, messages(50))
    stream.journal.sync()
    assert len(stream.read(20)) == 20
    for first in range(51, 200, 10):
        stream.journal.append(0, messages(10, first=first))
        stream.journal.sync()
    found: list[Record] = []
    while records := stream.read(10):
        found += records
    assert 20 + len(found) + stream.journal.lost[0] - stream.source.spared == 200
    # The block that was being read is delivered to its end.
    assert stream.source.spared == 50
    assert stream.source.dropped == 0


def test_a_damaged_block_is_counted(tmp_path: Path, stream: Stream) -> None:
    """The messages of a block with a wrong checksum are dropped; the blocks around it are read."""
    for first in (1, 11, 21):
        stream.journal.append(0, messages(10, first=first))
    stream.journal.close()
    path = tmp_path / JOURNAL / stream.names()[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert [message.seq for message in bodies(stream.read())] == [*range(1, 11), *range(21, 31)]
    assert stream.source.dropped == 10
    assert "checksum" in stream.warnings[0]


def test_a_file_that_is_no_part(tmp_path: Path, stream: Stream) -> None:
    """A closed part without a head is passed over, with a warning, and deleted."""
    (tmp_path / JOURNAL / "0000000000000007-w0.journal").write_bytes(b"x" * 100)
    assert stream.read() == []
    assert "it is not a part" in stream.warnings[0]
    assert stream.names() == []
