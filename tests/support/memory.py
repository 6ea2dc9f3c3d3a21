"""Measures the memory of objects."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable


def bytes_for(make: Callable[[], object]) -> int:
    """The bytes that are allocated by ``make`` and still used by its result."""
    make()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = make()
        after = tracemalloc.get_traced_memory()[0]
        del kept
    finally:
        tracemalloc.stop()
    return after - before
