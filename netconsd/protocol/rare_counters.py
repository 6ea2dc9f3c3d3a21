"""The counters of one sender that few senders have.

A million senders that send in order have none of these, and need no memory for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netconsd.protocol.suspects import Replay

# Before every monotonic time.
_LONG_AGO = float("-inf")


class RareCounters:
    """Counters of :data:`~netconsd.protocol.counters.SENDER_COUNTERS`, all 0; allocated when the first is counted."""

    __slots__ = (
        *("crash_arrival", "crash_until", "dropped_duplicate", "dropped_over_rate", "incomplete", "late", "limited"),
        *("boots", "gap_credit", "gap_messages", "gap_seq", "likely_lost", "limited_at", "limited_datagrams", "lost"),
        *("missing", "replay", "replays"),
    )

    def __init__(self) -> None:
        self.boots = 0
        self.dropped_duplicate = 0
        self.dropped_over_rate = 0
        self.incomplete = 0
        self.late = 0
        # Kept here for the table of senders, for --rate. The end of the sender's crash, and the theoretical arrival
        # time of its allowance for crashes (GCRA).
        self.crash_until = _LONG_AGO
        self.crash_arrival = _LONG_AGO
        #: When the last datagram was dropped, and how many since the last message; the same for LegacyDatagram.
        self.limited_at = _LONG_AGO
        self.limited = 0
        self.limited_datagrams = 0
        self.missing = 0
        self.lost = 0
        self.likely_lost = 0
        # Kept here for the stream: the seq of the last record after a gap; the number of messages before it; and the
        # balance of messages against gaps (netconsd.protocol.stream.MESSAGES_PER_GAP).
        self.gap_seq = 0
        self.gap_messages = 0
        self.gap_credit = 0
        self.replays = 0
        #: Kept here for the stream: the records far behind that arrived last, if any did.
        self.replay: Replay | None = None
