"""Appends lines to files that are open: a hot file, because each batch has some lines for each of many files.

The rest of the life of a file is in :mod:`netconsd.logger.files`.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable

from netconsd.logger.lines import LineForm, rendered
from netconsd.protocol.message import Message

#: Called after a write failed, while the lock of the file is held: with the worker, the name, the file, the lines,
#: their number, the bytes that were written, the error and the time.
Failed = Callable[[int, str, "OpenFile", bytes, int, int, OSError, float], object]
#: :meth:`netconsd.logger.files.LogFiles.append`.
Append = Callable[[int, str, bytes, int, float], object]


class OpenFile:
    """A name and its file, which is open unless ``fd`` is negative. Fields are for the holder of the lock."""

    __slots__ = (
        *("begin", "checked", "end", "fd", "gone", "high", "identity", "lines", "lock", "low", "size", "worker"),
    )

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fd = -1
        #: Whether it is out of the table.
        self.gone = False
        self.identity: tuple[int, int] | None = None
        self.checked = 0.0
        self.size = 0
        #: The file has no lines from before or after these times.
        self.begin = 0.0
        self.end = 0.0
        #: Lines written since the file was opened, and the worker that wrote last.
        self.lines = 0
        self.worker = 0
        #: Between these times, lines need no check of the file; none while it is closed.
        self.low = 0.0
        self.high = -math.inf


def write(file: OpenFile, worker: int, name: str, data: bytes, count: int, now: float, failed: Failed) -> None:
    """Write ``count`` lines, in one system call unless the system writes only a part; with the lock, and open."""
    size = len(data)
    written = 0
    file.worker = worker
    try:
        written = os.write(file.fd, data)
        while written < size:
            written += os.write(file.fd, data[written:])
    except OSError as error:
        failed(worker, name, file, data, count, written, error, now)
        return
    file.size += size
    file.lines += count


def append_groups(
    open_files: dict[str, OpenFile],
    worker: int,
    groups: dict[str, list[Message]],
    form: LineForm,
    now: float,
    most: int,
    append: Append,
    failed: Failed,
) -> None:
    """Append the lines of the messages to the files of their names.

    :param most: the size in bytes beyond which a file is rotated.
    :param append: for lines whose file has to be opened, checked or rotated first.
    """
    for name, group in groups.items():
        lines = rendered(group, form)
        # A continuation of blanks has no line.
        if not lines:
            continue
        data = b"".join(lines)
        file = open_files.get(name)
        if file is not None:
            # The lock, two comparisons and the write, for most lines.
            with file.lock:
                if not file.gone and file.low < now < file.high and file.size + len(data) <= most:
                    write(file, worker, name, data, len(lines), now, failed)
                    continue
        append(worker, name, data, len(lines), now)
