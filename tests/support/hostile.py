"""Datagrams of an attacker, and the property of texts that cannot harm a terminal or forge a line."""

from __future__ import annotations

from hypothesis import strategies as st

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import Message
from netconsd.protocol.table import SourceTable
from netconsd.testing import source

#: Bytes that control a terminal, end a line, a label, a string or a field, or resemble our own output.
HOSTILE = [
    b"\x1b[2J", b"\x1b]0;title\x07", b"\x9b31m", b"\xc2\x9b31m", b"\r", b"\n", b"\x0b", b"\x85", b"\xc2\x85", b"\0",
    b"\x7f", b"\xe2\x80\xae", b"\xe2\x80\xa8", b"\xf3\xa0\x80\x81", b"\xff", b"\xed\xa0\x80", b"\\x1b[2J", b"\\x0a",
    b"\\", b'"', b"'", b"{", b"}", b"../../etc/passwd", b"/", b"=", b",", b";", b"\t", b"%s%n{0}", b"text",
    b"2026-11-22T14:04:05.123456Z [new] ", b'} 1\nnetconsd_forged_total{x="',
]  # fmt: skip
hostile_bytes = st.lists(st.one_of(st.sampled_from(HOSTILE), st.binary(max_size=4)), max_size=6).map(b"".join)


@st.composite
def hostile_datagrams(draw: st.DrawFn) -> list[bytes]:
    """Datagrams of one sender, in either format, with hostile bytes in every variable field."""
    datagrams = []
    for seq in range(draw(st.integers(1, 4))):
        release, keys, text, device, key, value, task = (draw(hostile_bytes) for _ in range(7))
        forms = [
            b"%s,6,%d,5,-,caller=%s;%s\n SUBSYSTEM=%s\n %s=%s\n cpu=1\n taskname=%s\n release=%s\n"
            % (release, seq, keys, text, device, key, value, task, release),
            b"6,%d,5,-;%s\n %s=%s\n" % (seq, text, key, value),
            b"6,%d,5,-,ncfrag=0/900;%s." % (seq, text),
            b"<6>[   12.345678][  T12] %s\n" % text,
            text + keys,
        ]
        datagrams.append(draw(st.sampled_from(forms)))
    return datagrams


def messages_of(datagrams: list[bytes], sender: bytes = source().key) -> list[Message]:
    """Return the messages that a worker delivers for the datagrams."""
    table = SourceTable(WorkerCounters(), limit=9, reorder_time=0.2, gc_interval=0.0, age=0.0)
    return table.feed([sender] * len(datagrams), datagrams, 1.5e9, 0.0) + table.flush()


def is_printable_lines(text: str) -> bool:
    """Whether a text is lines of printable characters, the last one ended by a newline."""
    return text.endswith("\n") and all(line.isprintable() for line in text[:-1].split("\n"))
