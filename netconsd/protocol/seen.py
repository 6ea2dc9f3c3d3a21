"""The records of one run that were taken last: by seq, with the receivers that had each. Hot.

A run is a part of a host's records in which the seqs only increase: a boot, or a buffer that is sent again. Two records
of one run never share a seq, so that a seq and a timestamp are the identity of a record (netconsd.protocol.window).
"""

from __future__ import annotations

from array import array

from netconsd.protocol import octets

#: The seqs of a run within which a second copy is recognised: 10 s of a burst of 100 messages per second, and as many
#: messages as the protocol holds of one sender (netconsd.protocol.reorder). A run takes ten bytes for each.
WINDOW = 1024
_FIRST_CAPACITY = 8
_FULL_MASK = WINDOW - 1

#: The stamp of a seq that was not put.
ABSENT = 0xFFFFFFFFFFFFFFFF

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(WINDOW=WINDOW, ABSENT=ABSENT)


class Seen:
    """The stamps and receivers of the seqs up to ``top``, at most :data:`WINDOW`."""

    __slots__ = ("_bottom", "_mask", "_stamps", "had", "missed", "top")

    def __init__(self, seq: int) -> None:
        #: The highest seq.
        self.top = seq
        self._bottom = seq
        self._mask = _FIRST_CAPACITY - 1
        self._stamps = array("Q", [ABSENT]) * _FIRST_CAPACITY
        #: By :meth:`place`: one bit for each receiver that had the record.
        self.had = bytearray(_FIRST_CAPACITY)
        #: One bit for each receiver that was counted as one that missed the record.
        self.missed = bytearray(_FIRST_CAPACITY)

    def place(self, seq: int) -> int:
        """Return the index of a seq in ``had`` and ``missed``; -1 if it is above ``top`` or below the window."""
        if seq > self.top or seq < self._bottom or self.top - seq > self._mask:
            return -1
        return seq & self._mask

    def stamp(self, seq: int) -> int:
        """Return the stamp of a seq; ABSENT if none was put, or it is out of the window."""
        place = self.place(seq)
        return ABSENT if place < 0 else octets.stamp_at(self._stamps, place)

    def lowest(self) -> int:
        """Return the lowest seq of the window."""
        if self.top - self._bottom > self._mask:
            return self.top - self._mask
        return self._bottom

    def put(self, seq: int, stamp: int, had: int) -> bool:
        """Put a record; return false if its seq is below the window. A seq above ``top`` removes the lowest ones."""
        if seq > self.top:
            self._advance(seq)
        elif self.top - seq >= WINDOW:
            return False
        else:
            if self.top - seq > self._mask:
                self._grow(self.top - seq)
            if seq < self._bottom:
                self._bottom = seq
        place = seq & self._mask
        octets.put_stamp(self._stamps, place, stamp)
        self.had[place] = had
        self.missed[place] = 0
        return True

    def size(self) -> int:
        """Return the number of seqs for which memory is allocated."""
        return self._mask + 1

    def _advance(self, seq: int) -> None:
        if self._mask != _FULL_MASK and seq - self._bottom > self._mask:
            self._grow(seq - self._bottom)
        mask = self._mask
        skipped = self.top + 1
        if seq - skipped > mask:
            skipped = seq - mask
        while skipped < seq:
            octets.put_stamp(self._stamps, skipped & mask, ABSENT)
            skipped += 1
        self.top = seq

    def _grow(self, distance: int) -> None:
        """Allocate more than ``distance`` seqs, up to :data:`WINDOW`."""
        stamps, had, missed, old_mask = self._stamps, self.had, self.missed, self._mask
        capacity = old_mask + 1
        while capacity <= distance and capacity < WINDOW:
            capacity *= 2
        self._mask = mask = capacity - 1
        self._stamps = array("Q", [ABSENT]) * capacity
        self.had = bytearray(capacity)
        self.missed = bytearray(capacity)
        seq = self.top
        count = 0
        while count <= old_mask and seq >= self._bottom:
            octets.put_stamp(self._stamps, seq & mask, octets.stamp_at(stamps, seq & old_mask))
            self.had[seq & mask] = had[seq & old_mask]
            self.missed[seq & mask] = missed[seq & old_mask]
            if seq == 0:
                break
            seq -= 1
            count += 1
