"""The connections of the HTTP port: the work in a turn of the reactor, the memory and the time of each are bounded."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from netconsd.monitor.connection import (
    ANSWER_SECONDS,
    DISCARD_BYTES,
    IDLE_SECONDS,
    LINGER_SECONDS,
    PIECE_BYTES,
    REQUEST_BYTES,
    REQUEST_SECONDS,
    TURN_SECONDS,
    Connection,
)
from netconsd.monitor.http import CONNECTIONS_LIMIT, ConnectionFactory
from netconsd.monitor.pages import Answer, text_answer
from netconsd.monitor.request import Request

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
# Twisted reads at most this number of bytes at a time.
READ = 65536


class Client:
    """A client, its connection, and a transport whose kernel takes bytes only when the test says so."""

    def __init__(self, port: Port) -> None:
        self.sent = b""
        self.unread = b""
        self.reading = True
        self.half_closed = self.aborted = False
        self.producer: Any = None
        self._port = port
        self.connection: Connection = port.factory.buildProtocol(None)
        self.connection.makeConnection(self)  # type: ignore[no-untyped-call]

    # The transport.

    def write(self, data: bytes) -> None:
        self._port.written += 1
        self.sent += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        assert self.producer is None and not streaming
        self.producer = producer
        producer.resumeProducing()

    def unregisterProducer(self) -> None:  # noqa: N802
        self.producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def loseWriteConnection(self) -> None:  # noqa: N802
        self.half_closed = True

    def abortConnection(self) -> None:  # noqa: N802
        if not self.aborted:
            self.aborted = True
            self._port.clock.callLater(0, self.connection.connectionLost)

    # The client.

    def send(self, data: bytes) -> None:
        """Send; the transport delivers it while it reads."""
        self.unread += data
        self.deliver()

    def deliver(self) -> None:
        while self.unread and self.reading and not self.aborted:
            data, self.unread = self.unread[:READ], self.unread[READ:]
            self.connection.dataReceived(data)

    def take(self) -> bytes:
        """Take the bytes that were sent."""
        taken, self.sent = self.sent, b""
        if taken and self.producer is not None:
            self.producer.resumeProducing()
        self.deliver()
        return taken


class Port:
    """The port with a scripted clock, and a count of the answers and pieces."""

    def __init__(self, answer: Callable[[Request], Answer | Deferred[Answer]] | None = None) -> None:
        self.clock = Clock()
        self.requests: list[Request] = []
        self.written = 0
        self._answer = answer or (lambda request: text_answer(200, "page"))
        self.factory = ConnectionFactory(self.clock, self.note)

    def note(self, request: Request) -> Answer | Deferred[Answer]:
        self.requests.append(request)
        return self._answer(request)

    def turn(self) -> None:
        """A turn of the reactor, as far apart as the budget asks."""
        self.clock.advance(TURN_SECONDS)

    def run(self, client: Client, turns: int = 100) -> bytes:
        """Return all that a client takes in these turns."""
        taken = b""
        for _ in range(turns):
            taken += client.take()
            self.turn()
        return taken + client.take()


def statuses(answers: bytes) -> list[int]:
    """The statuses of the answers."""
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d+) ", answers, re.MULTILINE)]


def test_an_answer() -> None:
    """An answer has its length, type and date, and the connection stays open for further requests."""
    port = Port()
    client = Client(port)
    client.send(GET)
    head, _, body = port.run(client).partition(b"\r\n\r\n")
    assert body == b"page\n"
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert fields[b"Content-Length"] == b"5"
    assert fields[b"Content-Type"] == b"text/plain; charset=utf-8"
    assert fields[b"Date"].endswith(b" GMT")
    assert fields[b"Cache-Control"] == b"no-store"
    assert b"Connection" not in fields
    client.send(b"\r\n" + GET)
    assert statuses(port.run(client)) == [200]


def test_one_piece_of_work_in_a_turn() -> None:
    """Clients that pipeline thousands of requests get one answer, all together, in a turn of the reactor: none at
    once, and each in its turn."""
    port = Port()
    clients = [Client(port) for _ in range(CONNECTIONS_LIMIT)]
    for client in clients:
        client.send(GET * 5000)
    assert port.requests == []
    port.clock.advance(0)
    for turn in range(1, 1000):
        assert len(port.requests) == turn
        # Further turns of the reactor within the time change nothing.
        for _ in range(3):
            port.clock.advance(TURN_SECONDS / 10)
            for client in clients:
                client.take()
        assert len(port.requests) == turn
        port.turn()
    assert len(port.requests) == 1000
    # The last client waited no longer than the others.
    client = Client(port)
    client.send(GET)
    for _ in range(CONNECTIONS_LIMIT + 1):
        port.turn()
        for other in clients:
            other.take()
    assert statuses(client.take()) == [200]


def test_requests_in_pieces() -> None:
    """A request that arrives byte by byte is answered once it is complete."""
    port = Port()
    client = Client(port)
    for byte in GET * 2:
        client.send(bytes([byte]))
    assert statuses(port.run(client)) == [200, 200]


def test_a_client_that_does_not_read() -> None:
    """A client that takes nothing gets one piece of one answer; its requests stay in the kernel."""
    port = Port(lambda request: Answer(200, bytes(10 * PIECE_BYTES)))
    client = Client(port)
    client.send(GET * 100_000)
    for _ in range(100):
        port.turn()
    assert len(port.requests) == 1
    assert PIECE_BYTES <= len(client.sent) < PIECE_BYTES + 1000
    assert len(client.connection._received) <= READ
    assert len(client.unread) > 1_000_000


def test_a_long_answer_is_sent_in_pieces() -> None:
    """A long answer takes a turn for each piece, and is complete; other clients get theirs in between."""
    body = bytes(range(256)) * (5 * PIECE_BYTES // 256) + b"end"
    port = Port(lambda request: Answer(200, body))
    client, other = Client(port), Client(port)
    client.send(GET + GET)
    other.send(GET)
    taken = other_taken = b""
    for _ in range(40):
        before = port.written
        port.turn()
        assert port.written - before <= 1
        taken += client.take()
        other_taken += other.take()
    assert taken.count(b"\r\n\r\n" + body) == 2
    assert other_taken.endswith(b"\r\n\r\n" + body)


def test_head() -> None:
    """HEAD gets the length of the page without the page."""
    port = Port()
    client = Client(port)
    client.send(GET.replace(b"GET", b"HEAD") + GET)
    answers = port.run(client)
    assert answers.count(b"Content-Length: 5\r\n") == 2
    assert answers.count(b"page\n") == 1


def test_an_old_client() -> None:
    """HTTP/1.0 ends the connection, unless the client asks to keep it open, which is confirmed."""
    port = Port()
    client = Client(port)
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"\r\nConnection: keep-alive\r\n" in port.run(client)
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert b"\r\nConnection: close\r\n" in port.run(client)
    assert client.half_closed


@pytest.mark.parametrize("last", [b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"nonsense\r\n\r\n"])
def test_nothing_is_answered_after_the_end(last: bytes) -> None:
    """After the last answer the client's bytes are discarded, up to a number and for some seconds."""
    port = Port()
    client = Client(port)
    client.send(last + GET * 10)
    assert len(statuses(port.run(client))) == 1
    client.send(GET * 10)
    assert port.run(client) == b""
    assert client.half_closed and not client.aborted
    other = Client(port)
    other.send(last)
    port.run(other)
    other.send(bytes(DISCARD_BYTES + 1))
    assert other.aborted and not client.aborted
    port.clock.advance(LINGER_SECONDS)
    assert client.aborted


