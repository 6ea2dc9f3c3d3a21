"""Lines of JSON: ``journalctl -o json``, ``json-seq`` and ``json-sse``, netconsd's jsonl, recordings,
``dmesg --json``, logs of container runtimes.

The forms are those of systemd's journal export (systemd.journal-fields(7)), :mod:`netconsd.jsonl`, dmesg(1) and
``{"t": seconds, "data": datagram}`` with the datagram as a Latin-1 string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final

from netconsd.jsonl import from_json
from netconsd.protocol.message import MAPPED_IPV4
from netconsd.read.console import kernel_lines
from netconsd.read.entries import Datagram, Line, Whole

#: The sender of a datagram of a recording that names none: 192.0.2.1, which is for documentation (RFC 5737), port 6665.
UNKNOWN_SENDER: Final = MAPPED_IPV4 + bytes((192, 0, 2, 1)) + (6665).to_bytes(2, "big")
# Text is in arrays of numbers in a journal's object, if it is no UTF-8 or has control characters: a literal that is
# looked for cannot be seen in it.
#: These show objects that have to be read whatever they contain.
ALWAYS: Final = (b'"MESSAGE":[', b'"MESSAGE" : [', b'"data":', b'"data" :')
# Fields with the text of a log's line, its machine and its time: of docker, kubernetes, vector, fluent-bit, rsyslog,
# logstash, loki, Google's and others.
_TEXTS: Final = ("log", "message", "msg", "text", "line", "textPayload", "MESSAGE")
_HOSTS: Final = ("host", "hostname", "_HOSTNAME", "HOSTNAME")
_TIMES: Final = ("timestamp", "@timestamp", "time", "timereported", "date", "ts", "dt")
# Unix times: seconds, milliseconds, microseconds and nanoseconds from 1973 to 2286.
_UNITS: Final = {1: 1.0, 1_000: 1e-3, 1_000_000: 1e-6, 1_000_000_000: 1e-9}
_TEXT_LIMIT: Final = 1 << 16
_HOST_LIMIT: Final = 255
# journalctl's json-seq (RFC 7464) and json-sse (Server-Sent Events), and the list in YAML that LAVA writes.
_BEFORE: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,64}(?:\x1e|data: |- )?(?=\{)")
_REST: Final = re.compile(r"\n<[0-9]{1,4}>")
_REST_ESCAPED: Final = re.compile(rb"\\n<[0-9]{1,4}>")
_DMESG = re.compile(rb' *\{$|.*"dmesg" *: *\[$| *[\]}]+,?$|^$')


def object_at(line: bytes) -> int:
    """Return where the object of a line of JSON begins; -1 for a line of text."""
    match = _BEFORE.match(line)
    return -1 if match is None else match.end()


def entries(line: bytes, number: int, year: int) -> Iterator[Line | Whole | Datagram]:
    """Yield what a line of JSON has; nothing for a line that is none of the forms. Any bytes."""
    try:
        # dmesg copies bytes that are not UTF-8 as they are.
        found = json.loads(line[object_at(line) :].strip().rstrip(b",").decode(errors="replace"))
    except (ValueError, RecursionError):
        return
    if not isinstance(found, dict):
        return
    data = found.get("data")
    if isinstance(data, str) and "t" in found:
        yield from _datagram(found, data, number)
    elif "MESSAGE" in found and ("__REALTIME_TIMESTAMP" in found or "_TRANSPORT" in found or "__CURSOR" in found):
        yield from journal_lines(found, number)
    elif "version" in found and "received_at" in found:
        try:
            yield Whole(number, from_json(line[object_at(line) :]))
        except ValueError:
            return
    elif "msg" in found and ("pri" in found or "fac" in found) and "hostname" not in found:
        yield dmesg_line(found, number)
    else:
        for name in _TEXTS:
            text = found.get(name)
            if isinstance(text, str):
                host, time = _host(found), _time(found)
                for part in text.split("\n")[:1] if "\n" not in text.rstrip("\n") else text.split("\n"):
                    for one in kernel_lines(part.encode(errors="replace")[:_TEXT_LIMIT], number, year):
                        # What the line itself says is nearer to the kernel.
                        yield Line(
                            number,
                            time if one.time is None else one.time,
                            host if one.host is None else one.host,
                            one.text,
                        )
                return


def _host(found: dict[str, Any]) -> str | None:
    """Return the machine of a log's line; None if the object names none."""
    nested = found.get("kubernetes")
    for fields in (found, nested if isinstance(nested, dict) else {}):
        for name in _HOSTS:
            value = fields.get(name)
            if isinstance(value, dict):
                # Elastic Common Schema.
                value = value.get("hostname", value.get("name"))
            if isinstance(value, str) and value and "\n" not in value:
                return value[:_HOST_LIMIT]
    return None


