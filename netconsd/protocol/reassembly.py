"""Reassembles one message from its fragments, in any order (docs/wire section 5).

The first byte that arrives for a position stays. A later piece only fills gaps, so that a forged or damaged piece
cannot change bytes that were received before it.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from netconsd.protocol.decode import Fragment
from netconsd.protocol.message import ExtendedMessage

# A kernel's fragments carry at least 800 bytes, so that 128 KiB are at most 170 pieces. Without this bound, a forged
# message of 128 Ki pieces of one byte would take 10 MB of objects.
PIECES_LIMIT = 512
# The memory of a piece besides its bytes: two objects and two list entries. The memory of a reassembly besides its
# pieces: the object, the message of its first fragment, two lists, and the entries in a table and in the schedule.
# Measured with forged fragments of one byte and the longest possible header.
PIECE_OVERHEAD = 100
REASSEMBLY_OVERHEAD = 900

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(PIECES_LIMIT=PIECES_LIMIT, PIECE_OVERHEAD=PIECE_OVERHEAD, REASSEMBLY_OVERHEAD=REASSEMBLY_OVERHEAD)


class Reassembly:
    """The pieces of one message that were received so far."""

    __slots__ = ("_end", "_offsets", "_pieces", "complete", "cost", "deadline", "first", "got", "total")

    def __init__(self, first: Fragment, deadline: float) -> None:
        self._begin(first, deadline)

    def _begin(self, first: Fragment, deadline: float) -> None:
        #: The message of the fragment that arrived first; the complete message has its header and time.
        self.first: ExtendedMessage = first.piece
        self.total = first.total
        #: The number of bytes of the body that were received.
        self.got = 0
        self.complete = False
        #: The approximate memory of the pieces in bytes.
        self.cost = REASSEMBLY_OVERHEAD
        #: When the message is delivered incomplete (monotonic time).
        self.deadline = deadline
        # Sorted, without overlap; the last one ends at ``_end``. The offsets are None while there is no gap.
        self._offsets: list[int] | None = None
        self._pieces: list[bytes] = []
        self._end = 0

    def is_of(self, fragment: Fragment) -> bool:
        """Return whether a fragment is of this message, by the seq, the timestamp and the total."""
        first, piece = self.first, fragment.piece
        return first._seq == piece._seq and first._ts_usec == piece._ts_usec and self.total == fragment.total

    def add(self, offset: int, piece: bytes) -> bool:
        """Fill the gaps between ``offset`` and the end of the piece, which must not be beyond ``total``.

        :returns: ``False`` if the piece is a duplicate, which fills no gap, or exceeds :data:`PIECES_LIMIT`.
        """
        if offset < self._end:
            return self._fill(offset, piece)
        # In order, as most pieces: nothing to search, nothing to cut.
        if not piece or len(self._pieces) >= PIECES_LIMIT:
            return False
        if offset > self._end or self._offsets is not None:
            self._places().append(offset)
        self._pieces.append(piece)
        self._end = offset + len(piece)
        self._count(len(piece))
        return True

    def _places(self) -> list[int]:
        """The offsets of the pieces."""
        if self._offsets is None:
            sizes = [len(piece) for piece in self._pieces]
            self._offsets = list(accumulate(sizes[:-1], initial=0)) if sizes else []
        return self._offsets

    def _fill(self, offset: int, piece: bytes) -> bool:
        offsets = self._places()
        end = offset + len(piece)
        at = offset
        index = bisect_left(offsets, offset)
        if index and offsets[index - 1] + len(self._pieces[index - 1]) > at:
            at = offsets[index - 1] + len(self._pieces[index - 1])
        added = False
        while at < end and len(self._pieces) < PIECES_LIMIT:
            upto = min(end, offsets[index]) if index < len(offsets) else end
            if upto > at:
                offsets.insert(index, at)
                self._pieces.insert(index, piece[at - offset : upto - offset])
                self._count(upto - at)
                self._end = max(self._end, upto)
                added = True
                index += 1
            if index < len(offsets):
                at = offsets[index] + len(self._pieces[index])
                index += 1
            else:
                at = end
        return added

    def _count(self, size: int) -> None:
        """Count a piece of this size."""
        self.got += size
        self.cost += size + PIECE_OVERHEAD
        self.complete = self.got == self.total

    def message(self) -> ExtendedMessage:
        """The message; a note with the number of bytes is in the place of missing bytes."""
        if self.complete:
            return self.first._reassembled(b"".join(self._pieces))
        parts = []
        at = 0
        for offset, piece in zip(self._places(), self._pieces, strict=True):
            if offset > at:
                parts.append(_hole(offset - at))
            parts.append(piece)
            at = offset + len(piece)
        if at < self.total:
            parts.append(_hole(self.total - at))
        return self.first._reassembled(b"".join(parts))


def new_reassembly(first: Fragment, deadline: float) -> Reassembly:
    """Return a new reassembly. In C, a call of the class costs several times as much."""
    reassembly = Reassembly.__new__(Reassembly)
    reassembly._begin(first, deadline)
    return reassembly


def _hole(size: int) -> bytes:
    return b"[netconsd: %d bytes lost]" % size