def test_a_request_that_is_too_long() -> None:
    """A request longer than REQUEST_BYTES is status 431, with and without its end, and ends the connection."""
    for end in (b"", b"\r\n\r\n"):
        port = Port()
        client = Client(port)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"x" * REQUEST_BYTES + end)
        assert statuses(port.run(client)) == [431]
        assert client.half_closed
        assert port.requests == []


@pytest.mark.parametrize(
    ("data", "seconds"),
    [(b"", IDLE_SECONDS), (b"GET / HT", REQUEST_SECONDS), (GET, ANSWER_SECONDS), (b"\r\n" * 9, IDLE_SECONDS)],
    ids=["idle", "unfinished request", "answer not taken", "empty lines"],
)
def test_slow_clients_are_aborted(data: bytes, seconds: float) -> None:
    """A connection ends after a bounded time, and single bytes do not lengthen it."""
    port = Port()
    client = Client(port)
    client.send(data)
    for _ in range(10):
        port.clock.advance((seconds - 0.1) / 10)
        if data == b"GET / HT":
            client.send(b"x")
    assert not client.aborted
    port.clock.advance(0.2)
    assert client.aborted


def test_an_answer_that_comes_later() -> None:
    """While a page is being made, the connection's further requests wait, and other connections are answered."""
    made: list[Deferred[Answer]] = []

    def answer(request: Request) -> Answer | Deferred[Answer]:
        if request.path == b"/slow":
            made.append(Deferred())
            return made[-1]
        return text_answer(200, "page")

    port = Port(answer)
    client, other = Client(port), Client(port)
    client.send(GET.replace(b"page", b"slow") + GET)
    other.send(GET)
    assert port.run(client) == b""
    assert statuses(port.run(other)) == [200]
    made[0].callback(text_answer(200, "slow"))
    # Many pages may be ready in one turn, so that the answer has a turn of its own.
    assert client.sent == b""
    assert re.findall(rb"\r\n\r\n(\w+)\n", port.run(client)) == [b"slow", b"page"]


