"""An event of a machine's life: it booted, rebooted, fell silent, lost messages, as one immutable value.

The words of ``kind`` are a closed set: other programs choose by them. docs/events describes each kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from netconsd.protocol.message import Message, Source

#: The kinds of events, each with what was seen.
EVENTS: Final = {
    "booted": "the first messages of a machine that netconsd had not heard before, from its boot",
    "rebooted": "a machine that was up booted again",
    "logging-started": "netconsole on the machine began to send",
    "logging-stopped": "netconsole on the machine stopped sending",
    "logging-resumed": "netconsole on the machine sends again: its interface came back",
    "silent": "nothing arrived for longer than usual",
    "heard-again": "a silent machine sends again",
    "lost": "messages were lost on the way, or by the kernel itself",
    "repeated": "a crash report came again in the same boot",
}

#: The names that the details of each kind can have; docs/events describes them.
DETAILS: Final = {
    "booted": ("release", "command_line", "uptime"),
    "rebooted": ("how", "title", "reason", "release", "release_before", "command_line", "uptime"),
    "logging-started": ("interface", "reason"),
    "logging-stopped": ("interface", "reason"),
    "logging-resumed": ("interface", "reason"),
    "silent": ("seconds", "usual", "title", "how"),
    "heard-again": ("seconds",),
    "lost": ("by_msgid", "by_seq", "by_kernel", "unsent", "limited", "seconds"),
    "repeated": ("title", "repeats"),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one machine. Threads can share it; it can be compared, hashed and pickled."""

    #: One of :data:`EVENTS`.
    kind: str
    source: Source
    #: Unix time: of the message that shows it, or the time at which it was noticed.
    received_at: float
    #: One plain sentence for people, printable ASCII, without the machine's name: "rebooted after a crash: ...".
    text: str
    #: The message that shows it, the first one if several do; None for silence.
    message: Message | None = None
    #: Strings and numbers, by names that docs/events lists for each kind. Not to be changed.
    details: Mapping[str, str | int | float] = field(default_factory=dict, hash=False)

    def fields(self) -> dict[str, Any]:
        """Return everything but the message, as values that JSON can hold."""
        return {
            "kind": self.kind,
            "address": self.source.address,
            "port": self.source.port,
            "received_at": self.received_at,
            "text": self.text,
            "details": dict(self.details),
        }
