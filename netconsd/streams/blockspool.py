"""Reads the journal of a stream as blocks for a broker (:mod:`netconsd.streams.blocks`): no object per message.

Rules:

1. Parts and the cursor are those of :mod:`netconsd.streams.journalspool`, so that the setting ``format`` can be
   changed: the part with the lowest number first, and deleted when it is closed and delivered.
2. A batch is the blocks of all that was read at once, at most :attr:`~BlockSpool.most_bytes`. Before it is sent, the
   cursor has its extent, how it was split, and the name: a process that was killed makes the same blocks again, with
   the same run and numbers, so that a broker can recognise them.
3. Each process has a run of its own, greater than those before, for all other blocks: after a crash of the machine, the
   cursor can be that of a second before, and numbers that were used must not be used for other blocks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from netconsd.store import journal
from netconsd.store.packing import u32_at
from netconsd.store.records import Damaged
from netconsd.store.records import unpack as unpack_records
from netconsd.streams.blocks import HEAD_BYTES, RECEIVER_BYTES, Head, Part, Splitter, pack, sealed, unpack
from netconsd.streams.cursor import Cursor
from netconsd.streams.journalspool import JOURNAL
from netconsd.streams.record import Record
from netconsd.streams.spool import CURSOR, SYNC_SECONDS

#: The file with the receiver's id.
RECEIVER: Final = "receiver"
_U64: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Packed(Record):
    """A block, which stands for its messages: the body is the first one, and the id is RECEIVER/RUN/NUMBER."""

    data: bytes = b""
    partition: int = 0
    messages: int = 1

    @property
    def count(self) -> int:
        """Messages in the block."""
        return self.messages


class BlockSpool:
    """As :class:`netconsd.streams.spool.Spool`, with blocks in place of records. For one thread."""

    def __init__(
        self,
        directory: Path,
        position: Mapping[str, Any] | None,
        shape: Callable[[], tuple[int, int]],
        most_bytes: int,
        warn: Callable[[str], object] = lambda text: None,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """
        :param directory: that of the stream.
        :param position: of the cursor; None if there is none.
        :param shape: returns the number of partitions and the most bytes of a block; raises TryLater if the broker does
            not say.
        :param most_bytes: of the journal's records in a batch; one block of the journal at least.
        :param name: of the receiver, in each block; at most :data:`netconsd.streams.blocks.NAME_BYTES` bytes.
        :param wall: Unix time in seconds.
        :raises OSError: if the directory cannot be read or written.
        """
        self._directory = directory / JOURNAL
        self._shape = shape
        self.most_bytes = most_bytes
        self._warn = warn
        self._clock = clock
        self._cursor = Cursor(directory / CURSOR)
        self._synced_at = float("-inf")
        #: As :attr:`netconsd.streams.spool.Spool.full`.
        self.full = False
        #: As :attr:`netconsd.streams.spool.Spool.dropped`.
        self.dropped = 0
        #: As :attr:`netconsd.streams.journalspool.JournalSource.spared`.
        self.spared = 0
        self._name = name
        #: 16 bytes.
        self.receiver = _receiver(directory / RECEIVER, warn)
        saved = dict(position or {})
        own = saved.get("blocks") or {"run": 0, "pending": None}
        self._run = min(max(round(wall() * 1e6), own["run"] + 1), _U64 - 1)
        self._number = 0
        # The batch that an earlier process may have sent.
        self._pending: dict[str, Any] | None = own["pending"]
        # Places of the sources of other formats.
        self._others = {name: value for name, value in saved.items() if name not in ("blocks", "messages", "store")}
        # By part, as in journalspool: the offset of the next block, the records of it that were sent, and those of all
        # blocks before.
        present = {part.number for part in journal.parts(self._directory)}
        at = (saved.get("messages") or {"at": {}})["at"]
        self._at: dict[int, tuple[int, int, int]] = {
            int(number): (place[0], place[1], place[2]) for number, place in at.items() if int(number) in present
        }
        self._finished: list[int] = []
        # With its partitions, most bytes of a block, and bytes of the name.
        self._splitter: tuple[tuple[int, int, int], Splitter] | None = None
        # Parts of which was said that they are damaged.
        self._broken: set[int] = set()

    def read(self, most: int) -> tuple[list[Record], dict[str, Any]]:
        """Return the blocks of the next batch, and the place after them. ``most`` is not used: rule 2 has the bound.

        :raises OSError: if the files cannot be read.
        :raises TryLater: as ``shape`` does.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            again = self._read_again(pending)
            if again:
                name = pending.get("name", "")
                return self._blocks(again, pending["run"], pending["number"], name), self._position()
        before = self._position()
        parts, extent = self._read()
        if not parts or self._splitter is None:
            return [], self._position()
        shape = list(self._splitter[0][:2])
        pending = {
            "run": self._run, "number": self._number, "shape": shape, "name": self._name, "extent": extent,
        }  # fmt: skip
        # A full disk must not stop the stream: without this, a second copy is not recognised, and the commit warns.
        with suppress(OSError):
            self._save(before, pending)
        number, self._number = self._number, self._number + len(parts)
        return self._blocks(parts, self._run, number, self._name), self._position()

    def _splitter_of(self, partitions: int, most_bytes: int, name: str) -> Splitter:
        shape = partitions, most_bytes, len(name.encode())
        if self._splitter is None or self._splitter[0] != shape:
            self._splitter = shape, Splitter(*shape)
        # Of a batch that could not be read to its end.
        self._splitter[1].take()
        return self._splitter[1]

    def _blocks(self, parts: Sequence[Part], run: int, number: int, name: str) -> list[Record]:
        blocks: list[Record] = []
        for index, part in enumerate(parts):
            head = Head(self.receiver, run, number + index, part.count, name)
            blocks.append(_packed(head, sealed(head, part.data, part.size), part.partition))
        if self._splitter is not None:
            self._splitter[1].reuse(parts)
        return blocks

    def _read(self) -> tuple[list[Part], list[list[int]]]:
        """Return the parts of a batch, and where its records are (rule 2): for each part of the journal its number, the
        begin, the records to leave out there, and the end."""
        self.full = False
        splitter: Splitter | None = None
        extent: list[list[int]] = []
        left = self.most_bytes
        parts = journal.parts(self._directory)
        self._look_for_removed({part.number for part in parts})
        for part in parts:
            if part.number in self._finished:
                continue
            start, done, before = self._at.get(part.number, (0, 0, 0))
            end = start
            try:
                for position, records, count in journal.read(part.path, start, damaged=self._damaged):
                    if splitter is None:
                        # Not without records: a broker that is away is no fault then.
                        splitter = self._splitter_of(*self._shape(), self._name)
                    end = position
                    try:
                        splitter.add(records, done)
                    except Damaged as error:
                        self._damaged(f"{part.path}: {error}", count - done)
                    done = 0
                    before += count
                    left -= len(records)
                    if left <= 0:
                        break
            except FileNotFoundError:
                # It was closed, and so renamed, or removed: the next call sees which. The parts after it wait, for the
                # order.
                self.full = True
                break
            except Damaged as error:
                if part.number not in self._broken:
                    self._broken.add(part.number)
                    self._warn(f"{part.path}: {error}; its rest is not sent")
            if end > start:
                extent.append([part.number, start, self._at.get(part.number, (0, 0, 0))[1], end])
                self._at[part.number] = end, 0, before
            if left <= 0:
                self.full = True
                break
            if not part.is_open:
                self._finished.append(part.number)
        return [] if splitter is None else splitter.take(), extent

    def _read_again(self, pending: Mapping[str, Any]) -> list[Part]:
        """Return the parts of the batch that an earlier process may have sent; none if it cannot be read as it was, and
        is read as a new one then."""
        partitions, most_bytes = pending["shape"]
        splitter = self._splitter_of(partitions, most_bytes, pending.get("name", ""))
        paths = {part.number: part.path for part in journal.parts(self._directory)}
        at = dict(self._at)
        for number, start, skip, last in pending["extent"]:
            end, before = start, at.get(number, (0, 0, 0))[2]
            try:
                for position, records, count in journal.read(paths[number], start):
                    end = position
                    splitter.add(records, skip)
                    skip = 0
                    before += count
                    if end >= last:
                        break
            except (KeyError, FileNotFoundError, Damaged):
                return []
            if end != last:
                return []
            at[number] = end, 0, before
        self._at = at
        self.full = True
        return splitter.take()

    def _damaged(self, text: str, messages: int) -> None:
        self._warn(text)
        self.dropped += messages

    def _look_for_removed(self, present: set[int]) -> None:
        for number in [number for number in self._at if number not in present]:
            _, done, before = self._at.pop(number)
            self.spared += before + done
            self._finished = [other for other in self._finished if other != number]

    def _position(self) -> dict[str, Any]:
        return {
            "at": {str(number): list(place) for number, place in self._at.items()},
            "finished": list(self._finished),
        }

    def _save(self, position: Mapping[str, Any], pending: Mapping[str, Any] | None, *, sync: bool = False) -> None:
        blocks = {"run": self._run, "pending": pending}
        self._cursor.save({**self._others, "store": None, "messages": position, "blocks": blocks}, sync=sync)

    def commit(self, position: Mapping[str, Any], records: Sequence[Record]) -> None:
        """As :meth:`netconsd.streams.spool.Spool.commit`."""
        now = self._clock()
        sync = now - self._synced_at >= SYNC_SECONDS
        # The cursor first: what is deleted is before it.
        self._save(position, None, sync=sync)
        if sync:
            self._synced_at = now
        for part in journal.parts(self._directory):
            if part.number in position["finished"]:
                with suppress(FileNotFoundError):
                    part.path.unlink()
                self._at.pop(part.number, None)
        self._finished = [number for number in self._finished if number not in position["finished"]]

    def halves(self, record: Record) -> list[Record]:
        """As :meth:`netconsd.streams.spool.Spool.halves`: two blocks with numbers of their own, of one with several
        messages."""
        if not isinstance(record, Packed) or record.messages < 2:
            return []
        messages = unpack(record.data)[1]
        middle = len(messages) // 2
        found: list[Record] = []
        for half in (messages[:middle], messages[middle:]):
            data = pack(self.receiver, self._run, self._number, half, self._name)
            found.append(_packed(unpack(data)[0], data, record.partition))
            self._number += 1
        return found

    def close(self) -> None:
        """As :meth:`netconsd.streams.spool.Spool.close`."""


def _packed(head: Head, data: bytes, partition: int) -> Packed:
    identity = f"{head.receiver.hex()}/{head.run}/{head.number}"
    at = HEAD_BYTES + len(head.name.encode())
    size = u32_at(data, at)
    first = unpack_records(data[at : at + size])[0]
    return Packed(first, identity, data=data, partition=partition, messages=head.count)


def _receiver(path: Path, warn: Callable[[str], object]) -> bytes:
    """Return the id of this receiver; one is made if there is none, or it is damaged.

    :raises OSError: if it cannot be read or written.
    """
    file = Cursor(path)
    with suppress(ValueError, KeyError, TypeError):
        found = bytes.fromhex((file.load() or {})["id"])
        if len(found) == RECEIVER_BYTES:
            return found
    if path.exists():
        warn(f"{path} is damaged: to the processors, this receiver is a new one")
    made = os.urandom(RECEIVER_BYTES)
    file.save({"id": made.hex()}, sync=True)
    return made
