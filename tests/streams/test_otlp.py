"""The module otlp with a scripted server: the records, partial success, answers that are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import ModuleError
from netconsd.rendering import LEVELS
from netconsd.streams.record import Record
from netconsd.streams.sink import Refused, TryLater
from netconsd.testing import crash_report, event, extended_message, legacy_message
from tests.support.http_server import Answers, Request, serving
from tests.support.scripted_stream import Rig, encoded, made, messages

service = pytest.importorskip("opentelemetry.proto.collector.logs.v1.logs_service_pb2", reason="needs netconsd[otlp]")

NOW = 1_795_000_000.123456


class Collector:
    """The records that a collector took. It rejects those with some texts, and takes the others of a request."""

    def __init__(self, http: Answers) -> None:
        self.requests: list[Any] = []
        self.records: list[dict[str, Any]] = []
        self.rejects: list[str] = []
        http.answer = self.answer

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Answer a request."""
        parsed = service.ExportLogsServiceRequest.FromString(request.body)
        self.requests.append(parsed)
        rejected = 0
        for group in parsed.resource_logs:
            for scope in group.scope_logs:
                for record in scope.log_records:
                    if record.body.string_value in self.rejects:
                        rejected += 1
                    else:
                        self.records.append(plain(group.resource.attributes) | plain(record.attributes))
        answer = service.ExportLogsServiceResponse()
        if rejected:
            answer.partial_success.rejected_log_records = rejected
            answer.partial_success.error_message = "too old"
        return 200, {"Content-Type": "application/x-protobuf"}, answer.SerializeToString()


