"""One writer for each store: a second daemon with the same directory is refused.

The lock is flock(2) on a file of the directory, so that it ends with the process, however that ends. Readers need none.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

FILE: Final = "lock"


class Locked(Exception):
    """Another process has the lock; the text says which."""


class Lock:
    """The lock of a directory, held from the constructor to :meth:`release`. Any thread."""

    def __init__(self, directory: Path, name: str = FILE) -> None:
        """
        :param name: the file's name in the directory.
        :raises Locked: if another process has it.
        :raises OSError: if the file cannot be made.
        """
        path = directory / name
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            process = f"process {holder}" if holder.isdecimal() else "another process"
            raise Locked(
                f"the store {directory} is used by {process}; give this one another directory, or stop that process"
            ) from None
        except OSError:
            os.close(self._fd)
            raise
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two processes lock two files of one name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def holder(directory: Path) -> int:
    """Return the number of the process that has or had the lock of a directory; 0 if none had, or it cannot be read."""
    try:
        text = (directory / FILE).read_text("ascii")
    except (OSError, ValueError):
        return 0
    return int(text) if text.strip().isdecimal() else 0
