"""Does nothing, message by message: what netconsd itself costs."""

from __future__ import annotations

from zope.interface import moduleProvides

from netconsd.interfaces import IOutputModule
from netconsd.protocol.message import Message

moduleProvides(IOutputModule)


def start(worker_count: int) -> None:
    """Nothing to get ready."""


def handle(worker: int, message: Message) -> None:
    """Take a message and forget it."""


def stop() -> None:
    """Nothing to finish."""
