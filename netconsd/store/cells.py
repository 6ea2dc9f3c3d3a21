"""Turns the numbers of a row group into the buffers that Arrow reads. Hot: once for each stored message.

A buffer of bits has a bit for each row, the lowest first: whether the row has a value (Arrow Columnar Format, Validity
bitmaps). All numbers are ``array("Q")``, with :data:`~netconsd.store.columns.NONE` for none.
"""

from __future__ import annotations

from array import array

from netconsd.protocol import octets
from netconsd.store import packing
from netconsd.store.columns import Columns
from netconsd.store.records import EXTENDED, NONE_LOST, RELEASE

_NONE = (1 << 64) - 1
_U32_MASK = 0xFFFFFFFF
# Behind the levels of a kernel, for a message that has none (tallies.py).
_NO_LEVEL = 8


class Cells:
    """The buffers of the columns of which each row has a value of its own, and the numbers from which the index makes
    its sums. For one thread."""

    def __init__(self, columns: Columns, numbers: array[int]) -> None:
        """
        :param numbers: of the rows without a seq (boots.py).
        """
        rows = columns.rows
        octets_of_bits = (rows + 7) >> 3
        #: The different flags, and the place of those of each row.
        self.kinds: list[int] = []
        self.kind = array("Q", bytes(8 * rows))
        #: Bits: rows of extended messages, and of the others; with a level and facility, a time of the kernel, a msgid,
        #: a release in the header; and those of senders that count their messages, and lost none.
        self.extended = bytearray(octets_of_bits)
        self.legacy = bytearray(octets_of_bits)
        self.prefixed = bytearray(octets_of_bits)
        self.timed = bytearray(octets_of_bits)
        self.counted = bytearray(octets_of_bits)
        self.in_header = bytearray(octets_of_bits)
        self.none_lost = bytearray(octets_of_bits)
        #: Rows with a bit.
        self.extended_rows = self.prefixed_rows = self.timed_rows = self.counted_rows = self.none_lost_rows = 0
        self.level = array("b", bytes(rows))
        self.facility = array("h", bytes(2 * rows))
        self.msgid = array("I", bytes(4 * rows))
        self.number = array("I", bytes(4 * rows))
        self.text_end = array("I", bytes(4 * (rows + 1)))
        #: For the sums of the index; 8 for no level.
        self.levels = array("Q", bytes(8 * rows))
        self.seqs = array("Q", bytes(8 * rows))
        self.numbers = array("Q", bytes(8 * rows))
        self._fill(columns, numbers)

    def _fill(self, columns: Columns, numbers: array[int]) -> None:
        rows = columns.rows
        known: dict[int, int] = {}
        kind = 0
        latest = -1
        row = 0
        extended_rows = prefixed_rows = timed_rows = counted_rows = none_lost_rows = 0
        while row < rows:
            flags = octets.stamp_at(columns.flags, row)
            if flags != latest:
                latest = flags
                kind = known.setdefault(flags, len(known))
            octets.put_stamp(self.kind, row, kind)
            number = octets.stamp_at(columns.prefix, row)
            if number == _NONE:
                octets.put_stamp(self.levels, row, _NO_LEVEL)
            else:
                packing.put_bit(self.prefixed, row)
                prefixed_rows += 1
                packing.put_i8(self.level, row, number & 7)
                packing.put_i16(self.facility, row, (number >> 3) & 0x7FFF)
                octets.put_stamp(self.levels, row, number & 7)
            if flags & EXTENDED:
                packing.put_bit(self.extended, row)
                extended_rows += 1
                octets.put_stamp(self.seqs, row, octets.stamp_at(columns.seq, row))
                octets.put_stamp(self.numbers, row, _NONE)
            else:
                packing.put_bit(self.legacy, row)
                number = octets.stamp_at(numbers, row) & _U32_MASK
                packing.put_u32(self.number, row, number)
                octets.put_stamp(self.seqs, row, _NONE)
                octets.put_stamp(self.numbers, row, number)
            if octets.stamp_at(columns.ts_usec, row) != _NONE:
                packing.put_bit(self.timed, row)
                timed_rows += 1
            number = octets.stamp_at(columns.msgid, row)
            if number != _NONE:
                packing.put_bit(self.counted, row)
                counted_rows += 1
                packing.put_u32(self.msgid, row, number & _U32_MASK)
            if flags & RELEASE:
                packing.put_bit(self.in_header, row)
            if flags & NONE_LOST:
                packing.put_bit(self.none_lost, row)
                none_lost_rows += 1
            row += 1
            packing.put_u32(self.text_end, row, octets.stamp_at(columns.text_end, row))
        self.kinds = list(known)
        self.extended_rows = extended_rows
        self.prefixed_rows = prefixed_rows
        self.timed_rows = timed_rows
        self.counted_rows = counted_rows
        self.none_lost_rows = none_lost_rows


def at_places(numbers: array[int], places: array[int], none: int = _NONE) -> array[int]:
    """Return the number at each place.

    :param none: the number of those that have no place.

    :raises IndexError: for a place that the numbers do not have.
    """
    rows = len(places)
    count = len(numbers)
    found = array("Q", bytes(8 * rows))
    row = 0
    while row < rows:
        place = octets.stamp_at(places, row)
        number = none
        if place != _NONE:
            if place >= count:
                raise IndexError("there are not as many numbers")
            number = octets.stamp_at(numbers, place)
        octets.put_stamp(found, row, number)
        row += 1
    return found


def either(first: array[int], second: array[int]) -> array[int]:
    """Return the first number of each row, or the second if it has none; there are as many of both.

    :raises IndexError: if there are not.
    """
    rows = len(first)
    if len(second) != rows:
        raise IndexError("there are not as many numbers")
    found = array("Q", bytes(8 * rows))
    row = 0
    while row < rows:
        number = octets.stamp_at(first, row)
        octets.put_stamp(found, row, octets.stamp_at(second, row) if number == _NONE else number)
        row += 1
    return found


def narrow(numbers: array[int]) -> tuple[array[int], bytearray, int]:
    """Return numbers of at most 32 bits as ``array("I")``, the bits of those that there are, and how many are none."""
    rows = len(numbers)
    found = array("I", bytes(4 * rows))
    bits = bytearray((rows + 7) >> 3)
    none = 0
    row = 0
    while row < rows:
        number = octets.stamp_at(numbers, row)
        if number == _NONE:
            none += 1
        else:
            packing.put_bit(bits, row)
            packing.put_u32(found, row, number & _U32_MASK)
        row += 1
    return found, bits, none
