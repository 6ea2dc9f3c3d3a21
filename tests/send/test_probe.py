"""The messages of a self-test, and the comparison with the delivered messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.send.probe import discrepancies, is_last, probe_messages
from netconsd.testing import legacy_message
from tests.support.scripted_lane import Delivered, lane_with, put, run

SENT = probe_messages("cafe0123", 1_000_000)
Mangle = Callable[[list[bytes]], list[bytes]]


def received(mangle: Mangle = lambda datagrams: datagrams) -> list[Message]:
    """The messages that a worker delivers for the datagrams, changed by ``mangle``."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, *mangle([datagram for message in SENT for datagram in message.datagrams]))
    run(lane)
    return delivered.messages


def test_intact() -> None:
    """Messages that a worker delivers have no discrepancy, and the last one is recognised."""
    got = received()
    assert discrepancies(SENT, got, "cafe0123") == []
    assert [is_last(message, "cafe0123") for message in got] == [False, False, False, True]


def test_datagrams() -> None:
    """Both formats, every field, and four fragments, in datagrams of at most 1000 bytes."""
    full, legacy, fragmented, last = SENT
    assert b"\\x09" in full.datagrams[0] and b"\\xc3\\xa9" in full.datagrams[0]
    assert {"release", "dictionary", "userdata", "cpu", "taskname", "msgid", "text"} <= set(full.fields)
    assert legacy.datagrams == (b"<5>[    1.000001][  T123] netconsd selftest cafe0123 legacy\n",)
    assert len(fragmented.datagrams) >= 4
    assert len(last.datagrams) == 1
    assert all(len(datagram) <= 1000 for message in SENT for datagram in message.datagrams)


def without(text: bytes) -> Mangle:
    """Loses the datagrams that contain ``text``."""
    return lambda datagrams: [datagram for datagram in datagrams if text not in datagram]


def replaced(old: bytes, new: bytes) -> Mangle:
    """Replaces ``old`` in every datagram."""
    return lambda datagrams: [datagram.replace(old, new) for datagram in datagrams]


@pytest.mark.parametrize(
    ("mangle", "expected"),
    [
        (without(b" legacy"), ["the legacy message did not arrive"]),
        (without(b" full"), ["the full message did not arrive"]),
        (without(b"selftest"), ["the full message did not arrive", "the legacy message did not arrive"]),
        (replaced(b"role=cafe", b"role=CAFE"), ["the full message: userdata is {'rack': 'r17 b', 'role': 'CAFE"]),
        (replaced(b"two\\x0a", b"2\\x0a"), ["the full message: text is 'netconsd selftest cafe0123 full: "]),
        (replaced(b" cpu=3", b" cpu=4"), ["the full message: cpu is 4 instead of 3"]),
        (replaced(b"6.12.0-selftest,", b""), ["the full message: release is None instead of '6.12.0-selftest'"]),
        (replaced(b"<5>", b"<6>"), ["the legacy message: level is 6 instead of 5"]),
        (replaced(b"[  T123]", b""), ["the legacy message: caller is None instead of 'T123'"]),
        (replaced(b"hhhh", b"HHHH"), ["the fragmented message: userdata is {"]),
        (lambda d: d[:3] + d[4:], ["the fragmented message: incomplete is True instead of False"]),
        (lambda d: [d[1], d[0], *d[2:]], ["the messages arrived out of order"]),
        (lambda d: [*d, d[1]], ["the legacy message arrived 2 times"]),
        (lambda d: [*d, b"6,9,9,-;from somebody else\n"], ["1 message arrived that the self-test did not send"]),
    ],
)
def test_discrepancies(mangle: Mangle, expected: list[str]) -> None:
    """A lost, changed, repeated or unknown message is reported in a line that names it."""
    lines = discrepancies(SENT, received(mangle), "cafe0123")
    assert all(any(line.startswith(words) for line in lines) for words in expected), lines
    assert not any("\n" in line or len(line) > 300 for line in lines)


def test_another_run() -> None:
    """Messages of another run do not count as this run's."""
    assert discrepancies(probe_messages("00000000", 1), received(), "00000000") == [
        "the full message did not arrive",
        "the legacy message did not arrive",
        "the fragmented message did not arrive",
        "the last message did not arrive",
        "4 messages arrived that the self-test did not send",
    ]


def test_hostile_values() -> None:
    """A wrong value is shown without control characters, and shortened."""
    line = "netconsd selftest cafe0123 legacy\x1b[31m" + "x" * 5000
    delivered: list[Any] = [legacy_message(line)]
    text = "\n".join(discrepancies(SENT, delivered, "cafe0123"))
    assert "\x1b" not in text
    assert "(5" in text and len(text) < 2000
