"""The journal: what was appended is read back, within its bound, whatever fails."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from errno import EIO, ENOSPC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.message import LegacyDatagram, LegacyMessage, Message
from netconsd.store.journal import OPEN_SUFFIX, Journal, count, parts, read
from netconsd.store.records import BLOCK_BYTES, Block, Damaged, Foreign, unpack
from netconsd.testing import extended_message, legacy_message, source
from tests.support.messages import extended_messages, sources, times


def messages_of(directory: Path) -> list[Message]:
    """Return the messages of all parts, in order."""
    return [message for part in parts(directory) for _, records, _ in read(part.path) for message in unpack(records)]


def lines(count: int, size: int = 60) -> list[Message]:
    """Return messages with the sequence numbers from 0."""
    return [extended_message(f"{number} ".ljust(size, "."), seq=number) for number in range(count)]


class Disk:
    """The operating system, with a clock and with failures by the name of the call."""

    def __init__(self) -> None:
        self.now = 1000.0
        #: From the name of a call to what is called before it.
        self.before: dict[str, Callable[..., object]] = {}
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)

        def called(*arguments: Any) -> Any:
            self.calls.append(name)
            before = self.before.get(name)
            result = None if before is None else before(*arguments)
            return call(*arguments) if result is None else result

        return called


@pytest.fixture
def disk() -> Disk:
    """Return an operating system that can fail."""
    return Disk()


def journal(directory: Path, disk: Disk, *, worker_count: int = 1, **options: Any) -> Journal:
    """Return a journal with small parts."""
    settings = {"first_number": 1, "part_bytes": 1 << 20, "part_seconds": 60.0, "most_bytes": 1 << 30, **options}
    return Journal(directory, worker_count, system=disk, clock=disk.clock, **settings)


@given(st.lists(extended_messages() | st.builds(LegacyMessage, sources, times, st.binary(min_size=1)), max_size=5))
def test_every_message_is_read_back(messages: list[Message]) -> None:
    """A message that was packed and unpacked is equal to the original one, marks included."""
    block = Block()
    assert block.fill(messages, 0) == len(messages)
    read_back = unpack(bytes(block.data[16 : block.used]))
    assert read_back == messages
    assert [message._state() for message in read_back] == [message._state() for message in messages]


def test_legacy_marks_are_kept() -> None:
    """Format and marks of legacy messages are kept as well."""
    datagram = LegacyDatagram(source(), 5.0, b"a\nb\n")
    line = legacy_message("x")
    line._new, datagram._boot, datagram._limited = True, True, 7
    block = Block()
    block.fill([datagram, line], 0)
    one, two = unpack(bytes(block.data[16 : block.used]))
    assert (type(one), one.boot, one.new, one.limited) == (LegacyDatagram, True, False, 7)
    assert (type(two), two.boot, two.new, two.limited) == (LegacyMessage, False, True, 0)


def test_messages_of_a_sender_share_the_source() -> None:
    """A thousand messages of a sender make one Source."""
    block = Block()
    block.fill(lines(3), 0)
    assert len({id(message.source) for message in unpack(bytes(block.data[16 : block.used]))}) == 1


@pytest.mark.parametrize("at", [0, 4, 20, 36, 63])
def test_damaged_records_are_refused(at: int) -> None:
    """Records whose sizes contradict each other raise Damaged, or give other messages; nothing else is raised."""
    block = Block()
    block.fill(lines(2), 0)
    records = bytearray(block.data[16 : block.used])
    records[at] ^= 0xFF
    with suppress(Damaged):
        assert len(unpack(bytes(records))) <= 2
    with pytest.raises(Damaged):
        unpack(bytes(records[:-1]))


def test_a_large_message_has_a_block(tmp_path: Path, disk: Disk) -> None:
    """A message that is larger than a block's buffer is written; so are those before and after it."""
    messages = [*lines(3), extended_message("x" * (BLOCK_BYTES + 5)), *lines(2)]
    written = journal(tmp_path, disk, part_bytes=1 << 30)
    written.append(0, messages)
    assert messages_of(tmp_path) == messages
    written.close()


def test_what_was_appended_is_found_at_once(tmp_path: Path, disk: Disk) -> None:
    """A reader finds a message when ``append`` has returned, and only the new ones from the position it had."""
    written = journal(tmp_path, disk)
    written.append(0, lines(2))
    part = parts(tmp_path)[0]
    [(position, _, number)] = read(part.path)
    assert number == 2
    written.append(0, lines(5))
    assert [number for _, _, number in read(part.path, position)] == [5]
    written.close()


