"""One writer for each store: a second daemon with the same directory is refused.

The lock is flock(2) on a file of the directory, so that it ends with the process, however that ends. Readers need none.

The file has the process and the boot of the machine, and is empty after a stop in order: the next holder learns from
it how the last one ended.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from netconsd.store.journal import FILE_MODE, System

FILE: Final = "lock"
#: proc_sys_kernel(5): another one after each boot of the machine.
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
#: A holder has two short lines.
_LENGTH: Final = 128


class Locked(Exception):
    """Another process has the lock; the text says which."""


class Lock:
    """The lock of a directory, held from the constructor to :meth:`release`. Any thread."""

    def __init__(self, directory: Path, name: str = FILE, *, boot_id: Path = BOOT_ID) -> None:
        """
        :param name: the file's name in the directory.
        :param boot_id: the file with the machine's boot.
        :raises Locked: if another process has it.
        :raises OSError: if the file cannot be made.
        """
        path = directory / name
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder, _ = self._content()
            os.close(self._fd)
            process = f"process {holder}" if holder.isdecimal() else "another process"
            raise Locked(
                f"the store {directory} is used by {process}; give this one another directory, or stop that process"
            ) from None
        except OSError:
            os.close(self._fd)
            raise
        try:
            boot = boot_id.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            boot = ""
        holder, its_boot = self._content()
        #: Whether the last holder did not stop in order.
        self.crashed = bool(holder)
        #: Whether the machine has booted since; None if that is not known.
        self.booted = boot != its_boot if boot and its_boot else None
        # A full disk has no room for the name of the holder; the lock is held nevertheless.
        with suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n{boot}\n".encode("ascii"), 0)

    def _content(self) -> tuple[str, str]:
        """Return the process and the boot of the holder; empty if it stopped in order."""
        lines = os.pread(self._fd, _LENGTH, 0).decode("ascii", "replace").split("\n")
        return lines[0].strip(), lines[1].strip() if len(lines) > 1 else ""

    def sync(self, system: System) -> None:
        """Sync the file, so that a crash of the machine is known after it; not in a thread that must not wait.

        :raises OSError: if the disk fails.
        """
        system.fdatasync(self._fd)

    def release(self) -> None:
        """Give the lock back, after a stop in order. The file stays: removing it would let two processes lock two files
        of one name."""
        if self._fd >= 0:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def holder(directory: Path) -> int:
    """Return the number of the process that has the lock of a directory, or had it and did not stop in order; 0 if none
    had, or it cannot be read."""
    try:
        process = (directory / FILE).read_text("ascii").partition("\n")[0].strip()
    except (OSError, ValueError):
        return 0
    return int(process) if process.isdecimal() else 0