def test_a_page_that_fails() -> None:
    """An exception in a page is logged and ends its connection only."""

    def answer(request: Request) -> Answer | Deferred[Answer]:
        if request.path == b"/bad":
            raise ValueError("a bug")
        result: Deferred[Answer] = Deferred()
        result.errback(ValueError("another bug"))
        return result

    port = Port(answer)
    for path in (b"bad", b"worse"):
        client = Client(port)
        client.send(GET.replace(b"page", path))
        with capturedLogs() as events:
            port.turn()
        assert [event["log_failure"].type for event in events] == [ValueError]
        assert client.aborted


def test_a_client_that_has_gone() -> None:
    """A connection that ended while it waited costs no turn, and its page is ignored."""
    late: Deferred[Answer] = Deferred()
    port = Port(lambda request: late)
    gone, waiting = Client(port), Client(port)
    gone.send(GET)
    gone.connection.connectionLost()
    waiting.send(GET)
    port.turn()
    assert len(port.requests) == 1
    waiting.connection.connectionLost()
    late.callback(text_answer(200, "late"))
    port.turn()
    assert waiting.sent == b""
    port.turn()
    assert port.clock.getDelayedCalls() == []


def test_the_stop_waits_for_no_client() -> None:
    """At the stop all connections end in the next turn, whatever they do, and no timer is left."""
    port = Port(lambda request: Answer(200, bytes(10 * PIECE_BYTES)))
    clients = [Client(port) for _ in range(CONNECTIONS_LIMIT)]
    for client in clients[::2]:
        client.send(GET * 1000)
    for client in clients[1::4]:
        client.send(b"GET ")
    for _ in range(5):
        port.turn()
    stopped = Deferred.fromCoroutine(port.factory.close())
    port.clock.advance(0)
    assert stopped.called
    assert port.clock.getDelayedCalls() == []


def test_a_further_connection_ends_the_oldest() -> None:
    """Of more than CONNECTIONS_LIMIT connections the oldest ends."""
    port = Port()
    clients = [Client(port) for _ in range(CONNECTIONS_LIMIT + 3)]
    assert [client.aborted for client in clients] == [True] * 3 + [False] * CONNECTIONS_LIMIT