def _time(found: dict[str, Any]) -> float | None:
    """Return the Unix time of a log's line; None if the object has none. A time without a zone is UTC."""
    for name in _TIMES:
        value = found.get(name)
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
        if isinstance(value, str):
            if re.fullmatch(r"[0-9]{10,19}(?:\.[0-9]{1,9})?", value):
                number = float(value)
            elif len(value) > len("2026-11-28"):
                # A day alone would have all lines at midnight.
                try:
                    when = datetime.fromisoformat(value)
                    number = (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
                except (ValueError, OverflowError):
                    continue
        if number is not None:
            for unit, seconds in _UNITS.items():
                if 1e8 * unit <= number < 1e10 * unit:
                    return number * seconds
    return None


def _datagram(found: dict[str, Any], data: str, number: int) -> Iterator[Datagram]:
    try:
        raw = data.encode("latin-1")
    except UnicodeEncodeError:
        return
    time = found["t"]
    key = UNKNOWN_SENDER
    address = found.get("address", found.get("source"))
    if isinstance(address, str):
        try:
            packed = ip_address(address.partition("%")[0]).packed
        except ValueError:
            return
        port = found.get("port", 6665)
        port = port if isinstance(port, int) and 0 <= port <= 0xFFFF else 6665
        key = (packed if len(packed) == 16 else MAPPED_IPV4 + packed) + port.to_bytes(2, "big")
    yield Datagram(number, _seconds(time) or 0.0, key, raw)


def journal_lines(found: dict[str, Any], number: int) -> Iterator[Line]:
    """Yield the lines of an entry of a journal; its fields are text, or arrays of numbers."""
    text = found["MESSAGE"]
    if isinstance(text, list):
        raw = bytes(octet for octet in text if isinstance(octet, int) and 0 <= octet <= 255)
    elif isinstance(text, str):
        # A surrogate stands for a byte that is no UTF-8, except in JSON.
        try:
            raw = text.encode(errors="surrogateescape")
        except UnicodeEncodeError:
            raw = text.encode(errors="replace")
    else:
        return
    kernel = found.get("_TRANSPORT", "kernel") == "kernel"
    level = _small(found.get("PRIORITY"), 7)
    facility = _small(found.get("SYSLOG_FACILITY"), 127)
    prefix = (0 if kernel else 1 if facility is None else facility) << 3 | (6 if level is None else level)
    usec = _small(found.get("_SOURCE_MONOTONIC_TIMESTAMP"), 1 << 63)
    realtime = _small(found.get("__REALTIME_TIMESTAMP"), 1 << 63)
    host = found.get("_HOSTNAME")
    head = b"<%d>" % prefix
    if usec is not None:
        head += b"[%5d.%06d] " % divmod(usec, 1_000_000)
    if not kernel:
        tag = found.get("SYSLOG_IDENTIFIER")
        head += f"{tag if isinstance(tag, str) else 'user'}[{_small(found.get('_PID'), 1 << 32) or 0}]: ".encode(
            errors="replace"
        )
    for part in raw[:_TEXT_LIMIT].split(b"\n"):
        yield Line(
            number,
            None if realtime is None else realtime / 1_000_000,
            host if isinstance(host, str) else None,
            head + part,
        )


def dmesg_field(name: bytes, value: bytes) -> tuple[str, Any] | None:
    """Return a field of a record of ``dmesg --json`` from its line; None for another one. The text may be cut."""
    if name == b"msg":
        text = _REST_ESCAPED.split(value[1:], maxsplit=1)[0].removesuffix(b'"')
        try:
            return "msg", json.loads(b'"%b"' % text.decode(errors="replace").encode())
        except ValueError:
            # Cut within an escape.
            return "msg", text.decode(errors="replace")
    if name in (b"pri", b"fac", b"time"):
        try:
            return name.decode(), json.loads(value)
        except ValueError:
            return None
    return None


def dmesg_line(found: dict[str, Any], number: int) -> Line:
    """Return the line of a record of ``dmesg --json``."""
    priority, facility = _small(found.get("pri"), 7), _small(found.get("fac"), 127)
    head = b"" if priority is None else b"<%d>" % ((facility or 0) << 3 | priority)
    time = _seconds(found.get("time"))
    if time is not None and 0 <= time < 1e13:
        head += b"[%5d.%06d] " % divmod(round(time * 1_000_000), 1_000_000)
    # Of a saved log, dmesg of util-linux 2.38 puts the rest of the whole file into each record
    # (findings/dmesg-json-rest.sh).
    text = _REST.split(str(found["msg"]), maxsplit=1)[0].removesuffix("\n")
    return Line(number, None, None, head + text.encode(errors="replace")[:_TEXT_LIMIT])


def _small(value: object, most: int) -> int | None:
    """Return a number of the journal, which has its numbers as strings; None for another value."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    return value if type(value) is int and 0 <= value <= most else None


def _seconds(value: object) -> float | None:
    try:
        time = float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None
    return time if time is not None and abs(time) < 1e12 else None
