"""The pages of the HTTP port: ``/metrics``, ``/healthz``, ``/readyz``, ``/senders`` and ``/crashes``.

They change nothing.

All pages are made of one snapshot, which is taken at most once in :data:`KEEP_SECONDS`. Long pages are rendered in a
thread, once for all who ask for them in that time.

There are neither passwords nor TLS: anyone who can reach the port can read all pages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredLock

from netconsd.monitor.crashes import LastReport
from netconsd.monitor.liveness import health
from netconsd.monitor.request import Request
from netconsd.monitor.snapshot import Snapshot
from netconsd.monitor.top_senders import TOP_LIMIT, TopList
from netconsd.protocol.counters import SENDER_COUNTERS
from netconsd.receive.binding import CLOSED
from netconsd.settings import Settings

# Seconds. A snapshot of 32 workers with 20 modules takes the reactor some milliseconds.
KEEP_SECONDS = 1.0
# Pages being made. Clients that ask and disconnect could otherwise make the list of those who wait grow.
PENDING_LIMIT = 64

# The two formats of the metrics, as a client asks for them.
PLAIN = ""
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; charset=utf-8"
INDEX = """netconsd

/metrics    counters, for Prometheus
/healthz    200 if the workers are alive; names modules that hang
/readyz     200 if messages are received
/senders    the senders with the most datagrams; ?by=lost ranks by another counter, ?count=50 lists more
/crashes    the last crash reports
"""

_Result = TypeVar("_Result")


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    body: bytes
    content_type: str = TEXT
    #: The methods that the page has, if the request's is none of them.
    allow: str = ""


def text_answer(status: int, text: str, allow: str = "") -> Answer:
    """An answer with one line of text."""
    return Answer(status, f"{text}\n".encode(), TEXT, allow)


class Watched(Protocol):
    """The part of :class:`netconsd.service.NetconsdService` that the pages read."""

    settings: Settings

    @property
    def receiving(self) -> bool:
        """True while messages are received."""

    def snapshot(self) -> Snapshot:
        """All counters."""

    def last_reports(self) -> list[LastReport]:
        """The last crash reports, the newest first."""

    def top_senders(self, by: str) -> Deferred[TopList]:
        """The senders with the highest values of a counter.

        :raises RuntimeError: if the service does not run.
        """


class Pages:
    """All pages. For the reactor's thread only."""

    def __init__(
        self,
        watched: Watched,
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """
        :param in_thread: calls a function in another thread; fires with its result.
        :raises ModuleNotFoundError: if prometheus_client is not installed.
        """
        # Imported here, because the package is optional.
        from prometheus_client.exposition import choose_encoder

        from netconsd.monitor.prometheus import registry

        self._watched = watched
        self._in_thread = in_thread
        self._clock = clock
        self._formats = {accept: choose_encoder(accept) for accept in (PLAIN, OPENMETRICS)}
        # The snapshot, and the time when it was taken; made new after KEEP_SECONDS.
        self._snapshot = Snapshot()
        self._taken_at = float("-inf")
        self._registry = registry(lambda: self._snapshot, watched.settings)
        # By format, the last page and its snapshot; by counter, the lines of the last list.
        self._metrics: dict[str, tuple[Snapshot, Answer]] = {}
        self._lists: dict[str, tuple[TopList, list[bytes]]] = {}
        self._metrics_lock = DeferredLock()
        self._senders_lock = DeferredLock()
        self._pending = 0
        self._pages: dict[bytes, Callable[[Request], Answer | Deferred[Answer]]] = {
            b"/": lambda request: Answer(200, INDEX.encode()),
            b"/metrics": self._get_metrics,
            b"/healthz": lambda request: _health(watched, self._kept_snapshot()),
            b"/readyz": lambda request: _verdict(_unreadiness(watched, self._kept_snapshot())),
            b"/senders": self._get_senders,
            b"/crashes": lambda request: _last_reports(watched.last_reports()),
        }

    def get(self, request: Request) -> Answer | Deferred[Answer]:
        """Answer a request; a page that has to be made comes later. It does not fail."""
        page = self._pages.get(request.path)
        if page is None:
            return text_answer(404, "there is no such page; / lists the pages")
        if request.method not in (b"GET", b"HEAD"):
            return text_answer(405, "the pages are for GET and HEAD", allow="GET, HEAD")
        return page(request)

    def _kept_snapshot(self) -> Snapshot:
        now = self._clock()
        if now - self._taken_at >= KEEP_SECONDS:
            self._snapshot = self._watched.snapshot()
            self._taken_at = now
        return self._snapshot

    def _later(
        self, lock: DeferredLock, make: Callable[[], Coroutine[Deferred[Any], Any, Answer]]
    ) -> Answer | Deferred[Answer]:
        """The answer of a coroutine, once no other one with this lock runs."""
        if self._pending >= PENDING_LIMIT:
            return text_answer(503, "too many requests; ask again later")
        self._pending += 1
        return lock.run(lambda: Deferred.fromCoroutine(make())).addBoth(self._end_pending)

    def _end_pending(self, result: _Result) -> _Result:
        self._pending -= 1
        return result

    def _get_metrics(self, request: Request) -> Answer | Deferred[Answer]:
        return self._later(self._metrics_lock, partial(self._make_metrics, _format(request.accept)))

    async def _make_metrics(self, name: str) -> Answer:
        snapshot = self._kept_snapshot()
        kept = self._metrics.get(name)
        if kept is None or kept[0] is not snapshot:
            encode, content_type = self._formats[name]
            body = await self._in_thread(partial(encode, self._registry))
            kept = self._metrics[name] = snapshot, Answer(200, body, content_type)
        return kept[1]

    def _get_senders(self, request: Request) -> Answer | Deferred[Answer]:
        by = request.query.get("by", "datagrams")
        count = request.query.get("count", "20")
        if by not in SENDER_COUNTERS or not (count.isascii() and count.isdigit() and len(count) < 4):
            return text_answer(400, f"by is one of {', '.join(SENDER_COUNTERS)}; count is a number up to {TOP_LIMIT}")
        return self._later(self._senders_lock, partial(self._make_senders, by, int(count)))

    async def _make_senders(self, by: str, count: int) -> Answer:
        try:
            top = await self._watched.top_senders(by)
        except RuntimeError as error:
            return text_answer(503, str(error))
        kept = self._lists.get(by)
        if kept is None or kept[0] is not top:
            kept = self._lists[by] = top, await self._in_thread(partial(_lines, top))
        return Answer(200, _json(top, kept[1][:count]), "application/json")


def _format(accept: str) -> str:
    """The format of the metrics for a client that accepts these: one of two, so that no client makes further pages."""
    for choice in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in choice.split(";"))
        versions = [part.partition("=")[2] for part in parameters if part.startswith("version=")]
        if kind == "application/openmetrics-text" and versions in ([], ["1.0.0"]):
            return OPENMETRICS
    return PLAIN


