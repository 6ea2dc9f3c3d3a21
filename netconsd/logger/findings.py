"""Crash reports and events for people: what printer and logger show of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netconsd.crash.report import KINDS, SEVERITIES
from netconsd.protocol.message import LegacyMessage, Message
from netconsd.rendering import printable

if TYPE_CHECKING:
    from netconsd.crash.report import Report

#: Characters of a fact: a stranger chooses most of them. The longest title has 120.
FACT_LIMIT = 400


def carrier(found: Any) -> Message | None:
    """Return a message of the sender of a report or event, for its name; None if the sender is unknown.

    An event that no message shows gets an empty message.
    """
    messages = getattr(found, "messages", ())
    message: Message | None = messages[0] if messages else getattr(found, "message", None)
    if message is None and found.source is not None:
        message = LegacyMessage(found.source, found.received_at, b"\n")
    return message


def sender_of(found: Any, sender: Callable[[Message], str]) -> str:
    """Return the sender of a report or event, printable; ``-`` if it is unknown.

    :param sender: :meth:`netconsd.names.Names.sender` or ``host``.
    """
    message = carrier(found)
    return "-" if message is None else printable(sender(message))


def facts(report: Report) -> list[tuple[str, str]]:
    """Return the known facts of a report, each with its name, as printable lines; the title is not among them."""
    severity = f"{report.severity}: {SEVERITIES.get(report.severity, '')}"
    if report.fatal and report.severity != "dead":
        severity += f"; {SEVERITIES['dead']}"
    module = f" [{report.module}]" if report.module else ""
    task = [
        report.comm or "",
        "" if report.pid is None else f"pid {report.pid}",
        "" if report.cpu is None else f"CPU {report.cpu}",
    ]
    known = [
        ("severity", severity),
        ("kind", f"{report.kind}: {KINDS.get(report.kind, '')}"),
        ("function", f"{report.function}{module}" if report.function else ""),
        ("kernel", report.release or ""),
        ("machine", report.machine or ""),
        ("task", ", ".join(part for part in task if part)),
        ("tainted", report.tainted or ""),
        ("follows", report.consequence_of or ""),
        ("repeats", str(report.repeats) if report.repeats else ""),
        ("incomplete", report.incomplete or ""),
    ]
    return [(name, printable(text[:FACT_LIMIT].rstrip())) for name, text in known if text]
