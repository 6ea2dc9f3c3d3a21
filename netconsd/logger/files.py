"""The open files of a log, shared by all workers: bounded in number, reopened after they vanished, rotated.

Rules:

1. A name has one open file, whichever workers write to it, and one lock: no line is written into a file after it was
   renamed, and no file is renamed twice.
2. Locks are taken in the order file, table; a second file's lock is only tried. No lock is held for two files.
3. A file out of the table is ``gone``: a worker that waited for its lock looks the name up again.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EINVAL, EMFILE, ENFILE, ENXIO
from typing import Final

from twisted.logger import Logger

from netconsd.logger.append import OpenFile, append_groups, write
from netconsd.logger.failures import Failures
from netconsd.logger.lines import LineForm
from netconsd.logger.rotation import Rotation, shift
from netconsd.protocol.message import Message

# Read access is for the last byte: a line that an earlier write left unfinished has to be ended. Without O_NONBLOCK the
# open of a device can block for ever, and with O_NOCTTY a terminal does not become that of the daemon.
FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
FILE_MODE: Final = 0o640
DIRECTORY_MODE: Final = 0o750
# Seconds between two checks whether a file and the directory still are at their paths: a check before each write cost a
# quarter of the write.
CHECK_SECONDS: Final = 1.0

_Identity = tuple[int, int]

log = Logger("netconsd.logger")


class LogFiles:
    """The open files of all workers. ``stop`` is called after their threads have ended; the rest is for any thread.

    Lines that cannot be written are dropped and counted, the failure is logged once per kind, and other files are not
    affected.
    """

    def __init__(
        self,
        directory: str,
        limit: int,
        rotation: Rotation,
        worker_count: int,
        *,
        title: str = "logger",
        created: Callable[[str], object] | None = None,
        rotated: Callable[[str], object] | None = None,
    ) -> None:
        """
        :param limit: open files at a time.
        :param title: the module's name, for the log.
        :param created: called with the name of a file before it is created.
        :param rotated: called with a name after its file was renamed.
        """
        #: Lines that could not be written, by worker.
        self.dropped = [0] * worker_count
        #: Failures that cost an unknown number of lines, by worker.
        self.unknown_losses = [0] * worker_count
        self.failures = Failures(title)
        self._directory = directory
        self._limit = limit
        self._rotation = rotation
        # Beyond this size a file is rotated; never, beyond any size that Linux has.
        self._most = rotation.bytes or (1 << 63) - 1
        self._title = title
        self._created = created
        self._rotated = rotated
        self._lock = threading.Lock()
        # By name, the least recently used one first, to a second. Bounded, because an attacker can forge any number of
        # senders, and descriptors run out.
        self._open: dict[str, OpenFile] = {}
        self._generation = 0
        self._directory_checked = 0.0
        self._directory_identity: _Identity | None = None

    def begin(self, generation: int, now: float) -> None:
        """Set the time of a batch; reopen all files if the generation has changed, or the directory."""
        if generation != self._generation:
            self._generation = generation
            self._close_all(now)
        if not -CHECK_SECONDS < now - self._directory_checked < CHECK_SECONDS:
            self._check_directory(now)
        self.failures.end(now)

    def append_groups(self, worker: int, groups: dict[str, list[Message]], form: LineForm, now: float) -> None:
        """Append the lines of the messages to the files of their names."""
        append_groups(self._open, worker, groups, form, now, self._most, self.append, self._fail)

    def append(self, worker: int, name: str, data: bytes, count: int, now: float) -> None:
        """Write ``count`` lines to the file, in one system call unless the system writes only a part."""
        file = self._open.get(name)
        while True:
            if file is None:
                file = self._add(name, now)
            with file.lock:
                if file.gone:
                    file = None
                    continue
                try:
                    if not file.low < now < file.high or file.size + len(data) > self._most:
                        self._prepare(name, file, len(data), now)
                except OSError as error:
                    self._fail(worker, name, file, data, count, 0, error, now)
                else:
                    write(file, worker, name, data, count, now, self._fail)
                return

    def open(self, name: str, now: float) -> None:
        """Open a file before its first line, so that a start can fail.

        :raises OSError: if it cannot be opened.
        """
        file = self._add(name, now)
        with file.lock:
            try:
                self._open_file(name, file, now)
            except OSError:
                self._remove(name, file)
                raise

    @contextmanager
    def holding(self, name: str) -> Iterator[_Identity | None]:
        """Keep all workers from the file of a name within the block; yields the identity of the file if it is open."""
        while True:
            with self._lock:
                # An entry that is not open needs no descriptor, so that the limit need not be kept.
                file = self._open.get(name) or self._open.setdefault(name, OpenFile())
            with file.lock:
                if file.gone:
                    continue
                try:
                    yield file.identity if file.fd >= 0 else None
                finally:
                    if file.fd < 0:
                        self._remove(name, file)
                return

    def forget(self, name: str, now: float) -> None:
        """Close the file of a name; within :meth:`holding`."""
        self._close(name, self._open[name], now)

    def stop(self, now: float = 0.0) -> None:
        """Close all files; log the lines dropped by failures that are not over."""
        self._close_all(now)
        self.failures.stop()

    def _fail(
        self, worker: int, name: str, file: OpenFile, data: bytes, count: int, written: int, error: OSError, now: float
    ) -> None:
        """Count the lines that were not written, and close their file."""
        complete = data.count(b"\n", 0, written)
        file.lines += complete
        # The next batch reopens the file, and ends a line that was left unfinished. No entry stays, so that names that
        # cannot be opened take no places.
        self._close(name, file, now)
        self._remove(name, file)
        self.dropped[worker] += count - complete
        self.failures.note("write", self._path(name), error, now, dropped=count - complete)

    def _prepare(self, name: str, file: OpenFile, size: int, now: float) -> None:
        """Have the file open, at its path within the last second, and with room for ``size`` bytes.

        :raises OSError: if that is not possible.
        """
        if file.fd < 0:
            self._open_file(name, file, now)
        # A clock that was set back also causes a check.
        elif not -CHECK_SECONDS < now - file.checked < CHECK_SECONDS:
            self._check(name, file, now)
        is_over = not file.begin <= now < file.end or file.size + size > self._most
        if file.size and is_over and self._renamed(name, file, now):
            self._close(name, file, now)
            self._open_file(name, file, now)

    def _check(self, name: str, file: OpenFile, now: float) -> None:
        """Reopen a file that was deleted, renamed or covered."""
        self._set_checked(file, now)
        with self._lock:
            self._open[name] = self._open.pop(name)
        try:
            found = os.stat(self._path(name))
        except OSError:
            # Whatever the reason is, the open reports it if it is still one.
            found = None
        if found is None or (found.st_dev, found.st_ino) != file.identity:
            self._close(name, file, now)
            self._open_file(name, file, now)
        else:
            file.size = found.st_size

    def _add(self, name: str, now: float) -> OpenFile:
        """Return the entry of a name; close files that are used less until there is room for it."""
        while True:
            with self._lock:
                file = self._open.get(name)
                if file is not None:
                    return file
                if len(self._open) < self._limit:
                    file = self._open[name] = OpenFile()
                    return file
                oldest, victim = next(iter(self._open.items()))
            with victim.lock:
                self._close(oldest, victim, now)
                self._remove(oldest, victim)

    def _open_file(self, name: str, file: OpenFile, now: float) -> None:
        """Open the file of an entry.

        :raises OSError: if that fails, or if something else than a regular file has the name.
        """
        path = self._path(name)
        if self._created is not None and not os.path.lexists(path):
            self._make_directory()
            self._created(name)
        try:
            fd = os.open(path, FLAGS, FILE_MODE)
        except FileNotFoundError:
            self._make_directory()
            fd = os.open(path, FLAGS, FILE_MODE)
        except OSError as error:
            if error.errno == ENXIO:
                raise _other_kind(os.stat(path).st_mode) from None
            # Too many files are open in the process or in the system: continue with one fewer.
            if error.errno not in (EMFILE, ENFILE) or not self._close_another(file, now):
                raise
            fd = os.open(path, FLAGS, FILE_MODE)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise _other_kind(found.st_mode)
        file.fd = fd
        file.identity = found.st_dev, found.st_ino
        file.lines = 0
        file.size = found.st_size
        begin, end = self._rotation.period(found.st_mtime if file.size else now)
        # A line of the previous period is from a worker that is behind, or from a clock that was set back a little.
        file.begin, file.end = begin - (self._rotation.every or 0.0), end
        self._set_checked(file, now)
        if file.size and os.pread(fd, 1, file.size - 1) != b"\n":
            file.size += os.write(fd, b"\n")
        if self._directory_identity is None:
            self._directory_identity = _identity(self._directory)

    def _set_checked(self, file: OpenFile, now: float) -> None:
        file.checked = now
        file.low = max(file.begin, now - CHECK_SECONDS)
        file.high = min(file.end, now + CHECK_SECONDS)

    def _make_directory(self) -> None:
        os.makedirs(self._directory, DIRECTORY_MODE, exist_ok=True)

    def _renamed(self, name: str, file: OpenFile, now: float) -> bool:
        """Rename the file and the rotated ones; return False, and log the failure, if that is not possible."""
        path = self._path(name)
        try:
            # Within the last second, somebody may have put another file in its place, which is not full.
            if _identity(path) == file.identity:
                shift(path, self._rotation.keep)
                if self._rotated is not None:
                    self._rotated(name)
        except OSError as error:
            self.failures.note("rotate", path, error, now)
            return False
        return True

    def _check_directory(self, now: float) -> None:
        """Reopen all files if the directory was removed, renamed or covered by a file system."""
        self._directory_checked = now
        before = self._directory_identity
        try:
            found = _identity(self._directory)
        except OSError:
            # The next open reports the error.
            return
        if before is not None and found != before:
            with self._lock:
                # Another worker may have noticed it as well.
                if self._directory_identity != before:
                    return
                self._directory_identity = None
            log.warn(
                "{title}: {directory} was removed, renamed or mounted over; its files are opened again at this path",
                title=self._title,
                directory=self._directory,
            )
            self._close_all(now)

    def _close_another(self, file: OpenFile, now: float) -> bool:
        """Close the least recently used file that no worker uses now."""
        for name, other in list(self._open.items()):
            if other is not file and other.lock.acquire(blocking=False):
                try:
                    if other.fd >= 0:
                        self._close(name, other, now)
                        self._remove(name, other)
                        return True
                finally:
                    other.lock.release()
        return False

    def _close_all(self, now: float) -> None:
        """Close all files, so that the next write of each opens it: those of silent senders as well, because a deleted
        file keeps its place on the disk until then."""
        for name, file in list(self._open.items()):
            with file.lock:
                self._close(name, file, now)
                self._remove(name, file)

    def _remove(self, name: str, file: OpenFile) -> None:
        file.gone = True
        with self._lock:
            if self._open.get(name) is file:
                del self._open[name]

    def _close(self, name: str, file: OpenFile, now: float) -> None:
        fd, file.fd = file.fd, -1
        file.high = -math.inf
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as error:
                # Network file systems and quotas report failed writes here, but not how much of them failed.
                self.unknown_losses[file.worker] += 1
                self.failures.note("close", self._path(name), error, now, at_most=file.lines)

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"


def _identity(path: str) -> _Identity | None:
    """Return the device and inode of a path; None if it does not exist."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


_KINDS: Final = (
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
    (stat.S_ISDIR, "directory"),
)


def _other_kind(mode: int) -> OSError:
    """Return the error for a path that is no regular file."""
    kind = next((word for is_kind, word in _KINDS if is_kind(mode)), "special file")
    return OSError(EINVAL, f"it is a {kind}, not a regular file")
