"""Small functions that the compiled build has in C (octets.pxd), to save a Python object per call."""

from __future__ import annotations

import re
from array import array

_PLAIN = bytes(octet for octet in range(0x20, 0x7F) if octet != 0x5C) + b"\n"
_NOT_INDENTED = re.compile(rb"\n[^ ]")


def find(octets: bytes, octet: int, start: int) -> int:
    """Return the index of the first such byte from ``start`` on, or -1; ``start`` is within bounds."""
    return octets.find(octet, start)


def begins_with(octets: bytes, prefix: bytes, start: int) -> bool:
    """Return true if the bytes from ``start`` on, which is not negative, begin with the prefix."""
    return octets.startswith(prefix, start)


def plain_line(octets: bytes) -> int:
    """Return the length of the first line with its newline; 0 if there is none, or if the line is not plain.

    A plain line is printable ASCII without a backslash, because a backslash begins a kernel's escape.
    """
    end = octets.find(b"\n") + 1
    return 0 if octets[:end].translate(None, _PLAIN) else end


def stray_at(octets: bytes, start: int) -> int:
    """Return the index of the first line from ``start`` on that may be neither dictionary, userdata nor sysdata; or -1.

    ``start`` is after a newline. Every such line is found; a line that continues a value can be found as well, if the
    key begins like those of the dictionary, ``SUBSYSTEM`` and ``DEVICE``.
    """
    while start < len(octets):
        end = octets.find(b"\n", start)
        end = len(octets) if end < 0 else end
        if octets[start] != 0x20 or octets.find(b"=", start, end) < 0:
            return start
        if octets[start + 1] not in b"SD":
            break
        start = end + 1
    return -1


def is_record(octets: bytes) -> bool:
    """Return true for the body of one whole record, as kernels send it: the last byte is a newline, every line after
    the text begins with a space, and :func:`stray_at` finds none."""
    end = octets.find(b"\n") + 1
    if end == len(octets):
        return end > 0
    return octets.endswith(b"\n") and not _NOT_INDENTED.search(octets, end - 1) and stray_at(octets, end) < 0


def seconds(usec: int) -> bytes:
    """Format microseconds, up to 64 bits, as seconds in at least five columns: ``   12.345678``."""
    return b"%5d.%06d" % (usec // 1000000, usec % 1000000)


def stamp_at(stamps: array[int], index: int) -> int:
    """Return one element of an ``array("Q")``; the index is within bounds."""
    return stamps[index]


def put_stamp(stamps: array[int], index: int, stamp: int) -> None:
    """Set one element of an ``array("Q")``; the index is within bounds."""
    stamps[index] = stamp
