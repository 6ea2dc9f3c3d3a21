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
    """A buffer that is being sent again."""

    __slots__ = ("_window", "heard", "is_sure")

    def __init__(self, seq: int, stamp: int, now: float, is_sure: bool) -> None:
        """
        :param is_sure: ``False`` if this may be a single record that was delayed.
        """
        self._window = Window(seq, stamp)
        self.heard = now
        self.is_sure = is_sure

    def has(self, seq: int, now: float) -> bool:
        """True if a record up to the last one of the stream belongs to the buffer."""
        if now - self.heard > BURST_SECONDS:
            return False
        return self.is_sure or 0 < seq - self._window.top <= WINDOW

    def add(self, seq: int, stamp: int, now: float) -> tuple[bool, bool]:
        """Return (whether the record is a repeat within the replay, whether it is out of order)."""
        self.heard = now
        self.is_sure = True
        window = self._window
        if seq > window.top:
            window.advance(seq, stamp)
            return False, False
        if stamp != ABSENT and window.ts_usec(seq) == stamp:
            return True, True
        if window.top - seq < WINDOW:
            window.fill(seq, stamp)
        return False, True
