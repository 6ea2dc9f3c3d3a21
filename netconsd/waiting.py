"""The messages of one sender that wait for others before them."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from netconsd.message import ExtendedMessage

# A burst of 5,000 messages per second from one sender waits 200 ms for a lost one in full; beyond that the oldest gap
# is given up early. Both bounds keep a sender that leaves a gap on purpose from filling the memory.
WAITING_LIMIT = 1024
WAITING_BYTES_LIMIT = 1024 * 1024
# What a held message costs besides its bytes: the objects and their places in the tables. Measured on CPython 3.11.
MESSAGE_OVERHEAD = 560


class Waiting:
    """Messages by sequence number, with the times until which they wait: made with the first gap only."""

    __slots__ = ("_arrivals", "_messages", "_order", "cost", "deadline")

    def __init__(self) -> None:
        self._messages: dict[int, ExtendedMessage] = {}
        # A heap of the sequence numbers.
        self._order: list[int] = []
        # (deadline, number) as they came, so that deadlines ascend; those of messages that are gone are left in it.
        self._arrivals: deque[tuple[float, int]] = deque()
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
        """Add a message whose number is not there yet.

        :param deadline: not before the one of the message added last.
        """
        if not self._arrivals:
            self.deadline = deadline
        self._messages[message._seq] = message
        heappush(self._order, message._seq)
        if len(self._arrivals) >= 2 * WAITING_LIMIT:
            # A gap that stays open while others are filled would let the list grow as fast as a sender can send.
            self._arrivals = deque([arrival for arrival in self._arrivals if arrival[1] in self._messages])
        self._arrivals.append((deadline, message._seq))
        self.cost += len(message._raw) + MESSAGE_OVERHEAD

    def get(self, seq: int) -> ExtendedMessage | None:
        return self._messages.get(seq)

    def lowest(self) -> ExtendedMessage:
        """The message with the lowest number, of at least one."""
        return self._messages[self._order[0]]

    def pop(self) -> ExtendedMessage:
        """Take out the message with the lowest number, of at least one."""
        message = self._messages.pop(heappop(self._order))
        self.cost -= len(message._raw) + MESSAGE_OVERHEAD
        return message

    def overdue(self, now: float) -> int:
        """The highest number whose wait is over, or -1; brings ``deadline`` up to date."""
        highest = -1
        while self._arrivals and self._arrivals[0][0] <= now:
            highest = max(highest, self._arrivals.popleft()[1])
        self.deadline = self._arrivals[0][0] if self._arrivals else float("inf")
        return highest
