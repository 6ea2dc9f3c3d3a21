"""The open files of a log: bounded in number, reopened after they vanished, rotated when they are full."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from errno import EMFILE, ENFILE
from typing import Final

from twisted.logger import Logger

from netconsd.logger.lines import LineForm, log_lines
from netconsd.protocol.message import Message
from netconsd.protocol.plural import plural

# Read access is for the last byte: a line that an earlier write left unfinished has to be ended.
FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
FILE_MODE: Final = 0o640
DIRECTORY_MODE: Final = 0o750
# Seconds without a failure until the failure counts as over. A nearly full disk fails now and then; a log line for each
# time would fill the rest of it.
FAILURE_SECONDS: Final = 10.0
# Seconds between two checks whether a file still exists: a check before each write cost a quarter of the write.
CHECK_SECONDS: Final = 1.0

log = Logger("netconsd.logger")


@dataclass
class _Failure:
    """Repeated failures of one action with one errno."""

    text: str
    dropped: int = 0
    last: float = 0.0


@dataclass(slots=True)
class _File:
    """An open file."""

    fd: int
    checked: float


class LogFiles:
    """The open files of one worker, for its thread; ``stop`` is called after that thread has ended.

    Lines that cannot be written are dropped and counted, the failure is logged once per kind, and other files are not
    affected. Several workers may have files in one directory.
    """

    def __init__(
        self, directory: str, limit: int, rotate_bytes: int, rotate_keep: int, generation: int, rotating: threading.Lock
    ) -> None:
        """
        :param limit: open files at a time.
        :param rotate_bytes: the size at which a file is renamed; 0 for never.
        :param rotate_keep: how many renamed files are kept.
        :param generation: see :meth:`begin`.
        :param rotating: held while files are renamed; one for all workers.
        """
        #: The form of the lines.
        self.form = LineForm()
        #: Lines that could not be written; any thread.
        self.dropped = 0
        self._directory = directory
        self._limit = limit
        self._rotate_bytes = rotate_bytes
        self._rotate_keep = rotate_keep
        self._generation = generation
        self._rotating = rotating
        self._now = 0.0
        # By name, the least recently used one first, to a second. Bounded, because an attacker can forge any number of
        # senders, and descriptors run out.
        self._open: dict[str, _File] = {}
        # By action and errno, so the kinds of errors bound its size.
        self._failures: dict[tuple[str, int | None], _Failure] = {}

    def begin(self, generation: int, now: float) -> None:
        """Set the time of a batch; reopen all files if the generation has changed."""
        self._now = now
        if generation != self._generation:
            self._generation = generation
            self._close_all()
        if self._failures:
            self._end_failures()

    def append(self, name: str, messages: list[Message]) -> None:
        """Write the messages to the file, in one system call unless the system writes only a part."""
        data = log_lines(messages, self.form)
        written = 0
        try:
            fd = self._ready(name, len(data))
            written = os.write(fd, data)
            while written < len(data):
                written += os.write(fd, data[written:])
        except OSError as error:
            # The next batch reopens the file, and ends a line that was left unfinished.
            self._close(name)
            dropped = len(messages) - data.count(b"\n", 0, written)
            self.dropped += dropped
            self._note("write", name, error, dropped)

    def stop(self) -> None:
        """Close all files; log the lines dropped by failures that are not over."""
        self._close_all()
        for failure in self._failures.values():
            log.warn("logger: {count} dropped: {text}", count=plural(failure.dropped, "line"), text=failure.text)
        self._failures.clear()

    def _ready(self, name: str, size: int) -> int:
        """Return the descriptor of a file that existed within the last second and has room for ``size`` bytes."""
        file = self._open.get(name)
        if file is None:
            file = self._open_file(name)
        # A clock that was set back also causes a check.
        if -CHECK_SECONDS < self._now - file.checked < CHECK_SECONDS and not self._rotate_bytes:
            return file.fd
        file.checked = self._now
        self._open[name] = self._open.pop(name)
        stat = os.fstat(file.fd)
        if stat.st_nlink == 0:
            # Deleted, perhaps with its directory.
            self._close(name)
            return self._open_file(name).fd
        if 0 < self._rotate_bytes < stat.st_size + size and stat.st_size and self._rotated(name, stat):
            self._close(name)
            return self._open_file(name).fd
        return file.fd

    def _open_file(self, name: str) -> _File:
        path = f"{self._directory}/{name}"
        while len(self._open) >= self._limit:
            self._close_oldest()
        try:
            fd = os.open(path, FLAGS, FILE_MODE)
        except FileNotFoundError:
            os.makedirs(self._directory, DIRECTORY_MODE, exist_ok=True)
            fd = os.open(path, FLAGS, FILE_MODE)
        except OSError as error:
            # Too many files are open in the process or in the system: continue with one fewer.
            if error.errno not in (EMFILE, ENFILE) or not self._open:
                raise
            self._close_oldest()
            fd = os.open(path, FLAGS, FILE_MODE)
        file = self._open[name] = _File(fd, self._now)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            os.write(fd, b"\n")
        return file

    def _rotated(self, name: str, stat: os.stat_result) -> bool:
        """Rename the file and the older ones; return False, and log the failure, if that is not possible."""
        path = f"{self._directory}/{name}"
        current = None
        try:
            with self._rotating:
                # Two addresses of a host may be with two workers, which share its file: the other may have renamed it.
                with suppress(FileNotFoundError):
                    current = os.stat(path)
                if current is None or not os.path.samestat(current, stat):
                    return True
                for number in range(self._rotate_keep, 0, -1):
                    # There may be fewer files yet, and an administrator may have moved the file itself.
                    with suppress(FileNotFoundError):
                        os.replace(f"{path}.{number - 1}" if number > 1 else path, f"{path}.{number}")
        except OSError as error:
            self._note("rotate", name, error, 0)
            return False
        return True

    def _close_oldest(self) -> None:
        self._close(next(iter(self._open)))

    def _close_all(self) -> None:
        for name in list(self._open):
            self._close(name)

    def _close(self, name: str) -> None:
        file = self._open.pop(name, None)
        if file is not None:
            try:
                os.close(file.fd)
            except OSError as error:
                # Network file systems report failed writes here.
                self._note("close", name, error, 0)

    def _note(self, action: str, name: str, error: OSError, dropped: int) -> None:
        """Count the lines dropped by a failure; log the failure if it is new."""
        failure = self._failures.get((action, error.errno))
        if failure is None:
            text = f"cannot {action} {self._directory}/{name}: {error.strerror}"
            failure = self._failures[action, error.errno] = _Failure(text)
            log.error("logger: {text} (logged once; the dropped lines are logged when this is over)", text=text)
        failure.dropped += dropped
        failure.last = self._now

    def _end_failures(self) -> None:
        """Log and forget the failures that are over."""
        for key, failure in list(self._failures.items()):
            # A clock that was set back also ends a failure; otherwise it might never end.
            if abs(self._now - failure.last) >= FAILURE_SECONDS:
                del self._failures[key]
                log.info(
                    "logger: over for {seconds:.0f} s: {text}; {count} dropped",
                    seconds=FAILURE_SECONDS,
                    text=failure.text,
                    count=plural(failure.dropped, "line"),
                )
