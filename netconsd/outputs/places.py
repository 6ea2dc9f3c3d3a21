"""The places that messages take in the queue of a module. Hot: called for each batch with all its messages."""

from __future__ import annotations

from netconsd.protocol.message import Message

# As in the queue of a worker: a message takes a place, and one more for each KiB of its bytes, so that the bound on
# places bounds the number of messages and their memory (tests/outputs/test_queues).
PLACE_BYTES = 1024


def places(messages: list[Message]) -> int:
    """Return the number of places of all messages together."""
    total = len(messages)
    for message in messages:
        raw = message._raw
        total += len(raw) // PLACE_BYTES
    return total
