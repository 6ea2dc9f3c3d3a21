"""The settings of streams over HTTP, with each module that has them: connection, errors, hanging and cut answers."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.streams.deadletters import FILE
from netconsd.streams.record import Record
from netconsd.streams.sink import TryLater
from netconsd.testing import extended_message
from tests.support.http_server import Answers, Request, serving
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


class Refusing:
    """A server that is away for two requests, then refuses every 50th record, as the server of a module does."""

    def __init__(self, name: str, http: Answers) -> None:
        self.name = name
        self.away = 2
        #: The numbers of the records that it has, in the order of their arrival.
        self.seqs: list[int] = []
        http.answer = self.answer

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Answer a batch."""
        if self.away:
            self.away -= 1
            return 503, {}, b"starting"
        sent = dict.fromkeys(int(name.rpartition("/")[2]) for name in self.ids(request.body))
        if request.body.startswith(b"SELECT"):
            return 200, {}, b""
        bad = [seq for seq in sent if seq % 50 == 0]
        status, body = self.reply(list(sent), bad)
        if status < 300 or self.name == "loki":
            self.seqs += [seq for seq in sent if seq not in bad]
        return status, {}, body

    def ids(self, body: bytes) -> list[str]:
        """Return the ids of the records of a request."""
        if self.name != "otlp":
            return re.findall(r"192\.0\.2\.1/\d+/\d+", body.decode())
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        groups = ExportLogsServiceRequest.FromString(body).resource_logs
        return [log.attributes[0].value.string_value for group in groups for log in group.scope_logs[0].log_records]

    def reply(self, sent: list[int], bad: list[int]) -> tuple[int, bytes]:
        """Return the status and the body of the answer."""
        if self.name == "elasticsearch":
            error = {"status": 400, "error": {"type": "document_parsing_exception", "reason": "bad"}}
            return 200, json.dumps(
                {"items": [{"create": error if seq in bad else {"status": 201}} for seq in sent]}
            ).encode()
        if self.name == "otlp":
            # partial_success: rejected_log_records, error_message.
            return 200, b"\x0a\x07\x08\x01\x12\x03bad" if bad else b""
        if bad:
            return 400, b"Code: 27. DB::Exception: bad"
        return (204 if self.name == "loki" else 200), b""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", MODULES)
def test_every_fiftieth_record_is_refused(tmp_path: Path, http: Answers, name: str) -> None:
    """The records at the server and those in the dead letters are all records. They are there once, except where the
    server takes the good part of a batch and does not say which part that is."""
    server = Refusing(name, http)
    module = made(name, tmp_path, url=http.url, directory=str(tmp_path / "stream"), batch_seconds="0.02s")
    module.start(1)
    try:
        for first in range(1, 2001, 100):
            numbers = range(first, first + 100)
            module.handle_batch(0, [extended_message("x", seq=seq, received_at=1e9 + seq / 1e3) for seq in numbers])
        until(lambda: module._reported.get("sent", 0) + module._reported.get("dead", 0) == 2000, "the records")
    finally:
        module.finish()
    letters = [json.loads(line) for line in (tmp_path / "stream" / FILE).read_bytes().splitlines()]
    dead = [int(letter["id"].rpartition("/")[2]) for letter in letters]
    assert dead == list(range(50, 2001, 50))
    assert all("bad" in letter["answer"] for letter in letters)
    assert sorted(set(server.seqs)) == [seq for seq in range(1, 2001) if seq % 50]
    if name not in ("loki", "otlp"):
        # In order, and none twice.
        assert server.seqs == sorted(set(server.seqs))
    counts = {metric.name: metric.value for metric in module.metrics()}
    assert (counts["stream_sent_records"], counts["stream_dead_records"]) == (1960, 40)
    assert counts["stream_dropped_records"] == 0
