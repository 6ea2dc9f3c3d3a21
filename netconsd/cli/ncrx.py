"""``ncrx``: prints the messages that arrive at a port, in order, and acknowledges them (docs/tools)."""

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
from netconsd.protocol.plural import plural
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable
from netconsd.receive.recvfrom import Receiver
from netconsd.receive.sockets import bind, send_to
from netconsd.rendering import is_blank, marks, printable, uptime
from netconsd.settings import ConfigError, Settings, problem

# A lost record is repeated within a few round trips.
DEFAULT_REORDER_MS = 1000
# Enough for a person who watches. Bounds the memory that strangers can fill.
SENDERS_LIMIT = 1000
_RCVBUF = 4 * 1024 * 1024
_DATAGRAMS = 64
# Seconds. If the socket is never empty for this long, held messages are delivered nevertheless.
_FULL_SECONDS = 1.0

_DESCRIPTION = """
Print the messages that arrive at a port in order, with the gaps between them. Request missing messages from senders
such as nctx.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "ncrx") -> int:
    """Print until stopped.

    :returns: 1 if it cannot listen; 130 after Ctrl-C or SIGTERM.
    :raises SystemExit: with 2, if an option is wrong; with 1, if standard output cannot be written.
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
    # A character that the terminal's encoding lacks must not end the program.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # SIGTERM ends like Ctrl-C: held messages are printed.
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
    """Prints messages as lines. The words in brackets are those of the C tool, with FROM in addition."""

    def __init__(self, write: Callable[[str], object]) -> None:
        """:param write: prints lines, without the last newline."""
        self._write = write
        self._source: Source | None = None

    def show(self, messages: list[Message]) -> None:
        """Print messages, each after the lines about its sender and the gap before it."""
        lines: list[str] = []
        for message in messages:
            if message.source != self._source:
                self._source = message.source
                lines.append(_line("FROM", f"{message.source.address} port {message.source.port}"))
            lines += _lines(message)
        if lines:
            self._write("\n".join(lines))


def _lines(message: Message) -> list[str]:
    text = marks(message) + printable(message.text)
    if not isinstance(message, ExtendedMessage):
        return [_line("INVAL", text)]
    if is_blank(message):
        return []
    lines: list[str] = []
    if message.seq_reset:
        lines.append(_line("SEQ RESET", f"seq={message.seq}"))
    if message.missing:
        lines.append(_line("SEQ SKIPPED", f"{plural(message.missing, 'message')} skipped"))
    return [*lines, f"{uptime(message.ts_usec)} {text}"]


def _line(word: str, text: str) -> str:
    return f"[{word:>12}] {text}"


class Watch:
    """Receives from a socket, displays the messages and acknowledges them. For one thread."""

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
        :param wait: ``wait(socket, timeout)`` returns when the socket is readable, after ``timeout`` seconds at most.
        """
        self._socket = bound
        self._display = display
        self._clock = clock
        self._wait = wait or _wait
        self._receiver = Receiver(bound, _DATAGRAMS, 1, 1)
        self._table = SourceTable(
            WorkerCounters(), limit=SENDERS_LIMIT, reorder_time=settings.reorder, gc_interval=0.0, age=0.0
        )
        # Everything received before this monotonic time was processed.
        self._complete = float("-inf")
        # The begin of the first read since then that may have left datagrams in the socket.
        self._behind_since = float("inf")
        self._acks = Acks(self._table, partial(send_to, bound)) if settings.acks else None

    def turn(self) -> None:
        """Wait for a datagram or the next deadline; then display, and acknowledge."""
        deadline = self._table.next_deadline()
        if self._acks is not None:
            deadline = min(deadline, self._acks.next_deadline())
        self._wait(self._socket, None if deadline == NEVER else max(0.0, deadline - self._clock()))
        began_at = self._clock()
        self._behind_since = min(self._behind_since, began_at)
        try:
            ((senders, datagrams),) = self._receiver.receive()
            # A deadline expires only after everything that was received before it has been processed.
            if len(datagrams) < _DATAGRAMS or began_at - self._behind_since >= _FULL_SECONDS:
                self._complete, self._behind_since = began_at, float("inf")
        except OSError:
            # An ICMP error for an acknowledgement. Datagrams may wait behind it.
            senders, datagrams = [], []
        # After the read, because the process may have been stopped in between.
        now = self._clock()
        messages = self._table.feed(senders, datagrams, time.time(), now, self._complete)
        self._display.show(messages + self._table.advance(self._complete))
        if self._acks is not None:
            self._acks.heard(senders, datagrams, now)

    def finish(self) -> None:
        """Print the held messages, and send the outstanding acknowledgements."""
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
    text = f"time to wait for missing messages, in milliseconds (default: {DEFAULT_REORDER_MS})"
    add("--reorder", metavar="MS", type=_number("reorder"), default=DEFAULT_REORDER_MS, help=text)
    add("--no-acks", dest="acks", action="store_false", help="send no acknowledgements, only listen")
    add("port", metavar="PORT", type=_number("port"), help="UDP port, usually 1514 or 6666")
    return parser


def _number(setting: str) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else text
        reason = problem(setting, value, milliseconds=True)
        if reason or not isinstance(value, int):
            raise argparse.ArgumentTypeError(reason)
        return value

    return number
