"""Reassembly: all bytes of a complete message, and notes in place of missing ones (docs/wire section 5)."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.protocol.decode import TOTAL_LIMIT, Fragment
from netconsd.protocol.reassembly import PIECE_OVERHEAD, PIECES_LIMIT, REASSEMBLY_OVERHEAD, Reassembly
from netconsd.testing import extended, fragments
from tests.support.decoding import piece, read

Piece = tuple[int, bytes]


def fragment(offset: int, data: bytes, total: int) -> Fragment:
    """A decoded fragment."""
    return piece(b"6,416,1758426,-,ncfrag=%d/%d;" % (offset, total) + data)


def begin(total: int) -> Reassembly:
    """An empty reassembly of a body of ``total`` bytes."""
    return Reassembly(fragment(0, b"x", total), 5.0)


def fill(total: int, pieces: list[Piece]) -> Reassembly:
    """A reassembly with these pieces."""
    reassembly = begin(total)
    for offset, data in pieces:
        reassembly.add(offset, data)
    return reassembly


def with_notes(octets: list[int | None]) -> bytes:
    """The body with these bytes, and a note in place of each run of missing (None) bytes."""
    body = bytearray()
    gap = 0
    for octet in [*octets, -1]:
        if octet is None:
            gap += 1
            continue
        if gap:
            body += b"[netconsd: %d bytes lost]" % gap
            gap = 0
        if octet >= 0:
            body.append(octet)
    return bytes(body)


def test_documented_example() -> None:
    """The two pieces of the kernel's documentation make its message, in either order."""
    datagrams = b"6,416,1758426,-,ncfrag=0/31;the first chunk,", b"6,416,1758426,-,ncfrag=16/31; the 2nd chunk."
    for order in (datagrams, datagrams[::-1]):
        one, other = map(piece, order)
        reassembly = Reassembly(one, 5.0)
        assert reassembly.add(one.offset, one.piece.raw)
        assert (reassembly.got, reassembly.complete) == (len(one.piece.raw), False)
        assert reassembly.add(other.offset, other.piece.raw)
        assert (reassembly.got, reassembly.complete) == (31, True)
        message = reassembly.message()
        assert message.text == "the first chunk, the 2nd chunk."
        assert reassembly.complete


def test_real_example() -> None:
    """The fragments of 966 and 20 bytes of a real message are its 986 bytes."""
    pieces = [(0, b"a" * 966), (966, b"b" * 20)]
    assert fill(986, pieces).message().raw == b"a" * 966 + b"b" * 20
    assert fill(986, pieces[:1]).message().text == "a" * 966 + "[netconsd: 20 bytes lost]"
    assert fill(986, pieces[1:]).message().text == "[netconsd: 966 bytes lost]" + "b" * 20


def test_the_header_is_that_of_the_first_fragment_to_arrive() -> None:
    """The message has the header and the time of the fragment that arrived first."""
    first = piece(b"6.4.0,14,416,1758426,c,caller=T1,ncfrag=9/18; second\n")
    reassembly = Reassembly(first, 5.0)
    reassembly.add(9, first.piece.raw)
    reassembly.add(0, b"the first")
    message = reassembly.message()
    assert (message.release, message.seq, message.ts_usec, message.caller) == ("6.4.0", 416, 1758426, "T1")
    assert (message.level, message.facility, message.continuation, message.received_at) == (6, 1, True, 12.5)
    assert (reassembly.first, reassembly.total, reassembly.deadline) == (first.piece, 18, 5.0)


def test_the_body_is_parsed_after_reassembly() -> None:
    """A cut inside an escape, a key or a value does not change the message."""
    datagram = extended("café\n\x1b", userdata={"rack": "r17"}, cpu=3, taskname="a\n cpu=9", msgid=4294967295)
    body = read(datagram).raw
    for cut in range(1, len(body)):
        message = fill(len(body), [(cut, body[cut:]), (0, body[:cut])]).message()
        assert (message.raw, message.text, message.userdata) == (body, "café\n\x1b", {"rack": "r17"})
        assert (message.cpu, message.taskname, message.msgid) == (3, "a\n cpu=9", 4294967295)


def test_msgid_needs_all_its_digits() -> None:
    """A msgid next to missing bytes is unknown; one further behind is read."""
    body = b"text\n msgid=1234567\n"
    at = body.index(b"1234")
    for missing in range(at - 8, len(body) - 1):
        message = fill(len(body), [(0, body[:missing]), (missing + 1, body[missing + 1 :])]).message()
        assert message.msgid is None
    assert fill(len(body), [(1, body[1:])]).message().msgid == 1234567


