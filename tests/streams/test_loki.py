"""The module loki with a scripted server that answers as Loki's documentation and source say (3.x)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import ModuleError
from netconsd.streams.record import Record
from netconsd.streams.sink import Refused, TryLater
from netconsd.testing import crash_report, event, extended_message
from tests.support.http_server import Answers, Request, serving
from tests.support.scripted_stream import Rig, encoded, made, messages

NOW = 1_795_000_000.123456


class Loki:
    """Streams with their entries. An entry whose line and time are there already is dropped; one that is too old is
    refused by 400, and the others of the request are kept (pkg/distributor, pkg/chunkenc)."""

    def __init__(self, http: Answers) -> None:
        self.streams: dict[str, list[tuple[str, str]]] = {}
        self.refuses = "\0"
        http.answer = self.answer

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Answer a push."""
        ignored = 0
        for stream in json.loads(request.body)["streams"]:
            entries = self.streams.setdefault(json.dumps(stream["stream"]), [])
            for at, line in stream["values"]:
                assert isinstance(at, str), "Loki answers 400 to a number"
                if self.refuses in line:
                    ignored += 1
                elif (at, line) not in entries:
                    entries.append((at, line))
        if ignored:
            return (
                400,
                {},
                b"entry with timestamp ... ignored, reason: 'entry too far behind', total ignored: %d" % ignored,
            )
        return 204, {}, b""

    def lines(self) -> list[dict[str, Any]]:
        """Return all lines."""
        return [json.loads(line) for entries in self.streams.values() for _, line in entries]


@pytest.fixture
def http() -> Iterator[Answers]:
    """A running server."""
    with serving() as answers:
        yield answers


@pytest.fixture
def server(http: Answers) -> Loki:
    """It answers as Loki."""
    return Loki(http)


def module(tmp_path: Path, http: Answers, **settings: object) -> Any:
    """Return a module for the server."""
    return made("loki", tmp_path, url=http.url, **settings)


def test_every_field_arrives(tmp_path: Path, http: Answers, server: Loki) -> None:
    """A line of JSON has all fields; the labels are the host and the kind; the time has microseconds."""
    sink = module(tmp_path, http, tenant="site", headers=["X-Key: 1"])
    first = Record(
        extended_message("one é \\xff", seq=1, level=3, received_at=NOW, userdata={"rack": "a"}),
        "192.0.2.1/7/1",
        7,
        "web01",
    )
    report, happened = Record(crash_report(received_at=NOW), "r"), Record(event(received_at=NOW, how="crash"), "e")
    records = [first, report, happened]
    assert sink.send([encoded(sink, each) for each in records]).text == "204 No Content"
    sink.close()
    assert [json.loads(name) for name in server.streams] == [
        {"service_name": "netconsd", "host": "192.0.2.1", "kind": kind} for kind in ("message", "report", "event")
    ]
    assert server.lines() == [each.fields() for each in records]
    assert next(iter(server.streams.values()))[0][0] == "1795000000123456000"
    headers = http.requests[0].headers
    assert (headers["X-Scope-OrgID"], headers["X-Key"]) == ("site", "1")
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["level", "name"], {"level": "err", "name": "web01"}), (["name"], {"name": "web01"}), ([], {})],
)
def test_labels(tmp_path: Path, http: Answers, server: Loki, labels: list[str], expected: dict[str, str]) -> None:
    """The labels are those of the setting; one without a value is left out."""
    sink = module(tmp_path, http, labels=labels)
    body = extended_message("x", seq=1, level=3)
    sink.send([encoded(sink, Record(body, "a", 7, "web01")), encoded(sink, Record(body, "b", 7))])
    sink.close()
    streams = [json.loads(name) for name in server.streams]
    assert streams[0] == {"service_name": "netconsd", **expected}
    assert all("name" not in stream for stream in streams[1:])
    assert len(server.lines()) == 2


