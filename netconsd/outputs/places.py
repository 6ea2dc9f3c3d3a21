"""The places that messages take in the queue of a module. Hot: called for each batch with all its messages."""

from __future__ import annotations

from netconsd.protocol.message import Message
from netconsd.protocol.placesize import PLACE_BYTES


def places(messages: list[Message]) -> int:
    """Return the number of places of all messages together: of each :func:`~netconsd.protocol.placesize.places_of`.

    Written again here, because a call for each message costs more than the rest; tests/outputs/test_queues compares the
    two.
    """
    total = len(messages)
    for message in messages:
        raw = message._raw
        total += len(raw) // PLACE_BYTES
    return total
