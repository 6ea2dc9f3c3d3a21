"""Builds side by side, and their results as values that can be compared."""

from __future__ import annotations

import importlib
from typing import Any

from tests.support.plain_build import full_name

_PICKLED = ("Source", "LegacyMessage", "LegacyDatagram", "ExtendedMessage")


class AsImported:
    """The modules of the installed build (compiled, if it is), as attributes by their short names."""

    def __getattr__(self, name: str) -> Any:
        return importlib.import_module(full_name(name))


def small_table(build: Any, counters: Any, legacy_datagrams: bool, framing: str = "auto") -> Any:
    """Return a table of senders of this build, with low bounds."""
    return build.table.SourceTable(
        counters, limit=3, reorder_time=0.2, gc_interval=1.0, age=2.0, held_limit=20_000,
        legacy_datagrams=legacy_datagrams, framing=framing,
    )  # fmt: skip


def value(thing: Any) -> Any:
    """Return a value without a class of either build; equal, type by type, if the two builds made equal things."""
    name = type(thing).__name__
    if name in _PICKLED:
        kind, arguments = thing.__reduce__()
        return name, kind.__name__, value(arguments)
    if name == "Fragment":
        return name, value(thing.piece), thing.offset, thing.total
    if isinstance(thing, (tuple, list)):
        return name, [value(item) for item in thing]
    if hasattr(thing, "items"):
        return name, [(key, value(item)) for key, item in thing.items()]
    return name, thing


def views(message: Any) -> dict[str, Any]:
    """Return the values of all public attributes of a message, its repr and its hash."""
    shown = {name: value(getattr(message, name)) for name in dir(message) if not name.startswith("_")}
    return {**shown, "repr": repr(message), "hash": hash(message)}
