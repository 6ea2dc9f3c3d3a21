"""A browser's side of the console's HTTP, over a transport in memory; queries and live tails are recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from netconsd.console import limits
from netconsd.console.access import Access
from netconsd.console.api import Api
from netconsd.console.failure import Refused
from netconsd.console.files import File, file_of
from netconsd.console.naming import Naming
from netconsd.console.pool import Client
from netconsd.console.site import Site
from netconsd.names import Names


class FakeQuery:
    """A query that the test answers."""

    def __init__(self, request: dict[str, Any], client: Client, seconds: float) -> None:
        self.request = request
        self.client = client
        self.seconds = seconds
        self.calls: list[str] = []

    def cancel(self) -> None:
        self.calls.append("cancel")

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def object(self, fields: dict[str, Any]) -> None:
        """Answer with an object."""
        self.client.head(200, "application/json", {})
        self.client.data(json.dumps(fields).encode())
        self.client.end()


class FakePool:
    """Keeps queries."""

    def __init__(self) -> None:
        self.queries: list[FakeQuery] = []
        self.naming = Naming(Names(), lambda: 0.0, lambda: 0.0)
        self.downloads = 0
        self.warmed = 0
        self.full = False

    def warm(self) -> None:
        self.warmed += 1

    def ask(self, request: dict[str, Any], client: Client, seconds: float = limits.QUERY_SECONDS) -> FakeQuery:
        if self.full:
            raise Refused(503, "full", retry=5)
        self.queries.append(FakeQuery(request, client, seconds))
        return self.queries[-1]


class FakeLive:
    """Keeps the filters of live tails, whose channels never open."""

    def __init__(self) -> None:
        self.opened: list[Mapping[str, Sequence[str]]] = []

    def open(self, parameters: Mapping[str, Sequence[str]], opened: Callable[..., None]) -> None:
        self.opened.append(parameters)


class Transport(StringTransport):
    """A connection that can be aborted."""

    aborted = False

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        self.aborted = True
        self.loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        pass


class Response:
    """The first response of a connection."""

    def __init__(self, data: bytes) -> None:
        head, _, self.rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1]) if head else 0
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        self.body = self.rest
        if "content-length" in self.headers:
            self.body = self.rest[: int(self.headers["content-length"])]
        elif self.headers.get("transfer-encoding") == "chunked":
            self.body, rest = b"", self.rest
            while rest:
                size, _, rest = rest.partition(b"\r\n")
                if not (length := int(size or b"0", 16)):
                    break
                self.body += rest[:length]
                rest = rest[length + 2 :]

    @property
    def object(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Browser:
    """One console, and the connections to it."""

    def __init__(self, access: Access, *, read_only: bool = False, secure: bool = False) -> None:
        self.clock = Clock()
        self.pool, self.live = FakePool(), FakeLive()
        self.tried: list[tuple[Callable[[], bool], Deferred[bool]]] = []
        self.state: dict[str, Any] | None = {"now": 1.0}
        pool: Any = self.pool
        live: Any = self.live
        self.api = Api(
            self.clock,
            access,
            pool,
            live,
            PAGES,
            read_only=read_only,
            secure=secure,
            receiver=lambda: self.state,
            in_thread=self._in_thread,
            clock=lambda: 5.0,
        )
        self.site = Site(self.clock, self.api.answer)

    def _in_thread(self, function: Callable[[], bool]) -> Deferred[bool]:
        done: Deferred[bool] = Deferred()
        self.tried.append((function, done))
        return done

    def connect(self) -> tuple[Any, Transport]:
        """Return a new connection."""
        channel, transport = self.site.buildProtocol(None), Transport(lenient=True)
        channel.makeConnection(transport)
        return channel, transport

    def turns(self, count: int = 50) -> None:
        """Let some turns of the reactor pass, which is less than a second."""
        for _ in range(count):
            self.clock.advance(limits.TURN_SECONDS)

    def send(self, data: bytes) -> Response:
        """Send bytes on a new connection, and return the response."""
        channel, transport = self.connect()
        channel.dataReceived(data)
        self.turns()
        return Response(transport.value())

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        host: str = "localhost",
    ) -> Response:
        """Send a request."""
        return self.send(request(method, path, body, headers, host))


#: The pages of the test.
PAGES: dict[str, File] = {
    "index.html": file_of(b"<!doctype html><title>netconsd</title>" + b" " * 500, "text/html; charset=utf-8"),
    "js/app.js": file_of(b"export {}", "text/javascript; charset=utf-8"),
}


def request(
    method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, host: str = "localhost"
) -> bytes:
    """Return the bytes of a request."""
    fields = {"Host": host, **(headers or {})}
    data = b""
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **fields}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data


def lose(channel: Any) -> None:
    """End a connection from the client's side."""
    channel.connectionLost(Failure(ConnectionDone()))
