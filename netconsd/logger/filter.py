"""What the logger does with messages before it writes them: it drops those that match a pattern, and counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from netconsd.logger.patterns import Patterns, read
from netconsd.logger.statistics import INTERVAL, LineTally, Report
from netconsd.protocol.message import Message

__all__ = ["Intake"]


class Intake:
    """Drops and counts messages. ``admitted`` is for the threads of the workers, all else for the reactor's."""

    def __init__(
        self, ignore: Path | None, statistics: bool, *, lost: Callable[[], int], worker_count: int, reactor: Any
    ) -> None:
        """
        :param ignore: the file of patterns.
        :param statistics: whether a line about what came in is logged each minute.
        :param lost: tells how many lines could not be written so far.
        :param reactor: keeps the time.
        :raises OSError: if the file cannot be read.
        :raises ValueError: if something in it is wrong.
        :raises ModuleNotFoundError: if there is a file and no google-re2.
        """
        self._log = Logger("netconsd.logger")
        self._ignore = ignore
        self._statistics = statistics
        self._reactor = reactor
        self._tallies = [LineTally() for _ in range(worker_count)]
        self._report = Report(self._tallies, lost, reactor.seconds())
        self._minutes = LoopingCall(self._tell)
        self._minutes.clock = reactor
        self._patterns: Patterns | None = None
        self.reload()
        if statistics:
            self._minutes.start(INTERVAL, now=False)

    @property
    def dropped(self) -> int:
        """How many messages matched a pattern; read it in any thread."""
        return sum(counters.dropped for counters in self._tallies)

    def reload(self) -> None:
        """Read the patterns; if that fails, as in the constructor, those read before stay."""
        if self._ignore is not None:
            self._patterns = read(str(self._ignore))
            self._log.info("logger: {count} patterns from {path}", count=self._patterns.count, path=self._ignore)

    def admitted(self, worker: int, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages that match no pattern, in order."""
        counters = self._tallies[worker]
        if self._statistics:
            counters.note(messages)
        # Looked up once: the reactor's thread may replace them meanwhile.
        patterns = self._patterns
        if patterns is None:
            return messages
        kept = patterns.kept(messages)
        counters.dropped += len(messages) - len(kept)
        return kept

    def stop(self) -> None:
        """Say what was dropped in all, and say nothing more."""
        if self._minutes.running:
            self._minutes.stop()
        if self.dropped:
            self._log.info("logger: {count} lines matched a pattern and were dropped", count=self.dropped)

    def _tell(self) -> None:
        self._log.info("logger: {line}", line=self._report.line(self._reactor.seconds()))
