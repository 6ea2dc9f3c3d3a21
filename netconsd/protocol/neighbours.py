"""The streams of one address: several hosts behind it, or one host that sends from several ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netconsd.protocol.stream import Stream

# An index without an entry per sender: each slot knows one address, the one that had a new sender last. 4096 slots take
# 32 KiB per worker. An address that lost its slot to another one is found again with its next new sender.
SLOTS_LIMIT = 4096
# A script that opens a socket per message leaves a stream per message. The latest ports are enough to find where it
# left off.
PORTS_LIMIT = 16
_ADDRESS_BYTES = 16


class Neighbours:
    """Finds the other streams of an address. Not thread-safe."""

    def __init__(self, limit: int) -> None:
        """
        :param limit: the greatest number of streams.
        """
        # A stream alone, or the list of several streams of one address.
        self._slots: list[Stream | list[Stream] | None] = [None] * max(1, min(limit, SLOTS_LIMIT))

    def add(self, key: bytes, stream: Stream) -> list[Stream] | None:
        """Add the stream of a new sender; return the other known streams of its address, or ``None``."""
        address = key[:_ADDRESS_BYTES]
        slot = hash(address) % len(self._slots)
        entry = self._slots[slot]
        latest = entry[-1] if isinstance(entry, list) else entry
        if entry is None or latest is None or latest.source.key[:_ADDRESS_BYTES] != address:
            self._slots[slot] = stream
            return None
        streams = entry if isinstance(entry, list) else [entry]
        others = list(streams)
        streams.append(stream)
        del streams[:-PORTS_LIMIT]
        self._slots[slot] = streams
        return others

    def remove(self, stream: Stream) -> None:
        """Forget a stream, if it is known."""
        slot = hash(stream.source.key[:_ADDRESS_BYTES]) % len(self._slots)
        entry = self._slots[slot]
        if entry is stream:
            self._slots[slot] = None
        elif isinstance(entry, list) and stream in entry:
            entry.remove(stream)
            self._slots[slot] = entry if len(entry) > 1 else entry[0]
