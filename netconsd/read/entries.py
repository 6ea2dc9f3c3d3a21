"""The entries that readers return: a line of a log, a message, or a datagram, with its place, time and host."""

from __future__ import annotations

from dataclasses import dataclass

from netconsd.protocol.message import Message


@dataclass(frozen=True, slots=True)
class Line:
    """One line of kernel log as the kernel wrote it to its console: without the parts that other programs added."""

    #: The number of the line in its file, from 1 on.
    number: int
    #: Unix time in seconds, or None if the line has none. Where a format has no zone, the zone is UTC; no year: `year`.
    time: float | None
    #: The host that the line names, or None.
    host: str | None
    #: ``<N>[   12.345678] text``: prefix and timestamp only if known. No newline.
    text: bytes


@dataclass(frozen=True, slots=True)
class Whole:
    """A message that the file has with all its fields."""

    number: int
    message: Message


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram as received."""

    #: The number of the line, or of the packet in a capture, from 1 on.
    number: int
    #: Seconds; Unix time, or since the recording began.
    time: float
    #: The sender, as :attr:`netconsd.message.Source.key`.
    key: bytes
    data: bytes
