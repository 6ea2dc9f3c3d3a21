"""Properties of decoding, for any datagram."""

from __future__ import annotations

import re

from hypothesis import given, settings

from netconsd.protocol.decode import TOTAL_LIMIT, Fragment, Malformed, decode
from tests.support.decoding import SENDER
from tests.support.strategies import NOTICE, damaged, datagrams, plausible


@settings(max_examples=600)
@given(datagrams)
def test_any_datagram(datagram: bytes) -> None:
    """Decoding any bytes raises nothing but Malformed, and returns fields within the bounds of the format."""
    try:
        decoded = decode(datagram, SENDER, 0.0)
    except Malformed:
        return
    if decoded is None:
        return
    message = decoded.piece if isinstance(decoded, Fragment) else decoded
    assert 0 <= message.level <= 7
    assert 0 <= message.facility <= 255
    assert 0 <= message.seq < 2**64
    assert 0 <= message.ts_usec < 2**64
    assert message.msgid is None or 0 <= message.msgid < 2**32
    assert message.caller is None or re.fullmatch("[TC][0-9]{1,19}", message.caller)
    _, semicolon, body = datagram.partition(b";")
    assert (semicolon, message.raw) == (b";", body)
    if isinstance(decoded, Fragment):
        assert 0 < len(message.raw) <= decoded.total - decoded.offset
        assert 0 <= decoded.offset < decoded.total <= TOTAL_LIMIT
        assert message.msgid is None


Fields = tuple[bytes | None, int, int, int, bool, bool]


def find(datagram: bytes) -> Fields | None:
    """Return (release, prefix, seq, ts_usec, continuation, replayed) by rules 1 to 4, found by splitting."""
    header, semicolon, _ = datagram.partition(b";")
    if not semicolon:
        return None
    replayed = header.startswith(NOTICE)
    fields = header.removeprefix(NOTICE).split(b",")
    for index in range(len(fields) - 3):
        release = b",".join(fields[:index])
        first = fields[index]
        between = index > 0 and not replayed and first.startswith(NOTICE)
        values = [fields[index].removeprefix(NOTICE) if between else first, *fields[index + 1 : index + 3]]
        flag = fields[index + 3]
        if not all(re.fullmatch(rb"[0-9]{1,20}", value) and int(value) < 2**64 for value in values):
            continue
        if int(values[0]) > 2047 or not re.match(rb"[-c+]|[!-/:-~]\Z", flag):
            continue
        if index and not re.fullmatch(rb"(?!,)[!-~]{1,64}", release):
            return None
        prefix, seq, ts_usec = (int(value) for value in values)
        return release if index else None, prefix, seq, ts_usec, flag[:1] in (b"c", b"+"), replayed or between
    return None


@settings(max_examples=600)
@given(plausible | damaged)
def test_header_is_found_where_the_rules_say(datagram: bytes) -> None:
    """Decoding by index finds the same header as splitting at commas."""
    expected = find(datagram)
    try:
        decoded = decode(datagram, SENDER, 0.0)
    except Malformed:
        assert expected is not None
        return
    if decoded is None:
        assert expected is None
        return
    message = decoded.piece if isinstance(decoded, Fragment) else decoded
    prefix = message.facility << 3 | message.level
    header = (prefix, message.seq, message.ts_usec, message.continuation, message.replayed)
    assert expected is not None
    assert header == expected[1:]
    if expected[0] is not None:
        assert message.release == expected[0].decode()
