"""Does nothing per batch, to measure the cost of a further module itself."""

from __future__ import annotations

from zope.interface import moduleProvides

from netconsd.interfaces import IBatchOutputModule
from netconsd.protocol.message import Message

moduleProvides(IBatchOutputModule)


def start(worker_count: int) -> None:
    """Nothing to start."""


def handle_batch(worker: int, messages: list[Message]) -> None:
    """Ignore the messages."""


def stop() -> None:
    """Nothing to stop."""
