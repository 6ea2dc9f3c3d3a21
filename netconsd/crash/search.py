"""The search of :mod:`netconsd.crash.prefilter`, which the compiled build has in C (search.pxd)."""

from __future__ import annotations

import re
from array import array


def first(
    data: bytes,
    start: int,
    end: int,
    pattern: re.Pattern[bytes],
    literals: bytes,
    bits: bytes,
    buckets: array[int],
    entries: array[int],
    step: int,
    reach: int,
) -> int:
    """Return the lowest index in ``data[start:end]`` at which one of the literals begins, or -1.

    :param start: not negative; ``end`` is not either.
    :param pattern: matches the literals, for plain Python; C uses the tables (:class:`Prefilter` describes them).
    """
    match = pattern.search(data, start, end)
    return -1 if match is None else match.start()
