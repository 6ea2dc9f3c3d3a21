"""Sends the last messages of a fleet to each TCP client, in one process with the receiver: twistd -ny embedded.py."""

from __future__ import annotations

import os
from collections import deque

from twisted.application.internet import TCPServer
from twisted.application.service import Application
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netconsd import IOutputModule, Message
from netconsd.rendering import printable
from netconsd.service import NetconsdService
from netconsd.settings import Settings


@implementer(IOutputModule)
class LastLines:
    """An ordinary output module."""

    def __init__(self) -> None:
        # Appending is atomic, so workers and the reactor need no lock. The bound limits the memory.
        self.lines: deque[str] = deque(maxlen=1000)

    def start(self, worker_count: int) -> None:
        """Nothing to prepare."""

    def handle(self, worker: int, message: Message) -> None:
        """Called in a worker's thread."""
        self.lines.append(f"{message.source.address} {printable(message.text)}\n")

    def stop(self) -> None:
        """Nothing to finish."""


class Show(Protocol):
    """Called in the reactor's thread, one object per client."""

    def connectionMade(self) -> None:
        """Send the lines and close the connection."""
        if self.transport is not None:
            self.transport.write("".join(last.lines.copy()).encode())
            self.transport.loseConnection()


def complain(failure: Failure) -> None:
    """Called if a module fails to start; the rest of the application runs."""
    Logger().failure("No messages are received", failure)


last = LastLines()
receiver = NetconsdService({"last": last}, Settings(port=int(os.environ.get("NETCONSD_PORT", "1514"))))
receiver.started.addErrback(complain)
server = TCPServer(int(os.environ.get("SHOW_PORT", "8514")), Factory.forProtocol(Show), interface="127.0.0.1")

application = Application("fleet")
receiver.setServiceParent(application)
server.setServiceParent(application)
