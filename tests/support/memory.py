"""Measures the memory of objects."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable


def bytes_for(make: Callable[[], object]) -> int:
    """The bytes allocated by ``make`` that its result keeps allocated."""
    make()  # Caches are filled, and are not measured.
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = make()
        # What nobody keeps is not measured.
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        del kept
    finally:
        tracemalloc.stop()
    return after - before
