"""Drops the messages that match a pattern, counts messages, and logs the counts each minute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from netconsd.logger.patterns import Patterns, read
from netconsd.protocol.message import Message
from netconsd.protocol.plural import plural

#: Seconds between two lines of statistics, as in the C daemon's logger.
INTERVAL: Final = 60.0
#: Hosts that a worker counts in an interval, in 6 MB at most: an attacker can forge an address per datagram.
HOSTS_LIMIT: Final = 65536

log = Logger("netconsd.logger")


@dataclass(slots=True)
class _Counts:
    """The counts of one worker. Its thread adds, any thread reads, the reactor's thread replaces ``hosts``."""

    #: Messages, including the dropped ones; 0 without statistics.
    received: int = 0
    #: Messages that matched a pattern.
    dropped: int = 0
    #: The addresses of the senders of the current interval, 16 bytes each.
    hosts: set[bytes] = field(default_factory=set)


class Filter:
    """Drops and counts messages. ``kept`` is for the threads of the workers, the rest for the reactor's thread."""

    def __init__(
        self,
        ignore: Path | None,
        statistics: bool,
        *,
        dropped_by_error: Callable[[], int],
        worker_count: int,
        reactor: Any,
    ) -> None:
        """
        :param ignore: the file of patterns.
        :param statistics: whether the counts are logged each minute.
        :param dropped_by_error: returns how many lines could not be written so far.
        :param reactor: the clock of the minutes.
        :raises OSError: if the file cannot be read.
        :raises ValueError: if a line of the file is malformed.
        """
        self._ignore = ignore
        self._statistics = statistics
        self._dropped_by_error = dropped_by_error
        self._reactor = reactor
        self._counts = [_Counts() for _ in range(worker_count)]
        self._patterns: Patterns | None = None
        self.reload()
        self._logged_at: float = reactor.seconds()
        self._logged = (0, 0, 0)
        self._minutes = LoopingCall(self._log_statistics)
        self._minutes.clock = reactor
        if statistics:
            self._minutes.start(INTERVAL, now=False)

    @property
    def dropped(self) -> int:
        """Messages that matched a pattern since the start; any thread."""
        return sum(counts.dropped for counts in self._counts)

    def reload(self) -> None:
        """Read the patterns; an error, as in the constructor, leaves the previous patterns in use."""
        if self._ignore is not None:
            self._patterns = read(str(self._ignore))
            log.info("logger: {count} from {path}", count=plural(self._patterns.count, "pattern"), path=self._ignore)

    def kept(self, worker: int, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages that match no pattern, in order; count all of them."""
        counts = self._counts[worker]
        if self._statistics:
            counts.received += len(messages)
            hosts = counts.hosts
            # By identity, because most messages of a batch share their sources.
            for source in {id(message.source): message.source for message in messages}.values():
                if len(hosts) < HOSTS_LIMIT:
                    hosts.add(source.key[:16])
        # Read once: the reactor's thread may replace the patterns meanwhile.
        patterns = self._patterns
        if patterns is None:
            return messages
        kept = patterns.kept(messages)
        counts.dropped += len(messages) - len(kept)
        return kept

    def stop(self) -> None:
        """End the statistics and log how many lines were dropped."""
        if self._minutes.running:
            self._minutes.stop()
        if self.dropped:
            log.info("logger: {count} dropped by a pattern", count=plural(self.dropped, "line"))

    def _log_statistics(self) -> None:
        now = self._reactor.seconds()
        sums = (sum(counts.received for counts in self._counts), self.dropped, self._dropped_by_error())
        received, by_pattern, by_error = (new - old for new, old in zip(sums, self._logged, strict=True))
        seconds = now - self._logged_at
        self._logged_at, self._logged = now, sums
        log.info(
            "logger: in {seconds:.0f} s: {received} from {hosts} ({rate:.1f} per second), {by_pattern} dropped by a "
            "pattern, {by_error} by a write error; since the start: {all_received}, {all_by_pattern} dropped by a "
            "pattern, {all_by_error} by a write error",
            seconds=seconds,
            received=plural(received, "message"),
            hosts=self._take_hosts(),
            # Twisted's clock is the wall clock unless the daemon replaced it, so it can be set back.
            rate=received / seconds if seconds > 0 else 0.0,
            by_pattern=by_pattern,
            by_error=by_error,
            all_received=plural(sums[0], "message"),
            all_by_pattern=sums[1],
            all_by_error=sums[2],
        )

    def _take_hosts(self) -> str:
        """Return the number of hosts of the interval, and begin the next interval."""
        count = 0
        full = False
        for counts in self._counts:
            # The worker may add to the old set once more: that host is counted with its next message.
            hosts, counts.hosts = counts.hosts, set()
            count += len(hosts)
            full = full or len(hosts) >= HOSTS_LIMIT
        return f"{count} or more hosts" if full else plural(count, "host")
