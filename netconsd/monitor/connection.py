"""The connections of the HTTP port. They share one small budget, so that no number of requests slows the reception.

Twisted's own server answers all requests of one read in one turn of the reactor: one connection with pipelined requests
stopped the reception for 28 s.

Rules:

1. **Turns.** A piece of work is the reading and answering of one request, or the next :data:`PIECE_BYTES` of a longer
   answer. At most one piece, of all connections, is done in a turn of the reactor, and in :data:`TURN_SECONDS`.
2. **One at a time.** While a connection has a request in work, it is not read. The answer to the next request begins
   after the kernel has taken the whole answer to the last one.
3. **Memory.** A connection has at most :data:`REQUEST_BYTES` and one read (64 KiB) of requests, and :data:`PIECE_BYTES`
   of its answer; the answer itself is shared by all connections that get the same page.
4. **Time.** A connection is aborted :data:`IDLE_SECONDS` after its last answer, :data:`REQUEST_SECONDS` after the begin
   of an unfinished request, :data:`ANSWER_SECONDS` after a request whose answer it has not taken, and
   :data:`LINGER_SECONDS` after an answer that ends the connection.
"""

from __future__ import annotations

from collections import OrderedDict
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Protocol as ConnectionProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netconsd.monitor.pages import Answer, text_answer
from netconsd.monitor.request import BadRequest, Request, read

# 500 pieces per second are a hundred times as many as monitors need. A piece takes 0.1 ms (measured), so that
# connections that ask without a pause take a twentieth of the reactor's time.
TURN_SECONDS = 0.002
# 32 MB/s for all connections together: a page of a megabyte takes 32 ms.
PIECE_BYTES = 64 * 1024
# A request of Prometheus has 400 bytes, one of a browser with cookies 2 KiB.
REQUEST_BYTES = 8 * 1024
# Prometheus sends a request every 15 or 60 seconds.
IDLE_SECONDS = 120.0
REQUEST_SECONDS = 10.0
# Prometheus waits for 10 seconds by default. Of a page of a megabyte this is 17 KB/s.
ANSWER_SECONDS = 60.0
# After the last answer the client's data is read and discarded, because the kernel deletes an answer on the way if the
# connection is closed while data is unread (RFC 9112, section 9.6).
LINGER_SECONDS = 5.0
DISCARD_BYTES = 64 * 1024