def test_the_same_text_of_many_machines(tmp_path: Path, http: Answers, server: Loki) -> None:
    """Loki drops an entry with the time and the line of another: records differ by their id, and none is dropped."""
    sink = module(tmp_path, http, labels=[])
    sink.send(
        [
            encoded(
                sink, Record(extended_message("same", seq=7, address=f"192.0.2.{n}", received_at=NOW), f"{n}/7/7", 7)
            )
            for n in range(1, 101)
        ]
    )
    sink.close()
    assert len(server.lines()) == 100


def test_a_refused_entry(tmp_path: Path, http: Answers, server: Loki) -> None:
    """400 to a batch of which the good part was kept: the bad record becomes a dead letter with the answer, and the
    others are there once."""
    sink = module(tmp_path, http)
    server.refuses = '"line 4"'
    rig = Rig(tmp_path, sink)
    rig.append(0, messages(20))
    counts = rig.run()
    assert (counts.sent, counts.dead, counts.dropped) == (19, 1, 0)
    assert sorted(line["seq"] for line in server.lines()) == [n for n in range(1, 21) if n != 4]
    assert "too far behind" in rig.dead()[0]["answer"]


@pytest.mark.parametrize("status", [200, 260])
def test_blocked_ingestion(tmp_path: Path, http: Answers, status: int) -> None:
    """Loki answers 260 or 200 to what it drops while ingestion is blocked: that is not accepted."""
    http.answer = lambda request: (status, {}, b"ingestion blocked for user")
    sink = module(tmp_path, http)
    with pytest.raises(TryLater, match=f"{status}.*instead of 204"):
        sink.send([encoded(sink, Record(extended_message("x", seq=1), "a"))])
    sink.close()


def test_limits_of_rate(tmp_path: Path, http: Answers) -> None:
    """429 is no answer about the records: they are sent again after Retry-After."""
    http.answer = lambda request: (429, {"Retry-After": "7"}, b"Maximum active stream limit exceeded")
    sink = module(tmp_path, http)
    with pytest.raises(TryLater, match="stream limit") as raised:
        sink.send([encoded(sink, Record(extended_message("x", seq=1), "a"))])
    sink.close()
    assert raised.value.retry_after == 7


@pytest.mark.parametrize("status", [400, 401])
def test_no_tenant(tmp_path: Path, http: Answers, status: int) -> None:
    """A missing tenant makes no dead letters; with 400, the text names the setting."""
    http.answer = lambda request: (status, {}, b"no org id\n")
    sink = module(tmp_path, http)
    with pytest.raises(TryLater, match="no org id" + (": set tenant" if status == 400 else "")):
        sink.send([encoded(sink, Record(extended_message("x", seq=1), "a"))])
    sink.close()


def test_another_400(tmp_path: Path, http: Answers) -> None:
    """It is about the records."""
    http.answer = lambda request: (400, {}, b"Max entry size '262144' bytes exceeded")
    sink = module(tmp_path, http)
    with pytest.raises(Refused, match="262144"):
        sink.send([encoded(sink, Record(extended_message("x", seq=1), "a"))])
    sink.close()


def test_a_long_line(tmp_path: Path, http: Answers) -> None:
    """A line that the server could cut without saying so is refused here; the bytes count, not the characters."""
    sink = module(tmp_path, http, largest="2K")
    sink.encode(Record(extended_message("é" * 800, seq=1), "a"))
    with pytest.raises(ValueError, match="the setting largest"):
        sink.encode(Record(extended_message("é" * 1024, seq=1), "a"))


@pytest.mark.parametrize("settings", [{"labels": ["seq"]}, {"tenant": "a\nb"}, {"largest": "1"}])
def test_wrong_settings(tmp_path: Path, http: Answers, settings: dict[str, object]) -> None:
    """A wrong setting is named."""
    with pytest.raises(ModuleError, match=next(iter(settings))):
        module(tmp_path, http, **settings)
