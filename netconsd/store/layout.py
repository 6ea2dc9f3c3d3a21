"""The names of a store's files (docs/store), and how a file is written whole or not at all.

::

    lock                                 the writer's (lock.py)
    journal/NUMBER-wWORKER.journal       journal.py
    segments/YYYY-MM-DD/HH-NUMBER[-GENERATION].parquet, .index
                                         day and hour, in UTC, of the earliest message; the highest number of its parts;
                                         how often it was merged
    reports/, events/                    findings.py
    boots                                the state of all senders (boots.py) after the segment that it names
    number                               the highest number of a part that was removed and is in no segment
"""

from __future__ import annotations

import math
import os
import re
import time
from calendar import timegm
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Protocol

from netconsd.protocol.message import MAPPED_IPV4, Source
from netconsd.store.journal import FILE_MODE, sync_directory
from netconsd.store.journal import System as JournalSystem

JOURNAL: Final = "journal"
SEGMENTS: Final = "segments"
BOOTS: Final = "boots"
NUMBER: Final = "number"
DIRECTORY_MODE: Final = 0o750
#: The store of the service: in the state directory that contrib/systemd/netconsd.service has.
SERVICE_STORE: Final = Path("/var/lib/netconsd/store")
#: Listings of a directory that changes meanwhile: a merge takes longer than a few.
LISTINGS: Final = 4
#: The suffix of a file that is not whole yet.
UNFINISHED: Final = ".tmp"
_NAME: Final = re.compile(r"(\d\d)-(\d{1,16})(?:-(\d{1,6}))?\.parquet", re.ASCII)
_DAY: Final = re.compile(r"\d{4,6}-\d\d-\d\d", re.ASCII)


def default_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the module ``store`` writes by default: the service's state directory (systemd.exec(5)), or the
    user's (XDG Base Directory Specification)."""
    state = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if state:
        return Path(state) / "store"
    home = environment.get("XDG_STATE_HOME", "")
    # The specification has relative paths ignored.
    base = Path(home) if home.startswith("/") else Path(environment.get("HOME") or "/") / ".local" / "state"
    return base / "netconsd" / "store"


def default_to_read(environment: Mapping[str, str] = os.environ, service: Path | None = None) -> Path:
    """Return the store that commands read by default: :func:`default_directory`, or that of the service if only that
    exists.

    :param service: in place of :data:`SERVICE_STORE`.
    """
    own, service = default_directory(environment), service or SERVICE_STORE
    return service if not _exists(own) and _exists(service) else own


def _exists(directory: Path) -> bool:
    """Return whether a directory exists, also one that this user may not see: the error then names it."""
    try:
        return directory.is_dir()
    except PermissionError:
        return True


