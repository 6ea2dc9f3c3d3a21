"""Sends messages, crash reports and events as OpenTelemetry log records: OTLP, protobuf over HTTP (docs/streams).

An answer can be a partial success: so many records are rejected, but not which. The batch is then sent in halves until
the rejected record is alone. The halves have records that the server took before: they have the same
``log.record.uid``, by which the specification has second copies recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from netconsd import __version__
from netconsd.streams.httpstream import HttpStream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, TryLater

#: SeverityNumber by level (OpenTelemetry's logs data model, appendix B): FATAL, ERROR3, ERROR2, ERROR, WARN, INFO2,
#: INFO, DEBUG.
SEVERITIES: Final = (21, 19, 18, 17, 13, 10, 9, 5)
PATH: Final = "/v1/logs"
#: The largest integer of an attribute.
_INT_LIMIT: Final = 1 << 63


class Otlp(HttpStream):
    """Posts batches to ``/v1/logs``."""

    def __init__(self, *, path: str = PATH, **settings: Any) -> None:
        """
        :param path: of the requests, behind that of the url.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
            raise ValueError(f'path: "{path}" is no path such as {PATH}')
        self._path = path
        self._library: tuple[Any, ...] | None = None

    def check(self) -> None:
        """Test the directories and the library.

        :raises ModuleNotFoundError: if opentelemetry-proto is missing.
        """
        _find_library()
        super().check()

    def encode(self, record: Record) -> bytes:
        """Return a record as the only one of a message ScopeLogs: joined, such messages are one with all records."""
        logs, _ = self._loaded()
        at = round(record.received_at * 1e6) * 1000
        fields = record.fields()
        scope = logs.ScopeLogs()
        # By add(): messages that are made first, and copied into their places, take three times as long.
        log = scope.log_records.add(
            # The clock of the sender is not known to be right, and many servers show the first time only.
            time_unix_nano=at,
            observed_time_unix_nano=at,
            severity_number=SEVERITIES[record.level],
            severity_text=fields.pop("level"),
        )
        log.body.string_value = fields.pop("text")
        del fields["severity"]
        _add(log.attributes, "log.record.uid", fields.pop("id"))
        for name, value in fields.items():
            _add(log.attributes, f"netconsd.{name}", value)
        data: bytes = scope.SerializeToString()
        return data

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Post a batch, with a resource for each machine."""
        logs, service = self._loaded()
        groups: dict[tuple[str, str, str], list[bytes]] = {}
        for each in batch:
            record = each.record
            name = "kernel" if record.kind == "message" else "netconsd"
            groups.setdefault((name, record.address, record.name), []).append(each.data)
        request = service.ExportLogsServiceRequest()
        for (name, address, host), data in groups.items():
            scope = logs.ScopeLogs.FromString(b"".join(data))
            scope.scope.name, scope.scope.version = "netconsd", __version__
            group = request.resource_logs.add(scope_logs=[scope])
            _add(group.resource.attributes, "service.name", name)
            _add(group.resource.attributes, "host.name", host or address)
        answered = self.http.request(
            "POST", self._path, request.SerializeToString(), {"Content-Type": "application/x-protobuf"}
        )
        try:
            partial = service.ExportLogsServiceResponse.FromString(answered.body).partial_success
        except Exception as error:
            # DecodeError of protobuf, which is imported at the first use only.
            raise TryLater(f"{self.http.url}: {answered.text} without an answer of OTLP: is the url right?") from error
        text = f"{answered.text}: {partial.error_message}" if partial.error_message else answered.text
        if partial.rejected_log_records:
            raise Refused(text if partial.error_message else f"{text}: rejected")
        return Answer(text)

    def _loaded(self) -> tuple[Any, ...]:
        """Return the modules of protobuf's messages: the records, and the collector's service."""
        if self._library is None:
            _find_library()
            names = "logs.v1.logs", "collector.logs.v1.logs_service"
            self._library = tuple(import_module(f"opentelemetry.proto.{name}_pb2") for name in names)
        return self._library


def _find_library() -> None:
    try:
        found = find_spec("opentelemetry.proto")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ModuleNotFoundError(
            "the module otlp needs opentelemetry-proto: pip install 'netconsd[otlp]'", name="opentelemetry.proto"
        )


def _add(attributes: Any, name: str, value: str | float) -> None:
    held = attributes.add(key=name).value
    if isinstance(value, int) and value < _INT_LIMIT:
        held.int_value = value
    else:
        held.string_value = str(value)
