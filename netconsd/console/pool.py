"""The processes that answer queries: at most so many, started when needed, ended when idle. For the reactor's thread.

Rules:

1. A process has one query at a time; further queries wait, at most :data:`~netconsd.console.limits.WAITING`. Searches
   have :data:`~netconsd.console.limits.SCANS` of the processes, so that other queries do not wait for slow ones.
2. Frames are read only as fast as the client takes them.
3. A query ends when its client is gone: the process is asked, and killed after
   :data:`~netconsd.console.limits.CANCEL_SECONDS`. It is killed after its time as well, and if its client takes nothing
   for :data:`~netconsd.console.limits.STALLED_SECONDS`. A new process takes its place.
4. One process starts at a time, which takes half a second: queries of a page that come together are answered by the
   first one before a second one is there.
5. Before a query, its process is sent the names of machines that have changed.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from netconsd.console import limits, process
from netconsd.console.failure import Refused
from netconsd.console.frames import DATA, END, HEAD, NOTE, SHOWN
from netconsd.console.naming import Naming, Sent
from netconsd.console.process import Process

MODULE = "netconsd.console.worker"
#: Queries that can read many messages.
_SCANS: Final = frozenset({"messages", "counts", "download", "replay", "patterns"})


class Client(Protocol):
    """The receiver of an answer."""

    def head(self, status: int, kind: str, headers: dict[str, str]) -> None: ...
    def data(self, data: bytes) -> None: ...
    def note(self, fields: dict[str, Any]) -> None: ...
    def end(self) -> None: ...
    def failed(self, error: Refused) -> None: ...


class Query:
    """A query that waits, runs or has ended."""

    def __init__(self, pool: Pool, request: dict[str, Any], client: Client, seconds: float) -> None:
        self.request = request
        self.client: Client | None = client
        self.seconds = seconds
        self.worker: Worker | None = None
        #: True while the client takes no data, also before the query has a process.
        self.paused = False
        self._pool = pool

    @property
    def is_scan(self) -> bool:
        """True if it can read many messages."""
        return self.request["query"] in _SCANS

    def cancel(self) -> None:
        """End it: the client gets nothing any more."""
        self.client = None
        self._pool.cancelled(self)

    def pause(self) -> None:
        """Send no more data for now."""
        self.paused = True
        if self.worker is not None:
            self.worker.pause()

    def resume(self) -> None:
        """Send data again."""
        self.paused = False
        if self.worker is not None:
            self.worker.resume()


class Worker:
    """A process of the pool."""

    def __init__(self, pool: Pool, reactor: Any) -> None:
        self._pool = pool
        self._reactor = reactor
        self.query: Query | None = None
        #: False until it has sent anything: it starts.
        self.is_ready = False
        self._timers: dict[str, Any] = {}
        self._names = Sent(pool.naming)
        self.process: Process = process.start(reactor, MODULE, pool.arguments, self._frame, self._ended)
        self._at_rest()

    def _after(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        self._cancel(name)
        self._timers[name] = self._reactor.callLater(seconds, call)

    def _cancel(self, *names: str) -> None:
        for name in names:
            timer = self._timers.pop(name, None)
            if timer is not None and timer.active():
                timer.cancel()

    def _at_rest(self) -> None:
        self._cancel("limit", "stalled", "cancel")
        self._after("idle", limits.IDLE_SECONDS, self.process.kill)

    def run(self, query: Query) -> None:
        """Begin a query."""
        self._cancel("idle")
        self.query = query
        query.worker = self
        if changes := self._names.changes():
            self.process.request({"names": changes})
        self.process.request(query.request)
        self._after("limit", query.seconds, self._too_long)
        if query.paused:
            self.pause()

    def _too_long(self) -> None:
        assert self.query is not None
        seconds = self.query.seconds
        self._fail(f"the query took more than {seconds:g} s: choose a shorter time, fewer machines, or rarer words")

    def _fail(self, text: str) -> None:
        query = self.query
        client = None if query is None else query.client
        if query is not None:
            query.client = None
        self.process.kill()
        if client is not None:
            client.failed(Refused(503, text))

    def pause(self) -> None:
        self.process.pause()
        self._after("stalled", limits.STALLED_SECONDS, lambda: self._fail("the client takes nothing"))

    def resume(self) -> None:
        self._cancel("stalled")
        self.process.resume()

    def cancel(self) -> None:
        """End the query, whose client is gone."""
        self._cancel("stalled")
        self.process.request({"cancel": True})
        # What was made is read, and dropped.
        self.process.resume()
        self._after("cancel", limits.CANCEL_SECONDS, self.process.kill)

    def _frame(self, kind: bytes, data: bytes) -> None:
        if not self.is_ready:
            self.is_ready = True
            self._pool.ready(self)
        query = self.query
        client = None if query is None else query.client
        if kind == END:
            self.query = None
            self._at_rest()
            # The client can have paused at the data that was read together with this frame. It does not resume a query
            # that has ended, and the next query of a process that is not read would have no answer.
            self.process.resume()
            if query is not None:
                query.worker = None
            if client is not None:
                client.end()
            self._pool.idle(self)
        elif kind == SHOWN:
            self._pool.naming.shown(json.loads(data)["addresses"])
        elif client is None:
            return
        elif kind == HEAD:
            fields = json.loads(data)
            client.head(fields["status"], fields["type"], fields["headers"])
        elif kind == DATA:
            client.data(data)
        elif kind == NOTE:
            client.note(json.loads(data))

    def _ended(self) -> None:
        self._cancel(*list(self._timers))
        query, self.query = self.query, None
        client = None
        if query is not None:
            query.worker = None
            client = query.client
        self._pool.ended(self)
        if client is not None:
            client.failed(Refused(503, "the process of the query ended: the log of netconsd says why"))


class Pool:
    """The processes."""

    def __init__(self, reactor: Any, arguments: list[str], naming: Naming) -> None:
        """
        :param arguments: of the processes: the directory, and the options.
        :param naming: the names of machines.
        """
        self.arguments = arguments
        self.naming = naming
        self._reactor = reactor
        self._workers: list[Worker] = []
        self._waiting: deque[Query] = deque()
        self._closed = False
        self.downloads = 0

    def ask(self, request: dict[str, Any], client: Client, seconds: float = limits.QUERY_SECONDS) -> Query:
        """Begin a query, or let it wait.

        :raises Refused: if too many wait.
        """
        if self._closed:
            raise Refused(503, "the console stops")
        if len(self._waiting) >= limits.WAITING:
            raise Refused(503, "too many queries wait: try again in some seconds", retry=5)
        query = Query(self, request, client, seconds)
        self._waiting.append(query)
        self._next()
        return query

    def warm(self) -> None:
        """Start a process before it is needed: it takes half a second."""
        if not self._workers and not self._closed:
            self._start()

    def _start(self) -> Worker | None:
        try:
            worker = Worker(self, self._reactor)
        except OSError as error:
            # Not within ask(), whose caller does not have the query yet.
            self._reactor.callLater(0, self._fail_waiting, f"a process for the query cannot start: {error.strerror}")
            return None
        self._workers.append(worker)
        return worker

    def _fail_waiting(self, text: str) -> None:
        """Fail the queries that no process will take."""
        if self._workers:
            return
        waiting, self._waiting = self._waiting, deque()
        for query in waiting:
            if query.client is not None:
                query.client.failed(Refused(503, text))

    def _next(self) -> None:
        while (query := self._startable()) is not None:
            worker: Worker | None = next((one for one in self._workers if one.query is None), None)
            if worker is None:
                if len(self._workers) >= limits.WORKERS or not all(one.is_ready for one in self._workers):
                    return
                worker = self._start()
                if worker is None:
                    return
            self._waiting.remove(query)
            worker.run(query)

    def _startable(self) -> Query | None:
        """Return the first query that waits for nothing but a process."""
        scans = sum(one.query is not None and one.query.is_scan for one in self._workers)
        return next((query for query in self._waiting if scans < limits.SCANS or not query.is_scan), None)

    def ready(self, worker: Worker) -> None:
        """Called by a process that has started."""
        self._next()

    def idle(self, worker: Worker) -> None:
        """Called by a process that has ended a query."""
        self._next()

    def ended(self, worker: Worker) -> None:
        """Called by a process at its end."""
        if worker in self._workers:
            self._workers.remove(worker)
        if not self._closed:
            self._next()

    def cancelled(self, query: Query) -> None:
        """Called by a query that was cancelled."""
        if query in self._waiting:
            self._waiting.remove(query)
        elif query.worker is not None:
            query.worker.cancel()

    def close(self) -> None:
        """End all processes; queries fail."""
        self._closed = True
        for worker in list(self._workers):
            worker.process.kill()
        self._fail_waiting("the console stops")
