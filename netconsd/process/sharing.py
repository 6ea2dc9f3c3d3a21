"""Divides the partitions among the processors of a group that hear each other. Pure: the time is an argument.

Every member computes the same division from the same members. While two know different members, both want a partition:
the server decides then (:mod:`netconsd.process.natsclient`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from zlib import crc32

#: Seconds between two signs of life of a processor, and after which one without a sign is gone.
BEAT_SECONDS: Final = 1.0
GONE_SECONDS: Final = 3.5
#: Members of a group: anyone who may publish in the server can invent some.
MEMBERS_LIMIT: Final = 256


class Members:
    """The processors that were heard recently."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._heard: dict[str, float] = {}

    def heard(self, name: str, now: float) -> None:
        """Note a sign of life; one more than :data:`MEMBERS_LIMIT` is passed over."""
        if name in self._heard or len(self._heard) < MEMBERS_LIMIT:
            self._heard[name] = now

    def left(self, name: str) -> None:
        """Note that a processor ends."""
        self._heard.pop(name, None)

    def present(self, now: float) -> list[str]:
        """Return the members, this one always included, in order of their names."""
        self._heard = {name: at for name, at in self._heard.items() if now - at < GONE_SECONDS}
        return sorted({self._own, *self._heard})


def shares(members: Iterable[str], partitions: int) -> dict[str, list[int]]:
    """Return the partitions of each member: as many for each as for the others, or one more.

    Few partitions change their member when a member comes or goes.
    """
    names = sorted(set(members))
    if not names:
        return {}
    result: dict[str, list[int]] = {name: [] for name in names}
    base, more = divmod(partitions, len(names))
    for number in range(partitions):
        # Members with one partition more than `base` are as many as are left over.
        full = sum(len(each) > base for each in result.values()) >= more
        room = [name for name in names if len(result[name]) < (base if full else base + 1)]
        result[max(room, key=lambda name: _rank(name, number))].append(number)
    return result


def _rank(name: str, number: int) -> tuple[int, str]:
    """Highest random weight: the order of members is another one for each partition."""
    return crc32(f"{number}:{name}".encode()) * 2654435761 % (1 << 32), name
