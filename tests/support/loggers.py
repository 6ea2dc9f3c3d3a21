"""Helpers for tests of the logger: a reactor that a test drives, started loggers, batches, and the lines of files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from modules.logger import Logger
from netconsd.names import Names
from netconsd.protocol.message import Message
from netconsd.testing import extended_message

A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class ManualReactor(Clock):
    """A clock that a test advances, and the calls from other threads, which a test runs."""

    def __init__(self) -> None:
        super().__init__()
        self.from_threads: list[tuple[Any, ...]] = []

    def callFromThread(self, function: Any, *arguments: Any) -> None:  # noqa: N802
        self.from_threads.append((function, *arguments))

    def run_calls(self) -> None:
        """Run the calls from other threads."""
        while self.from_threads:
            function, *arguments = self.from_threads.pop(0)
            function(*arguments)


@contextmanager
def logging(
    directory: Path,
    *,
    worker_count: int = 1,
    reactor: ManualReactor | None = None,
    names: Names | None = None,
    **settings: Any,
) -> Iterator[Logger]:
    """Yield a started logger that writes to the directory, with started names; stop both at the end."""
    logger = Logger(directory=directory, **settings)
    logger.reactor = reactor or ManualReactor()
    names = names or Names()
    names.read()
    names.start(logger.reactor)
    logger.use_names(names)
    logger.start(worker_count)
    try:
        yield logger
    finally:
        logger.stop()
        names.stop()


@contextmanager
def logged() -> Iterator[list[str]]:
    """Yield a list that has the texts of all log events after the block."""
    texts: list[str] = []
    with capturedLogs() as events:
        yield texts
    texts += [formatEvent(event) for event in events]


class Contended:
    """A lock that sets an event when a thread has to wait for it."""

    def __init__(self, contended: threading.Event) -> None:
        self._lock = threading.Lock()
        self._contended = contended

    def acquire(self, blocking: bool = True) -> bool:
        if not blocking:
            return self._lock.acquire(blocking=False)
        if not self._lock.acquire(blocking=False):
            self._contended.set()
            self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


def batch(*texts: str, address: str = A, at: float = 0.0) -> list[Message]:
    """Return messages of one sender, received at that time."""
    return [extended_message(text, address=address, received_at=at) for text in texts]


def lines(path: Path) -> list[str]:
    """Return the texts of the lines of a file, after the level; each line has its newline."""
    content = path.read_text()
    assert content.endswith("\n")
    return [line.rpartition(" info   ")[2] for line in content.split("\n")[:-1]]


def files(directory: Path) -> dict[str, list[str]]:
    """Return the texts of the lines of all files, by the name of the file."""
    return {path.name: lines(path) for path in directory.iterdir()}
