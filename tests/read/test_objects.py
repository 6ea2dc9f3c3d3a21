"""Lines of JSON are lines of a kernel, messages or datagrams; anything else is nothing."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.jsonl import to_json
from netconsd.protocol.message import MAPPED_IPV4
from netconsd.read.entries import Datagram, Line, Whole
from netconsd.read.objects import UNKNOWN_SENDER, entries
from netconsd.read.reader import reader_of
from netconsd.testing import extended_message

JOURNAL = {
    "__REALTIME_TIMESTAMP": "1795849200250000",
    "_SOURCE_MONOTONIC_TIMESTAMP": "12345678",
    "_HOSTNAME": "web01",
    "_TRANSPORT": "kernel",
    "PRIORITY": "4",
    "MESSAGE": "a",
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (JOURNAL, [Line(3, 1795849200.25, "web01", b"<4>[   12.345678] a")]),
        ({**JOURNAL, "MESSAGE": [97, 27, 255]}, [Line(3, 1795849200.25, "web01", b"<4>[   12.345678] a\x1b\xff")]),
        ({**JOURNAL, "MESSAGE": None}, []),
        (
            {**JOURNAL, "_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "app", "_PID": "12"},
            [Line(3, 1795849200.25, "web01", b"<12>[   12.345678] app[12]: a")],
        ),
        ({"t": 1.5, "data": "6,1,2,-;\xff\n"}, [Datagram(3, 1.5, UNKNOWN_SENDER, b"6,1,2,-;\xff\n")]),
        (
            {"t": 1, "data": "x", "address": "192.0.2.7", "port": 258},
            [Datagram(3, 1.0, MAPPED_IPV4 + bytes((192, 0, 2, 7, 1, 2)), b"x")],
        ),
        ({"t": 1, "data": "\u20ac"}, []),
        ({"t": 1, "data": "x", "address": "nonsense"}, []),
        ({"pri": 4, "time": 12.345678, "msg": "a"}, [Line(3, None, None, b"<4>[   12.345678] a")]),
        ({"log": "[   12.345678] a\n", "stream": "stdout"}, [Line(3, None, None, b"[   12.345678] a")]),
        ({"message": "a\nb"}, [Line(3, None, None, b"a"), Line(3, None, None, b"b")]),
        # rsyslog, vector, logstash with ECS, fluent-bit on kubernetes, loki, LAVA, docker.
        (
            {"timestamp": "2026-11-28T07:00:00.25+00:00", "host": "web01", "message": " [   12.345678] a"},
            [Line(3, 1795849200.25, "web01", b" [   12.345678] a")],
        ),
        (
            {"msg": " a", "pri": "6", "hostname": "web01", "timereported": "2026-11-28T08:00:00+01:00"},
            [Line(3, 1795849200.0, "web01", b" a")],
        ),
        (
            {"message": "a", "_HOSTNAME": "web01", "timestamp": "2026-11-28T07:00:00.250000Z"},
            [Line(3, 1795849200.25, "web01", b"a")],
        ),
        (
            {"message": "a", "host": {"name": "web01"}, "@timestamp": "2026-11-28T07:00:00.250Z"},
            [Line(3, 1795849200.25, "web01", b"a")],
        ),
        (
            {"log": "a", "date": 1795849200.25, "kubernetes": {"host": "node1"}},
            [Line(3, 1795849200.25, "node1", b"a")],
        ),
        ({"line": "a", "timestamp": "1795849200250000000"}, [Line(3, 1795849200.25, None, b"a")]),
        ({"dt": "2026-11-28T07:00:00.250000", "lvl": "target", "msg": "a"}, [Line(3, 1795849200.25, None, b"a")]),
        ({"log": "a\n", "time": "2026-11-28T07:00:00.250000001Z"}, [Line(3, 1795849200.25, None, b"a")]),
        ({"text": "a", "ts": 1795849200250}, [Line(3, 1795849200.25, None, b"a")]),
        # A day alone is no time: all lines would be at midnight.
        ({"msg": "a", "date": "2026-11-28", "time": "07:00:00"}, [Line(3, None, None, b"a")]),
        # What the text says of itself.
        ({"message": "Nov 28 07:00:00 web02 kernel: a", "host": "w"}, [Line(3, 1795849200.0, "web02", b"a")]),
        (
            {
                "message": "a",
                "host": "",
                "time": "nonsense",
                "@timestamp": "0001-01-01T00:00:00+23:59",
                "ts": True,
                "date": 12,
            },
            [Line(3, None, None, b"a")],
        ),
        ({"message": "a", "host": [1], "kubernetes": 1, "time": [1]}, [Line(3, None, None, b"a")]),
        ({"nothing": 1}, []),
        ([1], []),
        (None, []),
    ],
)
def test_forms(fields: Any, expected: list[Line]) -> None:
    """Each form of an object."""
    assert list(entries(json.dumps(fields).encode(), 3, 2026)) == expected


@pytest.mark.parametrize(("octet", "count"), [(b"x", 126 << 10), (b"\x01", 31 << 10), (b"\xff", 31 << 10)])
def test_the_longest_message(octet: bytes, count: int) -> None:
    """A file of netconsd's own format has the longest message whole, in its text or in its userdata."""
    for body in (octet * count, b"x\n k=" + octet * count):
        message = extended_message(body, seq=1)
        reader = reader_of(BytesIO(to_json(message) + b"\n"), year=2026)
        assert [entry.message for entry in reader if isinstance(entry, Whole)] == [message]


def test_messages() -> None:
    """A line of netconsd's jsonl is its message; one that is damaged is nothing."""
    message = extended_message("BUG: a", seq=7)
    assert list(entries(to_json(message), 3, 2026)) == [Whole(3, message)]
    assert list(entries(to_json(message).replace(b'"seq":7', b'"seq":"x"'), 3, 2026)) == []


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
names = st.sampled_from(
    [*JOURNAL, "t", "data", "address", "port", "pri", "fac", "msg", "time", "log", "version", "received_at", "_PID"]
)


@given(st.one_of(st.dictionaries(names, values, max_size=8).map(lambda found: json.dumps(found).encode()), st.binary()))
def test_any_object(line: bytes) -> None:
    """No object and no bytes raise."""
    list(entries(line, 1, 2026))


def test_deep_nesting() -> None:
    """An object that is nested beyond what the parser takes is nothing."""
    assert list(entries(b'{"a":' * 100_000, 1, 2026)) == []
