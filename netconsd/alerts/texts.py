"""The words of alerts, for a person who was just woken: what, where, since when, how many others, where to look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from netconsd.alerts.alert import Alert
from netconsd.protocol.plural import plural

#: Alerts that one notification describes; the others are counted.
SHOWN_LIMIT: Final = 20


def headline(alert: Alert) -> str:
    """Return the alert in one line, without its time."""
    name = alert.name or alert.address
    if alert.rule == "new":
        return f"new on {name}: {alert.text}"
    if alert.rule == "spread":
        return f"on {plural(alert.machines, 'machine')}: {alert.text}"
    words = {
        "died": "died",
        "silent": "is silent",
        "rebooted": "rebooted unannounced",
        "losses": "loses messages",
        "pattern": "says",
    }
    return f"{name} {words.get(alert.rule, alert.rule)}: {alert.text}"


def subject(begun: Sequence[Alert], ended: Sequence[Alert]) -> str:
    """Return a notification in one line."""
    if len(begun) + len(ended) == 1:
        return headline(begun[0]) if begun else f"over: {headline(ended[0])}"
    parts = []
    if begun:
        parts.append(f"{plural(len(begun), 'alert')}: {headline(begun[0])}")
    if ended:
        parts.append(f"{plural(len(ended), 'alert')} over" if not begun else f"{len(ended)} over")
    return "; ".join(parts)


def body(begun: Sequence[Alert], ended: Sequence[Alert], console_url: str | None, now: float) -> str:
    """Return a notification's text: a paragraph for each alert, those that began first."""
    paragraphs = []
    for alert in begun[:SHOWN_LIMIT]:
        lines = [headline(alert), f"  since {when(alert.since)} ({ago(now - alert.since)} ago), {alert.machine}"]
        if alert.count > 1:
            lines.append(f"  {alert.count} times, last {when(alert.last)}")
        others = alert.machines - 1
        if others > 0:
            named = ", ".join(alert.others)
            lines.append(f"  {plural(others, 'other machine')} had it: {named}{', ...' if others > 5 else ''}")
        if console_url is not None:
            lines.append(f"  {link(alert, console_url)}")
        paragraphs.append("\n".join(lines))
    if len(begun) > SHOWN_LIMIT:
        paragraphs.append(f"and {plural(len(begun) - SHOWN_LIMIT, 'further alert')}")
    paragraphs += [
        f"over: {headline(alert)}\n  from {when(alert.since)} to {when(alert.ended or now)}: {alert.why}"
        for alert in ended[:SHOWN_LIMIT]
    ]
    if len(ended) > SHOWN_LIMIT:
        paragraphs.append(f"and {plural(len(ended) - SHOWN_LIMIT, 'further alert')} over")
    return "\n\n".join(paragraphs) + "\n"


def link(alert: Alert, console_url: str) -> str:
    """Return the address of the console's page for an alert."""
    base = console_url.rstrip("/")
    if alert.rule in ("new", "spread"):
        return f"{base}/crashes?q={quote(alert.subject, safe='')}"
    return f"{base}/machines/{quote(alert.address, safe=':')}"


def when(at: float) -> str:
    """Return a Unix time as ``2026-11-18 11:06:40 UTC``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(seconds: float) -> str:
    """Return a duration in words: ``5 minutes``."""
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return plural(int(seconds // size), word)
    return plural(max(0, int(seconds)), "second")
