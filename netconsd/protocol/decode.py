"""One datagram to a message, a fragment of a message, or legacy text (docs/wire sections 2, 3 and 5).

    [release,]prefix,seq,ts_usec,flag[,key=value]*;body

Rules:

1. The header begins at the first comma-separated field from which four in a row are decimal, decimal, decimal and a
   flag; everything before it is the release. The header ends at the first ``;``.
2. prefix is at most 2047; seq and ts_usec fit 64 bits unsigned; the release has 1 to 64 visible ASCII characters, and
   its first character is not a comma. A header beyond these bounds is legacy text.
3. The flag starts with ``-``, ``c`` or ``+``; ``c`` and ``+`` continue an earlier record. Any other single visible
   character that is not a digit is accepted as an unknown flag and treated as ``-``.
4. The notice that a message is a replay can stand before the header or between release and header.
5. ``caller``, ``ncfrag`` and ``ncemg`` are read, other keys are ignored. A header that repeats ``ncfrag`` or ``ncemg``,
   or has an invalid ``ncfrag``, is malformed.
6. A datagram without a header is legacy text.

:func:`read` finds the header (rules 1 to 4), reads the keys (rule 5), and builds the message. :func:`decode` raises
:class:`Malformed` or nothing, for any bytes.
"""

from __future__ import annotations

from netconsd.protocol import octets
from netconsd.protocol.body import msgid_of
from netconsd.protocol.message import PREFIX_LIMIT, ExtendedMessage, Source

REPLAY_NOTICE = b"** replaying previous printk message **\n"
# The kernel's utsname has 64 characters, plus a final NUL.
RELEASE_LIMIT = 64
# docs/wire section 5: the largest message of today's kernels is about 67 kB.
TOTAL_LIMIT = 128 * 1024
# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(RELEASE_LIMIT=RELEASE_LIMIT, TOTAL_LIMIT=TOTAL_LIMIT)

_U64_DIGITS = 20
_U64_LIMIT = 2**64 - 1
_LEAST_OF_20_DIGITS = 10**19
_COMMA = ord(",")
_SEMICOLON = ord(";")
_ZERO = ord("0")
_MINUS = ord("-")
_PLUS = ord("+")
_STAR = ord("*")
_C = ord("c")
_T = ord("T")
_UPPER_C = ord("C")
_SLASH = ord("/")
_EQUALS = ord("=")
_ONE = ord("1")
_NCFRAG = b"ncfrag"
_NCEMG = b"ncemg"
_MSGID = b"msgid="
_FIRST_VISIBLE = 0x21
_LAST_VISIBLE = 0x7E


class Malformed(ValueError):
    """A datagram's extended header contradicts itself; the datagram is legacy text."""


class Fragment:
    """A piece of a message (docs/wire section 5), filled in by :func:`read`."""

    __slots__ = ("offset", "piece", "total")

    #: The header, with this fragment's bytes as ``raw``; never empty.
    piece: ExtendedMessage
    #: The fragment's place in the body, in bytes; it ends at ``total`` at the latest.
    offset: int
    #: The size of the body in bytes; at most :data:`TOTAL_LIMIT`.
    total: int


def decode(datagram: bytes, source: Source, received_at: float) -> ExtendedMessage | Fragment | None:
    """Read an extended datagram; return ``None`` for legacy text.

    :raises Malformed: by rule 5.
    """
    decoded = read(datagram, source, received_at)
    if isinstance(decoded, Malformed):
        raise decoded
    return decoded