class Turns:
    """Gives one connection after another a turn: rule 1. For the reactor's thread only."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: OrderedDict[Connection, None] = OrderedDict()
        self._call: Any = None

    def add(self, connection: Connection) -> None:
        """Call :meth:`Connection.work` in a later turn of the reactor."""
        self._waiting[connection] = None
        if self._call is None:
            self._call = self._reactor.callLater(0, self._next)

    def remove(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)

    def close(self) -> None:
        """Do nothing more."""
        self._waiting.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _next(self) -> None:
        self._call = None
        if self._waiting:
            connection, _ = self._waiting.popitem(last=False)
            # Also if no other connection waits, so that the next one to ask does so in its time.
            self._call = self._reactor.callLater(TURN_SECONDS, self._next)
            connection.work()


class Connections(Protocol):
    """The part of the port that a connection uses."""

    turns: Turns
    reactor: Any

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...

    def answer(self, request: Request) -> Answer | Deferred[Answer]: ...


@implementer(IPullProducer)
class Connection(ConnectionProtocol):
    """One client."""

    transport: Any

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        # Bytes read and not answered yet.
        self._received = b""
        self._timer: Any = None
        # Whether the time of an unfinished request runs.
        self._request_began = False
        # Whether a request is in work, from its end to the end of its answer.
        self._answering = False
        # The rest of the answer; None until the page is there.
        self._out: memoryview | None = None
        self._head = b""
        self._keep_open = True
        self._without_body = False
        # Whether the transport has this producer, and whether it is being registered.
        self._is_producer = self._registering = False
        # Bytes discarded after the last answer; -1 before it.
        self._discarded = -1
        self._lost = False

    def connectionMade(self) -> None:
        self._connections.opened(self)
        self._limit(IDLE_SECONDS)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._lost = True
        self._out = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._connections.turns.remove(self)
        self._connections.closed(self)

    def dataReceived(self, data: bytes) -> None:
        if self._discarded >= 0:
            self._discarded += len(data)
            if self._discarded > DISCARD_BYTES:
                self.abort()
            return
        self._received += data
        if not self._answering:
            self._look()

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abortConnection()

    def work(self) -> None:
        """Do one piece of work."""
        try:
            if self._out is None:
                self._read_request()
            else:
                self._write_piece()
        except Exception:
            Logger("netconsd").failure("An answer of the HTTP port failed")
            self.abort()

    def resumeProducing(self) -> None:
        """Called by the transport when the kernel has taken everything written."""
        if self._registering:
            return
        if self._out:
            self._connections.turns.add(self)
        else:
            self._finish_answer()

    def stopProducing(self) -> None:
        """Called by the transport when the connection is lost."""

    def _limit(self, seconds: float) -> None:
        """Abort the connection after this time, instead of the time set before."""
        if self._timer is None:
            self._timer = self._connections.reactor.callLater(seconds, self._expire)
        else:
            self._timer.reset(seconds)

    def _expire(self) -> None:
        self._timer = None
        self.abort()

    def _look(self) -> None:
        """Find out whether a whole request was read, and if so wait for a turn."""
        # Empty lines before a request are ignored (RFC 9112, section 2.2).
        self._received = self._received.lstrip(b"\r\n")
        if b"\r\n\r\n" in self._received or len(self._received) > REQUEST_BYTES:
            self._answering = True
            self._request_began = False
            self.transport.pauseProducing()
            self._limit(ANSWER_SECONDS)
            self._connections.turns.add(self)
        elif self._received and not self._request_began:
            self._request_began = True
            self._limit(REQUEST_SECONDS)

    def _read_request(self) -> None:
        end = self._received.find(b"\r\n\r\n", 0, REQUEST_BYTES)
        self._without_body = False
        answer: Answer | Deferred[Answer]
        try:
            if end < 0:
                raise BadRequest(431, f"the request has more than {REQUEST_BYTES} bytes")
            request = read(self._received[:end])
        except BadRequest as error:
            self._received = b""
            self._keep_open = False
            self._begin_answer(text_answer(error.status, str(error)), is_old=False)
            return
        self._received = self._received[end + 4 :]
        self._keep_open = request.keep_open
        self._without_body = request.method == b"HEAD"
        answer = self._connections.answer(request)
        if isinstance(answer, Deferred):
            answer.addCallbacks(self._on_answer, self._on_failure, callbackArgs=(request.is_old,))
        else:
            self._begin_answer(answer, request.is_old)

    def _on_answer(self, answer: Answer, is_old: bool) -> None:
        """Send an answer that was not ready at once: in a turn of its own, because many may be ready together."""
        if not self._lost:
            self._prepare(answer, is_old)
            self._connections.turns.add(self)

    def _on_failure(self, failure: Failure) -> None:
        Logger("netconsd").failure("A page of the HTTP port failed", failure)
        if not self._lost:
            self.abort()

    def _begin_answer(self, answer: Answer, is_old: bool) -> None:
        self._prepare(answer, is_old)
        self._write_piece()

    def _prepare(self, answer: Answer, is_old: bool) -> None:
        fields = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
        ]
        if answer.allow:
            fields.append(f"Allow: {answer.allow}")
        if not self._keep_open:
            fields.append("Connection: close")
        elif is_old:
            fields.append("Connection: keep-alive")
        self._head = "\r\n".join([*fields, "", ""]).encode("latin-1")
        self._out = memoryview(b"" if self._without_body else answer.body)

    def _write_piece(self) -> None:
        assert self._out is not None
        piece = self._head + bytes(self._out[:PIECE_BYTES])
        self._out = self._out[PIECE_BYTES:]
        self._head = b""
        self.transport.write(piece)
        if not self._is_producer:
            self._is_producer = self._registering = True
            self.transport.registerProducer(self, False)
            self._registering = False

    def _finish_answer(self) -> None:
        self.transport.unregisterProducer()
        self._is_producer = self._answering = False
        self._out = None
        if not self._keep_open:
            self._received = b""
            self._discarded = 0
            self._limit(LINGER_SECONDS)
            self.transport.loseWriteConnection()
            self.transport.resumeProducing()
            return
        self._limit(IDLE_SECONDS)
        self._look()
        if not self._answering:
            self.transport.resumeProducing()
