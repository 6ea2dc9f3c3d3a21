"""Puts a record's fields into a buffer: small functions that the compiled build has in C (packing.pxd)."""

from __future__ import annotations

import re
import struct
import sys
from array import array
from zlib import crc32

from netconsd.protocol.octets import seconds

# In the machine's own byte order, as the compiled build writes them.
_HEAD = struct.Struct("=IHHd18sHHHQQq")
_RARE = struct.Struct("=QqQq")
HEAD_BYTES = _HEAD.size
RARE_BYTES = _RARE.size
# The place and the size of the sender's key in a head.
KEY_AT = 16
KEY_BYTES = 18
_PLAIN = bytes(octet for octet in range(0x20, 0x7F) if octet != 0x5C)
_U64_MASK = (1 << 64) - 1
#: The last second of the year 9999.
LATEST_SECONDS = 253402300799.0
_DOUBLE = struct.Struct("=d")
# As many digits as netconsd.protocol.message takes.
_TIMED = re.compile(rb"\[ *([0-9]{1,13})\.([0-9]{6})\] ")


def put_head(
    data: bytearray,
    at: int,
    size: int,
    flags: int,
    prefix: int,
    received_at: float,
    key: bytes,
    caller: int,
    release: int,
    seq: int,
    ts_usec: int,
    msgid: int,
) -> int:
    """Write the fixed part of a record, and return the position after it. The buffer has room; the key has 18 bytes."""
    _HEAD.pack_into(data, at, size, flags, prefix, received_at, key, caller, release, 0, seq, ts_usec, msgid)
    return at + HEAD_BYTES


def put_rare(data: bytearray, at: int, missing: int, lost: int, likely_lost: int, limited: int) -> int:
    """Write the rare fields, and return the position after them. The buffer has room."""
    _RARE.pack_into(data, at, missing, lost, likely_lost, limited)
    return at + RARE_BYTES


def put_bytes(data: bytearray, at: int, octets: bytes) -> int:
    """Write bytes, and return the position after them. The buffer has room."""
    end = at + len(octets)
    data[at:end] = octets
    return end


def head_at(data: bytes, at: int) -> tuple[int, int, int, float, int, int, int, int, int]:
    """Return (size, flags, prefix, received_at, size of the caller, size of the release, seq, ts_usec, msgid) of the
    head at a position; it is within bounds."""
    size, flags, prefix, received_at, _, caller, release, _, seq, ts_usec, msgid = _HEAD.unpack_from(data, at)
    return size, flags, prefix, received_at, caller, release, seq, ts_usec, msgid


def u16_at(data: bytes, at: int) -> int:
    """Return two bytes as a number. All of these are within bounds."""
    return int.from_bytes(data[at : at + 2], sys.byteorder)


def u32_at(data: bytes, at: int) -> int:
    """Return four bytes as a number."""
    return int.from_bytes(data[at : at + 4], sys.byteorder)


def u64_at(data: bytes, at: int) -> int:
    """Return eight bytes as a number."""
    return int.from_bytes(data[at : at + 8], sys.byteorder)


def i64_at(data: bytes, at: int) -> int:
    """Return eight bytes as a signed number."""
    return int.from_bytes(data[at : at + 8], sys.byteorder, signed=True)


def micros_at(data: bytes, at: int) -> int:
    """Return the time in seconds at a position as microseconds, from 1970 to the end of the year 9999: other times, of
    imported logs, are the nearest of these, as neither the arrays nor datetime have them."""
    value: float = _DOUBLE.unpack_from(data, at)[0]
    # Also false for NaN.
    if not value >= 0:
        return 0
    return round(min(value, LATEST_SECONDS) * 1_000_000)


def plain_text(data: bytes, at: int, end: int) -> int:
    """Return the length of the text between two positions up to its newline; 0 if it is empty, has no newline, or has
    anything but printable ASCII without a backslash, which begins an escape."""
    newline = data.find(b"\n", at, end)
    return 0 if newline < 0 or data[at:newline].translate(None, _PLAIN) else newline - at


