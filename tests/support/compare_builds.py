"""Builds side by side, and what they make of something as values that can be compared."""

from __future__ import annotations

import importlib
from typing import Any

from tests.support.plain_build import full_name

# What a message of each kind shows.
VIEWS: dict[str, tuple[str, ...]] = {
    "LegacyMessage": ("source", "received_at", "raw", "text", "level", "facility", "ts_usec", "caller"),
}
VIEWS["LegacyDatagram"] = VIEWS["LegacyMessage"]
VIEWS["ExtendedMessage"] = (
    *VIEWS["LegacyMessage"],
    *("seq", "release", "continuation", "dictionary", "userdata", "cpu", "taskname", "msgid", "seq_reset"),
    *("out_of_order", "incomplete", "replayed", "emergency", "missing", "lost"),
)


class AsImported:
    """The modules as everybody else imports them, as attributes by their short names: compiled, where they are."""

    def __getattr__(self, name: str) -> Any:
        return importlib.import_module(full_name(name))


def value(thing: Any) -> Any:
    """Something that is equal, type by type, for what is equal in both builds; nothing of either is in it."""
    name = type(thing).__name__
    if name in VIEWS or name == "Source":
        kind, arguments = thing.__reduce__()
        return name, kind.__name__, value(arguments)
    if name == "Fragment":
        return name, value(thing.piece), thing.offset, thing.total
    if isinstance(thing, (tuple, list)):
        return name, [value(each) for each in thing]
    if hasattr(thing, "items"):
        return name, [(key, value(each)) for key, each in thing.items()]
    return name, thing


def views(message: Any) -> dict[str, Any]:
    """All that a message shows."""
    shown = {name: value(getattr(message, name)) for name in VIEWS[type(message).__name__]}
    return {**shown, "repr": repr(message), "hash": hash(message)}
