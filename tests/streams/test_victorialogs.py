"""The module victorialogs with a scripted server: limits, restarts, records that it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded, TryLater
from netconsd.testing import extended_message
from tests.support.http_server import Answers, Request, serving

NOW = 20_000 * 86_400.0 + 1000
METRICS = """flag{name="retentionPeriod", value="%s", is_set="false"} 1
flag{name="futureRetention", value="3h", is_set="true"} 1
flag{name="insert.maxLineSizeBytes", value="1000", is_set="true"} 1
process_start_time_seconds %d
"""


class Server:
    """A server with metrics, and rows that it has."""

    def __init__(self, http: Answers) -> None:
        self.http = http
        self.retention = "2d"
        self.started_at = 100
        self.ids: list[str] = []
        http.answer = self.answer

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Answer as VictoriaLogs does."""
        if request.path == "/metrics":
            return 200, {}, (METRICS % (self.retention, self.started_at)).encode()
        if request.path.startswith("/select/"):
            return 200, {}, b"".join([json.dumps({"id": name}).encode() + b"\n" for name in self.ids])
        return 200, {}, b""

    @property
    def paths(self) -> list[str]:
        """The paths of the requests."""
        return [urlsplit(request.path).path for request in self.http.requests]


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server."""
    with serving() as http:
        yield Server(http)


@pytest.fixture
def module(server: Server, tmp_path: Path) -> Iterator[Any]:
    """A module for it."""
    module = made(tmp_path, url=server.http.url, tenant="12:34", headers=["X-Key: 1"])
    module.now = lambda: NOW
    yield module
    module.close()


def made(tmp_path: Path, **settings: object) -> Any:
    """Return a module."""
    typed = {name: ModuleSetting(value, name, tmp_path) for name, value in settings.items()}
    return load(["victorialogs"], {"victorialogs": typed}).loaded[0].module


def record(seq: int = 1, received_at: float = NOW, text: str = "x") -> Record:
    """Return a record."""
    return Record(extended_message(text, seq=seq, received_at=received_at), f"192.0.2.1/7/{seq}", 7)


def encoded(module: Any, each: Record) -> Encoded:
    """Return a record with its bytes."""
    return Encoded(each, module.encode(each))


def test_a_batch(server: Server, module: Any) -> None:
    """Lines of JSON arrive with the names of the fields, the tenant and the headers."""
    assert module.send([encoded(module, record(1)), encoded(module, record(2, text=""))]).text == "200 OK"
    request = server.http.requests[-1]
    fields = parse_qs(urlsplit(request.path).query)
    assert fields == {"_stream_fields": ["host,kind"], "_time_field": ["time"], "_msg_field": ["text"]}
    assert (request.headers["AccountID"], request.headers["ProjectID"], request.headers["X-Key"]) == ("12", "34", "1")
    assert request.headers["Content-Type"] == "application/stream+json"
    first, second = [json.loads(line) for line in request.body.splitlines()]
    assert first == {
        "id": "192.0.2.1/7/1", "kind": "message", "host": "192.0.2.1", "level": "info", "severity": "6", "text": "x",
        "boot": "7", "port": "6665", "facility": "0", "ts_usec": "1000000", "format": "extended", "seq": "1",
        "time": "2024-10-04T00:16:40.000000Z",
    }  # fmt: skip
    assert second["text"] == "(empty)"


DAY = 86_400.0


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        (record(received_at=NOW - 7 * DAY - 2000), "older"),
        (record(received_at=NOW - 7 * DAY), None),
        (record(received_at=NOW + 2 * DAY), "ahead"),
        (record(received_at=NOW + DAY), None),
        (record(text="x" * 262_144), "bytes are more than"),
        (record(text="x" * 100_000), None),
    ],
)
def test_lines_that_it_would_drop(module: Any, each: Record, reason: str | None) -> None:
    """With the defaults of the server's flags, a line that it would drop despite 200 is refused here."""
    if reason is None:
        module.encode(each)
    else:
        with pytest.raises(ValueError, match=reason):
            module.encode(each)


@pytest.mark.parametrize(
    ("retention", "oldest"), [("2d", 2 * DAY), ("36h", 2 * DAY), ("1", 31 * DAY), ("1y", 365 * DAY)]
)
def test_the_limits_are_the_servers(server: Server, module: Any, retention: str, oldest: float) -> None:
    """The limits follow the server's flags from the first batch on."""
    server.retention = retention
    module.send([encoded(module, record())])
    module.encode(record(received_at=NOW - oldest))
    for each in (
        record(received_at=NOW - oldest - DAY), record(received_at=NOW + 4 * 3600), record(text="x" * 1000),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="server's"):
            module.encode(each)


def test_a_restart_is_noticed(server: Server, module: Any) -> None:
    """A server that was started again has perhaps lost the last seconds: once."""
    module.send([encoded(module, record())])
    assert module.survived()
    server.started_at = 200
    assert not module.survived()
    assert module.survived()


def test_a_stop_in_order(server: Server, module: Any) -> None:
    """At the stop, the server writes what it accepted."""
    module.send([encoded(module, record())])
    assert module.kept()
    assert server.paths[-2:] == ["/internal/force_flush", "/metrics"]


def test_records_that_it_has(server: Server, module: Any) -> None:
    """The server is asked for the identities of the time of a batch."""
    batch = [encoded(module, record(seq, NOW + seq)) for seq in (1, 2, 3)]
    server.ids = ["192.0.2.1/7/2", "192.0.2.9/7/1"]
    assert module.stored(batch) == {1}
    query = parse_qs(server.http.requests[-1].body.decode())["query"][0]
    ids = ",".join([f'"192.0.2.1/7/{seq}"' for seq in (1, 2, 3)])
    assert query == f"_time:[{NOW:.6f}, {NOW + 4:.6f}] id:in({ids}) | uniq by (id)"


def test_the_size_of_a_query(server: Server, module: Any) -> None:
    """A large batch is asked for in several queries, each of less than the server's -search.maxQueryLen of 16 KiB."""
    batch = [encoded(module, record(seq, NOW)) for seq in range(2000)]
    server.ids = [f"192.0.2.1/7/{seq}" for seq in range(0, 2000, 3)]
    assert module.stored(batch) == set(range(0, 2000, 3))
    asked = [
        parse_qs(each.body.decode())["query"][0] for each in server.http.requests if each.body.startswith(b"query")
    ]
    assert len(asked) > 1
    assert max(len(query.encode()) for query in asked) < 16_384


def test_another_server(server: Server, module: Any) -> None:
    """A server without these metrics is named, and nothing is sent to it."""
    server.http.answer = lambda request: (200, {}, b"hello")
    with pytest.raises(TryLater, match="is it VictoriaLogs"):
        module.send([encoded(module, record())])
    assert server.paths == ["/metrics"]


@pytest.mark.parametrize("settings", [{"tenant": "x"}, {"headers": ["x"]}, {"url": "x"}])
def test_wrong_settings(tmp_path: Path, settings: dict[str, object]) -> None:
    """A wrong setting is named."""
    with pytest.raises(ModuleError, match=f"^{next(iter(settings))}: "):
        made(tmp_path, **{"url": "http://127.0.0.1", **settings})
