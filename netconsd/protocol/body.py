"""The body of an extended message: what stands behind the header (docs/wire section 4).

Rules, in the order in which they are applied:

1. The text ends at the first newline; a missing newline, or a NUL in its place, ends it as well.
2. Lines of the form `` SUBSYSTEM=...`` and `` DEVICE=...`` directly behind the text are the dictionary, escaped as the
   text is.
3. The sysdata is read from the end, backwards: msgid, release, taskname, cpu, each optional. A task name is up to 15
   bytes of anybody's choice, newlines included, so the *earliest* `` taskname=`` within reach starts it: what looks
   like a line behind it is part of the name.
4. Everything between is userdata, raw. A line that does not start with a space, or holds no ``=``, continues the value
   before it.

Every function here takes any bytes and raises nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from netconsd.protocol import octets
from netconsd.protocol.translation import Characters

# The kernel's TASK_COMM_LEN is 16, the final NUL included.
TASKNAME_LIMIT = 15
# msgid is a u32.
MSGID_LIMIT = 0xFFFFFFFF
# A decimal u32 has at most ten digits; a longer run is no number of ours (and int() of thousands of digits is slow).
DECIMAL_LIMIT = 10

_NEWLINE = 0x0A
_NUL = 0x00
_ZERO = 0x30
_BACKSLASH = 0x5C
_MSGID_LIMIT = MSGID_LIMIT
_DECIMAL_LIMIT = DECIMAL_LIMIT
_MSGID = b"\n msgid="
# By the two digits of an escape, of either case: a table, because a stranger can send one in every four bytes.
_DIGITS = b"0123456789abcdefABCDEF"
_OCTETS = {bytes((high, low)): bytes((int(chr(high) + chr(low), 16),)) for high in _DIGITS for low in _DIGITS}
_SURROGATE = re.compile("[\ud800-\udfff]")
# By the number of a character: surrogates stand for bytes (PEP 383), all others for themselves.
_NO_UTF8 = Characters(lambda code: f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else chr(code))
_DICTIONARY_KEYS = (b" SUBSYSTEM=", b" DEVICE=")


class Body(NamedTuple):
    """What the lines behind the text say, read-only; ``None`` where they do not."""

    dictionary: Mapping[str, str]
    userdata: Mapping[str, str]
    cpu: int | None
    taskname: str | None
    release: str | None


def readable(data: bytes) -> str:
    """Decode what should be UTF-8; a byte that is not becomes a visible ``\\xNN``."""
    return _shown(data.decode("utf-8", "surrogateescape"))


def _shown(text: str) -> str:
    """Show the bytes that were no UTF-8, each a surrogate by now."""
    return text if text.isascii() or not _SURROGATE.search(text) else _NO_UTF8.show(text)


def unescape(data: bytes) -> bytes:
    """Undo the kernel's escapes, once; an escape that was cut short stays as it is."""
    if b"\\" not in data:
        return data
    first, *rest = data.split(b"\\x")
    parts = [first]
    for part in rest:
        octet = _OCTETS.get(part[:2])
        if octet is None:
            parts.append(b"\\x")
            parts.append(part)
        else:
            parts.append(octet)
            parts.append(part[2:])
    return b"".join(parts)


def text_of(body: bytes) -> str:
    """The text (rule 1), unescaped and decoded."""
    text = body
    end = octets.find(body, _NEWLINE, 0)
    if end < 0:
        end = len(body)
        if end and body[end - 1] == _NUL:
            end -= 1
    escape = octets.find(body, _BACKSLASH, 0)
    if escape < 0 or escape > end:
        return _shown(text[0:end].decode("utf-8", "surrogateescape"))
    return readable(unescape(text[0:end]))


def msgid_of(body: bytes) -> int:
    """The msgid in the last line of the body, or -1."""
    index = _msgid_at(body)
    if index < 0:
        return -1
    msgid = 0
    while index < len(body):
        octet = body[index] - _ZERO
        if octet < 0 or octet > 9:
            break
        msgid = msgid * 10 + octet
        index += 1
    return msgid if msgid <= _MSGID_LIMIT else -1


