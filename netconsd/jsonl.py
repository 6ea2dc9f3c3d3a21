"""Messages as lines of JSON: the format that jsonl, the store, streams and replay share (docs/jsonl, version 1).

A line is an object with all fields of the schema docs/jsonl.schema.json, in ASCII: every other character, control
characters included, is a JSON escape, so that a line is a line and is safe on a terminal. Every reader of JSON takes
it. :func:`from_json` returns a message equal to the original one, with the same bytes.

Rules for lossless bytes:

1. ``raw`` is null if the bytes are the UTF-8 of ``text`` and a newline, as they are for most messages of a kernel.
   Otherwise it is the bytes as text, if they are UTF-8.
2. Bytes that are not UTF-8 are in ``bytes``, in base64 (RFC 4648): of ``raw``, and of ``caller`` and ``release``, whose
   own fields show them with escapes.

Crash reports and events have lines of their own (:func:`finding_to_json`, docs/jsonl-findings.schema.json), whose
``format`` is ``report`` or ``event``. ``netconsd.crashes.Report.from_fields`` reads a report, :func:`from_json` none.
"""

from __future__ import annotations

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from json.encoder import encode_basestring_ascii as _string
from typing import TYPE_CHECKING, Any, Final

from netconsd.crash.report import Report
from netconsd.protocol.decode import TOTAL_LIMIT
from netconsd.protocol.message import (
    MAPPED_IPV4,
    PREFIX_LIMIT,
    ExtendedMessage,
    LegacyDatagram,
    LegacyMessage,
    Message,
    Source,
)

if TYPE_CHECKING:
    from netconsd.crash.event import Event

__all__ = ["VERSION", "finding_to_json", "from_json", "json_lines", "to_json"]

VERSION: Final = 1
"""The version of the format. A new field raises it only if a reader that ignores the field would be wrong."""

# The largest values of the fields, as the decoder of datagrams has them.
_U64: Final = (1 << 64) - 1
_U32: Final = (1 << 32) - 1
_I64: Final = (1 << 63) - 1
# Bytes: those of a datagram's header are less than 64 KiB.
_HEADER_LIMIT: Final = (1 << 16) - 1
# Seconds of a received_at that every calendar has: until the year 33,658.
_TIME_LIMIT: Final = 1e12
# The fields that are read; the others follow from them.
_NEEDED: Final = frozenset(
    (
        *("version", "received_at", "address", "scope_id", "port", "format", "level", "facility", "seq", "ts_usec"),
        *("caller", "text", "msgid", "release", "release_in_header", "continuation", "new", "boot", "replayed"),
        *("emergency", "seq_reset", "out_of_order", "incomplete", "missing", "lost", "likely_lost", "limited"),
        *("raw", "bytes"),
    )
)


def to_json(message: Message) -> bytes:
    """Return a message as an object in ASCII without a newline. Any thread.

    :raises ValueError: if ``received_at`` is no time, as NaN; netconsd makes no such message.
    """
    return _object(message).encode("ascii")


def json_lines(messages: Sequence[Message]) -> bytes:
    """Return :func:`to_json` of each message, each with a newline."""
    return "".join([f"{_object(message)}\n" for message in messages]).encode("ascii")


def finding_to_json(finding: Report | Event) -> bytes:
    """Return a crash report, without its messages, or an event as an object in ASCII without a newline. Any thread.

    ``format`` is ``report`` or ``event``; the other fields are those of ``fields()``.

    :raises ValueError: if ``received_at`` is no time.
    """
    received_at = finding.received_at
    if not abs(received_at) < _TIME_LIMIT:
        raise ValueError(f"received_at: {received_at} is not a time")
    kind = "report" if isinstance(finding, Report) else "event"
    head = {"version": VERSION, "time": _time(received_at), "format": kind}
    return json.dumps(head | finding.fields(), separators=(",", ":")).encode("ascii")


