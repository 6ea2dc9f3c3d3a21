"""The table of characters: asked once for each, and bounded."""

from __future__ import annotations

from typing import Any

import pytest

from netconsd.protocol.translation import CHARACTERS_LIMIT, PART, Characters


def test_a_character_is_found_out_once() -> None:
    """What it is shown as is remembered; strings are translated as they are by any table."""
    asked: list[int] = []

    def shown(code: int) -> str:
        asked.append(code)
        return f"<{code}>"

    table = Characters(shown)
    assert table.show("abba") == "<97><98><98><97>"
    assert table.show("ab") == "<97><98>"
    assert asked == [97, 98]


def test_the_table_is_bounded() -> None:
    """However many characters come, so many are remembered; the others are shown all the same."""
    table = Characters(chr)
    text = "".join(map(chr, range(0x10000, 0x10000 + 2 * CHARACTERS_LIMIT)))
    assert table.show(text) == text
    assert len(table) == CHARACTERS_LIMIT
    assert table.show(text) == text


@pytest.mark.parametrize("length", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 10 * PART + 1])
def test_a_long_text_is_shown_whole(length: int) -> None:
    """A text is shown in parts, none of them long, and nothing is missing where they meet."""

    class Text(str):
        """A text that says how long its parts are."""

        __slots__ = ()

        def __getitem__(self, which: Any) -> Any:
            part = super().__getitem__(which)
            sizes.append(len(part))
            return part

    sizes: list[int] = []
    text = "".join(chr(97 + number % 26) for number in range(length))
    table = Characters(lambda code: chr(code) * 2)
    assert table.show(Text(text)) == "".join(character * 2 for character in text)
    assert max(sizes, default=0) <= PART
    assert bool(sizes) == (length > PART)
