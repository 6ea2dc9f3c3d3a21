"""One datagram to a message, a fragment of one, or legacy text (docs/wire sections 2, 3 and 5).

    [release,]prefix,seq,ts_usec,flag[,key=value]*;body

Rules:

1. The header is found at the first comma-separated field from which four in a row are decimal, decimal, decimal and a
   flag; what stands before is the release. It ends at the first ``;``.
2. prefix is at most 2047, seq and ts_usec fit 64 bits unsigned, the release has 1 to 64 visible ASCII characters,
   of which the first is no comma.
   A "header" beyond these bounds is not one.
3. The flag starts with ``-``, ``c`` or ``+``; the last two continue an earlier record. Any other single character that
   is not a digit is taken for a flag that we do not know yet, and treated as ``-``.
4. The notice that a message is a replay can stand before the header or between release and header.
5. ``caller``, ``ncfrag`` and ``ncemg`` are read, other keys are ignored. A header that repeats ``ncfrag`` or ``ncemg``,
   or whose ``ncfrag`` makes no sense, is malformed.
6. What is not extended is legacy text.

Whatever bytes arrive, :func:`decode` raises :class:`Malformed` or nothing.
"""

from __future__ import annotations

from netconsd.protocol import octets
from netconsd.protocol.body import msgid_of
from netconsd.protocol.message import PREFIX_LIMIT, ExtendedMessage, Source

REPLAY_NOTICE = b"** replaying previous printk message **\n"
# The kernel's utsname has 64 characters, plus a final NUL.
RELEASE_LIMIT = 64
# docs/wire section 5: today's largest message is about 67 kB.
TOTAL_LIMIT = 128 * 1024
_TOTAL_LIMIT = TOTAL_LIMIT

_U64_DIGITS = 20
_U64_LIMIT = b"18446744073709551615"
_COMMA = 0x2C
_SEMICOLON = 0x3B
_ZERO = 0x30
_MINUS = 0x2D
_PLUS = 0x2B
_STAR = 0x2A
_C = 0x63
_T = 0x54
_UPPER_C = 0x43
_SLASH = 0x2F
_EQUALS = 0x3D
_ONE = 0x31
_CALLER = b"caller="
_NCFRAG = b"ncfrag"
_NCEMG = b"ncemg"
_PREFIX_LIMIT = PREFIX_LIMIT
_FIRST_VISIBLE = 0x21
_LAST_VISIBLE = 0x7E


class Malformed(ValueError):
    """A datagram has an extended header that contradicts itself; read it as text."""


class Fragment:
    """A piece of a message (docs/wire section 5)."""

    __slots__ = ("offset", "piece", "total")

    def __init__(self, piece: ExtendedMessage, offset: int, total: int) -> None:
        #: The header, and as ``raw`` the bytes of this piece; never empty.
        self.piece = piece
        #: Where the piece belongs in the body, in bytes; it ends at ``total`` at the latest.
        self.offset = offset
        #: How many bytes the body has; at most :data:`TOTAL_LIMIT`.
        self.total = total


def decode(datagram: bytes, source: Source, received_at: float) -> ExtendedMessage | Fragment | None:
    """Read an extended datagram; ``None`` if it is legacy text.

    :raises Malformed: by rule 5.
    """
    # What is cut out of this is cut in C, where there is C.
    text = datagram
    length = len(datagram)
    start = 0
    replayed = False
    if length and datagram[0] == _STAR and datagram.startswith(REPLAY_NOTICE):
        start = len(REPLAY_NOTICE)
        replayed = True
    release_at = start
    release_end = start
    prefix = 0
    seq = 0
    value = 0
    while True:
        # Are there three numbers and a flag from `start` on?
        index = start
        field = 0
        while field < 3:
            value = 0
            first = index
            # One digit more than fits shows that it does not fit; a datagram of 65,000 digits costs no more.
            last = min(first + _U64_DIGITS + 1, length)
            while index < last:
                digit = datagram[index] - _ZERO
                if digit < 0 or digit > 9:
                    break
                value = value * 10 + digit
                index += 1
            digits = index - first
            if digits == 0 or digits > _U64_DIGITS or index == length or datagram[index] != _COMMA:
                break
            if digits == _U64_DIGITS and datagram[first:index] > _U64_LIMIT:
                break
            if field == 0:
                if value > _PREFIX_LIMIT:
                    break
                prefix = value
            elif field == 1:
                seq = value
            field += 1
            index += 1
        if field == 3 and _is_flag(datagram, index):
            break
        # If not, the field is the release, or a part of it; behind the notice it cannot be that any more.
        if start > release_end + 1:
            return None
        release_end = _end_of_release(datagram, start)
        if release_end == release_at or release_end - release_at > RELEASE_LIMIT:
            return None
        start = release_end + 1
        if datagram.startswith(REPLAY_NOTICE, start):
            if replayed:
                return None
            start += len(REPLAY_NOTICE)
            replayed = True

    flag = datagram[index]
    while index < length and datagram[index] != _COMMA and datagram[index] != _SEMICOLON:
        index += 1
    keys = _NO_KEYS
    caller = None
    if index < length and datagram[index] == _COMMA:
        end = octets.find(datagram, _SEMICOLON, index)
        if end < 0:
            return None
        caller = _only_caller(datagram, index + 1, end)
        if caller is None:
            keys = _read_keys(text[index + 1 : end])
            caller = keys.caller
        index = end
    if index == length:
        return None
    body = text[index + 1 : length]
    message = ExtendedMessage.__new__(ExtendedMessage)
    message._fill(
        source,
        received_at,
        body,
        prefix,
        seq,
        value,
        flag == _C or flag == _PLUS,
        caller,
        text[release_at:release_end] if release_end > release_at else None,
        -1 if keys.total else msgid_of(body),
        replayed,
        keys.emergency,
        False,
        False,
        False,
        0,
        -1,
    )
    if not keys.total:
        return message
    if not body or keys.offset + len(body) > keys.total:
        raise Malformed("a fragment that is empty or reaches beyond its total")
    return Fragment(message, keys.offset, keys.total)


