"""Keeps an account of a few senders among many, and writes it down at the end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from zope.interface import implementer

from netconsd.interfaces import IOutputModule
from netconsd.protocol.message import ExtendedMessage, Message


@implementer(IOutputModule)
class Watch:
    """Counts what came of those whose addresses begin with ``prefix``, a dictionary for each, in JSON, in ``path``."""

    def __init__(self, *, path: str, prefix: str) -> None:
        self._path = Path(path)
        self._prefix = prefix
        self._accounts: list[dict[str, Counter[str]]] = []

    def start(self, worker_count: int) -> None:
        self._accounts = [{} for _ in range(worker_count)]

    def handle(self, worker: int, message: Message) -> None:
        address = message.source.address
        if not address.startswith(self._prefix):
            return
        account = self._accounts[worker].setdefault(address, Counter())
        account["messages"] += 1
        if isinstance(message, ExtendedMessage):
            account["resets"] += message.seq_reset
            account["incomplete"] += message.incomplete
            account["missing"] += message.missing
            account["late"] += message.out_of_order

    def stop(self) -> None:
        self._path.write_text(json.dumps({key: each for one in self._accounts for key, each in one.items()}))
