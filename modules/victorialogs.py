"""Sends messages, crash reports and events to VictoriaLogs, as lines of JSON (docs/streams).

VictoriaLogs answers 200 to lines that it drops: too old or too far ahead for its retention, or too long. The limits are
read from its metrics, and such records become dead letters here. It keeps accepted records in memory for some seconds:
if it is killed, those of that time are sent again, except the ones that it has.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from netconsd.streams.httpstream import HttpStream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, TryLater

#: The flags of VictoriaLogs 1.52 that decide which lines are dropped, with their defaults.
FLAGS: Final = {"retentionPeriod": "7d", "futureRetention": "2d", "insert.maxLineSizeBytes": "262144"}
#: Units of its durations; without one, months (lib/flagutil).
_SECONDS: Final = {"s": 1, "h": 3600, "d": 86_400, "w": 604_800, "M": 2_678_400, "y": 31_536_000, "": 2_678_400}
#: Bytes of its page of metrics: about 200 KB.
_METRICS_BYTES: Final = 8 << 20
#: Bytes of the identities in one query: -search.maxQueryLen is 16 KiB, and a query has a time as well.
_QUERY_BYTES: Final = 12 << 10
#: Bytes of an answer, which has no other identities than the query.
_IDS_BYTES: Final = 1 << 20
#: VictoriaLogs writes what it accepted to disk within 5 s (-inmemoryDataFlushInterval).
SETTLE_SECONDS: Final = 10.0
#: Seconds that clocks differ.
_CLOCKS: Final = 60.0


class VictoriaLogs(HttpStream):
    """Posts batches to ``/insert/jsonline``."""

    settle = SETTLE_SECONDS

    def __init__(self, *, tenant: str = "0:0", headers: list[str] | None = None, **settings: Any) -> None:
        """
        :param tenant: the account and the project, as 12:0.
        :param headers: of each request, each as NAME: VALUE, for a proxy with a password for example.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        account = re.fullmatch(r"(\d{1,10}):(\d{1,10})", tenant)
        if account is None:
            raise ValueError(f'tenant: "{tenant}" is not ACCOUNT:PROJECT, such as 0:0')
        super().__init__(headers=[*(headers or ()), f"AccountID: {account[1]}", f"ProjectID: {account[2]}"], **settings)
        self.now: Callable[[], float] = time.time
        self._started_at: str | None = None
        self._limits_of_server = FLAGS

    def encode(self, record: Record) -> bytes:
        """Return a line.

        :raises ValueError: if the server would drop it.
        """
        fields = {name: value if isinstance(value, str) else str(value) for name, value in record.fields().items()}
        fields["time"] = _time(record.received_at)
        # An empty text counts as a missing one, which gets a text of the server's.
        fields["text"] = fields["text"] or "(empty)"
        line = json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"
        limits = self._limits_of_server
        if len(line) > int(limits["insert.maxLineSizeBytes"]):
            raise ValueError(f"{len(line)} bytes are more than the server's -insert.maxLineSizeBytes")
        age = self.now() - record.received_at
        # A whole day (UTC) is kept or dropped.
        if record.received_at < (self.now() - _seconds(limits["retentionPeriod"])) // 86_400 * 86_400 + _CLOCKS:
            raise ValueError("older than the server's -retentionPeriod")
        if -age > _seconds(limits["futureRetention"]) - _CLOCKS:
            raise ValueError("further ahead than the server's -futureRetention")
        return line

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Post a batch."""
        if self._started_at is None:
            self._started_at = self._read_metrics()
        query = urlencode({"_stream_fields": "host,kind", "_time_field": "time", "_msg_field": "text"})
        answered = self.http.request(
            "POST",
            f"/insert/jsonline?{query}",
            b"".join([each.data for each in batch]),
            {"Content-Type": "application/stream+json"},
        )
        return Answer(answered.text)

    def survived(self) -> bool:
        """Return false if the server was started again."""
        now = self._read_metrics()
        before, self._started_at = self._started_at, now
        return before is None or before == now

    def kept(self) -> bool:
        """Have the server write what it accepted."""
        self.http.request("GET", "/internal/force_flush")
        return self.survived()

    def stored(self, batch: Sequence[Encoded]) -> frozenset[int]:
        """Ask which identities of a batch the server has in its time."""
        times = [each.record.received_at for each in batch]
        self.http.request("GET", "/internal/force_flush")
        known: set[str] = set()
        for part in _parts([_quoted(each.record.id) for each in batch], _QUERY_BYTES):
            query = f"_time:[{min(times) - 1:.6f}, {max(times) + 1:.6f}] id:in({','.join(part)}) | uniq by (id)"
            body = urlencode({"query": query}, errors="replace").encode("ascii")
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            answered = self.http.request("POST", "/select/logsql/query", body, form, most=_IDS_BYTES)
            known.update([json.loads(line).get("id") for line in answered.body.splitlines()])
        return frozenset([place for place, each in enumerate(batch) if each.record.id in known])

    def _read_metrics(self) -> str:
        """Read the server's limits, and return the time of its start.

        :raises TryLater: if it has none: it is no VictoriaLogs.
        """
        page = self.http.request("GET", "/metrics", most=_METRICS_BYTES).body.decode(errors="replace")
        started_at = re.search(r"^process_start_time_seconds (\S+)$", page, re.MULTILINE)
        if started_at is None:
            raise TryLater(f"{self.http.url}/metrics has no process_start_time_seconds: is it VictoriaLogs?")
        found = {
            name: match[1]
            for name in FLAGS
            if (match := re.search(rf'^flag{{name="{re.escape(name)}", value="([^"]*)"', page, re.MULTILINE))
        }
        self._limits_of_server = FLAGS | found
        return started_at[1]


def _quoted(text: str) -> str:
    """Return a text in the quotes of LogsQL, which are those of Go: JSON's, without its pairs of surrogates."""
    return json.dumps(text, ensure_ascii=False)


def _parts(texts: Iterable[str], most_bytes: int) -> Iterator[list[str]]:
    """Yield texts, in lists of at most so many bytes; a longer text is alone."""
    part: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode(errors="replace")) + 1
        if part and size + length > most_bytes:
            yield part
            part, size = [], 0
        part.append(text)
        size += length
    if part:
        yield part


def _time(received_at: float) -> str:
    return datetime.fromtimestamp(received_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(duration: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([shdwMy]?)", duration)
    # A flag in a form that is not known here decides nothing.
    return float(match[1]) * _SECONDS[match[2]] if match else 100.0 * 31_536_000
