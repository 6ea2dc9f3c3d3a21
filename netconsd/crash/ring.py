"""Asks for the memory of messages that a ring forgets soon, which the compiled build has in C (ring.pxd).

The messages of a ring are megabytes, which the processor's cache does not keep. Without asking for them in advance,
each message waits for the memory of the one whose place it takes.
"""

from __future__ import annotations

from netconsd.protocol.message import Message


def fetch(ring: list[Message | None], index: int) -> None:
    """Have the cache fetch the messages that follow an index; in plain Python nothing.

    :param ring: longer than the 12 places that are looked ahead.
    :param index: of the next place that is filled.
    """
