"""Entries of a journal with a line for each field: ``journalctl -o export``, ``verbose`` and ``json-pretty``.

The forms are those of systemd's Journal Export Format, which systemd-journal-gatewayd and systemd-journal-remote speak,
and of systemd/src/shared/logs-show.c. Each entry is that of :mod:`netconsd.read.objects`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Final

from netconsd.read.blocks import BLOCK, OBJECT_LIMIT
from netconsd.read.entries import Line
from netconsd.read.objects import journal_lines

#: Fields that are read; those of an entry can have megabytes.
_FIELDS: Final = frozenset(
    (
        *("MESSAGE", "PRIORITY", "SYSLOG_FACILITY", "SYSLOG_IDENTIFIER", "_HOSTNAME", "_PID", "_TRANSPORT"),
        *("_SOURCE_MONOTONIC_TIMESTAMP", "__REALTIME_TIMESTAMP"),
    )
)
# Bytes of a field that are kept, and of a line: a record of the kernel has 1000.
_FIELD_LIMIT: Final = 1 << 16
_NAME = re.compile(rb"[A-Z_][A-Z0-9_]{0,63}")
_FIELD = re.compile(rb"([A-Z_][A-Z0-9_]{0,63})=")
# "Sat 2026-11-28 08:00:05.045574 CET [s=9901..;i=1;b=..;m=4cfd46;t=66150b9efd946;x=..]": t has the microseconds.
_VERBOSE = re.compile(
    rb"[A-Z][a-z]{2} [0-9]{4}-[0-9]{2}-[0-9]{2} [^\[\n]{8,40} "
    rb"\[(?:[a-su-z]=[0-9a-f]{1,32};){1,8}t=(?P<usec>[0-9a-f]{1,16})(?:;[a-z]=[0-9a-f]{1,32}){0,8}\]"
)
# The begin of a further line of a text: the four spaces of a field, and the length of its name.
_FURTHER: Final = b" " * len("    MESSAGE=")
_PRETTY = re.compile(rb"\{\r?\n[ \t]+\"[A-Z_][A-Z0-9_]* ?\" ?: ")


def is_export(head: bytes) -> bool:
    """Return whether a file with this begin is in the export format."""
    return head.startswith(b"__CURSOR=") or (
        _FIELD.match(head) is not None and b"\n__REALTIME_TIMESTAMP=" in head[:4096]
    )


def is_verbose(head: bytes) -> bool:
    """Return whether a file with this begin is of ``journalctl -o verbose``."""
    # Before the first entry: "-- Logs begin at ..", "-- Boot ..".
    at = 0
    while head.startswith(b"-- ", at) and (end := head.find(b"\n", at)) >= 0:
        at = end + 1
    return _VERBOSE.match(head, at) is not None


def is_pretty(head: bytes) -> bool:
    """Return whether a file with this begin is of ``journalctl -o json-pretty``."""
    return _PRETTY.match(head) is not None and b'"dmesg"' not in head[:64]


def exported(read: Callable[[int], bytes | None]) -> Iterator[Line]:
    """Yield the lines of a file in the export format; one that is cut is read up to the cut."""
    stream = _Stream(read)
    found: dict[str, bytes] = {}
    begin = 1
    while (line := stream.line()) is not None:
        if not line:
            yield from _entry(found, begin)
            found, begin = {}, stream.number + 1
        elif match := _FIELD.match(line):
            _put(found, match[1], line[match.end() :])
        elif _NAME.fullmatch(line):
            # Eight bytes with the length, the data, a newline.
            size = int.from_bytes(stream.bytes(8, 8), "little")
            _put(found, line, stream.bytes(size, _FIELD_LIMIT))
            stream.line()
    yield from _entry(found, begin)


def verbose(read: Callable[[int], bytes | None]) -> Iterator[Line]:
    """Yield the lines of ``journalctl -o verbose``: a line with the time, and an indented one for each field."""
    stream = _Stream(read)
    found: dict[str, bytes] = {}
    begin = 1
    last = b""
    while (line := stream.line()) is not None:
        if match := _VERBOSE.match(line):
            yield from _entry(found, begin)
            found, begin, last = {"__REALTIME_TIMESTAMP": b"%d" % int(match["usec"], 16)}, stream.number, b""
        elif last == b"MESSAGE" and line.startswith(_FURTHER):
            # A text can have lines that look like fields.
            if len(found["MESSAGE"]) < _FIELD_LIMIT:
                found["MESSAGE"] += b"\n" + line[len(_FURTHER) :]
        elif match := _FIELD.match(line.lstrip()):
            last = match[1]
            _put(found, last, line.lstrip()[match.end() :])
    yield from _entry(found, begin)


def pretty(read: Callable[[int], bytes | None]) -> Iterator[Line]:
    """Yield the lines of ``journalctl -o json-pretty``; a file that is cut is read up to the cut."""
    stream = _Stream(read)
    text: list[bytes] = []
    begin = 1
    size = 0
    while (line := stream.line()) is not None:
        if line.startswith(b"{"):
            text, begin, size = [], stream.number, 0
        size += len(line) + 1
        if size <= OBJECT_LIMIT:
            text.append(line[:_FIELD_LIMIT])
        if line.startswith(b"}"):
            data, text = b"\n".join(text), []
            try:
                found = json.loads(data.decode(errors="replace"))
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict) and "MESSAGE" in found:
                yield from journal_lines(found, begin)


def _entry(found: dict[str, bytes], number: int) -> Iterator[Line]:
    if "MESSAGE" in found:
        fields = {name: value[:_FIELD_LIMIT].decode(errors="surrogateescape") for name, value in found.items()}
        yield from journal_lines(fields, number)


def _put(found: dict[str, bytes], name: bytes, value: bytes) -> None:
    text = name.decode()
    if text in _FIELDS:
        found[text] = value[:_FIELD_LIMIT]


class _Stream:
    """Lines, and counted bytes, of a file. For one thread."""

    def __init__(self, read: Callable[[int], bytes | None]) -> None:
        self._read = read
        self._data = b""
        self._at = 0
        #: The number of the last line.
        self.number = 0

    def line(self) -> bytes | None:
        """Return the next line without its newline, or the begin of one that is too long; None at the end."""
        rest: list[bytes] = []
        size = 0
        while (end := self._data.find(b"\n", self._at)) < 0:
            part = self._data[self._at :]
            if size < _FIELD_LIMIT:
                rest.append(part)
            size += len(part)
            self._data, self._at = self._read(BLOCK) or b"", 0
            if not self._data:
                if size == 0:
                    return None
                break
        else:
            rest.append(self._data[self._at : end])
            self._at = end + 1
        self.number += 1
        return b"".join(rest)

    def bytes(self, size: int, limit: int) -> bytes:
        """Return so many bytes, of which those beyond the limit are passed over; less at the end."""
        kept: list[bytes] = []
        have = 0
        while size > 0:
            if self._at >= len(self._data):
                self._data, self._at = self._read(BLOCK) or b"", 0
                if not self._data:
                    break
            part = self._data[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            self.number += part.count(b"\n")
            if have < limit:
                kept.append(part[: limit - have])
                have += len(kept[-1])
        return b"".join(kept)
