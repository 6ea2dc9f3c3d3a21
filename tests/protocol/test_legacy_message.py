"""The prefix and text of a console line (docs/wire section 2)."""

from __future__ import annotations

import pytest

from netconsd.protocol.message import LegacyMessage
from netconsd.testing import legacy_message, source

SENDER = source("192.0.2.7", 6665)


@pytest.mark.parametrize(
    ("line", "prefix", "ts_usec", "caller", "text"),
    [
        (
            b"[    5.123456] usb 1-1: new high-speed USB device number 2 using xhci_hcd",
            None,
            5123456,
            None,
            "usb 1-1: new high-speed USB device number 2 using xhci_hcd",
        ),
        (b"<6>[   12.345678] foo: bar", 6, 12345678, None, "foo: bar"),
        (b"[   12.345678][  T123] foo: bar", None, 12345678, "T123", "foo: bar"),
        (b"[   12.345678][   C5] foo: bar", None, 12345678, "C5", "foo: bar"),
        (b"<30>[   12.345678][  T123] foo: bar", 30, 12345678, "T123", "foo: bar"),
        (b"<6>[  T123] foo: bar", 6, None, "T123", "foo: bar"),
        (b"[T1234567890] foo", None, None, "T1234567890", "foo"),
        (b"<6>foo: bar", 6, None, None, "foo: bar"),
        (b"<6> foo: bar", 6, None, None, " foo: bar"),
        (b"<6>", 6, None, None, ""),
        (b"foo: bar", None, None, None, "foo: bar"),
        (b" foo: bar", None, None, None, " foo: bar"),
        (b"", None, None, None, ""),
        (b"[   12.345678]   indented", None, 12345678, None, "  indented"),
        (b"[   12.345678] ", None, 12345678, None, ""),
        (b"[   12.345678]", None, 12345678, None, ""),
        (b"[   12.345678]foo", None, 12345678, None, "foo"),
        (b"[    0.000000] foo", None, 0, None, "foo"),
        (b"[0.000001] foo", None, 1, None, "foo"),
        (b"[123456.000000] foo", None, 123456000000, None, "foo"),
        (b"[18446744073.709551] foo", None, 18446744073709551, None, "foo"),
        (b"[9999999999999.999999] foo", None, 9999999999999999999, None, "foo"),
        (b"[12.34567] foo", None, None, None, "[12.34567] foo"),
        (b"[12.3456789] foo", None, None, None, "[12.3456789] foo"),
        (b"[   12.345678 ] foo", None, None, None, "[   12.345678 ] foo"),
        (b"[12] foo", None, None, None, "[12] foo"),
        (b"[-1.345678] foo", None, None, None, "[-1.345678] foo"),
        (b"[   12.345678][X1] foo", None, 12345678, None, "[X1] foo"),
        (b"[   12.345678] [  T123] foo", None, 12345678, None, "[  T123] foo"),
        (b"[   12.345678][  T] foo", None, 12345678, None, "[  T] foo"),
        (b"[T12345678901] foo", None, None, None, "[T12345678901] foo"),
        (b"[Tainted] foo", None, None, None, "[Tainted] foo"),
        (b"foo [   12.345678] bar", None, None, None, "foo [   12.345678] bar"),
        (b" [   12.345678] bar", None, None, None, " [   12.345678] bar"),
        (b"[   12.345678] <6>foo", None, 12345678, None, "<6>foo"),
        (b"<0>foo", 0, None, None, "foo"),
        (b"<2047>foo", 2047, None, None, "foo"),
        (b"<2048>foo", None, None, None, "<2048>foo"),
        (b"<9999>[   12.345678] foo", None, None, None, "<9999>[   12.345678] foo"),
        (b"<20470>foo", None, None, None, "<20470>foo"),
        (b"<>foo", None, None, None, "<>foo"),
        (b"<-1>foo", None, None, None, "<-1>foo"),
        (b"<6foo", None, None, None, "<6foo"),
        (b"** 3 printk messages dropped **", None, None, None, "** 3 printk messages dropped **"),
        (b"[   12.345678] caf\xc3\xa9 \x1b[31m \0 \xff \t", None, 12345678, None, "café \x1b[31m \0 \\xff \t"),
        (b"[   12.345678] \\x41", None, 12345678, None, "\\x41"),
    ],
)
def test_legacy_line(line: bytes, prefix: int | None, ts_usec: int | None, caller: str | None, text: str) -> None:
    """``<N>``, timestamp and caller are parsed; the text is everything after them, not unescaped."""
    for raw in (line, line + b"\n"):
        message = LegacyMessage(SENDER, 1.5, raw)
        level_and_facility = (None, None) if prefix is None else (prefix & 7, prefix >> 3)
        assert (message.level, message.facility) == level_and_facility
        assert (message.ts_usec, message.caller, message.text) == (ts_usec, caller, text)
        assert (message.raw, message.received_at, message.source) == (raw, 1.5, SENDER)


@pytest.mark.parametrize("digits", [14, 20, 21, 65_000])
def test_legacy_timestamp_beyond_u64(digits: int) -> None:
    """A timestamp beyond 64 bits of microseconds is text."""
    line = "[" + "9" * digits + ".999999] foo"
    message = legacy_message(line)
    assert (message.ts_usec, message.text) == (None, line)


@pytest.mark.parametrize("line", ["<" + "1" * 65_000, "[" + " " * 65_000, "[T" + "1" * 65_000 + "]", "[" * 65_000])
def test_long_legacy_lines(line: str) -> None:
    """A line of maximal length that begins like a prefix is text, in a moment."""
    assert legacy_message(line).text == line


def test_legacy_text_without_its_newline() -> None:
    """One final newline is removed from the text, one carriage return before it, and NULs at the end."""
    assert LegacyMessage(SENDER, 0.0, b"foo\r\n").text == "foo"
    assert LegacyMessage(SENDER, 0.0, b"foo\r\r\n").text == "foo\r"
    assert LegacyMessage(SENDER, 0.0, b"foo\rbar\r").text == "foo\rbar\r"
    assert LegacyMessage(SENDER, 0.0, b"<6>foo\0").text == "foo"
    assert LegacyMessage(SENDER, 0.0, b"<6>foo\r\0\0").text == "foo"
    assert LegacyMessage(SENDER, 0.0, b"foo\r\n\0").text == "foo"
    assert LegacyMessage(SENDER, 0.0, b"foo\0\n").text == "foo\0"
    assert LegacyMessage(SENDER, 0.0, b"foo\n\n").text == "foo\n"
