"""Which records of a sender were delivered lately: the time stamps of the last sequence numbers.

Two records of one boot never share a sequence number, so a repeat has the same number *and* the same time stamp; the
same number with another stamp is another boot.
"""

from __future__ import annotations

from array import array

from netconsd.protocol import octets

# How many sequence numbers back a record can be recognised as late or repeated; one further back is a reboot or a
# buffer sent again (docs/wire section 6). 64 stamps are 512 bytes; they come as the sender's numbers do, so that a
# hundred thousand forged senders of one message each cost 64 bytes each.
WINDOW = 64
_FIRST_CAPACITY = 8
_FULL_MASK = WINDOW - 1

#: The stamp of a record that was not delivered.
ABSENT = 0xFFFFFFFFFFFFFFFF
_ABSENT = ABSENT


class Window:
    """The stamps of the numbers from ``top - WINDOW + 1`` to ``top``."""

    __slots__ = ("_bottom", "_mask", "_stamps", "top")

    def __init__(self, seq: int, stamp: int) -> None:
        #: The highest number delivered.
        self.top = seq
        # The lowest number delivered; there is room from here to the top, up to WINDOW.
        self._bottom = seq
        # The stamps are a ring: that of a number is at its lowest bits.
        self._mask = _FIRST_CAPACITY - 1
        self._stamps = array("Q", [ABSENT]) * _FIRST_CAPACITY
        octets.put_stamp(self._stamps, seq & self._mask, stamp)

    def stamp(self, seq: int) -> int:
        """The stamp of a record up to ``top``; ``ABSENT`` if it was not delivered, or too long ago."""
        if seq < self._bottom or self.top - seq > self._mask:
            return _ABSENT
        return octets.stamp_at(self._stamps, seq & self._mask)

    def advance(self, seq: int, stamp: int) -> None:
        """A record above ``top`` is delivered."""
        if self._mask != _FULL_MASK and seq - self._bottom > self._mask:
            self._grow(seq - self._bottom)
        mask = self._mask
        skipped = self.top + 1
        if seq - skipped > mask:
            skipped = seq - mask
        while skipped < seq:
            octets.put_stamp(self._stamps, skipped & mask, _ABSENT)
            skipped += 1
        octets.put_stamp(self._stamps, seq & mask, stamp)
        self.top = seq

    def fill(self, seq: int, stamp: int) -> None:
        """A record less than ``WINDOW`` below ``top`` is delivered after all."""
        if self.top - seq > self._mask:
            self._grow(self.top - seq)
        if seq < self._bottom:
            self._bottom = seq
        octets.put_stamp(self._stamps, seq & self._mask, stamp)

    def missing(self) -> list[int]:
        """The numbers not delivered, in order: up to ``top``, above the lowest one delivered, and not too long ago."""
        distance = min(self.top - self._bottom, WINDOW - 1)
        return [self.top - behind for behind in range(distance, -1, -1) if self.stamp(self.top - behind) == ABSENT]

    def _grow(self, distance: int) -> None:
        """Make room for numbers that are so far apart, or as far as there is room at most."""
        old = self._stamps
        old_mask = self._mask
        capacity = old_mask + 1
        while capacity <= distance and capacity < WINDOW:
            capacity *= 2
        self._mask = capacity - 1
        self._stamps = array("Q", [ABSENT]) * capacity
        seq = self.top
        count = 0
        while count <= old_mask and seq >= self._bottom:
            octets.put_stamp(self._stamps, seq & self._mask, octets.stamp_at(old, seq & old_mask))
            seq -= 1
            count += 1
