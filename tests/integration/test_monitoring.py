"""The HTTP port for monitoring, over real connections."""

from __future__ import annotations

import errno
import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from netconsd.monitor.connection import DISCARD_BYTES
from netconsd.monitor.http import CONNECTIONS_LIMIT, MonitoringPort
from netconsd.protocol.counters import SENDER_COUNTERS
from netconsd.receive.reader import Receiver
from netconsd.service import NetconsdService
from netconsd.settings import ConfigError
from netconsd.testing import extended
from tests.integration.leaks import LoggedErrors
from tests.integration.rig import PATIENCE, Blocked, is_free, logging, make, running, until_counted
from tests.support.loopback import Arrivals, needs_ipv6, send
from tests.support.scripted_module import Script
from tests.support.servers import free_port

# Requests must not leave the machine through a configured proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def port_of(service: NetconsdService) -> MonitoringPort:
    """Its HTTP port."""
    assert service._bound is not None and service._bound.monitoring is not None
    return service._bound.monitoring


def fetch(url: str, **headers: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of a page."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with OPENER.open(request, timeout=PATIENCE) as response:
            return response.status, dict(response.headers), response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read().decode()


async def get(service: NetconsdService, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of a page of a service, while the reactor runs."""
    url = port_of(service).url.replace("/metrics", path)
    page: tuple[int, dict[str, str], str] = await deferToThread(fetch, url, **headers)
    return page


def values(page: str) -> dict[str, float]:
    """The sums of each metric's values."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


@pytest.mark.parametrize("metrics", ["0", "127.0.0.1:0", pytest.param("[::1]:0", marks=needs_ipv6)])
@pytest_twisted.ensureDeferred
async def test_metrics(metrics: str) -> None:
    """Received, delivered and lost messages are on the page while the service runs; the log has the page's URL."""
    with logging() as log:
        async with running({"module": Arrivals()}, metrics=metrics) as service:
            send(service.port, *(extended(str(seq), seq=seq, msgid=seq) for seq in (1, 2, 5)))
            await until_counted(service, 3)
            status, headers, page = await get(service, "/metrics")
            assert f"Metrics are at {port_of(service).url}" in log.lines()
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    sums = values(page)
    assert sums["netconsd_received_datagrams_total"] == 3
    assert sums["netconsd_module_messages_total"] == sums["netconsd_messages_total"] == 3
    assert sums["netconsd_lost_messages_total"] == 2
    assert sums["netconsd_senders"] == 1
    assert sums["netconsd_delivery_delay_seconds_count"] == 3
    assert sums["process_open_fds"] > 0


@pytest_twisted.ensureDeferred
async def test_metrics_in_the_newer_format() -> None:
    """A client that accepts OpenMetrics gets that format."""
    async with running({}, metrics="0") as service:
        _, headers, page = await get(service, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert page.endswith("# EOF\n")


@pytest_twisted.ensureDeferred
async def test_the_top_senders() -> None:
    """``by`` selects the counter that ranks the senders, and ``count`` the length of the list."""
    module = Arrivals()
    async with running({"module": module}, metrics="0") as service:
        send(service.port, *(extended(str(seq), seq=seq, msgid=seq) for seq in (1, 9)), sender="127.0.0.2")
        send(service.port, *(extended(str(seq), seq=seq) for seq in (1, 2, 3)), sender="127.0.0.3")
        await module.number(5)
        status, headers, page = await get(service, "/senders")
        _, _, by_loss = await get(service, "/senders?by=lost&count=1")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    ranking = json.loads(page)
    assert [(sender["address"], sender["datagrams"]) for sender in ranking["senders"]] == [
        ("127.0.0.3", 3),
        ("127.0.0.2", 2),
    ]
    assert ranking["workers_that_did_not_answer"] == []
    (worst,) = json.loads(by_loss)["senders"]
    assert (worst["address"], worst["lost"]) == ("127.0.0.2", 7)
    assert 0 <= worst["silent_seconds"] < PATIENCE


@pytest.mark.parametrize("query", ["by=port", "by=", "count=-1", "count=1000", "count=%D9%A3", "by=%FF&count=x"])
@pytest_twisted.ensureDeferred
async def test_a_bad_query_of_senders(query: str) -> None:
    """A bad query is status 400, and one line with the valid values."""
    async with running({}, metrics="0") as service:
        status, _, page = await get(service, f"/senders?{query}")
    assert status == 400
    assert page == f"by is one of {', '.join(SENDER_COUNTERS)}; count is a number up to 100\n"


@pytest_twisted.ensureDeferred
async def test_a_worker_that_hangs_does_not_hang_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is complete except for a worker whose module does not return, and the metrics show its call."""
    monkeypatch.setattr("netconsd.monitor.top_senders.ANSWER_SECONDS", 0.05)
    module = Blocked()
    async with running({"module": module}, workers=1, metrics="0") as service:
        send(service.port, b"text\n")
        await deferToThread(module.entered.wait, PATIENCE)
        _, _, page = await get(service, "/senders")
        _, _, metrics = await get(service, "/metrics")
        module.release.set()
    assert json.loads(page) == {"by": "datagrams", "senders": [], "workers_that_did_not_answer": [0]}
    assert values(metrics)["netconsd_module_call_seconds"] > 0


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page has a snapshot of its own."""
    monkeypatch.setattr("netconsd.monitor.pages.KEEP_SECONDS", 0.0)


@pytest_twisted.ensureDeferred
async def test_health_and_readiness() -> None:
    """The service is healthy from its start, and ready while messages are received, until the stop begins."""
    ready: Deferred[None] = Deferred()
    module = Blocked()
    service = make({"slow": Script("slow", [], start=ready), "module": module}, metrics="0", workers=1)
    service.startService()
    assert (await get(service, "/healthz"))[::2] == (200, "ok\n")
    assert (await get(service, "/readyz"))[::2] == (503, "not receiving\n")
    assert (await get(service, "/senders"))[::2] == (503, "not running\n")
    ready.callback(None)
    await service.started
    assert (await get(service, "/readyz"))[::2] == (200, "ok\n")
    send(service.port, b"text\n")
    await deferToThread(module.entered.wait, PATIENCE)
    stopped = service.stopService()
    assert (await get(service, "/readyz"))[::2] == (503, "not receiving\n")
    assert (await get(service, "/healthz"))[::2] == (200, "ok\n")
    module.release.set()
    await stopped


class Refuses:
    """A receiver whose reads fail while :attr:`refused` is set."""

    refused = True

    def __init__(self, *arguments: Any) -> None:
        self._real = Receiver(*arguments)

    def receive(self) -> Any:
        if Refuses.refused:
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return self._real.receive()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.usefixtures("fresh")
@pytest_twisted.ensureDeferred
async def test_a_listener_that_cannot_be_read_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, logged_errors: LoggedErrors
) -> None:
    """While reads fail, /readyz is 503 and the metrics show it; after a successful read, /readyz is 200 again."""
    from twisted.internet import reactor

    monkeypatch.setattr(Refuses, "refused", True)
    module = Arrivals()
    async with running({"module": module}, metrics="0", receiver=Refuses) as service:
        send(service.port, b"text\n")
        while not service.snapshot().total("read_errors"):
            await deferLater(reactor, 0)
        assert (await get(service, "/readyz"))[::2] == (
            503,
            "listener 0: the last read failed; the log has the error\n",
        )
        assert values((await get(service, "/metrics"))[2])["netconsd_listener_failing"] == 1
        monkeypatch.setattr(Refuses, "refused", False)
        await module.number(1)
        assert (await get(service, "/readyz"))[::2] == (200, "ok\n")
    assert logged_errors.flush(OSError)


@pytest_twisted.ensureDeferred
async def test_workers_that_the_stop_has_ended_are_healthy() -> None:
    """While modules stop, the workers have ended, and /healthz is 200."""
    stopping: Deferred[None] = Deferred()
    closed: Deferred[None] = Deferred()

    class Slow(Script):
        def stop(self) -> Any:
            stopping.callback(None)
            return closed

    service = make({"slow": Slow("slow", [])}, metrics="0")
    service.startService()
    await service.started
    stopped = service.stopService()
    await stopping
    assert not any(worker.alive for worker in service.snapshot().workers)
    assert (await get(service, "/healthz"))[::2] == (200, "ok\n")
    closed.callback(None)
    await stopped


@pytest_twisted.ensureDeferred
async def test_a_worker_that_has_ended_is_unhealthy() -> None:
    """If the thread of a worker has ended while messages are received, /healthz is 503."""
    async with running({}, metrics="0", workers=2) as service:
        service.lanes[1].running = False
        assert (await get(service, "/healthz"))[::2] == (503, "worker 1 has ended\n")
        service.lanes[1].running = True


@pytest_twisted.ensureDeferred
async def test_other_pages() -> None:
    """The first page lists the others; unknown pages are 404, and POST is 405."""
    async with running({}, metrics="0") as service:
        status, _, page = await get(service, "/")
        assert status == 200
        for path in ("/metrics", "/healthz", "/readyz", "/senders"):
            assert path in page
        assert (await get(service, "/metrics/x"))[0] == 404
        assert (await get(service, "/nothing"))[0] == 404
        url = port_of(service).url
        request = urllib.request.Request(url, data=b"x", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="405") as caught:
            await deferToThread(OPENER.open, request, timeout=PATIENCE)
        caught.value.close()


@pytest_twisted.ensureDeferred
async def test_without_the_option_there_is_no_port() -> None:
    """Without --metrics nothing listens."""
    async with running({}) as service:
        assert service._bound is not None and service._bound.monitoring is None
        assert service.receiving
    assert not service.receiving


@pytest.fixture
def taken() -> Iterator[int]:
    """A TCP port that another socket listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_that_is_taken(taken: int) -> None:
    """The error names the setting, and the UDP port is not bound."""
    service = make({}, metrics=str(taken))
    with pytest.raises(ConfigError, match=rf"^metrics: {taken} is in use already; stop the program that has it"):
        service.privilegedStartService()
    assert service.port == 0


@pytest.mark.parametrize(
    ("metrics", "error", "reason"),
    [
        ("192.0.2.1:9100", None, "cannot be bound: Cannot assign requested address"),
        ("0", errno.EACCES, "may not be bound by this user; take a port from 1024 up or start as root"),
    ],
)
def test_a_port_that_cannot_be_bound(
    metrics: str, error: int | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the setting and the system's reason."""

    class Refusing(socket.socket):
        def bind(self, address: Any) -> None:
            raise OSError(error, "")

    if error is not None:
        monkeypatch.setattr("netconsd.monitor.http.socket.socket", Refusing)
    with pytest.raises(ConfigError) as caught:
        make({}, metrics=metrics).privilegedStartService()
    assert str(caught.value) == f"metrics: {metrics} {reason}"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prometheus_client the error says how to install it; without --metrics it is not needed."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setitem(sys.modules, "prometheus_client.exposition", None)
    with pytest.raises(ConfigError) as caught:
        make({}, metrics="0").privilegedStartService()
    assert str(caught.value) == (
        "metrics: needs the Python package prometheus_client, which is not installed; pip install 'netconsd[metrics]'"
    )
    service = make({})
    service.privilegedStartService()
    assert service._bound is not None
    service._bound.close_sockets()


def test_a_failed_start_releases_the_http_port() -> None:
    """If the UDP port cannot be bound, the HTTP port is closed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        number = free_port()
        service = make({}, port=other.getsockname()[1], metrics=str(number))
        with pytest.raises(ConfigError, match=r"^port: "):
            service.privilegedStartService()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as again:
        again.bind(("127.0.0.1", number))


@pytest_twisted.ensureDeferred
async def test_connections_are_bounded_and_end_with_the_service() -> None:
    """A connection beyond the limit ends the oldest one; the stop ends all, and the port is free."""
    service = make({}, metrics="0")
    service.startService()
    await service.started
    where = ("127.0.0.1", port_of(service).port)

    def is_answered(connection: socket.socket) -> bool:
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            return connection.recv(1000).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False

    def connect() -> tuple[list[socket.socket], list[bool]]:
        opened = [socket.create_connection(where, PATIENCE) for _ in range(CONNECTIONS_LIMIT + 3)]
        # The last one first: once it is accepted, all are.
        return opened, [is_answered(connection) for connection in opened[::-1]][::-1]

    opened, answered = await deferToThread(connect)
    assert answered == [False] * 3 + [True] * CONNECTIONS_LIMIT
    await service.stopService()
    for connection in opened:
        connection.close()
    assert is_free(where[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, PATIENCE)


@pytest_twisted.ensureDeferred
async def test_a_restart_gets_the_port_at_once() -> None:
    """Connections of the last run, which the kernel remembers for a minute, do not block the port."""
    async with running({}, metrics="0") as service:
        number = port_of(service).port

        def wait_for_the_end() -> bytes:
            # The side that closes first is the one whose kernel remembers.
            with socket.create_connection(("127.0.0.1", number), PATIENCE) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                with connection.makefile("rb") as answer:
                    return answer.read()

        assert (await deferToThread(wait_for_the_end)).endswith(b"ok\n")
    async with running({}, metrics=str(number)) as service:
        assert (await get(service, "/healthz"))[0] == 200


@pytest_twisted.ensureDeferred
async def test_a_long_body_ends_the_connection() -> None:
    """A body longer than DISCARD_BYTES ends the connection; a short one gets the answer, then the connection ends."""
    async with running({}, metrics="0") as service:
        where = ("127.0.0.1", port_of(service).port)

        def post(size: int) -> bytes:
            with socket.create_connection(where, PATIENCE) as connection:
                head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
                try:
                    connection.sendall(head + bytes(size))
                    with connection.makefile("rb") as answer:
                        received = answer.read()
                    for _ in range(100_000):
                        connection.sendall(bytes(DISCARD_BYTES))
                except ConnectionError:
                    return received
            raise AssertionError("the connection was not ended")

        assert (await deferToThread(post, 100)).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
        assert (await get(service, "/healthz"))[0] == 200


@pytest_twisted.ensureDeferred
async def test_a_client_that_disconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that disconnects before its answer leaves nothing behind."""
    monkeypatch.setattr("netconsd.monitor.top_senders.ANSWER_SECONDS", 0.05)
    module = Blocked()
    async with running({"module": module}, workers=1, metrics="0") as service:
        send(service.port, b"text\n")
        await deferToThread(module.entered.wait, PATIENCE)
        with socket.create_connection(("127.0.0.1", port_of(service).port), PATIENCE) as connection:
            connection.sendall(b"GET /senders HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await get(service, "/senders"))[0] == 200
        module.release.set()


@pytest_twisted.ensureDeferred
async def test_requests_are_not_logged() -> None:
    """Requests add no line to the log."""
    with logging() as log:
        async with running({}, metrics="0") as service:
            before = len(log.events)
            await get(service, "/metrics")
            assert log.events[before:] == []
