"""Counts the messages of each sender by level, and writes the counts to a JSON file at the stop and on SIGHUP."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from zope.interface import implementer

from netconsd import IOutputModule, IReloadable, Message
from netconsd.rendering import LEVELS


@implementer(IOutputModule, IReloadable)
class Tally:
    """The class is the module, and the keyword-only parameters of its constructor are its settings."""

    def __init__(self, *, file: Path, levels: tuple[str, ...] = LEVELS) -> None:
        """
        :param file: the file of the counts. The setting is required, because it has no default.
        :param levels: the levels to count; legacy messages without a level are not counted.
        """
        unknown = set(levels) - set(LEVELS)
        if unknown:
            # Stops the start of the daemon with this text.
            raise ValueError(f"no such level: {', '.join(sorted(unknown))}; there are {', '.join(LEVELS)}")
        self._file = file
        self._counted = {LEVELS.index(level) for level in levels}
        self._counters: list[Counter[tuple[str, str]]] = []

    def start(self, worker_count: int) -> None:
        """Create a counter per worker; each is changed by one thread, so that no lock is needed."""
        self._counters = [Counter() for _ in range(worker_count)]

    def handle(self, worker: int, message: Message) -> None:
        """Called in a worker's thread, for every message."""
        if message.level in self._counted:
            self._counters[worker][message.source.address, LEVELS[message.level]] += 1

    def reload(self) -> None:
        """Called in the reactor's thread, while the workers continue to call."""
        self._write()

    def stop(self) -> None:
        """Called in the reactor's thread, after the last message."""
        self._write()

    def _write(self) -> None:
        senders: dict[str, dict[str, int]] = {}
        for counter in self._counters:
            # An atomic copy, because the worker may change the counter at the same time.
            for (address, level), count in counter.copy().items():
                levels = senders.setdefault(address, {})
                levels[level] = levels.get(level, 0) + count
        self._file.write_text(json.dumps(senders, indent=2, sort_keys=True))