def read(datagram: bytes, source: Source, received_at: float) -> ExtendedMessage | Fragment | Malformed | None:
    """Read a datagram as :func:`decode`, but return the error: in C, each ``try`` costs 45 instructions per message."""
    usual = octets.usual_header(datagram)
    if usual is not None:
        return _usual(usual, source, received_at)
    flag_at, prefix, seq, ts_usec, release_at, release_end, replayed = _find_header(datagram)
    if flag_at < 0:
        return None
    # In C, a slice of a pointer costs half as much as a slice of a bytes object.
    datagram_c = datagram
    length = len(datagram)
    flag = datagram[flag_at]
    index = flag_at
    while index < length and datagram[index] != _COMMA and datagram[index] != _SEMICOLON:
        index += 1
    emergency = False
    caller = None
    offset = 0
    total = 0
    if index < length and datagram[index] == _COMMA:
        first = index + 1
        index = octets.find(datagram, _SEMICOLON, first)
        if index < 0:
            return None
        caller = _only_caller(datagram, first, index)
        if caller is None:
            end = _end_of_caller(datagram, first, index)
            if end > first:
                caller = _only_caller(datagram, first, end)
                end += 1
            offset, total = _only_ncfrag(datagram, end, index)
            if not total or (end > first and caller is None):
                try:
                    keys = _read_keys(datagram_c[first:index])
                except Malformed as error:
                    return error
                emergency = keys.emergency
                caller = keys.caller
                offset = keys.offset
                total = keys.total
    if index == length:
        return None
    body = datagram_c[index + 1 : length]
    message = ExtendedMessage.__new__(ExtendedMessage)
    message._set_defaults()
    message._source = source
    message._received_at = received_at
    message._raw = body
    message._prefix = prefix
    message._seq = seq
    message._ts_usec = ts_usec
    message._continuation = flag == _C or flag == _PLUS
    message._caller = caller
    message._release = datagram_c[release_at:release_end] if release_end > release_at else None
    message._msgid = -1 if total else msgid_of(body)
    message._replayed = replayed
    message._emergency = emergency
    if not total:
        return message
    if not body or offset + len(body) > total:
        return Malformed("a fragment that is empty or reaches beyond its total")
    # A call of __init__ costs several times as much.
    fragment = Fragment.__new__(Fragment)
    fragment.piece = message
    fragment.offset = offset
    fragment.total = total
    return fragment


def _usual(
    header: tuple[bytes | None, int, int, int, bytes, bytes | None, bytes], source: Source, received_at: float
) -> ExtendedMessage:
    """Return the message of a usual header: without replay notice, ncfrag and ncemg."""
    message = ExtendedMessage.__new__(ExtendedMessage)
    message._set_defaults()
    message._source = source
    message._received_at = received_at
    message._release, message._prefix, message._seq, message._ts_usec, flag, message._caller, body = header
    message._raw = body
    message._continuation = flag != b"-"
    message._msgid = msgid_of(body) if _MSGID in body else -1
    message._replayed = False
    message._emergency = False
    return message


def _find_header(datagram: bytes) -> tuple[int, int, int, int, int, int, bool]:
    """Return (index of the flag, prefix, seq, ts_usec, start of the release, its end, replayed).

    The index is -1 if there is no header (rules 1, 2 and 4).
    """
    start = 0
    replayed = False
    if datagram and datagram[0] == _STAR and datagram.startswith(REPLAY_NOTICE):
        start = len(REPLAY_NOTICE)
        replayed = True
    release_at = start
    release_end = start
    while True:
        flag_at, prefix, seq, ts_usec = _numbers_at(datagram, start)
        if flag_at >= 0 and _is_flag(datagram, flag_at):
            return flag_at, prefix, seq, ts_usec, release_at, release_end, replayed
        # The field is the release, or a part of it, unless the notice stands before it.
        if start > release_end + 1:
            break
        release_end = _end_of_release(datagram, start)
        if release_end == release_at or release_end - release_at > RELEASE_LIMIT:
            break
        start = release_end + 1
        if start < len(datagram) and datagram[start] == _STAR and datagram.startswith(REPLAY_NOTICE, start):
            if replayed:
                break
            start += len(REPLAY_NOTICE)
            replayed = True
    return -1, 0, 0, 0, 0, 0, False


