"""A bound socket with senders, and helpers for the results of receivers: for the tests of both receivers."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from netconsd.build import COMPILED
from netconsd.testing import source

needs_compiled = pytest.mark.skipif(not COMPILED, reason="this build is plain Python, without the compiled receiver")


def compiled_receiver() -> Any:
    """The compiled receiver's class; the import fails in a plain build."""
    from netconsd.receive import _recvmmsg

    return _recvmmsg.Receiver


class Socket:
    """A bound, non-blocking UDP socket on the loopback interface, and sockets that send to it."""

    def __init__(self, address: str = "127.0.0.1", *, to: str | None = None) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.bound = socket.socket(family, socket.SOCK_DGRAM)
        self.bound.setblocking(False)
        if family == socket.AF_INET6:
            self.bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.bound.bind((address, 0))
        self._to = to or address
        self._senders: list[socket.socket] = []

    def sender(self, address: str | None = None) -> socket.socket:
        """A socket that is connected to this one, bound to ``address``."""
        family = socket.AF_INET6 if ":" in self._to else socket.AF_INET
        sender = socket.socket(family, socket.SOCK_DGRAM)
        self._senders.append(sender)
        if address is not None:
            sender.bind((address, 0))
        sender.connect((self._to, self.bound.getsockname()[1]))
        return sender

    def close(self) -> None:
        for opened in (self.bound, *self._senders):
            opened.close()


def key_of(sender: socket.socket) -> bytes:
    """The key of a sending socket, computed independently of the receivers."""
    host, port = sender.getsockname()[:2]
    return source(host, port).key


def together(by_lane: list[tuple[list[bytes], list[bytes]]]) -> list[tuple[bytes, bytes]]:
    """(sender, datagram) of all lanes, lane by lane."""
    return [pair for senders, datagrams in by_lane for pair in zip(senders, datagrams, strict=True)]
