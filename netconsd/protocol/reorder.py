"""The messages of one sender that wait for others before them."""

from __future__ import annotations

from netconsd.protocol.message import ExtendedMessage

# A burst of 5,000 messages per second from one sender waits 200 ms for a lost one in full; beyond that the oldest gap
# is given up early. Both bounds keep a sender that leaves a gap on purpose from filling the memory.
WAITING_LIMIT = 1024
WAITING_BYTES_LIMIT = 1024 * 1024
# What a held message costs besides its bytes: the objects and their places in the tables. Measured on CPython 3.11.
MESSAGE_OVERHEAD = 560
# And what is there as soon as one is held: the table itself with its two lists, 215 bytes, and the sender's place in
# the schedule. Not the window of those delivered (netconsd.protocol.window): each sender has one for good, from its
# second record on, of 210 to 740 bytes, so that is bounded with their number.
WAITING_OVERHEAD = 340
# Messages that came at the same time wait until the same time. When there are more such times than this, the newest
# share one, so that a gap that stays open while others are filled cannot gather them without end.
GROUPS_LIMIT = 1024
# How many places of messages that are gone are kept before the rest is moved up.
COMPACT_AT = 256

_NEVER = float("inf")
# For the compiled build, which makes C variables of them.
_WAITING_LIMIT = WAITING_LIMIT
_WAITING_BYTES_LIMIT = WAITING_BYTES_LIMIT
_MESSAGE_OVERHEAD = MESSAGE_OVERHEAD
_WAITING_OVERHEAD = WAITING_OVERHEAD
_GROUPS_LIMIT = GROUPS_LIMIT
_COMPACT_AT = COMPACT_AT


class ReorderBuffer:
    """Messages by sequence number, with the times until which they wait: made with the first gap only."""

    __slots__ = ("_first", "_groups", "_last_deadline", "_last_highest", "_messages", "_slack", "cost", "deadline")

    def __init__(self, slack: float = 0.0) -> None:
        """
        :param slack: seconds by which a message's wait may end earlier than asked for, together with another's.
        """
        self._slack = slack
        # In the order of their numbers, from the index _first on; those before it are gone. Most come in that order.
        self._messages: list[ExtendedMessage | None] = []
        self._first = 0
        # (deadline, highest number) of messages that came at the same time, or nearly, in order; without the last ones.
        # They are few. A deque would take 700 bytes more, for each sender that somebody forges.
        self._groups: list[tuple[float, int]] = []
        self._last_deadline = _NEVER
        self._last_highest = 0
        #: About how many bytes of memory this takes, with the messages.
        self.cost = _WAITING_OVERHEAD
        #: No message's wait ends before this.
        self.deadline = _NEVER

    def count(self) -> int:
        """How many messages wait."""
        return len(self._messages) - self._first

    def is_crowded(self) -> bool:
        """Whether there are more messages, or larger ones, than may wait."""
        return len(self._messages) - self._first > _WAITING_LIMIT or self.cost > _WAITING_BYTES_LIMIT

    def add(self, message: ExtendedMessage, deadline: float) -> None:
        """Add a message whose number is not there yet.

        :param deadline: not before the one of the message added last.
        """
        seq = message._seq
        index = self._index(seq)
        if index == len(self._messages):
            self._messages.append(message)
        else:
            self._messages.insert(index, message)
        self.cost += len(message._raw) + _MESSAGE_OVERHEAD
        if self.deadline == _NEVER:
            self.deadline = deadline
        if self._last_deadline == _NEVER:
            self._last_deadline = deadline
            self._last_highest = seq
        elif deadline > self._last_deadline + self._slack and len(self._groups) < _GROUPS_LIMIT:
            self._groups.append((self._last_deadline, self._last_highest))
            self._last_deadline = deadline
            self._last_highest = seq
        elif seq > self._last_highest:
            self._last_highest = seq

    def get(self, seq: int) -> ExtendedMessage | None:
        """The message with this number, if it waits."""
        index = self._index(seq)
        if index < len(self._messages):
            message = self._messages[index]
            if message is not None and message._seq == seq:
                return message
        return None

    def seqs(self) -> list[int]:
        """The numbers of all messages, in order."""
        return [message._seq for message in self._messages if message is not None]

    def lowest(self) -> ExtendedMessage:
        """The message with the lowest number, of at least one."""
        message = self._messages[self._first]
        assert message is not None, "only those before the first are gone"
        return message

    def pop(self) -> ExtendedMessage:
        """Take out the message with the lowest number, of at least one."""
        message = self.lowest()
        self._messages[self._first] = None
        self._first += 1
        self.cost -= len(message._raw) + _MESSAGE_OVERHEAD
        if self._first == len(self._messages) or self._first == _COMPACT_AT:
            del self._messages[: self._first]
            self._first = 0
        return message

    def overdue(self, now: float) -> int:
        """The highest number whose wait is over, or -1; brings ``deadline`` up to date. A number is named once."""
        highest = -1
        while self._groups and self._groups[0][0] <= now:
            highest = max(highest, self._groups.pop(0)[1])
        if self._groups:
            self.deadline = self._groups[0][0]
        elif self._last_deadline <= now:
            highest = max(highest, self._last_highest)
            self._last_deadline = self.deadline = _NEVER
        else:
            self.deadline = self._last_deadline
        return highest

    def _index(self, seq: int) -> int:
        """Where a message with this number is, or would be."""
        low = self._first
        high = len(self._messages)
        if low == high:
            return high
        message = self._messages[high - 1]
        if message is not None and message._seq < seq:
            return high
        while low < high:
            middle = (low + high) // 2
            message = self._messages[middle]
            if message is not None and message._seq < seq:
                low = middle + 1
            else:
                high = middle
        return low
