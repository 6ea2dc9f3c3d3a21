"""The HTTP server: twisted.web's channel, with the bounds that it lacks. For the reactor's thread.

Rules:

1. **Turns.** A request begins in a turn of the reactor of its own, at most one in
   :data:`~netconsd.console.limits.TURN_SECONDS`, of all connections: twisted.web would answer all pipelined requests of
   a read in one turn (netconsd/monitor/connection.py has the measurement).
2. **Size.** A head has at most 16 KiB (twisted.web's bound), a body :data:`~netconsd.console.limits.BODY_BYTES`; larger
   ones are answered with 413, and the connection ends.
3. **Connections.** At most :data:`~netconsd.console.limits.CONNECTIONS`; for a new one the oldest ends that has no
   complete request in work, and if there is none, the new one. A request has
   :data:`~netconsd.console.limits.REQUEST_SECONDS` from its first byte to its last: twisted.web's time begins again
   with each byte. So long is a connection idle as well.
4. Every answer has the headers of :data:`HEADERS`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from netconsd.console import limits
from netconsd.console.failure import Refused
from netconsd.console.files import File

log = Logger("netconsd.console")

#: No script, style, image or connection but from here, no frame around a page, no address in a Referer.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class ConsoleRequest(Request):
    """A request, which the site answers in a turn of its own."""

    channel: ConsoleChannel
    _received = 0
    _too_long = False

    @property
    def lost(self) -> bool:
        """True if the client is gone."""
        return self.channel is None

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        # A body without a length would go to a file of the disk.
        super().gotLength(min(length or 0, limits.BODY_BYTES))
        if length is not None and length > limits.BODY_BYTES:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._received += len(data)
        if self._received > limits.BODY_BYTES:
            self._refuse_body()
        else:
            super().handleContentChunk(data)

    def _refuse_body(self) -> None:
        if not self._too_long:
            self._too_long = True
            error = Refused(413, f"the body has more than {limits.BODY_BYTES} bytes")
            self.channel.refuse(b"413 Content Too Large", error.body())

    def process(self) -> None:
        if not self._too_long:
            self.channel.factory.turns.add(self)

    def connectionLost(self, reason: Failure) -> None:
        self.channel.factory.turns.remove(self)
        super().connectionLost(reason)

    def work(self) -> None:
        """Answer: called in its turn."""
        if self.lost:
            return
        for name, value in HEADERS.items():
            self.setHeader(name, value)
        try:
            self.channel.factory.answer(self)
        except Refused as error:
            self.refuse(error)
        except Exception:
            log.failure("A request failed, which is a defect of netconsd; please report it")
            if self.startedWriting:
                self.abort()
            else:
                self.refuse(Refused(500, "netconsd has a defect here; its log says more"))

    # Answers.

    def refuse(self, error: Refused) -> None:
        """Answer with an error."""
        if error.retry is not None:
            self.setHeader("Retry-After", str(max(1, round(error.retry))))
        self.object_bytes(error.body(), error.status)

    def abort(self) -> None:
        """End the connection now: the client sees that the answer is not whole."""
        if not self.lost:
            self.channel.abort()

    def object(self, fields: dict[str, Any], status: int = 200) -> None:
        """Answer with an object."""
        self.object_bytes(json.dumps(fields).encode(), status)

    def object_bytes(self, body: bytes, status: int = 200) -> None:
        """Answer with an object as bytes."""
        self.setResponseCode(status)
        self.setHeader("Content-Type", "application/json")
        self.setHeader("Cache-Control", "no-store")
        self.whole(body)

    def whole(self, body: bytes) -> None:
        """Answer with a body; without it to HEAD."""
        self.setHeader("Content-Length", str(len(body)))
        if self.method != b"HEAD":
            self.write(body)
        self.finish()

    def file(self, file: File) -> None:
        """Answer with a file of the pages."""
        self.setHeader("Content-Type", file.kind)
        self.setHeader("Vary", "Accept-Encoding")
        # Asked again each time, and answered with 304: a new version is there at once, with all its files.
        self.setHeader("Cache-Control", "no-cache")
        if self.setETag(file.etag.encode()) is not None:
            self.finish()
            return
        if file.gzip is not None and b"gzip" in (self.getHeader(b"accept-encoding") or b"").lower():
            self.setHeader("Content-Encoding", "gzip")
            self.whole(file.gzip)
        else:
            self.whole(file.data)


class ConsoleChannel(HTTPChannel):
    """A connection."""

    factory: Site
    transport: Any
    # Those of the class are typed as methods.
    callLater: Any  # noqa: N815
    timeOut: Any  # noqa: N815
    #: True from the first byte of a request to its last.
    _is_arriving = False
    #: True from then to the end of its answer.
    in_work = False

    def resetTimeout(self) -> None:  # noqa: N802 - Twisted's name
        if not self._is_arriving:
            self._is_arriving = True
            super().resetTimeout()

    def dataReceived(self, data: bytes) -> None:
        # Twisted 22.4, of Debian 12, would begin the time with the first complete line.
        self.resetTimeout()
        super().dataReceived(data)

    def allContentReceived(self) -> None:  # noqa: N802 - Twisted's name
        self._is_arriving, self.in_work = False, True
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:  # noqa: N802 - Twisted's name
        self.in_work = False
        super().requestDone(request)

    def timeoutConnection(self) -> None:  # noqa: N802 - Twisted's name
        # Twisted's logs a line for each: idle browsers, and as many as a stranger wants.
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:  # noqa: N802 - Twisted's name
        self._abortingCall = None
        self.abort()

    def connectionMade(self) -> None:
        super().connectionMade()
        self.factory.opened(self)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.factory.closed(self)
        super().connectionLost(reason)

    def abort(self) -> None:
        """End the connection now."""
        self.transport.abortConnection()

    def refuse(self, status: bytes, body: bytes) -> None:
        """Answer before the request is complete, and end the connection."""
        head = b"".join(f"{name}: {value}\r\n".encode() for name, value in HEADERS.items())
        self.transport.write(
            b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b"
            % (status, len(body), head, body)
        )
        self.loseConnection()


class Turns:
    """Begins one request after another: rule 1."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: deque[ConsoleRequest] = deque()
        self._call: Any = None

    def add(self, request: ConsoleRequest) -> None:
        """Answer a request in a later turn."""
        self._waiting.append(request)
        if self._call is None:
            self._call = self._reactor.callLater(0, self._next)

    def remove(self, request: ConsoleRequest) -> None:
        """Answer a request no more, whose client is gone."""
        if request in self._waiting:
            self._waiting.remove(request)

    def _next(self) -> None:
        self._call = None
        if self._waiting:
            # Also if no other waits, so that the next one is answered in its time.
            self._call = self._reactor.callLater(limits.TURN_SECONDS, self._next)
            self._waiting.popleft().work()

    def close(self) -> None:
        """Answer nothing more."""
        self._waiting.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None


