"""Answers of the API for scripted_console.py; the shapes are the daemon's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tests.support.scripted_lane import PATIENCE

#: 2026-11-28 07:00:00 UTC.
BEGIN: Final = 1795849200.0


def plain_object(number: int, text: str, **fields: Any) -> dict[str, Any]:
    """Return a message as the API has it, with other fields."""
    return {
        "version": 1,
        "id": f"192.0.2.1/1795849100/{number}",
        "boot_id": 1795849100,
        "name": None,
        "received_at": BEGIN + number / 1000,
        "address": "192.0.2.1",
        "port": 6665,
        "interface": None,
        "format": "extended",
        "level": 6,
        "facility": 0,
        "seq": number,
        "ts_usec": number * 1000,
        "caller": "T1",
        "text": text,
        "dictionary": {},
        "userdata": {},
        "cpu": 0,
        "taskname": "init",
        "msgid": number,
        "release": "7.3.4",
        "continuation": False,
        "new": False,
        "boot": False,
        "replayed": False,
        "emergency": False,
        "seq_reset": False,
        "out_of_order": False,
        "incomplete": False,
        "missing": 0,
        "lost": 0,
        "likely_lost": 0,
        "limited": 0,
    } | fields


def lines(objects: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield JSON lines, many at a time."""
    piece = b""
    for one in objects:
        piece += json.dumps(one).encode() + b"\n"
        if len(piece) > 65536:
            yield piece
            piece = b""
    yield piece


def found(objects: list[dict[str, Any]], complete: bool = True) -> Iterator[bytes]:
    """Yield the answer of a search."""
    yield from lines({"message": one} for one in objects)
    yield from lines([{"end": {"found": len(objects), "complete": complete, "cancelled": False, "damaged": []}}])


def events(*named: tuple[str, dict[str, Any]], ended: threading.Event | None = None) -> Iterator[bytes]:
    """Yield server-sent events, then wait."""
    for name, data in named:
        yield f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
    if ended is not None:
        ended.wait(PATIENCE)


STATUS: Final[dict[str, Any]] = {
    "version": "1.0",
    "build": "compiled",
    "started": BEGIN - 86400,
    "now": BEGIN + 600,
    "store": {
        "directory": "/var/lib/netconsd/store",
        "first": BEGIN - 86400,
        "last": BEGIN + 600,
        "segments": 9,
        "bytes": 9000000,
    },
    "read_only": False,
    "receiving": True,
    "user": None,
    "csrf": "token",
    "limits": {},
}
