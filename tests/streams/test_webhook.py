"""The module webhook: the two formats, the answer, idempotency."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import ModuleError
from netconsd.streams.record import Record
from netconsd.streams.sink import TryLater
from netconsd.testing import crash_report, event, extended_message
from tests.support.http_server import Answers, Request, serving
from tests.support.scripted_stream import Rig, encoded, made, messages

NOW = 1_795_000_000.123456


@pytest.fixture
def http() -> Iterator[Answers]:
    """A running server."""
    with serving() as answers:
        yield answers


def read(request: Request) -> list[dict[str, Any]]:
    """Return the records of a request."""
    if request.headers["Content-Type"] == "application/json":
        found: list[dict[str, Any]] = json.loads(request.body)
        return found
    assert request.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in request.body.splitlines()]


@pytest.mark.parametrize("format", ["array", "lines"])
def test_every_field_arrives(tmp_path: Path, http: Answers, format: str) -> None:
    """Each record is an object with all fields and the time, at the path of the URL."""
    sink = made("webhook", tmp_path, url=f"{http.url}/hook", format=format, headers=["Authorization: Bearer abc"])
    records = [
        Record(
            extended_message("one\n é", seq=1, received_at=NOW, userdata={"rack": "a"}), "192.0.2.1/7/1", 7, "web01"
        ),
        Record(crash_report(received_at=NOW), "r"),
        Record(event(received_at=NOW, how="crash"), "e"),
    ]
    assert sink.send([encoded(sink, each) for each in records]).text == "200 OK"
    sink.close()
    assert (http.requests[0].path, http.requests[0].headers["Authorization"]) == ("/hook", "Bearer abc")
    assert read(http.requests[0]) == [{"time": NOW, **each.fields()} for each in records]


@pytest.mark.parametrize("format", ["array", "lines"])
def test_refused_records(tmp_path: Path, http: Answers, format: str) -> None:
    """A record that the answer names becomes a dead letter, and one that has the batch answered by 400 as well."""
    taken: list[int] = []

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        records = read(request)
        if any(record["text"] == "line 9" for record in records):
            return 400, {}, b"nine"
        refused = {str(place): "four" for place, record in enumerate(records) if record["text"] == "line 4"}
        taken.extend(record["seq"] for place, record in enumerate(records) if str(place) not in refused)
        return 200, {}, json.dumps({"refused": refused}).encode()

    http.answer = answer
    rig = Rig(tmp_path, made("webhook", tmp_path, url=http.url, format=format))
    rig.append(0, messages(20))
    counts = rig.run()
    assert (counts.sent, counts.dead) == (18, 2)
    assert taken == [n for n in range(1, 21) if n not in (4, 9)]
    assert [letter["answer"] for letter in rig.dead()] == ["four", "400 Bad Request: nine"]


def test_the_same_key_again(tmp_path: Path, http: Answers) -> None:
    """A batch that is sent again has the same Idempotency-Key, another one another."""
    sink = made("webhook", tmp_path, url=http.url)
    for text in ("x", "x", "y"):
        sink.send([encoded(sink, Record(extended_message(text, seq=1), text))])
    sink.close()
    first, second, third = (request.headers["Idempotency-Key"] for request in http.requests)
    assert first == second != third


@pytest.mark.parametrize(
    "body", [b"", b"ok", b"[1]", b'"x"', b'{"ok": true}', b'{"refused": 1}', b'{"refused": {"-1": 2}}']
)
def test_other_answers(tmp_path: Path, http: Answers, body: bytes) -> None:
    """2xx with any other body accepts everything."""
    http.answer = lambda request: (202, {}, body)
    sink = made("webhook", tmp_path, url=http.url)
    answer = sink.send([encoded(sink, Record(extended_message("x", seq=1), "a"))])
    sink.close()
    assert (answer.text, dict(answer.refused)) == ("202 Accepted", {})


def test_a_refused_record_that_was_not_sent(tmp_path: Path, http: Answers) -> None:
    """The answer is about another batch: nothing is known to have arrived."""
    http.answer = lambda request: (200, {}, b'{"refused": {"1": "x"}}')
    sink = made("webhook", tmp_path, url=http.url)
    with pytest.raises(TryLater, match="was not sent"):
        sink.send([encoded(sink, Record(extended_message("x", seq=1), "a"))])
    sink.close()


def test_a_key_in_the_url(tmp_path: Path, http: Answers) -> None:
    """What is behind the "?" is sent, and no text of an error has it: it can be a password."""
    sink = made("webhook", tmp_path, url=f"{http.url}/hook?key=secret")
    batch = [encoded(sink, Record(extended_message("x", seq=1), "a"))]
    sink.send(batch)
    assert http.requests[0].path == "/hook?key=secret"
    http.answer = lambda request: (503, {}, b"")
    with pytest.raises(TryLater) as raised:
        sink.send(batch)
    sink.close()
    assert "secret" not in str(raised.value)
    with pytest.raises(ModuleError, match="url: "):
        made("webhook", tmp_path, url=f"{http.url}?a b")


def test_a_wrong_format(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(ModuleError, match="format"):
        made("webhook", tmp_path, url="http://127.0.0.1", format="xml")
