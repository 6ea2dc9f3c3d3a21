"""Stands still while there is a file, and keeps an account of what a few senders sent."""

from __future__ import annotations

import json
import time
from pathlib import Path

from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule
from netconsd.protocol.message import ExtendedMessage, Message

# How often it looks whether the file is still there.
SECONDS = 0.01


@implementer(IBatchOutputModule)
class Stands:
    """Takes no message while ``gate`` exists. At the end it writes into ``path``, in JSON, how many messages it took,
    and by address the numbers of those from the senders whose addresses begin with ``prefix``, and when they came."""

    def __init__(self, *, gate: str, path: str, prefix: str) -> None:
        self._gate = Path(gate)
        self._path = Path(path)
        self._prefix = prefix
        self._messages: list[int] = []
        self._numbers: list[dict[str, list[tuple[int, float]]]] = []

    def start(self, worker_count: int) -> None:
        self._messages = [0] * worker_count
        self._numbers = [{} for _ in range(worker_count)]

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        while self._gate.exists():
            time.sleep(SECONDS)
        now = time.monotonic()
        self._messages[worker] += len(messages)
        for message in messages:
            address = message.source.address
            if address.startswith(self._prefix) and isinstance(message, ExtendedMessage):
                self._numbers[worker].setdefault(address, []).append((message.seq, now))

    def stop(self) -> None:
        numbers = {address: each for one in self._numbers for address, each in one.items()}
        self._path.write_text(json.dumps({"messages": sum(self._messages), "numbers": numbers}))