def _numbers_at(datagram: bytes, start: int) -> tuple[int, int, int, int]:
    """Return (index after the last comma, prefix, seq, ts_usec), read from ``start``; index -1 if rule 1 or 2 fails."""
    prefix = 0
    seq = 0
    number = 0
    length = len(datagram)
    index = start
    for field in range(3):
        number = 0
        first = index
        # One digit more than fits is enough to reject a number, even one of 65,000 digits.
        last = min(first + _U64_DIGITS + 1, length)
        while index < last:
            digit = datagram[index] - _ZERO
            if digit < 0 or digit > 9:
                break
            number = number * 10 + digit
            index += 1
        digits = index - first
        if digits == 0 or digits > _U64_DIGITS or index == length or datagram[index] != _COMMA:
            return -1, 0, 0, 0
        if digits == _U64_DIGITS and not _is_u64(datagram[first], number):
            return -1, 0, 0, 0
        if field == 0:
            if number > PREFIX_LIMIT:
                return -1, 0, 0, 0
            prefix = number
        elif field == 1:
            seq = number
        index += 1
    return index, prefix, seq, number


def _is_u64(first_digit: int, number: int) -> bool:
    """True if 20 digits fit 64 bits. In C, a number from 2^64 to 2 * 10^19 wraps to less than 10^19."""
    return first_digit == _ZERO or (first_digit == _ONE and _LEAST_OF_20_DIGITS <= number <= _U64_LIMIT)


def _is_flag(datagram: bytes, index: int) -> bool:
    """True if there is a flag at this index (rule 3)."""
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
    """Return the index of the comma that ends this part of a release; beyond the limit if there is none."""
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
    """Return the caller if it is the only key between two indices, as in most headers with keys."""
    datagram_c = datagram
    first = start + 7
    if end - first < 2 or end - first > _U64_DIGITS or not octets.begins_with(datagram, b"caller=", start):
        return None
    if datagram[first] != _T and datagram[first] != _UPPER_C:
        return None
    index = first + 1
    while index < end:
        digit = datagram[index] - _ZERO
        if digit < 0 or digit > 9:
            return None
        index += 1
    return datagram_c[first:end]


def _end_of_caller(datagram: bytes, start: int, end: int) -> int:
    """Return the index of the comma after a caller; ``start`` if something else is there."""
    index = start
    if datagram[start] == _C:
        while index < end and datagram[index] != _COMMA:
            index += 1
    return index if index < end else start


def _only_ncfrag(datagram: bytes, start: int, end: int) -> tuple[int, int]:
    """Return (offset, total) of a valid ncfrag that is all between two indices, as in most fragments; else (0, 0)."""
    first = start + 7
    if first >= end or not octets.begins_with(datagram, b"ncfrag=", start):
        return 0, 0
    slash = first
    while slash < end and datagram[slash] != _SLASH:
        slash += 1
    offset = _short_decimal(datagram, first, slash)
    total = _short_decimal(datagram, slash + 1, end)
    if offset < 0 or total <= 0 or total > TOTAL_LIMIT:
        return 0, 0
    return offset, total


class _Keys:
    """The keys of a header; a total of 0 if the datagram is not a fragment."""

    __slots__ = ("caller", "emergency", "ncemg", "offset", "total")

    caller: bytes | None
    ncemg: bool
    emergency: bool
    offset: int
    total: int


def _read_keys(text: bytes) -> _Keys:
    """Read all keys.

    :raises Malformed: by rule 5.
    """
    keys = _Keys.__new__(_Keys)
    keys.caller = None
    keys.ncemg = False
    keys.emergency = False
    keys.offset = 0
    keys.total = 0
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
            if keys.total == 0 or keys.total > TOTAL_LIMIT:
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
    """True if the item between two indices has this key, with or without a value."""
    after = start + len(key)
    return octets.begins_with(text, key, start) and (after == end or (after < end and text[after] == _EQUALS))


def _short_decimal(text: bytes, start: int, end: int) -> int:
    """Return the number between two indices; -1 if it is not decimal, or has more digits than any accepted total."""
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
