"""``nctx``: sends the kernel's log from user space, and repeats lost records (docs/tools)."""

from __future__ import annotations

import argparse
import errno
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from netconsd.cli.numbers import within
from netconsd.protocol.acknowledgement import ACK_BYTES
from netconsd.protocol.stream import NEVER
from netconsd.send.kmsg import Kmsg
from netconsd.send.reliable import ANSWER_SECONDS, SLOTS, ReliableSender

# A slot holds a record of at most 8 KiB: 8 GiB in total.
SLOTS_LIMIT = 1024 * 1024
# Answers read per turn, so that a flood of them does not stop the sending.
ANSWERS_LIMIT = 64
# The last record of a pipe is complete when nothing follows it for this time.
_REST_SECONDS = 0.05

_DESCRIPTION = """
Send the kernel's log to netconsd from user space, and repeat the records that it reports missing: for machines whose
network drivers do not support netconsole. The daemon must be started with --acks.
"""

# Host and port; for IPv6 also flow label and scope.
Address = tuple[Any, ...]


def main(arguments: Sequence[str] | None = None, prog: str = "nctx") -> int:
    """Send until stopped; from a file, until all records are acknowledged.

    :returns: 0 at the end of a file, 1 after an error, 130 after Ctrl-C.
    :raises SystemExit: with 2, if an option is wrong.
    """
    options = _parser(prog).parse_args(arguments)

    def report(text: str) -> None:
        print(f"{prog}: {text}", file=sys.stderr, flush=True)

    try:
        resolved = socket.getaddrinfo(
            options.address, options.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
        family, _, _, _, address = resolved[0]
        kmsg = Kmsg(options.kmsg)
    except OSError as error:
        report(_error_text(error, options))
        return 1
    with closing(kmsg), socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bound:
        try:
            bound.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", options.source_port))
        except OSError as error:
            report(f"-p: port {options.source_port} cannot be used: {error.strerror}")
            return 1
        try:
            LogSender(kmsg, bound, address, ReliableSender(options.slots), report).run()
        except KeyboardInterrupt:
            return 130
        except OSError as error:
            report(_error_text(error, options))
            return 1
    return 0


class LogSender:
    """Sends the records of a log to a receiver. For one thread."""

    def __init__(
        self,
        kmsg: Kmsg,
        bound: socket.socket,
        address: Address,
        sender: ReliableSender,
        report: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[list[Any], float | None], list[Any]] | None = None,
    ) -> None:
        """
        :param bound: a non-blocking UDP socket.
        :param address: the receiver's address, as ``sendto`` takes it.
        :param report: called with a line for the user, on every change of state.
        :param wait: ``wait(sources, timeout)`` returns the readable sources, after ``timeout`` seconds at most.
        """
        self._kmsg = kmsg
        self._socket = bound
        self._address = address
        self._sender = sender
        self._report = report
        self._clock = clock
        self._wait = wait or _wait
        self._in_emergency = False
        self._send_errno: int | None = None
        self._overruns = 0
        self._refused = 0
        self._dropped = 0

    def run(self) -> None:
        """Send until the log ends and all of its records are acknowledged.

        :raises OSError: if the log cannot be read.
        """
        while not self._kmsg.ended or self._kmsg.pending or len(self._sender):
            self.turn()

    def turn(self) -> None:
        """Wait for a record, an answer or the sender's deadline, then read and send."""
        sources: list[Any] = [self._socket]
        room = 0 if self._kmsg.ended and not self._kmsg.pending else self._sender.room
        if room and not self._kmsg.ended:
            sources.append(self._kmsg)
        timeout = max(0.0, self._sender.deadline - self._clock())
        if room and self._kmsg.pending:
            timeout = min(timeout, _REST_SECONDS)
        ready = self._wait(sources, None if timeout == NEVER else timeout)
        if self._socket in ready:
            self._read_answers()
        if room and (self._kmsg in ready or self._kmsg.pending):
            for record in self._kmsg.records(room):
                self._sender.add(record)
        for datagram in self._sender.take(self._clock()):
            self._send(datagram)
        self._report_changes()

    def _read_answers(self) -> None:
        for _ in range(ANSWERS_LIMIT):
            try:
                datagram, address = self._socket.recvfrom(ACK_BYTES + 2)
            except BlockingIOError:
                break
            except OSError:
                # An ICMP error for an earlier datagram. The missing acknowledgement is enough.
                continue
            if _same(address, self._address):
                self._sender.acknowledge(datagram, self._clock())

    def _send(self, datagram: bytes) -> None:
        send_errno = None
        try:
            self._socket.sendto(datagram, self._address)
        except OSError as error:
            # The record is not acknowledged, so it is sent again.
            send_errno = error.errno
        if send_errno != self._send_errno and send_errno not in (errno.EAGAIN, errno.ENOBUFS):
            self._send_errno = send_errno
            self._report(f"cannot send ({os.strerror(send_errno)}); retrying" if send_errno else "sending works again")

    def _report_changes(self) -> None:
        sender = self._sender
        if sender.emergency != self._in_emergency:
            self._in_emergency = sender.emergency
            if self._in_emergency:
                self._report(
                    f"no answer for {ANSWER_SECONDS:.0f} seconds: check that the receiver runs with --acks and the "
                    "firewall accepts its answers; sending continues without acknowledgements"
                )
            else:
                self._report("the receiver answers; sending all unacknowledged records again")
        if self._kmsg.overruns != self._overruns:
            self._overruns = self._kmsg.overruns
            self._report("the kernel overwrote records before they were read; their numbers are missing")
        if sender.refused != self._refused:
            if not self._refused:
                self._report("dropped a record that is malformed or out of order; this is reported once")
            self._refused = sender.refused
        if sender.dropped != self._dropped:
            if not self._dropped:
                self._report("more unacknowledged records than slots (-n): dropping the oldest")
            self._dropped = sender.dropped


def _wait(sources: list[Any], timeout: float | None) -> list[Any]:
    poll = select.poll()
    by_fd = {source.fileno(): source for source in sources}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    # Rounded up: rounding down would spin through the last millisecond.
    return [by_fd[fd] for fd, _ in poll.poll(None if timeout is None else int(timeout * 1000) + 1)]


def _same(one: Address, other: Address) -> bool:
    """True if two addresses have the same port and the same host, ignoring the interface."""
    return bool(one[1] == other[1] and one[0].partition("%")[0] == other[0].partition("%")[0])


def _error_text(error: OSError, options: argparse.Namespace) -> str:
    if isinstance(error, socket.gaierror):
        return f"{options.address!r} is not an IPv4 or IPv6 address"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{options.kmsg}: {error.strerror}; run it as root, or with CAP_SYSLOG"
    return f"{options.kmsg}: {error.strerror}"


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    text = f"records to keep until they are acknowledged (default: {SLOTS})"
    add("-n", dest="slots", metavar="SLOTS", type=within(int, 1, SLOTS_LIMIT), default=SLOTS, help=text)
    text = "source of the records: the device, or a file or named pipe with the same lines (default: /dev/kmsg)"
    add("-k", dest="kmsg", metavar="PATH", default="/dev/kmsg", help=text)
    text = "source UDP port; with a fixed one netconsd recognises the sender after a restart (default: any free port)"
    add("-p", dest="source_port", metavar="PORT", type=within(int, 0, 65535), default=0, help=text)
    add("address", metavar="ADDRESS", help="netconsd's address, IPv4 or IPv6")
    add("port", metavar="PORT", type=within(int, 1, 65535), help="netconsd's UDP port")
    return parser
