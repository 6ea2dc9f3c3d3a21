"""The compactor: every message is found once, whenever its process is killed or its disk is full."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.journal import Journal, parts, read
from netconsd.store.records import unpack
from netconsd.store.retention import Limits
from netconsd.testing import extended_message
from tests.support.failing_disk import FailingDisk, Killed

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store import compactor, index, segment
from netconsd.store.compactor import Compactor


def lines(count: int, *, host: int = 1, start: int = 0, at: float = 1_000_000.0) -> list[Message]:
    """Return messages of a host with the sequence numbers from ``start``."""
    return [
        extended_message(
            f"host {host} line {seq}", seq=seq, ts_usec=seq * 1000, address=f"192.0.2.{host}", received_at=at
        )
        for seq in range(start, start + count)
    ]


def fill(directory: Path, batches: list[list[Message]], first_number: int = 1) -> None:
    """Write batches into closed parts of a journal, a part for each."""
    (directory / layout.JOURNAL).mkdir(exist_ok=True)
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=first_number, part_bytes=1, part_seconds=1e9, most_bytes=1 << 40
    )
    for batch in batches:
        journal.append(0, batch)
        journal.sync()
    journal.close()


def found(directory: Path) -> list[str]:
    """Return the texts of a store as a reader finds them, sorted: of the segments that count, and of the journal."""
    files = {file.name: file for file in layout.segment_files(directory)}
    indexes = {name: index.read(file.index) for name, file in files.items()}
    replaced = {name for one in indexes.values() for name in one.about.replaces}
    done = {part for one in indexes.values() for part in one.about.parts}
    texts = []
    for name, file in files.items():
        if name in replaced:
            continue
        opened, _ = segment.open_segment(file.path)
        with opened:
            for group in range(opened.num_row_groups):
                texts += [message.text for message in segment.messages(segment.read_group(opened, group))]
    for part in parts(directory / layout.JOURNAL):
        if part.number not in done:
            texts += [message.text for _, records, _ in read(part.path) for message in unpack(records)]
    return sorted(texts)


def run(directory: Path, disk: Any = os, **options: Any) -> Compactor:
    """Recover, compact and merge until there is nothing to do."""
    made = Compactor(directory, system=disk, **options)
    made.recover()
    while made.compact() or made.merge():
        pass
    return made


def everything(batches: list[list[Message]]) -> list[str]:
    """Return the texts of batches, sorted."""
    return sorted(message.text for batch in batches for message in batch)


BATCHES = [lines(3, host=host, start=10 * number) for number in range(4) for host in (1, 2)]


def prepared(directory: Path) -> None:
    """Make a store with a segment for each of some batches, ready to be merged, and the rest in the journal."""
    for number, batch in enumerate(BATCHES[:7]):
        fill(directory, [batch], first_number=number + 1)
        made = Compactor(directory)
        made.recover()
        made.compact()
    fill(directory, BATCHES[7:], first_number=8)


def test_messages_become_a_segment(tmp_path: Path) -> None:
    """Parts become a segment, sorted by sender, with an index; they are removed; the messages are the same."""
    fill(tmp_path, BATCHES)
    made = run(tmp_path)
    assert made.stored == len(everything(BATCHES))
    assert parts(tmp_path / layout.JOURNAL) == []
    [file] = layout.segment_files(tmp_path)
    assert index.read(file.index).rows == made.stored
    assert found(tmp_path) == everything(BATCHES)


@pytest.mark.parametrize("failure", [Killed(), OSError(ENOSPC, "full")], ids=["killed", "full"])
@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_every_step_can_fail(tmp_path: Path, failure: BaseException, stride: int) -> None:
    """At each call of the system the process is killed, or the disk is full: every message is found once, then and
    after the next start, and nothing is left over."""
    ready = tmp_path / "ready"
    ready.mkdir()
    prepared(ready)
    shutil.copytree(ready, tmp_path / "counted")
    disk = FailingDisk()
    run(tmp_path / "counted", disk)
    assert disk.calls > 50
    for at in range(0, disk.calls, stride):
        directory = tmp_path / str(at)
        shutil.copytree(ready, directory)
        with suppress(Killed, OSError):
            run(directory, FailingDisk(at, failure))
        assert found(directory) == everything(BATCHES), at
        made = run(directory)
        assert found(directory) == everything(BATCHES), at
        left = [path.name for path in directory.rglob("*") if path.is_file()]
        segments = layout.segment_files(directory)
        assert len(left) == 2 * len(segments) + 1, (at, left)
        assert made.damaged == 0


def test_a_full_disk_is_tried_again(tmp_path: Path) -> None:
    """After a full disk the same compactor continues, and a message has the same boot."""
    prepared(tmp_path)
    disk = FailingDisk(4, OSError(ENOSPC, "full"))
    made = Compactor(tmp_path, system=disk)
    warned: list[str] = []
    made._warn = warned.append
    waits: Iterator[bool] = iter([True] * 40)
    times = iter(float(second) for second in range(0, 100_000, 20))
    made.run(lambda _: next(waits, False), monotonic=lambda: next(times))
    assert any("cannot write the store" in text for text in warned)
    assert found(tmp_path) == everything(BATCHES)
    assert parts(tmp_path / layout.JOURNAL) == []


def test_small_segments_are_merged(tmp_path: Path) -> None:
    """Eight small segments become one, sorted by sender and arrival, with the sums of their indexes."""
    prepared(tmp_path)
    run(tmp_path)
    [file] = layout.segment_files(tmp_path)
    opened, about = segment.open_segment(file.path)
    with opened:
        rows = segment.read_group(opened, 0)
    assert about.generation == 1
    assert rows.column("host").to_pylist() == ["192.0.2.1"] * 12 + ["192.0.2.2"] * 12
    assert rows.column("seq").to_pylist()[:12] == [10 * n + i for n in range(4) for i in range(3)]
    hosts = index.read(file.index).table("hosts")
    assert hosts is not None
    assert [(host["rows"], host["first_row"], host["seq"]) for host in hosts.to_pylist()] == [(12, 0, 32), (12, 12, 32)]


def test_past_hours_and_days_are_merged(tmp_path: Path) -> None:
    """The segments of an hour that is over become one, however few; so do those of a day."""
    day = 86400.0 * 100
    for number, at in enumerate((day, day + 60, day + 3600, day + 86400)):
        fill(tmp_path, [lines(2, at=at, start=2 * number)], first_number=number + 1)
        run(tmp_path)
    assert [file.hour for file in layout.segment_files(tmp_path)] == ["1970-04-11/00", "1970-04-12/00"]
    assert len(found(tmp_path)) == 8


@pytest.mark.parametrize("hosts", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_hosts(tmp_path: Path, hosts: int) -> None:
    """Each host has a row in the index, in the order of the segment, and its boot continues in the next segment."""
    for number in (0, 1):
        messages: list[Message] = [
            extended_message("x", seq=number, ts_usec=1 + number, address=f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}")
            for at in range(hosts)
        ]
        fill(tmp_path, [messages], first_number=1000 * number + 1)
        made = Compactor(tmp_path)
        made.recover()
        made.compact()
    for file in layout.segment_files(tmp_path):
        table = index.read(file.index).table("hosts")
        assert table is not None
        assert table.num_rows == hosts
        assert table.column("first_row").to_pylist() == list(range(hosts))
        assert set(table.column("boots").to_pylist()) == {1}
    assert len({values[0] for _, values in made._boots.states()}) == 1


def test_a_torn_part_is_read_to_its_last_block(tmp_path: Path) -> None:
    """A part that was cut in a block gives the messages before it."""
    fill(tmp_path, [lines(5)])
    path = parts(tmp_path / layout.JOURNAL)[0].path
    path.write_bytes(path.read_bytes() + b"\x10\0\0\0\1\2\3\4\5\0\0\0\0\0\0\0half")
    run(tmp_path)
    assert found(tmp_path) == everything([lines(5)])


def test_a_damaged_block_is_named_and_counted(tmp_path: Path) -> None:
    """A flipped bit in the journal costs one block: it is named and counted; the others become rows."""
    (tmp_path / layout.JOURNAL).mkdir()
    journal = Journal(
        tmp_path / layout.JOURNAL, 1, first_number=1, part_bytes=1 << 20, part_seconds=1e9, most_bytes=1 << 40
    )
    for number in range(3):
        journal.append(0, lines(2, start=10 * number))
    journal.close()
    path = parts(tmp_path / layout.JOURNAL)[0].path
    ends = [end for end, _, _ in read(path)]
    data = bytearray(path.read_bytes())
    data[ends[1] - 1] ^= 1
    path.write_bytes(data)
    warned: list[str] = []
    made = run(tmp_path, warn=warned.append)
    assert (made.stored, made.damaged) == (4, 2)
    assert path.name in warned[0] and "2 messages" in warned[0]
    assert found(tmp_path) == everything([lines(2), lines(2, start=20)])


@pytest.mark.parametrize("at", [3, 30, 40, 80, -100, -5])
def test_a_damaged_index_is_made_again(tmp_path: Path, at: int) -> None:
    """A flipped bit in an index is found, named, and the index is made again from the segment."""
    fill(tmp_path, BATCHES)
    run(tmp_path)
    [file] = layout.segment_files(tmp_path)
    whole = file.index.read_bytes()
    data = bytearray(whole)
    data[at] ^= 1
    file.index.write_bytes(data)
    warned: list[str] = []
    made = run(tmp_path, warn=warned.append)
    while made.check():
        pass
    assert [text for text in warned if file.index.name in text and "made again" in text]
    again, before = index.read(file.index), file.index.read_bytes()
    assert again.table("hosts") is not None
    assert before == whole


def test_a_missing_index_is_made_again(tmp_path: Path) -> None:
    """A segment whose index was removed gets one."""
    fill(tmp_path, BATCHES)
    run(tmp_path)
    [file] = layout.segment_files(tmp_path)
    file.index.unlink()
    run(tmp_path)
    assert index.read(file.index).rows == len(everything(BATCHES))


def test_a_damaged_segment_stays_and_is_named(tmp_path: Path) -> None:
    """A segment that was cut is named, not merged and not removed; the others are found and merged."""
    prepared(tmp_path)
    file = layout.segment_files(tmp_path)[0]
    file.path.write_bytes(file.path.read_bytes()[:-20])
    warned: list[str] = []
    run(tmp_path, warn=warned.append)
    assert [text for text in warned if file.path.name in text and "not found" in text]
    assert file.path.exists()


def test_a_flipped_bit_keeps_a_segment_from_being_merged(tmp_path: Path) -> None:
    """A segment with a wrong checksum of a page is named and stays; the others are merged without it."""
    prepared(tmp_path)
    file = layout.segment_files(tmp_path)[0]
    data = bytearray(file.path.read_bytes())
    data[len(data) // 3] ^= 1
    file.path.write_bytes(data)
    warned: list[str] = []
    run(tmp_path, warn=warned.append)
    assert [text for text in warned if file.path.name in text]
    assert file.path.exists()


def test_what_is_too_old_is_deleted(tmp_path: Path) -> None:
    """Segments beyond the age are deleted, with their indexes and days, and counted."""
    for number, at in enumerate((0.0, 86400.0 * 2)):
        fill(tmp_path, [lines(2, at=at + 1, start=10 * number)], first_number=number + 1)
        run(tmp_path)
    warned: list[str] = []
    made = Compactor(tmp_path, limits=Limits(keep=86400.0), clock=lambda: 86400.0 * 2.5, warn=warned.append)
    made.recover()
    made.delete()
    assert made.deleted == 2
    assert [file.hour for file in layout.segment_files(tmp_path)] == ["1970-01-03/00"]
    assert sorted(path.name for path in (tmp_path / layout.SEGMENTS).iterdir()) == ["1970-01-03"]
    assert "1 segment with 2 messages" in warned[-1]


@pytest.mark.parametrize("limits", [Limits(max_size=1), Limits(least_free=1 << 60)])
def test_the_newest_segment_stays(tmp_path: Path, limits: Limits) -> None:
    """Whatever the size and the free space, the newest segment is kept."""
    for number in range(3):
        fill(tmp_path, [lines(2, at=1e6 + 1e5 * number, start=10 * number)], first_number=number + 1)
        run(tmp_path)
    made = Compactor(tmp_path, limits=limits, free=lambda _: 0)
    made.recover()
    made.delete()
    assert found(tmp_path) == everything([lines(2, start=20)])


def test_boots_are_the_same_after_a_restart(tmp_path: Path) -> None:
    """A boot continues over segments and restarts of both processes, with or without the file of states; and a machine
    that booted has a new one."""
    first = extended_message("a", seq=5, ts_usec=1_000_000, received_at=1000.0)
    again = extended_message("b", seq=9, ts_usec=51_000_000, received_at=1050.0)
    later = extended_message("c", seq=1, ts_usec=1_000_000, received_at=2000.0)
    again._new = later._new = True
    for number, message in enumerate((first, again, later)):
        fill(tmp_path, [[message]], first_number=number + 1)
        if number == 1:
            (tmp_path / layout.BOOTS).unlink()
        made = Compactor(tmp_path)
        made.recover()
        made.compact()
    boots = []
    for file in layout.segment_files(tmp_path):
        opened, _ = segment.open_segment(file.path)
        with opened:
            boots += segment.read_group(opened, 0).column("boot").to_pylist()
    assert boots == [999, 999, 1999]


def test_a_damaged_file_of_states_is_passed_over(tmp_path: Path) -> None:
    """The states come from the segments if the file of states is damaged."""
    fill(tmp_path, BATCHES[:1])
    run(tmp_path)
    (tmp_path / layout.BOOTS).write_bytes(b"x")
    made = Compactor(tmp_path)
    made.recover()
    made._load_boots()
    assert len(made._boots.states()) == 1


def test_the_process_compacts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command compacts what is there, and says how much."""
    fill(tmp_path, BATCHES)
    assert compactor.main([str(tmp_path), "--once"]) == 0
    assert f'"stored": {len(everything(BATCHES))}' in capsys.readouterr().out
