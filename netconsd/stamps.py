"""Elements of an ``array("Q")``. Compiled, these are C (stamps.pxd): no Python int is made on the way."""

from __future__ import annotations

from array import array


def stamp_at(stamps: array[int], index: int) -> int:
    """One element; the index is within bounds."""
    return stamps[index]


def put_stamp(stamps: array[int], index: int, stamp: int) -> None:
    """Set one element; the index is within bounds."""
    stamps[index] = stamp
