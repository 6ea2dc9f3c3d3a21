"""Chooses the segments to delete: by age, by the size of the store, and by the free space of the disk. Pure.

Rules:

1. A segment is deleted as a whole, the one whose latest message is the oldest first. A segment from the future was
   written while the clock was wrong: it is as old as the next one that was not.
2. A segment is too old if its latest message is; therefore a message can stay longer than ``keep`` by the time that its
   segment covers.
3. The segment with the highest number is kept, whatever its age, the size and the free space: a disk that others fill
   must not empty the store, and a number must not be used again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Kept(NamedTuple):
    """A segment: its name, the time of its latest message in seconds, the bytes of its files, its messages."""

    name: tuple[int, int]
    last: float
    size: int
    rows: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of what is kept; None for no limit."""

    #: Seconds.
    keep: float | None = None
    #: Bytes of all files of the store.
    max_size: int | None = None
    #: Bytes that stay free on the disk.
    least_free: int | None = None


def to_delete(segments: Iterable[Kept], limits: Limits, *, now: float, size: int, free: int) -> list[tuple[Kept, str]]:
    """Return the segments to delete, the oldest first, each with the setting that demands it.

    :param size: the bytes of all files of the store.
    :param free: the bytes that are free on the disk.
    """
    found = []
    left = sorted(_dated(segments, now), key=lambda kept: (kept.last, kept.name))
    newest = max((kept.name for kept in left), default=None)
    for kept in left:
        if kept.name == newest:
            continue
        if limits.keep is not None and kept.last < now - limits.keep:
            reason = "keep"
        elif limits.max_size is not None and size > limits.max_size:
            reason = "max_size"
        elif limits.least_free is not None and free < limits.least_free:
            reason = "least_free"
        else:
            break
        found.append((kept, reason))
        size -= kept.size
        free += kept.size
    return found


def _dated(segments: Iterable[Kept], now: float) -> Iterator[Kept]:
    """Yield the segments, those from the future with the time of the next one: numbers rise whatever the clock says."""
    after = now
    for kept in sorted(segments, key=lambda kept: kept.name, reverse=True):
        if kept.last <= now:
            after = kept.last
        yield kept if kept.last <= now else kept._replace(last=after)
