"""The module clickhouse with a scripted server that answers as ClickHouse's documentation says, and with chdb, the
engine of ClickHouse as a library, for the rows and the queries."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from netconsd.outputs.loader import ModuleError
from netconsd.streams.record import Record
from netconsd.streams.sink import Refused, TryLater
from netconsd.testing import crash_report, event, extended_message, legacy_message
from tests.support.http_server import Answers, Request, serving
from tests.support.scripted_lane import PATIENCE
from tests.support.scripted_stream import Rig, encoded, made, messages

NOW = 1_795_000_000.123456
SQL = Path(__file__).parents[2] / "docs/examples/clickhouse.sql"
PARSE = "Code: 27. DB::Exception: Cannot parse input: expected '\"' before: (at row 3) (CANNOT_PARSE_INPUT_...)"

Reply = tuple[int, dict[str, str], bytes]


class ClickHouse:
    """A table, and the tokens of its inserts: an INSERT with a token that it has changes nothing."""

    def __init__(self, http: Answers) -> None:
        self.rows: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.refuses = "\0"
        #: Answers before those of the table; True if the rows are kept nevertheless.
        self.first: list[tuple[Reply, bool]] = []
        http.answer = self.answer

    def answer(self, request: Request) -> Reply:
        """Answer a query."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        if request.body.startswith(b"SELECT"):
            asked = [row["id"] for row in self.rows if f"'{row['id']}'".encode() in request.body]
            return 200, {}, b"".join([json.dumps([name]).encode() + b"\n" for name in asked])
        assert query["query"] == "INSERT INTO netconsd FORMAT JSONEachRow"
        rows = [json.loads(line) for line in request.body.splitlines()]
        if self.first:
            reply, kept = self.first.pop(0)
            self.rows += rows if kept else []
            return reply
        if any(self.refuses == row["text"] for row in rows):
            return 400, {"X-ClickHouse-Exception-Code": "27"}, PARSE.encode()
        if query["insert_deduplication_token"] not in self.tokens:
            self.tokens.add(query["insert_deduplication_token"])
            self.rows += rows
        return 200, {}, b""


@pytest.fixture
def http() -> Iterator[Answers]:
    """A running server."""
    with serving() as answers:
        yield answers


@pytest.fixture
def server(http: Answers) -> ClickHouse:
    """It answers as ClickHouse."""
    return ClickHouse(http)


@pytest.fixture
def sink(tmp_path: Path, http: Answers) -> Iterator[Any]:
    """A module for the server."""
    sink = made("clickhouse", tmp_path, url=http.url, headers=["X-ClickHouse-User: writer"])
    yield sink
    sink.close()


def one(sink: Any, text: str = "x") -> list[Any]:
    """Return a batch of one record."""
    return [encoded(sink, Record(extended_message(text, seq=1), f"a/7/{text}", 7))]


def test_a_batch(http: Answers, server: ClickHouse, sink: Any) -> None:
    """The rows arrive with the settings that have the server write before it answers, and accept all rows or none."""
    body = extended_message("one", seq=1, level=3, received_at=NOW, userdata={"rack": "a"})
    assert sink.send([encoded(sink, Record(body, "192.0.2.1/7/1", 7, "web01"))]).text == "200 OK"
    query = parse_qs(urlsplit(http.requests[0].path).query)
    assert (query["async_insert"], query["wait_end_of_query"]) == (["0"], ["1"])
    assert query["input_format_allow_errors_num"] == query["input_format_skip_unknown_fields"] == ["0"]
    assert http.requests[0].headers["X-ClickHouse-User"] == "writer"
    assert server.rows == [
        {
            "id": "192.0.2.1/7/1", "kind": "message", "time": "2026-11-18 11:06:40.123456", "host": "192.0.2.1",
            "name": "web01", "level": "err", "severity": 3, "text": "one", "boot": 7, "seq": 1, "ts_usec": 1_000_000,
            "fields": {"port": "6665", "facility": "0", "format": "extended", "userdata.rack": "a"},
        }
    ]  # fmt: skip


def test_a_bad_row(tmp_path: Path, server: ClickHouse, sink: Any) -> None:
    """A row that cannot be parsed becomes a dead letter with the server's error, and the others are there once."""
    server.refuses = "line 4"
    rig = Rig(tmp_path, sink)
    rig.append(0, messages(20))
    counts = rig.run()
    assert (counts.sent, counts.dead, counts.retried) == (19, 1, 0)
    assert sorted(row["seq"] for row in server.rows) == [n for n in range(1, 21) if n != 4]
    assert "Code: 27" in rig.dead()[0]["answer"]


@pytest.mark.parametrize("kept", [False, True])
def test_an_answer_that_was_lost(tmp_path: Path, server: ClickHouse, sink: Any, kept: bool) -> None:
    """A batch whose answer did not come is there once afterwards, whether the server had written it or not."""
    server.first = [((504, {}, b"gateway timeout"), kept)]
    rig = Rig(tmp_path, sink)
    rig.append(0, messages(20))
    counts = rig.run()
    assert (counts.sent, counts.dead, counts.retried) == (20, 0, 1)
    assert sorted(row["seq"] for row in server.rows) == list(range(1, 21))


