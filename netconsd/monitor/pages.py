"""The pages of the HTTP port: ``/metrics``, ``/healthz``, ``/readyz`` and ``/senders``. They change nothing.

There are neither passwords nor TLS: anyone who can reach the port can read all pages.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from time import monotonic
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.http import BAD_REQUEST, NOT_ALLOWED, SERVICE_UNAVAILABLE
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from netconsd.monitor.liveness import health
from netconsd.monitor.snapshot import Snapshot
from netconsd.monitor.top_senders import TOP_LIMIT, TopList
from netconsd.protocol.counters import SENDER_COUNTERS
from netconsd.settings import Settings

# Seconds until an idle connection is closed. Prometheus sends a request every 15 or 60 seconds.
IDLE_SECONDS = 120
# Bytes of a request's body. No page reads a body, and Twisted would write a long one to the disk.
BODY_LIMIT = 4096

INDEX = b"""netconsd

/metrics    counters, for Prometheus
/healthz    200 if the workers are alive; names modules that hang
/readyz     200 if messages are received
/senders    the senders with the most datagrams; ?by=lost ranks by another counter, ?count=50 lists more
"""


class Watched(Protocol):
    """The part of :class:`netconsd.service.NetconsdService` that the pages read."""

    settings: Settings

    @property
    def receiving(self) -> bool:
        """True while messages are received."""

    def snapshot(self) -> Snapshot:
        """All counters."""

    def top_senders(self, by: str) -> Deferred[TopList]:
        """The senders with the highest values of a counter.

        :raises RuntimeError: if the service does not run.
        """


class _Page(Resource):
    """A page without pages below it, for GET and HEAD only."""

    def getChild(self, path: bytes, request: Request) -> IResource:
        return notFound()

    def render(self, request: Request) -> Any:
        if request.method in (b"GET", b"HEAD"):
            return super().render(request)  # type: ignore[no-untyped-call]
        request.setResponseCode(NOT_ALLOWED)
        request.setHeader("allow", "GET, HEAD")
        return b""


class _Text(_Page):
    """A page of plain text."""

    def __init__(self, text: Callable[[Request], bytes]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._text = text

    def render_GET(self, request: Request) -> bytes:
        _head(request, "text/plain; charset=utf-8")
        return self._text(request)


class _Metrics(_Page):
    def __init__(self, watched: Watched) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Imported here, because the package is optional.
        from prometheus_client.exposition import choose_encoder

        from netconsd.monitor.prometheus import registry

        self._choose_encoder = choose_encoder
        self._registry = registry(watched.snapshot, watched.settings)

    def render_GET(self, request: Request) -> bytes:
        encode, content_type = self._choose_encoder(request.getHeader("accept") or "")
        _head(request, content_type)
        return encode(self._registry)


class _Senders(_Page):
    def __init__(self, watched: Watched) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._watched = watched

    def render_GET(self, request: Request) -> bytes | int:
        by = _argument(request, b"by", "datagrams")
        count = _argument(request, b"count", "20")
        if by not in SENDER_COUNTERS or not (count.isascii() and count.isdigit() and len(count) < 4):
            request.setResponseCode(BAD_REQUEST)
            _head(request, "text/plain; charset=utf-8")
            return f"by is one of {', '.join(SENDER_COUNTERS)}; count is a number up to {TOP_LIMIT}\n".encode()
        disconnected: list[Failure] = []
        request.notifyFinish().addErrback(disconnected.append)
        Deferred.fromCoroutine(self._answer(request, by, int(count), disconnected))
        return NOT_DONE_YET

    async def _answer(self, request: Request, by: str, count: int, disconnected: list[Failure]) -> None:
        try:
            body = _json(await self._watched.top_senders(by), count)
            content_type = "application/json"
        except RuntimeError as error:
            request.setResponseCode(SERVICE_UNAVAILABLE)
            body = f"{error}\n".encode()
            content_type = "text/plain; charset=utf-8"
        if not disconnected:
            _head(request, content_type)
            request.write(body)
            request.finish()


def site(watched: Watched) -> Site:
    """All pages.

    :raises ModuleNotFoundError: if prometheus_client is not installed.
    """
    root = _Page()  # type: ignore[no-untyped-call]
    root.putChild(b"", _Text(lambda request: INDEX))
    root.putChild(b"metrics", _Metrics(watched))
    root.putChild(b"healthz", _Text(lambda request: _health(request, watched)))
    root.putChild(b"readyz", _Text(lambda request: _readiness(request, watched)))
    root.putChild(b"senders", _Senders(watched))
    pages: Site = _Quiet(  # type: ignore[no-untyped-call]
        root, requestFactory=_Bounded, parsePOSTFormSubmission=False, timeout=IDLE_SECONDS
    )
    return pages


class _Quiet(Site):
    """A site that does not log requests, because a monitor sends one every 15 seconds."""

    noisy = False

    def log(self, request: Any) -> None:
        pass


class _Bounded(Request):
    """A request that closes its connection if the body is longer than :data:`BODY_LIMIT`."""

    _size = 0

    def handleContentChunk(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > BODY_LIMIT:
            self.loseConnection()  # type: ignore[no-untyped-call]
        else:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]


def _head(request: Request, content_type: str) -> None:
    request.setHeader("content-type", content_type)
    request.setHeader("cache-control", "no-store")
    request.setHeader("x-content-type-options", "nosniff")


def _health(request: Request, watched: Watched) -> bytes:
    healthy, lines = health(watched.snapshot())
    # At the stop the workers end before the service does.
    if not watched.receiving:
        return b"ok\n"
    if not healthy:
        request.setResponseCode(SERVICE_UNAVAILABLE)
    return "".join(f"{line}\n" for line in (["ok", *lines] if healthy else lines)).encode()


def _readiness(request: Request, watched: Watched) -> bytes:
    if not watched.receiving:
        request.setResponseCode(SERVICE_UNAVAILABLE)
        return b"not receiving\n"
    failing = [str(listener.number) for listener in watched.snapshot().listeners if listener.failing]
    if failing:
        request.setResponseCode(SERVICE_UNAVAILABLE)
        return f"listener {', '.join(failing)} cannot be read\n".encode()
    return b"ok\n"


def _argument(request: Request, name: bytes, default: str) -> str:
    values = request.args.get(name) if request.args else None
    return values[-1].decode("ascii", "replace") if values else default


def _json(top: TopList, count: int) -> bytes:
    senders = [asdict(sender) for sender in top.senders[:count]]
    for sender in senders:
        sender["silent_seconds"] = round(max(0.0, monotonic() - sender.pop("last_seen")), 1)
    answer = {"by": top.by, "senders": senders, "workers_that_did_not_answer": top.silent}
    return json.dumps(answer, indent=1).encode() + b"\n"
