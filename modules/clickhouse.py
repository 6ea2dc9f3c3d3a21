"""Sends messages, crash reports and events to ClickHouse, as rows of a table (docs/streams has its definition).

A second copy is recognised three times: the token of an INSERT is made of the ids, so that the server drops the same
batch; after a retry the server is asked for the ids that it has; and ReplacingMergeTree keeps one row of an id.
ClickHouse can answer 200 and have the error in the body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode

from netconsd.streams.http import ANSWER_BYTES
from netconsd.streams.httpstream import HttpStream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, TryLater

TABLE: Final = "netconsd"
#: Settings of each INSERT, whatever the user's profile has: wait until the rows are written, and accept all or none.
SETTINGS: Final = {
    "async_insert": "0",
    "wait_end_of_query": "1",
    "date_time_input_format": "basic",
    "input_format_allow_errors_num": "0",
    "input_format_allow_errors_ratio": "0",
    "input_format_skip_unknown_fields": "0",
}
#: Codes of errors that are about rows: CANNOT_PARSE_TEXT, _QUOTED_STRING, _INPUT_ASSERTION_FAILED, _DATE, _DATETIME,
#: ARGUMENT_OUT_OF_BOUND, CANNOT_PARSE_NUMBER, INCORRECT_DATA, TOO_LARGE_STRING_SIZE, VIOLATED_CONSTRAINT. Each other
#: one is about the table, the user or the server.
ABOUT_ROWS: Final = frozenset((6, 26, 27, 38, 41, 69, 72, 117, 131, 469))
#: Columns with fields of the same name; the others are in the column fields.
_COLUMNS: Final = frozenset(("id", "kind", "host", "name", "level", "severity", "text", "boot", "seq", "ts_usec"))


class ClickHouse(HttpStream):
    """Inserts batches by HTTP, in the format JSONEachRow."""

    def __init__(self, *, table: str = TABLE, **settings: Any) -> None:
        """
        :param table: the table, as netconsd or logs.netconsd.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        if not re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*", table):
            raise ValueError(f'table: "{table}" is no name of a table, such as {TABLE} or logs.{TABLE}')
        self._table = table

    def encode(self, record: Record) -> bytes:
        """Return a row."""
        row: dict[str, Any] = {"time": _time(record.received_at), "fields": {}}
        for name, value in record.fields().items():
            if name in _COLUMNS:
                row[name] = value
            else:
                row["fields"][name] = str(value)
        return json.dumps(row, separators=(",", ":")).encode() + b"\n"

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Insert a batch: the server takes all rows or none, if they are of one month."""
        token = sha256("\n".join([each.record.id for each in batch]).encode(errors="surrogatepass")).hexdigest()
        insert = {"query": f"INSERT INTO {self._table} FORMAT JSONEachRow", "insert_deduplication_token": token}
        text, body = self._query({**insert, **SETTINGS}, b"".join([each.data for each in batch]))
        if body.strip():
            raise _error(text, body.decode(errors="replace"))
        return Answer(text)

    def stored(self, batch: Sequence[Encoded]) -> frozenset[int]:
        """Ask for the identities that the table has in the time of a batch."""
        times = [each.record.received_at for each in batch]
        first, last = (f"toDateTime64('{_time(at)}', 6, 'UTC')" for at in (min(times), max(times)))
        ids = ", ".join([_quoted(each.record.id) for each in batch])
        # The time, for the index; the ids, as the times of a report and a message can be days apart.
        query = (
            f"SELECT DISTINCT id FROM {self._table} WHERE time BETWEEN {first} AND {last} AND id IN ({ids}) "
            "FORMAT JSONCompactEachRow"
        ).encode()
        settings = {"wait_end_of_query": "1", "max_query_size": str(len(query) + 1)}
        try:
            text, body = self._query(settings, query, most=len(query) + ANSWER_BYTES)
        except Refused as error:
            # It refuses the question, and no row.
            raise TryLater(str(error)) from error
        try:
            known = {json.loads(line)[0] for line in body.splitlines()}
        except (ValueError, LookupError, TypeError) as error:
            raise TryLater(f"{self.http.url}: {text}: {_shown(body)}") from error
        return frozenset([place for place, each in enumerate(batch) if each.record.id in known])

    def _query(self, settings: dict[str, str], body: bytes, most: int = ANSWER_BYTES) -> tuple[str, bytes]:
        """Return the status and the body of an answer.

        :raises Refused: for an error about rows.
        :raises TryLater: for any other.
        """
        try:
            answered = self.http.request("POST", f"/?{urlencode(settings)}", body, most=most)
        except (Refused, TryLater) as error:
            # The status of an error depends on the version: the code decides. A proxy's 413 has none.
            if str(error).startswith("413 "):
                raise
            if _code(str(error)) is None:
                raise TryLater(str(error), getattr(error, "retry_after", None)) from error
            raise _error("", str(error), getattr(error, "retry_after", None)) from error
        return answered.text, answered.body


def _error(status: str, text: str, retry_after: float | None = None) -> Exception:
    """Return the exception for an error of the server, also one in the body of an answer with status 200."""
    shown = f"{status}: {_shown(text.encode())}" if status else text
    # An unknown field is a column that the table lacks, for all rows.
    if _code(text) in ABOUT_ROWS and "Unknown field" not in text:
        return Refused(shown)
    return TryLater(shown, retry_after)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _code(text: str) -> int | None:
    found = re.search(r"\bCode: (\d{1,6})\b", text)
    return int(found[1]) if found else None


def _shown(body: bytes) -> str:
    return " ".join(body[:300].decode(errors="replace").split())


def _time(received_at: float) -> str:
    return datetime.fromtimestamp(received_at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
