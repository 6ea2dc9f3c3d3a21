"""The module elasticsearch with the real OpenSearch (.ci/install-opensearch): everything arrives, once, in order."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from netconsd.testing import crash_report, event, extended_message, legacy_message
from tests.support.scripted_stream import made
from tests.support.servers import ROOT, ServerProcess, free_port, listens, running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Where .ci/install-opensearch puts the classes.
CLASSES = Path(os.environ.get("NETCONSD_OPENSEARCH", ROOT / "build/opensearch"))
TEMPLATE = ROOT / "docs/examples/opensearch.json"
INDEX = "logs-netconsd-default"
T0 = 1_795_000_000.1234


class OpenSearch(ServerProcess):
    """One node with its data in a directory."""

    #: A machine that is busy takes long for its start.
    patience = 120.0

    def __init__(self, directory: Path) -> None:
        if shutil.which("javac") is None or not CLASSES.is_dir():
            pytest.skip("needs a JDK and OpenSearch: bash .ci/install-opensearch")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            *("java", "-Xmx512m", "-cp", f"{CLASSES}/lib/*", str(ROOT / "tests/support/OpenSearch.java")),
            *(str(directory), str(self.port), str(free_port())),
        ]
        super().__init__(command, directory / "log", listens(self.port), dict(os.environ))

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Return the answer to a request."""
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(f"{self.url}/{path}", body, headers, method=method)) as answer:
            return json.load(answer)

    def documents(self) -> list[dict[str, Any]]:
        """Return all documents by their time."""
        self.ask("POST", f"{INDEX}/_refresh")
        hits = self.ask("GET", f"{INDEX}/_search?size=10000&sort=@timestamp")["hits"]["hits"]
        return [{"_id": hit["_id"], **hit["_source"]} for hit in hits]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OpenSearch]:
    """A running server with the template of the docs."""
    directory = tmp_path / "server"
    directory.mkdir()
    server = OpenSearch(directory)
    with running(server):
        server.ask("PUT", "_index_template/netconsd", TEMPLATE.read_bytes())
        yield server


@pytest.fixture
def stream(tmp_path: Path, server: OpenSearch) -> Iterator[Any]:
    """A started module."""
    module = made("elasticsearch", tmp_path, url=server.url, directory=str(tmp_path / "stream"), batch_seconds="0.05s")
    module.start(1)
    yield module
    module.finish()


@pytest.fixture
def number(stream: Any) -> Callable[[str], float]:
    """Return a function that returns a metric of the module."""
    return lambda name: next(metric.value for metric in stream.metrics() if metric.name == f"stream_{name}")


def test_every_record_arrives(server: OpenSearch, stream: Any, number: Callable[[str], float]) -> None:
    """Nothing that a machine or a stranger sends is refused, not even for a first document that looks like a date."""
    stream.handle_batch(0, [extended_message("2026/11/29 10:00:00", seq=1, received_at=T0, taskname="2026-01-01")])
    until(lambda: number("sent_records") == 1, "the first record", 60)
    stream.handle_batch(
        0, [
            extended_message("text", seq=2, received_at=T0 + 1, taskname="init", userdata={"rack": "r7", "": "x"}),
            extended_message("", seq=2**64 - 1, ts_usec=2**64 - 1, received_at=T0 + 2),
            extended_message("nul \0 \x1b[31m \U0001f600", seq=4, received_at=T0 + 3),
            extended_message("y" * 67_000, seq=5, received_at=T0 + 4),
            legacy_message("legacy", received_at=T0 + 5),
        ],
    )  # fmt: skip
    stream.handle_report(0, crash_report(received_at=T0 + 6))
    stream.handle_event(0, event(received_at=T0 + 7, how="crash"))
    until(lambda: number("sent_records") + number("dead_records") == 8, "eight records", 60)
    assert number("dead_records") == 0
    found = server.documents()
    texts = [each["message"] for each in found[:6]]
    assert texts == ["2026/11/29 10:00:00", "text", "", "nul \0 \x1b[31m \U0001f600", "y" * 67_000, "legacy"]
    assert found[2]["netconsd"]["large"] == ["ts_usec=18446744073709551615", "seq=18446744073709551615"]
    assert [each["netconsd"]["kind"] for each in found[6:]] == ["report", "event"]


def test_killed_while_messages_arrive(server: OpenSearch, stream: Any, number: Callable[[str], float]) -> None:
    """Killed by SIGKILL, down, and started again: every message is there once, and microseconds decide their order."""
    given = [extended_message(f"line {seq}", seq=seq, received_at=T0 + seq * 1e-5) for seq in range(4000)]
    random.Random(1).shuffle(given)
    for start in range(0, 2000, 100):
        stream.handle_batch(0, given[start : start + 100])
    until(lambda: number("sent_records") > 0, "some messages", 60)
    server.kill()
    for start in range(2000, 4000, 100):
        stream.handle_batch(0, given[start : start + 100])
    until(lambda: number("retried_batches") > 0, "a retry")
    server.start()
    until(lambda: number("sent_records") == 4000, "all messages", 120)
    assert [each["netconsd"]["seq"] for each in server.documents()] == list(range(4000))
