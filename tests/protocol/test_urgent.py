"""Urgent datagrams are recognised without the decoder, in either format, whole or in parts."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netconsd.protocol.urgent import CRASH_HEADS, LINES_LIMIT, is_urgent
from netconsd.testing import extended, fragments, legacy


@pytest.mark.parametrize("level", range(8))
@pytest.mark.parametrize("facility", [0, 1, 255])
def test_levels(level: int, facility: int) -> None:
    """Emergency, alert and critical are urgent, of any facility, extended and legacy."""
    prefix = 8 * facility + level
    for datagram in (
        b"%d,1,2,-;text\n" % prefix,
        b"6.1.0-56-amd64,%d,1,2,-,caller=T1;text\n" % prefix,
        b"<%d>[   12.345678] text\n" % prefix,
        b"<%d>text" % prefix,
    ):
        assert is_urgent(datagram) == (level <= 2), datagram


@pytest.mark.parametrize("head", CRASH_HEADS)
def test_the_begin_of_a_crash(head: bytes) -> None:
    """A line that begins like a crash is urgent at any level, behind any header or prefix."""
    line = head + b" something\n"
    for prefix in (
        b"", b"<4>", b"[   12.345678] ", b"[   12.345678][  T123] ", b"<6>[   12.345678][    C0] ", b"6,1,2,-;",
        b"6.12.117+deb13-amd64,6,1,2,-,caller=T1;", b"12,1,2,c;", b"an earlier line\n[    1.000000] ",
    ):  # fmt: skip
        assert is_urgent(prefix + line), prefix
    assert not is_urgent(b"6,1,2,-;about a " + line)
    assert not is_urgent(b"audit: " + line)


@pytest.mark.parametrize(
    "datagram",
    [
        b"", b"\n", b"\0", b"<", b"<0", b"<>", b"<0x>text", b"<99999>text", b"0", b"0,", b"0,x", b"[", b"[[[[[", b";",
        b"6,1,2,-;", b"3,1,2,-", b"eth0: link up, 1000Mbps, full duplex\n", b"DEBUG: nothing\n",
        b"6,1,2,-;traps: prog[1] general protection fault ip:0 sp:0 error:0 in prog\n",
        b"[    1.000000] usb 1-1: new device\n", b"1.2,3,4 numbers\n",
    ],
)  # fmt: skip
def test_others(datagram: bytes) -> None:
    """Anything else is not urgent, and neither are parts of a prefix."""
    assert not is_urgent(datagram)


def test_fragments() -> None:
    """Each fragment of an urgent record is urgent, because the header is repeated."""
    parts = fragments(extended("x" * 3000, level=0), 1000)
    assert len(parts) > 3
    assert all(map(is_urgent, parts))
    first, *others = fragments(extended("BUG: " + "x" * 3000, level=4), 1000)
    assert is_urgent(first)
    assert not any(map(is_urgent, others))


def test_the_bound_of_lines() -> None:
    """Only the first LINES_LIMIT lines of a datagram are looked at, so that a datagram of newlines costs no more."""
    assert is_urgent(b"x\n" * (LINES_LIMIT - 1) + b"BUG: x")
    assert not is_urgent(b"x\n" * LINES_LIMIT + b"BUG: x")


@given(st.binary(max_size=200))
@example(b"<12345678901234567890>")
@example(b"1" * 100)
@example(legacy("[" * 100))
def test_any_bytes(datagram: bytes) -> None:
    """No bytes raise an exception, and neither does any beginning of a datagram."""
    is_urgent(datagram)
    urgent = b"6.1.0,0,1,2,-;" + datagram
    for end in range(len(urgent)):
        is_urgent(urgent[:end])
    assert is_urgent(urgent)
