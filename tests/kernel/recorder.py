"""An output module that writes each message as a line of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock

from zope.interface import implementer

from netconsd.interfaces import IOutputModule
from netconsd.protocol.message import Message

FIELDS = (
    *("text", "level", "facility", "ts_usec", "caller", "received_at"),
    *("seq", "release", "continuation", "cpu", "taskname", "msgid"),
    *("seq_reset", "out_of_order", "incomplete", "replayed", "missing", "lost"),
)


@implementer(IOutputModule)
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
        line = json.dumps(fields)
        with self._lock:
            print(line, file=self._file, flush=True)

    def stop(self) -> None:
        self._file.close()
