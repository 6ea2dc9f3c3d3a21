"""Stores for the tests of the console."""

from __future__ import annotations

from pathlib import Path

from netconsd.crashes import Event, Report
from netconsd.message import Message
from netconsd.store import layout
from netconsd.store.findings import EVENTS, REPORTS, Findings, line_of
from netconsd.store.journal import Journal
from netconsd.testing import crash_report, event, extended_message, legacy_message

#: The time of the first message.
T0 = 1_795_859_200.0


def write(directory: Path, messages: list[Message], *, number: int = 1) -> None:
    """Add messages to the journal of a store as one part."""
    (directory / layout.JOURNAL).mkdir(parents=True, exist_ok=True)
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=number, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
    )
    journal.append(0, messages)
    journal.sync()
    journal.close()


def add(directory: Path, *found: Report | Event) -> None:
    """Add crash reports and events."""
    files = Findings(directory, 1)
    for each in found:
        files.append(0, REPORTS if isinstance(each, Report) else EVENTS, each.received_at, line_of(each))
    files.close()


def small(directory: Path) -> Path:
    """Make a store of two machines, a crash and an event; return its directory."""
    messages: list[Message] = [
        extended_message(
            f"eth0: link {number}",
            address=f"192.0.2.{1 + number % 2}",
            received_at=T0 + number // 4,
            seq=number,
            ts_usec=1_000_000 + number,
            level=number % 8,
            release="6.12.1",
            caller=f"T{number % 3}",
            userdata={"host": f"web{1 + number % 2}"},
        )
        for number in range(40)
    ]
    messages += [legacy_message(f"<3>old {number}", address="192.0.2.9", received_at=T0 + 20) for number in range(3)]
    write(directory, messages)
    add(
        directory,
        crash_report(received_at=T0 + 5, release="6.12.1"),
        crash_report("WARNING in other_thing", kind="warning", severity="notice", received_at=T0 + 6, release="7.3.0"),
        event(received_at=T0 + 7, release="6.12.1"),
    )
    return directory
