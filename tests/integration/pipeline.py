"""Clients that pipeline requests without a pause: ``python -m tests.integration.pipeline PORT CLIENTS``.

Every second client does not read its answers. A connection that ended is opened again. It prints a line when all are
connected, and ends, with the number of answers, when its standard input is closed.
"""

from __future__ import annotations

import select
import socket
import sys

REQUESTS = b"".join(
    b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path
    for path in (b"/metrics", b"/senders?by=lost", b"/healthz", b"/nothing")
)


def connect(port: int) -> socket.socket:
    """A connection that does not block."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setblocking(False)
    return connection


def main(port: int, count: int) -> int:
    """Send requests until the standard input is closed; return the number of answers that were read."""
    answers = 0
    clients = {connection.fileno(): connection for connection in (connect(port) for _ in range(count))}
    readers = set(list(clients)[::2])
    print("connected", flush=True)
    while True:
        readable, writable, _ = select.select([sys.stdin.fileno(), *readers], list(clients), [], 1.0)
        if sys.stdin.fileno() in readable:
            return answers
        for number in {*readable, *writable}:
            try:
                if number in readable:
                    received = clients[number].recv(65536)
                    answers += received.count(b"HTTP/1.1 ")
                    if not received:
                        raise ConnectionResetError
                if number in writable:
                    clients[number].send(REQUESTS * 1000)
            except BlockingIOError:
                continue
            except ConnectionError:
                clients[number].close()
                other = connect(port)
                assert other.fileno() == number
                clients[number] = other


if __name__ == "__main__":
    print(main(*map(int, sys.argv[1:])))
