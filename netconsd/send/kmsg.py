"""The records of /dev/kmsg, read without waiting; or those of a file or a pipe that has the same lines.

From the device every read is one record (Documentation/ABI/testing/dev-kmsg). Elsewhere a record is a line, with those
that follow it and begin with a space.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from netconsd.send.reliable import RECORD_LIMIT

# Records per call, so that acknowledgements are heard in between: a kernel has thousands when we begin.
RECORDS_LIMIT = 256
# What a pipe holds. A file that has no lines must not be gathered without end.
_CHUNK = 65536


class Kmsg:
    """A source of records."""

    def __init__(self, path: str, *, read: Callable[[int, int], bytes] = os.read) -> None:
        """
        :raises OSError: if it cannot be opened.
        """
        #: Times that the kernel had overwritten records before they were read.
        self.overruns = 0
        #: Whether nothing more will come; never so for the device, nor for a named pipe.
        self.ended = False
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        # A named pipe that is open for writing, too, has no end when its last writer goes.
        writable = os.O_RDWR if stat.S_ISFIFO(os.stat(path).st_mode) else os.O_RDONLY
        self._fd = os.open(path, writable | flags)
        self._device = stat.S_ISCHR(os.fstat(self._fd).st_mode)
        self._read = read
        # Records of a stream that were read and not asked for yet, and the last one, which may go on.
        self._found: list[bytes] = []
        self._rest = b""

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    @property
    def pending(self) -> bool:
        """Whether :meth:`records` has something though the descriptor may not be readable."""
        return bool(self._found or self._rest)

    def records(self, limit: int) -> list[bytes]:
        """At most so many of the records that are there.

        :raises OSError: if they cannot be read, but for what is no more than a loss of records.
        """
        return self._from_device(limit) if self._device else self._from_stream(limit)

    def _from_device(self, limit: int) -> list[bytes]:
        found: list[bytes] = []
        for _ in range(min(limit, RECORDS_LIMIT)):
            try:
                record = self._read(self._fd, RECORD_LIMIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:
                    # Overwritten while we were elsewhere. The next read goes on with the oldest that there is.
                    self.overruns += 1
                    continue
                if error.errno == errno.EINVAL:
                    # Longer than a kernel should have them; the next read goes on behind it.
                    continue
                raise
            if not record:
                self.ended = True
                break
            found.append(record)
        return found

    def _from_stream(self, limit: int) -> list[bytes]:
        if len(self._found) < limit and not self.ended:
            self._read_stream()
        found, self._found = self._found[:limit], self._found[limit:]
        return found

    def _read_stream(self) -> None:
        try:
            chunk = self._read(self._fd, _CHUNK)
        except BlockingIOError:
            chunk = b""
        else:
            self.ended = not chunk
        found: list[bytes] = []
        for line in (self._rest + chunk).splitlines(keepends=True):
            if found and line.startswith(b" "):
                found[-1] += line
            else:
                found.append(line)
        # As long as something comes, the last record may go on.
        self._rest = found.pop() if found and chunk and len(found[-1]) < _CHUNK else b""
        self._found += found
