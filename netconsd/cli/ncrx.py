"""``ncrx``: prints what arrives at a port, in order, and tells the senders what is missing (docs/tools)."""

from __future__ import annotations

import argparse
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from io import TextIOWrapper

from netconsd.daemon.stdout import put
from netconsd.protocol.acks import Acks
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import ExtendedMessage, Message, Source
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable
from netconsd.receive.recvfrom import Receiver
from netconsd.receive.sockets import bind, send_to
from netconsd.rendering import printable, uptime
from netconsd.settings import ConfigError, Settings, problem

# A record that was lost comes again within some round trips.
DEFAULT_REORDER_MS = 1000
# Somebody watches: no fleet, and nothing that a stranger can fill.
SENDERS_LIMIT = 1000
_RCVBUF = 4 * 1024 * 1024
_DATAGRAMS = 64

_DESCRIPTION = """
Print the messages that arrive at a port, in order, with what is missing between them, and tell senders like nctx what
to send again.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "ncrx") -> int:
    """Print until stopped.

    :returns: 1 if it cannot listen; 130 after Ctrl-C or SIGTERM.
    :raises SystemExit: with 2, if the options are wrong; with 1, if standard output cannot be written.
    """
    options = _parser(prog).parse_args(arguments)
    try:
        settings = Settings(
            port=options.port,
            address=options.address,
            reorder=options.reorder / 1000,
            rcvbuf=_RCVBUF,
            acks=options.acks,
        )
        bound = bind(settings)[0]
    except ConfigError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    # What a terminal's encoding does not have must not end us.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # What waits is printed at the end, whoever ends it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with closing(bound):
        watch = Watch(bound, settings, Display(partial(put, prog=prog)))
        try:
            while True:
                watch.turn()
        except KeyboardInterrupt:
            watch.finish()
            return 130


class Display:
    """Messages as lines; the words in brackets are those of the C tool, and some more."""

    def __init__(self, write: Callable[[str], object]) -> None:
        """
        :param write: prints lines, without the last newline.
        """
        self._write = write
        self._source: Source | None = None

    def show(self, messages: list[Message]) -> None:
        """Print messages, and what is to be said about them."""
        lines: list[str] = []
        for message in messages:
            if message.source != self._source:
                self._source = message.source
                lines.append(_said("FROM", f"{message.source.address} port {message.source.port}"))
            lines += _lines(message)
        if lines:
            self._write("\n".join(lines))


def _lines(message: Message) -> list[str]:
    text = printable(message.text)
    if not isinstance(message, ExtendedMessage):
        return [_said("INVAL", text)]
    if message.out_of_order:
        return [_said("OOS", text)]
    lines: list[str] = []
    if message.seq_reset:
        lines.append(_said("SEQ RESET", f"seq={message.seq}"))
    if message.missing:
        lines.append(_said("SEQ SKIPPED", f"{message.missing} {_messages(message.missing)} skipped"))
    if message.lost:
        lines.append(_said("LOST", f"{message.lost} {_messages(message.lost)} lost, by msgid"))
    return [*lines, f"{uptime(message.ts_usec)} {text}"]


def _said(word: str, text: str) -> str:
    return f"[{word:>12}] {text}"


def _messages(number: int) -> str:
    return "message" if number == 1 else "messages"


class Watch:
    """A socket, its senders, and the display."""

    def __init__(
        self,
        bound: socket.socket,
        settings: Settings,
        display: Display,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[socket.socket, float | None], object] | None = None,
    ) -> None:
        """
        :param bound: a bound, non-blocking UDP socket.
        :param settings: ``reorder`` and ``acks`` are used.
        :param wait: waits for the socket to be readable, at most so many seconds.
        """
        self._socket = bound
        self._display = display
        self._clock = clock
        self._wait = wait or _wait
        self._receiver = Receiver(bound, _DATAGRAMS, 1, 1)
        self._table = SourceTable(
            WorkerCounters(), limit=SENDERS_LIMIT, reorder_time=settings.reorder, gc_interval=0.0, age=0.0
        )
        self._acks = Acks(self._table, partial(send_to, bound)) if settings.acks else None

    def turn(self) -> None:
        """Wait for something to happen, and do what is to be done."""
        deadline = self._table.next_deadline()
        if self._acks is not None:
            deadline = min(deadline, self._acks.next_deadline())
        self._wait(self._socket, None if deadline == NEVER else max(0.0, deadline - self._clock()))
        now = self._clock()
        try:
            ((senders, datagrams),) = self._receiver.receive()
        except OSError:
            # What the network says about an acknowledgement of ours.
            senders, datagrams = [], []
        messages = self._table.feed(senders, datagrams, time.time(), now)
        self._display.show(messages + self._table.advance(now))
        if self._acks is not None:
            self._acks.heard(senders, now)

    def finish(self) -> None:
        """Print all that waits, and give the outstanding answers."""
        self._display.show(self._table.flush())
        if self._acks is not None:
            self._acks.finish()


def _wait(bound: socket.socket, timeout: float | None) -> None:
    poll = select.poll()
    poll.register(bound, select.POLLIN)
    poll.poll(None if timeout is None else int(timeout * 1000) + 1)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add("-a", "--address", metavar="ADDRESS", help="address to listen on (default: all of IPv4 and IPv6)")
    told = f"how long to wait for what is missing, in ms (default: {DEFAULT_REORDER_MS})"
    add("--reorder", metavar="MS", type=_number("reorder"), default=DEFAULT_REORDER_MS, help=told)
    add("--no-acks", dest="acks", action="store_false", help="only listen: tell no sender what is missing")
    add("port", metavar="PORT", type=_number("port"), help="UDP port; senders send to 1514 or 6666, mostly")
    return parser


def _number(setting: str) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else text
        reason = problem(setting, value, milliseconds=True)
        if reason or not isinstance(value, int):
            raise argparse.ArgumentTypeError(reason)
        return value

    return number
