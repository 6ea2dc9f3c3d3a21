"""Lines of legacy text across datagrams (docs/wire section 2)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.protocol.legacy import AUTO, DATAGRAM, LINE, LINE_LIMIT, LINES_PER_KIB, LineBuffer, split
from netconsd.protocol.message import LegacyMessage
from netconsd.testing import source
from tests.support.strategies import LEGACY

SENDER = source()


def feed(*datagrams: bytes, framing: int = AUTO) -> tuple[list[LegacyMessage], LineBuffer | None]:
    """The lines and the unfinished line of datagrams received at 0, 1, 2 ... seconds, with deadlines 100 later."""
    lines: list[LegacyMessage] = []
    pending: LineBuffer | None = None
    for second, datagram in enumerate(datagrams):
        pending = split(pending, datagram, SENDER, float(second), second + 100.0, lines, framing)
    return lines, pending


def raw(*datagrams: bytes, framing: int = AUTO) -> list[bytes]:
    """The bytes of the lines, and of the unfinished one."""
    lines, pending = feed(*datagrams, framing=framing)
    return [line.raw for line in lines] + ([] if pending is None else [pending.line()])


def cut(text: bytes, places: list[int]) -> list[bytes]:
    """Text cut at places that may repeat."""
    ends = [*sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(
    ("datagram", "texts"),
    [
        (LEGACY[0], ["usb 1-1: new high-speed USB device number 2 using xhci_hcd"]),
        (LEGACY[1], ["foo: bar"]),
        (LEGACY[2], ["foo: bar"]),
        (LEGACY[3], ["line one", "line two"]),
        (LEGACY[4], ["** 3 printk messages dropped **", "foo: bar"]),
    ],
)
def test_datagrams(datagram: bytes, texts: list[str]) -> None:
    """Each line of a datagram is a message."""
    lines, pending = feed(datagram)
    assert [line.text for line in lines] == texts
    assert pending is None
    assert b"".join(line.raw for line in lines) == datagram
    assert all(line.source is SENDER for line in lines)


@pytest.mark.parametrize(
    ("datagrams", "lines"),
    [
        ([b"one\n"], [b"one\n"]),
        ([b"one"], [b"one"]),
        ([b"one", b"\n"], [b"one\n"]),
        ([b"o", b"n", b"e", b"\n", b"two\n"], [b"one\n", b"two\n"]),
        ([b"one\ntw", b"o\n"], [b"one\n", b"two\n"]),
        ([b"one\ntw", b"o\nthree"], [b"one\n", b"two\n", b"three"]),
        ([b"\n"], [b"\n"]),
        ([b"\n\n", b"\n"], [b"\n", b"\n", b"\n"]),
        ([b"one", b"\n\n"], [b"one\n", b"\n"]),
        ([b"", b"one\n", b""], [b"one\n"]),
        ([b"one", b"", b"\n"], [b"one\n"]),
        ([b"\0\r\x1b[m\xff\n"], [b"\0\r\x1b[m\xff\n"]),
        ([b"one\r\n"], [b"one\r\n"]),
        ([b"one\x85two\x0bthree\x0c\n"], [b"one\x85two\x0bthree\x0c\n"]),
        ([b""], []),
    ],
)
def test_lines_end_at_newlines(datagrams: list[bytes], lines: list[bytes]) -> None:
    """A line ends at a newline; the next datagram continues an unfinished one."""
    assert raw(*datagrams) == raw(*datagrams, framing=LINE) == lines


# Senders of a line per datagram, without a newline.

BEGINNINGS = [
    b"<30>Nov 27 10:00:01 host daemon: text",
    b"<34>1 2003-10-11T22:14:15.003Z host su - ID47 - text",
    b"[   12.345678] text",
    b"[1234567.345678][  T12] text",
    b'{"msg": "text"}',
]


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_datagram_can_begin_a_line(beginning: bytes) -> None:
    """A datagram that begins with a level, a timestamp or a brace begins a line, with the framing ``auto``."""
    assert raw(b"piece", beginning, beginning) == [b"piece", beginning, beginning]
    assert raw(b"piece", beginning, framing=LINE) == [b"piece" + beginning]
    assert raw(beginning, b" goes on\n") == [beginning + b" goes on\n"]


@pytest.mark.parametrize(
    "piece",
    [b"MAC=", b"00:", b"x", b"{", b"<", b"<6", b"<>", b"<12345>", b"[", b"[   12.34]", b"[ OK ]", b" <6>", b"\n"],
)
def test_small_pieces_are_joined(piece: bytes) -> None:
    """A datagram that begins like a piece of a line continues it."""
    assert raw(b"IN=eth0 ", piece) == [b"IN=eth0 " + piece]


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_after_a_cut_a_datagram_continues_the_line(beginning: bytes) -> None:
    """After a datagram of exactly 1000 bytes, at which kernels cut, the line goes on with anything."""
    assert raw(b"x" * 1000, beginning + b"\n") == [b"x" * 1000 + beginning + b"\n"]
    assert raw(b"a\n" + b"x" * 998, beginning) == [b"a\n", b"x" * 998 + beginning]
    assert raw(b"x" * 1000, b"y", beginning) == [b"x" * 1000 + b"y", beginning]
    for size in (999, 1001):
        assert raw(b"x" * size, beginning) == [b"x" * size, beginning]


def test_framing_by_datagram() -> None:
    """With the framing ``datagram`` each datagram is whole lines, even after 1000 bytes."""
    datagrams = [b"one", b"two\nthree", b"x" * 1000, b"\n", b"four\0"]
    lines, pending = feed(*datagrams, framing=DATAGRAM)
    assert pending is None
    assert [line.raw for line in lines] == [b"one", b"two\n", b"three", b"x" * 1000, b"\n", b"four\0"]


@pytest.mark.parametrize(
    ("datagrams", "lines"),
    [
        ([b"one\0", b"two\0"], [b"one\0", b"two\0"]),
        ([b"one\0two\0"], [b"one\0", b"two\0"]),
        ([b"one\n\0", b"two\r\0"], [b"one\n\0", b"two\r\0"]),
        ([b"one\ntwo\0\0\0"], [b"one\n", b"two\0\0\0"]),
        ([b"o", b"ne", b"\0"], [b"one\0"]),
        ([b"one\0two\n"], [b"one\0two\n"]),
        ([b"one\0tw", b"o\n"], [b"one\0two\n"]),
    ],
)
@pytest.mark.parametrize("framing", [AUTO, LINE])
def test_nuls_end_lines(datagrams: list[bytes], lines: list[bytes], framing: int) -> None:
    """In a datagram that ends with a NUL, NULs end lines; in others they are text, as in a boot loader's."""
    assert raw(*datagrams, framing=framing) == lines