def timed_text(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the position of the text and the microseconds of a legacy line that begins with a time as kernels write
    it, ``[   12.345678]``, with a space and at least one character behind; (0, 0) for every other line."""
    match = _TIMED.match(data, at, end)
    if match is None:
        return 0, 0
    usec = int(match[1]) * 1_000_000 + int(match[2])
    if match.end() == end or data[at + 1 : match.end() - 2] != seconds(usec):
        return 0, 0
    return match.end(), usec


def tail_end(data: bytes, at: int, end: int, msgid: int) -> int:
    """Return the position of the line `` msgid=N`` that ends the data, if it is as kernels write this msgid, or else
    the end."""
    line = b" msgid=%d\n" % msgid
    start = end - len(line)
    found = msgid >= 0 and start >= at and data[start - 1] == 0x0A and data[start:end] == line
    return start if found else end


def slot_of(data: bytes, at: int, size: int) -> int:
    """Return a number of 16 bits for a part of the data: the same for equal parts."""
    return hash(data[at : at + size]) & 0xFFFF


def is_part(octets: bytes, data: bytes, at: int, size: int) -> bool:
    """Return whether a part of the data has these bytes."""
    return octets == data[at : at + size]


def is_same(data: bytes, at: int, other: int, size: int) -> bool:
    """Return whether two parts of the data have the same bytes."""
    return data[at : at + size] == data[other : other + size]


def prefetch(blocks: list[bytes], place: int) -> None:
    """Ask the memory for the record at a place (block << 32 | position) of the blocks: plain Python cannot."""


def i32_of(numbers: array[int], index: int) -> int:
    """Return one element of an ``array("i")``; the index is within bounds."""
    return numbers[index]


def i64_of(numbers: array[int], index: int) -> int:
    """Return one element of an ``array("Q")`` as a signed number; the index is within bounds."""
    number = numbers[index]
    return number - (1 << 64) if number >> 63 else number


def put_i64(numbers: array[int], index: int, number: int) -> None:
    """Set one element of an ``array("Q")`` to a signed number; the index is within bounds."""
    numbers[index] = number & _U64_MASK


def put_u32(numbers: array[int], index: int, number: int) -> None:
    """Set one element of an ``array("I")``; the index is within bounds."""
    numbers[index] = number


def put_i16(numbers: array[int], index: int, number: int) -> None:
    """Set one element of an ``array("h")``; the index is within bounds."""
    numbers[index] = number


def put_i8(numbers: array[int], index: int, number: int) -> None:
    """Set one element of an ``array("b")``; the index is within bounds."""
    numbers[index] = number


def put_bit(bits: bytearray, index: int) -> None:
    """Set a bit, the lowest of the first byte being the first one; the index is within bounds."""
    bits[index >> 3] |= 1 << (index & 7)


def crc_of_ipv4(data: bytes, at: int) -> int:
    """Return the CRC-32 of the text of an IPv4 address, whose four bytes are at a position."""
    return crc32(b"%d.%d.%d.%d" % tuple(data[at : at + 4]))


def sum_of(one: int, other: int) -> int:
    """Return the sum of two numbers of 64 bits, modulo 2^64: also of signed ones in two's complement."""
    return (one + other) & _U64_MASK


def put_part(data: bytearray, at: int, source: bytes, start: int, size: int) -> int:
    """Write a part of other bytes, and return the position after it. The buffer has room."""
    data[at : at + size] = source[start : start + size]
    return at + size


def put_trigrams(bitmap: bytearray, text: bytes, at: int, end: int, classes: bytes) -> None:
    """Set the bits of the trigrams between two positions (trigrams.py); the bitmap has 2^18 bits."""
    part = text[at:end].translate(classes)
    for a, b, c in zip(part, part[1:], part[2:], strict=False):
        bitmap[a << 9 | b << 3 | c >> 3] |= 1 << (c & 7)


def sum_slot(data: bytearray, size: int) -> int:
    """Return a number of 16 bits for the first bytes of a buffer: the same for equal ones."""
    return hash(bytes(data[:size])) & 0xFFFF


def is_begin(octets: bytes, data: bytearray, size: int) -> bool:
    """Return whether the first bytes of a buffer are these."""
    return octets == data[:size]


def taken(data: bytearray, size: int) -> bytes:
    """Return the first bytes of a buffer, which has as many."""
    return bytes(data[:size])