def _msgid_at(body: bytes) -> int:
    """Where the digits of the msgid begin, or -1."""
    end = len(body)
    if end and (body[end - 1] == _NEWLINE or body[end - 1] == _NUL):
        end -= 1
    start = end
    while start:
        octet = body[start - 1] - _ZERO
        if octet < 0 or octet > 9:
            break
        start -= 1
    if start == end or end - start > _DECIMAL_LIMIT or start < 8 or not body.startswith(_MSGID, start - 8):
        return -1
    return start


def parse(body: bytes) -> Body:
    """Everything behind the text but the msgid. Bodies that say the same share what is returned."""
    lines = body
    start = octets.find(body, _NEWLINE, 0) + 1
    if start == 0:
        return _NOTHING
    end = len(body)
    if msgid_of(body) >= 0:
        end = _msgid_at(body) - len(b" msgid=")
    tail = lines[start:end]
    return _parse_remembered(tail) if len(tail) <= REMEMBERED_BYTES else _parse(tail)


def _parse(tail: bytes) -> Body:
    """The lines between the text and the msgid."""
    # The last newline may be missing, or be a NUL.
    tail = tail[:-1] if tail.endswith((b"\n", b"\0")) else tail
    lines = tail.split(b"\n") if tail else []
    start = 0
    dictionary: dict[str, str] = {}
    while start < len(lines) and lines[start].startswith(_DICTIONARY_KEYS):
        key, _, value = lines[start][1:].partition(b"=")
        if readable(key) in dictionary:
            break
        dictionary[readable(key)] = readable(unescape(value))
        start += 1

    end = len(lines)
    cpu: int | None = None
    taskname: str | None = None
    release: str | None = None
    if end > start and lines[end - 1].startswith(b" release="):
        release = readable(lines[end - 1][len(b" release=") :])
        end -= 1
    name_start = _taskname_start(lines, start, end)
    if name_start < end:
        taskname = readable(b"\n".join(lines[name_start:end])[len(b" taskname=") :])
        end = name_start
    if end > start:
        cpu = _number(lines[end - 1], b" cpu=")
        if cpu is not None:
            end -= 1
    userdata = _userdata(lines[start:end])
    return Body(MappingProxyType(dictionary), MappingProxyType(userdata), cpu, taskname, release)


# A machine says the same in these lines again and again. A stranger can say anything, so what is remembered is bounded,
# to some 5 MB.
REMEMBERED = 2048
REMEMBERED_BYTES = 1024
_parse_remembered = lru_cache(maxsize=REMEMBERED)(_parse)
_NOTHING = Body(MappingProxyType({}), MappingProxyType({}), None, None, None)


def _number(line: bytes, key: bytes) -> int | None:
    digits = line[len(key) :]
    if not line.startswith(key) or not digits.isdigit() or len(digits) > DECIMAL_LIMIT:
        return None
    number = int(digits)
    return number if number <= MSGID_LIMIT else None


def _taskname_start(lines: list[bytes], start: int, end: int) -> int:
    """The first of the lines from ``start`` to ``end`` that can begin the task name; ``end`` if there is none."""
    found = end
    length = -1 - len(b" taskname=")
    index = end
    while index > start:
        index -= 1
        length += len(lines[index]) + 1
        if length > TASKNAME_LIMIT:
            break
        if lines[index].startswith(b" taskname="):
            found = index
    return found


def _userdata(lines: list[bytes]) -> dict[str, str]:
    items: list[tuple[bytes, list[bytes]]] = []
    for line in lines:
        key, equals, value = line.partition(b"=")
        if equals and key.startswith(b" "):
            items.append((key[1:], [value]))
        elif items:
            items[-1][1].append(line)
    return {readable(key): readable(b"\n".join(values)) for key, values in items}