def test_the_token_is_that_of_the_batch(http: Answers, sink: Any) -> None:
    """The same batch has the same token, another one another."""
    for text in ("x", "x", "y"):
        sink.send(one(sink, text))
    tokens = [parse_qs(urlsplit(each.path).query)["insert_deduplication_token"][0] for each in http.requests]
    assert tokens[0] == tokens[1] != tokens[2]


@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_error_about_rows(http: Answers, sink: Any, status: int) -> None:
    """The code decides, whatever the status; also 200, which was sent before the error."""
    http.answer = lambda request: (status, {}, PARSE.encode())
    with pytest.raises(Refused, match="Code: 27"):
        sink.send(one(sink))


@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize(
    "text",
    [
        "Code: 60. DB::Exception: Table default.netconsd does not exist. (UNKNOWN_TABLE)",
        "Code: 117. DB::Exception: Unknown field found while parsing JSONEachRow format: boot. (INCORRECT_DATA)",
        "Code: 252. DB::Exception: Too many parts (3000). (TOO_MANY_PARTS)",
        "Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)",
        "Code: 62. DB::Exception: Syntax error. (SYNTAX_ERROR)",
        "Ok.",
    ],
)
def test_an_error_about_the_table(http: Answers, sink: Any, status: int, text: str) -> None:
    """These make no dead letters, with any status; nor is an INSERT accepted whose answer is not empty."""
    http.answer = lambda request: (status, {}, text.encode())
    with pytest.raises(TryLater, match=text[:8]):
        sink.send(one(sink))


@pytest.mark.parametrize(("status", "code"), [(200, 241), (400, 41), (500, 241)])
def test_an_error_instead_of_ids(http: Answers, sink: Any, status: int, code: int) -> None:
    """It is no list of ids, and refuses no rows."""
    http.answer = lambda request: (status, {}, b'["a/7/x"]\nCode: %d. DB::Exception: because' % code)
    with pytest.raises(TryLater, match=f"Code: {code}"):
        sink.stored(one(sink))


def test_a_batch_that_is_too_large(http: Answers, sink: Any) -> None:
    """A proxy's limit has the batch sent in halves."""
    http.answer = lambda request: (413, {}, b"<html>Request Entity Too Large</html>")
    with pytest.raises(Refused, match="413"):
        sink.send(one(sink))


@pytest.mark.parametrize("table", ["", "a b", "a;b", "a.b.c", "1a", "`a`"])
def test_wrong_tables(tmp_path: Path, table: str) -> None:
    """A name that would be another query is an error at the start."""
    with pytest.raises(ModuleError, match="table: "):
        made("clickhouse", tmp_path, url="http://127.0.0.1", table=table)


CHDB = """
import sys
from chdb.session import Session
session = Session()
create, insert, select = sys.stdin.read().split("\\0")
for sql in ("CREATE DATABASE d", "USE d", create, insert, insert):
    session.query(sql)
print(session.query(select, "TSVRaw").bytes().decode(), end="")
print(session.query("SELECT * FROM netconsd FINAL ORDER BY id", "JSONEachRow").bytes().decode(), end="")
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_engine_takes_the_rows(http: Answers, sink: Any) -> None:
    """ClickHouse's own engine, with the table of the docs: every field arrives, the same batch is there once, and the
    query for ids finds it."""
    if find_spec("chdb") is None:
        pytest.skip("needs chdb: pip install 'netconsd[clickhouse-test]'")
    records = [
        Record(
            extended_message(
                'q"\\\t\x00\x1b é \U0001f600 {}', seq=(1 << 64) - 1, ts_usec=(1 << 64) - 1, received_at=NOW,
                userdata={"k'ey": "v\n"}, missing=3,
            ),
            "a'\\", 1_795_000_000, "web01",
        ),
        Record(legacy_message("old", received_at=NOW + 1e-6), "b"),
        Record(crash_report(received_at=NOW), "c"),
        Record(event(received_at=NOW + 86_400 * 40, how="crash"), "d"),
    ]  # fmt: skip
    batch = [encoded(sink, record) for record in records]
    sink.send(batch)
    assert sink.stored(batch) == frozenset()
    insert, select = (parse_qs(urlsplit(each.path).query) for each in http.requests)
    assert int(select["max_query_size"][0]) > len(http.requests[1].body)
    settings = ", ".join(f"{name}='{values[0]}'" for name, values in insert.items() if name not in
                         ("query", "wait_end_of_query"))  # fmt: skip
    statement = insert["query"][0].replace(" FORMAT", f" SETTINGS {settings} FORMAT")
    data = b"".join([each.data for each in batch]).decode()
    done = subprocess.run(
        [sys.executable, "-c", CHDB], input=f"{SQL.read_text()}\0{statement}\n{data}\0{http.requests[1].body.decode()}",
        capture_output=True, text=True, check=False, timeout=PATIENCE * 4,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    # Four, not eight: the second INSERT has the token of the first.
    assert sorted(line for line in lines if isinstance(line, list)) == [["a'\\"], ["b"], ["c"], ["d"]]
    rows = [line for line in lines if isinstance(line, dict)]
    for row, record in zip(rows, records, strict=True):
        expected = {name: str(value) for name, value in record.fields().items()}
        columns = {name: str(value) for name, value in row.items() if name not in ("time", "fields") and value not in
                   (None, "")}  # fmt: skip
        assert columns | row["fields"] == expected
    assert [row["time"] for row in rows][:2] == ["2026-11-18 11:06:40.123456", "2026-11-18 11:06:40.123457"]
