"""Does nothing per message, crash report and event, to measure the cost of finding them."""

from __future__ import annotations

from zope.interface import moduleProvides

from netconsd.crashes import Event, Report
from netconsd.interfaces import IEventModule, IOutputModule, IReportModule
from netconsd.protocol.message import Message

moduleProvides(IOutputModule, IReportModule, IEventModule)


def start(worker_count: int) -> None:
    """Nothing to start."""


def handle(worker: int, message: Message) -> None:
    """Ignore the message."""


def handle_report(worker: int, report: Report) -> None:
    """Ignore the report."""


def handle_event(worker: int, event: Event) -> None:
    """Ignore the event."""


def stop() -> None:
    """Nothing to stop."""