def _verdict(problem: str) -> Answer:
    return text_answer(503, problem) if problem else text_answer(200, "ok")


def _health(watched: Watched, snapshot: Snapshot) -> Answer:
    """200, or 503 if a restart would help; a line for each fault, the modules that hang included."""
    # At the stop the workers end before the service does.
    if not watched.receiving:
        return text_answer(200, "ok")
    healthy, lines = health(snapshot)
    closed = [f"listener {part.number}: {CLOSED}" for part in snapshot.listeners if part.problem == CLOSED]
    if closed or not healthy:
        return text_answer(503, "\n".join([*closed, *lines]))
    return text_answer(200, "\n".join(["ok", *lines]))


def _unreadiness(watched: Watched, snapshot: Snapshot) -> str:
    """The reason why messages are not received; empty if there is none."""
    if not watched.receiving:
        return "not receiving"
    return "\n".join(
        f"listener {part.number}: {part.problem or 'the last read failed; the log has the error'}"
        for part in snapshot.listeners
        if part.failing
    )


def _last_reports(reports: Sequence[LastReport]) -> Answer:
    """A line for each report, in a list."""
    lines = ",\n".join(f" {json.dumps(asdict(report))}" for report in reports)
    return Answer(200, f"[\n{lines}\n]\n".encode() if lines else b"[]\n", "application/json")


def _lines(top: TopList) -> list[bytes]:
    """A line for each sender."""
    now = monotonic()
    lines = []
    for sender in map(asdict, top.senders):
        sender["silent_seconds"] = round(max(0.0, now - sender.pop("last_seen")), 1)
        lines.append(json.dumps(sender).encode())
    return lines


def _json(top: TopList, lines: list[bytes]) -> bytes:
    senders = b",\n".join(b"  " + line for line in lines)
    silent = json.dumps(top.silent)
    return b'{\n "by": "%b",\n "senders": [\n%b\n ],\n "workers_that_did_not_answer": %b\n}\n' % (
        top.by.encode(),
        senders,
        silent.encode(),
    )
