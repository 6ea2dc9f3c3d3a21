"""A record: a message, a crash report or an event, with the identity by which a server recognises a second copy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

from netconsd.crash.event import Event
from netconsd.crash.report import Report
from netconsd.jsonl import finding_to_json, to_json
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.rendering import LEVELS
from netconsd.store.findings import line_of

Kind = Literal["message", "report", "event"]

#: The level of a crash report by its severity, for systems that know levels only.
REPORT_LEVELS: Final = {"dead": 0, "hung": 1, "corrupt": 2, "degraded": 3, "notice": 4}
#: The level of an event: a machine that died has a report; an event is no error of its own.
EVENT_LEVEL: Final = 5
#: The level of a message that has none, as of printk without one (default_message_loglevel).
NO_LEVEL: Final = 4

#: The marks of a message that are left out of its fields if they are false or 0, as they mostly are.
_MARKS: Final = (
    *("continuation", "seq_reset", "out_of_order", "incomplete", "replayed", "emergency", "missing", "lost"),
    "likely_lost",
)


@dataclass(frozen=True, slots=True)
class Record:
    """One message, report or event. Immutable."""

    body: Message | Report | Event
    #: The same each time the record is sent: ``HOST/BOOT/SEQ``, or ``HOST/@MICROSECONDS/NUMBER`` for a message without
    #: a seq, as in the store; ``HOST/report/MICROSECONDS/DIGEST`` and ``HOST/event/MICROSECONDS/DIGEST``.
    id: str
    #: The id of the sender's boot: about the Unix time in seconds at which it began; None for reports and events.
    boot: int | None = None
    #: The sender's name for people; "" if none is known.
    name: str = ""

    @property
    def count(self) -> int:
        """1; of a block its messages."""
        return 1

    @property
    def kind(self) -> Kind:
        """``message``, ``report`` or ``event``."""
        if isinstance(self.body, Message):
            return "message"
        return "report" if isinstance(self.body, Report) else "event"

    @property
    def address(self) -> str:
        """The sender's address, with the interface if it is link-local; "" for a report of a file."""
        source = self.body.source
        return source.address if source is not None else ""

    @property
    def received_at(self) -> float:
        """Unix time in seconds."""
        return self.body.received_at

    @property
    def level(self) -> int:
        """The level of a message, :data:`NO_LEVEL` if it has none; of a report by its severity."""
        body = self.body
        if isinstance(body, Message):
            level = body.level
            return NO_LEVEL if level is None else level
        return REPORT_LEVELS[body.severity] if isinstance(body, Report) else EVENT_LEVEL

    @property
    def text(self) -> str:
        """The message's text, the report's title, the event's sentence. A stranger chose it: it can have any
        character."""
        body = self.body
        return body.title if isinstance(body, Report) else body.text

    def fields(self) -> dict[str, Any]:
        """Return every field that the record has, in a flat dict of texts and numbers; docs/streams has the table.

        Fields that are empty, and marks that are not set, are left out. Userdata and the dictionary have the names
        ``userdata.KEY`` and ``dictionary.KEY``.
        """
        body = self.body
        fields: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind,
            "host": self.address,
            "level": LEVELS[self.level],
            "severity": self.level,
            "text": self.text,
        }
        if self.name:
            fields["name"] = self.name
        if self.boot is not None:
            fields["boot"] = self.boot
        if body.source is not None:
            fields["port"] = body.source.port
        if isinstance(body, Message):
            _add_message(fields, body)
        elif isinstance(body, Report):
            _add_report(fields, body)
        else:
            fields["event"] = body.kind
            fields.update({f"details.{key}": value for key, value in body.details.items()})
        return fields

    def to_json(self) -> bytes:
        """Return the record with everything it has, as a JSON object in ASCII, for a dead letter: in the format of
        :mod:`netconsd.jsonl`; a report with its messages."""
        body = self.body
        return to_json(body) if isinstance(body, Message) else line_of(body)


def _add_message(fields: dict[str, Any], message: Message) -> None:
    values: dict[str, Any] = {
        "facility": message.facility,
        "ts_usec": message.ts_usec,
        "caller": message.caller,
        "format": "extended" if isinstance(message, ExtendedMessage) else "legacy",
    }
    for name in ("new_sender", "booted"):
        values[name] = 1 if getattr(message, "new" if name == "new_sender" else "boot") else None
    values["limited"] = message.limited or None
    if isinstance(message, ExtendedMessage):
        for name in ("seq", "release", "cpu", "taskname", "msgid"):
            values[name] = getattr(message, name)
        for name in _MARKS:
            value = getattr(message, name)
            values[name] = int(value) if value else None
        values.update({f"dictionary.{key}": value for key, value in message.dictionary.items()})
        values.update({f"userdata.{key}": value for key, value in message.userdata.items()})
    fields.update({name: value for name, value in values.items() if value is not None})


def _add_report(fields: dict[str, Any], report: Report) -> None:
    values: dict[str, Any] = json.loads(finding_to_json(report))
    for name in ("version", "time", "format", "source", "received_at", "kind", "severity", "frames", "alternatives"):
        values.pop(name)
    values["report"] = report.kind
    values["report_severity"] = report.severity
    values["alternatives"] = "; ".join(report.alternatives)
    values["taint"] = "; ".join(report.taint)
    values["frames"] = " < ".join(frame.name for frame in report.frames)
    values["lines"] = report.text()
    fields.update({name: int(value) if value is True else value for name, value in values.items() if value})


def message_id(message: Message, boot: int, number: int) -> str:
    """Return the identity of a message, as :attr:`netconsd.store.reader.Stored.id`."""
    host = message.source.address
    if isinstance(message, ExtendedMessage):
        return f"{host}/{boot}/{message.seq}"
    return f"{host}/@{round(message.received_at * 1e6)}/{number}"


def finding_id(finding: Report | Event) -> str:
    """Return the identity of a report or an event: its host, its time, and a digest of its kind and text."""
    report = isinstance(finding, Report)
    host = finding.source.address if finding.source is not None else ""
    text = f"{finding.kind} {finding.title if isinstance(finding, Report) else finding.text}"
    digest = sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{host}/{'report' if report else 'event'}/{round(finding.received_at * 1e6)}/{digest}"
