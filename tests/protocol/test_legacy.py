"""Lines of legacy text from datagrams cut anywhere (docs/wire section 2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.legacy import LINE_LIMIT, LINES_PER_KIB, LineBuffer, split
from netconsd.protocol.message import LegacyMessage
from netconsd.testing import source
from tests.support.strategies import LEGACY, examples

SENDER = source()


def feed(*datagrams: bytes) -> tuple[list[LegacyMessage], LineBuffer | None]:
    """Split datagrams received at 0, 1, 2 ... seconds, with deadlines 100 later; the lines and what is unfinished."""
    lines: list[LegacyMessage] = []
    pending: LineBuffer | None = None
    for second, datagram in enumerate(datagrams):
        pending = split(pending, datagram, SENDER, float(second), second + 100.0, lines)
    return lines, pending


def raw(*datagrams: bytes) -> list[bytes]:
    """The lines, the unfinished one at the end."""
    lines, pending = feed(*datagrams)
    return [line.raw for line in lines] + ([] if pending is None else [pending.line()])


def cut(text: bytes, places: list[int]) -> list[bytes]:
    """Cut text at places that may repeat."""
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
    """A datagram holds one or several lines, each a message of its own."""
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
    """A line ends at a newline, and at nothing else; an unfinished one is completed by the next datagram."""
    assert raw(*datagrams) == lines


def test_unfinished_line() -> None:
    """What has not ended waits until the deadline of its first datagram, and knows when that came."""
    lines, pending = feed(b"one\ntw", b"o, ", b"", b"still two")
    assert [(line.raw, line.received_at) for line in lines] == [(b"one\n", 0.0)]
    assert pending is not None
    assert (pending.line(), pending.size, pending.started_at, pending.deadline) == (b"two, still two", 14, 0.0, 100.0)


def test_received_with_the_first_byte() -> None:
    """A line was received when the first byte of it was."""
    lines, pending = feed(b"a", b"b", b"c\nd\ne", b"f\n", b"g\nh")
    assert [(line.raw, line.received_at) for line in lines] == [
        (b"abc\n", 0.0),
        (b"d\n", 2.0),
        (b"ef\n", 2.0),
        (b"g\n", 4.0),
    ]
    assert pending is not None
    assert (pending.started_at, pending.deadline) == (4.0, 104.0)


def test_lines_are_appended() -> None:
    """Lines are added to those that the caller has."""
    lines = [LegacyMessage(SENDER, 0.0, b"zero\n")]
    assert split(None, b"one\n", SENDER, 0.0, 0.0, lines) is None
    assert [line.raw for line in lines] == [b"zero\n", b"one\n"]


# Bounds: a stranger who never sends a newline.


def test_endless_line() -> None:
    """Text without a newline becomes lines of at most LINE_LIMIT bytes; none of it is lost."""
    datagrams = [b"x" * 1000] * 200
    lines, pending = feed(*datagrams)
    assert pending is not None
    assert [len(line.raw) for line in lines] == [65_000] * 3
    assert sum(len(line.raw) for line in lines) + pending.size == 200_000
    assert [line.received_at for line in lines] == [0.0, 65.0, 130.0]
    assert (pending.started_at, pending.deadline) == (195.0, 295.0)


def test_endless_line_byte_by_byte() -> None:
    """The same holds for a line that comes byte by byte."""
    lines, pending = feed(b"x" * (LINE_LIMIT - 2), *[b"x"] * 5)
    assert [len(line.raw) for line in lines] == [LINE_LIMIT]
    assert pending is not None
    assert (pending.line(), pending.started_at) == (b"xxx", 3.0)


@pytest.mark.parametrize("size", [LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1, 2 * LINE_LIMIT])
def test_greatest_datagram(size: int) -> None:
    """Even a datagram beyond the limit is one line and not kept."""
    lines, pending = feed(b"x" * size)
    assert sum(len(line.raw) for line in lines) + (0 if pending is None else pending.size) == size
    assert (pending is None) == (size >= LINE_LIMIT)
    assert raw(b"x" * size + b"\n") == [b"x" * size + b"\n"]


def test_greatest_datagram_of_udp() -> None:
    """The greatest datagram there is, of 65,507 bytes, is kept whole until its newline comes."""
    assert raw(b"x" * 65_507, b"\n") == [b"x" * 65_507 + b"\n"]


def test_line_that_just_fits() -> None:
    """A line of LINE_LIMIT bytes, its newline included, is one line however it comes; a longer one is two."""
    text = b"x" * (LINE_LIMIT - 1) + b"\n"
    for place in (1, 1000, LINE_LIMIT - 1):
        assert raw(text[:place], text[place:]) == [text]
        assert raw(text[:place], b"x" + text[place:]) == [text[:place], b"x" + text[place:]]


# Bounds: a stranger who sends nothing but newlines.


@pytest.mark.parametrize("size", [1, 127, 128, 129, 1000, 1023, 1024, 65_507])
def test_newlines_cost_no_more_than_their_datagram(size: int) -> None:
    """A datagram becomes at most 128 messages for each KiB that it begins; the last has what is left."""
    lines, pending = feed(b"\n" * size)
    most = LINES_PER_KIB * (1 + size // 1024)
    assert len(lines) == min(size, most)
    assert {line.raw for line in lines[:-1]} <= {b"\n"}
    assert b"".join(line.raw for line in lines) == b"\n" * size
    assert pending is None


def test_the_end_of_too_many_lines_goes_on_with_the_next_datagram() -> None:
    """What is left without a newline at its end is unfinished, as any line."""
    lines, pending = feed(b"\n" * LINES_PER_KIB + b"one", b" two\nthree\n")
    assert pending is None
    assert [line.raw for line in lines[LINES_PER_KIB - 1 :]] == [b"\none two\n", b"three\n"]
    assert len(lines) == LINES_PER_KIB + 1


@pytest.mark.parametrize("line", [b"[   12.345678] \n", b"0123456\n"])
def test_what_kernels_send_is_not_cut_short(line: bytes) -> None:
    """A full datagram of a kernel, of empty lines with time stamps or of eight bytes each, is a message per line."""
    datagram = line * (1000 // len(line))
    lines, _ = feed(datagram)
    assert [each.raw for each in lines] == [line] * (1000 // len(line))


# Any text, cut anywhere.

_PARTS = [b"\n", b"\n", b"[   12.345678] ", b"foo", b"\0", b"\r", b"\xc3\xa9", b"<6>", b"\x1b[m", *LEGACY]
_texts = st.lists(st.sampled_from(_PARTS), max_size=10).map(b"".join) | st.binary(max_size=60)


@examples(200)
@given(_texts, st.lists(st.integers(0, 500), max_size=8))
def test_cutting_changes_nothing(text: bytes, places: list[int]) -> None:
    """However a text is cut into datagrams, its lines are those of the whole: nothing is lost or invented."""
    datagrams = cut(text, places)
    assert b"".join(datagrams) == text
    lines, pending = feed(*datagrams)
    whole, unfinished = feed(text)
    assert [line.raw for line in lines] == [line.raw for line in whole]
    assert [line.text for line in lines] == [line.text for line in whole]
    assert (pending and pending.line()) == (unfinished and unfinished.line())
    assert b"".join(raw(*datagrams)) == text
    for line in lines:
        assert line.raw.index(b"\n") == len(line.raw) - 1
    assert pending is None or (pending.size > 0 and b"\n" not in pending.line())


@examples(100)
@given(_texts, st.lists(st.integers(0, 500), max_size=8))
def test_received_with_the_first_byte_always(text: bytes, places: list[int]) -> None:
    """However a text is cut, each line is received with the datagram that holds its first byte."""
    datagrams = cut(text, places)
    seconds = [float(second) for second, datagram in enumerate(datagrams) for _ in datagram]
    lines, pending = feed(*datagrams)
    at = 0
    for line in lines:
        assert line.received_at == seconds[at]
        at += len(line.raw)
    assert pending is None or (pending.started_at, pending.deadline) == (seconds[at], seconds[at] + 100.0)


@examples(100)
@given(st.lists(st.tuples(st.sampled_from([1, 999, 1000, 30_000, 65_507]), st.booleans()), max_size=12))
def test_long_lines_lose_nothing(sizes: list[tuple[int, bool]]) -> None:
    """Whatever the sizes of the datagrams, no byte is lost, no line is longer than LINE_LIMIT, none is empty."""
    datagrams = [b"x" * (size - 1) + (b"\n" if newline else b"x") for size, newline in sizes]
    lines = raw(*datagrams)
    assert b"".join(lines) == b"".join(datagrams)
    assert all(0 < len(line) <= LINE_LIMIT for line in lines)
