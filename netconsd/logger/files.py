"""The open files of a log, one per name: bounded, opened anew when they are gone, renamed when they are full.

For one thread at a time; several may have files in one directory.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from errno import EMFILE, ENFILE
from typing import Final

from twisted.logger import Logger

from netconsd.logger.lines import log_lines
from netconsd.protocol.message import Message

__all__ = ["LogFiles"]

# Reading is for the last byte only: a line that an earlier write left unfinished has to be ended.
FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
FILE_MODE: Final = 0o640
DIRECTORY_MODE: Final = 0o750
# A trouble is over when it has cost nothing for so many seconds. A disk that is nearly full fails now and then; said
# each time, that would fill what is left of it.
QUIET: Final = 10.0
# How often, in seconds, is seen whether a file is still there: asking before each write cost a quarter of the writing.
CHECK: Final = 1.0

log = Logger("netconsd.logger")


class _Trouble:
    """A kind of failure that goes on."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.lost = 0
        self.last = 0.0


class _File:
    """One that is open."""

    __slots__ = ("checked", "fd")

    def __init__(self, fd: int, checked: float) -> None:
        self.fd = fd
        self.checked = checked


class LogFiles:
    """The open files of one worker. All is called in its thread, ``stop`` after it has ended.

    What cannot be written is lost, counted, and said once per kind of trouble; it touches no other file.
    """

    def __init__(
        self, directory: str, limit: int, rotate_bytes: int, rotate_keep: int, generation: int, rotating: threading.Lock
    ) -> None:
        """
        :param limit: how many files are open at a time.
        :param rotate_bytes: at which size a file is renamed; 0: never.
        :param rotate_keep: how many of the renamed are kept.
        :param generation: see :meth:`begin`.
        :param rotating: held while files are renamed; one for all workers.
        """
        #: How many lines could not be written.
        self.lost_lines = 0
        self._directory = directory
        self._limit = limit
        self._rotate_bytes = rotate_bytes
        self._rotate_keep = rotate_keep
        self._generation = generation
        self._rotating = rotating
        self._now = 0.0
        # By name, the one used longest ago first, to a second. Bounded: senders are as many as somebody forges,
        # descriptors are not.
        self._open: dict[str, _File] = {}
        # By what failed and its errno, so it is as many as there are kinds of errors.
        self._troubles: dict[tuple[str, int | None], _Trouble] = {}

    def begin(self, generation: int, now: float) -> None:
        """Note the time of a batch; open files anew if the generation has changed."""
        self._now = now
        if generation != self._generation:
            self._generation = generation
            self._close_all()
        if self._troubles:
            self._settle()

    def append(self, name: str, messages: list[Message]) -> None:
        """Write the messages to the file, in one call to the system unless that takes only a part of them."""
        data = log_lines(messages)
        done = 0
        try:
            fd = self._ready(name, len(data))
            done = os.write(fd, data)
            while done < len(data):
                done += os.write(fd, data[done:])
        except OSError as error:
            # Opened anew for the next batch, which finds out whether a line was left unfinished.
            self._close(name)
            lost = len(messages) - data.count(b"\n", 0, done)
            self.lost_lines += lost
            self._note("write", name, error, lost)

    def stop(self) -> None:
        """Close all files and say what has not been said."""
        self._close_all()
        for trouble in self._troubles.values():
            log.warn("logger: {words}: {lost} lines were lost", words=trouble.words, lost=trouble.lost)
        self._troubles.clear()

    def _ready(self, name: str, size: int) -> int:
        """Return the descriptor of a file that was in the directory lately, and has room for so many bytes."""
        file = self._open.get(name)
        if file is None:
            file = self._open_file(name)
        # A clock that was set back is no reason not to look.
        if -CHECK < self._now - file.checked < CHECK and not self._rotate_bytes:
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
            # Too many files are open in the process, or in the system: go on with fewer.
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
        """Rename the file, and those that were renamed before; if that fails, say so and go on with the file."""
        with self._rotating:
            return self._renamed(name, stat)

    def _renamed(self, name: str, stat: os.stat_result) -> bool:
        path = f"{self._directory}/{name}"
        current = None
        try:
            # Two addresses of one host may be with two workers, which share its file: the other one was here first.
            with suppress(FileNotFoundError):
                current = os.stat(path)
            if current is None or not os.path.samestat(current, stat):
                return True
            for number in range(self._rotate_keep, 0, -1):
                # There may be fewer by now, and somebody may have moved the file itself.
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
                # Network file systems tell here what they could not write.
                self._note("close", name, error, 0)

    def _note(self, action: str, name: str, error: OSError, lost: int) -> None:
        """Count what was lost to a trouble; say it if it is new."""
        trouble = self._troubles.get((action, error.errno))
        if trouble is None:
            words = f"cannot {action} {self._directory}/{name}: {error.strerror}"
            trouble = self._troubles[action, error.errno] = _Trouble(words)
            log.error("logger: {words}; this is said once, and at its end how many lines it cost", words=words)
        trouble.lost += lost
        trouble.last = self._now

    def _settle(self) -> None:
        """Say which troubles are over."""
        for key, trouble in list(self._troubles.items()):
            # A clock that was set back ends it as well, rather than never.
            if abs(self._now - trouble.last) >= QUIET:
                del self._troubles[key]
                log.info(
                    "logger: over for {quiet:.0f} s: {words}; {lost} lines were lost",
                    quiet=QUIET,
                    words=trouble.words,
                    lost=trouble.lost,
                )
