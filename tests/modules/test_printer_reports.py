"""The printer's box for a crash report, and its line for an event."""

from __future__ import annotations

import os
import sys
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modules.printer import SEVERITY_COLORS, Printer
from netconsd.crashes import SEVERITIES
from netconsd.testing import crash_report, event, extended_message

AT = 1763820245.1234


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC, and the environment does not set NO_COLOR."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    with monkeypatch.context() as context:
        context.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *found: Any, **settings: Any) -> str:
    """Print reports and events to a file, and return its text."""
    path = tmp_path / "out"
    with path.open("w") as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        printer = Printer(**settings)
        printer.start(1)
        for item in found:
            (printer.handle_report if hasattr(item, "title") else printer.handle_event)(0, item)
        printer.stop()
    return path.read_text()


def test_a_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has the title and the known facts, is 80 columns wide, and plain where no terminal is."""
    report = crash_report(
        received_at=AT, severity="dead", fatal=True, function="widget_read", module="widget", release="6.12.0",
        comm="reader", pid=417, cpu=1, incomplete="lines are missing",
    )  # fmt: skip
    text = printed(monkeypatch, tmp_path, report)
    assert text == (
        "+------------------------------------------------------------------------------+\n"
        "| BUG: unable to handle kernel NULL pointer dereference in widget_read         |\n"
        "| sender      192.0.2.1                                                        |\n"
        "| received    11-22 14:04:05.123+00:00                                         |\n"
        "| severity    dead: the machine went down with it                              |\n"
        "| kind        memory-fault: an access to an address that is not mapped or not  |\n"
        "|             allowed: NULL, paging request, protection fault                  |\n"
        "| function    widget_read [widget]                                             |\n"
        "| kernel      6.12.0                                                           |\n"
        "| task        reader, pid 417, CPU 1                                           |\n"
        "| incomplete  lines are missing                                                |\n"
        "+------------------------------------------------------------------------------+\n"
    )


def test_a_box_of_hostile_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the fields contain, the box has its width, and no control character."""
    report = crash_report("\x1b[2J" * 60, comm="x" * 1000, machine="\n+--+\r" * 50, incomplete="\u202e" * 99)
    lines = printed(monkeypatch, tmp_path, report).splitlines()
    assert {len(line) for line in lines} == {80}
    assert all(line.isprintable() for line in lines)
    assert all(line[0] in "+|" and line[-1] in "+|" for line in lines)


def test_an_event(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is a line with ``event`` in the place of the level; the clock is that of the message that shows it."""
    shown = event("silent", "silent for 15 minutes", received_at=AT)
    text = printed(monkeypatch, tmp_path, shown)
    assert text == "11-22 14:04:05.123+00:00 192.0.2.1         [           -] event  silent for 15 minutes\n"
    short = printed(monkeypatch, tmp_path, shown, format="short")
    assert short == "14:04:05 192.0.2.1       event  silent for 15 minutes\n"


def test_hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Reports and events of other senders are not printed."""
    found = [crash_report(), event(), event(address="198.51.100.7", text="of the other")]
    assert printed(monkeypatch, tmp_path, *found, hosts=("198.51.100.0/24",)).endswith(" of the other\n")


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, (True, True)),
        ({"reports": False}, (False, True)),
        ({"events": False}, (True, False)),
        ({"format": "netconsd"}, (False, False)),
    ],
    ids=str,
)
def test_what_it_takes(settings: dict[str, Any], wanted: tuple[bool, bool]) -> None:
    """Its settings decide, and the format of the C daemon has neither."""
    printer = Printer(**settings)
    assert (printer.wants_reports, printer.wants_events) == wanted


def test_every_severity_has_a_colour() -> None:
    """Titles are coloured by severity."""
    assert list(SEVERITY_COLORS) == list(SEVERITIES)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """The box is no wider than the terminal, and coloured; the names of the columns come before it."""
    import fcntl
    import re
    import struct
    import termios

    ours, theirs = os.openpty()
    tty.setraw(theirs)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(theirs, "w", encoding="utf-8", closefd=False) as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        printer = Printer()
        printer.start(1)
        printer.handle_report(0, crash_report(received_at=AT))
        printer.handle_batch(0, [extended_message("x", received_at=AT)])
        printer.stop()
    text = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "\x1b[31m" in text
    title, *box = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert title.startswith("received")
    assert {len(line) for line in box[:-1] if line[0] in "+|"} == {min(columns, 80)}