def test_parts_are_closed_by_size_and_age(tmp_path: Path, disk: Disk) -> None:
    """A part is closed when it is large or old enough, by ``sync``; each part has a new number; nothing is lost."""
    closed: list[int] = []
    written = journal(tmp_path, disk, part_bytes=1000, part_seconds=60.0, closed=lambda: closed.append(1))
    written.append(0, lines(20))
    assert [part.is_open for part in parts(tmp_path)] == [True]
    written.sync()
    assert [part.is_open for part in parts(tmp_path)] == [False]
    written.append(0, lines(2))
    disk.now += 59
    written.sync()
    assert [part.is_open for part in parts(tmp_path)] == [False, True]
    disk.now += 1
    written.sync()
    assert [part.is_open for part in parts(tmp_path)] == [False, False]
    assert len(closed) == 2
    assert [part.number for part in parts(tmp_path)] == [1, 2]
    assert messages_of(tmp_path) == lines(20) + lines(2)


def test_numbers_are_never_used_again(tmp_path: Path, disk: Disk) -> None:
    """A number is greater than those of the parts that are there, and than those that became segments."""
    written = journal(tmp_path, disk, first_number=7)
    written.append(0, lines(1))
    written.close()
    assert [part.number for part in parts(tmp_path)] == [7]
    again = journal(tmp_path, disk, first_number=3)
    again.append(0, lines(1))
    again.close()
    assert [part.number for part in parts(tmp_path)] == [7, 8]


def test_a_sync_follows_what_was_written(tmp_path: Path, disk: Disk) -> None:
    """``sync`` syncs each part with new messages once, and the directory for a new part; ``append`` syncs nothing."""
    written = journal(tmp_path, disk, worker_count=2)
    written.append(0, lines(1))
    written.append(1, lines(1))
    assert not {"fdatasync", "fsync"} & set(disk.calls)
    written.sync()
    assert (disk.calls.count("fdatasync"), disk.calls.count("fsync")) == (2, 2)
    written.sync()
    written.append(1, lines(1))
    written.sync()
    assert (disk.calls.count("fdatasync"), disk.calls.count("fsync")) == (3, 2)
    written.close()


def test_a_hanging_sync_does_not_delay_messages(tmp_path: Path, disk: Disk) -> None:
    """While the disk does not answer, messages are appended, and parts begun."""
    hanging, go_on = threading.Event(), threading.Event()

    def hang(_: int) -> None:
        hanging.set()
        assert go_on.wait(30)

    written = journal(tmp_path, disk, part_bytes=1000)
    written.append(0, lines(1))
    disk.before["fdatasync"] = hang
    thread = threading.Thread(target=written.sync)
    thread.start()
    assert hanging.wait(30)
    written.append(0, lines(40))
    written.append(0, lines(1))
    assert len(messages_of(tmp_path)) == 42
    go_on.set()
    thread.join()
    written.close()
    assert not [part for part in parts(tmp_path) if part.is_open]


def test_the_bound_removes_the_oldest(tmp_path: Path, disk: Disk) -> None:
    """Beyond the bound the oldest parts are removed, and their messages counted; the newest are there."""
    written = journal(tmp_path, disk, part_bytes=10_000, most_bytes=30_000)
    sent = lines(2000)
    for start in range(0, len(sent), 50):
        written.append(0, sent[start : start + 50])
        written.sync()
    written.close()
    kept = messages_of(tmp_path)
    assert written.size() <= 30_000 + 20_000
    assert kept == sent[-len(kept) :]
    assert written.lost == [len(sent) - len(kept)]
    assert written.removed_parts > 0


def test_a_full_disk_costs_the_oldest(tmp_path: Path, disk: Disk) -> None:
    """On a full disk the oldest part is removed, counted, and the new messages are written."""
    written = journal(tmp_path, disk, part_bytes=1000)
    written.append(0, lines(20))
    written.sync()
    failures = [OSError(ENOSPC, "full")]

    def fail_once(*_: object) -> None:
        if failures:
            raise failures.pop()

    disk.before["pwrite"] = fail_once
    written.append(0, lines(3))
    assert messages_of(tmp_path) == lines(3)
    assert written.lost == [20]
    written.close()