def test_the_strings_of_a_datagram_are_bounded() -> None:
    """A datagram of strings of one byte becomes at most LINES_PER_KIB lines for each KiB, without loss."""
    lines, pending = feed(b"a\0" * 2048)
    assert pending is None
    assert len(lines) == LINES_PER_KIB * 5
    assert b"".join(line.raw for line in lines) == b"a\0" * 2048


def test_unfinished_line() -> None:
    """An unfinished line has the time and the deadline of its first datagram."""
    lines, pending = feed(b"one\ntw", b"o, ", b"", b"still two")
    assert [(line.raw, line.received_at) for line in lines] == [(b"one\n", 0.0)]
    assert pending is not None
    assert (pending.line(), pending.size, pending.started_at, pending.deadline) == (b"two, still two", 14, 0.0, 100.0)


def test_lines_are_appended() -> None:
    """Lines are appended to the caller's list."""
    lines = [LegacyMessage(SENDER, 0.0, b"zero\n")]
    assert split(None, b"one\n", SENDER, 0.0, 0.0, lines) is None
    assert [line.raw for line in lines] == [b"zero\n", b"one\n"]


# Bounds: a sender that never sends a newline.


def test_endless_line() -> None:
    """Text without a newline is cut into lines of at most LINE_LIMIT bytes, without loss."""
    datagrams = [b"x" * 1000] * 200
    lines, pending = feed(*datagrams)
    assert pending is not None
    assert [len(line.raw) for line in lines] == [65_000] * 3
    assert sum(len(line.raw) for line in lines) + pending.size == 200_000
    assert [line.received_at for line in lines] == [0.0, 65.0, 130.0]
    assert (pending.started_at, pending.deadline) == (195.0, 295.0)


def test_endless_line_byte_by_byte() -> None:
    """A line that arrives byte by byte is cut at LINE_LIMIT bytes."""
    lines, pending = feed(b"x" * (LINE_LIMIT - 2), *[b"x"] * 5)
    assert [len(line.raw) for line in lines] == [LINE_LIMIT]
    assert pending is not None
    assert (pending.line(), pending.started_at) == (b"xxx", 3.0)


@pytest.mark.parametrize("size", [LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1, 2 * LINE_LIMIT])
def test_greatest_datagram(size: int) -> None:
    """A datagram of LINE_LIMIT bytes or more is one line at once, without a newline as well."""
    lines, pending = feed(b"x" * size)
    assert sum(len(line.raw) for line in lines) + (0 if pending is None else pending.size) == size
    assert (pending is None) == (size >= LINE_LIMIT)
    assert raw(b"x" * size + b"\n") == [b"x" * size + b"\n"]


def test_greatest_datagram_of_udp() -> None:
    """The largest UDP datagram, 65,507 bytes, is an unfinished line until its newline arrives."""
    assert raw(b"x" * 65_507, b"\n") == [b"x" * 65_507 + b"\n"]


