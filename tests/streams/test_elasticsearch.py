"""The module elasticsearch with a scripted server that answers as the documentation of ``_bulk`` says (8.x, 9.x)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from netconsd.outputs.loader import ModuleError
from netconsd.streams.record import Record
from netconsd.streams.sink import TryLater
from netconsd.testing import crash_report, event, extended_message
from tests.support.http_server import Answers, Request, serving
from tests.support.scripted_stream import Rig, encoded, made, messages

NOW = 1_795_000_000.123456


class Elasticsearch:
    """An index: documents by their ``_id``. It refuses a second document with an id by 409."""

    def __init__(self, http: Answers) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        #: The items of the answers to documents, by the texts of these; each is used so many times.
        self.items: dict[str, tuple[dict[str, Any], int]] = {}
        http.answer = self.answer

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Answer a request of ``_bulk``: 200, whatever the items are."""
        lines = [json.loads(line) for line in request.body.splitlines()]
        items = [
            {"create": self.item(action["create"]["_id"], document)}
            for action, document in zip(lines[::2], lines[1::2], strict=True)
        ]
        return 200, {}, json.dumps({"items": items}).encode()

    def item(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        """Take a document."""
        item, left = self.items.get(document["message"], ({}, 0))
        if left:
            self.items[document["message"]] = item, left - 1
            return item
        if name in self.documents:
            return error(409, "version_conflict_engine_exception", f"[{name}]: document already exists")
        self.documents[name] = document
        return {"status": 201, "result": "created"}


def error(status: int, kind: str, reason: str = "because") -> dict[str, Any]:
    """Return the item of a document that is not stored."""
    return {"status": status, "error": {"type": kind, "reason": reason}}


@pytest.fixture
def http() -> Iterator[Answers]:
    """A running server."""
    with serving() as answers:
        yield answers


@pytest.fixture
def server(http: Answers) -> Elasticsearch:
    """It answers as Elasticsearch."""
    return Elasticsearch(http)


@pytest.fixture
def sink(tmp_path: Path, http: Answers) -> Iterator[Any]:
    """A module for the server."""
    sink = made("elasticsearch", tmp_path, url=f"{http.url}/es/", headers=["Authorization: ApiKey abc"])
    yield sink
    sink.close()


def test_every_field_arrives(http: Answers, server: Elasticsearch, sink: Any) -> None:
    """A document has the time, the text, the level and the host where the Elastic Common Schema has them, and all
    fields under netconsd; the id is the record's."""
    userdata = {"rack": "a", "rack.unit": "3"}
    message = Record(
        extended_message("one", seq=1, level=3, received_at=NOW, userdata=userdata, dictionary={"SUBSYSTEM": "usb"}),
        "192.0.2.1/7/1", 7, "web01",
    )  # fmt: skip
    report, happened = Record(crash_report(received_at=NOW), "r"), Record(event(received_at=NOW, how="crash"), "e")
    assert sink.send([encoded(sink, each) for each in (message, report, happened)]).text == "200 OK"
    request = http.requests[0]
    assert urlsplit(request.path).path == "/es/logs-netconsd-default/_bulk"
    assert "items.create.status" in parse_qs(urlsplit(request.path).query)["filter_path"][0].split(",")
    assert request.headers["Content-Type"] == "application/x-ndjson"
    assert request.headers["Authorization"] == "ApiKey abc"
    assert server.documents["192.0.2.1/7/1"] == {
        "@timestamp": "2026-11-18T11:06:40.123456Z", "message": "one", "host": {"name": "web01"},
        "log": {"level": "err"},
        "netconsd": {
            "id": "192.0.2.1/7/1", "kind": "message", "host": "192.0.2.1", "name": "web01", "level": "err",
            "severity": 3, "boot": 7, "port": 6665, "facility": 0, "ts_usec": 1_000_000, "format": "extended", "seq": 1,
            "userdata": ["rack=a", "rack.unit=3"], "dictionary": ["SUBSYSTEM=usb"],
        },
    }  # fmt: skip
    fields = report.fields()
    fields.pop("text")
    assert server.documents["r"]["netconsd"] == fields
    assert server.documents["e"]["netconsd"]["details"] == ["how=crash"]
    assert server.documents["e"]["host"] == {"name": "192.0.2.1"}


def test_numbers_beyond_63_bits(sink: Any) -> None:
    """A number that an index refuses is a text in a field of its own: the document is not refused for it."""
    message = extended_message("x", seq=2**64 - 1, ts_usec=2**63, received_at=NOW, missing=2**63 - 1)
    document = json.loads(sink.encode(Record(message, "192.0.2.1/7/1", 7)).splitlines()[1])
    assert document["netconsd"]["large"] == ["ts_usec=9223372036854775808", "seq=18446744073709551615"]
    assert not {"seq", "ts_usec"} & set(document["netconsd"])
    assert document["netconsd"]["missing"] == 2**63 - 1


def test_names_of_fields_are_netconsds(sink: Any) -> None:
    """Whatever a machine sends as userdata, the index gets no field by it, nor an object in the place of a text."""
    userdata = {f"key{n}": "x" for n in range(50)} | {"a": "1", "a.b": "2"}
    record = Record(extended_message("x", seq=1, userdata=userdata), "192.0.2.1/7/1", 7)
    document = json.loads(sink.encode(record).splitlines()[1])
    assert len(document["netconsd"]["userdata"]) == 52
    assert set(document["netconsd"]) == {name.partition(".")[0] for name in record.fields()} - {"text"}


def test_errors_inside_200(tmp_path: Path, server: Elasticsearch, sink: Any) -> None:
    """A bad document becomes a dead letter with the server's reason, one that the server is too busy for is sent again,
    and the others are stored once."""
    server.items = {
        "line 4": (error(400, "document_parsing_exception", "[1:9] failed to parse"), 1),
        "line 7": (error(429, "es_rejected_execution_exception"), 2),
        "line 9": (error(503, "unavailable_shards_exception"), 1),
    }
    rig = Rig(tmp_path, sink)
    rig.append(0, messages(20))
    counts = rig.run()
    assert (counts.sent, counts.dead, counts.retried) == (19, 1, 2)
    assert len(server.documents) == 19
    assert rig.dead()[0]["answer"] == "400 document_parsing_exception: [1:9] failed to parse"
    assert "429 es_rejected_execution_exception: because" in rig.warnings[0]


def test_a_second_copy_is_not_stored(server: Elasticsearch, sink: Any) -> None:
    """A batch that is sent again is accepted, and is there once."""
    batch = [encoded(sink, Record(each, f"a/7/{n}", 7)) for n, each in enumerate(messages(5))]
    sink.send(batch[:3])
    answer = sink.send(batch)
    assert (dict(answer.refused), answer.later, len(server.documents)) == ({}, frozenset(), 5)


@pytest.mark.parametrize(
    "item", [{"status": 201, "result": "created", "failure_store": "used"}, {"status": 200, "result": "noop"}]
)
def test_success_that_is_none(server: Elasticsearch, sink: Any, item: dict[str, Any]) -> None:
    """A document in the failure store, or dropped by a pipeline, is refused although its status is 2xx."""
    server.items = {"line 1": (item, 9)}
    answer = sink.send([encoded(sink, Record(each, each.text, 7)) for each in messages(2)])
    assert list(answer.refused) == [0]
    assert answer.refused[0].startswith(str(item["status"]))


@pytest.mark.parametrize(
    "item",
    [
        error(403, "security_exception"),
        error(404, "index_not_found_exception"),
        error(429, "cluster_block_exception", "disk usage exceeded flood-stage watermark"),
        error(400, "index_closed_exception"),
        error(400, "illegal_argument_exception", "no write index is defined for alias [x]"),
        {"status": 500},
    ],
)
def test_errors_of_the_index_are_none_of_documents(server: Elasticsearch, sink: Any, item: dict[str, Any]) -> None:
    """They make no dead letters, and the answer's text is the reason."""
    server.items = {"line 1": (item, 9)}
    answer = sink.send([encoded(sink, Record(each, each.text, 7)) for each in messages(2)])
    assert (dict(answer.refused), answer.later) == ({}, frozenset([0]))
    assert answer.text.startswith(str(item["status"]))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{}", b'{"items": []}', b'{"items": [{"index": {"status": 201}}]}', b"[]", b'{"items": 1}'],
)
def test_an_answer_without_items(http: Answers, sink: Any, body: bytes) -> None:
    """200 without an item for each document is not accepted."""
    http.answer = lambda request: (200, {}, body)
    with pytest.raises(TryLater, match="without 1 items"):
        sink.send([encoded(sink, Record(extended_message("x", seq=1), "a"))])


def test_a_wrong_url(http: Answers, sink: Any) -> None:
    """Elasticsearch answers 400 to a path that it does not know: that is not about the records."""
    http.answer = lambda request: (400, {}, b'{"error":"no handler found for uri [/es/x/_bulk] and method [POST]"}')
    with pytest.raises(TryLater, match="is the url right"):
        sink.send([encoded(sink, Record(extended_message("x", seq=1), "a"))])


def test_a_long_id(sink: Any) -> None:
    """The server takes no id of more than 512 bytes."""
    sink.encode(Record(extended_message("x", seq=1), "a" * 512))
    with pytest.raises(ValueError, match="512"):
        sink.encode(Record(extended_message("x", seq=1), "a" * 513))


@pytest.mark.parametrize("index", ["", "Logs", "_x", "-x", ".x", "a/b", "a b", "a*", "a,b", "a\n"])
def test_wrong_names_of_indices(tmp_path: Path, index: str) -> None:
    """A name that no index can have is an error at the start."""
    with pytest.raises(ModuleError, match="index: "):
        made("elasticsearch", tmp_path, url="http://127.0.0.1", index=index)
