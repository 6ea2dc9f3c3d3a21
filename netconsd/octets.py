"""Small steps that the compiled build takes in C (octets.pxd), where Python would make an object for each."""

from __future__ import annotations

from array import array


def find(octets: bytes, octet: int, start: int) -> int:
    """The index of the first octet of this value from ``start`` on, -1 if there is none; ``start`` is within bounds."""
    return octets.find(octet, start)


def stamp_at(stamps: array[int], index: int) -> int:
    """One element of an ``array("Q")``; the index is within bounds."""
    return stamps[index]


def put_stamp(stamps: array[int], index: int, stamp: int) -> None:
    """Set one element of an ``array("Q")``; the index is within bounds."""
    stamps[index] = stamp
