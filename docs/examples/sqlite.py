"""Writes every message to an SQLite database, with one transaction per batch."""

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
    """One connection per worker; SQLite lets one of them write at a time, and the others wait."""

    def __init__(self, *, file: Path, timeout: float = 5.0) -> None:
        """
        :param file: the database, created if it does not exist.
        :param timeout: seconds to wait for another writer.
        """
        self._file = file
        self._timeout = timeout
        self._connections: list[sqlite3.Connection] = []

    def start(self, worker_count: int) -> None:
        """Open the connections; an error stops the start of the daemon."""
        # Each connection is used by one thread at a time, but opened and closed by another.
        self._connections = [
            sqlite3.connect(self._file, timeout=self._timeout, check_same_thread=False) for _ in range(worker_count)
        ]
        with self._connections[0] as connection:
            connection.execute(TABLE)

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Called in a worker's thread, where blocking delays only the senders of this worker."""
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
