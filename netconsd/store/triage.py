"""People's decisions about crash groups: lines of JSON in the store's directory, which are only appended.

A line of ``triage.jsonl``: ``{"version": 1, "when": Unix time, "who": text, "what": action, "group": id, ...}``, with
``into`` (of merge, and of split: the group that is taken out again), ``title`` (of split: the title that gets a group
of its own) and ``why``. A line that is torn by a crash is passed over.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from netconsd.crash.groups import group_id

NAME: Final = "triage.jsonl"
VERSION: Final = 1
#: Lines that are read, the newest: a person makes ten an hour.
TRIAGE_LINES: Final = 100_000
ACTIONS: Final = ("resolve", "reopen", "mute", "unmute", "merge", "split")


def read(directory: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the lines, the oldest first, and how many were passed over.

    :raises OSError: if the file cannot be read.
    """
    found: deque[dict[str, Any]] = deque(maxlen=TRIAGE_LINES)
    damaged = 0
    try:
        file = (directory / NAME).open("rb")
    except FileNotFoundError:
        return [], 0
    with file:
        for line in file:
            entry = _entry(line)
            if entry is None:
                damaged += bool(line.strip())
            else:
                found.append(entry)
    return list(found), damaged


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("version") != VERSION or fields.get("what") not in ACTIONS:
        return None
    when = fields.get("when")
    # NaN and infinity, which Python reads, are no JSON for a browser.
    if not isinstance(when, (int, float)) or isinstance(when, bool) or not abs(when) < 1e12:
        return None
    if not isinstance(fields.get("group"), str):
        return None
    texts = ("who", "into", "title", "why")
    return fields if all(isinstance(fields.get(name), (str, type(None))) for name in texts) else None


def append(directory: Path, entry: dict[str, Any]) -> None:
    """Write a line, and sync it.

    :raises OSError: if it cannot be written.
    """
    data = json.dumps({"version": VERSION, **entry}, separators=(",", ":")).encode() + b"\n"
    fd = os.open(directory / NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        # Several processes, and several consoles, can write the file.
        fcntl.flock(fd, fcntl.LOCK_EX)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            data = b"\n" + data
        if os.write(fd, data) != len(data):
            raise OSError(28, os.strerror(28), str(directory / NAME))
        os.fdatasync(fd)
    finally:
        os.close(fd)
    directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory_fd)
    finally:
        os.close(directory_fd)


def split_id(title: str) -> str:
    """Return the id of the group of a title that was split off."""
    return group_id(f"split {title}")


@dataclass(slots=True)
class State:
    """The state of all groups after the last line."""

    #: By the id of a group: the time of the last resolve, if it was not reopened.
    resolved: dict[str, float] = field(default_factory=dict)
    muted: dict[str, bool] = field(default_factory=dict)
    #: By the id of a group that was merged: the line.
    merged: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: By a title that was split off: the line.
    split: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def target(self, group: str) -> str:
        """Return the group into which a group was merged, or itself."""
        seen = {group}
        while group in self.merged:
            group = self.merged[group]["into"]
            if group in seen:
                # Two people merged at once, in a circle.
                return min(seen)
            seen.add(group)
        return group

    def is_muted(self, names: Iterable[str]) -> bool:
        """Return whether the bug of a report is muted, by its title and the alternatives."""
        ids = [split_id(name) if name in self.split else group_id(name) for name in names]
        return any(self.muted.get(self.target(id_), False) for id_ in ids)


def state_of(entries: Iterable[dict[str, Any]]) -> State:
    """Return the state after the last line."""
    state = State()
    for entry in entries:
        group, what, into = entry["group"], entry["what"], entry.get("into")
        state.history.setdefault(group, []).append(entry)
        if into and into != group:
            state.history.setdefault(into, []).append(entry)
        if what == "resolve":
            state.resolved[group] = entry["when"]
        elif what == "reopen":
            state.resolved.pop(group, None)
        elif what in ("mute", "unmute"):
            state.muted[group] = what == "mute"
        elif what == "merge" and into and into != group:
            state.merged[group] = entry
        elif what == "split":
            if into:
                state.merged.pop(into, None)
            elif entry.get("title"):
                state.split[entry["title"]] = entry
    return state