def test_a_full_disk_without_old_parts_costs_the_new(tmp_path: Path, disk: Disk) -> None:
    """If nothing can be removed, the new messages are lost and counted, and the caller learns why."""
    written = journal(tmp_path, disk)
    written.append(0, lines(2))

    def fail(*_: object) -> None:
        raise OSError(ENOSPC, "full")

    disk.before["pwrite"] = fail
    with pytest.raises(OSError, match="full"):
        written.append(0, lines(5))
    assert written.lost == [5]
    disk.before.clear()
    written.append(0, lines(1))
    assert messages_of(tmp_path) == lines(2) + lines(1)
    written.close()


def test_half_a_write_leaves_nothing(tmp_path: Path, disk: Disk) -> None:
    """A write of which a part was written is cut off: what follows is read."""
    written = journal(tmp_path, disk)
    written.append(0, lines(2))
    results = iter([True, False])

    def write_half(fd: int, data: memoryview, offset: int) -> int:
        if next(results):
            return os.pwrite(fd, data[: len(data) // 2], offset)
        raise OSError(EIO, "broken")

    disk.before["pwrite"] = write_half
    size = parts(tmp_path)[0].path.stat().st_size
    with pytest.raises(OSError, match="broken"):
        written.append(0, lines(5))
    assert parts(tmp_path)[0].path.stat().st_size == size
    del disk.before["pwrite"]
    written.append(0, lines(3))
    assert messages_of(tmp_path) == lines(2) + lines(3)
    written.close()


def test_short_writes_are_continued(tmp_path: Path, disk: Disk) -> None:
    """A system that writes a few bytes at a time writes all of them."""
    disk.before["pwrite"] = lambda fd, data, offset: os.pwrite(fd, data[:100], offset)
    written = journal(tmp_path, disk)
    written.append(0, lines(5))
    assert messages_of(tmp_path) == lines(5)
    written.close()


def test_a_torn_end_is_passed_over(tmp_path: Path, disk: Disk) -> None:
    """Of a part that was cut anywhere, all whole blocks are read, and nothing is raised."""
    written = journal(tmp_path, disk)
    for _ in range(3):
        written.append(0, lines(2))
    written.close()
    path = parts(tmp_path)[0].path
    whole = path.read_bytes()
    ends = [position for position, _, _ in read(path)]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert count(path) == 2 * sum(end <= size for end in ends)
        list(read(path))


def test_a_torn_last_block_is_passed_over(tmp_path: Path, disk: Disk) -> None:
    """A last block whose pages did not all reach the disk is passed over like one that is too short."""
    written = journal(tmp_path, disk)
    written.append(0, lines(2))
    written.append(0, lines(2))
    written.close()
    path = parts(tmp_path)[0].path
    data = bytearray(path.read_bytes())
    data[-10:] = bytes(10)
    path.write_bytes(data)
    assert count(path) == 2


def test_damage_in_the_middle_is_named(tmp_path: Path, disk: Disk) -> None:
    """A flipped bit in a block that others follow raises Damaged, with the place; the blocks before it were read."""
    written = journal(tmp_path, disk)
    for _ in range(3):
        written.append(0, lines(2))
    written.close()
    path = parts(tmp_path)[0].path
    first, second, _ = [position for position, _, _ in read(path)]
    data = bytearray(path.read_bytes())
    data[second - 1] ^= 1
    path.write_bytes(data)
    blocks = read(path)
    assert next(blocks)[0] == first
    with pytest.raises(Damaged, match=f"block at {first} "):
        next(blocks)


def test_foreign_files_are_refused_or_passed_over(tmp_path: Path) -> None:
    """Other files in the directory are no parts; a part of another version is refused in words."""
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / f"x-w1.journal{OPEN_SUFFIX}").write_text("x")
    assert parts(tmp_path) == []
    path = tmp_path / "0000000000000001-w0.journal"
    path.write_bytes(b"netconsd journal 2\n".ljust(100))
    with pytest.raises(Foreign, match="version 1"):
        list(read(path))


def test_a_failing_sync_is_reported_and_closes_the_others(tmp_path: Path, disk: Disk) -> None:
    """A disk that fails to sync one worker's part does not keep the other's from being synced and closed."""
    written = journal(tmp_path, disk, worker_count=2)
    written.append(0, lines(1))
    written.append(1, lines(1))
    failures = [OSError(EIO, "broken")]

    def fail_once(_: int) -> None:
        if failures:
            raise failures.pop()

    disk.before["fdatasync"] = fail_once
    with pytest.raises(OSError, match="broken"):
        written.close()
    assert [part.is_open for part in parts(tmp_path)] == [False, False]
