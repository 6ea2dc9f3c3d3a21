"""Sizes and durations as people write them, ``64M`` and ``14d``: types for the settings of output modules.

A module annotates a parameter of its constructor with :class:`Size` or :class:`Duration` and gets a number::

    def __init__(self, *, limit: Size = Size("64M"), keep: Duration | None = None) -> None: ...
"""

from __future__ import annotations

import re
from typing import Final, Self

__all__ = ["Duration", "Size"]

SIZE_FORMS: Final = "a number of bytes, or a number with K, M, G or T (powers of 1024), such as 64M"
DURATION_FORMS: Final = "a number with s, m, h, d or w (seconds, minutes, hours, days, weeks), such as 90s, 1h or 14d"

_SIZE: Final = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)([KMGT](?:iB)?)?", re.ASCII | re.IGNORECASE)
_SIZES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
#: The largest size of a file that Linux supports (``loff_t``).
SIZE_LIMIT: Final = (1 << 63) - 1
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Size(int):
    """A number of bytes, from 0 to 2^63 - 1."""

    def __new__(cls, value: int | str) -> Self:
        """:raises ValueError: if the value is neither a number of bytes nor a text as in :data:`SIZE_FORMS`."""
        if isinstance(value, str):
            match = _SIZE.fullmatch(value.strip())
            if match is None:
                raise ValueError(f'"{value}" is not a size; write {SIZE_FORMS}')
            unit = (match[2] or "")[:1].lower()
            if "." in match[1] and not unit:
                raise ValueError(f'"{value}" is not a whole number of bytes; write {SIZE_FORMS}')
            # A whole number stays exact beyond the 53 bits of a float.
            number = float(match[1]) * _SIZES[unit] if "." in match[1] else int(match[1]) * _SIZES[unit]
            value = int(number)
        if not 0 <= value <= SIZE_LIMIT:
            raise ValueError(f"{value} is not a size from 0 to {SIZE_LIMIT} bytes; write {SIZE_FORMS}")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        """The size in the largest unit that needs no fraction: ``64M``."""
        return _in_units(int(self), _SIZES, "").upper()

    def __repr__(self) -> str:
        return f'Size("{self}")'


class Duration(float):
    """A number of seconds, at least 0."""

    def __new__(cls, value: float | str) -> Self:
        """:raises ValueError: if a text is not as in :data:`DURATION_FORMS`, or a number is negative or not finite."""
        if isinstance(value, str):
            match = _DURATION.fullmatch(value.strip())
            if match is None:
                raise ValueError(f'"{value}" is not a duration; write {DURATION_FORMS}')
            value = float(match[1]) * _SECONDS[match[2]]
        if not 0 <= value < float("inf"):
            raise ValueError(f"{value} is not a duration; write {DURATION_FORMS}")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        """The duration in the largest unit that needs no fraction: ``14d``."""
        seconds = float(self)
        return _in_units(int(seconds), _SECONDS, "s") if seconds.is_integer() else f"{seconds!r}s"

    def __repr__(self) -> str:
        return f'Duration("{self}")'


def _in_units(number: int, units: dict[str, int], least: str) -> str:
    unit = next((unit for unit, size in reversed(units.items()) if number and number % size == 0), least)
    return f"{number // units[unit]}{unit}"
