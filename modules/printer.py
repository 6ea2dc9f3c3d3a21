"""Prints messages to the standard output.

A message in the format ``person``, which is the default::

    11-22 15:04:05.123 192.0.2.7         [   12.345678] warn   [3 lost before] [T123] eth0: link is down

The columns are the local time of receipt, the sender, the sender's uptime, the level, marks (see
:func:`netconsd.rendering.marks`), the caller (the task or processor that logged the message, if known) and the text.
Further lines of a text are indented, so that a sender cannot forge the line of another message.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Final, Literal

from twisted.logger import Logger as Log
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule
from netconsd.message import Message
from netconsd.outputs.standardoutput import claim, release
from netconsd.rendering import LEVELS, marks, netconsd_line, printable, uptime

# Up to 115 days of uptime, and every IPv4 address. A longer address widens its column permanently.
UPTIME_WIDTH: Final = 16
ADDRESS_WIDTH: Final = 15
LEVEL_WIDTH: Final = 6

# SGR parameters (ECMA-48). None for info, the normal level.
LEVEL_COLORS: Final = ("1;97;41", "1;97;41", "1;31", "31", "33", "1", "", "2")
MARK_COLOR: Final = "1;35"
HEAD_COLOR: Final = "2"


@implementer(IBatchOutputModule)
class Printer:
    """Writes each batch in one system call. A write error is raised, and the daemon counts the messages."""

    def __init__(
        self, *, format: Literal["person", "netconsd"] = "person", color: Literal["auto", "always", "never"] = "auto"
    ) -> None:
        """
        :param format: ``person``, or ``netconsd`` for the lines of the C daemon's printer.
        :param color: whether the format ``person`` shows levels in colour; ``auto``: if the output is a terminal and
            the environment does not set ``NO_COLOR`` (https://no-color.org).
        """
        self._format = format
        self._color = color
        self._address_width = ADDRESS_WIDTH
        self._second: tuple[int, str] = (-1, "")
        self._lock = threading.Lock()
        self._fd = -1
        self._encoding = "utf-8"
        self._colored = False

    def start(self, worker_count: int) -> None:
        """Find the standard output; without one, log a warning and print nothing.

        :raises RuntimeError: if another module writes to it.
        """
        stream = claim(self, "printer", "start only one of the two, or give the other one a file")
        if stream is None:
            Log("netconsd.printer").warn("printer: nothing is printed, because this process has no standard output")
            return
        self._fd = stream.fileno()
        self._encoding = stream.encoding
        self._colored = self._color == "always" or (
            self._color == "auto" and os.isatty(self._fd) and not os.environ.get("NO_COLOR")
        )

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Print the messages, without messages of another worker between them.

        :raises OSError: if the output is closed or cannot be written.
        """
        if self._fd < 0:
            return
        render = self._person if self._format == "person" else netconsd_line
        lines = [render(message) + "\n" for message in messages]
        data = "".join(lines).encode(self._encoding, "backslashreplace")
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]

    def stop(self) -> None:
        """Leave the standard output, which stays open; no message is buffered."""
        release(self)

    def _person(self, message: Message) -> str:
        """Return the message in the format ``person``: a line per line of its text, without the last newline."""
        address = message.source.address
        if len(address) > self._address_width:
            # Two workers may do this at once; then one line is a few columns off.
            self._address_width = len(address)
        head = f"{self._time(message.received_at)} {address:<{self._address_width}} "
        head += f"{uptime(message.ts_usec):>{UPTIME_WIDTH}} "
        indent = " " * (len(head) + LEVEL_WIDTH + 1)
        level = "-" if message.level is None else LEVELS[message.level]
        color = LEVEL_COLORS[LEVELS.index("info") if message.level is None else message.level]
        first, *rest = [printable(line) for line in message.text.rstrip("\n").split("\n")]
        line = (
            self._paint(HEAD_COLOR, head)
            + self._paint(color, f"{level:<{LEVEL_WIDTH}}")
            + " "
            + self._paint(MARK_COLOR, marks(message))
            + ("" if message.caller is None else f"[{printable(message.caller)}] ")
            + self._paint(color, first)
        )
        return "\n".join([line, *(indent + self._paint(color, more) for more in rest)])

    def _paint(self, color: str, text: str) -> str:
        return f"\x1b[{color}m{text}\x1b[m" if self._colored and color and text else text

    def _time(self, received_at: float) -> str:
        """Return the local time with milliseconds."""
        second, millis = divmod(int(received_at * 1000), 1000)
        cached_second, text = self._second
        if cached_second != second:
            text = time.strftime("%m-%d %H:%M:%S", time.localtime(second))
            # One assignment of both, because other workers read them at the same time.
            self._second = second, text
        return f"{text}.{millis:03d}"