def _is_flag(datagram: bytes, index: int) -> bool:
    """Rule 3."""
    length = len(datagram)
    if index >= length:
        return False
    flag = datagram[index]
    if flag == _MINUS or flag == _C or flag == _PLUS:
        return True
    if flag < _FIRST_VISIBLE or flag > _LAST_VISIBLE or flag == _COMMA or flag == _SEMICOLON:
        return False
    if 0 <= flag - _ZERO <= 9 or index + 1 == length:
        return False
    return datagram[index + 1] == _COMMA or datagram[index + 1] == _SEMICOLON


def _end_of_release(datagram: bytes, start: int) -> int:
    """The index of the comma that ends this part of a release; more than the limit away if it cannot be one."""
    end = min(len(datagram), start + RELEASE_LIMIT + 1)
    index = start
    while index < end:
        octet = datagram[index]
        if octet == _COMMA:
            return index
        if octet < _FIRST_VISIBLE or octet > _LAST_VISIBLE or octet == _SEMICOLON:
            break
        index += 1
    return start + RELEASE_LIMIT + 1


def _only_caller(datagram: bytes, start: int, end: int) -> bytes | None:
    """The caller, if it is the only key between two indices, as it mostly is."""
    text = datagram
    first = start + 7
    if end - first < 2 or end - first > _U64_DIGITS or not datagram.startswith(_CALLER, start):
        return None
    if datagram[first] != _T and datagram[first] != _UPPER_C:
        return None
    index = first + 1
    while index < end:
        digit = datagram[index] - _ZERO
        if digit < 0 or digit > 9:
            return None
        index += 1
    return text[first:end]


class _Keys:
    """The keys of a header; a total of 0 where it is not a fragment."""

    __slots__ = ("caller", "emergency", "ncemg", "offset", "total")

    def __init__(self) -> None:
        self.caller: bytes | None = None
        self.ncemg = False
        self.emergency = False
        self.offset = 0
        self.total = 0


_NO_KEYS = _Keys()


def _read_keys(text: bytes) -> _Keys:
    """Rule 5."""
    keys = _Keys()
    length = len(text)
    at = 0
    while at < length:
        end = octets.find(text, _COMMA, at)
        if end < 0:
            end = length
        if _is_key(text, at, end, _NCFRAG):
            slash = octets.find(text, _SLASH, at)
            if keys.total or slash < 0:
                raise Malformed("a second ncfrag, or one that is not OFFSET/TOTAL")
            keys.offset = _short_decimal(text, at + len(_NCFRAG) + 1, slash)
            keys.total = _short_decimal(text, slash + 1, end)
            if keys.offset < 0 or keys.total < 0:
                raise Malformed("an ncfrag that is not OFFSET/TOTAL")
            if keys.total == 0 or keys.total > _TOTAL_LIMIT:
                raise Malformed(f"the total of a fragmented message is not from 1 to {TOTAL_LIMIT}")
        elif _is_key(text, at, end, _NCEMG):
            if keys.ncemg:
                raise Malformed("a second ncemg")
            keys.ncemg = True
            keys.emergency = end == at + len(_NCEMG) + 2 and text[end - 1] == _ONE
        else:
            caller = _only_caller(text, at, end)
            if caller is not None:
                keys.caller = caller
        at = end + 1
    return keys


def _is_key(text: bytes, start: int, end: int, key: bytes) -> bool:
    """Whether the item between two indices has this key, with a value or without."""
    after = start + len(key)
    return text.startswith(key, start) and (after == end or (after < end and text[after] == _EQUALS))


def _short_decimal(text: bytes, start: int, end: int) -> int:
    """The number between two indices; -1 if it is none, or longer than any total that is accepted."""
    if end <= start or end - start > 7:
        return -1
    number = 0
    index = start
    while index < end:
        digit = text[index] - _ZERO
        if digit < 0 or digit > 9:
            return -1
        number = number * 10 + digit
        index += 1
    return number
