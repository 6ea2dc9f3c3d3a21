"""Counts the messages of a few senders among many, and writes the counts to a file at the end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from zope.interface import implementer

from netconsd.interfaces import IOutputModule
from netconsd.protocol.message import ExtendedMessage, Message


@implementer(IOutputModule)
class Watch:
    """Counts messages per address that begins with ``prefix``; writes a dictionary per address to ``path`` as JSON."""

    def __init__(self, *, path: str, prefix: str) -> None:
        self._path = Path(path)
        self._prefix = prefix
        self._counters: list[dict[str, Counter[str]]] = []

    def start(self, worker_count: int) -> None:
        self._counters = [{} for _ in range(worker_count)]

    def handle(self, worker: int, message: Message) -> None:
        address = message.source.address
        if not address.startswith(self._prefix):
            return
        counters = self._counters[worker].setdefault(address, Counter())
        counters["messages"] += 1
        if isinstance(message, ExtendedMessage):
            counters["resets"] += message.seq_reset
            counters["incomplete"] += message.incomplete
            counters["missing"] += message.missing
            counters["late"] += message.out_of_order

    def stop(self) -> None:
        merged = {address: counts for worker in self._counters for address, counts in worker.items()}
        self._path.write_text(json.dumps(merged))
