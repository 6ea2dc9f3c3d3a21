"""Crash reports and events beside the messages: lines of JSON, a file for each day (docs/store).

Rules:

1. They are few, so that they need no segments: ``reports/YYYY-MM-DD.jsonl`` and ``events/YYYY-MM-DD.jsonl``, the day in
   UTC at which they were received. A line is as the module ``jsonl`` writes it, and has the messages as well: of a
   report ``messages`` and ``before``, of an event ``message``, each an object of :func:`netconsd.jsonl.to_json`.
2. A line is written with one system call, and synced by :meth:`Findings.sync`. After a crash of the machine the last
   line can be torn; a line that is no JSON is passed over by readers, and begins no other line.
3. A file has at most :data:`DAY_BYTES`: a machine that crashes in a loop must not fill the disk. Further lines are
   dropped and counted.
4. Files are deleted by age (:func:`delete_before`), as segments are.
5. Only :meth:`Findings.sync` and :meth:`Findings.close` wait for the disk.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from netconsd.crash.event import Event
from netconsd.crash.report import Report
from netconsd.jsonl import finding_to_json, from_json, to_json
from netconsd.store.journal import FILE_MODE, sync_directory
from netconsd.store.layout import DIRECTORY_MODE, System, source_at

REPORTS: Final = "reports"
EVENTS: Final = "events"
#: The bytes of a day's file: about 6500 reports with their messages (41 KB each, of 153 recorded crashes), or 280,000
#: events.
DAY_BYTES: Final = 256 << 20
#: Files of other days that wait for a sync. Around midnight there is one. Logs that are replayed can change the day
#: with each line: beyond this, the oldest file is closed without a sync.
MOST_WAITING: Final = 64
_NAME: Final = re.compile(r"(\d{4,6}-\d\d-\d\d)\.jsonl", re.ASCII)


def line_of(finding: Report | Event) -> bytes:
    """Return the line of a report or an event, without its newline."""
    fields = json.loads(finding_to_json(finding))
    if isinstance(finding, Report):
        fields["messages"] = [json.loads(to_json(message)) for message in finding.messages]
        fields["before"] = [json.loads(to_json(message)) for message in finding.before]
    else:
        fields["message"] = None if finding.message is None else json.loads(to_json(finding.message))
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def report_of(line: bytes) -> Report:
    """Return the report of a line, equal to the original one.

    :raises ValueError: for another line, as a torn one.
    """
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.get("format") != "report":
        raise ValueError("the line is not a report")
    messages, before = (
        [from_json(json.dumps(message)) for message in fields.get(name, ())] for name in ("messages", "before")
    )
    return Report.from_fields(fields, messages, before)


def event_of(line: bytes) -> Event:
    """Return the event of a line, equal to the original one.

    :raises ValueError: for another line, as a torn one.
    """
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.get("format") != "event":
        raise ValueError("the line is not an event")
    try:
        message = fields["message"]
        source = source_at(fields["address"], fields["port"], fields.get("scope_id", 0))
        return Event(
            fields["kind"],
            source if message is None else from_json(json.dumps(message)).source,
            float(fields["received_at"]),
            fields["text"],
            None if message is None else from_json(json.dumps(message)),
            fields["details"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the event has another form: {error!r}") from error


def day_of(received_at: float) -> str:
    """Return the day of a time in UTC: ``2026-11-22``. A time before 1970 is of its first day."""
    return time.strftime("%Y-%m-%d", time.gmtime(min(max(received_at, 0.0), float(1 << 40))))


def day_files(directory: Path, kind: str) -> list[Path]:
    """Return the files of a kind, the oldest first; none if there is no directory.

    :raises OSError: if the directory cannot be read.
    """
    try:
        names = os.listdir(directory / kind)
    except FileNotFoundError:
        return []
    return [directory / kind / name for name in sorted(names) if _NAME.fullmatch(name)]


def size(directory: Path) -> int:
    """Return the bytes of all files of reports and events.

    :raises OSError: if a directory cannot be read.
    """
    total = 0
    for kind in (REPORTS, EVENTS):
        for path in day_files(directory, kind):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
    return total


def delete_before(directory: Path, received_at: float, system: System = os) -> int:
    """Delete the files whose whole day was before a time; return how many.

    :raises OSError: if the disk fails.
    """
    first_kept = day_of(received_at)
    gone = 0
    for kind in (REPORTS, EVENTS):
        for path in day_files(directory, kind):
            if path.stem < first_kept:
                with suppress(FileNotFoundError):
                    system.unlink(str(path))
                    gone += 1
    return gone


class Findings:
    """The files of one store's reports and events, for the process that writes them. Any thread."""

    def __init__(self, directory: Path, worker_count: int, *, system: System = os, day_bytes: int = DAY_BYTES) -> None:
        self._directory = directory
        self._system = system
        self._day_bytes = day_bytes
        self._lock = threading.Lock()
        # From the kind to the file that is open: (day, descriptor, size).
        self._open: dict[str, tuple[str, int, int]] = {}
        self._unsynced: set[str] = set()
        # Files of another day that are written: descriptor and kind. Closed by the sync.
        self._waiting: deque[tuple[int, str]] = deque()
        # Whether the directory of a kind was made since the last sync.
        self._made = False
        #: Reports and events that were not written, by worker.
        self.lost = [0] * worker_count

    def append(self, worker: int, kind: str, received_at: float, line: bytes) -> None:
        """Write a line, which has no newline.

        :raises OSError: if it cannot be written; it is counted as lost.
        """
        with self._lock:
            try:
                fd, size = self._file(kind, day_of(received_at))
                if size + len(line) >= self._day_bytes:
                    self.lost[worker] += 1
                    return
                data = line + b"\n"
                written = 0
                try:
                    while written < len(data):
                        written += self._system.pwrite(fd, data[written:], size + written)
                except OSError:
                    self._system.ftruncate(fd, size)
                    raise
                self._open[kind] = self._open[kind][0], fd, size + len(data)
                self._unsynced.add(kind)
            except OSError:
                self.lost[worker] += 1
                raise

    def _file(self, kind: str, day: str) -> tuple[int, int]:
        """Return the descriptor and the size of a day's file. Holds the lock."""
        found = self._open.get(kind)
        if found is not None and found[0] == day:
            return found[1], found[2]
        if found is not None:
            del self._open[kind]
            if len(self._waiting) >= MOST_WAITING:
                self._system.close(self._waiting.popleft()[0])
            self._waiting.append((found[1], kind))
        directory = self._directory / kind
        with suppress(FileExistsError):
            self._system.mkdir(str(directory), DIRECTORY_MODE)
            self._made = True
        path = directory / f"{day}.jsonl"
        fd = self._system.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                # A torn line ends here.
                size += self._system.pwrite(fd, b"\n", size)
        except OSError:
            self._system.close(fd)
            raise
        self._open[kind] = day, fd, size
        return fd, size

    def sync(self) -> None:
        """Sync what was written. For one thread at a time; writers do not wait for it.

        :raises OSError: if the disk fails.
        """
        with self._lock:
            kinds, self._unsynced = self._unsynced, set()
            made, self._made = self._made, False
            # Copies, as a writer can close a descriptor meanwhile.
            fds = [os.dup(self._open[kind][1]) for kind in sorted(kinds) if kind in self._open]
            kinds |= {kind for _, kind in self._waiting}
            fds += [fd for fd, _ in self._waiting]
            self._waiting.clear()
        try:
            for fd in fds:
                self._system.fdatasync(fd)
            for kind in sorted(kinds):
                sync_directory(self._system, self._directory / kind)
            if made:
                sync_directory(self._system, self._directory)
        finally:
            for fd in fds:
                self._system.close(fd)

    def close(self) -> None:
        """Sync and close the files.

        :raises OSError: if the disk fails; they are closed nevertheless.
        """
        try:
            self.sync()
        finally:
            with self._lock:
                for _, fd, _ in self._open.values():
                    self._system.close(fd)
                self._open.clear()
