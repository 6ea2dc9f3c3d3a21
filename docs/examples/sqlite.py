"""Writes every message into an SQLite database: a module that takes batches, one transaction each."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from zope.interface import implementer

from netconsd import ExtendedMessage, IBatchOutputModule, Message

TABLE = """
CREATE TABLE IF NOT EXISTS messages (
    received_at REAL NOT NULL, address TEXT NOT NULL, seq INTEGER, level INTEGER, text TEXT NOT NULL
)
"""


@implementer(IBatchOutputModule)
class Sqlite:
    """One connection per worker; SQLite lets one of them write at a time and the others wait."""

    def __init__(self, *, file: Path, timeout: float = 5.0) -> None:
        """
        :param file: the database; it is made if it does not exist.
        :param timeout: how many seconds to wait for another writer.
        """
        self._file = file
        self._timeout = timeout
        self._connections: list[sqlite3.Connection] = []

    def start(self, worker_count: int) -> None:
        """Open the connections; an error ends the start of the daemon."""
        # Each is used by one thread at a time, but opened and closed by another.
        self._connections = [
            sqlite3.connect(self._file, timeout=self._timeout, check_same_thread=False) for _ in range(worker_count)
        ]
        with self._connections[0] as connection:
            connection.execute(TABLE)

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Called in the thread of a worker, where blocking is allowed: it holds up this worker's senders only."""
        rows = [
            (
                message.received_at,
                message.source.address,
                message.seq if isinstance(message, ExtendedMessage) else None,
                message.level,
                message.text,
            )
            for message in messages
        ]
        with self._connections[worker] as connection:
            connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", rows)

    def stop(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.close()
