"""Searches with Python's ``re`` where google-re2 is not available, in bounded time.

``re`` backtracks: the time of a pattern such as ``(a+)+$`` doubles with each byte of a line, and a sender chooses the
line. So only patterns are accepted whose time is bounded, and only the beginning of a line is searched:

1. No group is repeated (``?`` after a group is allowed), and there are no backreferences, lookarounds and ``(?x)``; RE2
   has none of these three either.
2. A pattern, and each of its alternatives outside groups, has at most :data:`REPEATS_LIMIT` repeats of variable length.
   One that does not begin with ``^`` has one more, because it is tried at each byte. ``?`` doubles the time: eight of
   them count as one repeat, and so do groups of alternatives by the logarithm of their number.
3. Only the first :data:`LINE_LIMIT` bytes of a line are searched.

The time is then at most proportional to LINE_LIMIT to the power of REPEATS_LIMIT: 0.03 s for the worst of the patterns
and lines that were tried (CPython 3.11), microseconds for usual ones.
"""

from __future__ import annotations

import math
import re
import warnings
from typing import Final

# The lines of kernels rarely have more than 200 bytes. 2 to the power of _DOUBLINGS.
LINE_LIMIT: Final = 256
_DOUBLINGS: Final = 8
# `(usb|pci).*reset.*failed` counts as 3.125: two repeats, two alternatives, and it may begin anywhere.
REPEATS_LIMIT: Final = 3.25

_INSTALL: Final = "install google-re2 for it (pip install google-re2)"

# An escaped character, a class, the beginning of a group, a repeat, or any other character. A "]" at the beginning of a
# class is part of it.
_TOKEN: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P<\w+>|\(\?[a-zA-Z-]*[:)]|\(\?.?|[*+?][?+]?|\{\d*,?\d*\}[?+]?|.", re.DOTALL
)
_GROUP: Final = re.compile(r"\(\?(?:[ims]+\)|[ims]*(?:-[ims]+)?:|P<)")
_BACKREFERENCE: Final = re.compile(r"\\[1-9]")
_VARIABLE: Final = re.compile(r"[*+]|\{\d*,")


def search_of(pattern: str) -> re.Pattern[bytes]:
    """Return a compiled pattern whose ``search`` in :data:`LINE_LIMIT` bytes takes a bounded time.

    :raises ValueError: for a pattern that ``re`` rejects, or that is not bounded by the rules of this file; ``str()``
        is the reason.
    """
    with warnings.catch_warnings():
        # For example of "[[:digit:]]", which RE2 knows and re takes for a class of other characters.
        warnings.simplefilter("error")
        try:
            compiled = re.compile(pattern.encode())
        except (re.error, Warning, OverflowError, RecursionError) as error:
            raise ValueError(f"is not a regular expression of Python's re: {error}") from error
    exponent = _exponent(pattern)
    if exponent > REPEATS_LIMIT:
        raise ValueError(
            f"could take too long with Python's re: it counts as {exponent:.3g} repeats, and {REPEATS_LIMIT:g} are "
            f"allowed; begin it with ^, or {_INSTALL}"
        )
    return compiled


def _exponent(pattern: str) -> float:
    """Return the number of repeats by rule 2, of a pattern that ``re`` has compiled."""
    # The branches of each open group; the exponents of the alternatives outside groups; the current one.
    branches: list[int] = []
    alternatives: list[float] = []
    exponent = float(not pattern.startswith("^"))
    previous = ""
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if text.startswith("(?") and _GROUP.match(text) is None:
            raise ValueError(f"has {text!r}, which could take too long with Python's re; {_INSTALL}")
        if _BACKREFERENCE.match(text):
            raise ValueError(f"has the backreference {text!r}, which RE2 does not have")
        if text.startswith("(") and not text.endswith(")"):
            branches.append(1)
        elif text == ")":
            exponent += math.log2(branches.pop()) / _DOUBLINGS
        elif text == "|" and branches:
            branches[-1] += 1
        elif text == "|":
            alternatives.append(exponent)
            exponent = float(not pattern.startswith("^", token.end()))
        elif text[0] == "?":
            exponent += 1 / _DOUBLINGS
        elif text[0] in "*+{" and previous == ")":
            raise ValueError(f"repeats a group, which could take too long with Python's re; {_INSTALL}")
        elif _VARIABLE.match(text):
            exponent += 1
        previous = text
    return max([*alternatives, exponent])