class System(JournalSystem, Protocol):
    """The calls of the operating system: ``os`` itself, or a test's."""

    def mkdir(self, path: str, mode: int, /) -> None: ...
    def rmdir(self, path: str, /) -> None: ...


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment by its name."""

    path: Path
    number: int
    generation: int
    #: ``YYYY-MM-DD/HH``.
    hour: str

    @property
    def name(self) -> tuple[int, int]:
        """Number and generation, by which another segment can say that it replaces this one."""
        return self.number, self.generation

    @property
    def began(self) -> float:
        """The hour of its earliest message, in Unix seconds."""
        day, _, hour = self.hour.partition("/")
        year, month, date = map(int, day.split("-"))
        # Beyond the years of datetime are clocks that were wrong.
        return timegm((year, month, date, int(hour), 0, 0)) if year <= 9999 else math.inf

    @property
    def index(self) -> Path:
        """The path of the index beside it."""
        return self.path.with_suffix(".index")


def segment_file(directory: Path, first: int, number: int, generation: int) -> SegmentFile:
    """Return the name of a segment of a store.

    :param first: the time of its earliest message, in microseconds.
    """
    # A clock that was wrong by thousands of years has a name as well.
    day = time.strftime("%Y-%m-%d/%H", time.gmtime(min(max(first, 0) // 1_000_000, 1 << 40)))
    suffix = f"-{generation}" if generation else ""
    return SegmentFile(directory / SEGMENTS / f"{day}-{number:016d}{suffix}.parquet", number, generation, day)


def segment_files(directory: Path) -> list[SegmentFile]:
    """Return the segments of a store, the lowest number first; other files are passed over. None for no directory.

    :raises OSError: if a directory cannot be read.
    """
    found = []
    for day in _entries(directory / SEGMENTS):
        if not _DAY.fullmatch(day):
            continue
        for name in _entries(directory / SEGMENTS / day):
            match = _NAME.fullmatch(name)
            if match is not None:
                path = directory / SEGMENTS / day / name
                found.append(SegmentFile(path, int(match[2]), int(match[3] or 0), f"{day}/{match[1]}"))
    return sorted(found, key=lambda file: file.name)


def highest_number(directory: Path) -> int:
    """Return the highest number of a segment that a store has or had; 0 for none.

    :raises OSError: if a directory or the file cannot be read.
    """
    return max(deleted_number(directory), *(file.number for file in segment_files(directory)), 0)


def deleted_number(directory: Path) -> int:
    """Return the number in the file ``number``; 0 if there is none.

    :raises OSError: if it cannot be read.
    """
    try:
        text = (directory / NUMBER).read_bytes().strip()
    except FileNotFoundError:
        return 0
    return int(text) if text.isdigit() and len(text) <= 16 else 0


def _entries(directory: Path) -> list[str]:
    """Return the names in a directory, as they were at one time: the kernel lists a large one in pieces, and a merge
    between two of them could hide both the new segment and the old ones."""
    names: list[str] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        for _ in range(LISTINGS):
            changed_at = os.stat(directory).st_mtime_ns
            names = os.listdir(directory)
            if os.stat(directory).st_mtime_ns == changed_at:
                break
        return names
    return []


def write_file(system: System, path: Path, data: bytes | memoryview) -> None:
    """Write a file beside its place, and sync it; :func:`put_in_place` renames it.

    :raises OSError: if it cannot be written; nothing is left of it then, unless the disk fails at that too.
    """
    unfinished = str(path) + UNFINISHED
    fd = system.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        try:
            view, written = memoryview(data), 0
            while written < len(view):
                written += system.pwrite(fd, view[written:], written)
            system.fdatasync(fd)
        finally:
            system.close(fd)
    except OSError:
        with suppress(OSError):
            system.unlink(unfinished)
        raise


class NewFile:
    """A file that is written beside its place, from its begin to its end, as by :func:`write_file` but in pieces: an
    object with the methods that pyarrow calls. For one thread."""

    #: Bytes that are written at once.
    PIECE: Final = 1 << 20

    def __init__(self, system: System, path: Path) -> None:
        """
        :raises OSError: if it cannot be made.
        """
        self._system = system
        #: The path while it is not whole.
        self.path = str(path) + UNFINISHED
        #: Whether nothing can be written any more.
        self.closed = False
        #: Bytes that are on the disk.
        self.size = 0
        self._pending = bytearray()
        self._fd = system.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)

    def write(self, data: bytes) -> int:
        """Write the data, now or with what follows.

        :raises OSError: if the disk fails.
        """
        self._pending += data
        if len(self._pending) >= self.PIECE:
            self._put()
        return len(data)

    def _put(self) -> None:
        with memoryview(self._pending) as view:
            written = 0
            while written < len(view):
                written += self._system.pwrite(self._fd, view[written:], self.size + written)
            self.size += written
        self._pending.clear()

    def tell(self) -> int:
        """Return the bytes that were written."""
        return self.size + len(self._pending)

    def flush(self) -> None:
        """Do nothing: :meth:`finish` writes everything."""

    def close(self) -> None:
        """Do nothing, as :meth:`flush`: pyarrow calls it as well after an error."""

    def finish(self) -> None:
        """Write the rest, sync and close the file; :func:`put_in_place` renames it.

        :raises OSError: if the disk fails.
        """
        self._put()
        self._system.fdatasync(self._fd)
        self.closed = True
        self._system.close(self._fd)

    def discard(self) -> None:
        """Remove the file, after an error; errors of this are passed over."""
        # Not cleared: the traceback of the error can have a view of it.
        self._pending = bytearray()
        with suppress(OSError):
            if not self.closed:
                self.closed = True
                self._system.close(self._fd)
        with suppress(OSError):
            self._system.unlink(self.path)


def put_in_place(system: System, path: Path) -> None:
    """Rename a file that :func:`write_file` wrote, and sync its directory: afterwards it survives a crash.

    :raises OSError: if the disk fails.
    """
    system.rename(str(path) + UNFINISHED, str(path))
    sync_directory(system, path.parent)


def source_at(host: str, port: int, scope: int) -> Source:
    """Return the sender of a row's columns ``host``, ``port`` and ``scope_id``."""
    address = ip_address(host.partition("%")[0])
    return Source(MAPPED_IPV4 + address.packed if address.version == 4 else address.packed, port, scope)
