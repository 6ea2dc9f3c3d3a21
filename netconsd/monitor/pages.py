"""The HTTP port for monitoring: ``/metrics``, ``/healthz``, ``/readyz`` and ``/senders``. Reads only.

It has neither passwords nor TLS: who can reach the port can read all of it.
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

from netconsd.monitor.snapshot import Snapshot
from netconsd.monitor.top_senders import TOP_LIMIT, TopList
from netconsd.protocol.counters import SENDER_COUNTERS
from netconsd.settings import Settings

__all__ = ["Watched", "site"]

# Seconds. Prometheus asks every 15 or 60 of them.
IDLE_SECONDS = 120
# Of a request's body. Nothing here takes one, and Twisted would write a long one to the disk.
BODY_LIMIT = 4096

INDEX = b"""netconsd

/metrics    counters, for Prometheus
/healthz    200 if the workers are alive
/readyz     200 if messages are received
/senders    the senders with the most datagrams; ?count=20&by=lost, or by another counter of theirs
"""


class Watched(Protocol):
    """What of :class:`netconsd.service.NetconsdService` is shown."""

    settings: Settings

    @property
    def receiving(self) -> bool:
        """Whether messages are received."""

    def snapshot(self) -> Snapshot:
        """All counters."""

    def top_senders(self, by: str) -> Deferred[TopList]:
        """The senders with the most of something."""


class _Page(Resource):
    """A page; what is not put below it is not there."""

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
        # Here, because the package need not be installed where nobody asks for metrics.
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
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        Deferred.fromCoroutine(self._answer(request, by, int(count), gone))
        return NOT_DONE_YET

    async def _answer(self, request: Request, by: str, count: int, gone: list[Failure]) -> None:
        try:
            body = _json(await self._watched.top_senders(by), count)
            content_type = "application/json"
        except RuntimeError as error:
            request.setResponseCode(SERVICE_UNAVAILABLE)
            body = f"{error}\n".encode()
            content_type = "text/plain; charset=utf-8"
        if not gone:
            _head(request, content_type)
            request.write(body)
            request.finish()


def site(watched: Watched) -> Site:
    """All pages.

    :raises ModuleNotFoundError: if prometheus_client is not there.
    """
    root = _Page()  # type: ignore[no-untyped-call]
    root.putChild(b"", _Text(lambda request: INDEX))
    root.putChild(b"metrics", _Metrics(watched))
    root.putChild(b"healthz", _Text(lambda request: _health(request, watched)))
    root.putChild(b"readyz", _Text(lambda request: _readiness(request, watched)))
    root.putChild(b"senders", _Senders(watched))
    made: Site = _Quiet(  # type: ignore[no-untyped-call]
        root, requestFactory=_Bounded, parsePOSTFormSubmission=False, timeout=IDLE_SECONDS
    )
    return made


class _Quiet(Site):
    """A site without a log of its requests: that would be a line each 15 seconds."""

    noisy = False

    def log(self, request: Any) -> None:
        pass


class _Bounded(Request):
    """A request whose body is small."""

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
    dead = [str(worker.number) for worker in watched.snapshot().workers if not worker.alive]
    if dead and watched.receiving:
        request.setResponseCode(SERVICE_UNAVAILABLE)
        return f"worker {', '.join(dead)} has ended\n".encode()
    return b"ok\n"


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
    found = {"by": top.by, "senders": senders, "workers_that_did_not_answer": top.silent}
    return json.dumps(found, indent=1).encode() + b"\n"
