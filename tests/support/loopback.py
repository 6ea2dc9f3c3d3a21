"""Senders on the loopback interface, and a module that a test can await, for tests with real sockets."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from netconsd.protocol.message import Message
from netconsd.testing import RecordingModule


def has_ipv6() -> bool:
    """Return whether this machine has the address ::1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


class Arrivals(RecordingModule):
    """Keeps its messages, and fires a Deferred at a given number of them."""

    def __init__(self) -> None:
        super().__init__()
        self._wanted = 0
        self._enough: Deferred[None] | None = None

    def handle(self, worker: int, message: Message) -> None:
        super().handle(worker, message)
        if self._enough is not None and len(self.calls) >= self._wanted:
            from twisted.internet import reactor

            reactor.callFromThread(self._fire)  # type: ignore[attr-defined]

    def number(self, wanted: int) -> Deferred[None]:
        """Return a Deferred that fires in the reactor's thread at this number of messages in all."""
        self._wanted = wanted
        # Set before the count is read: a worker counts first and reads it then, so one of the two sees the other.
        enough: Deferred[None] = Deferred()
        self._enough = enough
        if len(self.calls) >= wanted:
            self._fire()
        return enough

    def _fire(self) -> None:
        enough, self._enough = self._enough, None
        if enough is not None:
            enough.callback(None)

    @property
    def texts(self) -> list[str]:
        """Return the texts of all messages."""
        return [message.text for message in self.messages]


def send(port: int, *datagrams: bytes, to: str = "127.0.0.1", sender: str | None = None) -> int:
    """Send the datagrams from one socket; return its port.

    :param sender: the address to send from, such as any of 127.0.0.0/8.
    """
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as source:
        if sender is not None:
            source.bind((sender, 0))
        for datagram in datagrams:
            source.sendto(datagram, (to, port))
        own: Any = source.getsockname()
        return int(own[1])
