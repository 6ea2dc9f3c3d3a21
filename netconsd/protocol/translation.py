"""What characters are shown as, found out once for each: a stranger can send a hundred thousand in a message."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["CHARACTERS_LIMIT", "Characters"]

# Most that are sent come again. There are a million more, and each entry takes some 200 bytes.
CHARACTERS_LIMIT = 16_384
# str.translate makes room for one character more at a time, and where that is a copy (with the sanitizers, or another
# allocator) a text of 64 KiB takes ten seconds. So it gets a text in parts of so many characters.
PART = 1024


class Characters(dict[int, str]):
    """A table by the numbers of characters. For all threads; beyond :data:`CHARACTERS_LIMIT` it remembers no more."""

    def __init__(self, shown: Callable[[int], str]) -> None:
        """
        :param shown: what a character, given by its number, is shown as.
        """
        super().__init__()
        self._shown = shown

    def __missing__(self, code: int) -> str:
        shown = self._shown(code)
        if len(self) < CHARACTERS_LIMIT:
            self[code] = shown
        return shown

    def show(self, text: str) -> str:
        """The text, each character as it is shown."""
        if len(text) <= PART:
            return text.translate(self)
        return "".join([text[at : at + PART].translate(self) for at in range(0, len(text), PART)])
