"""How much memory something takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable


def bytes_for(make: Callable[[], object]) -> int:
    """The bytes that are allocated when ``make`` has returned and what it made is still there."""
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
