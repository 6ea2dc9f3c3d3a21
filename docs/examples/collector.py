"""Sends records to a collector as lines of JSON: POST /lines, answered by {"refused": {LINE: REASON}}."""

import json
import time
from collections.abc import Sequence
from typing import Any

from netconsd.sinks import Answer, Encoded, Http, Record, Stream


class Collector(Stream):
    """Posts each batch."""

    def __init__(self, *, url: str, token: str = "", **settings: Any) -> None:
        """
        :param url: the collector, as http://127.0.0.1:8080.
        :param token: a password.
        """
        super().__init__(**settings)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self.http = Http(url, timeout=30.0, headers=headers)
        except ValueError as error:
            raise ValueError(f"url: {error}") from None

    def encode(self, record: Record) -> bytes:
        """Return a line of JSON, with the time as the collector takes it."""
        fields = record.fields()
        fields["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.received_at))
        line = json.dumps(fields).encode() + b"\n"
        if len(line) > 100_000:
            raise ValueError(f"{len(line)} bytes are more than the collector takes")
        return line

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Post the lines; 400 splits the batch, 503 and its Retry-After have it sent again."""
        answered = self.http.request("POST", "/lines", b"".join([each.data for each in batch]))
        refused = json.loads(answered.body or b"{}").get("refused", {})
        return Answer(answered.text, {int(line): reason for line, reason in refused.items()})

    def close(self) -> None:
        """Close the connection."""
        self.http.close()