def test_line_that_just_fits() -> None:
    """A line of LINE_LIMIT bytes, newline included, is one line in any cut; a longer one is two."""
    text = b"x" * (LINE_LIMIT - 1) + b"\n"
    for place in (1, 1000, LINE_LIMIT - 1):
        assert raw(text[:place], text[place:]) == [text]
        assert raw(text[:place], b"x" + text[place:]) == [text[:place], b"x" + text[place:]]


# Bounds: a sender that sends only newlines.


@pytest.mark.parametrize("size", [1, 127, 128, 129, 1000, 1023, 1024, 65_507])
def test_the_lines_of_a_datagram_are_bounded(size: int) -> None:
    """A datagram becomes at most LINES_PER_KIB lines for each KiB that it begins; the last has all the rest."""
    lines, pending = feed(b"\n" * size)
    most = LINES_PER_KIB * (1 + size // 1024)
    assert len(lines) == min(size, most)
    assert {line.raw for line in lines[:-1]} <= {b"\n"}
    assert b"".join(line.raw for line in lines) == b"\n" * size
    assert pending is None


def test_the_rest_of_a_bounded_datagram_can_be_unfinished() -> None:
    """If the rest does not end in a newline, the next datagram continues it."""
    lines, pending = feed(b"\n" * LINES_PER_KIB + b"one", b" two\nthree\n")
    assert pending is None
    assert [line.raw for line in lines[LINES_PER_KIB - 1 :]] == [b"\none two\n", b"three\n"]
    assert len(lines) == LINES_PER_KIB + 1


@pytest.mark.parametrize("line", [b"[   12.345678] \n", b"0123456\n"])
def test_a_kernels_datagram_is_within_the_bound(line: bytes) -> None:
    """A kernel's full datagram, of empty lines with timestamps or of lines of eight bytes, is a message per line."""
    datagram = line * (1000 // len(line))
    lines, _ = feed(datagram)
    assert [message.raw for message in lines] == [line] * (1000 // len(line))


# Any text with any cuts.

_PARTS = [b"\n", b"\n", b"[   12.345678] ", b"foo", b"\r", b"\xc3\xa9", b"<6>", b"\x1b[m", *LEGACY]
_texts = (st.lists(st.sampled_from(_PARTS), max_size=10).map(b"".join) | st.binary(max_size=60)).map(
    lambda text: text.replace(b"\0", b"")
)


@settings(max_examples=200)
@given(_texts, st.lists(st.integers(0, 500), max_size=8))
def test_cutting_changes_nothing(text: bytes, places: list[int]) -> None:
    """With the framing ``line``, the lines of a text without NULs are the same for all cuts into datagrams."""
    datagrams = cut(text, places)
    assert b"".join(datagrams) == text
    lines, pending = feed(*datagrams, framing=LINE)
    whole, unfinished = feed(text, framing=LINE)
    assert [line.raw for line in lines] == [line.raw for line in whole]
    assert [line.text for line in lines] == [line.text for line in whole]
    assert (pending and pending.line()) == (unfinished and unfinished.line())
    assert b"".join(raw(*datagrams)) == text
    for line in lines:
        assert line.raw.index(b"\n") == len(line.raw) - 1
    assert pending is None or (pending.size > 0 and b"\n" not in pending.line())


@given(_texts, st.lists(st.integers(0, 500), max_size=8))
def test_received_with_the_first_byte_for_all_cuts(text: bytes, places: list[int]) -> None:
    """For all cuts, the time of a line is that of the datagram with its first byte."""
    datagrams = cut(text, places)
    seconds = [float(second) for second, datagram in enumerate(datagrams) for _ in datagram]
    lines, pending = feed(*datagrams)
    at = 0
    for line in lines:
        assert line.received_at == seconds[at]
        at += len(line.raw)
    assert pending is None or (pending.started_at, pending.deadline) == (seconds[at], seconds[at] + 100.0)


@given(
    st.sampled_from([AUTO, LINE, DATAGRAM]),
    st.lists(st.binary(max_size=40) | st.sampled_from([*BEGINNINGS, b"a\0", b"\0"]), max_size=8),
)
def test_no_framing_loses_a_byte(framing: int, datagrams: list[bytes]) -> None:
    """The lines of any datagrams, joined, are the datagrams; each has a byte at least."""
    lines = raw(*datagrams, framing=framing)
    assert b"".join(lines) == b"".join(datagrams)
    assert all(lines)


@given(st.lists(st.tuples(st.sampled_from([1, 999, 1000, 30_000, 65_507]), st.booleans()), max_size=12))
def test_long_lines_lose_nothing(sizes: list[tuple[int, bool]]) -> None:
    """For datagrams of any size, no byte is lost, and each line has 1 to LINE_LIMIT bytes."""
    datagrams = [b"x" * (size - 1) + (b"\n" if newline else b"x") for size, newline in sizes]
    lines = raw(*datagrams)
    assert b"".join(lines) == b"".join(datagrams)
    assert all(0 < len(line) <= LINE_LIMIT for line in lines)
