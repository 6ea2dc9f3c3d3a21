"""Numbers as options of the tools, with bounds and error texts for the user."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any


def within(kind: type[int | float], least: float, most: float = float("inf")) -> Callable[[str], Any]:
    """A type for argparse: a number from ``least`` to ``most``, in ASCII, as ``kind`` (int or float) reads it."""

    def read(text: str) -> Any:
        try:
            number = kind(text.encode("ascii"))
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not a number") from None
        if not least <= number <= most or number == float("inf"):
            limit = "up" if most == float("inf") else f"to {most}"
            raise ArgumentTypeError(f"{text} is not from {least} {limit}")
        return number

    return read
