"""What the logger counts, and the line about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netconsd.protocol.message import Message

__all__ = ["HOSTS_LIMIT", "INTERVAL", "LineTally", "Report"]

#: Seconds between two lines, as in the C daemon's logger.
INTERVAL = 60.0
#: Hosts that a worker counts in an interval. Whoever forges addresses makes one with each datagram; so many take
#: some 6 MB.
HOSTS_LIMIT = 65536


class LineTally:
    """What one worker counts. Its thread adds, any thread reads, the reactor's takes the hosts away."""

    __slots__ = ("dropped", "hosts", "received")

    def __init__(self) -> None:
        #: Messages, those that were dropped included.
        self.received = 0
        #: Messages that a pattern matched.
        self.dropped = 0
        #: The addresses of an interval's senders, as 16 bytes each.
        self.hosts: set[bytes] = set()

    def note(self, messages: Sequence[Message]) -> None:
        """Count messages and their senders."""
        self.received += len(messages)
        hosts = self.hosts
        # By identity, as most messages of a batch share their sources.
        for source in {id(message.source): message.source for message in messages}.values():
            if len(hosts) < HOSTS_LIMIT:
                hosts.add(source.packed)


class Report:
    """The line of each interval. For the reactor's thread."""

    def __init__(self, counters: Sequence[LineTally], lost: Callable[[], int], now: float) -> None:
        """
        :param lost: tells how many lines could not be written so far.
        :param now: monotonic time in seconds.
        """
        self._tallies = counters
        self._lost = lost
        self._then = now
        self._before = (0, 0, 0)

    def line(self, now: float) -> str:
        """Say what came in since the last line, and in all."""
        total = (sum(t.received for t in self._tallies), sum(t.dropped for t in self._tallies), self._lost())
        received, dropped, lost = (one - before for one, before in zip(total, self._before, strict=True))
        seconds, self._then, self._before = now - self._then, now, total
        rate = received / seconds if seconds > 0 else 0.0
        return (
            f"in {seconds:.0f} s: {received} received from {self._hosts()} hosts ({rate:.1f} per second), "
            f"{dropped} dropped, {lost} lost; "
            f"since the start: {total[0]} received, {total[1]} dropped, {total[2]} lost"
        )

    def _hosts(self) -> str:
        count = 0
        full = False
        for counters in self._tallies:
            # The worker may add to the old set once more: that host is counted a moment late.
            hosts, counters.hosts = counters.hosts, set()
            count += len(hosts)
            full = full or len(hosts) >= HOSTS_LIMIT
        return f"{count} or more" if full else str(count)
