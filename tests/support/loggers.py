"""Loggers for tests: a reactor that a test turns, batches, and what is in their files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from modules.logger import Logger
from netconsd.protocol.message import Message
from netconsd.testing import extended_message

A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class Turns(Clock):
    """A clock that a test advances; what another thread wants called is called at the next turn."""

    def __init__(self) -> None:
        super().__init__()
        self.from_threads: list[tuple[Any, ...]] = []

    def callFromThread(self, function: Any, *arguments: Any) -> None:  # noqa: N802
        self.from_threads.append((function, *arguments))

    def turn(self) -> None:
        """Call what was wanted."""
        while self.from_threads:
            function, *arguments = self.from_threads.pop(0)
            function(*arguments)


@contextmanager
def logging(
    directory: Path, *, worker_count: int = 1, reactor: Turns | None = None, **settings: Any
) -> Iterator[Logger]:
    """A started logger that writes to a directory; it is stopped in the end."""
    logger = Logger(directory=directory, **settings)
    logger.reactor = reactor or Turns()
    logger.start(worker_count)
    try:
        yield logger
    finally:
        logger.stop()


@contextmanager
def said() -> Iterator[list[str]]:
    """What is logged meanwhile."""
    words: list[str] = []
    with capturedLogs() as events:
        yield words
    words += [formatEvent(event) for event in events]


def batch(*texts: str, address: str = A, at: float = 0.0) -> list[Message]:
    """Messages of one sender."""
    return [extended_message(text, address=address, received_at=at) for text in texts]


def files(directory: Path) -> dict[str, list[str]]:
    """The texts of the lines of all files, by the name of the file."""
    return {
        path.name: [line.rpartition(" info   ")[2] for line in path.read_text().splitlines()]
        for path in directory.iterdir()
    }
