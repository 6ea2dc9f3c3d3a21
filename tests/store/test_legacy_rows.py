"""Legacy lines as columns: most are read in one step, which gives what the reading of every other line gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.message import LegacyMessage, legacy_fields
from netconsd.store.columns import NONE, Columns, legacy_line
from netconsd.store.records import Block
from netconsd.testing import source


def expected_of(raw: bytes) -> tuple[object, ...]:
    """Return prefix, ts_usec, caller, text and kept bytes of a line by the functions that read every line."""
    prefix, ts_usec, caller, shown = legacy_fields(raw)
    text = shown.encode()
    kept = None if raw == legacy_line(prefix, ts_usec, caller, text) else raw
    return prefix, ts_usec, None if caller is None else caller.encode(), text, kept


def row_of(raw: bytes) -> tuple[object, ...]:
    """Return the same from the columns."""
    block, columns = Block(), Columns()
    block.fill([LegacyMessage(source("192.0.2.1"), 1e9, raw)], 0)
    columns.add(bytes(block.data[16 : block.used]))
    columns.sort()
    prefix, ts_usec, caller = columns.prefix[0], columns.ts_usec[0], columns.caller[0]
    return (
        None if prefix == NONE else prefix,
        None if ts_usec == NONE else ts_usec,
        None if caller == NONE else list(columns.callers)[caller],
        bytes(columns.text),
        columns.raws.get(0),
    )


LINES = [
    b"[    1.234567] usb 1-1: new device\n",
    b"[    0.000000] Linux version 6.12.1\n",
    b"[12345.678901] five digits\n",
    b"[123456789.678901] nine digits\n",
    b"[9999999999999.999999] as many digits as are read\n",
    b"[19999999999999.999999] one more\n",
    b"[    1.234567]  the text begins with a space\n",
    b"[    1.234567] [ T12] brackets of the text\n",
    b"[    1.234567] <4>a level of the text\n",
    # Not as kernels write the time.
    b"[1.234567] x\n",
    b"[00001.234567] x\n",
    b"[   01.234567] x\n",
    b"[     1.234567] a column more\n",
    b"[   1.234567] a column less\n",
    b"[ 12345.678901] a space too many\n",
    b"[     .234567] x\n",
    b"[    1.23456] x\n",
    b"[    1.2345678] x\n",
    b"[    1.234567]x\n",
    b"[    1.234567] \n",
    b"[    1.234567]\n",
    b"[    1,234567] xx\n",
    b"[    1.23456x] xx\n",
    b"[1             ] xx\n",
    # With more than a time.
    b"[    1.234567][   T12] usb 1-1: new device\n",
    b"<6>[    1.234567] usb 1-1: new device\n",
    # Ends and bytes that are no printable ASCII.
    b"[    1.234567] without an end",
    b"[    1.234567] two lines\nin one\n",
    b"[    1.234567] carriage return\r\n",
    b"[    1.234567] NUL\n\0",
    b"[    1.234567] caf\xc3\xa9\n",
    b"[    1.234567] back\\slash\n",
    b"[    1.234567] tab\there\n",
]


@pytest.mark.parametrize("raw", LINES)
def test_a_legacy_line(raw: bytes) -> None:
    """Time, text and kept bytes of a line are those by the general rules."""
    assert row_of(raw) == expected_of(raw)


@given(
    st.builds(
        b"[%b.%b]%b%b\n".__mod__,
        st.tuples(
            st.integers(0, 10**14).map(b"%5d".__mod__) | st.from_regex(rb"[ 0-9]{0,15}", fullmatch=True),
            st.integers(0, 999_999).map(b"%06d".__mod__) | st.from_regex(rb"[0-9]{0,8}", fullmatch=True),
            st.sampled_from([b" ", b"", b"  ", b"[  T1] "]),
            st.binary(max_size=20),
        ),
    )
)
def test_any_legacy_line(raw: bytes) -> None:
    """Time, text and kept bytes of any line are those by the general rules."""
    assert row_of(raw) == expected_of(raw)
