"""Options whose values are times."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Final

from netconsd.store.when import moment

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


def time_of(parser: argparse.ArgumentParser, option: str, text: str | None, now: float) -> float | None:
    """Return the Unix time that an option means; None if it was not given. A wrong one ends the command.

    :raises SystemExit: with 2 and a text that names the option.
    """
    try:
        return None if text is None else moment(text, now)
    except ValueError as error:
        parser.error(f"{option}: {error}")
