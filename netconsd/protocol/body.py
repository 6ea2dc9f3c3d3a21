"""Parses the body of an extended message, which follows the header (docs/wire section 4).

Rules, in the order in which they are applied:

1. The text ends at the first newline, or at the end of the body, where a NUL can stand in place of the newline. One
   carriage return before either is not part of it.
2. The lines `` SUBSYSTEM=...`` and `` DEVICE=...`` directly after the text are the dictionary, escaped like the text.
3. The sysdata is read backwards from the end: msgid, release, taskname, cpu, each optional. Any process on the sender
   can choose a task name of up to 15 bytes, newlines included. Therefore the *earliest* `` taskname=`` within reach
   starts the task name: lines after it that look like sysdata are part of the name.
4. Everything between is userdata, not escaped. A line that does not start with a space, or has no ``=``, continues the
   value before it.
5. Such a line before the first value is stray: no kernel sends it. It is added to the text, as it is, unless it is
   blank.

The functions accept any bytes and raise nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from netconsd.protocol import octets

# The kernel's TASK_COMM_LEN is 16, the final NUL included.
TASKNAME_LIMIT = 15
# msgid is a u32.
MSGID_LIMIT = 0xFFFFFFFF
# Most senders repeat the lines after the text in every message. What was parsed has a place by a sum of its bytes, and
# replaces what is there: the cache is bounded to about 5 MB, because a sender can vary the lines.
CACHED_BODIES = 2048
CACHED_BYTES = 1024
# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(MSGID_LIMIT=MSGID_LIMIT, CACHED_BYTES=CACHED_BYTES)
# A u32 has at most ten digits; a longer run is not a number, and int() of thousands of digits is slow.
_U32_DIGITS = 10

_NEWLINE = ord("\n")
_NUL = 0
_ZERO = ord("0")
_BACKSLASH = ord("\\")
_CARRIAGE_RETURN = ord("\r")
_SURROGATE = re.compile("[\ud800-\udfff]")
_DICTIONARY_KEYS = (b" SUBSYSTEM=", b" DEVICE=")


_EMPTY: Mapping[str, str] = MappingProxyType({})


class Body:
    """The dictionary, userdata and sysdata of a body, read-only; ``None`` for absent sysdata."""

    __slots__ = ("cpu", "dictionary", "release", "tail", "taskname", "userdata")

    def __init__(
        self,
        dictionary: Mapping[str, str] = _EMPTY,
        userdata: Mapping[str, str] = _EMPTY,
        cpu: int | None = None,
        taskname: str | None = None,
        release: str | None = None,
    ) -> None:
        self.dictionary = dictionary
        self.userdata = userdata
        self.cpu = cpu
        self.taskname = taskname
        self.release = release
        #: The bytes that were parsed; empty if they are not kept.
        self.tail = b""

    def _state(self) -> tuple[object, ...]:
        return self.dictionary, self.userdata, self.cpu, self.taskname, self.release

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash((self.cpu, self.taskname, self.release))

    def __repr__(self) -> str:
        return f"Body{self._state()!r}"


def readable(data: bytes) -> str:
    """Decode UTF-8; a byte that is not UTF-8 becomes a visible ``\\xNN``."""
    text = data.decode("utf-8", "surrogateescape")
    # Surrogates stand for bytes that are not UTF-8.
    return text if octets.is_ascii(text) or not _SURROGATE.search(text) else octets.visible(data)


def unescape(data: bytes) -> bytes:
    """Undo the kernel's escapes, once; a truncated escape stays."""
    return data if b"\\" not in data else octets.unescape(data)


def escape(data: bytes) -> bytes:
    """Escape bytes below 0x20, from 0x7f up, and the backslash, as the kernel does."""
    return octets.escape(data)


def text_of(body: bytes) -> str:
    """Return the text (rules 1 and 5), unescaped and decoded."""
    body_c = body
    end = octets.find(body, _NEWLINE, 0)
    if end < 0:
        end = len(body)
        if end and body[end - 1] == _NUL:
            end -= 1
            if end and body[end - 1] == _CARRIAGE_RETURN:
                end -= 1
    else:
        has_stray = octets.stray_at(body, end + 1) >= 0
        if end and body_c[end - 1] == _CARRIAGE_RETURN:
            end -= 1
        if has_stray:
            # Not if they are blank.
            stray = stray_lines(body)
            if stray:
                return readable(b"\n".join([unescape(body_c[0:end]), *stray]))
    backslash = octets.find(body, _BACKSLASH, 0)
    if backslash < 0 or backslash > end:
        text = body_c[0:end].decode("utf-8", "surrogateescape")
        return text if octets.is_ascii(text) or not _SURROGATE.search(text) else octets.visible(body_c[0:end])
    return readable(unescape(body_c[0:end]))


