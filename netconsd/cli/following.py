"""A file that is read while it grows, like ``tail -F``: also if it is truncated, or another one takes its name."""

from __future__ import annotations

import os
import select
import stat

from netconsd.read.compressed import MAGIC_BYTES, UnreadableError, kind_of


class Followed:
    """The bytes of a file as they are appended. Reads never block. For one thread."""

    def __init__(self, name: str) -> None:
        """
        :param name: the path of a file, which need not exist yet; ``-`` for standard input.
        :raises OSError: if it exists and cannot be read.
        :raises UnreadableError: if it is compressed.
        """
        self._name = name
        self._fd = -1
        self._pipe = False
        self._replaced = False
        self._truncated = False
        self._heard = False
        self._open()

    def read(self, size: int) -> bytes | None:
        """Return at most so many further bytes; None if there are none at present.

        ``b""`` at the end of a pipe, and where a file was truncated or replaced: then :meth:`replaced` is true.

        :raises OSError: if it cannot be read any more.
        :raises UnreadableError: if another file has taken its name, and is compressed.
        """
        if self._fd < 0:
            try:
                self._open()
            except OSError:
                return None
            if self._fd < 0:
                return None
        if self._pipe and not select.select([self._fd], [], [], 0)[0]:
            return None
        data = os.read(self._fd, size)
        if data:
            self._heard = True
            return data
        if self._pipe:
            return b""
        try:
            there = os.stat(self._name)
        except OSError:
            # Renamed, and no other one is there yet: it can still grow.
            return None
        own = os.fstat(self._fd)
        if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
            # What was appended since the last read and before the rename.
            data = os.read(self._fd, size)
            if data:
                self._heard = True
                return data
            self._replaced = True
        elif own.st_size < os.lseek(self._fd, 0, os.SEEK_CUR):
            self._replaced = self._truncated = True
        else:
            return None
        return b""

    def replaced(self) -> bool:
        """Begin with the new file, and return True, if the end was that of a file that was truncated or replaced."""
        if not self._replaced:
            return False
        self._replaced = False
        os.close(self._fd)
        self._fd = -1
        return True

    def take_truncated(self) -> bool:
        """Return whether the file was truncated since the last call: nothing continues what was in it."""
        truncated, self._truncated = self._truncated, False
        return truncated

    def take_heard(self) -> bool:
        """Return whether anything was read since the last call."""
        heard, self._heard = self._heard, False
        return heard

    def _open(self) -> None:
        if self._name == "-":
            self._fd = os.dup(0)
        else:
            try:
                self._fd = os.open(self._name, os.O_RDONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                return
        mode = os.fstat(self._fd).st_mode
        if stat.S_ISDIR(mode):
            os.close(self._fd)
            self._fd = -1
            raise IsADirectoryError(21, os.strerror(21), self._name)
        self._pipe = not stat.S_ISREG(mode)
        if not self._pipe and kind_of(os.pread(self._fd, MAGIC_BYTES, 0)) is not None:
            raise UnreadableError("is compressed, and a compressed file does not grow: leave out --follow")
