"""The place of a message in a live tail, and its frame of ``text/event-stream``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_CURSOR: Final = re.compile(r"([0-9a-z]{1,20}-\d{1,9})~(\d{1,18})~(\d{1,17})~([^~\s]{1,120})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The ``id:`` of a frame: after a reconnect the browser sends it as ``Last-Event-ID``."""

    #: The run of the tail, and the number of the filter in it.
    stream: str
    #: Counts the messages of the filter in this run; 0 for those from the store.
    number: int
    #: Of receipt, in microseconds, and the identity: those after it in the order of the tail follow.
    usec: int
    identity: str

    def __str__(self) -> str:
        return f"{self.stream}~{self.number}~{self.usec}~{self.identity}"

    @classmethod
    def read(cls, text: str) -> Cursor | None:
        """Return the cursor of a text of a stranger; None if it is none."""
        match = _CURSOR.fullmatch(text)
        return None if match is None else cls(match[1], int(match[2]), int(match[3]), match[4])


def frame(cursor: Cursor, message: bytes) -> bytes:
    """Return the event of a message.

    :param message: its JSON object, in ASCII.
    """
    return frame_begin(cursor.stream, cursor.number) + frame_end(cursor.usec, cursor.identity, message)


def frame_begin(stream: str, number: int) -> bytes:
    """Return the part of a frame that each filter has of its own."""
    return b"id: %b~%d" % (stream.encode(), number)


def frame_end(usec: int, identity: str, message: bytes) -> bytes:
    """Return the rest of a frame."""
    return b"~%d~%b\nevent: message\ndata: %b\n\n" % (usec, identity.encode(), message)
