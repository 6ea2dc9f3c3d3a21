"""The words of alerts, for a person who was just woken: what, where, since when, how many others, where to look.

Alerts of one kind are one paragraph: of a fleet that lost its power, the machines are counted. The worst is first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from netconsd.alerts.alert import Alert
from netconsd.alerts.book import MACHINES_LIMIT, OTHERS_LIMIT
from netconsd.protocol.plural import plural

#: Paragraphs of one notification; the others are counted.
SHOWN_LIMIT: Final = 20
#: The words for each rule of a machine: of one, and of many.
_WORDS: Final = {
    "died": ("died", "died"),
    "silent": ("is silent", "are silent"),
    "rebooted": ("rebooted unannounced", "rebooted unannounced"),
    "losses": ("loses messages", "lose messages"),
    "pattern": ("says", "say"),
}
#: The rules, the gravest first.
_ORDER: Final = ("spread", "died", "silent", "rebooted", "new", "losses", "pattern")
#: The rules whose text differs from machine to machine: it has numbers.
_OWN_TEXT: Final = ("silent", "rebooted", "losses", "pattern")
#: The first words of the sentences of events, which the headline has already.
_SAID: Final = {"silent": "silent ", "rebooted": "rebooted; "}


def headline(alert: Alert) -> str:
    """Return the alert in one line, without its time."""
    name = alert.name or alert.address
    if alert.rule == "new":
        return f"new on {name}: {alert.text}"
    if alert.rule == "spread":
        return f"on {_machines(alert.machines)}: {alert.text}"
    if alert.rule not in _WORDS:
        return alert.text
    words = _WORDS[alert.rule][0]
    said, text = _SAID.get(alert.rule, ""), alert.text
    if said and text.startswith(said):
        return f"{name} {words}{': ' if said.endswith('; ') else ' '}{text.removeprefix(said)}"
    return f"{name} {words}: {text}"


def subject(begun: Sequence[Alert], ended: Sequence[Alert], lasting: Sequence[Alert] = ()) -> str:
    """Return a notification in one line: the gravest alert, and how many others there are."""
    parts: list[str] = []
    for alerts, word in ((begun, ""), (lasting, "still: "), (ended, "over: ")):
        groups = _groups(alerts)
        if not groups:
            continue
        if not parts:
            parts.append(f"{word}{_head(groups[0])}")
            if others := sum(map(len, groups[1:])):
                parts.append(plural(others, "further alert"))
        else:
            parts.append(f"{sum(map(len, groups))} {word.removesuffix(': ')}")
    return "; ".join(parts)


def body(
    begun: Sequence[Alert],
    ended: Sequence[Alert],
    console_url: str | None,
    now: float,
    lasting: Sequence[Alert] = (),
) -> str:
    """Return a notification's text: those that began first, then those that still last, then those that are over."""
    paragraphs = []
    for alerts, word in ((begun, ""), (lasting, "still: "), (ended, "over: ")):
        groups = _groups(alerts)
        new = {alert.text for alert in alerts if alert.rule == "new"}
        paragraphs += [_paragraph(group, word, console_url, now, new) for group in groups[:SHOWN_LIMIT]]
        if left := sum(map(len, groups[SHOWN_LIMIT:])):
            paragraphs.append(f"{word}{plural(left, 'further alert')}")
    return "\n\n".join(paragraphs) + "\n"


def _groups(alerts: Sequence[Alert]) -> list[list[Alert]]:
    """Return the alerts in groups of one kind, the gravest first, each in the order of its begin. A title that is new,
    and with which a machine died, has one paragraph."""
    groups: dict[tuple[str, str], list[Alert]] = {}
    died = {alert.text for alert in alerts if alert.rule == "died"}
    for alert in alerts:
        if alert.rule == "new" and alert.text in died:
            continue  # its paragraph says so
        text = alert.text if alert.rule not in _OWN_TEXT else ""
        groups.setdefault((alert.rule, text), []).append(alert)
    order = {rule: place for place, rule in enumerate(_ORDER)}
    return sorted(groups.values(), key=lambda group: (order.get(group[0].rule, len(order)), -len(group)))


def _head(group: Sequence[Alert]) -> str:
    first = group[0]
    if len(group) == 1:
        return headline(first)
    if first.rule not in _WORDS:
        return headline(first)
    head = f"{plural(len(group), 'machine')} {_WORDS[first.rule][1]}"
    if first.rule == "pattern":
        return f"{head}, as {first.name or first.address}: {first.text}"
    return f"{head}: {first.text}" if first.rule == "died" else head


def _paragraph(group: Sequence[Alert], word: str, console_url: str | None, now: float, new: Collection[str]) -> str:
    first = min(group, key=lambda alert: alert.since)
    lines = [f"{word}{_head(group)}"]
    if len(group) > 1:
        names = [alert.name or alert.address for alert in group[:OTHERS_LIMIT]]
        lines.append(f"  {', '.join(names)}{', ...' if len(group) > OTHERS_LIMIT else ''}")
    if first.ended is not None:
        last = max(group, key=lambda alert: alert.ended or now)
        line = f"  from {when(first.since)} to {when(last.ended or now)}"
        lines.append(f"{line}: {first.why}" if len(group) == 1 else line)
        return "\n".join(lines)
    where = first.machine if len(group) == 1 else f"first {first.machine}"
    lines.append(f"  since {when(first.since)} ({ago(now - first.since)} ago), {where}")
    if len(group) == 1 and first.count > 1:
        lines.append(f"  {first.count} times, last {when(first.last)}")
    others = first.machines - 1
    if len(group) == 1 and others > 0:
        more = ", ..." if others > len(first.others) else ""
        lines.append(f"  also on {_machines(others, 'other machine')}: {', '.join(first.others)}{more}")
    if first.rule == "died" and first.text in new:
        lines.append("  the title is new")
    if console_url is not None:
        lines.append(f"  {link(first, console_url, len(group))}")
    return "\n".join(lines)


def _machines(number: int, noun: str = "machine") -> str:
    # Beyond the limit, the ones seen longest ago are forgotten.
    return f"{number}{' or more' if number >= MACHINES_LIMIT - 1 else ''} {plural(number, noun).partition(' ')[2]}"


def link(alert: Alert, console_url: str, machines: int = 1) -> str:
    """Return the address of the console's page for an alert, or for one that began on so many machines."""
    base = console_url.rstrip("/")
    if alert.rule in ("new", "spread") or (alert.rule == "died" and machines > 1):
        return f"{base}/crashes?q={quote(alert.text, safe='')}"
    if alert.rule not in _WORDS:
        return f"{base}/"
    if machines > 1:
        return f"{base}/machines"
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
