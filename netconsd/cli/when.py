"""Options whose values are times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

#: The options whose values are times.
_OPTIONS: Final = ("--since", "--until", "-S", "-U")


def joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments, with ``--since -2h`` as one: argparse takes ``-2h`` alone for an option."""
    words: list[str] = []
    for word in arguments:
        if words and words[-1] in _OPTIONS and re.match(r"-\d", word, re.ASCII):
            words[-1] += f"={word}" if words[-1].startswith("--") else word
        else:
            words.append(word)
    return words
