"""The records that may be the first of a new boot, or of a buffer that is sent again (stream.py, rules 5 and 6).

Few senders ever have one of these objects.
"""

from __future__ import annotations

from netconsd.protocol.message import ExtendedMessage
from netconsd.protocol.reorder import ReorderBuffer
from netconsd.protocol.window import ABSENT, WINDOW, Window

# A record whose timestamp is near 0 decides nothing: the clock of a kernel starts at 0 for up to 118 records, and may
# step back within the first 52 ms (recordings of 6.1 to 7.3).
NEAR_ZERO_USEC = 100_000
# If all held records have timestamps near 0, the silence before them decides. From the last record of a kernel to the
# first of the next, 1.7 to 12 s passed (WIRE.md section 6); kernels that sent their buffer again in a panic paused for
# less than 50 ms.
SILENCE_SECONDS = 1.0
# A buffer is sent in one burst. A record that comes later than this after the one before belongs to no burst.
BURST_SECONDS = 1.0


class Suspects:
    """Held records of which is not known yet whether the sender was rebooted before them."""

    __slots__ = ("_estimate", "_highest_ts_usec", "_known", "deadline", "heard", "records")

    def __init__(self, heard: float, deadline: float) -> None:
        """
        :param heard: when the last record before them arrived (monotonic time).
        :param deadline: when they are delivered, whatever is known by then.
        """
        self.heard = heard
        self.deadline = deadline
        self.records = ReorderBuffer()
        # The earliest estimate of the time of boot: a delay on the way can only make an estimate later.
        self._estimate = float("inf")
        self._highest_ts_usec = 0
        # True if one of them was delivered before, with the same timestamp.
        self._known = False

    @property
    def cost(self) -> int:
        return self.records.cost

    def add(self, message: ExtendedMessage, now: float, known: bool) -> None:
        """Add a record whose seq is not among the held ones.

        :param known: it was delivered before, with the same timestamp, which is not near 0.
        """
        self.records.add(message, self.deadline)
        self._estimate = min(self._estimate, now - message._ts_usec / 1e6)
        self._highest_ts_usec = max(self._highest_ts_usec, message._ts_usec)
        self._known = self._known or known

    def are_a_boot(self) -> bool:
        """True if, as far as is known, the sender was rebooted before them."""
        if self._known:
            return False
        silence = SILENCE_SECONDS if self._highest_ts_usec < NEAR_ZERO_USEC else 0.0
        return self._estimate > self.heard + silence


class Replay:
    """Records far behind the last one: a buffer that is sent again, or what a sender in user space sends again."""

    __slots__ = ("heard", "is_sure", "window")

    def __init__(self, seq: int, stamp: int, now: float) -> None:
        #: The records that arrived, for repeats and for the acknowledgement.
        self.window = Window(seq, stamp)
        self.heard = now
        #: ``False`` while this may be single records that were delayed.
        self.is_sure = False

    def is_under_way(self, now: float) -> bool:
        return now - self.heard <= BURST_SECONDS

    def has(self, seq: int, now: float) -> bool:
        """True if a record up to the last one of the stream belongs to a buffer that is sent again."""
        return self.is_under_way(now) and (self.is_sure or 0 < seq - self.window.last_seq <= WINDOW)

    def is_near(self, seq: int, now: float) -> bool:
        """True if a record is among those that arrive here, whether late or replayed."""
        top = self.window.last_seq
        return self.is_under_way(now) and (seq - top <= WINDOW if seq > top else top - seq < WINDOW)

    def add(self, seq: int, stamp: int, now: float) -> tuple[bool, bool]:
        """Return (whether the record is a repeat within the replay, whether it is out of order)."""
        is_near = self.is_near(seq, now)
        self.is_sure = self.is_sure and self.is_under_way(now)
        self.heard = now
        window = self.window
        # After a silence too: what is missing below stays missing.
        if 0 < seq - window.last_seq <= WINDOW:
            window.advance(seq, stamp)
            return False, False
        if not is_near:
            window.restart(seq, stamp)
            return False, False
        repeated = stamp != ABSENT and window.ts_usec(seq) == stamp
        window.fill(seq, stamp)
        return repeated, True
