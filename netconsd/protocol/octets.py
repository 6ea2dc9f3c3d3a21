"""Small functions that the compiled build has in C (octets.pxd), to save a Python object per call."""

from __future__ import annotations

import re
from array import array

from netconsd.protocol.translation import Characters

_PLAIN = bytes(octet for octet in range(0x20, 0x7F) if octet != 0x5C) + b"\n"
_VISIBLE = bytes(octet for octet in range(0x21, 0x7F) if octet != 0x5C)
_NOT_INDENTED = re.compile(rb"\n[^ ]")
# A header of the most frequent form: a release or none, and no key but a caller. The prefix is in bounds, because
# the facility of a kernel's message is at most 124; and 19 digits fit 64 bits. The release is lazy (`??`), because a
# header that is complete without one has none.
_USUAL_HEADER = re.compile(
    rb"(?:([!-+\--:<-~]{1,64}),)??([0-9]{1,3}),([0-9]{1,19}),([0-9]{1,19}),([-c+])(?:,caller=([TC][0-9]{1,19}))?;"
).match
# From the two digits of an escape, in either case, to its byte. A table, because a quarter of all bytes can be escapes.
_DIGITS = b"0123456789abcdefABCDEF"
_OCTETS = {bytes((high, low)): bytes((int(chr(high) + chr(low), 16),)) for high in _DIGITS for low in _DIGITS}
# The bytes that the kernel escapes.
_ESCAPED = tuple(
    (bytes((octet,)), b"\\x%02x" % octet) for octet in (0x5C, *(octet for octet in range(256) if not 32 <= octet < 127))
)
# From a character's number to an escape for surrogates that stand for bytes (PEP 383), to the character for others.
_NO_UTF8 = Characters(lambda code: f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else chr(code))


def usual_header(datagram: bytes) -> tuple[bytes | None, int, int, int, bytes, bytes | None, bytes] | None:
    """Return (release, prefix, seq, ts_usec, flag, caller, body) of a usual header; else ``None``, as always in C.

    In plain Python, a regular expression costs a third of the index loops that read every header and are faster in C.
    """
    match = _USUAL_HEADER(datagram)
    if match is None:
        return None
    release, prefix, seq, ts_usec, flag, caller = match.groups()
    return release, int(prefix), int(seq), int(ts_usec), flag, caller, datagram[match.end() :]


def find(octets: bytes, octet: int, start: int) -> int:
    """Return the index of the first such byte from ``start`` on, or -1; ``start`` is within bounds."""
    return octets.find(octet, start)


def begins_with(octets: bytes, prefix: bytes, start: int) -> bool:
    """Return true if the bytes from ``start`` on, which is not negative, begin with the prefix."""
    return octets.startswith(prefix, start)


def is_ascii(text: str) -> bool:
    """Return whether all characters are ASCII."""
    return text.isascii()


def sum_of(octets: bytes, start: int, end: int) -> int:
    """Return a number of 16 bits for the bytes from ``start`` up to ``end``: the same for equal ones."""
    return hash(octets[start:end]) & 0xFFFF


def is_at(part: bytes, octets: bytes, start: int, end: int) -> bool:
    """Return whether this part is all from ``start`` up to ``end``."""
    return part == octets[start:end]


def plain_line(octets: bytes) -> int:
    """Return the length of the first line with its newline; 0 if there is none, or if the line is not plain.

    A plain line is printable ASCII without a backslash, because a backslash begins a kernel's escape.
    """
    end = octets.find(b"\n") + 1
    return 0 if octets[:end].translate(None, _PLAIN) else end


def is_plain(octets: bytes) -> bool:
    """Return true if all bytes are visible ASCII without a backslash, as those of every caller that kernels send."""
    return not octets.translate(None, _VISIBLE)


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


def visible(octets: bytes) -> str:
    """Decode UTF-8; a byte that is not UTF-8 becomes a visible ``\\xNN``. For bytes that are not all UTF-8."""
    return _NO_UTF8.show(octets.decode("utf-8", "surrogateescape"))


def unescape(octets: bytes) -> bytes:
    """Undo the kernel's escapes, once; a truncated escape stays."""
    first, *rest = octets.split(b"\\x")
    parts = [first]
    for part in rest:
        octet = _OCTETS.get(part[:2])
        if octet is None:
            parts.append(b"\\x")
            parts.append(part)
        else:
            parts.append(octet)
            parts.append(part[2:])
    return b"".join(parts)


def escape(octets: bytes) -> bytes:
    """Escape bytes below 0x20, from 0x7f up, and the backslash, as the kernel does."""
    for octet, shown in _ESCAPED:
        octets = octets.replace(octet, shown)
    return octets


def seconds(usec: int) -> bytes:
    """Format microseconds, up to 64 bits, as seconds in at least five columns: ``   12.345678``."""
    return b"%5d.%06d" % (usec // 1000000, usec % 1000000)


def log_line(when: bytes, usec: int, level: bytes, caller: bytes | None, text: bytes, end: int) -> bytes:
    """Return a line of a log: ``when``, :func:`seconds`, ``level``, the caller in brackets, and the first ``end`` bytes
    of the text; ``end`` is within bounds."""
    tag = b"" if caller is None else b"[%b] " % caller
    return b"".join((when, seconds(usec), level, tag, text[:end]))


def new_stamps(count: int) -> array[int]:
    """Return memory for this number of stamps of 64 bits, each with all bits set. Compiled, :func:`free_stamps` ends
    it."""
    return array("Q", [2**64 - 1]) * count


def no_stamps() -> array[int]:
    """Return what stands for no memory: it may be ended, and not be read."""
    return array("Q")


def free_stamps(stamps: array[int]) -> None:
    """End the memory of :func:`new_stamps`; nothing in plain Python."""


def stamp_at(stamps: array[int], index: int) -> int:
    """Return one element of an ``array("Q")``; the index is within bounds."""
    return stamps[index]


def put_stamp(stamps: array[int], index: int, stamp: int) -> None:
    """Set one element of an ``array("Q")``; the index is within bounds."""
    stamps[index] = stamp


def item_at(items: list[bytes], index: int) -> bytes:
    """Return one element of a list that no other thread changes.

    :raises IndexError: for an index that is negative or too high.
    :raises TypeError: if the element is not bytes; compiled only.
    """
    if index < 0:
        raise IndexError("list index out of range")
    return items[index]


def own(octets: bytes) -> bytes:
    """Return the bytes themselves; compiled for a Python without the GIL, a copy made by the calling thread."""
    return octets
