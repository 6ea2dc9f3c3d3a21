"""Appends a line to a file for each crash report, and for each reboot: a module without messages."""

from __future__ import annotations

import os
from pathlib import Path

from zope.interface import implementer

from netconsd.crashes import Event, Report
from netconsd.interfaces import IEventModule, IReportModule


@implementer(IReportModule, IEventModule)
class Incidents:
    """Writes ``ADDRESS SEVERITY TITLE``, and ``ADDRESS TEXT``."""

    def __init__(self, *, file: Path, fatal: bool = False) -> None:
        """
        :param file: the file to append to.
        :param fatal: only crashes that took their machine down, and no events.
        """
        self._file = file
        self._fatal = fatal
        # netconsd finds no events if no module takes them.
        self.wants_events = not fatal
        self._fd = -1

    def start(self, worker_count: int) -> None:
        """Open the file."""
        self._fd = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def handle_report(self, worker: int, report: Report) -> None:
        """Called in a worker's thread. A title is printable ASCII, whatever the machine sent."""
        if report.source is not None and (report.fatal or not self._fatal):
            self._write(f"{report.source.address} {report.severity} {report.title}")

    def handle_event(self, worker: int, event: Event) -> None:
        """Called in a worker's thread, after the report of the crash that a reboot follows from."""
        if event.kind == "rebooted":
            self._write(f"{event.source.address} {event.text}")

    def _write(self, line: str) -> None:
        # One write for a line: the lines of two workers are not mixed.
        os.write(self._fd, f"{line}\n".encode())

    def stop(self) -> None:
        """Close the file."""
        os.close(self._fd)