class Site(Factory):
    """The connections of the console."""

    noisy = False
    protocol = ConsoleChannel  # type: ignore[assignment]

    def __init__(self, reactor: Any, answer: Callable[[ConsoleRequest], object]) -> None:
        """
        :param answer: answers a request, at once or later, or raises Refused.
        """
        self.turns = Turns(reactor)
        self.answer = answer
        self._reactor = reactor
        self._open: dict[ConsoleChannel, None] = {}

    def logPrefix(self) -> str:
        return "netconsd console"

    def buildProtocol(self, addr: Any) -> Any:
        channel = ConsoleChannel()
        channel.factory = self
        channel.requestFactory = ConsoleRequest
        channel.timeOut = limits.REQUEST_SECONDS
        channel.callLater = self._reactor.callLater
        return channel

    def opened(self, channel: ConsoleChannel) -> None:
        """Called by a new connection."""
        if len(self._open) >= limits.CONNECTIONS:
            oldest = next((one for one in self._open if not one.in_work), None)
            if oldest is None:
                channel.abort()
                return
            del self._open[oldest]
            oldest.abort()
        self._open[channel] = None

    def closed(self, channel: ConsoleChannel) -> None:
        """Called by a connection at its end."""
        self._open.pop(channel, None)

    def log(self, request: Request) -> None:
        """Log no requests: the console asks several times a minute."""

    def close(self) -> None:
        """End all connections."""
        self.turns.close()
        for channel in list(self._open):
            channel.abort()
