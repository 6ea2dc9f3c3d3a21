"""The recently delivered records of a sender: a timestamp for each of the last seqs.

Two records of one boot never share a seq. A repeat therefore has the same seq *and* the same timestamp; the same seq
with another timestamp is from another boot.
"""

from __future__ import annotations

from netconsd.protocol import octets

# The number of seqs within which a record is recognised as late or as a duplicate. A record further behind is from
# another boot, or part of a buffer that is sent again (docs/wire section 6). 64 timestamps take 512 bytes; they are
# allocated as the seqs advance, so that a forged sender of one or two records costs 16 bytes.
WINDOW = 64
_FIRST_CAPACITY = 2
_FULL_MASK = WINDOW - 1

#: The timestamp of a record that was not delivered.
ABSENT = 0xFFFFFFFFFFFFFFFF

# Compiled, this is a C variable, which is an attribute of the module only if put there.
globals().update(ABSENT=ABSENT)


class Window:
    """The timestamps of the seqs from ``last_seq - WINDOW + 1`` to ``last_seq``.

    Before the first record it has none. A sender's stream is a window itself: an object of its own takes 48 bytes more
    for each of a million senders, and each message waits once more for the memory.
    """

    __slots__ = ("_depth", "_mask", "_stamps", "last_seq")

    def __init__(self, seq: int, ts_usec: int) -> None:
        self._be_empty()
        self.restart(seq, ts_usec)

    def _be_empty(self) -> None:
        """Begin without a record, as a new object in C does by itself."""
        #: The highest seq delivered.
        self.last_seq = 0
        # The number of seqs from the lowest one delivered to the last, up to WINDOW - 1. The ring has room for them.
        self._depth = 0
        # The ring's index of a seq is its lowest bits. 0: there is no ring.
        self._mask = 0
        self._stamps = octets.no_stamps()

    def restart(self, seq: int, ts_usec: int) -> None:
        """Forget all records but this one."""
        if not self._mask:
            self._grow(1)
        self.last_seq = seq
        self._depth = 0
        place = 0
        while place <= self._mask:
            self._stamps[place] = ABSENT
            place += 1
        self._stamps[seq & self._mask] = ts_usec

    def __dealloc__(self) -> None:
        """Compiled, the ring is memory of C, without the 64 bytes of an array."""
        octets.free_stamps(self._stamps)

    def ts_usec(self, seq: int) -> int:
        """The timestamp of a record up to ``last_seq``; ABSENT if it was not delivered, or is below the window."""
        if self.last_seq - seq > self._depth or not self._mask:
            return ABSENT
        return self._stamps[seq & self._mask]

    def advance(self, seq: int, ts_usec: int) -> None:
        """Add a record above ``last_seq``."""
        step = seq - self.last_seq
        depth = _FULL_MASK if step > _FULL_MASK else min(self._depth + step, _FULL_MASK)
        if depth > self._mask:
            self._grow(depth)
        self._depth = depth
        mask = self._mask
        skipped = self.last_seq + 1
        if seq - skipped > mask:
            skipped = seq - mask
        while skipped < seq:
            self._stamps[skipped & mask] = ABSENT
            skipped += 1
        self._stamps[seq & mask] = ts_usec
        self.last_seq = seq

    def fill(self, seq: int, ts_usec: int) -> None:
        """Add a record less than ``WINDOW`` below ``last_seq``."""
        behind = self.last_seq - seq
        if behind > self._mask or not self._mask:
            self._grow(behind)
        if behind > self._depth:
            self._depth = behind
        self._stamps[seq & self._mask] = ts_usec

    def missing_seqs(self) -> list[int]:
        """The seqs in the window that were not delivered, in order, from the lowest delivered one to ``last_seq``."""
        seqs = [self.last_seq - behind for behind in range(self._depth, -1, -1)]
        return [seq for seq in seqs if self.ts_usec(seq) == ABSENT]

    def _grow(self, distance: int) -> None:
        """Enlarge the ring to more than ``distance`` seqs, up to ``WINDOW``."""
        old = self._stamps
        old_mask = self._mask
        capacity = _FIRST_CAPACITY
        while capacity <= distance and capacity < WINDOW:
            capacity *= 2
        self._stamps = octets.new_stamps(capacity)
        self._mask = capacity - 1
        seq = self.last_seq
        count = 0
        while old_mask and count <= self._depth:
            self._stamps[seq & self._mask] = old[seq & old_mask]
            seq -= 1
            count += 1
        octets.free_stamps(old)
