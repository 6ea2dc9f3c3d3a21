"""The alerts that last, by the rules; pure.

1. **Begin.** A record begins the alert of a rule and a subject, or is added to the one that lasts.
2. **End.** The alerts ``died`` and ``silent`` of a machine end when it booted or is heard again, or after
   :data:`GIVEN_UP_SECONDS`; a boot into the kernel for kdump is none. The others end when no record was added for
   ``quiet`` seconds.
3. **Told.** An alert that ended is forgotten when every recipient was notified of its end.
4. **Titles.** A report is new if neither its title nor an alternative was seen before. One that followed from another
   report begins neither ``new`` nor ``spread``. Neither does one of a bug that people muted, and what lasts of that bug
   ends.
5. **Bounds.** Beyond :data:`ALERTS_LIMIT` alerts, further ones are counted in ``dropped``; of titles and of machines of
   a title, the ones seen longest ago are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from netconsd.alerts.alert import Alert
from netconsd.crash.event import Event
from netconsd.crash.report import Report
from netconsd.protocol.message import Message
from netconsd.rendering import printable
from netconsd.streams.record import Record

#: Alerts at once, some 4 MB in the file: a fleet that lost its power. A stranger can forge machines.
ALERTS_LIMIT: Final = 10_000
#: Titles that are known: a fleet has hundreds.
TITLES_LIMIT: Final = 10_000
#: Machines of a title that are remembered, for ``spread`` and the number of others.
MACHINES_LIMIT: Final = 1000
#: Titles with machines: at most 5 MB in the file.
SPREAD_LIMIT: Final = 100
#: Seconds after which a machine that died or is silent is given up: it was taken away.
GIVEN_UP_SECONDS: Final = 7 * 86_400.0
#: Seconds after its last report in which a message of a machine that died does not show that it runs: its last words.
LAST_WORDS_SECONDS: Final = 300.0
_MUTED: Final = "the bug was muted in the console"
_GIVEN_UP: Final = "nothing was heard of it for 7 days; it is given up"
#: Characters of an alert's text.
TEXT_LIMIT: Final = 300
#: Other machines that are named.
OTHERS_LIMIT: Final = 5
#: Events that show that a machine runs.
_ALIVE: Final = frozenset(("booted", "rebooted", "heard-again", "logging-started", "logging-resumed"))
#: Those that a machine can have in the same instant as its death, which is the time of receipt of a whole batch, only
#: before it: a machine that crashes while it boots.
_FIRST: Final = frozenset(("booted", "logging-started"))
_MACHINES: Final = ("died", "silent")
#: Those of a bug.
_BUGS: Final = ("new", "spread")
#: Those with a title.
_TITLES: Final = ("new", "spread", "died")


@dataclass(frozen=True)
class Conditions:
    """The settings of the rules."""

    rules: Collection[str]
    #: Machines and seconds of ``spread``.
    spread_machines: int = 5
    spread_seconds: float = 3600.0
    #: Messages of ``losses``.
    losses: int = 100
    #: Seconds without a record after which an alert ends.
    quiet: float = 3600.0


class Book:
    """The alerts of one daemon. For one thread."""

    def __init__(
        self,
        conditions: Conditions,
        recipients: Collection[str],
        fields: Mapping[str, Any] | None,
        is_muted: Callable[[Collection[str]], bool] = lambda names: False,
    ) -> None:
        """
        :param recipients: the names of those that are notified.
        :param fields: of :meth:`fields`, of the run before; None for none.
        :param is_muted: returns whether people muted the bug of a title and its alternatives.
        """
        self._is_muted = is_muted
        self._conditions = conditions
        self._recipients = list(recipients)
        fields = fields or {}
        #: The alerts by identity, in the order of their begin.
        self.alerts: dict[str, Alert] = {alert.id: alert for alert in map(Alert.of, fields.get("alerts", ()))}
        self._titles: dict[str, None] = dict.fromkeys(fields.get("titles", ()))
        # By title, the machines: address to the time of the last report and the name.
        self._spread: dict[str, dict[str, list[Any]]] = dict(fields.get("spread", {}))
        # When a machine was last seen to run, by address.
        self._alive: dict[str, tuple[float, str]] = {}
        #: Alerts that could not be kept, since the start.
        self.dropped = 0
        #: Alerts that began, since the start.
        self.begun = 0

    def fields(self) -> dict[str, Any]:
        """Return everything that a restart keeps, as JSON can hold it."""
        return {
            "alerts": [alert.fields() for alert in self.alerts.values()],
            "titles": list(self._titles),
            "spread": self._spread,
        }

    def take(self, record: Record) -> None:
        """Apply the rules to a record."""
        body = record.body
        if isinstance(body, Report):
            self._take_report(record, body)
        elif isinstance(body, Event):
            self._take_event(record, body)
        else:
            self._take_message(record, body)

    def _take_report(self, record: Record, report: Report) -> None:
        # An unannounced reboot is an event as well.
        if report.kind == "reboot":
            return
        names = [report.title, *report.alternatives]
        new = not any(name in self._titles for name in names)
        for name in names:
            self._titles.pop(name, None)
            self._titles[name] = None
        _cut(self._titles, TITLES_LIMIT)
        machines = self._spread.pop(report.title, {})
        machines.pop(record.address, None)
        machines[record.address] = [report.received_at, record.name]
        _cut(machines, MACHINES_LIMIT)
        self._spread[report.title] = machines
        _cut(self._spread, SPREAD_LIMIT)
        severity = report.severity
        if report.fatal or severity == "dead":
            self._begin("died", record.address, record, report.title, "dead")
        if report.consequence_of is not None or self._is_muted(names):
            return
        lasting = self.alerts.get(f"new/{report.title}")
        if new or (lasting is not None and lasting.ended is None):
            self._begin("new", report.title, record, report.title, severity)
        since = report.received_at - self._conditions.spread_seconds
        if sum(at >= since for at, _ in machines.values()) >= self._conditions.spread_machines:
            self._begin("spread", report.title, record, report.title, severity)

    def _take_event(self, record: Record, event: Event) -> None:
        explained = False
        if event.kind in _ALIVE:
            # The kernel for kdump writes the dump; the machine is back with the next boot.
            kdump = event.details.get("how") == "kdump"
            if not kdump:
                self._alive.pop(record.address, None)
                self._alive[record.address] = event.received_at, event.text
                _cut(self._alive, ALERTS_LIMIT)
            for rule in _MACHINES if not kdump else ("silent",):
                alert = self.alerts.get(f"{rule}/{record.address}")
                if alert is None or alert.ended is not None or event.received_at < alert.last:
                    continue
                if event.received_at > alert.last or event.kind not in _FIRST:
                    self._end(alert, event.received_at, event.text)
                    explained = rule == "died" or explained
        details = event.details
        if event.kind == "silent":
            # Since it was heard last, which is when the trouble began, and not since that was noticed.
            seconds = float(details.get("seconds", 0))
            self._begin("silent", record.address, record, event.text, "hung", before=seconds)
        elif event.kind == "rebooted" and details.get("how") == "unannounced" and not explained:
            self._begin("rebooted", record.address, record, event.text, "degraded")
        elif event.kind == "lost":
            # "limited" is among the others.
            lost = sum(int(details.get(name, 0)) for name in ("by_msgid", "by_seq", "by_kernel", "unsent"))
            if lost >= self._conditions.losses:
                self._begin("losses", record.address, record, event.text, "degraded")

    def heard(self, address: str, at: float) -> None:
        """End the alerts of a machine that sent a message, of which no event says that it is back: netconsd was started
        again meanwhile.

        :param at: Unix time in seconds.
        """
        for rule, seconds in (("died", LAST_WORDS_SECONDS), ("silent", 0.0)):
            alert = self.alerts.get(f"{rule}/{address}")
            if alert is not None and alert.ended is None and at > alert.last + seconds:
                self._end(alert, at, "it sends again")

    @staticmethod
    def awaited(fields: Mapping[str, Any] | None) -> set[str]:
        """Return the machines that died or are silent according to :meth:`fields`."""
        alerts = (fields or {}).get("alerts", ())
        return {alert["address"] for alert in alerts if alert["rule"] in _MACHINES and alert["ended"] is None}

    def _take_message(self, record: Record, message: Message) -> None:
        # Only messages that match the pattern are handed over.
        self._begin("pattern", record.address, record, message.text, "notice")

    def _begin(self, rule: str, subject: str, record: Record, text: str, severity: str, *, before: float = 0.0) -> None:
        if rule not in self._conditions.rules:
            return
        at = record.received_at
        alert = self.alerts.get(f"{rule}/{subject}")
        if alert is None or alert.ended is not None:
            if alert is None and len(self.alerts) >= ALERTS_LIMIT:
                self.dropped += 1
                return
            self.begun += 1
            shown = printable(text)
            shown = shown if len(shown) <= TEXT_LIMIT else f"{shown[: TEXT_LIMIT - 3]}..."
            # One that ended and was not notified is replaced: it begins again, for all.
            alert = Alert(rule, subject, shown, record.address, record.name, severity, at - before, at)
            self.alerts[alert.id] = alert
            seen_at, why = self._alive.get(record.address, (0.0, ""))
            if rule in _MACHINES and seen_at > at:
                # A report can end with the boot after it, and be here later than that.
                self._end(alert, seen_at, why)
        else:
            alert.last = max(alert.last, at)
            alert.count += 1

    def count_machines(self, alerts: Iterable[Alert]) -> None:
        """Bring the number of machines of alerts with a title up to date: those that had it within the seconds of
        ``spread`` before the last one."""
        found: dict[str, dict[str, str]] = {}
        for alert in alerts:
            if alert.rule not in _TITLES or alert.text not in self._spread:
                continue
            if alert.text not in found:
                machines = self._spread[alert.text]
                since = max(at for at, _ in machines.values()) - self._conditions.spread_seconds
                found[alert.text] = {
                    address: name or address for address, (at, name) in machines.items() if at >= since
                }
            recent = found[alert.text]
            alert.machines = len(recent) + (alert.address not in recent)
            last = islice(reversed(recent), OTHERS_LIMIT + 1)
            others = [recent[address] for address in last if address != alert.address][:OTHERS_LIMIT]
            alert.others = others[::-1]

    def expire(self, now: float) -> None:
        """End the alerts whose time is over, and forget those of whose end everybody was notified.

        :param now: Unix time in seconds.
        """
        for alert in [*self.alerts.values()]:
            seconds = GIVEN_UP_SECONDS if alert.rule in _MACHINES else self._conditions.quiet
            if alert.ended is None and alert.rule in _BUGS and self._is_muted((alert.subject,)):
                self._end(alert, now, _MUTED)
            if alert.ended is None and now - alert.last >= seconds:
                self._end(alert, now, _GIVEN_UP if alert.rule in _MACHINES else "it did not come again")
            if alert.ended is not None and all(alert.told.get(name) == "end" for name in self._recipients):
                del self.alerts[alert.id]

    def _end(self, alert: Alert, at: float, why: str) -> None:
        alert.ended = max(at, alert.since)
        alert.why = printable(why)[:TEXT_LIMIT]

    def untold(self, recipient: str) -> list[Alert]:
        """Return the alerts of whose begin or end a recipient was not notified, in the order of their begin."""
        return [alert for alert in self.alerts.values() if alert.told.get(recipient) != alert.state]


def _cut(entries: dict[str, Any], most: int) -> None:
    """Remove the first entries beyond a number."""
    while len(entries) > most:
        del entries[next(iter(entries))]
