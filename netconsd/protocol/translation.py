"""A bounded cache from character to escape, for :meth:`str.translate`."""

from __future__ import annotations

from collections.abc import Callable

# More than the characters in common use. Unicode has a million, and an entry takes about 200 bytes.
CHARACTERS_LIMIT = 16_384
# str.translate grows its result by one character at a time. If growing copies (with the sanitizers, or another
# allocator), a text of 64 KiB takes ten seconds; therefore texts are translated in parts of this many characters.
PART = 1024


class Characters(dict[int, str]):
    """Maps a character's number to its replacement. Safe in all threads; at most :data:`CHARACTERS_LIMIT` entries."""

    def __init__(self, shown: Callable[[int], str]) -> None:
        """:param shown: returns the replacement of a character, given by its number."""
        super().__init__()
        self._shown = shown

    def __missing__(self, code: int) -> str:
        shown = self._shown(code)
        if len(self) < CHARACTERS_LIMIT:
            self[code] = shown
        return shown

    def show(self, text: str) -> str:
        """Return the text with each character replaced."""
        if len(text) <= PART:
            return text.translate(self)
        return "".join([text[at : at + PART].translate(self) for at in range(0, len(text), PART)])
