"""The crash reports and events of all workers since the start: their counts, and the last reports in short.

No text of a stranger becomes a label: kinds and severities are closed sets. Titles are remembered, in a bounded table,
only to count those that are new.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from netconsd.crash.event import EVENTS
from netconsd.crash.report import KINDS, SEVERITIES, Report

#: Titles remembered, alternatives included. The one that was not seen for longest is forgotten, and is new if it comes
#: again: a fleet has some hundred bugs, and a stranger can send any number of titles.
TITLES_LIMIT: Final = 8192
#: The last reports that ``/crashes`` lists.
LAST_REPORTS: Final = 50
# The label of a word that is in none of the sets, which would be a defect.
_OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class LastReport:
    """A crash report in short, for a list."""

    title: str
    kind: str
    severity: str
    #: The sender's address and port, and its name; empty if none is known.
    address: str
    port: int
    name: str
    received_at: float
    release: str | None
    fatal: bool
    incomplete: str | None
    #: Whether the title was not seen since the start of netconsd.
    new: bool


@dataclass(frozen=True, slots=True)
class CrashSnapshot:
    """The counts at one time."""

    #: Reports by kind and severity; pairs without a report are left out.
    reports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: Events by kind; each kind is there.
    events: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(EVENTS, 0))
    #: Reports with which a machine went down.
    fatal: int = 0
    #: Whole reports whose title, alternatives included, was not seen before.
    new_titles: int = 0


class Crashes:
    """Counts what the workers find. Any thread may call any method."""

    def __init__(self, name_of: Callable[[str, int, float], str] = lambda address, port, now: "") -> None:
        """:param name_of: returns the name of a sender, as :meth:`netconsd.names.Names.known`."""
        self._name_of = name_of
        self._lock = threading.Lock()
        self._reports: dict[tuple[str, str], int] = {}
        self._events = dict.fromkeys(EVENTS, 0)
        self._fatal = 0
        self._new_titles = 0
        self._titles: OrderedDict[str, None] = OrderedDict()
        self._last: deque[LastReport] = deque(maxlen=LAST_REPORTS)

    def note(self, found: Iterable[Any]) -> None:
        """Count reports and events."""
        with self._lock:
            for item in found:
                if isinstance(item, Report):
                    self._note_report(item)
                else:
                    kind = item.kind if item.kind in EVENTS else _OTHER
                    self._events[kind] = self._events.get(kind, 0) + 1

    def snapshot(self) -> CrashSnapshot:
        """The counts as they are now."""
        with self._lock:
            return CrashSnapshot(dict(self._reports), dict(self._events), self._fatal, self._new_titles)

    def last(self) -> list[LastReport]:
        """The last reports, the newest first, at most :data:`LAST_REPORTS`."""
        with self._lock:
            return list(reversed(self._last))

    def _note_report(self, report: Report) -> None:
        kind = report.kind if report.kind in KINDS else _OTHER
        severity = report.severity if report.severity in SEVERITIES else _OTHER
        self._reports[kind, severity] = self._reports.get((kind, severity), 0) + 1
        self._fatal += report.fatal
        new = self._is_new(report)
        self._new_titles += new
        source = report.source
        address, port = (source.address, source.port) if source else ("", 0)
        self._last.append(
            LastReport(
                title=report.title,
                kind=kind,
                severity=severity,
                address=address,
                port=port,
                name=self._name_of(address, port, report.received_at),
                received_at=report.received_at,
                release=report.release,
                fatal=report.fatal,
                incomplete=report.incomplete,
                new=new,
            )
        )

    def _is_new(self, report: Report) -> bool:
        """True if a report is the first one of its bug; never an incomplete one, whose title may be wrong."""
        titles = (report.title, *report.alternatives)
        known = any(title in self._titles for title in titles)
        if not known and report.incomplete is not None:
            return False
        for title in titles:
            self._titles[title] = None
            self._titles.move_to_end(title)
        while len(self._titles) > TITLES_LIMIT:
            self._titles.popitem(last=False)
        return not known
