"""Binary garbage costs the compactor a few calls a message: a hostile sender does not stall it."""

from __future__ import annotations

import sys
from random import Random

import pytest

from netconsd.protocol import body
from netconsd.store.boots import Boots
from netconsd.store.columns import Columns
from netconsd.store.records import Block
from tests.support.hostile_stores import CASES

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store import segment

MESSAGES = 64
#: Calls of Python's and C's functions for a message of some KB, each of which is linear: some dozens; in plain Python
#: 100, and one for each different byte that is escaped.
CALLS = 1000


def calls(case: str) -> int:
    """Return the calls that the columns and the table of hostile messages take."""
    rng = Random(5)
    messages = [CASES[case](rng, number) for number in range(1, 1 + MESSAGES)]
    block, columns = Block(), Columns()
    assert block.fill(messages, 0) == MESSAGES
    columns.add(bytes(block.data[16 : block.used]))
    columns.order()
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        columns.fill(MESSAGES, 1 << 30)
        boots = Boots()
        boots.assign(columns)
        made = segment.table(columns, boots)
    finally:
        sys.setprofile(None)
    assert [message.raw for message in segment.messages(made)] == [message.raw for message in messages]
    return count


@pytest.mark.parametrize("case", ["legacy garbage", "extended garbage", "short garbage"])
def test_garbage_takes_no_calls_per_byte(case: str) -> None:
    """The calls are proportional to the messages, not to their bytes."""
    calls(case)  # Caches are filled.
    assert calls(case) < CALLS * MESSAGES


def test_all_bytes_are_escaped_as_by_the_kernel() -> None:
    """The quick escaping is that of a kernel, for each byte, and undone by its opposite."""
    every = bytes(range(256)) * 2
    plain = {octet for octet in range(0x20, 0x7F) if octet != ord("\\")}
    assert body.escape(every) == b"".join(bytes((octet,)) if octet in plain else b"\\x%02x" % octet for octet in every)
    assert body.unescape(body.escape(every)) == every


@pytest.mark.parametrize(
    "data",
    [
        *(bytes((octet,)) for octet in range(256)),
        *(bytes((first, second)) for first in range(0xC0, 0x100) for second in b"\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0"),
        b"\xe0\x80\x80", b"\xe0\xa0\x80", b"\xed\x9f\xbf", b"\xed\xa0\x80", b"\xef\xbf\xbf", b"\xe2\x82", b"\xe2\x82A",
        b"\xf0\x80\x80\x80", b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
        b"\xf0\x90\x80", b"\xf0\x90A\x80", "ä€𝄞".encode() + b"\xff",
    ],
)  # fmt: skip
def test_utf8_is_that_of_python(data: bytes) -> None:
    """The bounds of the quick decoding are those of Unicode's table 3-7."""
    for text in (data, b"x" + data + b"y", data + data):
        assert body.readable(text) == text.decode("utf-8", "backslashreplace")
