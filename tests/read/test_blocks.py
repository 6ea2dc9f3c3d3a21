"""Lines are found in blocks of any size like by splitting the whole; memory is bounded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.read.blocks import BLOCK, LINE_LIMIT, OBJECT_LIMIT, Lines

WORD = b"needle"


def reader(data: bytes, sizes: Iterator[int]) -> Callable[[int], bytes | None]:
    """A file that returns pieces of the given sizes; 0 is "nothing at present"."""
    at = 0

    def read(size: int) -> bytes | None:
        nonlocal at
        piece = next(sizes, size)
        if piece == 0:
            return None
        begin, at = at, min(len(data), at + min(piece, size))
        return data[begin:at]

    return read


def find(data: bytes, start: int, end: int) -> int:
    """Search the word."""
    return data.find(WORD, start, end)


def all_of(lines: Lines) -> list[tuple[int, bytes]]:
    """The numbers and lines of a stream up to its end."""
    found = []
    while True:
        line = lines.next()
        if line is not None:
            found.append((lines.number, line))
        elif lines.ended:
            return found


text = st.lists(
    st.one_of(
        st.sampled_from([WORD, b"\n", b"\n\n", b"x" * 30, b"need", b"le"]),
        st.binary(max_size=10).map(lambda data: data.replace(b"\0", b" ")),
    ),
    max_size=30,
).map(b"".join)
sizes = st.lists(st.integers(0, 40), max_size=60)


def split(data: bytes) -> list[tuple[int, bytes]]:
    """The lines of the whole."""
    lines = data.split(b"\n")
    return list(enumerate(lines[:-1] if lines[-1] == b"" else lines, 1))


@given(text, sizes, st.integers(1, 50))
@settings(max_examples=300)
def test_like_splitting_the_whole(data: bytes, sizes: list[int], block: int) -> None:
    """In blocks of any size, all lines are returned, or those with the word, with their numbers."""
    assert all_of(Lines(reader(data, iter(sizes)), block=block)) == split(data)
    wanted = [(number, line) for number, line in split(data) if WORD in line]
    assert all_of(Lines(reader(data, iter(sizes)), find, block=block)) == wanted


@given(text, sizes, st.data())
def test_every_line_from_a_hit_on(data: bytes, sizes: list[int], draw: st.DataObject) -> None:
    """A caller that wants every line behind a hit gets them from the next one on, and can stop wanting."""
    lines = Lines(reader(data, iter(sizes)), find, block=7)
    expected = dict(split(data))
    last = 0
    while not lines.ended or lines.every:
        line = lines.next()
        if line is None:
            if lines.ended:
                break
            continue
        assert expected[lines.number] == line
        assert not lines.every or lines.number == last + 1
        last = lines.number
        lines.every = draw.draw(st.booleans())


@given(text, sizes)
def test_before(data: bytes, sizes: list[int]) -> None:
    """The lines before a hit are those of the file, the latest first."""
    lines = Lines(reader(data, iter(sizes)), find, block=13)
    whole = [line for _, line in split(data)]
    while (line := lines.next()) is not None or not lines.ended:
        if line is not None:
            assert list(lines.before()) == whole[: lines.number - 1][::-1]


def test_before_is_bounded() -> None:
    """Of a long file the last lines before a hit are kept, whole ones only."""
    data = b"".join(b"line %d\n" % number for number in range(1000)) + WORD
    lines = Lines(reader(data, iter(())), find, block=64, behind=100)
    assert lines.next() == WORD
    assert lines.number == 1001
    before = list(lines.before())
    assert before == [b"line %d" % number for number in range(999, 999 - len(before), -1)]
    assert 8 < len(before) < 30


def test_a_long_line_is_cut() -> None:
    """The rest of a line that is too long is dropped, the number of the next line is right."""
    data = WORD + b"x" * 10 * BLOCK + b"\nnext " + WORD + b"\n" + b"y" * 3 * BLOCK + b"\nlast " + WORD
    for searched in (None, find):
        found = [(number, line) for number, line in all_of(Lines(reader(data, iter(())), searched)) if WORD in line]
        assert [(number, line[:11]) for number, line in found] == [
            (1, WORD + b"xxxxx"), (2, b"next " + WORD), (4, b"last " + WORD)
        ]  # fmt: skip
        assert len(found[0][1]) == LINE_LIMIT


@pytest.mark.parametrize("block", [1000, BLOCK])
def test_a_long_object_is_whole(block: int) -> None:
    """A line that begins as an object of JSON is returned whole up to its own limit; a longer one is cut there."""
    whole = b"{" + b"x" * (OBJECT_LIMIT // 8) + WORD + b"}"
    data = b"a\n" + whole + b"\nnext " + WORD + b"\n"
    for searched in (None, find):
        found = [line for line in all_of(Lines(reader(data, iter(())), searched, block=block)) if WORD in line[1]]
        assert found == [(2, whole), (3, b"next " + WORD)]
    data = b"{" + WORD + b"x" * 2 * OBJECT_LIMIT + b"\nlast " + WORD
    (_, first), last = all_of(Lines(reader(data, iter(())), find))
    assert (len(first), last) == (OBJECT_LIMIT, (2, b"last " + WORD))


def test_a_hole() -> None:
    """Text behind a hole of NULs is found, whether the hole is in a line or before one."""
    data = b"torn" + bytes(3 * BLOCK) + WORD + b"\n" + bytes(2 * BLOCK) + b"again " + WORD + b"\n"
    assert all_of(Lines(reader(data, iter(())), find)) == [(1, WORD), (2, b"again " + WORD)]


@pytest.mark.parametrize("fill", [b"x", b"\0", b"\n", b"x" * 79 + b"\n", b"\xff\0\r", WORD, b"a\0\0\0\0\0\0\0\0"])
@pytest.mark.parametrize("searched", [None, find])
def test_memory(fill: bytes, searched: Callable[[bytes, int, int], int] | None) -> None:
    """A stream of anything takes some blocks of memory, and those of the longest line."""
    size = 1 << 14
    block = (fill * (size // len(fill) + 1))[:size]
    # Fewer empty lines, which take tracemalloc seconds: even these would use more than the bound if they were kept.
    left = 512 if searched is not None else 6 if fill == b"\n" else 24

    def read(size: int) -> bytes:
        nonlocal left
        left -= 1
        return block[:size] if left >= 0 else b""

    tracemalloc.start()
    try:
        lines = Lines(read, searched, block=size)
        while lines.next() is not None or not lines.ended:
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * LINE_LIMIT
