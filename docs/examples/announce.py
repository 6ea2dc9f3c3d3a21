"""Announces kernel crashes to another program by UDP: a worker's thread calls the reactor."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from netconsd import IOutputModule, Message

SIGNS = ("Kernel panic", "BUG: ", "Oops: ", "general protection fault")


@implementer(IOutputModule)
class Announce:
    """Sends ``ADDRESS: TEXT`` for each message that begins a crash."""

    def __init__(self, *, host: str, port: int = 5000) -> None:
        """
        :param host: the IPv4 address to send to.
        :param port: the UDP port to send to.
        """
        self._host = host
        self._port = port
        self._protocol = DatagramProtocol()
        self._reactor: Any = None
        self._socket: Any = None

    def start(self, worker_count: int) -> None:
        """Open a socket on the daemon's reactor."""
        from twisted.internet import reactor

        self._reactor = reactor
        self._socket = self._reactor.listenUDP(0, self._protocol)

    def handle(self, worker: int, message: Message) -> None:
        """Called in a worker's thread; the reactor sends, because the socket belongs to it."""
        if message.text.startswith(SIGNS):
            # A message may be longer than a datagram.
            self._reactor.callFromThread(self._send, f"{message.source.address}: {message.text[:1000]}")

    def _send(self, text: str) -> None:
        """Called in the reactor's thread."""
        if self._protocol.transport is not None:
            self._protocol.transport.write(text.encode(), (self._host, self._port))

    def stop(self) -> Deferred[None]:
        """Close the socket after the last datagram; the daemon waits for the Deferred."""
        done: Deferred[None] = Deferred()

        def close() -> None:
            self._socket.stopListening().chainDeferred(done)

        # The reactor makes this call after those of the workers.
        self._reactor.callFromThread(close)
        return done
