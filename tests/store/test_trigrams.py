"""Trigrams: a segment is skipped only if it cannot have the word."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from netconsd.store.trigrams import BITMAP_BYTES, add, can_have, has_all, trigrams, windows


def bitmap_of(texts: list[str]) -> bytes:
    """Return the bitmap of texts."""
    bitmap = bytearray(BITMAP_BYTES)
    ends = array("Q", [0])
    data = b""
    for text in texts:
        data += text.encode()
        ends.append(len(data))
    add(bitmap, data, ends)
    return bytes(bitmap)


@given(st.lists(st.text(), min_size=1, max_size=4), st.data())
def test_every_part_of_a_text_is_found(texts: list[str], data: st.DataObject) -> None:
    """The bitmap has the trigrams of every part of every text, in any case."""
    bitmap = bitmap_of(texts)
    text = data.draw(st.sampled_from(texts))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert has_all(bitmap, trigrams(text[start:end]))
    assert has_all(bitmap, trigrams("".join(c.upper() if c.isascii() else c for c in text[start:end])))


def test_an_absent_word_is_not_found() -> None:
    """A word whose trigrams do not all occur is absent; a text does not continue in the next one."""
    bitmap = bitmap_of(["eth0: link is down", "abc", "def"])
    assert not has_all(bitmap, trigrams("upx"))
    assert not has_all(bitmap, trigrams("cde"))
    assert has_all(bitmap, trigrams("DEF"))


def test_short_words_say_nothing() -> None:
    """A word of two bytes has no trigram, so that no segment is skipped for it."""
    assert trigrams("sd") == []
    assert has_all(bytes(BITMAP_BYTES), trigrams("sd"))


@given(st.lists(st.sampled_from(["k", "s", "a", "b", "\u212a", "\u017f", "-", "\u00e9"]), max_size=12))
def test_letters_with_another_case_that_is_not_ascii(letters: list[str]) -> None:
    """A word of ASCII letters is possible in every text that has it with the Kelvin sign or the long s instead."""
    text = "".join(letters)
    bitmap = bitmap_of([text])
    plain = text.replace("\u212a", "k").replace("\u017f", "s")
    for start in range(len(plain)):
        for end in range(start, len(plain) + 1):
            assert can_have(bitmap, windows(plain[start:end], folded=True))
            assert can_have(bitmap, windows(text[start:end], folded=False))


def test_a_word_is_absent_although_it_has_other_cases() -> None:
    """The other cases are possible only where a text can have them."""
    bitmap = bitmap_of(["disc: \u00e9 full", "ask"])
    assert not can_have(bitmap, windows("disk", folded=True))
    assert can_have(bitmap, windows("ASK", folded=True))
    assert not can_have(bitmap_of(["di\u017fk"]), windows("disk", folded=False))
