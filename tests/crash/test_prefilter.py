"""The prefilter finds exactly the literals, like a naive search."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.build import COMPILED
from netconsd.crash.prefilter import SHORTEST, Prefilter
from tests.support.plain_build import PlainBuild

# Few letters, so that literals overlap, share grams and are found by chance.
few = st.sampled_from(b"ab")
literals = st.lists(
    st.one_of(
        st.lists(few, min_size=SHORTEST, max_size=20).map(bytes), st.binary(min_size=SHORTEST, max_size=2 * SHORTEST)
    ),
    max_size=12,
)
# As in kernel messages: some begin alike, one contains another, the lengths differ by much.
KERNEL = (
    *(b"BUG: KASAN:", b"BUG: soft lockup", b"BUG: soft", b"soft lockup", b"Kernel panic - not syncing", b"WARNING: "),
    *(b"------------[ cut here", b"Linux version ", b"netconsole: network logging", b"int3: 0", b"\n\0\xff\x80\r\n"),
)
prefilters = [Prefilter] if not COMPILED else [Prefilter, PlainBuild().prefilter.Prefilter]


@pytest.fixture(params=prefilters, ids=["installed", "plain"][: len(prefilters)])
def build(request: pytest.FixtureRequest) -> type[Prefilter]:
    """The class of each build."""
    build: type[Prefilter] = request.param
    return build


def naive(literals: Sequence[bytes], data: bytes, start: int, end: int) -> int:
    """The lowest index of a literal, one literal after the other."""
    return min((at for literal in literals if (at := data.find(literal, start, end)) >= 0), default=-1)


@given(st.data())
@settings(max_examples=400)
def test_like_a_naive_search(data: st.DataObject) -> None:
    """Any literals are found in any bytes between any bounds, the one that begins first."""
    wanted = data.draw(literals)
    piece = st.one_of(st.lists(few, max_size=12).map(bytes), st.binary(max_size=5))
    if wanted:
        piece = st.one_of(piece, st.sampled_from(wanted))
    text = b"".join(data.draw(st.lists(piece, max_size=12)))
    start = data.draw(st.integers(0, len(text) + 2))
    end = data.draw(st.integers(0, len(text) + 2))
    expected = naive(wanted, text, start, end)
    for build in prefilters:
        assert build(wanted).find(text, start, end) == expected, build


@pytest.mark.parametrize("literal", KERNEL)
def test_each_literal_at_each_place(build: type[Prefilter], literal: bytes) -> None:
    """Each literal is found at each distance from the begin and from the end, and one byte less is none."""
    prefilter = build(KERNEL)
    for before in range(40):
        text = b"." * before + literal
        for after in range(3):
            assert prefilter.find(text + b"." * after, 0, len(text) + after) == before
        assert prefilter.find(text, before, len(text)) == before
        assert prefilter.find(text, 0, len(text) - 1) == naive(KERNEL, text, 0, len(text) - 1)
        assert prefilter.find(text, before + 1, len(text)) == naive(KERNEL, text, before + 1, len(text))


def test_one_literal_within_another(build: type[Prefilter]) -> None:
    """Of a literal and another one within it, the one that begins first is found, whichever is recognised first."""
    for inner, outer in (
        (b"teaser", b"a teaser of eternal rest#Z@Q!X"),
        (b"#Z@Q!X", b"a teaser of eternal rest#Z@Q!X"),
    ):
        prefilter = build([outer, inner])
        for before in range(20):
            text = b" " * before + outer
            assert prefilter.find(text + b"." * 100, 0, len(text) + 100) == before
            assert prefilter.find(text, 0, len(text)) == before
            assert prefilter.find(text, before + 1, len(text)) == text.index(inner)
            assert prefilter.find(text, 0, len(text) - 1) == text.find(inner, 0, len(text) - 1)
            assert prefilter.find(inner + text, 0, 100) == 0


def test_all_hits_in_turn(build: type[Prefilter]) -> None:
    """A caller that goes on behind each hit finds every line with a literal, and no other."""
    lines = [b"line %d of ordinary text" % number for number in range(1000)]
    for number in range(0, 1000, 7):
        lines[number] += KERNEL[number % 9] + b"!"
    text = b"\n".join(lines)
    prefilter = build(KERNEL)
    at, found = 0, []
    while (at := prefilter.find(text, at, len(text))) >= 0:
        found.append(text.count(b"\n", 0, at))
        at = text.find(b"\n", at)
    assert found == list(range(0, 1000, 7))


def test_no_literals(build: type[Prefilter]) -> None:
    """Without literals nothing is found."""
    assert build([]).find(b"BUG: " * 100, 0, 500) == -1


def test_a_short_literal(build: type[Prefilter]) -> None:
    """A literal that is too short is refused, with its text."""
    with pytest.raises(ValueError, match="b'BUG: ' is shorter than 6 bytes"):
        build([b"Linux version ", b"BUG: "])
    build([b"BUG: K"])
