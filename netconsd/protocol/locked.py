"""The decorator of methods that keep a value of their object, for readers in several threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Method = TypeVar("_Method", bound=Callable[..., object])


def critical_section(method: _Method) -> _Method:
    """Return the method.

    Plain Python protects each attribute. Compiled, a file that imports Cython's directive of this name gets the
    directive: without the GIL, the method holds the lock of its object (Python's critical sections) while it runs. With
    the GIL it costs nothing.
    """
    return method
