"""Small functions that the compiled build has in C (octets.pxd), to save a Python object per call."""

from __future__ import annotations

from array import array

_PLAIN = bytes(octet for octet in range(0x20, 0x7F) if octet != 0x5C) + b"\n"


def find(octets: bytes, octet: int, start: int) -> int:
    """Return the index of the first such byte from ``start`` on, or -1; ``start`` is within bounds."""
    return octets.find(octet, start)


def plain_line(octets: bytes) -> int:
    """Return the length of the first line with its newline; 0 if there is none, or if the line is not plain.

    A plain line is printable ASCII without a backslash, because a backslash begins a kernel's escape.
    """
    end = octets.find(b"\n") + 1
    return 0 if octets[:end].translate(None, _PLAIN) else end


def seconds(usec: int) -> bytes:
    """Format microseconds, up to 64 bits, as seconds in at least five columns: ``   12.345678``."""
    return b"%5d.%06d" % (usec // 1000000, usec % 1000000)


def stamp_at(stamps: array[int], index: int) -> int:
    """Return one element of an ``array("Q")``; the index is within bounds."""
    return stamps[index]


def put_stamp(stamps: array[int], index: int, stamp: int) -> None:
    """Set one element of an ``array("Q")``; the index is within bounds."""
    stamps[index] = stamp
