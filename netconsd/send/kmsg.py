"""Reads the records of /dev/kmsg without blocking, or of a file or pipe with the same lines.

A read of the device returns one record (Documentation/ABI/testing/dev-kmsg). In a file or pipe a record is a line and
the following lines that begin with a space.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from netconsd.send.reliable import RECORD_LIMIT

# Records per call, so that the caller reads acknowledgements in between: at the start the kernel has thousands.
RECORDS_LIMIT = 256
# The capacity of a pipe. Bounds the memory for a file without newlines.
_CHUNK = 65536


class Kmsg:
    """A source of records."""

    def __init__(self, path: str, *, read: Callable[[int, int], bytes] = os.read) -> None:
        """:raises OSError: if it cannot be opened."""
        #: Times that the kernel had overwritten records before they were read.
        self.overruns = 0
        #: True at the end of a file. The device and a named pipe do not end.
        self.ended = False
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        # A named pipe that is also open for writing does not end when its last writer closes it.
        mode = os.O_RDWR if stat.S_ISFIFO(os.stat(path).st_mode) else os.O_RDONLY
        self._fd = os.open(path, mode | flags)
        self._is_device = stat.S_ISCHR(os.fstat(self._fd).st_mode)
        self._read = read
        # Complete records of a file or pipe, and the last one, which may continue.
        self._records: list[bytes] = []
        self._partial = b""

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    @property
    def pending(self) -> bool:
        """True if :meth:`records` can return records although the descriptor is not readable."""
        return bool(self._records or self._partial)

    def records(self, limit: int) -> list[bytes]:
        """Return at most ``limit`` of the available records, without blocking.

        Errors that mean lost records (EPIPE: overwritten, EINVAL: too long) are skipped.

        :raises OSError: any other error of read.
        """
        return self._from_device(limit) if self._is_device else self._from_stream(limit)

    def _from_device(self, limit: int) -> list[bytes]:
        records: list[bytes] = []
        for _ in range(min(limit, RECORDS_LIMIT)):
            try:
                record = self._read(self._fd, RECORD_LIMIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:
                    # The kernel overwrote records. The next read returns the oldest remaining one.
                    self.overruns += 1
                    continue
                if error.errno == errno.EINVAL:
                    # Longer than the kernel's own bound. The next read returns the following record.
                    continue
                raise
            if not record:
                self.ended = True
                break
            records.append(record)
        return records

    def _from_stream(self, limit: int) -> list[bytes]:
        if len(self._records) < limit and not self.ended:
            self._read_stream()
        records, self._records = self._records[:limit], self._records[limit:]
        return records

    def _read_stream(self) -> None:
        try:
            chunk = self._read(self._fd, _CHUNK)
        except BlockingIOError:
            chunk = b""
        else:
            self.ended = not chunk
        records: list[bytes] = []
        for line in (self._partial + chunk).splitlines(keepends=True):
            if records and line.startswith(b" "):
                records[-1] += line
            else:
                records.append(line)
        # While data arrives, the last record may continue.
        self._partial = records.pop() if records and chunk and len(records[-1]) < _CHUNK else b""
        self._records += records
