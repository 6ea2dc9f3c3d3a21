"""An event of a machine's life: it booted, rebooted, fell silent, lost messages, as one immutable value.

The words of ``kind`` are a closed set: other programs choose by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

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


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one machine."""

    #: One of :data:`EVENTS`.
    kind: str
    source: Source
    #: Unix time: of the message that shows it, or the time at which it was noticed.
    received_at: float
    #: One plain sentence for people, printable, without the machine's name: "rebooted after a kernel panic".
    text: str
    #: The message that shows it; None for silence.
    message: Message | None = None
    #: What is known beside: strings and numbers, by names that docs/events lists per kind.
    details: Mapping[str, str | int | float] = field(default_factory=lambda: MappingProxyType({}))
