"""Crash groups for the console: the reports of the store, grouped, with what people decided about them (triage.py).

Rules:

1. The reports' fields are kept without messages, at most :data:`~netconsd.console.limits.REPORTS`, the newest; files
   are read on from where the last query ended, and from the begin if they are others. Messages are read from the file
   when a page shows them.
2. A group is one of :mod:`netconsd.crash.groups`. Its state is *new* for a day after its first report, then *known*;
   *resolved* after a person said so, and *regressed* if a report came after that.
3. A title that was split off has a group of its own, now and later. A merge lasts as well: it is by the id of the
   group, which depends on the title of the first report only.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netconsd.console.failure import Refused
from netconsd.console.filters import Parameters, shown
from netconsd.console.limits import REPORTS, WHY_BYTES
from netconsd.console.messages import Encoder
from netconsd.crash.groups import Group, Groups, Seen, group_id
from netconsd.crash.report import Report
from netconsd.jsonl import to_json
from netconsd.rendering import printable, uptime
from netconsd.store import triage
from netconsd.store.findings import REPORTS as KIND
from netconsd.store.findings import day_files, report_of

if TYPE_CHECKING:
    from netconsd.console.worker import Answer
    from netconsd.message import Message

#: Seconds for which a group is new.
NEW_SECONDS: Final = 86400.0
#: Buckets of the sparkline, of an hour each: the last day.
_SPARK: Final = 24
_SPARK_SECONDS: Final = 3600.0
_STATES: Final = ("new", "known", "resolved", "regressed")
_QUESTIONABLE: Final = re.compile(r"^\s*(?:\[<[0-9a-f]+>\]\s+)?\? \S|\(unreliable\)\s*$")
_REPORT: Final = re.compile(r"(\d{4,6}-\d\d-\d\d)-(\d{1,12})", re.ASCII)


@dataclass(slots=True)
class Entry:
    """A report in a file."""

    path: Path
    offset: int
    #: Without messages.
    report: Report

    @property
    def id(self) -> str:
        """The day and the place in its file: it stays the same."""
        return f"{self.path.stem}-{self.offset}"

    @property
    def host(self) -> str:
        """The address of the machine."""
        return self.report.source.address if self.report.source is not None else ""

    def fields(self) -> dict[str, Any]:
        """Return what a list says of it."""
        report = self.report
        return {
            "id": self.id,
            "host": self.host,
            "at": report.received_at,
            "title": report.title,
            "group": group_id(report.title),
            "release": report.release,
            "severity": report.severity,
            "incomplete": report.incomplete,
            "fatal": report.fatal,
            "repeats": report.repeats,
        }


@dataclass(slots=True)
class _Shown:
    """A group as the console shows it: with the groups that people merged into it."""

    group: Group
    entries: list[Entry]
    merged: list[Group]


class Crashes:
    """The crash reports of a store. For one thread."""

    def __init__(self, directory: Path, encoder: Encoder, machines: Callable[[], int]) -> None:
        """
        :param machines: returns how many machines the store knows.
        """
        self._directory = directory
        self._machines = machines
        self._encoder = encoder
        self._entries: list[Entry] = []
        #: The inode of each file, and the bytes that were read.
        self._read: dict[Path, tuple[int, int]] = {}
        self._damaged: dict[str, None] = {}
        # The groups, and the state of the files from which they were made.
        self._grouped: tuple[Any, dict[str, _Shown], triage.State] | None = None

    def faults(self) -> list[dict[str, Any]]:
        """Return the lines that could not be read."""
        return [{"text": printable(text), "messages": 0} for text in self._damaged]

    def entries(self) -> list[Entry]:
        """Return the reports, in the order of time.

        :raises OSError: if a file cannot be read.
        """
        files = day_files(self._directory, KIND)
        for gone in [path for path in self._read if not self._is_same(path)]:
            del self._read[gone]
            self._entries = [entry for entry in self._entries if entry.path != gone]
        new: list[Entry] = []
        for path in files:
            new += self._read_on(path)
        if new:
            self._entries = sorted([*self._entries, *new], key=lambda entry: entry.report.received_at)[-REPORTS:]
        return self._entries

    def _is_same(self, path: Path) -> bool:
        """Return whether a file only grew: a store can be deleted and made again."""
        inode, size = self._read[path]
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        return status.st_ino == inode and status.st_size >= size

    def _read_on(self, path: Path) -> Iterator[Entry]:
        _, at = self._read.get(path, (0, 0))
        try:
            file = path.open("rb")
        except FileNotFoundError:  # too old, and deleted
            return
        with file:
            inode = os.fstat(file.fileno()).st_ino
            file.seek(at)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written
                begin, at = at, at + len(line)
                self._read[path] = inode, at
                try:
                    fields = json.loads(line)
                    if not isinstance(fields, dict) or fields.get("format") != "report":
                        raise ValueError("the line is not a report")
                    yield Entry(path, begin, Report.from_fields(fields))
                except (ValueError, TypeError, RecursionError) as error:
                    if line.strip() and len(self._damaged) < 100:
                        self._damaged[f"{path}: the line at byte {begin}: {error}"] = None

    def _whole(self, entry: Entry) -> Report:
        """Return a report with its messages."""
        try:
            with entry.path.open("rb") as file:
                file.seek(entry.offset)
                return report_of(file.readline())
        except (FileNotFoundError, ValueError):
            return entry.report

    def by_host(self) -> Counter[str]:
        """Return the number of reports of each address."""
        found: Counter[str] = Counter()
        for entry in self.entries():
            found[entry.host] += 1 + entry.report.repeats
        return found

    def _are_several(self) -> bool:
        """Return whether the store knows more than one machine: the only one has every bug alone."""
        return len({entry.host for entry in self._entries}) > 1 or self._machines() > 1

    def _groups(self) -> tuple[dict[str, _Shown], triage.State]:
        """Return the groups, made again if there is a new report or decision: the list asks each second, and 50,000
        reports take a second."""
        entries = self.entries()
        files = tuple(sorted(self._read.items())), self._decided()
        if self._grouped is None or self._grouped[0] != files:
            self._grouped = files, *self._group(entries)
        return self._grouped[1:]

    def _decided(self) -> tuple[int, int, int] | None:
        """Return the state of the file of decisions, which is only appended to; None if there is none."""
        try:
            status = (self._directory / triage.NAME).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _group(self, entries: list[Entry]) -> tuple[dict[str, _Shown], triage.State]:
        lines, damaged = triage.read(self._directory)
        if damaged:
            self._damaged[f"{self._directory / triage.NAME}: {damaged} lines are no decisions"] = None
        state = triage.state_of(lines)
        # A table of its own for each title that was split off.
        tables: dict[str, Groups] = {"": Groups()}
        placed: list[tuple[Entry, str, str | None]] = []
        for entry in entries:
            split = entry.report.title if entry.report.title in state.split else ""
            table = tables.setdefault(split, Groups())
            report = entry.report if not split else replace(entry.report, alternatives=())
            group = table.add(report)
            placed.append((entry, split, None if group is None else group.id))
        found: dict[str, _Shown] = {}

        def put(group: Group, split: str) -> None:
            if split:
                group.id = triage.split_id(split)
            if group.id in found:
                found[group.id].group.merge(group)
            else:
                found[group.id] = _Shown(group, [], [])

        of: dict[tuple[str, str | None, str], str] = {}
        for split, table in tables.items():
            for group in [*table, *table.loose]:
                before = group.id
                put(group, split)
                of[split, before, ""] = group.id
                of[split, None, group.title] = group.id
                for name in (*group.merged, *group.names):
                    of.setdefault((split, name, ""), group.id)
                    of.setdefault((split, None, name), group.id)
        for entry, split, id_ in placed:
            key = of.get((split, id_, "")) if id_ is not None else of.get((split, None, entry.report.title))
            if key is None:
                key = of.get((split, None, entry.report.title))
            if key is not None:
                found[key].entries.append(entry)
        for id_ in list(found):
            target = state.target(id_)
            if target != id_ and target in found:
                other = found.pop(id_)
                kept = found[target]
                kept.merged += [other.group, *other.merged]
                kept.entries = sorted([*kept.entries, *other.entries], key=lambda entry: entry.report.received_at)
        return found, state

    def listed(self, parameters: Parameters) -> dict[str, Any]:
        """Return the groups that meet the parameters, the latest first."""
        states = parameters.texts("state")
        for state in states:
            if state not in _STATES:
                raise Refused(400, f"state: {shown(state)} is not one of {', '.join(_STATES)}", "state")
        release, new_in = parameters.text("release"), parameters.text("new_in")
        host = parameters.text("host")
        muted = parameters.choice("muted", ("any", "0", "1"))
        since = parameters.time("since")
        parameters.end()
        if new_in is not None and not version(new_in):
            raise Refused(400, f"new_in: {shown(new_in)} is not a release, such as 7.3", "new_in")
        found, state_ = self._groups()
        groups = [self._fields(one, state_, parameters.now, found) for one in found.values()]
        groups = [
            group
            for group in groups
            if (not states or group["state"] in states)
            and (muted == "any" or group["muted"] == (muted == "1"))
            and (release is None or any(name == release or name.startswith(release) for name in group["releases"]))
            and (host is None or host in group["machines"])
            and (since is None or group["last"] >= since)
            and (new_in is None or is_new_in(group["releases"], new_in))
        ]
        groups.sort(key=lambda group: -group["last"])
        return {"groups": groups, "reports": len(self._entries), "complete": len(self._entries) < REPORTS}

    def _fields(self, one: _Shown, state: triage.State, now: float, found: dict[str, _Shown]) -> dict[str, Any]:
        group = one.group
        fields = group.fields()
        machines, releases = dict(group.machines), dict(group.releases)
        for other in one.merged:
            for mine, theirs in ((machines, other.machines), (releases, other.releases)):
                for name, seen in theirs.items():
                    known = mine.get(name)
                    mine[name] = replace(seen) if known is None else _sum(known, seen)
        parts = [group, *one.merged]
        last = max(part.last for part in parts)
        first = min(part.first for part in parts)
        spark = [0] * _SPARK
        for entry in one.entries:
            bucket = int((now - entry.report.received_at) // _SPARK_SECONDS)
            if 0 <= bucket < _SPARK:
                spark[_SPARK - 1 - bucket] += 1 + entry.report.repeats
        resolved = state.resolved.get(group.id)
        if resolved is not None:
            kind = "regressed" if last > resolved else "resolved"
        else:
            kind = "new" if now - first < NEW_SECONDS else "known"
        why = []
        if len(group.names) > 1:
            why.append("reports that share a title: " + "; ".join(group.names))
        why += [
            f"merged by {entry.get('who') or 'somebody'}: {entry.get('why') or 'no reason given'}"
            for entry in state.history.get(group.id, ())
            if entry["what"] == "merge" and entry.get("into") == group.id
        ]
        if group.id in {triage.split_id(title) for title in state.split}:
            line = state.split[next(title for title in state.split if triage.split_id(title) == group.id)]
            why.append(f"split off by {line.get('who') or 'somebody'}: {line.get('why') or 'no reason given'}")
        numbered = [name for name in releases if version(name)]
        if fields["lone_machine"] is not None and not self._are_several():
            fields["lone_machine"] = None
        return fields | {
            "count": sum(part.count for part in parts),
            "fatal": sum(part.fatal for part in parts),
            "incomplete": sum(part.incomplete for part in parts),
            "first": first,
            "last": last,
            "machines": {name: [seen.count, seen.first, seen.last] for name, seen in machines.items()},
            "releases": {name: [seen.count, seen.first, seen.last] for name, seen in releases.items()},
            "names_of": {name: self._encoder.name(name, 0, "", now) for name in machines},
            "state": kind,
            "muted": state.muted.get(group.id, False),
            "sparkline": spark,
            "merged_from": [
                {"id": part.id, "title": part.title, **_line(state.merged.get(part.id))} for part in one.merged
            ],
            "why": why,
            "new_in": min(numbered, key=version) if numbered else None,
        }

    def _find(self, id_: str, found: dict[str, _Shown], state: triage.State) -> _Shown:
        target = state.target(id_)
        if target in found:
            return found[target]
        for one in found.values():
            parts = [one.group, *one.merged]
            # The title's own id, as a live tail names it: the group may have begun with another title.
            if any(id_ in (part.id, *part.merged) for part in parts) or any(
                id_ == group_id(name) for part in parts for name in part.names
            ):
                return one
        raise Refused(404, f"{shown(id_)}: there is no crash with this id", "id")

    def shown(self, parameters: Parameters, answer: Answer) -> None:
        """Answer with a group and its last whole report, or with one that is chosen."""
        id_ = parameters.text("id") or ""
        form = parameters.choice("format", ("page", "text", "mail", "json"))
        chosen = parameters.text("report")
        parameters.end()
        found, state = self._groups()
        one = self._find(id_, found, state)
        entry = self._sample(one, chosen)
        report = self._whole(entry)
        if form == "text":
            answer.begin("text/plain; charset=utf-8")
            answer.write("".join(f"{printable(line)}\n" for line in report.text().split("\n")[:-1]).encode())
        elif form == "mail":
            answer.begin("text/plain; charset=utf-8")
            answer.write(_mail(one.group, report).encode())
        else:
            fields = self._fields(one, state, parameters.now, found)
            fields["sample"] = {"id": entry.id, **report.fields(), "messages": [_row(m) for m in report.messages]}
            fields["before"] = [_row(message) for message in report.before]
            fields["reports"] = [each.fields() for each in reversed(one.entries[-1000:])]
            fields["history"] = [
                {name: line.get(name) for name in ("who", "when", "what", "why", "group", "into", "title")}
                for line in state.history.get(one.group.id, ())
            ]
            fields["titles"] = dict(Counter(each.report.title for each in one.entries))
            if form == "json":
                # For machines: whole messages instead of rows.
                fields["sample"]["messages"] = [json.loads(to_json(message)) for message in report.messages]
                fields["before"] = [json.loads(to_json(message)) for message in report.before]
            answer.object(fields)

    def _sample(self, one: _Shown, chosen: str | None) -> Entry:
        if chosen is not None:
            for entry in one.entries:
                if entry.id == chosen:
                    return entry
            raise Refused(404, f"report: {shown(chosen)} is not a report of this crash", "report")
        if not one.entries:
            raise Refused(404, "no report of this crash is stored any more", "id")
        # Who opens a crash asks about the one of now: the last report that is whole.
        return next((entry for entry in reversed(one.entries) if not entry.report.incomplete), one.entries[-1])

    def act(self, parameters: Parameters, body: Any, now: float) -> dict[str, Any]:
        """Do what a person decided, and return the group.

        :param body: the object of the request, with ``who``, which the console adds.
        """
        id_ = parameters.text("id") or ""
        parameters.end()
        what, why, who = body.get("action"), body.get("why", ""), body.get("who", "")
        if what not in triage.ACTIONS:
            raise Refused(400, f"action: is not one of {', '.join(triage.ACTIONS)}", "action")
        for name, value in (("why", why), ("into", body.get("into", "")), ("report", body.get("report", ""))):
            if not isinstance(value, str) or len(value.encode(errors="replace")) > WHY_BYTES:
                raise Refused(400, f"{name}: is not a text of at most {WHY_BYTES} bytes", name)
        unknown = body.keys() - {"action", "why", "who", "into", "report"}
        if unknown:
            raise Refused(400, f"{shown(min(unknown))}: is not known here", shown(min(unknown)))
        found, state = self._groups()
        one = self._find(id_, found, state)
        entry: dict[str, Any] = {"when": now, "who": who, "what": what, "group": one.group.id, "why": why}
        if what == "merge":
            into = self._find(body.get("into", ""), found, state)
            if into is one:
                raise Refused(400, "into: is this crash itself", "into")
            entry["into"] = into.group.id
        elif what == "split":
            entry |= self._split(one, body)
        elif what == "resolve":
            # A report of a moment ago, whose clock is the same as this one.
            entry["when"] = max(now, one.group.last)
        try:
            triage.append(self._directory, entry)
        except OSError as error:
            raise Refused(503, f"cannot write {self._directory / triage.NAME}: {error.strerror}") from None
        found, state = self._groups()
        return self._fields(self._find(one.group.id, found, state), state, now, found)

    def _split(self, one: _Shown, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("into"):
            if body["into"] not in [part.id for part in one.merged]:
                raise Refused(400, "into: was not merged into this crash", "into")
            return {"into": body["into"]}
        for entry in one.entries:
            if entry.id == body.get("report"):
                title = entry.report.title
                if all(each.report.title == title for each in one.entries):
                    raise Refused(400, "report: all reports of this crash have its title: nothing to split", "report")
                return {"title": title}
        raise Refused(400, "report: name a report of this crash, or into, a crash that was merged into it", "report")


def version(release: str) -> tuple[int, ...]:
    """Return the numbers with which a release begins: ``6.12.3-amd64`` is (6, 12, 3); none for another text."""
    match = re.match(r"\d+(?:\.\d+)*", release, re.ASCII)
    return tuple(int(part[:9]) for part in match[0].split(".")) if match else ()


def is_new_in(releases: Any, release: str) -> bool:
    """Return whether kernels from this release on have it, and no older one."""
    least = version(release)
    known = [version(name)[: len(least)] for name in releases if version(name)]
    return bool(known) and min(known) >= least


def _sum(one: Seen, other: Seen) -> Seen:
    total = replace(one)
    total.add(other)
    return total


def _line(entry: dict[str, Any] | None) -> dict[str, Any]:
    entry = entry or {}
    return {name: entry.get(name) for name in ("who", "when", "why")}


def _row(message: Message) -> dict[str, Any]:
    """Return a message of a report as a row."""
    return {
        "text": message.text,
        "level": message.level,
        "received_at": message.received_at,
        "ts_usec": message.ts_usec,
        "caller": message.caller,
        "seq": getattr(message, "seq", None),
        "incomplete": getattr(message, "incomplete", False),
        "questionable": bool(_QUESTIONABLE.search(message.text)),
    }


def _mail(group: Group, report: Report) -> str:
    """Return a text for a mailing list: the kernel's reporting guide asks for release, taint, how often, and the trace
    (Documentation/admin-guide/reporting-issues.rst)."""
    facts = [
        ("Kernel", report.release),
        ("Hardware", report.machine),
        ("Tainted", "no" if report.tainted == "" else report.tainted),
        ("Reports", f"{group.count} on {len(group.machines) + bool(group.machines_beyond)} machines"),
        ("Incomplete", report.incomplete),
    ]
    lines = [f"Subject: {printable(report.title)}", ""]
    lines += [f"{name}: {printable(str(value))}" for name, value in facts if value]
    lines.append("")
    for message in report.messages:
        lines += [f"{uptime(message.ts_usec)} {printable(line)}" for line in message.text.rstrip("\n").split("\n")]
    return "\n".join(lines) + "\n"
