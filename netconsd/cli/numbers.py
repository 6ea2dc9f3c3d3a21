"""Numbers with bounds, as options of the tools; what is wrong with one is a text for the user."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

__all__ = ["whole_number", "within"]


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A type for argparse: a whole number from ``least`` to ``most``, in digits."""

    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text, re.ASCII) or not least <= int(text) <= most:
            raise ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return read


def within(kind: Callable[[str], Any], least: float, most: float = float("inf")) -> Callable[[str], Any]:
    """A type for argparse: a number of that kind from ``least`` to ``most``, as Python reads it."""

    def read(text: str) -> Any:
        try:
            number = kind(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not a number") from None
        if not least <= number <= most or number == float("inf"):
            upto = "up" if most == float("inf") else f"to {most}"
            raise ArgumentTypeError(f"{text} is not from {least} {upto}")
        return number

    return read