def test_the_largest_message_of_a_kernel() -> None:
    """The largest message of a kernel, about 67 kB, is reassembled in any order."""
    text = "x" * 1000
    datagram = extended(text, userdata={f"{number:053}": "v" * 199 for number in range(256)}, msgid=1)
    assert len(datagram) > 60_000
    pieces = [piece(part) for part in fragments(datagram)]
    random.Random(1).shuffle(pieces)
    reassembly = Reassembly(pieces[0], 5.0)
    for number, part in enumerate(pieces):
        assert not reassembly.complete, number
        assert reassembly.add(part.offset, part.piece.raw)
    assert reassembly.message() == read(datagram)


def test_duplicate_adds_nothing() -> None:
    """``add`` returns False for an empty piece, and for one whose bytes were all received."""
    reassembly = fill(10, [(2, b"cdef")])
    for offset, data in [(2, b"cdef"), (2, b"XX"), (3, b"XX"), (4, b"XX"), (0, b""), (2, b""), (6, b""), (10, b"")]:
        assert not reassembly.add(offset, data)
    assert (reassembly.got, reassembly.complete) == (4, False)
    assert reassembly.message().raw == b"[netconsd: 2 bytes lost]cdef[netconsd: 4 bytes lost]"


def test_the_first_byte_stays() -> None:
    """A later piece that overlaps fills only gaps, so that a forged one changes no received byte."""
    reassembly = fill(10, [(2, b"cd"), (6, b"gh")])
    assert reassembly.add(0, b"XXXXXXXXXX")
    assert reassembly.complete
    assert reassembly.message().raw == b"XXcdXXghXX"


@pytest.mark.parametrize(
    ("offset", "data", "body"),
    [
        (0, b"XX", b"XXcd[netconsd: 2 bytes lost]gh[netconsd: 2 bytes lost]"),
        (1, b"XX", b"[netconsd: 1 bytes lost]Xcd[netconsd: 2 bytes lost]gh[netconsd: 2 bytes lost]"),
        (3, b"XX", b"[netconsd: 2 bytes lost]cdX[netconsd: 1 bytes lost]gh[netconsd: 2 bytes lost]"),
        (4, b"XX", b"[netconsd: 2 bytes lost]cdXXgh[netconsd: 2 bytes lost]"),
        (3, b"XXXX", b"[netconsd: 2 bytes lost]cdXXgh[netconsd: 2 bytes lost]"),
        (5, b"XXXXX", b"[netconsd: 2 bytes lost]cd[netconsd: 1 bytes lost]XghXX"),
        (9, b"X", b"[netconsd: 2 bytes lost]cd[netconsd: 2 bytes lost]gh[netconsd: 1 bytes lost]X"),
    ],
)
def test_overlaps(offset: int, data: bytes, body: bytes) -> None:
    """A piece that touches, overlaps or spans others fills exactly the gaps within it."""
    reassembly = fill(10, [(2, b"cd"), (6, b"gh")])
    assert reassembly.add(offset, data)
    assert reassembly.message().raw == body


def test_incomplete_message_can_be_completed() -> None:
    """``message`` changes nothing: later pieces are still added."""
    reassembly = fill(6, [(0, b"ab")])
    assert reassembly.message().raw == b"ab[netconsd: 4 bytes lost]"
    reassembly.add(2, b"cdef")
    assert reassembly.message().raw == b"abcdef"


# Bounds.


def test_number_of_pieces_is_bounded() -> None:
    """Pieces of one byte each are added up to PIECES_LIMIT."""
    reassembly = begin(TOTAL_LIMIT)
    added = [reassembly.add(offset, b"x") for offset in range(0, 4 * PIECES_LIMIT, 2)]
    assert added == [True] * PIECES_LIMIT + [False] * PIECES_LIMIT
    assert reassembly.got == PIECES_LIMIT
    assert reassembly.cost == REASSEMBLY_OVERHEAD + PIECES_LIMIT * (1 + PIECE_OVERHEAD)
    assert not reassembly.add(TOTAL_LIMIT - 966, b"x" * 966)
    assert reassembly.message().raw == with_notes(
        [ord("x"), None] * PIECES_LIMIT + [None] * (TOTAL_LIMIT - 2 * PIECES_LIMIT)
    )