def stray_lines(body: bytes) -> list[bytes]:
    """Return the lines of rule 5."""
    lines = body.removesuffix(b"\0").split(b"\n")
    start = 1 + _dictionary_end(lines[1:3])
    stray: list[bytes] = []
    for line in lines[start:]:
        if line.startswith(b" ") and b"=" in line:
            break
        if line.strip():
            stray.append(line.removesuffix(b"\r"))
    return stray


def msgid_of(body: bytes) -> int:
    """Return the msgid in the last line of the body, or -1."""
    index = _msgid_at(body)
    return -1 if index < 0 else _msgid_from(body, index)


def _msgid_from(body: bytes, index: int) -> int:
    """Return the msgid whose first digit is at the index, or -1."""
    body_c = body
    end = len(body)
    msgid = 0
    while index < end:
        octet = body_c[index] - _ZERO
        if octet < 0 or octet > 9:
            break
        msgid = msgid * 10 + octet
        index += 1
    return msgid if msgid <= MSGID_LIMIT else -1


def _msgid_at(body: bytes) -> int:
    """Return the index of the msgid's first digit, or -1."""
    body_c = body
    end = len(body)
    if end and (body_c[end - 1] == _NEWLINE or body_c[end - 1] == _NUL):
        end -= 1
    start = end
    while start:
        octet = body_c[start - 1] - _ZERO
        if octet < 0 or octet > 9:
            break
        start -= 1
    if start == end or end - start > _U32_DIGITS or start < 8 or not octets.begins_with(body, b"\n msgid=", start - 8):
        return -1
    return start


def parse(body: bytes) -> Body:
    """Parse everything after the text except the msgid. Equal bytes may return the same object."""
    body_c = body
    start = octets.find(body, _NEWLINE, 0) + 1
    if start == 0:
        return _NOTHING
    end = len(body)
    msgid_at = _msgid_at(body)
    if msgid_at >= 0 and _msgid_from(body, msgid_at) >= 0:
        end = msgid_at - len(b" msgid=")
    if end - start > CACHED_BYTES:
        return _parse(body_c[start:end])
    place = octets.sum_of(body, start, end) & _CACHED_MASK
    cached = _cached[place]
    if cached is not None and octets.is_at(cached.tail, body, start, end):
        return cached
    tail = body_c[start:end]
    parsed = _parse(tail)
    parsed.tail = tail
    _cached[place] = parsed
    return parsed


def _parse(tail: bytes) -> Body:
    """Parse the lines between the text and the msgid. The last can end with a newline, a NUL, or nothing."""
    tail = tail[:-1] if tail.endswith((b"\n", b"\0")) else tail
    lines = tail.split(b"\n") if tail else []
    start = _dictionary_end(lines)
    dictionary: dict[str, str] = {}
    for line in lines[:start]:
        key, _, value = line[1:].partition(b"=")
        dictionary[readable(key)] = readable(unescape(value))

    end = len(lines)
    cpu: int | None = None
    taskname: str | None = None
    release: str | None = None
    if end > start and lines[end - 1].startswith(b" release="):
        release = readable(lines[end - 1][len(b" release=") :])
        end -= 1
    name_start = taskname_start(lines, start, end)
    if name_start < end:
        taskname = readable(b"\n".join(lines[name_start:end])[len(b" taskname=") :])
        end = name_start
    if end > start:
        cpu = _number(lines[end - 1], b" cpu=")
        if cpu is not None:
            end -= 1
    userdata = _userdata(lines[start:end])
    return Body(MappingProxyType(dictionary), MappingProxyType(userdata), cpu, taskname, release)


_CACHED_MASK = CACHED_BODIES - 1
_cached: list[Body | None] = [None] * CACHED_BODIES
_NOTHING = Body()


def _dictionary_end(lines: list[bytes]) -> int:
    """Return the number of the first lines that are the dictionary (rule 2), each key once."""
    keys: list[bytes] = []
    for line in lines:
        key = line.partition(b"=")[0]
        if not line.startswith(_DICTIONARY_KEYS) or key in keys:
            break
        keys.append(key)
    return len(keys)


def _number(line: bytes, key: bytes) -> int | None:
    digits = line[len(key) :]
    if not line.startswith(key) or not digits.isdigit() or len(digits) > _U32_DIGITS:
        return None
    number = int(digits)
    return number if number <= MSGID_LIMIT else None


def taskname_start(lines: list[bytes], start: int, end: int) -> int:
    """Return the index of the first line from ``start`` on that can begin the task name; ``end`` for none."""
    first = end
    length = -1 - len(b" taskname=")
    index = end
    while index > start:
        index -= 1
        length += len(lines[index]) + 1
        if length > TASKNAME_LIMIT:
            break
        if lines[index].startswith(b" taskname="):
            first = index
    return first


def _userdata(lines: list[bytes]) -> dict[str, str]:
    items: list[tuple[bytes, list[bytes]]] = []
    for line in lines:
        key, equals, value = line.partition(b"=")
        if equals and key.startswith(b" "):
            items.append((key[1:], [value]))
        elif items:
            items[-1][1].append(line)
    return {readable(key): readable(b"\n".join(values)) for key, values in items}
