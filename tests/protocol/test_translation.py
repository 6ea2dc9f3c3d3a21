"""The cache from character to escape."""

from __future__ import annotations

from typing import Any

import pytest

from netconsd.protocol.translation import CHARACTERS_LIMIT, PART, Characters


def test_a_replacement_is_computed_once() -> None:
    """Each character's replacement is computed once."""
    computed: list[int] = []

    def shown(code: int) -> str:
        computed.append(code)
        return f"<{code}>"

    table = Characters(shown)
    assert table.show("abba") == "<97><98><98><97>"
    assert table.show("ab") == "<97><98>"
    assert computed == [97, 98]


def test_the_table_is_bounded() -> None:
    """The cache has at most CHARACTERS_LIMIT entries; other characters are replaced all the same."""
    table = Characters(chr)
    text = "".join(map(chr, range(0x10000, 0x10000 + 2 * CHARACTERS_LIMIT)))
    assert table.show(text) == text
    assert len(table) == CHARACTERS_LIMIT
    assert table.show(text) == text


@pytest.mark.parametrize("length", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 10 * PART + 1])
def test_a_long_text_is_shown_whole(length: int) -> None:
    """A text is replaced completely, in parts of at most PART characters."""

    class Text(str):
        """A text that records the length of its slices."""

        __slots__ = ()

        def __getitem__(self, key: Any) -> Any:
            part = super().__getitem__(key)
            sizes.append(len(part))
            return part

    sizes: list[int] = []
    text = "".join(chr(97 + number % 26) for number in range(length))
    table = Characters(lambda code: chr(code) * 2)
    assert table.show(Text(text)) == "".join(character * 2 for character in text)
    assert max(sizes, default=0) <= PART
    assert bool(sizes) == (length > PART)
