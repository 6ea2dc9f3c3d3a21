"""The messages of one sender that wait for others before them."""

from __future__ import annotations

from heapq import heappop, heappush

from netconsd.message import ExtendedMessage

# A burst of 5,000 messages per second from one sender waits 200 ms for a lost one in full; beyond that the oldest gap
# is given up early. Both bounds keep a sender that leaves a gap on purpose from filling the memory.
WAITING_LIMIT = 1024
WAITING_BYTES_LIMIT = 1024 * 1024
# What a held message costs besides its bytes: the objects and their places in the tables.
MESSAGE_OVERHEAD = 400


class Waiting:
    """Messages by sequence number, with the times until which they wait: made with the first gap only."""

    __slots__ = ("_entries", "_order", "cost", "deadline")

    def __init__(self) -> None:
        self._entries: dict[int, tuple[ExtendedMessage, float]] = {}
        # A heap of the sequence numbers.
        self._order: list[int] = []
        #: About how many bytes of memory the messages take.
        self.cost = 0
        #: No message's wait ends before this.
        self.deadline = float("inf")

    def __len__(self) -> int:
        return len(self._order)

    @property
    def crowded(self) -> bool:
        return len(self._order) > WAITING_LIMIT or self.cost > WAITING_BYTES_LIMIT

    def add(self, message: ExtendedMessage, deadline: float) -> None:
        """Add a message whose number is not there yet."""
        self._entries[message._seq] = message, deadline
        heappush(self._order, message._seq)
        self.cost += len(message._raw) + MESSAGE_OVERHEAD
        self.deadline = min(self.deadline, deadline)

    def get(self, seq: int) -> ExtendedMessage | None:
        entry = self._entries.get(seq)
        return None if entry is None else entry[0]

    def lowest(self) -> ExtendedMessage:
        """The message with the lowest number, of at least one."""
        return self._entries[self._order[0]][0]

    def pop(self) -> ExtendedMessage:
        """Take out the message with the lowest number, of at least one."""
        message = self._entries.pop(heappop(self._order))[0]
        self.cost -= len(message._raw) + MESSAGE_OVERHEAD
        return message

    def overdue(self, now: float) -> int:
        """The highest number whose wait is over, or -1; brings ``deadline`` up to date."""
        highest = -1
        earliest = float("inf")
        for seq, (_, deadline) in self._entries.items():
            if deadline > now:
                earliest = min(earliest, deadline)
            elif seq > highest:
                highest = seq
        self.deadline = earliest
        return highest
