"""The journal: messages on disk within a second, before the compactor turns them into segments.

Rules:

1. A journal is a directory of parts. Each worker writes one part at a time; a part that is written has the suffix
   ``.open``. When it is large or old enough it is closed: synced, then renamed without the suffix. The compactor takes
   closed parts only.
2. A part has a number that no other part of the store ever had, greater than those before.
3. A part is a head and blocks. A block is as many bytes as were written at once: its length, the CRC-32 of its records,
   their number, and the records (:mod:`netconsd.store.records`).
4. A write that fails leaves no part of its block behind: the part is cut to the length before. After a crash of the
   machine, the last block can be torn: readers end before it, and say so.
5. The journal has a bound. When it is exceeded, or the disk is full, the oldest part that is not being written is
   removed, and its messages are counted as lost. If there is none, the new messages are lost, and counted.
"""

from __future__ import annotations

import os
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Final, Protocol

from netconsd.protocol.message import Message
from netconsd.store.records import BLOCK_HEAD_BYTES, Block, Damaged, Foreign

#: The suffix of a closed part, and what an open one has in addition.
SUFFIX: Final = ".journal"
OPEN_SUFFIX: Final = ".open"
#: What the compactor adds to the name of a part that it cannot read because of its version.
FOREIGN_SUFFIX: Final = ".foreign"
FILE_MODE: Final = 0o640
#: The errors for which old parts are removed.
FULL: Final = (ENOSPC, EDQUOT)

_MAGIC: Final = b"netconsd journal 1\n"
# The magic, padded; 1 in the byte order of the machine; the worker; the part's number; the time at which it was begun.
_HEAD: Final = struct.Struct("=24sIIQd")
_BLOCK: Final = struct.Struct("=IIII")
#: Bytes that are read at once: at a low rate, a block has some messages, and each call costs as much as they do.
AHEAD_BYTES: Final = 1 << 18
#: As many by :func:`read_at_once`: the cache of a processor has them while their checksums are compared.
AT_ONCE_BYTES: Final = 1 << 20
# A block is at most one message larger than its buffer: a body of 128 KiB.
_BLOCK_LIMIT: Final = (1 << 20) + (1 << 18)


