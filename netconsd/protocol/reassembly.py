"""Puts one message together from its fragments, whatever their order (docs/wire section 5).

The bytes of a message are those that arrived first for their place: a later piece only fills what is still open, so a
forged or damaged piece cannot change what is there already.
"""

from __future__ import annotations

from bisect import bisect_left

from netconsd.protocol.decode import Fragment
from netconsd.protocol.message import ExtendedMessage

# A kernel's fragments carry 800 bytes and more, so 128 KiB are some 170 pieces. Without a bound a stranger could send
# 128 Ki pieces of one byte each and make us keep 10 MB of objects for them.
PIECES_LIMIT = 512
# What a piece costs besides its bytes: two objects and two list slots; and a reassembly besides its pieces: itself, the
# message it began with, two lists, and its places in a table and in the schedule. Measured with forged fragments of one
# byte, whose headers were as long as they can be.
PIECE_OVERHEAD = 100
REASSEMBLY_OVERHEAD = 900


class Reassembly:
    """The pieces of one message that have arrived so far."""

    __slots__ = ("_offsets", "_pieces", "deadline", "first", "got", "total")

    def __init__(self, first: Fragment, deadline: float) -> None:
        #: The header and the time received that the message will have.
        self.first: ExtendedMessage = first.piece
        self.total = first.total
        #: How many bytes of the body are there.
        self.got = 0
        #: When to give up waiting.
        self.deadline = deadline
        # Sorted, and the pieces do not overlap.
        self._offsets: list[int] = []
        self._pieces: list[bytes] = []

    @property
    def complete(self) -> bool:
        return self.got == self.total

    @property
    def cost(self) -> int:
        """About how many bytes of memory the pieces take."""
        return self.got + len(self._pieces) * PIECE_OVERHEAD + REASSEMBLY_OVERHEAD

    def add(self, offset: int, piece: bytes) -> bool:
        """Fill what is open between ``offset`` and the end of the piece, which is not beyond ``total``.

        :returns: whether anything was; if not, the piece is a duplicate (or one too many).
        """
        end = offset + len(piece)
        at = offset
        index = bisect_left(self._offsets, offset)
        if index and self._offsets[index - 1] + len(self._pieces[index - 1]) > at:
            at = self._offsets[index - 1] + len(self._pieces[index - 1])
        added = False
        while at < end and len(self._pieces) < PIECES_LIMIT:
            upto = min(end, self._offsets[index]) if index < len(self._offsets) else end
            if upto > at:
                self._offsets.insert(index, at)
                self._pieces.insert(index, piece[at - offset : upto - offset])
                self.got += upto - at
                added = True
                index += 1
            if index < len(self._offsets):
                at = self._offsets[index] + len(self._pieces[index])
                index += 1
            else:
                at = end
        return added

    def message(self) -> ExtendedMessage:
        """The message; where bytes are missing, a note in their place says how many."""
        if self.complete:
            return self.first._reassembled(b"".join(self._pieces), False)
        parts = []
        at = 0
        for offset, piece in zip(self._offsets, self._pieces, strict=True):
            if offset > at:
                parts.append(_hole(offset - at))
            parts.append(piece)
            at = offset + len(piece)
        if at < self.total:
            parts.append(_hole(self.total - at))
        return self.first._reassembled(b"".join(parts), True)


def _hole(size: int) -> bytes:
    return b"[netconsd: %d bytes lost]" % size
