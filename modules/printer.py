"""Prints messages to the standard output, for people who watch.

A message in the format for persons, which is the default::

    11-22 15:04:05.123 192.0.2.7         [   12.345678] warn   [3 lost before] [T123] eth0: link is down

that is local time of receipt, sender, the sender's uptime, level, marks (see :func:`netconsd.rendering.marks`), caller
(the task or processor that logged it, where the sender says so), text.
The further lines of a text stand below its first, so that at the left there is nothing but times of receipt.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final, Literal

from twisted.logger import Logger as Log
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule
from netconsd.protocol.message import Message
from netconsd.rendering import LEVELS, marks, netconsd_line, printable, uptime

# Up to 115 days of uptime, and every IPv4 address. A longer address widens the column for good.
UPTIME_WIDTH: Final = 16
ADDRESS_WIDTH: Final = 15
LEVEL_WIDTH: Final = 6

# SGR parameters (ECMA-48). None for info: what is normal looks normal.
LEVEL_COLORS: Final = ("1;97;41", "1;97;41", "1;31", "31", "33", "1", "", "2")
MARK_COLOR: Final = "1;35"
HEAD_COLOR: Final = "2"


@implementer(IBatchOutputModule)
class Printer:
    """Writes each batch at once; what cannot be written is raised to the daemon, which counts it."""

    def __init__(
        self,
        *,
        format: Literal["person", "netconsd"] = "person",
        color: Literal["auto", "always", "never"] = "auto",
    ) -> None:
        """
        :param format: ``person`` for people, ``netconsd`` for the lines of the C daemon's printer.
        :param color: whether the format for persons shows levels in colour; ``auto``: if the output is a terminal
            and the environment does not set ``NO_COLOR`` (https://no-color.org).
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
        """Find the standard output; without one, say so and print nothing."""
        # Not sys.stdout: under twistd that is the log.
        stream = sys.__stdout__
        if stream is None:
            Log("netconsd.printer").warn("printer: this process has no standard output, nothing will be printed")
            return
        self._fd = stream.fileno()
        self._encoding = stream.encoding
        self._colored = self._color == "always" or (
            self._color == "auto" and os.isatty(self._fd) and not os.environ.get("NO_COLOR")
        )

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Print the messages, none of another worker between them.

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
        """Nothing is held back, and the standard output is not ours to close."""

    def _person(self, message: Message) -> str:
        """The message for persons: one line, or more if its text has more; no newline at the end."""
        address = message.source.address
        if len(address) > self._address_width:
            # Workers may do this at once; then a line is a few columns off.
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
        """Local time in milliseconds."""
        second, millis = divmod(int(received_at * 1000), 1000)
        known, text = self._second
        if known != second:
            text = time.strftime("%m-%d %H:%M:%S", time.localtime(second))
            # One assignment of both: other workers use it at once.
            self._second = second, text
        return f"{text}.{millis:03d}"
