"""Asks for the memory of messages before it is used, which the compiled build has in C (memory.pxd).

Messages that are kept for some time are megabytes, which the processor's cache does not keep. Without asking for them
in advance, each message that leaves a list waits for its memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from netconsd.protocol.message import Message


def fetch(messages: Sequence[Message | None], place: int, bytes_place: int) -> None:
    """Have the cache fetch a message, and the bytes of another that was fetched before; in plain Python nothing.

    :param place: the index of the message, not negative. One behind the end is ignored, and so is an empty place.
    :param bytes_place: the same, of the message of which the bytes are fetched.
    """