def test_greatest_message() -> None:
    """A body of 128 KiB in pieces of 800 bytes, as with a long header, is within the bound, in reverse order."""
    body = b"x" * (128 * 1024)
    pieces = [(offset, body[offset : offset + 800]) for offset in range(0, len(body), 800)]
    assert fill(len(body), pieces[::-1]).message().raw == body


def test_one_piece_over_many_gaps_is_bounded() -> None:
    """A piece over many gaps fills them up to the limit of pieces."""
    gaps = PIECES_LIMIT - 10
    reassembly = fill(2000, [(offset, b"x") for offset in range(0, 2 * gaps, 2)])
    assert reassembly.add(0, b"y" * 2000)
    assert not reassembly.complete
    assert reassembly.got == gaps + 10
    assert reassembly.message().raw.startswith(b"xy" * 10 + b"x[netconsd: 1 bytes lost]x")


def test_cost() -> None:
    """The cost grows with the received bytes and the pieces, not with duplicates."""
    reassembly = begin(2000)
    assert reassembly.cost == REASSEMBLY_OVERHEAD
    reassembly.add(0, b"x" * 966)
    reassembly.add(0, b"x" * 966)
    assert reassembly.cost == REASSEMBLY_OVERHEAD + 966 + PIECE_OVERHEAD
    reassembly.add(900, b"x" * 966)
    assert reassembly.cost == REASSEMBLY_OVERHEAD + 1866 + 2 * PIECE_OVERHEAD


# Any order, any losses.


@st.composite
def cut_bodies(draw: st.DrawFn) -> tuple[bytes, list[Piece]]:
    """A body, and pieces that cover it: any cuts, overlaps, repeats and order."""
    body = draw(st.binary(min_size=1, max_size=80))
    cuts = sorted({0, len(body), *draw(st.lists(st.integers(0, len(body)), max_size=8))})
    spans = list(itertools.pairwise(cuts))
    starts = draw(st.lists(st.integers(0, len(body) - 1), max_size=4))
    spans += [(start, draw(st.integers(start + 1, len(body)))) for start in starts]
    spans += draw(st.lists(st.sampled_from(spans), max_size=3))
    return body, [(start, body[start:end]) for start, end in draw(st.permutations(spans))]


@settings(max_examples=200)
@given(cut_bodies())
def test_any_order(cut: tuple[bytes, list[Piece]]) -> None:
    """In any order, with repeats and overlaps, the pieces are the original body."""
    body, pieces = cut
    reassembly = fill(len(body), pieces)
    assert reassembly.complete
    assert reassembly.message().raw == body


@settings(max_examples=200)
@given(cut_bodies(), st.data())
def test_any_loss(cut: tuple[bytes, list[Piece]], data: st.DataObject) -> None:
    """With any pieces missing, notes with the number of bytes are exactly in place of the missing bytes."""
    body, pieces = cut
    kept = data.draw(st.lists(st.sampled_from(pieces), max_size=len(pieces)))
    octets: list[int | None] = [None] * len(body)
    for offset, part in kept:
        octets[offset : offset + len(part)] = part
    reassembly = fill(len(body), kept)
    assert reassembly.complete == (None not in octets)
    assert reassembly.message().raw == with_notes(octets)


@settings(max_examples=200)
@given(
    st.integers(1, 40).flatmap(
        lambda total: st.tuples(
            st.just(total),
            st.lists(
                st.tuples(st.integers(0, total - 1), st.binary(min_size=1, max_size=total)).map(
                    lambda cut: (cut[0], cut[1][: total - cut[0]])
                ),
                max_size=12,
            ),
        )
    )
)
def test_contradicting_pieces(case: tuple[int, list[Piece]]) -> None:
    """Of contradicting pieces, each byte is that of the first to arrive; ``add`` returns whether one was new."""
    total, pieces = case
    octets: list[int | None] = [None] * total
    reassembly = begin(total)
    for offset, part in pieces:
        gaps_filled = [index for index in range(offset, offset + len(part)) if octets[index] is None]
        for index in gaps_filled:
            octets[index] = part[index - offset]
        assert reassembly.add(offset, part) == bool(gaps_filled)
        assert reassembly.got == total - octets.count(None)
        assert reassembly.complete == (None not in octets)
        assert reassembly.message().raw == with_notes(octets)
        assert reassembly.cost >= reassembly.got
