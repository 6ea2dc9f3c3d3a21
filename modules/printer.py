"""Prints messages to the standard output.

A message in the format ``person``, which is the default::

    11-22 15:04:05.123+01:00 192.0.2.7         [   12.345678] warn   [3 lost] [T123] eth0: link is down

The columns are the local time of receipt and its offset from UTC, the sender (see :class:`netconsd.names.Names`), the
sender's uptime, the level, marks (see :func:`netconsd.rendering.marks`), the caller (the task or processor that logged
the message, if known) and the text. Further lines of a text are indented, so that a sender cannot forge the line of
another message. A terminal gets the names of the columns before the first message, and no line that is longer than it
is wide.

The format ``short`` leaves more room for the text. It has the uptime only in a sender's first message, and in the first
one after its reboot; there, the sender booted this long before the time of receipt::

    15:04:05 192.0.2.7       warn   [3 lost] eth0: link is down

Both formats have a box for each crash report, behind its messages, and a line for each event of a machine, with
``event`` in the place of the level. No message can look like either: its line begins with a time or spaces.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from textwrap import wrap
from typing import Final, Literal

from twisted.logger import Logger as Log
from zope.interface import implementer

from netconsd.crashes import SEVERITIES, Event, Report
from netconsd.interfaces import IBatchOutputModule, ICheckable, IEventModule, IReportModule, IUsesNames
from netconsd.logger.findings import carrier, facts, sender_of
from netconsd.logger.selection import Level, Selection
from netconsd.message import Message
from netconsd.names import Names
from netconsd.outputs.standardoutput import claim, release
from netconsd.protocol.plural import plural
from netconsd.rendering import (
    LEVELS,
    Field,
    fields_text,
    is_blank,
    marks,
    netconsd_line,
    printable,
    uptime,
    zone,
)

# Up to 115 days of uptime, and every IPv4 address. A longer sender widens its column permanently, up to the longest
# address; a stranger can choose a name of 128 bytes.
UPTIME_WIDTH: Final = 16
SENDER_WIDTH: Final = 15
SENDER_LIMIT: Final = 39
LEVEL_WIDTH: Final = 6
# A terminal with fewer columns gets the format short. The columns before the text of the format person take 65.
NARROW: Final = 120
# In the format short, further lines are indented by the time only.
SHORT_INDENT: Final = len("15:04:05 ")
# The names of the columns, which a terminal gets before the first message.
TITLE: Final = "received                 sender          uptime           level  message"
SHORT_TITLE: Final = "received sender          level  message"
# A terminal with fewer columns breaks the lines itself.
LEAST_COLUMNS: Final = 40

# The width of the box of a crash report, except on a narrower terminal; the names of its facts take 12.
BOX_WIDTH: Final = 80
FACT_WIDTH: Final = 12

#: For the error about two modules that write to the standard output.
ADVICE: Final = "start only one of the two, or give the other one a file"

# SGR parameters (ECMA-48). None for info, the normal level.
LEVEL_COLORS: Final = ("1;97;41", "1;97;41", "1;31", "31", "33", "1", "", "2")
MARK_COLOR: Final = "1;35"
HEAD_COLOR: Final = "2"
EVENT_COLOR: Final = "36"
SEVERITY_COLORS: Final = dict(zip(SEVERITIES, ("1;97;41", "1;31", "1;31", "31", "33"), strict=True))

log = Log("netconsd.printer")


@implementer(IBatchOutputModule, IReportModule, IEventModule, IUsesNames, ICheckable)
class Printer:
    """Writes each batch in one system call. A write error is raised, and the daemon counts the messages."""

    def __init__(
        self,
        *,
        format: Literal["auto", "person", "short", "netconsd"] = "auto",
        color: Literal["auto", "always", "never"] = "auto",
        fields: tuple[Field, ...] = (),
        reports: bool = True,
        events: bool = True,
        time: Literal["local", "utc"] = "local",
        level: Level | None = None,
        hosts: tuple[str, ...] = (),
        keep: str | None = None,
        drop: str | None = None,
    ) -> None:
        """
        :param format: ``person``; ``short`` for 80 columns; ``netconsd`` for the lines of the C daemon's printer;
            ``auto``: ``short`` if the output is a terminal with less than 120 columns, otherwise ``person``.
        :param color: whether the formats ``person`` and ``short`` show levels in colour; ``auto``: if the output is a
            terminal and the environment does not set ``NO_COLOR`` (https://no-color.org).
        :param fields: the fields of a message at the end of its line, as far as they were sent; ``all``: every one.
        :param reports: whether crash reports are printed, except in the format ``netconsd``.
        :param events: whether events of machines are printed, except in the format ``netconsd``: a boot, a reboot,
            silence, lost messages.
        :param time: ``local`` with the offset from UTC, or ``utc``.
        :param level: the least severe level to print; messages without a level are printed.
        :param hosts: the senders to print, with their reports and events: addresses, networks, and names, in which
            ``*`` stands for any characters. Empty: all.
        :param keep: a regular expression; other messages are not printed.
        :param drop: a regular expression; messages that match are not printed.
        :raises ValueError: for a malformed entry of ``hosts``.
        """
        self._format = format
        self._color = color
        self._fields = fields
        # Programs read the format of the C daemon.
        self.wants_reports = reports and format != "netconsd"
        self.wants_events = events and format != "netconsd"
        self._utc = time == "utc"
        self._selection = Selection(level, hosts, keep, drop)
        self._names = Names()
        self._short = format == "short"
        # Of the terminal; 0 if lines are not broken.
        self._columns = 0
        self._sender_width = SENDER_WIDTH
        # The names of the columns, until they are printed.
        self._title = b""
        self._second: tuple[int, str, str] = (-1, "", "")
        self._lock = threading.Lock()
        self._fd = -1
        self._encoding = "utf-8"
        self._colored = False

    def use_names(self, names: Names) -> None:
        """Show these names of senders."""
        self._names = names

    def check(self) -> None:
        """Compile the patterns, and claim the standard output.

        :raises ValueError: for a malformed pattern, with a text that names the setting.
        :raises RuntimeError: if another module has the standard output.
        """
        self._selection.check()
        claim(self, "printer", ADVICE)

    def start(self, worker_count: int) -> None:
        """Find the standard output; without one, log a warning and print nothing.

        :raises ValueError: for a malformed pattern.
        :raises RuntimeError: if another module writes to it.
        """
        self._selection.start(worker_count, self._names.all_of)
        stream = claim(self, "printer", ADVICE)
        if stream is None:
            log.warn("printer: nothing is printed, because this process has no standard output")
            return
        self._fd = stream.fileno()
        self._encoding = stream.encoding
        self._colored = self._color == "always" or (
            self._color == "auto" and os.isatty(self._fd) and not os.environ.get("NO_COLOR")
        )
        # An OSError: not a terminal. Some terminals have no size and report 0 columns.
        with suppress(OSError):
            columns = os.get_terminal_size(self._fd).columns
            self._columns = columns if columns >= LEAST_COLUMNS else 0
            self._short = self._format == "short" or (self._format == "auto" and 0 < columns < NARROW)
            # For a terminal only, so that a file or another program gets messages only.
            if self._format != "netconsd":
                self._title = (self._paint(HEAD_COLOR, SHORT_TITLE if self._short else TITLE) + "\n").encode()

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Print the messages, without messages of another worker between them.

        :raises OSError: if the output is closed or cannot be written.
        """
        if self._fd < 0:
            return
        messages = self._selection.kept(worker, messages)
        render = netconsd_line if self._format == "netconsd" else self._person
        lines = [render(message) + "\n" for message in messages if self._format == "netconsd" or not is_blank(message)]
        self._write("".join(lines))

    def handle_report(self, worker: int, report: Report) -> None:
        """Print a box with the title and the facts of a crash report.

        :raises OSError: as :meth:`handle_batch`.
        """
        if self._fd >= 0 and self._selection.is_wanted(carrier(report)):
            self._write(self._box(report))

    def handle_event(self, worker: int, event: Event) -> None:
        """Print an event as a line.

        :raises OSError: as :meth:`handle_batch`.
        """
        if self._fd < 0 or not self._selection.is_wanted(carrier(event)):
            return
        ts_usec = event.message.ts_usec if event.message is not None else None
        head = self._head(event.received_at, sender_of(event, self._names.sender), ts_usec)
        text_column = len(head) + LEVEL_WIDTH + 1
        indent = SHORT_INDENT if self._short else text_column
        text = printable(event.text)
        first, *rest = self._broken(text, text_column, indent) if self._columns else [text]
        line = self._paint(HEAD_COLOR, head) + self._paint(EVENT_COLOR, f"{'event':<{LEVEL_WIDTH}} {first}")
        self._write("\n".join([line, *(" " * indent + self._paint(EVENT_COLOR, more) for more in rest)]) + "\n")

    def _write(self, text: str) -> None:
        data = text.encode(self._encoding, "backslashreplace")
        with self._lock:
            if data:
                data = self._title + data
                self._title = b""
            while data:
                data = data[os.write(self._fd, data) :]

    def stop(self) -> None:
        """Log how many messages were not printed; leave the standard output, which stays open."""
        release(self)
        if self._selection.hidden:
            count = plural(self._selection.hidden, "message")
            log.info("printer: {count} not printed, because of level, hosts, keep or drop", count=count)

    def _person(self, message: Message) -> str:
        """Return the message in the format ``person`` or ``short``: a line per line of its text."""
        sender = printable(self._names.sender(message))
        if self._sender_width < len(sender) <= SENDER_LIMIT:
            # Two workers may do this at once; then one line is a few columns off.
            self._sender_width = len(sender)
        mark = marks(message)
        caller = "" if message.caller is None else f"[{printable(message.caller)}] "
        head = self._head(message.received_at, sender, message.ts_usec)
        if self._short:
            caller = ""
            if (message.new or message.boot) and message.ts_usec is not None:
                mark += f"{uptime(message.ts_usec)} "
        level = "-" if message.level is None else LEVELS[message.level]
        color = LEVEL_COLORS[LEVELS.index("info") if message.level is None else message.level]
        text_column = len(head) + LEVEL_WIDTH + 1
        indent = SHORT_INDENT if self._short else text_column
        first, *rest = [printable(line) for line in message.text.rstrip("\n").split("\n")]
        before = len(mark) + len(caller)
        if self._columns:
            first, *broken = self._broken(first, text_column + before, indent)
            rest = [*broken, *(part for line in rest for part in self._broken(line, indent, indent))]
        line = (
            self._paint(HEAD_COLOR, head)
            + self._paint(color, f"{level:<{LEVEL_WIDTH}}")
            + " "
            + self._paint(MARK_COLOR, mark)
            + caller
            + self._paint(color, first)
        )
        lines = [line, *(" " * indent + self._paint(color, more) for more in rest)]
        if self._fields:
            fields = fields_text(message, self._fields)
            if self._columns:
                more_lines = self._broken(fields[1:], indent, indent)
                lines += [" " * indent + self._paint(HEAD_COLOR, more) for more in more_lines]
            else:
                lines[0] += self._paint(HEAD_COLOR, fields)
        return "\n".join(lines)

    def _head(self, received_at: float, sender: str, ts_usec: int | None) -> str:
        """Return the columns before the level."""
        second, fraction, offset = self._time(received_at)
        if self._short:
            return f"{second[6:]} {sender:<{self._sender_width}} "
        return f"{second}.{fraction}{offset} {sender:<{self._sender_width}} {uptime(ts_usec):>{UPTIME_WIDTH}} "

    def _box(self, report: Report) -> str:
        """Return the lines of a report's box, each as wide as the box."""
        width = min(BOX_WIDTH, self._columns or BOX_WIDTH)
        color = SEVERITY_COLORS.get(report.severity, "")
        second, fraction, offset = self._time(report.received_at)
        rows = [("", part, color) for part in wrap(printable(report.title), width - 4)]
        shown = [("sender", sender_of(report, self._names.sender)), ("received", f"{second}.{fraction}{offset}")]
        for name, text in [*shown, *facts(report)]:
            first, *rest = wrap(text, width - 4 - FACT_WIDTH) or [""]
            rows.append((f"{name:<{FACT_WIDTH}}", first, ""))
            rows += [(" " * FACT_WIDTH, more, "") for more in rest]
        edge = self._paint(color, "+" + "-" * (width - 2) + "+")
        side = self._paint(color, "|")
        lines = [
            f"{side} {self._paint(HEAD_COLOR, name)}{self._paint(shade, text)}"
            f"{' ' * (width - 4 - len(name) - len(text))} {side}"
            for name, text, shade in rows
        ]
        return "\n".join([edge, *lines, edge, ""])

    def _broken(self, text: str, column: int, indent: int) -> list[str]:
        """Break a text into lines of the terminal, between words if possible.

        :param column: where the first line begins.
        :param indent: where the further lines begin.
        """
        parts = []
        start = 0
        # A long sender or indent must leave room on a narrow terminal.
        room = max(1, self._columns - column)
        while len(text) - start > room:
            end = start + room
            # A space at the end may be in the next line's place.
            space = text.rfind(" ", start + 1 + room // 2, end + 1)
            if space > 0:
                end = space
            parts.append(text[start:end])
            start = end + (space > 0)
            room = max(LEAST_COLUMNS // 4, self._columns - indent)
        return [*parts, text[start:]]

    def _paint(self, color: str, text: str) -> str:
        return f"\x1b[{color}m{text}\x1b[m" if self._colored and color and text else text

    def _time(self, received_at: float) -> tuple[str, str, str]:
        """Return the time, ``11-22 15:04:05``, its milliseconds, and its offset from UTC."""
        second, millis = divmod(int(received_at * 1000), 1000)
        cached_second, text, offset = self._second
        if cached_second != second:
            parts = time.gmtime(second) if self._utc else time.localtime(second)
            text = time.strftime("%m-%d %H:%M:%S", parts)
            offset = "Z" if self._utc else zone(parts)
            # One assignment of all, because other workers read them at the same time.
            self._second = second, text, offset
        return text, f"{millis:03d}", offset
