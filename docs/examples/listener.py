"""Prints who sends, with nothing of the daemon but the protocol and the workers: python listener.py [PORT]."""

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
    """Called in the thread of a worker."""
    for message in messages:
        print(message.source.address, printable(message.text), flush=True)


def receive(
    reactor: Any, port: int, deliver: Callable[[int, list[Message]], None]
) -> tuple[Any, Callable[[], Deferred[None]]]:
    """Listen on any reactor; return the listening port, and what to call at the end."""
    workers = Workers(deliver, Settings(workers=2), reactor=reactor)
    workers.start()
    # Twisted reads 8192 bytes of a datagram if it is not told otherwise.
    listening = reactor.listenUDP(port, NetconsoleListener(workers), maxPacketSize=MAX_DATAGRAM)

    async def stop() -> None:
        # In this order: no more datagrams, then the workers deliver what they have.
        await listening.stopListening()
        await workers.stop()

    return listening, lambda: ensureDeferred(stop())


def main(reactor: Any, port: str = "1514") -> Deferred[None]:
    """Run until the process is told to end."""
    listening, stop = receive(reactor, int(port), show)
    print("listening on port", listening.getHost().port, flush=True)
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    return Deferred()


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
