"""Sends messages, crash reports and events to Elasticsearch or OpenSearch (docs/streams), by its bulk API.

The record's id is the document's ``_id``, and the operation is ``create``: the server refuses a second copy with 409,
which counts as accepted. ``_bulk`` answers 200 with the errors of single documents inside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from netconsd.streams.httpstream import HttpStream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, TryLater

#: A data stream of Elasticsearch's own template for logs.
INDEX: Final = "logs-netconsd-default"
#: The fields of an answer: those of a document are about 40 bytes, and 500 with an error.
FILTER: Final = ",".join(
    f"items.create.{name}" for name in ("status", "result", "failure_store", "error.type", "error.reason")
)
#: Bytes of the answer to the largest batch, if every document has an error.
_ANSWER_BYTES: Final = 64 << 20
#: Statuses of a document that are about the document.
_ABOUT_DOCUMENT: Final = frozenset((400, 413, 422))
#: Errors with such a status that are about the index.
_ABOUT_INDEX: Final = frozenset(("index_closed_exception", "invalid_index_name_exception"))
#: The least number that the type long, which an index gives to numbers, does not have: it refuses the document.
_LONG_LIMIT: Final = 1 << 63
#: Bytes of an _id.
_ID_BYTES: Final = 512


class Elasticsearch(HttpStream):
    """Posts batches to ``/INDEX/_bulk``."""

    def __init__(self, *, index: str = INDEX, **settings: Any) -> None:
        """
        :param index: the data stream, index or alias.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        if not re.fullmatch(r'[^\\/*?"<>| ,#:A-Z\x00-\x1f+_.-][^\\/*?"<>| ,#:A-Z\x00-\x1f]*', index):
            raise ValueError(f'index: "{index}" is no name of an index, such as {INDEX}')
        self._path = f"/{quote(index)}/_bulk?filter_path={FILTER}"

    def encode(self, record: Record) -> bytes:
        """Return the two lines of an operation.

        :raises ValueError: if the id is too long.
        """
        if len(record.id.encode()) > _ID_BYTES:
            raise ValueError(f"its id has more than {_ID_BYTES} bytes")
        lines = {"create": {"_id": record.id}}, _document(record)
        return b"".join([json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines])

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Post a batch, and read the answer about each document."""
        body = b"".join([each.data for each in batch])
        headers = {"Content-Type": "application/x-ndjson"}
        try:
            answered = self.http.request("POST", self._path, body, headers, most=_ANSWER_BYTES)
        except Refused as error:
            if "no handler found" in str(error):
                raise TryLater(f"{self.http.url}: {error}: is the url right?") from error
            raise
        try:
            items = [item["create"] for item in json.loads(answered.body)["items"]]
            statuses = [int(item["status"]) for item in items]
        except (ValueError, KeyError, TypeError):
            items, statuses = [], []
        if len(items) != len(batch):
            raise TryLater(f"{self.http.url}: {answered.text} without {len(batch)} items: is it Elasticsearch?")
        refused: dict[int, str] = {}
        later: dict[int, str] = {}
        for place, (status, item) in enumerate(zip(statuses, items, strict=True)):
            text = _error(item)
            if 200 <= status < 300:
                if item.get("failure_store") == "used":
                    refused[place] = f"{status}: the server put it into the failure store of the data stream"
                elif item.get("result") == "noop":
                    refused[place] = f"{status} noop: an ingest pipeline dropped it"
            elif status in _ABOUT_DOCUMENT and not _is_about_index(item):
                refused[place] = f"{status} {text}"
            elif status != 409:
                later[place] = f"{status} {text}"
        return Answer(next(iter(later.values()), answered.text), refused, frozenset(later))


def _error(item: Mapping[str, Any]) -> str:
    error = item.get("error")
    if not isinstance(error, dict):
        return str(error or "")
    return f"{error.get('type')}: {error.get('reason')}"


def _is_about_index(item: Mapping[str, Any]) -> bool:
    text = _error(item)
    return text.partition(":")[0] in _ABOUT_INDEX or "no write index" in text


def _document(record: Record) -> dict[str, Any]:
    """Return a document with four fields of the Elastic Common Schema, and all of netconsd's.

    A stranger chooses the names in the userdata: they are no fields of the index, which has a limit, but values.
    """
    fields: dict[str, Any] = {}
    for name, value in record.fields().items():
        group, dot, key = name.partition(".")
        if dot:
            fields.setdefault(group, []).append(f"{key}={value}")
        elif isinstance(value, int) and value >= _LONG_LIMIT:
            fields.setdefault("large", []).append(f"{name}={value}")
        elif name != "text":
            fields[name] = value
    at = datetime.fromtimestamp(record.received_at, UTC)
    return {
        "@timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "message": record.text,
        "host": {"name": record.name or record.address},
        "log": {"level": fields["level"]},
        "netconsd": fields,
    }
