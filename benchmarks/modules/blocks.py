"""Blocks while a file exists, and records the messages of a few senders."""

from __future__ import annotations

import json
import time
from pathlib import Path

from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule
from netconsd.protocol.message import ExtendedMessage, Message

# Seconds between two checks for the file.
SECONDS = 0.01


@implementer(IBatchOutputModule)
class Blocks:
    """Blocks while ``gate`` exists. At the end it writes to ``path`` as JSON the number of messages, and per address
    that begins with ``prefix`` the seq and the time of each message."""

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
        numbers = {address: pairs for worker in self._numbers for address, pairs in worker.items()}
        self._path.write_text(json.dumps({"messages": sum(self._messages), "numbers": numbers}))
