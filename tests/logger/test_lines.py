"""Lines of a log file that are written as they were received, and those that are not."""

from __future__ import annotations

import pytest

from netconsd.logger.lines import LineForm, log_lines
from netconsd.message import ExtendedMessage
from netconsd.protocol.decode import decode
from netconsd.testing import extended_message, source


def test_every_byte_at_every_place() -> None:
    """Wherever in a text a byte is that is not plain, the line is escaped; the compiled build reads 16 at a time."""
    for place in range(40):
        for byte in (0x1B, 0x5C, 0x7F, 0x80, 0xFF):
            text = bytearray(b"a" * 40)
            text[place] = byte
            message = decode(b"6,1,1000000,-;" + bytes(text) + b"\n userdata\xff=\\x41\n", source(), 1.5e9)
            assert isinstance(message, ExtendedMessage)
            line = log_lines([message])
            shown = b"\\" if byte == 0x5C else b"\\x%02x" % byte
            assert line.endswith(b" info   " + bytes(text).replace(bytes([byte]), shown) + b"\n")


def test_userdata_is_not_written() -> None:
    """Only the text is in the line; bytes of the userdata neither appear in it nor make it slower."""
    assert log_lines([extended_message("text", userdata={"key": "\x1b"})]).endswith(b" info   text\n")


@pytest.mark.parametrize("text", ["text", "text \\ with a backslash", "größer ✓", "a\tb", "a\x1bb", "", " "])
@pytest.mark.parametrize(
    "caller", [None, b"T1", b"C18446744073709551615", b"T\x1b", b"T\\x", b"T 1", "Tö".encode(), b""]
)
def test_every_way_of_writing_a_line_is_the_same(text: str, caller: bytes | None) -> None:
    """A plain, a printable and any other text, with any caller, have the line that the settings for details give."""
    message = extended_message(text, ts_usec=12345678, level=4)
    message._caller = caller
    with_fields = log_lines([message], LineForm(["facility"]))
    assert log_lines([message]) == with_fields.removesuffix(b" {facility=0}\n") + b"\n"
