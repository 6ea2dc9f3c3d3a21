"""Learns for each sender how long it is usually silent, and finds the senders that are silent for longer.

- **Usual** is the longest silence of the last :data:`PERIOD_SECONDS` to twice as long, within a boot.
- **Too long** is more than :data:`TIMES` times that, and at least :data:`LEAST_SECONDS`.
- A sender is watched only once it was observed for :data:`LEARN_SECONDS`, and for :data:`EVIDENCE` times as long as
  that silence. A machine that boots, sends a thousand lines in a minute and then nothing was observed for a minute: its
  silence says nothing. One that logs a line an hour is watched after 30 hours, and silent after three.

Pure; the memory is a constant for each sender, and the senders are bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netconsd.protocol.message import Source

#: No shorter silence is reported: a heartbeat of a minute may fail for some minutes, and big servers boot for 10.
LEAST_SECONDS = 900.0
#: One silence may be twice the usual without a reason: a line an hour, one of which is lost.
TIMES = 3.0
#: Nights differ from days, so that one of each has to be seen.
LEARN_SECONDS = 86_400.0
#: Of a sender with random gaps, one in this many is three times as long as the longest before only by rare chance.
EVIDENCE = 10.0
#: Weeks differ as well: two of them are remembered, at most four.
PERIOD_SECONDS = 14 * 86_400.0
#: A machine that was switched off for good is forgotten.
FORGET_SECONDS = 30 * 86_400.0
#: Senders with fewer messages are not watched: a flood with forged addresses sends few from each.
LEAST_MESSAGES = 8
#: If nobody looked for this many seconds, netconsd itself was stopped, or busy: all silences begin again.
PAUSE_SECONDS = 900.0
#: A failed switch silences thousands: the further ones are found by the next call.
DUE_LIMIT = 256
# Sums of times are compared with differences.
_ROUNDING = 0.001
# The schedule is cleaned when it has this many more entries than twice the senders.
SCHEDULE_SLACK = 64


class _Watched:
    """The knowledge of one sender; times are those of ``now``."""

    __slots__ = ("earlier", "heard", "is_silent", "longest", "scheduled_at", "since", "source", "turned_at")

    def __init__(self, source: Source, heard: float) -> None:
        self.source = source
        self.heard = heard
        self.since = heard
        # The longest silence of this period and of the one before.
        self.longest = 0.0
        self.earlier = 0.0
        self.turned_at = heard
        self.is_silent = False
        self.scheduled_at = 0.0

    def __lt__(self, other: _Watched) -> bool:
        """For the schedule."""
        return self.scheduled_at < other.scheduled_at

    def usual(self) -> float:
        return max(self.longest, self.earlier)

    def too_long(self) -> float:
        return max(LEAST_SECONDS, TIMES * self.usual())

    def watched_from(self) -> float:
        return self.since + max(LEARN_SECONDS, EVIDENCE * self.too_long())


class Silence:
    """The silences of a lane's senders. Not thread-safe. ``now`` is any clock that does not step."""

    def __init__(self, limit: int) -> None:
        """
        :param limit: the greatest number of senders; a further one replaces the one that is silent longest.
        """
        self._limit = max(1, limit)
        # In the order in which they were heard last.
        self._senders: OrderedDict[bytes, _Watched] = OrderedDict()
        # A heap by `scheduled_at`, which changes only outside of it. Each sender is in it once.
        self._schedule: list[_Watched] = []
        self._looked_at: float | None = None
        self._listening_since = 0.0
        #: Senders that were replaced because of the limit.
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._senders)

    def look(self, now: float) -> None:
        """Note that netconsd listens; to be called before :meth:`hear` and :meth:`due`, at least every 5 minutes."""
        if self._looked_at is None or not 0 <= now - self._looked_at <= PAUSE_SECONDS:
            self._listening_since = now
        self._looked_at = now

    def hear(self, source: Source, heard: float, messages: int) -> float | None:
        """Note when a sender was heard last; return the length of its silence if it had been too long.

        :param messages: the number of its messages; below :data:`LEAST_MESSAGES` nothing is noted.
        """
        sender = self._senders.get(source.key)
        if sender is None:
            if messages >= LEAST_MESSAGES:
                self._add(_Watched(source, heard))
            return None
        if heard <= sender.heard:
            return None
        # A silence in which netconsd did not listen is not known to be one.
        silence = heard - max(sender.heard, self._listening_since)
        sender.longest = max(sender.longest, silence)
        if heard - sender.turned_at > PERIOD_SECONDS:
            sender.earlier, sender.longest, sender.turned_at = sender.longest, 0.0, heard
        return self._heard(sender, heard)

    def restart(self, source: Source, heard: float) -> float | None:
        """Note that a sender booted: as :meth:`hear`, but the silence before it is not a usual one."""
        sender = self._senders.get(source.key)
        return None if sender is None or heard <= sender.heard else self._heard(sender, heard)

    def due(self, now: float) -> list[tuple[Source, float, float]]:
        """Return (sender, its silence, its usual longest silence) of those that have become silent for too long.

        At most :data:`DUE_LIMIT`; the next call returns the further ones. Each silence is returned once.
        """
        found: list[tuple[Source, float, float]] = []
        while self._schedule and self._schedule[0].scheduled_at <= now and len(found) < DUE_LIMIT:
            sender = heappop(self._schedule)
            if self._senders.get(sender.source.key) is not sender:
                continue
            silence = now - max(sender.heard, self._listening_since)
            if now - sender.heard >= FORGET_SECONDS:
                del self._senders[sender.source.key]
                continue
            too_long = silence + _ROUNDING >= sender.too_long()
            if too_long and not sender.is_silent and sender.heard >= sender.watched_from():
                sender.is_silent = True
                found.append((sender.source, silence, sender.usual()))
            self._put_on_schedule(sender, now)
        return found

    def _heard(self, sender: _Watched, heard: float) -> float | None:
        silence = heard - sender.heard
        sender.heard = heard
        self._senders.move_to_end(sender.source.key)
        if not sender.is_silent:
            return None
        sender.is_silent = False
        return silence

    def _add(self, sender: _Watched) -> None:
        if len(self._senders) >= self._limit:
            self._senders.popitem(last=False)
            self.evicted += 1
        self._senders[sender.source.key] = sender
        self._put_on_schedule(sender, sender.heard)

    def _put_on_schedule(self, sender: _Watched, now: float) -> None:
        """Look at the sender at the first time at which its silence can be too long."""
        if len(self._schedule) > 2 * len(self._senders) + SCHEDULE_SLACK:
            self._schedule = [other for other in self._schedule if self._senders.get(other.source.key) is other]
            heapify(self._schedule)
        at = max(sender.heard, sender.watched_from(), self._listening_since) + sender.too_long()
        # One that is silent, or not watched yet, is looked at again later.
        sender.scheduled_at = at if at > now else now + LEAST_SECONDS
        heappush(self._schedule, sender)