def from_json(line: bytes | str) -> Message:
    """Return the message of a line, equal to the original one, marks included.

    Fields that follow from others are not read: ``time``, ``interface``, ``dictionary``, ``userdata``, ``cpu`` and
    ``taskname``, and ``text`` unless ``raw`` is null. Unknown fields are ignored. Any thread.

    :raises ValueError: for a line that is not such an object, with a text that names the field.
    """
    try:
        fields = json.loads(line)
    except RecursionError:
        raise ValueError("the line is nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("the line is not a JSON object")
    if fields.get("version") != VERSION or isinstance(fields["version"], bool):
        raise ValueError(f"version: {_shown(fields.get('version'))} is not {VERSION}, the version that is read here")
    return _message(fields)


def _object(message: Message) -> str:
    """Return the object. One expression: a dict and an encoder cost twice as much."""
    raw = message.raw
    text = message.text
    # Most kernels' messages: no second copy of the text.
    shown, other = ("null", "") if raw == f"{text}\n".encode() else _bytes("raw", raw)
    source = message.source
    head = _head(source.key, message.received_at)
    caller = message.caller
    caller_json = "null" if caller is None else _string(caller)
    if not isinstance(message, ExtendedMessage):
        kind = "datagram" if isinstance(message, LegacyDatagram) else "legacy"
        level, ts_usec = message.level, message.ts_usec
        return (
            f'{head}"format":"{kind}","level":{_number(level)},"facility":{_number(message.facility)},"seq":null,'
            f'"ts_usec":{_number(ts_usec)},"caller":{caller_json},"text":{_string(text)},"dictionary":{{}},'
            f'"userdata":{{}},"cpu":null,"taskname":null,"msgid":null,"release":null,"release_in_header":false,'
            f'"continuation":false,"new":{_BOOL[message.new]},"boot":{_BOOL[message.boot]},"replayed":false,'
            f'"emergency":false,"seq_reset":false,"out_of_order":false,"incomplete":false,"missing":0,"lost":null,'
            f'"likely_lost":0,"limited":{message.limited},"raw":{shown},"bytes":{{{other}}}}}'
        )
    release = message.release
    if caller is not None:
        other = _with(other, "caller", message._caller, caller)
    header = message._release
    if header is not None:
        other = _with(other, "release", header, release)
    return (
        f'{head}"format":"extended","level":{message.level},"facility":{message.facility},"seq":{message.seq},'
        f'"ts_usec":{message.ts_usec},"caller":{caller_json},"text":{_string(text)},'
        f'"dictionary":{_table(message.dictionary)},"userdata":{_table(message.userdata)},'
        f'"cpu":{_number(message.cpu)},"taskname":{_text(message.taskname)},"msgid":{_number(message.msgid)},'
        f'"release":{_text(release)},"release_in_header":{_BOOL[header is not None]},'
        f'"continuation":{_BOOL[message.continuation]},"new":{_BOOL[message.new]},"boot":{_BOOL[message.boot]},'
        f'"replayed":{_BOOL[message.replayed]},"emergency":{_BOOL[message.emergency]},'
        f'"seq_reset":{_BOOL[message.seq_reset]},"out_of_order":{_BOOL[message.out_of_order]},'
        f'"incomplete":{_BOOL[message.incomplete]},"missing":{message.missing},"lost":{_number(message.lost)},'
        f'"likely_lost":{message.likely_lost},"limited":{message.limited},"raw":{shown},"bytes":{{{other}}}}}'
    )


_BOOL: Final = {False: "false", True: "true"}


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def _text(value: str | None) -> str:
    return "null" if value is None else _string(value)


def _table(table: Any) -> str:
    return "{" + ",".join([f"{_string(key)}:{_string(value)}" for key, value in table.items()]) + "}" if table else "{}"


def _bytes(name: str, data: bytes) -> tuple[str, str]:
    """Return the bytes as text, or null and a member for ``bytes``."""
    try:
        return _string(data.decode()), ""
    except UnicodeDecodeError:
        return "null", f'"{name}":"{b64encode(data).decode()}"'


def _with(members: str, name: str, data: bytes | None, shown: str | None) -> str:
    """Add the bytes of a field whose text is not their UTF-8 to the members of ``bytes``."""
    if data is None or shown is None or shown.encode() == data:
        return members
    member = f'"{name}":"{b64encode(data).decode()}"'
    return f"{members},{member}" if members else member


# Messages that were read together have the time, and those of a sender the address. The number of entries bounds its
# memory to about a megabyte.
@lru_cache(maxsize=4096)
def _head(key: bytes, received_at: float) -> str:
    """Return the members of the version, the time and the sender, each followed by a comma."""
    # Not NaN either, which JSON does not have.
    if not abs(received_at) < _TIME_LIMIT:
        raise ValueError(f"received_at: {received_at} is not a time")
    source = Source.from_key(key)
    address, _, interface = source.address.partition("%")
    return (
        f'{{"version":{VERSION},"time":"{_time(received_at)}","received_at":{received_at!r},'
        f'"address":"{address}","interface":{_string(interface) if interface else "null"},"scope_id":{_scope_id(key)},'
        f'"port":{source.port},'
    )


def _time(received_at: float) -> str:
    second, micros = divmod(int(received_at * 1_000_000 + 0.5), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{micros:06d}Z"


def _scope_id(key: bytes) -> str:
    """Return the scope id of a link-local address, which its key has in the four bytes that are zero on the wire."""
    if not key.startswith(b"\xfe\x80"):
        return "null"
    number = int.from_bytes(key[4:8], "big")
    return str(number) if number else "null"


def _message(fields: dict[str, Any]) -> Message:
    absent = _NEEDED - fields.keys()
    if absent:
        raise ValueError(f"{min(absent)}: is missing")
    received_at = fields["received_at"]
    if type(received_at) not in (int, float) or not abs(received_at) < _TIME_LIMIT:
        raise _wrong(fields, "received_at", "a number of seconds since 1970")
    kind = _text_of(fields, "format", "extended, legacy or datagram")
    if kind not in _FORMATS:
        raise _wrong(fields, "format", "extended, legacy or datagram")
    others = fields["bytes"]
    if not isinstance(others, dict):
        raise _wrong(fields, "bytes", "an object")
    source, raw = _source(fields), _raw(fields, others)
    if len(raw) > TOTAL_LIMIT:
        raise ValueError(f"text: the message has {len(raw)} bytes, and not up to {TOTAL_LIMIT}")
    message: Message
    if kind == "extended":
        message = _extended(fields, others, source, float(received_at), raw)
    else:
        message = _FORMATS[kind](source, float(received_at), raw)
    message._new = _flag(fields, "new")
    message._boot = _flag(fields, "boot")
    message._limited = _whole(fields, "limited", _I64)
    return message


def _extended(
    fields: dict[str, Any], others: dict[str, Any], source: Source, received_at: float, raw: bytes
) -> ExtendedMessage:
    level, facility = _whole(fields, "level", 7), _whole(fields, "facility", PREFIX_LIMIT >> 3)
    release = _header(fields, others, "release") if _flag(fields, "release_in_header") else None
    return ExtendedMessage(
        source,
        received_at,
        raw,
        facility << 3 | level,
        _whole(fields, "seq", _U64),
        _whole(fields, "ts_usec", _U64),
        _flag(fields, "continuation"),
        _header(fields, others, "caller"),
        release,
        _or_none(fields, "msgid", _U32),
        _flag(fields, "replayed"),
        _flag(fields, "emergency"),
        _flag(fields, "incomplete"),
        _flag(fields, "seq_reset"),
        _flag(fields, "out_of_order"),
        _whole(fields, "missing", _U64),
        _or_none(fields, "lost", _I64),
        _flag(fields, "new"),
        _flag(fields, "boot"),
        _whole(fields, "limited", _I64),
        _whole(fields, "likely_lost", _U64),
    )


_FORMATS: Final[dict[str, Callable[..., Message]]] = {
    "extended": ExtendedMessage,
    "legacy": LegacyMessage,
    "datagram": LegacyDatagram,
}


def _source(fields: dict[str, Any]) -> Source:
    key = _key(_text_of(fields, "address", "an address"))
    port = _whole(fields, "port", 0xFFFF)
    scope_id = 0 if fields["scope_id"] is None else _whole(fields, "scope_id", _U32)
    if scope_id and key.startswith(b"\xfe\x80"):
        key = key[:4] + scope_id.to_bytes(4, "big") + key[8:]
    return Source.from_key(key + port.to_bytes(2, "big"))


@lru_cache(maxsize=4096)
def _key(address: str) -> bytes:
    """Return the 16 bytes of an address, which has no interface."""
    try:
        packed = ip_address(address if "%" not in address else "").packed
    except ValueError:
        raise ValueError(f"address: {_shown(address)} is not an address") from None
    return packed if len(packed) == 16 else MAPPED_IPV4 + packed


def _raw(fields: dict[str, Any], others: dict[str, Any]) -> bytes:
    if "raw" in others:
        return _base64(others, "raw")
    return _utf8(fields, "text") + b"\n" if fields["raw"] is None else _utf8(fields, "raw")


def _header(fields: dict[str, Any], others: dict[str, Any], name: str) -> bytes | None:
    """Return the bytes of a field of the header."""
    if name not in others and fields[name] is None:
        return None
    found = _base64(others, name) if name in others else _utf8(fields, name)
    if len(found) > _HEADER_LIMIT:
        raise ValueError(f"{name}: has {len(found)} bytes, and not up to {_HEADER_LIMIT}")
    return found


def _utf8(fields: dict[str, Any], name: str) -> bytes:
    text = _text_of(fields, name)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: {_shown(text)} has half of a surrogate pair, which is no character") from None


def _base64(others: dict[str, Any], name: str) -> bytes:
    text = others[name]
    try:
        if not isinstance(text, str):
            raise ValueError
        return b64decode(text, validate=True)
    except ValueError:
        raise ValueError(f"bytes.{name}: {_shown(text)} is not a text in base64") from None


def _flag(fields: dict[str, Any], name: str) -> bool:
    value = fields[name]
    if value is True or value is False:
        return bool(value)
    raise _wrong(fields, name, "true or false")


def _whole(fields: dict[str, Any], name: str, most: int) -> int:
    value = fields[name]
    # Not a bool, which is an int in Python, and not 1.0.
    if type(value) is int and 0 <= value <= most:
        return value
    raise _wrong(fields, name, f"a whole number from 0 to {most}")


def _or_none(fields: dict[str, Any], name: str, most: int) -> int:
    """Return the number as the message keeps it: -1 for none."""
    return -1 if fields[name] is None else _whole(fields, name, most)


def _text_of(fields: dict[str, Any], name: str, wanted: str = "a text") -> str:
    value = fields[name]
    if isinstance(value, str):
        return value
    raise _wrong(fields, name, wanted)


def _wrong(fields: dict[str, Any], name: str, wanted: str) -> ValueError:
    return ValueError(f"{name}: {_shown(fields[name])} is not {wanted}")


def _shown(value: object) -> str:
    """Return a value of a stranger for an error text: short, in ASCII."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
