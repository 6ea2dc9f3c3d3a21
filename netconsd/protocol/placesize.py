"""The places that bytes take in a queue: the bound on places bounds the number of entries and their memory."""

from __future__ import annotations

# Kernels send at most 1000 bytes. An entry takes a place for each KiB that it has begun.
PLACE_BYTES = 1024


def places_of(byte_count: int) -> int:
    """Return the places of an entry with so many bytes."""
    return 1 + byte_count // PLACE_BYTES
