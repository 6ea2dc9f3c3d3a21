"""Sends messages, crash reports and events to Grafana Loki (docs/streams): each is a line of JSON with all fields.

Loki has no identities: it drops an entry whose time and line are those of another one in the same stream. The line has
the record's id therefore: two machines that say the same at the same time are kept, and a second copy is recognised.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Literal

from netconsd.rendering import LEVELS
from netconsd.streams.httpstream import HttpStream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, TryLater
from netconsd.units import Size

Label = Literal["host", "name", "kind", "level"]

#: A stream for each host: within one, an entry an hour older than the newest is refused ("too far behind"), and only
#: the records of a host are in order after an outage.
LABELS: Final[tuple[Label, ...]] = ("host", "kind")
#: The default of Loki's max_line_size. With max_line_size_truncate it answers 204 to longer lines, and cuts them.
LARGEST: Final = Size("256K")
#: Loki's status for a push that it accepted. It answers 260, or 200, to one that it drops
#: (block_ingestion_status_code).
_ACCEPTED: Final = 204


class Loki(HttpStream):
    """Posts batches to ``/loki/api/v1/push``."""

    def __init__(
        self, *, tenant: str = "", labels: list[Label] | None = None, largest: Size = LARGEST, **settings: Any
    ) -> None:
        """
        :param tenant: the tenant, if the server has several (X-Scope-OrgID).
        :param labels: some of host, name, kind, level: a stream of Loki has one value of each. Default: host, kind.
        :param largest: the server's max_line_size: a longer line becomes a dead letter.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        if unknown := sorted(set(labels or ()) - {"host", "name", "kind", "level"}):
            raise ValueError(f"labels: {unknown[0]} is none of host, name, kind, level")
        if any(character in tenant for character in "\r\n"):
            raise ValueError("tenant: has a line break")
        if not 1024 <= largest <= 16 << 20:
            raise ValueError(f"largest: {largest} is not from 1K to 16M")
        self._labels = tuple(LABELS if labels is None else labels)
        self._headers = {"Content-Type": "application/json"} | ({"X-Scope-OrgID": tenant} if tenant else {})
        self._largest = int(largest)

    def encode(self, record: Record) -> bytes:
        """Return an entry: the time in nanoseconds, and the line.

        :raises ValueError: if the server would refuse or cut the line.
        """
        line = json.dumps(record.fields(), separators=(",", ":"), ensure_ascii=False)
        if (size := len(line.encode())) > self._largest:
            raise ValueError(f"{size} bytes are more than {self._largest}, the setting largest")
        # Not received_at * 1e9: a float has microseconds only, and the digits behind would be noise.
        return json.dumps([f"{round(record.received_at * 1e6)}000", line], separators=(",", ":")).encode()

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Post a batch, as one stream for each combination of labels.

        A batch with an entry that it refuses is answered by 400, and its other entries are kept: the halves that are
        sent then are second copies, which it recognises.
        """
        streams: dict[tuple[str, ...], list[bytes]] = {}
        for each in batch:
            streams.setdefault(tuple(self._value(name, each.record) for name in self._labels), []).append(each.data)
        body = b",".join([self._stream(values, entries) for values, entries in streams.items()])
        try:
            answered = self.http.request("POST", "/loki/api/v1/push", b'{"streams":[%b]}' % body, self._headers)
        except Refused as error:
            if "no org id" in str(error):
                raise TryLater(f"{self.http.url}: {error}: set tenant") from error
            raise
        if answered.status != _ACCEPTED:
            shown = answered.body[:300].decode(errors="replace").strip()
            raise TryLater(
                f"{self.http.url}: {answered.text} instead of 204: ingestion is blocked, or no Loki: {shown}"
            )
        return Answer(answered.text)

    def _stream(self, values: tuple[str, ...], entries: list[bytes]) -> bytes:
        labels = {name: value for name, value in zip(self._labels, values, strict=True) if value}
        head = json.dumps({"service_name": "netconsd", **labels}).encode()
        return b'{"stream":%b,"values":[%b]}' % (head, b",".join(entries))

    def _value(self, label: Label, record: Record) -> str:
        if label == "host":
            return record.address
        if label == "name":
            return record.name
        return record.kind if label == "kind" else LEVELS[record.level]
