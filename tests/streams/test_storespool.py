"""A stream of a store: each message is read once, wherever the compactor moves it, and whatever ends the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.streams.delivery import Limits
from netconsd.streams.findingfiles import FindingSource
from netconsd.streams.process import Task, spool_of
from netconsd.streams.record import Record
from netconsd.testing import event, extended_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store.compactor import Compactor
from netconsd.store.findings import EVENTS, Findings, line_of
from netconsd.store.reader import Store
from netconsd.streams.storespool import ROUND_SECONDS

T0 = 1_795_859_200.0


class Rig:
    """A store that is written, and a stream that reads it; the time is that of the last message."""

    def __init__(self, directory: Path) -> None:
        self.store, self.stream = directory / "store", directory / "stream"
        (self.store / layout.JOURNAL).mkdir(parents=True)
        self.stream.mkdir()
        self._journal = Journal(
            self.store / layout.JOURNAL, 1, first_number=1, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
        )
        self.number = 0
        self.warnings: list[str] = []
        self.options: dict[str, Any] = {}
        self.idle = 0.0
        #: The number at which the stream was started first.
        self.begun = 0

    def write(self, count: int, **fields: Any) -> None:
        """Append messages with the next numbers, a second apart."""
        self.append([
            extended_message(
                f"n {number}", address=f"192.0.2.{number % 3}", received_at=T0 + number, seq=number, **fields
            )
            for number in range(self.number, self.number + count)
        ])  # fmt: skip
        self.number += count

    def append(self, messages: list[Message]) -> None:
        """Append messages."""
        self._journal.append(0, messages)

    def compact(self) -> None:
        """Make segments of all messages, and merge them."""
        for each in self._journal._writers:
            each.sync(end=True)
        compactor = Compactor(self.store)
        compactor.recover()
        while compactor.compact():
            pass
        names = [file.name for file in layout.segment_files(self.store)]
        compactor._to_merge = lambda: names if len(names) > 1 else []  # type: ignore[method-assign]
        compactor.merge()

    def begin(self) -> None:
        """Start the stream, as after its process was killed."""
        task = Task(
            "", "", {}, str(self.stream), str(self.store), T0 + self.begun, ["messages", "events"], 0, Limits(),
            **self.options,
        )  # fmt: skip
        self.spool, _ = spool_of(task, self.warnings.append, lambda: T0 + self.number + self.idle)

    def read(self, most: int = 1000, *, commit: bool = True) -> list[Record]:
        """Read records, and commit them."""
        records, position = self.spool.read(most)
        if commit:
            self.spool.commit(position, records)
        return records


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A store with messages in a segment and in the journal, and a stream that was started then."""
    rig = Rig(tmp_path)
    rig.write(10)
    rig.compact()
    rig.write(10)
    # A minute later.
    rig.number = rig.begun = 200
    rig.begin()
    return rig


def texts(records: list[Record]) -> list[str]:
    """Return the texts of records."""
    return [record.text for record in records]


def numbered(first: int, end: int) -> list[str]:
    """Return the texts of messages by their numbers."""
    return [f"n {number}" for number in range(first, end)]


def nothing(rig: Rig) -> None:
    """Leave the store as it is."""


@pytest.mark.parametrize("between", [nothing, Rig.compact])
def test_new_messages_are_read_once(rig: Rig, between: Callable[[Rig], None]) -> None:
    """The stream begins with new messages, and has each once, with the identity that it has in the store."""
    found: list[Record] = []
    for _ in range(5):
        rig.write(7)
        between(rig)
        found += rig.read(5)
        found += rig.read()
    assert texts(found) == numbered(200, 235)
    assert rig.read() == []
    ids = {stored.id for stored in Store(rig.store).messages()}
    assert {record.id for record in found} < ids


