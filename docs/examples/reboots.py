"""Prints each reboot with its reason: a module that takes events only."""

from __future__ import annotations

import sys

from zope.interface import moduleProvides

from netconsd.crashes import Event
from netconsd.interfaces import IEventModule

moduleProvides(IEventModule)


def start(worker_count: int) -> None:
    """Nothing to prepare."""


def handle_event(worker: int, event: Event) -> None:
    """Called in a worker's thread, for every event."""
    stream = sys.__stderr__
    if event.kind == "rebooted" and stream is not None:
        stream.write(f"{event.source.address} {event.details['how']}: {event.text}\n")


def stop() -> None:
    """Nothing to finish."""
