"""What characters are shown as, found out once for each: a stranger can send a hundred thousand in a message."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["CHARACTERS_LIMIT", "Characters"]

# Most that are sent come again. There are a million more, and each entry takes some 200 bytes.
CHARACTERS_LIMIT = 16_384


class Characters(dict[int, str]):
    """A table for :meth:`str.translate`. For all threads; beyond :data:`CHARACTERS_LIMIT` it remembers no more."""

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
