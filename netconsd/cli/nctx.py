"""``nctx``: sends the kernel's log from user space, and again what got lost (docs/tools)."""

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

from netconsd.cli.numbers import whole_number
from netconsd.protocol.acknowledgement import ACK_BYTES
from netconsd.protocol.stream import NEVER
from netconsd.send.kmsg import Kmsg
from netconsd.send.reliable import ANSWER_SECONDS, SLOTS, ReliableSender

# Each keeps a record of at most 8 KiB: 8 GiB.
SLOTS_LIMIT = 1024 * 1024
# Answers read in one go, so that a flood of them does not keep us from sending.
ANSWERS_LIMIT = 64
# A pipe's last record is complete when nothing has followed it for so long.
_REST_SECONDS = 0.05

_DESCRIPTION = """
Send the kernel's log to netconsd from user space, and send again what it says is missing: for machines whose network
drivers cannot do netconsole. The daemon has to be started with --acks.
"""

# Host and port, and for IPv6 two numbers more.
Address = tuple[Any, ...]


def main(arguments: Sequence[str] | None = None, prog: str = "nctx") -> int:
    """Send until stopped; from a file, until all of it was acknowledged.

    :returns: 0 at the end of a file, 1 if it cannot be sent, 130 after Ctrl-C.
    :raises SystemExit: with 2, if the options are wrong.
    """
    options = _parser(prog).parse_args(arguments)

    def say(text: str) -> None:
        print(f"{prog}: {text}", file=sys.stderr, flush=True)

    try:
        family, address = _resolve(options.address, options.port)
        kmsg = Kmsg(options.kmsg)
    except OSError as error:
        say(_why(error, options))
        return 1
    with closing(kmsg), socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bound:
        try:
            bound.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", options.source_port))
        except OSError as error:
            say(f"-p: port {options.source_port} cannot be used: {error.strerror}")
            return 1
        try:
            Shipment(kmsg, bound, address, ReliableSender(options.slots), say).run()
        except KeyboardInterrupt:
            return 130
        except OSError as error:
            say(_why(error, options))
            return 1
    return 0


class Shipment:
    """From the log to the receiver; ``say`` gets what a person should know."""

    def __init__(
        self,
        kmsg: Kmsg,
        bound: socket.socket,
        address: Address,
        sender: ReliableSender,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[list[Any], float | None], list[Any]] | None = None,
    ) -> None:
        """
        :param bound: a non-blocking UDP socket.
        :param address: of the receiver, as the socket takes it.
        :param wait: waits for one of these to be readable, at most so many seconds, and returns those that are.
        """
        self._kmsg = kmsg
        self._socket = bound
        self._address = address
        self._sender = sender
        self._say = say
        self._clock = clock
        self._wait = wait or _wait
        self._in_emergency = False
        self._trouble: int | None = None
        self._overruns = 0
        self._refused = 0
        self._dropped = 0

    def run(self) -> None:
        """Send until the source has ended, and all of it was acknowledged.

        :raises OSError: if the source cannot be read.
        """
        while not self._kmsg.ended or self._kmsg.pending or len(self._sender):
            self.turn()

    def turn(self) -> None:
        """Wait for something to happen, and do what is to be done."""
        sources: list[Any] = [self._socket]
        room = 0 if self._kmsg.ended and not self._kmsg.pending else self._sender.room
        if room and not self._kmsg.ended:
            sources.append(self._kmsg)
        timeout = max(0.0, self._sender.deadline - self._clock())
        if room and self._kmsg.pending:
            timeout = min(timeout, _REST_SECONDS)
        ready = self._wait(sources, None if timeout == NEVER else timeout)
        if self._socket in ready:
            self._hear()
        if room and (self._kmsg in ready or self._kmsg.pending):
            for record in self._kmsg.records(room):
                self._sender.add(record)
        for datagram in self._sender.take(self._clock()):
            self._send(datagram)
        self._tell()

    def _hear(self) -> None:
        for _ in range(ANSWERS_LIMIT):
            try:
                datagram, address = self._socket.recvfrom(ACK_BYTES + 2)
            except BlockingIOError:
                break
            except OSError:
                # What the network says about an earlier datagram; silence tells us all we need.
                continue
            if _same(address, self._address):
                self._sender.acknowledge(datagram, self._clock())

    def _send(self, datagram: bytes) -> None:
        trouble = None
        try:
            self._socket.sendto(datagram, self._address)
        except OSError as error:
            # Counts as lost on the way: it will not be acknowledged.
            trouble = error.errno
        if trouble != self._trouble and trouble not in (errno.EAGAIN, errno.ENOBUFS):
            self._trouble = trouble
            self._say(f"cannot send ({os.strerror(trouble)}); trying again" if trouble else "sending works again")

    def _tell(self) -> None:
        sender = self._sender
        if sender.emergency != self._in_emergency:
            self._in_emergency = sender.emergency
            if self._in_emergency:
                self._say(
                    f"no answer for {ANSWER_SECONDS:.0f} seconds; is the receiver started with --acks, and does the "
                    "firewall let its answers in? Sending goes on without"
                )
            else:
                self._say("the receiver answers; sending all that it may not have")
        if self._kmsg.overruns != self._overruns:
            self._overruns = self._kmsg.overruns
            self._say("the kernel overwrote records before they could be read; their numbers are missing")
        if sender.refused != self._refused:
            if not self._refused:
                self._say("a record is not one of the kernel's, or not behind the one before; such are left out")
            self._refused = sender.refused
        if sender.dropped != self._dropped:
            if not self._dropped:
                self._say("there are more records without an acknowledgement than slots (-n): the oldest are forgotten")
            self._dropped = sender.dropped


def _wait(sources: list[Any], timeout: float | None) -> list[Any]:
    poll = select.poll()
    by_fd = {source.fileno(): source for source in sources}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    # Rounded up, or the last millisecond is waited for in a busy loop.
    return [by_fd[fd] for fd, _ in poll.poll(None if timeout is None else int(timeout * 1000) + 1)]


def _same(one: Address, other: Address) -> bool:
    """Whether two addresses have the same host, its interface left aside, and port."""
    return bool(one[1] == other[1] and one[0].partition("%")[0] == other[0].partition("%")[0])


def _resolve(address: str, port: int) -> tuple[socket.AddressFamily, Address]:
    found = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    return found[0][0], found[0][4]


def _why(error: OSError, options: argparse.Namespace) -> str:
    if isinstance(error, socket.gaierror):
        return f"{options.address!r} is not an IPv4 or IPv6 address"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{options.kmsg}: {error.strerror}; run it as root, or with CAP_SYSLOG"
    return f"{options.kmsg}: {error.strerror}"


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    told = f"records to keep until they are acknowledged (default: {SLOTS})"
    add("-n", dest="slots", metavar="SLOTS", type=whole_number(1, SLOTS_LIMIT), default=SLOTS, help=told)
    told = "where the records are: the device, or a file or named pipe with such records (default: /dev/kmsg)"
    add("-k", dest="kmsg", metavar="PATH", default="/dev/kmsg", help=told)
    told = "UDP port to send from, by which netconsd knows the sender again (default: any free one)"
    add("-p", dest="source_port", metavar="PORT", type=whole_number(0, 65535), default=0, help=told)
    add("address", metavar="ADDRESS", help="where netconsd is, IPv4 or IPv6")
    add("port", metavar="PORT", type=whole_number(1, 65535), help="its UDP port")
    return parser
