"""Stores messages, reports and events on disk, and finds them again.

Guarantees to the rooms above:

- What a module's ``handle_batch`` returned from is in the journal, and after the next sync (a second at most) it
  survives a crash of the machine.
- Every stored message is found once, whenever a process is killed: a message is in the journal or in a segment.
- Segments never change. They are Parquet files that other programs read without netconsd (docs/store).
- Damage is found by checksums, named, skipped and counted.
- Nothing here is called by a lane or waits in the reactor's thread for a disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netconsd.store.reader import Store

__all__ = ["Store"]


def __getattr__(name: str) -> Any:
    # At the first use, as it needs pyarrow, and the daemon does not.
    if name == "Store":
        from netconsd.store.reader import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
