"""Prints messages with the listener and the workers, without the daemon: python listener.py [PORT]."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred

from netconsd import Message
from netconsd.embedding import MAX_DATAGRAM, NetconsoleListener, Workers
from netconsd.rendering import printable
from netconsd.settings import Settings


def show(worker: int, messages: list[Message]) -> None:
    """Called in a worker's thread."""
    for message in messages:
        print(message.source.address, printable(message.text), flush=True)


def receive(
    reactor: Any, port: int, deliver: Callable[[int, list[Message]], None]
) -> tuple[Any, Callable[[], Deferred[None]]]:
    """Listen on any reactor; return the listening port and a function that stops."""
    workers = Workers(deliver, Settings(workers=2), reactor=reactor)
    workers.start()
    # Without maxPacketSize, Twisted reads only 8192 bytes of a datagram.
    listening = reactor.listenUDP(port, NetconsoleListener(workers), maxPacketSize=MAX_DATAGRAM)

    async def stop() -> None:
        # In this order: receive no more datagrams, then deliver the queued ones.
        await listening.stopListening()
        await workers.stop()

    return listening, lambda: ensureDeferred(stop())


def main(reactor: Any, port: str = "1514") -> Deferred[None]:
    """Run until the process is stopped."""
    listening, stop = receive(reactor, int(port), show)
    print("listening on port", listening.getHost().port, flush=True)
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    return Deferred()


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
