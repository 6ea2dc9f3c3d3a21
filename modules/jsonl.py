"""Writes messages as JSON, one object per line with every field, to standard output or to a file.

docs/jsonl describes the fields. :func:`netconsd.jsonl.from_json` reads a line::

    {"version":1,"time":"2026-11-22T14:04:05.123456Z", ... "level":4, ... "text":"eth0: link is down", ...}

There is no ``fsync``: written lines survive the end of the daemon, not a loss of power.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from twisted.logger import Logger as Log
from zope.interface import implementer

from netconsd.crashes import Event, Report
from netconsd.interfaces import (
    IBatchOutputModule,
    ICheckable,
    ICountsLosses,
    ICountsUnknownLosses,
    IEventModule,
    IReloadable,
    IReportModule,
)
from netconsd.jsonl import finding_to_json, json_lines
from netconsd.logger.checks import check_file
from netconsd.logger.descriptors import PROCESS
from netconsd.logger.files import LogFiles
from netconsd.logger.rotation import NEVER, Compress, checked_rotation
from netconsd.logger.template import NAME_LIMIT
from netconsd.logger.upkeep import Upkeep
from netconsd.message import Message
from netconsd.outputs.standardoutput import claim, is_discarded, release
from netconsd.units import Duration, Size

#: For the error about two modules that write to the standard output.
ADVICE: Final = "give this one a file (jsonl.file), or start only one of the two"

log = Log("netconsd.jsonl")


@implementer(
    IBatchOutputModule, IReportModule, IEventModule, IReloadable, ICountsLosses, ICountsUnknownLosses, ICheckable
)
class Jsonl:
    """Writes each batch in one system call.

    Lines that cannot be written to a file are dropped and counted. A write error of standard output is raised, and the
    daemon counts the messages.
    """

    #: A directory of modules must not begin to fill a disk, or to write among the lines of the printer.
    only_if_named = True

    def __init__(
        self,
        *,
        file: Path | None = None,
        rotate_bytes: Size = NEVER,
        rotate_every: Duration | None = None,
        rotate_keep: int | None = None,
        compress: Compress = "no",
        keep_age: Duration | None = None,
        keep_size: Size | None = None,
        reports: bool = False,
        events: bool = False,
    ) -> None:
        """
        :param file: the file to append to; by default the standard output.
        :param rotate_bytes: the size at which the file is renamed; this and the other settings are those of the module
            ``logger``.
        :param rotate_every: the period after which the file is renamed.
        :param rotate_keep: how many renamed files are kept.
        :param compress: the compression of renamed files.
        :param keep_age: the age at which renamed files are deleted.
        :param keep_size: the size of all files at which the oldest are deleted.
        :param reports: whether crash reports are written, each as an object with ``"format":"report"``.
        :param events: whether events of machines are written, each as an object with ``"format":"event"``.
        :raises ValueError: if a setting is out of range, with a text that names the setting.
        """
        self._rotation = checked_rotation(rotate_bytes, rotate_every, rotate_keep, compress, keep_age, keep_size)
        # The daemon changes its working directory before it starts.
        self._file = file.absolute() if file is not None else None
        if self._file is None:
            for name, value in (("rotate_bytes", rotate_bytes), ("rotate_every", rotate_every)):
                if value:
                    raise ValueError(f"{name}: needs a file; the standard output is not rotated")
        elif len(os.fsencode(self._file.name)) > NAME_LIMIT:
            raise ValueError(f'file: "{self._file.name}" is longer than {NAME_LIMIT} bytes')
        self.wants_reports = reports
        self.wants_events = events
        self._files: LogFiles | None = None
        self._open_files = 0
        self._upkeep: Upkeep | None = None
        self._generation = 0
        self._fd = -1
        self._lock = threading.Lock()

    def check(self) -> None:
        """Test the file, or claim the standard output.

        :raises RuntimeError: if the file could not be written, or another module has the standard output.
        """
        if self._file is None:
            claim(self, "jsonl", ADVICE)
        else:
            check_file(self._file)

    def start(self, worker_count: int) -> None:
        """Open the file, or find the standard output.

        :raises RuntimeError: if the file cannot be opened, or there is no standard output, or another module writes to
            it.
        :raises ModuleNotFoundError: if the library for ``compress`` is missing.
        """
        if self._file is None:
            stream = claim(self, "jsonl", ADVICE)
            if stream is None:
                raise RuntimeError("this process has no standard output; set a file (jsonl.file)")
            self._fd = stream.fileno()
            if is_discarded(self._fd):
                log.warn("jsonl: standard output is /dev/null, so that nothing is kept; set a file (jsonl.file)")
            return
        directory, name = str(self._file.parent), self._file.name
        self._open_files = PROCESS.take(1, "jsonl")
        self._files = LogFiles(
            directory, self._open_files, self._rotation, worker_count, title="jsonl", rotated=self._rotated
        )
        try:
            self._files.open(name, time.time())
        except OSError as error:
            self.stop()
            raise RuntimeError(f"file: cannot write {self._file}: {error.strerror}") from error
        if self._rotation.has_upkeep:
            self._upkeep = Upkeep(directory, self._files, self._rotation, lambda: {name}, title="jsonl")
            self._upkeep.start()

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Write the messages, without lines of another worker between them.

        :raises OSError: if the standard output is closed or cannot be written.
        """
        self._write(worker, json_lines(messages), len(messages), messages[-1].received_at)

    def handle_report(self, worker: int, report: Report) -> None:
        """Write a crash report.

        :raises OSError: as :meth:`handle_batch`.
        """
        self._write(worker, finding_to_json(report) + b"\n", 1, report.received_at)

    def handle_event(self, worker: int, event: Event) -> None:
        """Write an event.

        :raises OSError: as :meth:`handle_batch`.
        """
        self._write(worker, finding_to_json(event) + b"\n", 1, event.received_at)

    def _write(self, worker: int, data: bytes, lines: int, now: float) -> None:
        if self._files is not None and self._file is not None:
            self._files.begin(self._generation, now)
            self._files.append(worker, self._file.name, data, lines, now)
            return
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]

    def reload(self) -> None:
        """Reopen the file before the next batch."""
        self._generation += 1

    def lost(self, worker: int) -> int:
        """Return how many lines of a worker could not be written since the start; any thread."""
        return self._files.dropped[worker] if self._files else 0

    def unknown_losses(self, worker: int) -> int:
        """Return how often an unknown number of lines could not be written since the start; any thread."""
        return self._files.unknown_losses[worker] if self._files else 0

    def stop(self) -> None:
        """Close the file, or leave the standard output, which stays open."""
        release(self)
        if self._upkeep:
            self._upkeep.stop()
            self._upkeep = None
        if self._files:
            self._files.stop()
            PROCESS.give_back(self._open_files)
            self._open_files = 0

    def _rotated(self, name: str) -> None:
        if self._upkeep:
            self._upkeep.rotated(name)
