"""Reads crash reports and events from the files of days that :mod:`netconsd.store.findings` writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from netconsd.crash.event import Event
from netconsd.crash.report import Report
from netconsd.protocol.message import Message
from netconsd.store.findings import EVENTS, REPORTS, day_files, day_of, event_of, report_of
from netconsd.streams.record import Record, finding_id

#: Bytes that are read at once, and the next line.
READ_BYTES: Final = 4 << 20
#: A delivered file of the stream's own is deleted if its day ended so many seconds ago: nothing is written to it then.
DONE_SECONDS: Final = 86_400.0


class FindingSource:
    """The reports and events of a store, or of a stream's own directory. For one thread."""

    def __init__(
        self,
        directory: Path,
        position: Mapping[str, Any] | None,
        *,
        kinds: Sequence[str] = (REPORTS, EVENTS),
        since: float = 0.0,
        deletes: bool = False,
        name_of: Callable[[Message], str] = lambda message: "",
        warn: Callable[[str], object] = lambda text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param directory: the one that has the directories of reports and events.
        :param position: of the cursor; None if there is none.
        :param since: the Unix time at which the stream begins, if there is no cursor: earlier ones are passed over.
        :param deletes: whether files that were delivered are deleted: those of the stream's own.
        :raises OSError: if it cannot be read.
        """
        self._directory = directory
        self._kinds = kinds
        self._deletes = deletes
        self._name_of = name_of
        self._warn = warn
        self._clock = clock
        self.dropped = 0
        self.more = False
        self._at: dict[str, int] = {}
        if position is not None:
            self._at, since = dict(position["at"]), position["since"]
        self._since = since

    def read(self, most: int, until: float = float("inf")) -> list[Record]:
        """As :meth:`netconsd.streams.spool.Source.read`.

        :param until: a Unix time: a later report or event is left for another call, with those behind it in its file.
        """
        found: list[Record] = []
        self.more = False
        for kind in self._kinds:
            for path in day_files(self._directory, kind):
                if path.stem < day_of(self._since):
                    continue
                with suppress(FileNotFoundError):
                    self._read(kind, path, found, most, until)
                if len(found) >= most:
                    return found
        return found

    def _read(self, kind: str, path: Path, found: list[Record], most: int, until: float) -> None:
        at = begin = self._at.get(_name(path), 0)
        if path.stat().st_size <= at or len(found) >= most:
            return
        with path.open("rb") as file:
            file.seek(at)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written
                record = self._record(kind, line)
                if record is not None and record.received_at > until:
                    break
                at += len(line)
                if record is None:
                    # A line that was torn by a crash of the machine, and may be empty.
                    if line.strip():
                        self.dropped += 1
                        self._warn(f"{path}: a line before {at} is damaged; it is not sent")
                elif record.received_at >= self._since:
                    found.append(record)
                if len(found) >= most:
                    break
                if at - begin >= READ_BYTES:
                    self.more = True
                    break
        self._at[_name(path)] = at

    def _record(self, kind: str, line: bytes) -> Record | None:
        try:
            finding: Report | Event = report_of(line) if kind == REPORTS else event_of(line)
        except (ValueError, TypeError, RecursionError):
            return None
        if isinstance(finding, Report):
            message = finding.messages[0] if finding.messages else None
        else:
            message = finding.message
        return Record(finding, finding_id(finding), None, "" if message is None else self._name_of(message))

    def position(self) -> dict[str, Any]:
        """As :meth:`netconsd.streams.spool.Source.position`."""
        return {"at": dict(self._at), "since": self._since}

    def committed(self, position: Mapping[str, Any], records: Sequence[Record]) -> None:
        """As :meth:`netconsd.streams.spool.Source.committed`."""
        for name, at in position["at"].items():
            path = self._directory / name
            try:
                done = path.stat().st_size <= at
            except FileNotFoundError:
                self._at.pop(name, None)
                continue
            if self._deletes and done and path.stem < day_of(self._clock() - DONE_SECONDS):
                with suppress(FileNotFoundError):
                    path.unlink()
                self._at.pop(name, None)

    def close(self) -> None:
        """As :meth:`netconsd.streams.spool.Source.close`."""


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
