"""Counts the messages of each sender by level, and writes the counts to a JSON file at the end and on SIGHUP."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from zope.interface import implementer

from netconsd import IOutputModule, IReloadable, Message
from netconsd.rendering import LEVELS


@implementer(IOutputModule, IReloadable)
class Tally:
    """A class is a module, the keyword-only parameters of its constructor are its settings."""

    def __init__(self, *, file: Path, levels: tuple[str, ...] = LEVELS) -> None:
        """
        :param file: where to write the counts. It has no default, so it must be set.
        :param levels: which levels to count; legacy messages without a level are not counted.
        """
        unknown = set(levels) - set(LEVELS)
        if unknown:
            # Ends the start of the daemon with this text.
            raise ValueError(f"no such level: {', '.join(sorted(unknown))}; there are {', '.join(LEVELS)}")
        self._file = file
        self._counted = {LEVELS.index(level) for level in levels}
        self._counters: list[Counter[tuple[str, str]]] = []

    def start(self, worker_count: int) -> None:
        """Make a counter for each worker: each is changed by one thread, so no lock is needed."""
        self._counters = [Counter() for _ in range(worker_count)]

    def handle(self, worker: int, message: Message) -> None:
        """Called in the thread of a worker, for every message."""
        if message.level in self._counted:
            self._counters[worker][message.source.address, LEVELS[message.level]] += 1

    def reload(self) -> None:
        """Called in the reactor's thread, while the workers go on."""
        self._write()

    def stop(self) -> None:
        """Called in the reactor's thread, after the last message."""
        self._write()

    def _write(self) -> None:
        senders: dict[str, dict[str, int]] = {}
        for counter in self._counters:
            # A copy, in one step: the worker may add to it at this moment.
            for (address, level), count in counter.copy().items():
                levels = senders.setdefault(address, {})
                levels[level] = levels.get(level, 0) + count
        self._file.write_text(json.dumps(senders, indent=2, sort_keys=True))