def plain(attributes: Any) -> dict[str, Any]:
    """Return attributes as a dict."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@pytest.fixture
def http() -> Iterator[Answers]:
    """A running server."""
    with serving() as answers:
        yield answers


@pytest.fixture
def server(http: Answers) -> Collector:
    """It answers as a collector."""
    return Collector(http)


@pytest.fixture
def sink(tmp_path: Path, http: Answers) -> Iterator[Any]:
    """A module for the server."""
    sink = made("otlp", tmp_path, url=http.url)
    yield sink
    sink.close()


def test_every_field_arrives(http: Answers, server: Collector, sink: Any) -> None:
    """A resource for each machine and origin, and all fields as attributes, numbers as numbers."""
    message = Record(
        extended_message("one é", seq=1, level=3, received_at=NOW, ts_usec=(1 << 64) - 1, userdata={"rack": "a"}),
        "192.0.2.1/7/1", 7, "web01",
    )  # fmt: skip
    others = [
        Record(crash_report(received_at=NOW), "r"),
        Record(event(received_at=NOW, how="crash"), "e"),
        Record(legacy_message("old", received_at=NOW, address="192.0.2.2"), "192.0.2.2/@1/1"),
    ]
    assert sink.send([encoded(sink, each) for each in (message, *others)]).text == "200 OK"
    assert http.requests[0].path == "/v1/logs"
    assert http.requests[0].headers["Content-Type"] == "application/x-protobuf"
    groups = server.requests[0].resource_logs
    assert [plain(group.resource.attributes) for group in groups] == [
        {"service.name": "kernel", "host.name": "web01"},
        {"service.name": "netconsd", "host.name": "192.0.2.1"},
        {"service.name": "kernel", "host.name": "192.0.2.2"},
    ]
    assert [len(group.scope_logs[0].log_records) for group in groups] == [1, 2, 1]
    log = groups[0].scope_logs[0].log_records[0]
    assert (log.time_unix_nano, log.observed_time_unix_nano) == (1_795_000_000_123_456_000,) * 2
    assert (log.severity_number, log.severity_text, log.body.string_value) == (17, "err", "one é")
    expected = {
        f"netconsd.{name}": value
        for name, value in message.fields().items()
        if name not in ("id", "text", "level", "severity")
    }
    # An integer of OTLP is signed.
    expected["netconsd.ts_usec"] = str((1 << 64) - 1)
    assert plain(log.attributes) == expected | {"log.record.uid": "192.0.2.1/7/1"}
    assert groups[1].scope_logs[0].scope.name == "netconsd"


def test_severities(sink: Any, server: Collector) -> None:
    """The severity numbers of the specification, whose names say what they are."""
    sink.send([encoded(sink, Record(extended_message("x", seq=n, level=n), f"a/1/{n}", 1)) for n in range(8)])
    names = {
        log.severity_text: server.requests[0].DESCRIPTOR.file.pool.FindEnumTypeByName(
            "opentelemetry.proto.logs.v1.SeverityNumber"
        ).values_by_number[log.severity_number].name.removeprefix("SEVERITY_NUMBER_")
        for log in server.requests[0].resource_logs[0].scope_logs[0].log_records
    }  # fmt: skip
    expected = ("FATAL", "ERROR3", "ERROR2", "ERROR", "WARN", "INFO2", "INFO", "DEBUG")
    assert names == dict(zip(LEVELS, expected, strict=True))


def test_partial_success(tmp_path: Path, server: Collector, sink: Any) -> None:
    """A rejected record becomes a dead letter with the server's message. The others are there, some of them twice with
    the same uid: the server did not say which it had rejected."""
    server.rejects = ["line 4"]
    rig = Rig(tmp_path, sink)
    rig.append(0, messages(20))
    counts = rig.run()
    assert (counts.sent, counts.dead, counts.retried) == (19, 1, 0)
    assert rig.dead()[0]["answer"] == "200 OK: too old"
    assert {record["netconsd.seq"] for record in server.records} == set(range(1, 21)) - {4}
    assert len({record["log.record.uid"] for record in server.records}) == 19


def test_a_warning(http: Answers, sink: Any) -> None:
    """A message of the server without a rejected record is shown, and the batch is accepted."""
    answer = service.ExportLogsServiceResponse()
    answer.partial_success.error_message = "deprecated"
    http.answer = lambda request: (200, {}, answer.SerializeToString())
    assert sink.send([encoded(sink, Record(extended_message("x", seq=1), "a/1/1", 1))]).text == "200 OK: deprecated"


def test_another_server(http: Answers, sink: Any) -> None:
    """200 with a page is no answer of OTLP."""
    http.answer = lambda request: (200, {}, b"<html>welcome</html>")
    with pytest.raises(TryLater, match="without an answer of OTLP"):
        sink.send([encoded(sink, Record(extended_message("x", seq=1), "a/1/1", 1))])


def test_bad_data(http: Answers, sink: Any) -> None:
    """400 is about the records; its body is a message of protobuf, whose text is shown."""
    http.answer = lambda request: (400, {}, b"\x08\x03\x12\x08bad data")
    with pytest.raises(Refused, match="bad data"):
        sink.send([encoded(sink, Record(extended_message("x", seq=1), "a/1/1", 1))])


def test_another_path(tmp_path: Path, http: Answers, server: Collector) -> None:
    """The path can be another one."""
    sink = made("otlp", tmp_path, url=f"{http.url}/otlp", path="/logs")
    sink.send([encoded(sink, Record(extended_message("x", seq=1), "a/1/1", 1))])
    sink.close()
    assert http.requests[0].path == "/otlp/logs"


@pytest.mark.parametrize("path", ["logs", "/a b", "/é", ""])
def test_wrong_paths(tmp_path: Path, path: str) -> None:
    """A path that is none is an error at the start."""
    with pytest.raises(ModuleError, match="path: "):
        made("otlp", tmp_path, url="http://127.0.0.1", path=path)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra, at the check and at `check --send`."""
    sink = made("otlp", tmp_path, url="http://127.0.0.1", directory=str(tmp_path / "s"))
    monkeypatch.setitem(type(sink).check.__globals__, "find_spec", lambda name: None)
    for call in (sink.check, sink.send_test):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'netconsd\[otlp\]'"):
            call()
