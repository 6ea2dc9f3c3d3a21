"""An alert: something of which people want to know, from its begin to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Self

#: The rules, each with what begins its alerts.
RULES: Final = {
    "new": "a crash report whose title netconsd has not seen before",
    "spread": "a title on many machines within a time",
    "died": "a report with which a machine went down",
    "silent": "nothing arrived from a machine for longer than usual",
    "rebooted": "a machine rebooted, and nothing announced it",
    "losses": "messages of a machine were lost",
    "pattern": "a message matches the pattern",
}


@dataclass(slots=True)
class Alert:
    """One alert. Its identity is its rule and its subject: a title, or a machine's address."""

    rule: str
    subject: str
    #: The title, the event's sentence or the message, as one printable line.
    text: str
    #: The machine with which it began, and its name for people, or "".
    address: str
    name: str
    #: A severity of docs/crashes, of which ``notice`` is the least.
    severity: str
    #: Unix time in seconds of the first and the last record.
    since: float
    last: float
    count: int = 1
    #: Machines that had the same title at about the same time (``spread_within``), and this one.
    machines: int = 1
    #: Names or addresses of some of them.
    others: list[str] = field(default_factory=list)
    #: Unix time; None while it lasts.
    ended: float | None = None
    #: Why it ended, in words.
    why: str = ""
    #: The recipients that were notified, each ``begin`` or ``end``.
    told: dict[str, str] = field(default_factory=dict)
    #: When they were, in Unix time.
    told_at: dict[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The identity: ``died/192.0.2.7``."""
        return f"{self.rule}/{self.subject}"

    @property
    def machine(self) -> str:
        """The machine for people: ``web01 (192.0.2.7)``."""
        return f"{self.name} ({self.address})" if self.name and self.name != self.address else self.address

    @property
    def state(self) -> str:
        """``begin`` while it lasts, then ``end``."""
        return "begin" if self.ended is None else "end"

    def fields(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; the values are those of the alert, and not copies."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """Return the alert of :meth:`fields`."""
        return cls(**fields)
