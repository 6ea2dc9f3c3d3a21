"""The order in which senders were last heard: a linked list of numbers, in one array.

A sender costs 16 bytes here, and a move touches words that are often neighbours. The nodes of an OrderedDict take 48
bytes, and a move touches a table and four nodes anywhere in the memory: with 65,536 senders, none is in the cache.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from netconsd.protocol import octets

if TYPE_CHECKING:
    from netconsd.protocol.stream import Stream

# A link has the number of the older neighbour above that of the newer one. 2^32 senders take more memory than any
# machine has.
_SHIFT = 32
_NEWER = 0xFFFFFFFF


class Recency:
    """Streams, from the one heard last to the one silent longest, each with a number. Not thread-safe.

    0 is no stream's number. The numbers of removed streams are used again.
    """

    __slots__ = ("_free", "_links", "_streams")

    def __init__(self) -> None:
        # A ring: the older neighbour of 0 is the newest, the newer one is the oldest.
        self._links = array("Q", [0])
        self._streams: list[Stream | None] = [None]
        # The number that was removed last; each one's link is the number that was removed before it. 0 ends them.
        self._free = 0

    def add(self, stream: Stream) -> int:
        """Add a stream as the newest; return its number."""
        number = self._free
        if number:
            self._free = octets.stamp_at(self._links, number)
            self._streams[number] = stream
        else:
            number = len(self._streams)
            self._links.append(0)
            try:
                self._streams.append(stream)
            except MemoryError:
                # Both have as many entries.
                self._links.pop()
                raise
        self._link(number)
        return number

    def touch(self, number: int) -> None:
        """Make a stream the newest."""
        self._unlink(number)
        self._link(number)

    def remove(self, number: int) -> None:
        """Remove a stream."""
        self._unlink(number)
        self._streams[number] = None
        octets.put_stamp(self._links, number, self._free)
        self._free = number

    def oldest(self) -> Stream | None:
        """The stream silent longest; ``None`` without a stream."""
        return self._streams[octets.stamp_at(self._links, 0) & _NEWER]

    def older(self, number: int) -> int:
        """The number of the stream that was heard before this one, 0 if none was; of 0, that of the newest stream."""
        return octets.stamp_at(self._links, number) >> _SHIFT

    def stream(self, number: int) -> Stream | None:
        """The stream with a number; ``None`` for 0, and for the number of a removed stream."""
        return self._streams[number]

    def _link(self, number: int) -> None:
        links = self._links
        ends = octets.stamp_at(links, 0)
        newest = ends >> _SHIFT
        octets.put_stamp(links, number, newest << _SHIFT)
        if newest:
            octets.put_stamp(links, 0, (number << _SHIFT) | (ends & _NEWER))
            octets.put_stamp(links, newest, octets.stamp_at(links, newest) | number)
        else:
            octets.put_stamp(links, 0, (number << _SHIFT) | number)

    def _unlink(self, number: int) -> None:
        links = self._links
        link = octets.stamp_at(links, number)
        older = link >> _SHIFT
        newer = link & _NEWER
        octets.put_stamp(links, older, (octets.stamp_at(links, older) & ~_NEWER) | newer)
        octets.put_stamp(links, newer, (octets.stamp_at(links, newer) & _NEWER) | (older << _SHIFT))
