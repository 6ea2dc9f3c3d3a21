"""The settings of streams over HTTP, with each module that has them: connection, errors, hanging and cut answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.streams.record import Record
from netconsd.streams.sink import TryLater
from netconsd.testing import extended_message
from tests.support.http_server import Answers, serving
from tests.support.scripted_stream import encoded, made
from tests.support.servers import until

MODULES = [
    *("clickhouse", "elasticsearch", "loki", "webhook"),
    pytest.param("otlp", marks=pytest.mark.skipif(find_spec("opentelemetry") is None, reason="needs netconsd[otlp]")),
]
#: Settings of a module, a part of the request that shows each, and the server's answer.
SENT: dict[str, tuple[dict[str, object], list[str], tuple[int, bytes]]] = {
    "clickhouse": ({"table": "logs.kernel"}, ["INTO+logs.kernel"], (200, b"")),
    "elasticsearch": ({"index": "kernel"}, ["/kernel/_bulk"], (200, b'{"items": [{"create": {"status": 201}}]}')),
    "loki": ({"tenant": "site", "labels": ["level"], "largest": "10K"}, ["site", '"level": "info"'], (204, b"")),
    "otlp": ({"path": "/logs"}, ["/logs"], (200, b"")),
    "webhook": ({"format": "lines"}, ["application/x-ndjson"], (200, b"")),
}


@pytest.fixture
def http() -> Iterator[Answers]:
    """A running server."""
    with serving() as answers:
        yield answers


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(
    "settings", [{"url": "x"}, {"headers": ["x"]}, {"timeout": "0s"}, {"timeout": "10m"}, {"batch_records": 0}]
)
def test_wrong_settings(tmp_path: Path, name: str, settings: dict[str, object]) -> None:
    """A wrong setting is named."""
    with pytest.raises(ModuleError, match=f"{next(iter(settings))}: "):
        made(name, tmp_path, **{"url": "http://127.0.0.1", **settings})


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_server_that_does_not_take_records(tmp_path: Path, http: Answers, name: str, status: int) -> None:
    """These answers are not about records: they make no dead letters, and the server's pause is honoured."""
    http.answer = lambda request: (status, {"Retry-After": "9"}, b"not now")
    sink = made(name, tmp_path, url=http.url)
    with pytest.raises(TryLater, match=f"{status} ") as raised:
        sink.send([encoded(sink, Record(extended_message("x", seq=1), "a/1/1", 1))])
    sink.close()
    assert raised.value.retry_after == 9


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", None])
def test_half_an_answer_and_none(tmp_path: Path, name: str, sent: bytes | None) -> None:
    """A server that hangs, or is killed while it answers, has not accepted the batch."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                if sent is None:
                    while connection.recv(65_536):
                        pass  # until the client closes
                else:
                    connection.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listening.getsockname()[1]
        sink = made(name, tmp_path, url=f"http://127.0.0.1:{port}", timeout="0.1s" if sent is None else "30s")
        with pytest.raises(TryLater):
            sink.send([encoded(sink, Record(extended_message("x", seq=1), "a/1/1", 1))])
        sink.close()
        thread.join()


@pytest.mark.parametrize("name", MODULES)
def test_the_process_has_the_settings(tmp_path: Path, http: Answers, name: str) -> None:
    """A message that is given to the module arrives, sent by the stream's process with the module's settings."""
    settings, shown, (status, body) = SENT[name]
    http.answer = lambda request: (status, {}, body)
    module = made(
        name, tmp_path, url=http.url, headers=["X-Key: 1"], timeout="20s", directory=str(tmp_path / "stream"),
        batch_seconds="0.02s", **settings,
    )  # fmt: skip
    module.start(1)
    try:
        module.handle_batch(0, [extended_message("x", seq=1)])
        until(lambda: module._reported.get("sent"), "the record")
    finally:
        module.finish()
    request = http.requests[-1]
    whole = f"{request.path} {dict(request.headers)} {request.body!r}"
    assert [part for part in ["X-Key", *shown] if part not in whole] == []


@pytest.mark.parametrize("name", MODULES)
def test_check_send(tmp_path: Path, http: Answers, name: str) -> None:
    """`netconsd check --send` reports the answer of a server that is away, and sends one record otherwise."""
    http.answer = lambda request: (503, {}, b"starting")
    typed = {key: ModuleSetting(value, key, tmp_path) for key, value in {"url": http.url}.items()}
    with pytest.raises(RuntimeError, match="503"):
        load([name], {name: typed}).loaded[0].module.send_test()
    assert len(http.requests) == 1
