"""Does nothing per message, to measure the cost of netconsd itself."""

from __future__ import annotations

from zope.interface import moduleProvides

from netconsd.interfaces import IOutputModule
from netconsd.protocol.message import Message

moduleProvides(IOutputModule)


def start(worker_count: int) -> None:
    """Nothing to start."""


def handle(worker: int, message: Message) -> None:
    """Ignore the message."""


def stop() -> None:
    """Nothing to stop."""
