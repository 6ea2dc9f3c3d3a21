"""Headers of the most frequent form, which plain Python reads by a regular expression, and those next to it."""

from __future__ import annotations

import pytest

from netconsd.message import ExtendedMessage
from netconsd.protocol.decode import decode
from netconsd.testing import source

_LONG = b"1" * 19
_BODIES = (b"text\n", b"", b"text\n msgid=7\n", b"text msgid=7\n", b"text\n msgid=x\n", b"a;b,c\n\0")


@pytest.mark.parametrize(
    "flag", [b"-", b"c", b"+", b"-,caller=T1", b"-,caller=C" + _LONG, b"c,caller=T" + _LONG + b"1"]
)
@pytest.mark.parametrize("numbers", [b"6,1,2", b"999,0,0", b"6," + _LONG + b"," + _LONG])
@pytest.mark.parametrize(
    "release", [b"", b"6.12.1-amd64,", b"6,", b"12345678901234567890,", b"*:<-~!+,", b"r" * 64 + b","]
)
def test_a_leading_zero_changes_nothing(release: bytes, numbers: bytes, flag: bytes) -> None:
    """A prefix of four digits is not of the frequent form, and its message has the same fields."""
    for body in _BODIES:
        usual = decode(release + numbers + b"," + flag + b";" + body, source(), 1.5)
        other = decode(release + b"000" + numbers + b"," + flag + b";" + body, source(), 1.5)
        assert isinstance(usual, ExtendedMessage)
        assert usual.release == (release[:-1].decode() or None)
        assert usual == other
        assert repr(usual) == repr(other)


@pytest.mark.parametrize(
    "header",
    [
        *(
            b"6,1,2,",
            b"6,1,2,-",
            b"6,1,2,-,caller=T1",
            b"6,1,,-;",
            b",1,2,-;",
            b"6,1,2,5;",
            b" 6,1,2,-;",
            b"r" * 65 + b",6,1,2,-;",
        ),
        *(b"6,1,18446744073709551616,-;", b"6,1,2;-;", b"2048,1,2,-;"),
    ],
)
def test_others_are_text(header: bytes) -> None:
    """A datagram without such a header is legacy text."""
    assert decode(header, source(), 1.5) is None
