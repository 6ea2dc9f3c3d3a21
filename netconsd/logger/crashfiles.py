"""A file for each crash report: ``crashes/2026-11-22-140405-web01-KASAN-slab-use-after-free-Read-in-chrdev_open.txt``.

A file is written under a temporary name and renamed, so that a file is whole. It has the facts of the report, its lines
as ``scripts/decode_stacktrace.sh`` takes them, and the lines before. There is no ``fsync``.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netconsd.logger.files import DIRECTORY_MODE, FILE_MODE
from netconsd.logger.findings import facts, sender_of
from netconsd.rendering import printable, uptime

if TYPE_CHECKING:
    from netconsd.crash.report import Report
    from netconsd.protocol.message import Message

#: Bytes of a file: a report has some thousand lines at most, and a stranger can make each of them long. What is beyond
#: is cut, and the file says so.
FILE_BYTES: Final = 1024 * 1024
#: Characters of the title, and of the host, in a name. With the date and a number they are below 255 bytes (NAME_MAX).
TITLE_CHARACTERS: Final = 100
HOST_CHARACTERS: Final = 100
# Files with the same second, host and title. More of them in a second are one crash, again and again.
SAME_NAMES: Final = 100
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.]+")
_OURS: Final = re.compile(r"\d{4}-\d\d-\d\d-\d{6}-[A-Za-z0-9_.-]+\.txt")
_TEMPORARY: Final = ".netconsd-crash.tmp"


class CrashFiles:
    """The files of crash reports in one directory. Any thread may call ``write``."""

    def __init__(self, directory: Path, keep: int) -> None:
        """:param keep: the most files; the one written first is removed, whatever the clock says. Other files stay."""
        self._directory = directory
        self._keep = keep
        self._lock = threading.Lock()
        # In the order in which they were written.
        self._names: list[str] = []

    def start(self) -> None:
        """Create the directory, and find the files of earlier runs.

        :raises OSError: if the directory cannot be created or read.
        """
        self._directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        found = [entry for entry in os.scandir(self._directory) if _OURS.fullmatch(entry.name)]
        found.sort(key=lambda entry: (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        self._names = [entry.name for entry in found]

    def write(self, report: Report, host: Callable[[Message], str]) -> Path:
        """Write a report, remove the oldest files beyond the bound, and return the path.

        :param host: returns the name of the host of a message (:meth:`netconsd.names.Names.host`).
        :raises OSError: if the file cannot be written; then no part of it stays.
        """
        data = _content(report, sender_of(report, host))
        with self._lock:
            name = self._free(_stem(report, sender_of(report, host)))
            path = self._directory / name
            temporary = self._directory / _TEMPORARY
            try:
                with open(temporary, "wb", opener=_open) as file:
                    file.write(data)
                os.replace(temporary, path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            if name in self._names:
                self._names.remove(name)
            self._names.append(name)
            while len(self._names) > self._keep:
                (self._directory / self._names.pop(0)).unlink(missing_ok=True)
        return path

    def _free(self, stem: str) -> str:
        """The first name of this stem that no file has; the last one of :data:`SAME_NAMES` is written again."""
        for number in range(1, SAME_NAMES):
            name = f"{stem}.txt" if number == 1 else f"{stem}-{number}.txt"
            if not os.path.lexists(self._directory / name):
                return name
        return f"{stem}-{SAME_NAMES}.txt"


def _stem(report: Report, host: str) -> str:
    date = time.strftime("%Y-%m-%d-%H%M%S", time.gmtime(report.received_at))
    return f"{date}-{_safe(host, HOST_CHARACTERS)}-{_safe(report.title, TITLE_CHARACTERS)}"


def _safe(text: str, characters: int) -> str:
    """Return a part of a file's name: letters, digits, ``_``, dots and hyphens, whatever the text is."""
    return _UNSAFE.sub("-", text)[:characters].strip("-.") or "unknown"


def _content(report: Report, host: str) -> bytes:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(report.received_at))
    head = [("title", printable(report.title)), ("host", host), ("received", moment), *facts(report)]
    lines = [f"{name}: {text}" for name, text in head]
    lines += ["", *map(printable, report.text().rstrip("\n").split("\n"))]
    if report.before:
        lines += ["", "The sender's messages before the report:", ""]
        lines += [
            f"{uptime(message.ts_usec)} {printable(line)}"
            for message in report.before
            for line in message.text.rstrip("\n").split("\n")
        ]
    data = "\n".join(lines).encode() + b"\n"
    if len(data) <= FILE_BYTES:
        return data
    note = f"\n[netconsd: {len(data) - FILE_BYTES} bytes cut]\n".encode()
    return data[: FILE_BYTES - len(note)].decode(errors="ignore").encode() + note


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, FILE_MODE)