@pytest.mark.parametrize("between", [nothing, Rig.compact])
def test_what_was_written_while_the_process_was_down(rig: Rig, between: Callable[[Rig], None]) -> None:
    """After a restart, the messages from the cursor on are found in the segments and the journal, each once."""
    rig.write(10)
    found = texts(rig.read())
    for _ in range(3):
        rig.write(100)
        between(rig)
        rig.write(100)
        rig.begin()
        rig.write(1)
        while records := rig.read(30):
            found += texts(records)
    assert found == numbered(200, rig.number)


def test_records_that_were_not_committed_are_read_again(rig: Rig) -> None:
    """A kill between reading and delivery loses nothing; those that were committed do not come again."""
    rig.write(50)
    assert texts(rig.read(20)) == numbered(200, 220)
    assert texts(rig.read(20, commit=False)) == numbered(220, 240)
    rig.begin()
    assert texts(rig.read()) == numbered(220, 250)


def test_an_outage_of_hours(rig: Rig) -> None:
    """A stream that did not read for long finds all messages in the segments; a table is in memory at a time."""
    rig.write(10)
    found = texts(rig.read(5))
    for _ in range(4):
        rig.write(3000)
        rig.compact()
    rig.idle = 2 * ROUND_SECONDS
    most = 0
    while records := rig.read(100):
        found += texts(records)
        most = max(most, len(rig.spool._sources["messages"]._rest))  # type: ignore[attr-defined]
    assert found == numbered(200, rig.number)
    assert most < 3000


def test_a_message_that_was_late(rig: Rig) -> None:
    """A message that was held for its order is read after newer ones, also if the process is restarted meanwhile."""
    rig.write(30)
    late = extended_message("late", address="192.0.2.9", received_at=T0 + rig.number - 20.0, seq=7)
    found = texts(rig.read())
    rig.append([late])
    rig.begin()
    assert found == numbered(200, 230)
    assert texts(rig.read()) == ["late"]


def test_only_what_is_wanted(tmp_path: Path) -> None:
    """Level, hosts and patterns select; the cursor moves over the others as well."""
    rig = Rig(tmp_path)
    rig.options = {"level": "warn", "hosts": ["192.0.2.1"], "drop": "n 1$"}
    rig.begin()
    rig.write(6, level=3)
    rig.write(6, level=6)
    Findings(rig.store, 1).append(0, EVENTS, T0, line_of(event(address="192.0.2.1", received_at=T0)))
    Findings(rig.store, 1).append(0, EVENTS, T0, line_of(event(address="192.0.2.2", received_at=T0)))
    assert texts(rig.read()) == ["rebooted; nothing announced it", "n 4"]
    rig.begin()
    assert rig.read() == []


def test_another_store_is_no_place(rig: Rig, tmp_path: Path) -> None:
    """A cursor of another store is not used, and a warning says so."""
    rig.write(10)
    rig.read(5)
    other = Rig(tmp_path / "other")
    other.stream = rig.stream
    other.write(5)
    other.begin()
    assert "the setting store was changed" in other.warnings[0]
    assert texts(other.read()) == numbered(0, 5)


def test_a_damaged_cursor(rig: Rig) -> None:
    """The stream continues at the time at which the cursor was written, with a warning."""
    (rig.stream / "cursor").write_text("{")
    rig.begin()
    assert "is damaged" in rig.warnings[0]


def test_a_store_that_does_not_exist_yet(tmp_path: Path) -> None:
    """The store can be made later: until then the error is that of a missing file."""
    rig = Rig(tmp_path)
    (rig.store / layout.JOURNAL).rmdir()
    rig.begin()
    with pytest.raises(FileNotFoundError):
        rig.read()
    (rig.store / layout.JOURNAL).mkdir()
    rig.write(3)
    assert texts(rig.read()) == numbered(0, 3)


def test_findings_of_a_store_are_left_there(rig: Rig) -> None:
    """A stream deletes nothing of a store."""
    source = rig.spool._sources["findings"]
    assert isinstance(source, FindingSource)
    assert not source._deletes
