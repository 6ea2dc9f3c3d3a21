"""The table of characters: asked once for each, and bounded."""

from __future__ import annotations

from netconsd.characters import CHARACTERS_LIMIT, Characters


def test_a_character_is_found_out_once() -> None:
    """What it is shown as is remembered; strings are translated as they are by any table."""
    asked: list[int] = []

    def shown(code: int) -> str:
        asked.append(code)
        return f"<{code}>"

    table = Characters(shown)
    assert "abba".translate(table) == "<97><98><98><97>"
    assert "ab".translate(table) == "<97><98>"
    assert asked == [97, 98]


def test_the_table_is_bounded() -> None:
    """However many characters come, so many are remembered; the others are shown all the same."""
    table = Characters(chr)
    text = "".join(map(chr, range(0x10000, 0x10000 + 2 * CHARACTERS_LIMIT)))
    assert text.translate(table) == text
    assert len(table) == CHARACTERS_LIMIT
    assert text.translate(table) == text
