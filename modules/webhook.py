"""Posts messages, crash reports and events as JSON to a program of one's own, or to any service that takes webhooks.

The request has an array of objects, or lines of JSON. 2xx accepts all of them, except those that the answer refuses by
name: ``{"refused": {"2": "no such host"}}``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, Literal

from netconsd.streams.httpstream import HttpStream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, TryLater

#: Bytes of an answer: the reasons for a batch of refused records.
_ANSWER_BYTES: Final = 4 << 20


class Webhook(HttpStream):
    """Posts batches to the URL."""

    def __init__(self, *, url: str, format: Literal["array", "lines"] = "array", **settings: Any) -> None:
        """
        :param url: the service, as https://hooks.example.net/kernel?key=secret.
        :param format: array (application/json) or lines (application/x-ndjson).
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        address, question, query = url.partition("?")
        super().__init__(url=address, **settings)
        if not query.isascii() or not query.isprintable() or " " in query:
            raise ValueError('url: escape the characters behind the "?" as %XX')
        # Not in texts of errors: it can be a password.
        self._query = question + query
        self._lines = format == "lines"

    def encode(self, record: Record) -> bytes:
        """Return an object with all fields, and the time of receipt in Unix seconds."""
        fields = {"time": round(record.received_at, 6), **record.fields()}
        return json.dumps(fields, separators=(",", ":")).encode()

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Post a batch. Sent again, the same batch has the same Idempotency-Key."""
        data = [each.data for each in batch]
        body = b"\n".join(data) + b"\n" if self._lines else b"[%b]" % b",".join(data)
        key = sha256("\n".join([each.record.id for each in batch]).encode(errors="surrogatepass")).hexdigest()
        kind = "application/x-ndjson" if self._lines else "application/json"
        answered = self.http.request(
            "POST", self._query, body, {"Content-Type": kind, "Idempotency-Key": key}, most=_ANSWER_BYTES
        )
        refused = _refused(answered.body)
        if any(place >= len(batch) for place in refused):
            raise TryLater(f"{self.http.url}: {answered.text} refuses a record that was not sent")
        return Answer(answered.text, refused)


def _refused(body: bytes) -> dict[int, str]:
    """Return the records that an answer refuses; none if it is not such an answer."""
    try:
        refused = json.loads(body)["refused"]
        return {int(place): str(reason) for place, reason in refused.items() if place.isdecimal()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
