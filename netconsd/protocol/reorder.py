"""The held messages of one sender: those that arrived before a record with a lower seq."""

from __future__ import annotations

from netconsd.protocol import memory
from netconsd.protocol.message import ExtendedMessage

# A burst of 5,000 messages per second from one sender is held for 200 ms in full while one message is missing; above
# that the lowest messages are released early. Both bounds keep a sender that leaves a gap on purpose from filling the
# memory.
HELD_LIMIT = 1024
HELD_BYTES_LIMIT = 1024 * 1024
# The memory of a held message besides its bytes: the objects and their list entries. Measured on CPython 3.11.
MESSAGE_OVERHEAD = 560
# The memory of a buffer with its first message: the buffer with its two lists, 215 bytes, and the sender's entry in the
# schedule. The window of delivered messages (netconsd.protocol.window, 16 to 512 bytes) is not included: every sender
# keeps one from its first record on, so that the limit on senders bounds it.
BUFFER_OVERHEAD = 340
# Messages that arrive together have one deadline. Beyond this number of deadlines, the newest messages share one, so
# that a gap that stays open while others are filled does not grow the list of deadlines without bound.
GROUPS_LIMIT = 1024
# The number of entries of removed messages at which the list is compacted.
COMPACT_AT = 256
# The places from the message that is removed to the one whose memory is asked for: those of a group, some ten messages,
# are removed in one go. The bytes follow at half of that.
_AHEAD = 8

_NEVER = float("inf")

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(
    HELD_LIMIT=HELD_LIMIT,
    HELD_BYTES_LIMIT=HELD_BYTES_LIMIT,
    MESSAGE_OVERHEAD=MESSAGE_OVERHEAD,
    BUFFER_OVERHEAD=BUFFER_OVERHEAD,
    GROUPS_LIMIT=GROUPS_LIMIT,
    COMPACT_AT=COMPACT_AT,
)


class ReorderBuffer:
    """Messages in the order of their seqs, each with a deadline."""

    __slots__ = ("_first", "_groups", "_last_deadline", "_last_highest", "_messages", "_slack", "cost", "deadline")

    def __init__(self, slack: float = 0.0) -> None:
        """
        :param slack: the number of seconds by which a message may expire before its deadline, together with others.
        """
        self._slack = slack
        # In the order of seq, from the index _first on; the entries before it are of removed messages. Most messages
        # arrive in that order.
        self._messages: list[ExtendedMessage | None] = []
        self._first = 0
        # (deadline, highest seq) of the messages that arrived within the slack, in order; the last pair is in the two
        # attributes below. Pairs are few. A deque would take 700 bytes more for each forged sender.
        self._groups: list[tuple[float, int]] = []
        self._last_deadline = _NEVER
        self._last_highest = 0
        #: The approximate memory in bytes of the buffer and its messages.
        self.cost = BUFFER_OVERHEAD
        #: No message expires before this time.
        self.deadline = _NEVER

    def count(self) -> int:
        """The number of messages."""
        return len(self._messages) - self._first

    def is_over_limit(self) -> bool:
        """True if the messages are more than :data:`HELD_LIMIT`, or larger than :data:`HELD_BYTES_LIMIT`."""
        return len(self._messages) - self._first > HELD_LIMIT or self.cost > HELD_BYTES_LIMIT

    def add(self, message: ExtendedMessage, deadline: float) -> None:
        """Add a message whose seq is not in the buffer.

        :param deadline: not before the deadline of the message that was added last.
        """
        seq = message._seq
        index = self._index(seq)
        if index == len(self._messages):
            self._messages.append(message)
        else:
            self._messages.insert(index, message)
        self.cost += len(message._raw) + MESSAGE_OVERHEAD
        if self.deadline == _NEVER:
            self.deadline = deadline
        if self._last_deadline == _NEVER:
            self._last_deadline = deadline
            self._last_highest = seq
        elif deadline > self._last_deadline + self._slack and len(self._groups) < GROUPS_LIMIT:
            self._groups.append((self._last_deadline, self._last_highest))
            self._last_deadline = deadline
            self._last_highest = seq
        elif seq > self._last_highest:
            self._last_highest = seq

    def get(self, seq: int) -> ExtendedMessage | None:
        """The message with this seq, or ``None``."""
        index = self._index(seq)
        if index < len(self._messages):
            message = self._messages[index]
            if message is not None and message._seq == seq:
                return message
        return None

    def seqs(self) -> list[int]:
        """The seqs of all messages, in order."""
        return [message._seq for message in self._messages if message is not None]

    def lowest(self) -> ExtendedMessage:
        """The message with the lowest seq; the buffer must not be empty."""
        message = self._messages[self._first]
        assert message is not None, "only entries before the first are of removed messages"
        return message

    def pop(self) -> ExtendedMessage:
        """Remove and return the message with the lowest seq; the buffer must not be empty."""
        message = self.lowest()
        memory.fetch(self._messages, self._first + _AHEAD, self._first + _AHEAD // 2)
        self._messages[self._first] = None
        self._first += 1
        self.cost -= len(message._raw) + MESSAGE_OVERHEAD
        if self._first == len(self._messages) or self._first == COMPACT_AT:
            del self._messages[: self._first]
            self._first = 0
        return message

    def expire(self, now: float) -> int:
        """Update ``deadline``; return the highest seq that expired since the last call, or -1.

        The caller removes the messages up to that seq. It may be the seq of a message that was removed before.
        """
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
        """The index of the message with this seq, or the index at which to insert it."""
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
