"""An output module that writes each message, crash report and event as a line of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock
from typing import Any

from zope.interface import implementer

from netconsd.crashes import Event, Report
from netconsd.interfaces import IEventModule, IOutputModule, IReportModule
from netconsd.protocol.message import Message

FIELDS = (
    *("text", "level", "facility", "ts_usec", "caller", "received_at"),
    *("seq", "release", "continuation", "cpu", "taskname", "msgid"),
    *("seq_reset", "out_of_order", "incomplete", "replayed", "missing", "lost"),
)


@implementer(IOutputModule, IReportModule, IEventModule)
class Recorder:
    """Settings: ``path``, the file to write to."""

    def __init__(self, *, path: str) -> None:
        self._path = Path(path)
        self._lock = Lock()

    def start(self, worker_count: int) -> None:
        self._file = self._path.open("w", encoding="ascii")

    def handle(self, worker: int, message: Message) -> None:
        fields = {name: getattr(message, name) for name in FIELDS if hasattr(message, name)}
        fields |= {name: dict(getattr(message, name)) for name in ("dictionary", "userdata") if hasattr(message, name)}
        fields |= {"kind": type(message).__name__, "address": message.source.address, "port": message.source.port}
        self._write(fields)

    def handle_report(self, worker: int, report: Report) -> None:
        assert report.source is not None
        texts = [message.text for message in report.messages]
        self._write({"found": "report", "port": report.source.port, "texts": texts} | report.fields())

    def handle_event(self, worker: int, event: Event) -> None:
        self._write({"found": "event"} | event.fields())

    def stop(self) -> None:
        self._file.close()

    def _write(self, fields: dict[str, Any]) -> None:
        line = json.dumps(fields)
        with self._lock:
            print(line, file=self._file, flush=True)
