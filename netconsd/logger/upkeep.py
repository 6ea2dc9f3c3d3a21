"""Compresses rotated files and deletes old ones, in a thread of its own.

Rules:

1. A file is deleted or replaced only if this module made it: its name, or the name that it was rotated from, is in the
   record (:class:`Record`), or it is the one name that the user gave.
2. A compressed copy is complete and on the disk before it gets its name, and gets its name before the original is
   deleted. After an interruption in between both exist; then the original is deleted. An incomplete copy has a name of
   its own, ``.NAME.partial``, and is deleted.
3. Numbers change while a file is compressed, so a rotated file is found again by device and inode.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOSPC
from queue import Empty, SimpleQueue
from typing import Any, Final

from twisted.logger import Logger

from netconsd.logger.compression import compress, compressor
from netconsd.logger.files import FILE_MODE, LogFiles
from netconsd.logger.rotation import ENDINGS, SUFFIXES, Rotation, numbers, split
from netconsd.protocol.plural import plural

#: Seconds between two searches for files to compress and to delete.
SWEEP_SECONDS: Final = 60.0
#: Seconds that a stop waits for the thread, which looks for the stop after each mebibyte and each file.
STOP_SECONDS: Final = 5.0
PARTIAL: Final = ".partial"
#: Lines of a record beyond which it is written again without repeated names and names without a file.
RECORD_LINES: Final = 4096
#: Recorded names in memory, some 8 MB; beyond, names are recorded again.
RECORDED_LIMIT: Final = 65_536

log = Logger("netconsd.logger")


class Record:
    """The names of the files that a module made, a line each, in a hidden file of the directory. Any thread."""

    def __init__(self, directory: str, title: str) -> None:
        self._path = f"{directory}/.netconsd-{title}"
        self._lock = threading.Lock()
        self._recorded: set[str] = set()

    def add(self, name: str) -> None:
        """Add a name.

        :raises OSError: if it cannot be written; then the file must not be made.
        """
        with self._lock:
            # A file is created again at each rotation.
            if name in self._recorded:
                return
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                # The newline in front: a line that a full disk cut must not become a part of this name.
                line = f"\n{name}\n".encode()
                if os.write(fd, line) < len(line):
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
            finally:
                os.close(fd)
            if len(self._recorded) >= RECORDED_LIMIT:
                self._recorded.clear()
            self._recorded.add(name)

    def names(self) -> set[str]:
        """Return the names; none if there is no record.

        :raises OSError: if it cannot be read.
        """
        return set(self._lines())

    def shorten(self, exists: Callable[[str], bool]) -> None:
        """Write a long record again if at most half of its lines are needed.

        :param exists: called with a name; returns whether it has files.
        :raises OSError: if it cannot be written; the record stays as it was.
        """
        with self._lock:
            lines = self._lines()
            if len(lines) <= RECORD_LINES:
                return
            kept = {name for name in lines if exists(name)}
            if len(kept) > len(lines) // 2:
                return
            new = f"{self._path}{PARTIAL}"
            with open(new, "w", encoding="utf-8") as file:
                file.writelines(f"{name}\n" for name in sorted(kept))
                file.flush()
                os.fsync(file.fileno())
            os.chmod(new, FILE_MODE)
            os.replace(new, self._path)
            self._recorded.clear()

    def _lines(self) -> list[str]:
        try:
            with open(self._path, encoding="utf-8", errors="replace") as lines:
                return [line[:-1] for line in lines if line.endswith("\n") and line != "\n"]
        except FileNotFoundError:
            return []


@dataclass(frozen=True)
class _Found:
    """A file of the directory that this module made."""

    name: str
    #: The name that it was rotated from, the number, and the suffix of its compression.
    base: str
    number: int
    suffix: str
    stat: os.stat_result


class Upkeep:
    """The thread of one module. ``rotated`` is for any thread, ``start`` and ``stop`` for the reactor's."""

    def __init__(
        self,
        directory: str,
        files: LogFiles,
        rotation: Rotation,
        names: Callable[[], Collection[str]],
        *,
        title: str = "logger",
        clock: Callable[[], float] = time.time,
        shorten: Callable[[Callable[[str], bool]], None] | None = None,
    ) -> None:
        """
        :param names: returns the names of the files that, with those rotated from them, may be compressed and deleted.
        :param clock: the Unix time in seconds.
        :param shorten: :meth:`Record.shorten`, if there is a record.
        :raises ModuleNotFoundError: if the library for the compression is missing.
        """
        self._directory = directory
        self._files = files
        self._rotation = rotation
        self._names = names
        self._title = title
        self._clock = clock
        self._shorten = shorten
        self._suffix = SUFFIXES.get(rotation.compress, "")
        self._compressor: Callable[[], Any] | None = None
        if rotation.compress != "no":
            self._compressor = compressor(rotation.compress)
        # Each name once, so that the names bound its size.
        self._pending: set[str] = set()
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, which begins with a search for leftovers of an earlier run."""
        self._thread = threading.Thread(target=self._run, name=f"{self._title} files", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; an unfinished compression is done again after the next start."""
        self._stopped.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def rotated(self, name: str) -> None:
        """Have the rotated files of a name compressed."""
        if self._compressor is not None and name not in self._pending:
            self._pending.add(name)
            self._queue.put(name)

    def compress(self, name: str) -> None:
        """Compress the rotated files of a name; a failure is logged."""
        path = f"{self._directory}/{name}"
        for number in list(numbers(path, self._rotation.keep)):
            if not self._stopped.is_set() and os.path.lexists(f"{path}.{number}"):
                self._compress(name, number)

    def sweep(self, now: float) -> None:
        """Remove leftovers, compress, and delete files until the bounds of age and size hold; a failure is logged."""
        try:
            names = self._names()
            self._remove_partial(names)
            for name in {found.base for found in self._found(names) if found.number and not found.suffix}:
                self._remove_doubles(name)
                if self._compressor is not None:
                    self.compress(name)
            self._delete(list(self._found(names)), now)
            if self._shorten is not None:
                left = {found.base for found in self._found(names)}
                self._shorten(left.__contains__)
        except OSError as error:
            self._files.failures.note("tidy", self._directory, error, now)

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            try:
                name = self._queue.get(timeout=max(0.0, due - time.monotonic()))
            except Empty:
                name = ""
            if name is None:
                return
            try:
                if name:
                    self._pending.discard(name)
                    self.compress(name)
                else:
                    self.sweep(self._clock())
                    self._files.failures.end(self._clock())
            except Exception:
                # The thread has to survive, because the bounds depend on it.
                log.failure("{title}: the upkeep of files failed", title=self._title)
            if not name:
                due = time.monotonic() + SWEEP_SECONDS

    def _found(self, names: Collection[str]) -> Iterator[_Found]:
        """Yield the files that this module made; no links, no directories."""
        with os.scandir(self._directory) as entries:
            for entry in entries:
                base, number, suffix = (entry.name, 0, "") if entry.name in names else split(entry.name)
                if base in names and not self._stopped.is_set():
                    with suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(found.st_mode):
                            yield _Found(entry.name, base, number, suffix, found)

    def _remove_partial(self, names: Collection[str]) -> None:
        """Delete incomplete copies of an earlier run: only this thread makes them, and now it makes none."""
        for name in os.listdir(self._directory):
            if name.startswith(".") and name.endswith(PARTIAL) and name[1 : -len(PARTIAL)] in names:
                os.unlink(f"{self._directory}/{name}")

    def _remove_doubles(self, name: str) -> None:
        path = f"{self._directory}/{name}"
        with self._files.holding(name):
            for number in numbers(path, self._rotation.keep):
                if any(os.path.lexists(f"{path}.{number}{ending}") for ending in ENDINGS[1:]):
                    with suppress(FileNotFoundError):
                        os.unlink(f"{path}.{number}")

    def _compress(self, name: str, number: int) -> None:
        path = f"{self._directory}/{name}"
        partial = f"{self._directory}/.{name}{PARTIAL}"
        source = target = -1
        try:
            with self._files.holding(name) as current:
                source = os.open(f"{path}.{number}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                found = os.fstat(source)
            # logrotate renames a file before the daemon reopens it: within that second it is still written.
            if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) == current:
                return
            target = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
            os.fchmod(target, stat.S_IMODE(found.st_mode))
            assert self._compressor is not None, "callers check it"
            if not compress(self._compressor, source, target, stopped=self._stopped.is_set):
                os.unlink(partial)
                return
            # Age and order of files are those of their lines.
            os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
            self._replace(name, found, partial)
        except FileNotFoundError:
            # The file was rotated out, or deleted by its age.
            with suppress(FileNotFoundError):
                os.unlink(partial)
        except OSError as error:
            with suppress(OSError):
                os.unlink(partial)
            self._files.failures.note("compress", f"{path}.{number}", error, self._clock())
        finally:
            for fd in (source, target):
                if fd >= 0:
                    os.close(fd)

    def _replace(self, name: str, source: os.stat_result, partial: str) -> None:
        """Put the compressed copy in the place of the original, whatever number that has now."""
        path = f"{self._directory}/{name}"
        with self._files.holding(name):
            for number in numbers(path, self._rotation.keep):
                original = f"{path}.{number}"
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.lstat(original), source):
                        os.rename(partial, f"{original}{self._suffix}")
                        self._sync_directory()
                        os.unlink(original)
                        return
        os.unlink(partial)

    def _sync_directory(self) -> None:
        """Wait until the new name is on the disk."""
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _delete(self, files: list[_Found], now: float) -> None:
        files.sort(key=lambda found: found.stat.st_mtime_ns)
        by_age = by_size = 0
        left = []
        for found in files:
            age = self._rotation.keep_age
            if age is not None and found.stat.st_mtime < now - age and self._deleted(found, now):
                by_age += 1
            else:
                left.append(found)
        if self._rotation.keep_size is not None:
            total = sum(found.stat.st_size for found in left)
            # Never the one that was written last: without it nothing at all would be left of a single loud sender.
            for found in left[:-1]:
                if total <= self._rotation.keep_size or self._stopped.is_set():
                    break
                if self._deleted(found, now):
                    total -= found.stat.st_size
                    by_size += 1
        for count, setting in ((by_age, "keep_age"), (by_size, "keep_size")):
            if count:
                log.info(
                    "{title}: {count} deleted by {setting}",
                    title=self._title,
                    count=plural(count, "file"),
                    setting=setting,
                )

    def _deleted(self, found: _Found, now: float) -> bool:
        """Delete a file unless it was written or renamed since it was found."""
        path = f"{self._directory}/{found.name}"
        try:
            with self._files.holding(found.base) as current:
                new = os.lstat(path)
                if not os.path.samestat(new, found.stat) or new.st_mtime_ns != found.stat.st_mtime_ns:
                    return False
                os.unlink(path)
                if current == (new.st_dev, new.st_ino):
                    self._files.forget(found.base, now)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._files.failures.note("delete", path, error, now)
            return False
        return True
