"""Measures the memory of objects."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable


def _collect() -> None:
    gc.collect()


# A free-threaded Python's collector allocates lists of objects, and keeps some for its next run: 2048 bytes and more.
_NOT_OF_COLLECTOR = tracemalloc.Filter(False, __file__, _collect.__code__.co_firstlineno + 1)


def bytes_for(make: Callable[[], object]) -> int:
    """The bytes allocated by ``make`` that its result keeps allocated."""
    make()  # Caches are filled, and are not measured.
    # Garbage of earlier tests is not freed while memory is measured: a free-threaded Python then copies attributes, and
    # notes memory to free later, up to 30,000 bytes. And the interpreter's lists of free objects are emptied: objects
    # that were taken from them would not be measured.
    gc.collect()
    tracemalloc.start()
    try:
        kept = make()
        # What nobody keeps is not measured.
        _collect()
        snapshot = tracemalloc.take_snapshot()
        del kept
    finally:
        tracemalloc.stop()
    return sum(trace.size for trace in snapshot.filter_traces([_NOT_OF_COLLECTOR]).traces)
