"""The module otlp with real servers: rotel, and OpenTelemetry's collector (.ci/install-collector, not in CI). They take
the records and export them to a scripted server."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from netconsd.testing import crash_report, event, extended_message, legacy_message
from tests.support.http_server import Answers, Request, serving
from tests.support.scripted_lane import PATIENCE
from tests.support.scripted_stream import made
from tests.support.servers import ServerProcess, free_port, listens, running, until

service = pytest.importorskip("opentelemetry.proto.collector.logs.v1.logs_service_pb2", reason="needs netconsd[otlp]")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Rotel(ServerProcess):
    """rotel, which exports to a URL."""

    def __init__(self, directory: Path, exports_to: str) -> None:
        spec = find_spec("rotel")
        agent = Path((spec.submodule_search_locations or [""])[0]) / "rotel-agent" if spec is not None else Path()
        if not agent.is_file():
            pytest.skip("needs rotel: pip install 'netconsd[otlp-test]'")
        self.port = free_port()
        command = [
            *(str(agent), "start", "--otlp-http-endpoint", f"127.0.0.1:{self.port}"),
            *("--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--pid-file", str(directory / "pid")),
            *("--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", exports_to),
            *("--logs-batch-timeout", "50ms", "--otlp-exporter-request-timeout", f"{PATIENCE:g}s"),
        ]
        super().__init__(command, directory / "log", listens(self.port), {})


COLLECTOR = Path(os.environ.get("NETCONSD_COLLECTOR", "build/collector/otelcol"))
CONFIGURATION = """
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}
exporters:
  otlp_http:
    endpoint: "{exports_to}"
    retry_on_failure: {{initial_interval: 50ms, max_interval: 100ms}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    logs: {{receivers: [otlp], exporters: [otlp_http]}}
"""


class Collector(ServerProcess):
    """OpenTelemetry's collector, which exports to a URL, with a queue in memory."""

    def __init__(self, directory: Path, exports_to: str) -> None:
        if not COLLECTOR.is_file():
            pytest.skip("needs a collector: bash .ci/install-collector")
        self.port = free_port()
        configuration = directory / "conf.yaml"
        configuration.write_text(CONFIGURATION.format(port=self.port, exports_to=exports_to))
        command = [str(COLLECTOR), "--config", f"file:{configuration}"]
        super().__init__(command, directory / "log", listens(self.port), {})


class Exported:
    """The records that rotel exported: the attributes of the resource and of the record, with text and level."""

    def __init__(self, http: Answers) -> None:
        self.url = http.url
        self.records: list[dict[str, Any]] = []
        self.status = 200
        self.refused = 0
        http.answer = self.answer

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Take the records of a request, unless another status is set."""
        if self.status != 200:
            self.refused += 1
            return self.status, {}, b""
        for group in service.ExportLogsServiceRequest.FromString(gzip.decompress(request.body)).resource_logs:
            for scope in group.scope_logs:
                for log in scope.log_records:
                    attributes = [*group.resource.attributes, *log.attributes]
                    fields = {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
                    shown = {"text": log.body.string_value, "severity": log.severity_number, "at": log.time_unix_nano}
                    self.records.append(fields | shown)
        return 200, {"Content-Type": "application/x-protobuf"}, b""


@pytest.fixture
def exported() -> Iterator[Exported]:
    """The server behind rotel."""
    with serving() as http:
        yield Exported(http)


@pytest.fixture(params=[Rotel, Collector])
def server(request: pytest.FixtureRequest, tmp_path: Path, exported: Exported) -> Iterator[Rotel | Collector]:
    """A running server."""
    directory = tmp_path / "server"
    directory.mkdir()
    server = request.param(directory, exported.url)
    with running(server):
        yield server


@pytest.fixture
def stream(tmp_path: Path, server: Rotel | Collector) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a started module."""
    modules: list[Any] = []

    def start(**settings: object) -> Any:
        module = made(
            "otlp", tmp_path, url=f"http://127.0.0.1:{server.port}", directory=str(tmp_path / "stream"),
            batch_seconds="0.05s", **settings,
        )  # fmt: skip
        module.start(1)
        modules.append(module)
        return module

    yield start
    for module in modules:
        module.finish()


def number(module: Any, name: str) -> float:
    """Return a metric of the module."""
    found: float = next(metric.value for metric in module.metrics() if metric.name == f"stream_{name}")
    return found


def test_every_field_arrives(exported: Exported, stream: Callable[..., Any]) -> None:
    """Behind the server, the records have their text, level, time and attributes."""
    module = stream()
    now = 1_795_000_000.123456
    module.handle_batch(
        0,
        [
            extended_message("one é \x1b[31m", seq=7, level=3, received_at=now, userdata={"rack": "a"}),
            legacy_message("<4>old", received_at=now, address="2001:db8::7"),
        ],
    )
    module.handle_report(0, crash_report(received_at=now))
    module.handle_event(0, event(received_at=now, how="crash"))
    until(lambda: len(exported.records) == 4, "four records")
    records = {record["log.record.uid"].split("/")[0] + record["netconsd.kind"]: record for record in exported.records}
    message = records["192.0.2.1message"]
    assert (message["text"], message["severity"], message["at"]) == ("one é \x1b[31m", 17, 1_795_000_000_123_456_000)
    assert (message["service.name"], message["host.name"], message["netconsd.seq"]) == ("kernel", "192.0.2.1", 7)
    assert (message["netconsd.userdata.rack"], message["log.record.uid"]) == ("a", "192.0.2.1/1794999999/7")
    assert records["2001:db8::7message"]["severity"] == 13
    assert records["192.0.2.1report"]["netconsd.lines"].startswith("BUG: kernel NULL pointer dereference")
    assert records["192.0.2.1event"]["netconsd.details.how"] == "crash"


def test_away_and_started_again(exported: Exported, server: Rotel | Collector, stream: Callable[..., Any]) -> None:
    """Records of the time without a server arrive when it is there again, once each."""
    server.kill()
    module = stream()
    for first in range(0, 5000, 100):
        module.handle_batch(
            0, [extended_message("x", seq=n, received_at=1e9 + n / 1e4) for n in range(first, first + 100)]
        )
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    server.start()
    until(lambda: len(exported.records) == 5000, "all records")
    module.finish()
    # Not in order: rotel has several requests at a time.
    assert sorted(record["netconsd.seq"] for record in exported.records) == list(range(5000))
    assert number(module, "sent_records") == number(module, "queued_records") == 5000


def test_check_send(exported: Exported, server: Rotel | Collector, tmp_path: Path) -> None:
    """`netconsd check --send` delivers a record."""
    module = made("otlp", tmp_path, url=f"http://127.0.0.1:{server.port}")
    assert module.send_test() == "200 OK"
    until(lambda: exported.records, "the test record")


def test_what_it_loses(exported: Exported, server: Rotel | Collector, tmp_path: Path) -> None:
    """A record that the server has in memory is answered by 200, and lost if that is killed, as docs/streams says."""
    exported.status = 503
    module = made("otlp", tmp_path, url=f"http://127.0.0.1:{server.port}")
    assert module.send_test() == "200 OK"
    until(lambda: exported.refused, "an attempt of the server")
    server.kill()
    exported.status = 200
    server.start()
    assert module.send_test() == "200 OK"
    until(lambda: exported.records, "the second record")
    assert len(exported.records) == 1