class System(Protocol):
    """The calls of the operating system: ``os`` itself, or a test's."""

    def open(self, path: str, flags: int, mode: int, /) -> int: ...
    def pwrite(self, fd: int, data: memoryview | bytes, offset: int, /) -> int: ...
    def ftruncate(self, fd: int, length: int, /) -> None: ...
    def fdatasync(self, fd: int, /) -> None: ...
    def fsync(self, fd: int, /) -> None: ...
    def close(self, fd: int, /) -> None: ...
    def rename(self, source: str, target: str, /) -> None: ...
    def unlink(self, path: str, /) -> None: ...
    def listdir(self, path: str, /) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the journal on disk."""

    path: Path
    number: int
    worker: int
    is_open: bool


def parts(directory: Path) -> list[Part]:
    """Return the parts of a journal, the oldest first. Other files are passed over.

    :raises OSError: if the directory cannot be read.
    """
    found = []
    for entry in os.listdir(directory):
        name = entry.removesuffix(OPEN_SUFFIX)
        if not name.endswith(SUFFIX):
            continue
        number, _, worker = name.removesuffix(SUFFIX).partition("-w")
        if number.isdecimal() and worker.isdecimal():
            found.append(Part(directory / entry, int(number), int(worker), entry.endswith(OPEN_SUFFIX)))
    return sorted(found, key=lambda part: part.number)


def read(
    path: Path, start: int = 0, *, damaged: Callable[[str, int], object] | None = None
) -> Iterator[tuple[int, bytes, int]]:
    """Read the blocks of a part: yield (the position after the block, its records, the number of messages).

    A part that is still written, or was torn by a crash, ends before its first block that is not whole.

    :param start: a position that was yielded before, or 0.
    :param damaged: called for a block whose checksum is wrong, with a text and its number of messages, instead of
        raising Damaged; the blocks after it are read.
    :raises Foreign: for a head of another version or byte order.
    :raises Damaged: for a block whose checksum is wrong although another block follows; the blocks before it have been
        yielded.
    :raises OSError: if the file cannot be read.
    """
    for position, data, at, end, count in _blocks(path, start, AHEAD_BYTES, damaged):
        yield position, data[at:end], count


def read_at_once(path: Path, damaged: Callable[[str, int], object]) -> Iterator[tuple[bytes, int, int, int]]:
    """Read the blocks of a whole part: yield (bytes, the begin and the end of a block's records in them, the number of
    messages). The records are not copied: the bytes are the same object for all blocks that were read together.

    :raises Foreign: as :func:`read`.
    :raises Damaged: as :func:`read`.
    :raises OSError: as :func:`read`.
    """
    for _, data, at, end, count in _blocks(path, 0, AT_ONCE_BYTES, damaged):
        yield data, at, end, count


def _blocks(
    path: Path, start: int, ahead_bytes: int, damaged: Callable[[str, int], object] | None
) -> Iterator[tuple[int, bytes, int, int, int]]:
    """Yield (the position after a block, bytes, the begin and the end of its records in them, its messages).

    :param ahead_bytes: bytes that are read at once behind the first block's head.
    """
    with path.open("rb", buffering=0) as file:
        if not start:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            check_head(head)
            start = _HEAD.size
        fd = file.fileno()
        size = os.fstat(fd).st_size
        ahead, ahead_at = b"", start
        while start + BLOCK_HEAD_BYTES <= size:
            if ahead_at + len(ahead) < start + BLOCK_HEAD_BYTES:
                # Not before the first block, which can be the only one that is wanted.
                wanted = ahead_bytes if ahead or ahead_bytes == AT_ONCE_BYTES else BLOCK_HEAD_BYTES
                ahead = _exactly(fd, min(size - start, wanted), start)
                ahead_at = start
            length, checksum, count, zero = _BLOCK.unpack_from(ahead, start - ahead_at)
            end = start + BLOCK_HEAD_BYTES + length
            if zero or not length or length > _BLOCK_LIMIT:
                raise Damaged(f"the head of the block at {start} is damaged")
            if end > size:
                return
            at = start + BLOCK_HEAD_BYTES - ahead_at
            data = ahead
            if at + length > len(ahead):
                data, at = _exactly(fd, length, start + BLOCK_HEAD_BYTES), 0
            with memoryview(data) as view:
                right = zlib.crc32(view[at : at + length]) == checksum
            if right:
                yield end, data, at, at + length, count
            elif end == size:
                return
            else:
                text = f"the checksum of the block at {start} is wrong"
                if damaged is None:
                    raise Damaged(text)
                damaged(text, count)
            start = end


def adopt(directory: Path, system: System = os) -> list[tuple[Part, int]]:
    """Close the parts that a daemon left open when it was killed, and return them, each with the bytes after its last
    whole block: the begin of a block that was not written to its end.

    :raises OSError: if the disk fails.
    """
    left = []
    for part in parts(directory):
        if not part.is_open:
            continue
        ends = [_HEAD.size]
        with suppress(Damaged):
            ends.extend(position for position, _, _ in read(part.path))
        torn = part.path.stat().st_size - ends[-1]
        system.rename(str(part.path), str(part.path).removesuffix(OPEN_SUFFIX))
        left.append((part, max(0, torn)))
    return left


def begun(part: Part) -> float:
    """Return the time at which a part was begun, in Unix seconds; 0 if its head is torn or damaged.

    :raises OSError: if the file cannot be read.
    """
    with part.path.open("rb", buffering=0) as file:
        head = file.read(_HEAD.size)
    with suppress(Damaged):
        if len(head) == _HEAD.size:
            return check_head(head)[2]
    return 0.0


def sync_parts(paths: Iterable[Path], directory: Path, system: System = os) -> None:
    """Sync parts that :func:`adopt` closed, and their names: what the last second had is as safe as the rest then.

    :raises OSError: if the disk fails.
    """
    for path in paths:
        try:
            fd = system.open(str(path), os.O_RDONLY | os.O_CLOEXEC, 0)
        except FileNotFoundError:  # it is a segment already
            continue
        try:
            system.fdatasync(fd)
        finally:
            system.close(fd)
    sync_directory(system, directory)


def sync_directory(system: System, directory: Path) -> None:
    """Sync the names of a directory.

    :raises OSError: if the disk fails.
    """
    fd = system.open(str(directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0)
    try:
        system.fsync(fd)
    finally:
        system.close(fd)


def check_head(head: bytes) -> tuple[int, int, float]:
    """Return the worker, the number and the time of begin in the head of a part.

    :raises Foreign: for a file that is no part, or of another version or byte order.
    """
    magic, one, worker, number, begun = _HEAD.unpack(head)
    if magic.rstrip(b"\0") != _MAGIC:
        raise Foreign("it is not a part of a journal of version 1")
    if one != 1:
        raise Foreign("it was written by a machine with another byte order")
    return worker, number, begun


def _exactly(fd: int, size: int, offset: int) -> bytes:
    data = os.pread(fd, size, offset)
    while len(data) < size:
        more = os.pread(fd, size - len(data), offset + len(data))
        if not more:
            raise Damaged("it became shorter while it was read")
        data += more
    return data


class Journal:
    """The parts of all workers of one daemon. ``append`` is for the thread of the worker; the rest is for any thread.

    Nothing here waits for a sync: that is what ``sync`` does, in a thread of its own.
    """

    def __init__(
        self,
        directory: Path,
        worker_count: int,
        *,
        first_number: int,
        part_bytes: int,
        part_seconds: float,
        most_bytes: int,
        system: System = os,
        clock: Callable[[], float] = time.time,
        closed: Callable[[], object] = lambda: None,
    ) -> None:
        """
        :param directory: exists, and belongs to this process alone (:mod:`netconsd.store.lock`).
        :param first_number: greater than the number of every part that was turned into a segment.
        :param part_bytes: a part is closed at this size, or at the age of ``part_seconds``.
        :param most_bytes: the bound of the whole journal.
        :param closed: called after a part was closed, in the thread that closed it.
        :raises OSError: if the directory cannot be read.
        """
        self.directory = directory
        #: Messages that were lost, by worker: removed unread from the journal, or never written.
        self.lost = [0] * worker_count
        #: Parts that were removed unread, because the journal was full or the disk was.
        self.removed_parts = 0
        self._part_bytes = part_bytes
        self._part_seconds = part_seconds
        self._most_bytes = most_bytes
        self._system = system
        self._clock = clock
        self._closed = closed
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._next = max([first_number, *(part.number + 1 for part in parts(directory))])
        self._writers = [_Writer(self, worker) for worker in range(worker_count)]

    def append(self, worker: int, messages: list[Message]) -> None:
        """Write messages, and return when the operating system has them. Messages that cannot be written are counted.

        :raises OSError: if messages were lost because of it; the others were written.
        """
        self._writers[worker].append(messages)

    def sync(self) -> None:
        """Sync what was appended before the call, and close parts that are old enough.

        :raises OSError: the first that occurred; all parts were tried.
        """
        self._sync(end=False)

    def close(self) -> None:
        """Sync and close all parts, after the last ``append``.

        :raises OSError: the first that occurred; all parts were tried.
        """
        self._sync(end=True)

    def _sync(self, *, end: bool) -> None:
        failure: OSError | None = None
        # At the stop, another thread can still wait for a slow disk: each descriptor is closed once.
        with self._syncing:
            for writer in self._writers:
                try:
                    writer.sync(end=end)
                except OSError as error:
                    failure = failure or error
        if failure is not None:
            raise failure

    def sync_directory(self) -> None:
        """Sync the names of the parts.

        :raises OSError: if the file system fails.
        """
        sync_directory(self._system, self.directory)

    def take_number(self) -> int:
        """Return the number of a new part (rule 2)."""
        with self._lock:
            number = self._next
            self._next += 1
            return number

    def make_room(self) -> bool:
        """Remove the oldest part that is not being written (rule 5); return false if there is none."""
        with self._lock:
            for part in parts(self.directory):
                # Compared after the listing: what another worker begins meanwhile is not in it.
                if str(part.path) in [writer.path for writer in self._writers]:
                    continue
                try:
                    lost = count(part.path)
                    self._system.unlink(str(part.path))
                except FileNotFoundError:
                    # The compactor, or the sync that closes it, was faster: look again.
                    return True
                self.removed_parts += 1
                self.lost[min(part.worker, len(self.lost) - 1)] += lost
                return True
            return False

    def size(self) -> int:
        """Return the bytes of all parts."""
        total = 0
        for part in parts(self.directory):
            try:
                total += part.path.stat().st_size
            except FileNotFoundError:
                continue
        return total

    def keep_bound(self) -> None:
        """Remove the oldest parts until the journal is within its bound. Called where a part is begun, so that the
        bound can be exceeded by one part for each worker."""
        while self.size() > self._most_bytes and self.make_room():
            pass


class _Writer:
    """The parts that one worker writes: one at a time; those before it until they are synced."""

    def __init__(self, journal: Journal, worker: int) -> None:
        self._journal = journal
        self._system = journal._system
        self._worker = worker
        self._block = Block()
        # For the fields below. Never held during a sync.
        self._lock = threading.Lock()
        #: The path of the part that is being written; "" if there is none.
        self.path = ""
        self._fd = -1
        self._size = 0
        self._synced = 0
        self._begun = 0.0
        # Parts that are written, and neither synced nor closed: (descriptor, path). Only ``sync`` takes them out.
        self._written: deque[tuple[int, str]] = deque()

    def append(self, messages: list[Message]) -> None:
        block = self._block
        index, length = 0, len(messages)
        while index < length:
            block.clear()
            index = block.fill(messages, index)
            try:
                self._write(block)
            except OSError:
                # The rest as well: the disk is full, and each block would try to make room again.
                self._journal.lost[self._worker] += block.count + length - index
                raise

    def _write(self, block: Block) -> None:
        with memoryview(block.data)[: block.used] as data, self._lock:
            _BLOCK.pack_into(data, 0, len(data) - BLOCK_HEAD_BYTES, zlib.crc32(data[BLOCK_HEAD_BYTES:]), block.count, 0)
            while True:
                try:
                    if self._fd < 0:
                        self._begin()
                    self._put(data)
                    break
                except OSError as error:
                    if error.errno not in FULL or not self._journal.make_room():
                        raise
            if self._size >= self._journal._part_bytes:
                self._end()

    def _begin(self) -> None:
        journal = self._journal
        journal.keep_bound()
        number = journal.take_number()
        path = str(journal.directory / f"{number:016d}-w{self._worker}{SUFFIX}{OPEN_SUFFIX}")
        begun = journal._clock()
        # Before the file exists, so that no other worker removes it to make room.
        self.path = path
        try:
            self._fd = self._system.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
            self._size, self._synced, self._begun = 0, -1, begun
            self._put(_HEAD.pack(_MAGIC, 1, self._worker, number, begun))
        except OSError:
            fd, self._fd, self.path = self._fd, -1, ""
            if fd >= 0:
                self._system.close(fd)
                self._system.unlink(path)
            raise

    def _put(self, data: memoryview | bytes) -> None:
        """Write all of the data or nothing (rule 4)."""
        written = 0
        try:
            while written < len(data):
                written += self._system.pwrite(self._fd, data[written:], self._size + written)
        except OSError:
            # Without this, the bytes stay, and what is written next follows at the same place.
            self._system.ftruncate(self._fd, self._size)
            raise
        self._size += written

    def _end(self) -> None:
        """End the part that is being written, if there is one. Holds the lock."""
        if self._fd >= 0:
            self._written.append((self._fd, self.path))
            self._fd, self.path = -1, ""

    def sync(self, *, end: bool) -> None:
        """Sync what was appended before the call, and close the parts that are written; for one thread at a time."""
        journal = self._journal
        with self._lock:
            # Also if the clock was set back: otherwise the part would stay open for as long.
            if end or not 0 <= journal._clock() - self._begun < journal._part_seconds:
                self._end()
            fd, size, synced = self._fd, self._size, self._synced
        failure: OSError | None = None
        while self._written:
            try:
                self._close(*self._written[0])
            except OSError as error:
                failure = failure or error
            self._written.popleft()
        if fd >= 0 and size != synced:
            # Only this thread closes descriptors, so that this one is still the same.
            self._system.fdatasync(fd)
            if synced < 0:
                journal.sync_directory()
            with self._lock:
                if self._fd == fd:
                    self._synced = size
        if failure is not None:
            raise failure

    def _close(self, fd: int, path: str) -> None:
        """Sync and close a part, so that the compactor takes it. What a failing disk did not keep is found by the
        checksums."""
        try:
            self._system.fdatasync(fd)
        finally:
            self._system.close(fd)
            with suppress(FileNotFoundError):  # removed to make room
                self._system.rename(path, path.removesuffix(OPEN_SUFFIX))
            self._journal._closed()


def count(path: Path) -> int:
    """Return the number of messages of a part: those of the blocks that can be read.

    :raises FileNotFoundError: if it was removed.
    """
    total = 0
    with suppress(Damaged):
        for _, _, messages in read(path):
            total += messages
    return total
