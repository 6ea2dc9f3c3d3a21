"""Turns closed parts of the journal into segments, merges small segments, and deletes what is too old.

A process of its own, which the module ``store`` starts: ``python -m netconsd.store.compactor DIRECTORY``. It can be
killed at any time; the next one continues from whatever it finds.

Rules:

1. A segment is written in this order: its index, then itself, each under a name of their own, synced, renamed, and the
   directory synced. With the last rename it exists. After that the parts and segments are removed from which it was
   made; it names them, so that nobody reads them any more.
2. Therefore every message is in the journal or in one segment that counts, whenever the process is killed. At the start
   everything that the last one left is removed: unfinished files, an index without a segment, and what a segment names.
3. An index that is damaged or missing is made again. A segment that cannot be read is left where it is, and not merged.
4. Parts are taken in the order of their numbers, at most :data:`SEGMENT_BYTES`, until they have :data:`SEGMENT_ROWS`
   records; a part with which they would have more than :data:`SEGMENT_SENDERS` senders is left for the next segment, if
   it is not the first. The memory is bounded by them, and by one row group
   (:data:`~netconsd.store.segment.GROUP_BYTES`): the rows become columns one group at a time, and the file is written
   as it is made.
5. The segments of an hour are merged when :data:`MERGE_FACTOR` neighbours are of similar size, or there are enough for
   a large one; those of an hour or day that is over, all. Only neighbours are merged, so that the numbers of the
   segments are the order of a sender's messages and boots. By merging, a segment never has more than
   :data:`SEGMENT_ROWS` rows and :data:`SEGMENT_BYTES` bytes. At full load, segments are large at once, and are not
   merged.
6. At most :data:`MERGE_FACTOR` segments are merged at a time, side by side: a row group of each is in memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import select
import signal
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from errno import ENOENT
from itertools import accumulate
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    # Before the modules below make their first array.
    from netconsd.store import nopandas

    nopandas.refuse()

import pyarrow as pa
import pyarrow.parquet as pq

from netconsd.protocol.plural import plural
from netconsd.store import findings, index, journal, layout, segment
from netconsd.store.boots import Boots
from netconsd.store.columns import Columns
from netconsd.store.findings import day_of, delete_before
from netconsd.store.index import Index
from netconsd.store.layout import SegmentFile, System
from netconsd.store.lock import Lock, Locked
from netconsd.store.records import Damaged, Foreign
from netconsd.store.retention import Kept, Limits, to_delete
from netconsd.store.segment import GROUP_BYTES, GROUP_ROWS, About

#: Bytes of the journal that become one segment, and its records, of which a part more can be taken: the bounds of the
#: memory. A million messages of usual length have 150 MB.
SEGMENT_BYTES: Final = 128 << 20
SEGMENT_ROWS: Final = 1_000_000
#: Senders of a segment of several parts, and of segments that are merged: a stranger can invent them, and each takes
#: 1,000 bytes. One part of the journal has as many at most.
SEGMENT_SENDERS: Final = 130_000
#: As much, for the senders times the average record: the userdata of each is kept.
SEGMENT_SENDER_BYTES: Final = 32 << 20
#: Segments whose senders are looked at if the file ``boots`` is damaged or missing: the newest, with millions of
#: messages. A message of a sender that was silent for longer begins a boot, mostly with the same id.
BOOTS_SEGMENTS: Final = 32
#: Segments that are merged at a time: each message is written again once for each factor of it.
MERGE_FACTOR: Final = 8
#: Seconds for which closed parts wait for others, so that the parts of several workers become one segment.
GATHER_SECONDS: Final = 2.0
#: Seconds between two looks at the journal.
LOOK_SECONDS: Final = 1.0
#: Seconds between two deletions of what is too old.
DELETE_SECONDS: Final = 60.0
#: Seconds for which the clock has to go without a step before messages are deleted for their age: one that is set far
#: ahead, until somebody sets it right, must not delete everything. Also the least seconds of a step.
STEADY_SECONDS: Final = 3600.0
STEP_SECONDS: Final = 60.0
#: The same while the disk has less than ``least_free``: the journal of the daemon needs the room.
FULL_SECONDS: Final = 5.0
#: Seconds between two tries after an error, as of a full disk.
RETRY_SECONDS: Final = 10.0
#: New objects after which Python looks for cycles, of which the compactor makes hardly any: by default 700, which took
#: a twentieth of its time.
GC_OBJECTS: Final = 50_000
#: The process gives way to everything else (nice(2)).
NICENESS: Final = 10

_BOOTS_SCHEMA: Final = pa.schema(
    [
        pa.field("key", pa.binary(18)),
        *(pa.field(name, pa.uint64()) for name in ("boot", "received_at", "ts_usec", "seq", "number")),
    ]
)


_NO_LIMITS: Final = Limits()


def free_bytes(directory: Path) -> int:
    """Return the bytes of the disk that are free for this process.

    :raises OSError: if they cannot be read.
    """
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


class Compactor:
    """The segments of one store. For one thread at a time; the store's journal is written by others meanwhile."""

    def __init__(
        self,
        directory: Path,
        *,
        limits: Limits = _NO_LIMITS,
        segment_bytes: int = SEGMENT_BYTES,
        segment_rows: int = SEGMENT_ROWS,
        system: System = os,
        clock: Callable[[], float] = time.time,
        free: Callable[[Path], int] = free_bytes,
        warn: Callable[[str], object] = lambda text: None,
    ) -> None:
        """
        :param directory: exists; no other compactor has it.
        :param warn: called with a text for everything that was lost, damaged or deleted.
        """
        self.directory = directory
        #: Messages that became rows, that were in damaged blocks, and that were deleted.
        self.stored = 0
        self.damaged = 0
        self.deleted = 0
        #: Bytes of all files at the last :meth:`delete`; None before it.
        self.bytes: int | None = None
        #: The error of the disk that has stopped it, "" while there is none.
        self.failing = ""
        self._journal = directory / layout.JOURNAL
        self._limits = limits
        self._segment_bytes = segment_bytes
        self._segment_rows = segment_rows
        self._system = system
        self._clock = clock
        self._free = free
        self._warn = warn
        self._segments: dict[tuple[int, int], tuple[SegmentFile, Index]] = {}
        # Segments that cannot be read: not merged, and not named twice.
        self._unreadable: set[tuple[int, int]] = set()
        # Files that are to be removed before anything else is done: parts and segments whose messages are in a segment,
        # and a segment that was not written to its end.
        self._to_remove: list[Path] = []
        # Segments whose index was read as a whole.
        self._checked: set[tuple[int, int]] = set()
        self._boots = Boots()
        # Whether the boots have messages of a segment that was not written.
        self._stale = False

    def recover(self) -> None:
        """Continue after a process that was killed in any state (rules 2 and 3); call it before the others.

        :raises OSError: if the disk fails; it can be called again.
        """
        with suppress(FileExistsError):
            self._system.mkdir(str(self.directory / layout.SEGMENTS), layout.DIRECTORY_MODE)
        with suppress(FileExistsError):
            self._system.mkdir(str(self._journal), layout.DIRECTORY_MODE)
        self._remove_unfinished()
        self._segments.clear()
        for file in layout.segment_files(self.directory):
            found = self._index(file)
            if found is not None:
                self._segments[file.name] = file, found
        for _, found in list(self._segments.values()):
            self._remove_replaced(found.about)
        # Read when they are needed, so that the start does not wait.
        self._stale = True

    def _remove_unfinished(self) -> None:
        root = self.directory / layout.SEGMENTS
        for day in sorted(os.listdir(root)):
            if not (root / day).is_dir():
                continue
            names = set(os.listdir(root / day))
            for name in sorted(names):
                orphan = name.endswith(".index") and name.removesuffix(".index") + ".parquet" not in names
                if name.endswith(layout.UNFINISHED) or orphan:
                    self._unlink(root / day / name)
        for name in (layout.BOOTS, layout.NUMBER):
            self._unlink(self.directory / (name + layout.UNFINISHED))

    def _index(self, file: SegmentFile) -> Index | None:
        """Return the index of a segment, made again if it is damaged; None if the segment is damaged as well."""
        try:
            found = index.read(file.index)
            if found.size == _size(file.path):
                return found
            self._warn(f"{file.path}: has another size than when it was written; its index is made again")
        except FileNotFoundError:
            self._warn(f"{file.index}: is missing; it is made again")
        except Damaged as error:
            self._warn(f"{file.index}: {error}; it is made again")
        return self._make_index(file)

    def _make_index(self, file: SegmentFile) -> Index | None:
        try:
            data = rebuilt(file.path)
        except Damaged as error:
            self._warn(f"{file.path}: {error}; its messages are not found")
            self._unreadable.add(file.name)
            return None
        layout.write_file(self._system, file.index, data)
        layout.put_in_place(self._system, file.index)
        return index.read(file.index)

    def _load_boots(self) -> bool:
        """Read the states of all senders, if they are not known; return whether the file lacks those of a segment."""
        if not self._stale:
            return False
        self._boots = Boots()
        newer = load_boots(self.directory, self._boots)
        names = sorted(name for name in self._segments if newer(name[0]))
        for name in names[-BOOTS_SEGMENTS:]:
            hosts = self._segments[name][1].table("hosts")
            if hosts is not None:
                self._boots.update(index.states(hosts))
        self._stale = False
        return bool(names)

    def compact(self) -> bool:
        """Make one segment of the oldest closed parts; return false if there is none.

        :raises OSError: if the disk fails; everything is as before, and it can be called again.
        """
        self._remove()
        self._load_boots()
        taken: list[journal.Part] = []
        read: list[int] = []
        columns = Columns()
        size = 0
        for part in journal.parts(self._journal):
            if part.is_open:
                continue
            with suppress(FileNotFoundError):  # removed by the module to make room
                bytes_of = part.path.stat().st_size
                if taken and size + bytes_of > self._segment_bytes:
                    break
                mark, damaged = columns.mark(), self.damaged
                try:
                    added = self._read_part(part, columns)
                except Foreign as error:
                    self._put_aside(part, error)
                    continue
                senders = columns.sender_count
                if taken and (
                    senders > SEGMENT_SENDERS or senders * (size + bytes_of) > SEGMENT_SENDER_BYTES * columns.rows
                ):
                    columns.cut(mark)
                    self.damaged = damaged
                    break
                taken.append(part)
                size += bytes_of
                if added:
                    read.append(part.number)
                if columns.rows >= self._segment_rows:
                    break
        if not taken:
            return False
        if columns.rows:
            stored = columns.rows
            # Assigned twice, the same messages would get other boots.
            self._stale = True
            summary = index.Summary()
            tables = _tables(columns, self._boots, summary)
            self._put(tables, summary, About(max(read), tuple(read)), columns.earliest)
            self._stale = False
            self.stored += stored
        if not read:
            self._keep_number(taken[-1].number)
        # Before anything else can fail: taken again with later parts, the messages would be in two segments.
        self._to_remove += [part.path for part in taken]
        if read:
            self._save_boots(set(read))
        self._remove()
        return True

    def _read_part(self, part: journal.Part, columns: Columns) -> bool:
        """Add the records of a part; return whether it has any. What is damaged is named and counted.

        :raises Foreign: if it is not of this version.
        """

        def damaged(text: str, messages: int) -> None:
            self.damaged += messages
            self._warn(f"{part.path}: {text}; {plural(messages, 'message')} in it cannot be read")

        added = False
        try:
            for data, at, end, messages in journal.read_at_once(part.path, damaged):
                try:
                    columns.add(data, at, end)
                    added = True
                except Damaged as error:
                    damaged(str(error), messages)
        except Foreign:
            raise
        except Damaged as error:
            self._warn(f"{part.path}: {error}; what follows in it cannot be read")
        except FileNotFoundError:
            return added
        return added

    def _put_aside(self, part: journal.Part, error: Foreign) -> None:
        """Rename a part that only another netconsd can read, so that it is neither removed nor looked at again."""
        self._keep_number(part.number)
        aside = part.path.name + journal.FOREIGN_SUFFIX
        self._system.rename(str(part.path), str(part.path.with_name(aside)))
        self._warn(f"{part.path}: {error}; it is kept as {aside}, and its messages are not found")

    def _put(self, tables: Iterator[pa.Table], sums: index.Summary | index.Merged, about: About, earliest: int) -> None:
        """Write a segment and its index (rule 1).

        :param tables: its row groups, of which each is added to the sums before the next one is asked for.
        :param earliest: the time of its earliest message, in microseconds.
        """
        file = layout.segment_file(self.directory, earliest, about.number, about.generation)
        with suppress(FileExistsError):
            self._system.mkdir(str(file.path.parent), layout.DIRECTORY_MODE)
            journal.sync_directory(self._system, file.path.parent.parent)
        new = layout.NewFile(self._system, file.path)
        try:
            segment.write(new, tables, about)
            new.finish()
            size, pages_end, checksum = segment.end_of_file(new.path)
            layout.write_file(self._system, file.index, index.make(sums, about, size, pages_end, checksum))
            layout.put_in_place(self._system, file.index)
            layout.put_in_place(self._system, file.path)
        except Exception:
            new.discard()
            # The segment first: it can have its name already.
            unfinished = [Path(new.path), Path(str(file.index) + layout.UNFINISHED)]
            self._to_remove += [file.path, *unfinished, file.index]
            raise
        self._segments[file.name] = file, index.read(file.index)
        pa.default_memory_pool().release_unused()

    def merge(self) -> bool:
        """Merge some small segments (rule 5); return false if there are none to merge.

        :raises OSError: if the disk fails; everything is as before, and it can be called again.
        """
        self._remove()
        names = self._to_merge()
        if not names:
            return False
        if self._load_boots():
            # A merged segment has the number of the newest, so that the older ones would not be newer than the file.
            self._save_boots(set())
        inputs = [self._segments[name] for name in names]
        # Otherwise a part can be there again after a power cut that the new segment does not name.
        journal.sync_directory(self._system, self._journal)
        left = {part.number for part in journal.parts(self._journal)}
        parts = tuple(part for _, found in inputs for part in found.about.parts if part in left)
        generation = 1 + max(generation for _, generation in names)
        about = About(max(number for number, _ in names), parts, tuple(names), generation)
        try:
            sums = index.Merged([found for _, found in inputs])
            sources = [Rows(file.path, found) for file, found in inputs]
            with ExitStack() as stack:
                for source in sources:
                    stack.callback(source.close)
                tables = _summed(merged(sources, sums), sums)
                self._put(tables, sums, about, min(found.first for _, found in inputs))
        except Damaged as error:
            self._warn(f"a segment cannot be read, and is not merged: {error}")
            self._find_unreadable(names)
            return True
        self._remove_replaced(about)
        return True

    def _find_unreadable(self, names: Sequence[tuple[int, int]]) -> None:
        for name in names:
            file, found = self._segments[name]
            path = file.path
            try:
                _check(path, found)
            except Damaged as error:
                self._unreadable.add(name)
                self._warn(f"{path}: {error}; its messages are found as far as they are whole")
        if self._unreadable.isdisjoint(names):
            # None by itself: together they would be tried for ever.
            self._unreadable.update(names)

    def check(self) -> bool:
        """Read the index of one segment that was not read since the start, and make it again if it is damaged; return
        false if there is none.

        :raises OSError: if the disk fails.
        """
        for name, (file, found) in self._segments.items():
            if name in self._checked:
                continue
            self._checked.add(name)
            try:
                for section in found.sections:
                    found.section(section)
            except Damaged as error:
                self._warn(f"{file.index}: {error}; it is made again")
                again = self._make_index(file)
                if again is not None:
                    self._segments[name] = file, again
            return True
        return False

    def _to_merge(self) -> list[tuple[int, int]]:
        """Return the names of the segments to merge next, ascending; none if there are none (rule 5)."""
        newest = max((file.hour for file, _ in self._segments.values()), default="")
        for run in self._neighbours(len("YYYY-MM-DD/HH")):
            for first in range(len(run) - MERGE_FACTOR + 1):
                group = run[first : first + MERGE_FACTOR]
                rows = [found.rows for _, found in group]
                if max(rows) * 4 <= sum(rows) and len(chosen := self._within(group)) > 1:
                    return chosen
        for run in self._neighbours(len("YYYY-MM-DD/HH")):
            enough = sum(found.rows for _, found in run) * 4 >= self._segment_rows * 3
            if (enough or run[0][0].hour < newest) and len(chosen := self._within(run)) > 1:
                return chosen
        for run in self._neighbours(len("YYYY-MM-DD")):
            if run[0][0].hour[:-3] < newest[:-3] and len(chosen := self._within(run)) > 1:
                return chosen
        return []

    def _neighbours(self, digits: int) -> Iterator[list[tuple[SegmentFile, Index]]]:
        """Yield runs of small segments of a time, of which each follows the one before in the order of all.

        :param digits: of the hour's name that are the same.
        """
        run: list[tuple[SegmentFile, Index]] = []
        for name, (file, found) in sorted(self._segments.items()):
            small = name not in self._unreadable and found.rows * 2 <= self._segment_rows
            if run and not (small and file.hour[:digits] == run[0][0].hour[:digits]):
                yield run
                run = []
            if small:
                run.append((file, found))
        if run:
            yield run

    def _within(self, group: list[tuple[SegmentFile, Index]]) -> list[tuple[int, int]]:
        """Return the first of the segments, together within the bounds."""
        chosen, rows, size, senders = [], 0, 0, 0
        for file, found in group[:MERGE_FACTOR]:
            rows += found.rows
            size += found.size
            senders += found.senders
            if rows > self._segment_rows or size > self._segment_bytes or senders > SEGMENT_SENDERS:
                break
            chosen.append(file.name)
        return chosen

    def delete(self, *, by_age: bool = True) -> bool:
        """Delete the segments that are beyond the limits; return whether there were any.

        :param by_age: whether the limit of the age counts.
        :raises OSError: if the disk fails.
        """
        now = self._clock()
        limits = self._limits if by_age else replace(self._limits, keep=None)
        kept = []
        files = {file.name: file for file in layout.segment_files(self.directory)}
        for name in self._segments.keys() - files.keys():  # removed by hand
            del self._segments[name]
        total = findings.size(self.directory) + sum(_size(part.path) for part in journal.parts(self._journal))
        for name, file in files.items():
            size = _size(file.path) + _size(file.index)
            total += size
            if name in self._segments:
                found = self._segments[name][1]
                kept.append(Kept(name, found.last / 1e6, size, found.rows))
            elif name in self._unreadable:
                # Its name has the hour of its first message; how many there are is not known.
                kept.append(Kept(name, file.began, size, 0))
        gone = to_delete(kept, limits, now=now, size=total, free=self._free(self.directory))
        names = {item.name for item, _ in gone}
        for item, _ in gone:
            file = files[item.name]
            self._unlink(file.path)
            self._unlink(file.index)
            with suppress(OSError):  # not empty
                self._system.rmdir(str(file.path.parent))
            self._segments.pop(item.name, None)
            self._unreadable.discard(item.name)
            self.deleted += item.rows
            total -= item.size
        self.bytes = total
        reasons = sorted({reason for _, reason in gone})
        if gone:
            self._warn(
                f"deleted {plural(len(gone), 'segment')} with {plural(sum(item.rows for item, _ in gone), 'message')}, "
                f"because of {', '.join(reasons)}"
            )
        self._delete_findings(now, limits, [item for item in kept if item.name not in names], reasons)
        return bool(gone)

    def _has_room(self) -> bool:
        return self._free(self.directory) >= (self._limits.least_free or 0)

    def _delete_findings(self, now: float, limits: Limits, left: list[Kept], reasons: list[str]) -> None:
        """Delete the days of reports and events that are too old, or before all messages if room was needed."""
        before = -math.inf if limits.keep is None else now - limits.keep
        if left and {"max_size", "least_free"} & set(reasons):
            before = max(before, min(item.last for item in left))
        if before > -math.inf:
            days = delete_before(self.directory, min(before, now), self._system)
            if days:
                self._warn(f"deleted {plural(days, 'file')} of reports and events of days before {day_of(before)}")

    def report(self) -> dict[str, object]:
        """Return the numbers for the module, by name (:func:`main`)."""
        oldest = min((found.first for _, found in self._segments.values()), default=None)
        return {
            "stored": self.stored,
            "damaged": self.damaged,
            "deleted": self.deleted,
            "segments": len(self._segments),
            "bytes": self.bytes,
            "oldest": None if oldest is None else oldest / 1e6,
            "failing": self.failing,
        }

    def _remove_replaced(self, about: About) -> None:
        if about.parts:
            parts = journal.parts(self._journal)
            self._to_remove += [part.path for part in parts if part.number in about.parts]
        for name in about.replaces:
            replaced = self._segments.pop(name, None)
            if replaced is not None:
                self._to_remove += [replaced[0].path, replaced[0].index]
        self._remove()

    def _remove(self) -> None:
        """Remove the files that are to be removed.

        :raises OSError: if the disk fails; the others are removed by the next call.
        """
        while self._to_remove:
            path = self._to_remove[0]
            self._unlink(path)
            if path.suffix == ".index":
                with suppress(OSError):  # not empty
                    self._system.rmdir(str(path.parent))
            del self._to_remove[0]

    def _unlink(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            self._system.unlink(str(path))

    def _keep_number(self, number: int) -> None:
        """Write the number of a part that is removed and is in no segment (layout.py): none is used twice."""
        if number > layout.deleted_number(self.directory):
            path = self.directory / layout.NUMBER
            layout.write_file(self._system, path, b"%d\n" % number)
            layout.put_in_place(self._system, path)

    def _save_boots(self, read: set[int]) -> None:
        """Write the states of all senders after the segment of the parts ``read``."""
        number = max([*read, *(number for number, _ in self._segments)])
        # Older ones that another worker still writes: their segments will be newer than this file.
        later = [part.number for part in journal.parts(self._journal) if part.number < number]
        about = {"version": 1, "number": number, "later": [number for number in later if number not in read]}
        keys, columns = self._boots.columns()
        numbers = [pa.Array.from_buffers(pa.uint64(), len(keys), [None, pa.py_buffer(column)]) for column in columns]
        table = pa.Table.from_arrays(
            [pa.array(keys, _BOOTS_SCHEMA.field("key").type), *numbers],
            schema=_BOOTS_SCHEMA.with_metadata({b"netconsd": json.dumps(about).encode()}),
        )
        sink = pa.BufferOutputStream()
        # In groups: the memory of one is less than that of all senders that strangers can invent.
        pq.write_table(table, sink, row_group_size=segment.GROUP_ROWS, compression="zstd", write_page_checksum=True)
        path = self.directory / layout.BOOTS
        layout.write_file(self._system, path, memoryview(sink.getvalue()))
        layout.put_in_place(self._system, path)

    def run(self, wait: Callable[[float], bool], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Compact, merge and delete until ``wait`` returns false. Errors of the disk are named, and tried again.

        :param wait: waits for some seconds, and returns false if the process is to end.
        """
        self._until_done(self.recover, wait)
        waiting_since: float | None = None
        deleted_at = monotonic() - DELETE_SECONDS
        steady_since, offset = monotonic(), self._clock() - monotonic()
        seconds = 0.0
        while wait(seconds):
            seconds = LOOK_SECONDS
            before, offset = offset, self._clock() - monotonic()
            if abs(offset - before) > STEP_SECONDS:
                steady_since = monotonic()
            by_age = monotonic() - steady_since >= STEADY_SECONDS
            try:
                closed = [part for part in journal.parts(self._journal) if not part.is_open]
                size = sum(_size(part.path) for part in closed)
                # Not by their size: a part that a kill left empty is removed as well.
                if not closed:
                    waiting_since = None
                elif waiting_since is None:
                    waiting_since = monotonic()
                if waiting_since is not None and (
                    size >= self._segment_bytes or monotonic() - waiting_since >= GATHER_SECONDS
                ):
                    self.compact()
                    waiting_since = None
                    seconds = 0.0
                elif self.merge() or self.check():
                    seconds = 0.0
                if monotonic() - deleted_at >= DELETE_SECONDS:
                    self.delete(by_age=by_age)
                    deleted_at = monotonic()
                self.failing = ""
            except OSError as error:
                self._failed(error)
                seconds = RETRY_SECONDS
                # A full disk may be one that deletion helps.
                with suppress(OSError):
                    self.delete(by_age=by_age)

    def _until_done(self, step: Callable[[], object], wait: Callable[[float], bool]) -> None:
        seconds = 0.0
        while wait(seconds):
            try:
                step()
                self.failing = ""
                return
            except OSError as error:
                self._failed(error)
                seconds = RETRY_SECONDS

    def _failed(self, error: OSError) -> None:
        text = error.strerror or str(error)
        # Once for each error, not with each try: a full disk stays full for days.
        if text != self.failing:
            self.failing = text
            self._warn(f"the compactor cannot write the store: {error}; it tries again every {RETRY_SECONDS:.0f} s")


def load_boots(directory: Path, boots: Boots) -> Callable[[int], bool]:
    """Add the states of the file ``boots``; return a function that says of the number of a segment whether it is newer:
    its states (:func:`netconsd.store.index.states`) are to be added, in the order of the numbers.

    :raises OSError: if it cannot be read.
    """
    try:
        data = (directory / layout.BOOTS).read_bytes()
        table = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read(use_threads=False)
        about = json.loads(table.schema.metadata[b"netconsd"])
        last, later = int(about["number"]), frozenset(about.get("later", ()))
        columns = [table.column(name).to_pylist() for name in _BOOTS_SCHEMA.names]
    except FileNotFoundError:
        return lambda number: True
    except (pa.ArrowException, KeyError, ValueError, TypeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # The states of all segments are used in its place.
        return lambda number: True
    boots.update((key, values) for key, *rest in zip(*columns, strict=True) for values in [tuple(rest)])
    return lambda number: number > last or number in later


def rebuilt(path: Path) -> bytes:
    """Return the index of a segment, made from the segment alone (index.py, rule 2).

    :raises Damaged: if the segment cannot be read.
    :raises OSError: if it cannot be read.
    """
    file, about = segment.open_segment(path)
    with file:
        summary = index.Summary()
        for group in range(file.num_row_groups):
            summary.add(segment.read_group(file, group))
    return index.make(summary, about, *segment.end_of_file(str(path)))


def _tables(columns: Columns, boots: Boots, summary: index.Summary) -> Iterator[pa.Table]:
    """Yield the row groups of the records that were added, with their boots; add each to the summary."""
    columns.order()
    while columns.fill(GROUP_ROWS, GROUP_BYTES):
        boots.assign(columns)
        group = segment.group(columns, boots)
        summary.add_group(group)
        found = group.table
        # Its numbers and words are kept neither while the table is written nor while the next one is made.
        del group
        yield found
        del found


def _summed(tables: Iterator[pa.Table], sums: index.Merged) -> Iterator[pa.Table]:
    """Add each table to the sums, and yield it."""
    for table in tables:
        sums.add(table)
        yield table


def _check(path: Path, found: Index) -> None:
    """Read a whole segment, and the sections of its index.

    :raises Damaged: if one is damaged.
    """
    for section in found.sections:
        found.section(section)
    segment.check_end(path, found.pages_end, found.checksum, found.size)
    file, _ = segment.open_segment(path)
    with file:
        for group in range(file.num_row_groups):
            segment.read_group(file, group)


class Rows:
    """The rows of a segment, read group by group from its begin to its end. For one thread."""

    def __init__(self, path: Path, found: Index) -> None:
        """
        :raises Damaged: if it cannot be read.
        :raises OSError: as Damaged.
        """
        segment.check_end(path, found.pages_end, found.checksum, found.size)
        self._file, _ = segment.open_segment(path)
        self._next = 0
        self._ends = list(accumulate(found.groups))
        self._long = _long_bytes(self._file.metadata)
        # Rows that the caller has planned to take, and the group of the next one.
        self._planned = 0
        self._group = 0
        # The rows that were read and not taken.
        self._read: list[pa.Table] = []
        self._rows = 0

    def plan(self, most_rows: int, most_bytes: int) -> tuple[int, int]:
        """Plan to take the next rows, at least one; return their number, and about their bytes of texts and raw bytes.
        They are of one row group.

        :param most_bytes: the bytes are about as many, by the average of the row group.
        """
        while self._ends[self._group] <= self._planned:
            self._group += 1
        size = self._ends[self._group] - (self._ends[self._group - 1] if self._group else 0)
        row_bytes = max(1, self._long[self._group] // size)
        rows = max(1, min(most_rows, most_bytes // row_bytes, self._ends[self._group] - self._planned))
        self._planned += rows
        return rows, rows * row_bytes

    def take(self, rows: int) -> list[pa.Table]:
        """Return the next rows, in one or more tables; there are as many."""
        taken = []
        while rows:
            if not self._read:
                table = segment.read_group(self._file, self._next)
                self._next += 1
                self._read.append(table)
            table = self._read.pop()
            taken.append(table.slice(0, rows))
            if table.num_rows > rows:
                self._read.append(table.slice(rows))
            rows -= taken[-1].num_rows
        return taken

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _long_bytes(metadata: pq.FileMetaData) -> list[int]:
    """Return the bytes of the columns whose values can be long, of each row group."""
    names = {metadata.schema.column(number).path: number for number in range(metadata.num_columns)}
    long = ("text", "raw", "caller", "dictionary", "userdata", "taskname", "release")
    numbers = [names[name] for name in long if name in names]
    return [
        sum(metadata.row_group(group).column(number).total_uncompressed_size for number in numbers)
        for group in range(metadata.num_row_groups)
    ]


def merged(sources: Sequence[Rows], sums: index.Merged) -> Iterator[pa.Table]:
    """Yield the row groups of the segments, the oldest first, merged into one: the rows of a sender in the order of the
    segments. Of each segment, about one row group is in memory.

    :raises Damaged: if a segment cannot be read, or its index is not of it.
    """
    group: list[tuple[int, int]] = []
    rows = size = 0
    for source, count in _runs(sums):
        while count:
            part, part_bytes = sources[source].plan(min(count, GROUP_ROWS - rows), GROUP_BYTES - size)
            group.append((source, part))
            rows, size, count = rows + part, size + part_bytes, count - part
            if rows >= GROUP_ROWS or size >= GROUP_BYTES:
                yield from _group(sources, group)
                group, rows, size = [], 0, 0
    if group:
        yield from _group(sources, group)


def _runs(sums: index.Merged) -> Iterator[tuple[int, int]]:
    """Yield (the number of a segment, rows) for the senders of each, in the order of the merged segment."""
    keys = ("host", "port", "scope_id")
    of = [
        (zip(*(table.column(name).to_pylist() for name in keys), strict=True), iter(table.column("rows").to_pylist()))
        for table in sums.hosts_of
    ]
    heads = [next(names, None) for names, _ in of]
    for sender in zip(*(sums.hosts.column(name).to_pylist() for name in keys), strict=True):
        for number, (names, counts) in enumerate(of):
            if heads[number] == sender:
                yield number, next(counts)
                heads[number] = next(names, None)


def _group(sources: Sequence[Rows], group: list[tuple[int, int]]) -> Iterator[pa.Table]:
    """Take the runs of a row group and yield it; in several tables if its texts are long."""
    totals = [0] * len(sources)
    for source, count in group:
        totals[source] += count
    first, begins = 0, []
    for total in totals:
        begins.append(first)
        first += total
    joined = pa.concat_tables(
        [table for source, total in zip(sources, totals, strict=True) for table in source.take(total)]
    )
    order: array[int] = array("q")
    for number, count in group:
        order.extend(range(begins[number], begins[number] + count))
        begins[number] += count
    indices = pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order)])
    rows = joined.unify_dictionaries().combine_chunks().take(indices)
    yield from _pieces(rows)


def _pieces(rows: pa.Table) -> Iterator[pa.Table]:
    """Yield halves of rows, and of these, until each is within the bound of bytes."""
    if rows.num_rows == 1 or sum(rows.column(name).nbytes for name in ("text", "raw")) <= GROUP_BYTES:
        yield rows.combine_chunks()
        return
    half = rows.num_rows // 2
    yield from _pieces(rows.slice(0, half))
    yield from _pieces(rows.slice(half))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        if error.errno == ENOENT:
            return 0
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the compactor of a store until its standard input ends: that of the daemon that started it.

    A line of JSON on the standard output for each event: ``{"warn": TEXT}``, and when they change the
    numbers of :meth:`Compactor.report`: ``{"stored": N, "damaged": N, ...}``, messages since the start.
    """
    parser = argparse.ArgumentParser(prog="netconsd-compactor", description="Compacts the journal of a store.")
    parser.add_argument("directory", type=Path, help="the directory of the store")
    parser.add_argument("--keep", type=float, help="seconds for which messages are kept")
    parser.add_argument("--max-size", type=int, help="the bytes of all files at which the oldest are deleted")
    parser.add_argument("--least-free", type=int, help="the free bytes of the disk below which the oldest are deleted")
    parser.add_argument("--segment-bytes", type=int, default=SEGMENT_BYTES, help="the journal's bytes of a segment")
    parser.add_argument("--once", action="store_true", help="end when there is nothing to compact or merge")
    options = parser.parse_args(arguments)

    def say(**event: object) -> None:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    with suppress(OSError):
        os.nice(NICENESS)
    # One thread.
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    # What was imported stays, and nearly everything else is bytes and arrays.
    gc.freeze()
    gc.set_threshold(GC_OBJECTS)
    try:
        lock = Lock(options.directory, "compactor.lock")
    except Locked as error:
        say(warn=str(error))
        return 1
    compactor = Compactor(
        options.directory,
        limits=Limits(options.keep, options.max_size, options.least_free),
        segment_bytes=options.segment_bytes,
        warn=lambda text: say(warn=text),
    )
    if options.once:
        compactor.recover()
        while compactor.compact() or compactor.merge() or compactor.delete():
            pass
    else:
        reported: dict[str, object] = {}
        # A service manager sends it to all processes of the service. The daemon ends this one at the end of its stop,
        # or by the end of standard input; until then it would only start another.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

        def wait(seconds: float) -> bool:
            nonlocal reported
            numbers = compactor.report()
            if numbers != reported:
                reported = numbers
                say(**numbers)
            return not select.select([sys.stdin.fileno()], [], [], seconds)[0] or bool(os.read(0, 1024))

        compactor.run(wait)
    say(**compactor.report())
    lock.release()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
