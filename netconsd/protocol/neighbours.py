"""The streams of one address: several hosts behind it, or one host that sends from several ports."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from netconsd.protocol import octets

if TYPE_CHECKING:
    from netconsd.protocol.recency import Recency
    from netconsd.protocol.stream import Stream

# An index without an entry per sender: each slot knows one address, the one that had a new sender last. 4096 slots take
# 64 KiB per worker. An address that lost its slot to another one is found again with its next new sender.
SLOTS_LIMIT = 4096
# A script that opens a socket per message leaves a stream per message. The latest ports are enough to find where it
# left off.
PORTS_LIMIT = 16
_ADDRESS_BYTES = 16
# The hash of an address, without its sign.
_HASH_MASK = 2**63 - 1


class Neighbours:
    """Finds the other streams of an address. Not thread-safe."""

    __slots__ = ("_hashes", "_latest", "_recency", "_several")

    def __init__(self, limit: int, recency: Recency) -> None:
        """
        :param limit: the greatest number of streams.
        :param recency: all streams by their number.
        """
        size = max(1, min(limit, SLOTS_LIMIT))
        self._recency = recency
        # For each slot, the hash of its address, and the number of the latest stream; 0 for none. Without them, a new
        # sender would touch the objects of another one, which are seldom in the processor's cache.
        self._hashes = array("Q", [0]) * size
        self._latest = array("Q", [0]) * size
        # The streams of each slot whose address has several, the latest last.
        self._several: dict[int, list[Stream]] = {}

    def add(self, key: bytes, stream: Stream) -> list[Stream] | None:
        """Add the stream of a new sender; return the other known streams of its address, or ``None``."""
        address = key[:_ADDRESS_BYTES]
        hashed = hash(address) & _HASH_MASK
        slot = hashed % len(self._hashes)
        number = octets.stamp_at(self._latest, slot)
        octets.put_stamp(self._latest, slot, stream.number)
        if number and octets.stamp_at(self._hashes, slot) == hashed:
            latest = self._recency.stream(number)
            if latest is not None and latest.source.key[:_ADDRESS_BYTES] == address:
                others = self._several.get(slot, [latest])
                self._several[slot] = [*others, stream][-PORTS_LIMIT:]
                return others
        octets.put_stamp(self._hashes, slot, hashed)
        if self._several:
            self._several.pop(slot, None)
        return None

    def remove(self, stream: Stream) -> None:
        """Forget a stream, if it is known."""
        hashed = hash(stream.source.key[:_ADDRESS_BYTES]) & _HASH_MASK
        slot = hashed % len(self._hashes)
        streams = self._several.get(slot, []) if self._several else []
        if stream in streams:
            streams.remove(stream)
            octets.put_stamp(self._latest, slot, streams[-1].number)
            if len(streams) == 1:
                del self._several[slot]
        elif octets.stamp_at(self._latest, slot) == stream.number:
            octets.put_stamp(self._latest, slot, 0)
