"""The dead letters of a stream: records that the server refuses, each a line of JSON with the server's answer.

::

    {"time": 1795443600.2, "answer": "400 Bad Request: too long", "id": "192.0.2.7/1795440000/417", "record": {...}}

``record`` is the object of :mod:`netconsd.jsonl`; of a report with its messages. docs/streams says how they are sent
again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from netconsd.store.journal import FILE_MODE
from netconsd.streams.record import Record

FILE: Final = "dead-letters.jsonl"
#: Characters of an answer that are kept: a server can answer with a page.
ANSWER_LIMIT: Final = 1000


class DeadLetters:
    """Appends to one file. For one thread."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        """
        :param most_bytes: the size that the file can have.
        """
        self._path = path
        self._most_bytes = most_bytes
        #: True while the last record was dropped, because the file or the disk is full.
        self.full = False

    def write(self, record: Record, answer: str, now: float) -> bool:
        """Append a record, and return true; false if it was dropped: the file has its size, or the disk is full.

        :param now: Unix time in seconds.
        """
        head = json.dumps({"time": now, "answer": answer[:ANSWER_LIMIT], "id": record.id})
        line = head[:-1].encode("ascii") + b', "record": ' + record.to_json() + b"}\n"
        self.full = not self._append(line)
        return not self.full

    def _append(self, line: bytes) -> bool:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError:
            return False
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                # A line that was torn by the end of the machine.
                line = b"\n" + line
            if size + len(line) > self._most_bytes:
                return False
            written = 0
            try:
                while written < len(line):
                    written += os.pwrite(fd, line[written:], size + written)
                os.fdatasync(fd)
            except OSError:
                os.ftruncate(fd, size)
                return False
            return True
        except OSError:
            return False
        finally:
            os.close(fd)
