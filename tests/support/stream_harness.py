"""A stream with a scripted clock, and shorthands for the messages that it delivers."""

from __future__ import annotations

from typing import Any

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.stream import Stream
from netconsd.testing import extended, source

REORDER_TIME = 0.2
TS_PER_SEQ = 100
#: The timestamp of the record with seq 0: timestamps near 0 say nothing about boots.
FIRST_TS = 100_000_000


class Harness:
    """A stream with a scripted clock, and all messages that it delivered."""

    def __init__(self, reorder_time: float = REORDER_TIME) -> None:
        self.counters = WorkerCounters()
        self.stream = Stream(source(), self.counters, reorder_time)
        self.now = 1000.0
        self.out: list[Message] = []

    def feed(self, *datagrams: bytes) -> list[Message]:
        """Feed datagrams; return the messages delivered for them."""
        out: list[Message] = []
        for datagram in datagrams:
            self.stream.feed(datagram, 5.0, self.now, out)
        self.out += out
        return out

    def records(self, *seqs: int, **fields: Any) -> list[Message]:
        return self.feed(*(record(seq, **fields) for seq in seqs))

    def wait(self, seconds: float) -> list[Message]:
        self.now += seconds
        out: list[Message] = []
        if self.stream.deadline <= self.now:
            self.stream.expire(self.now, out)
        self.out += out
        return out

    def flush(self) -> list[Message]:
        out: list[Message] = []
        self.stream.flush(out)
        self.out += out
        return out


def record(seq: int, text: str | None = None, **fields: Any) -> bytes:
    """A record whose timestamp is proportional to its seq."""
    fields.setdefault("ts_usec", FIRST_TS + seq * TS_PER_SEQ)
    return extended(f"record {seq}" if text is None else text, seq=seq, **fields)


def seqs(messages: list[Message]) -> list[int]:
    """The seqs of the messages."""
    return [message.seq for message in messages if isinstance(message, ExtendedMessage)]


def only(messages: list[Message]) -> ExtendedMessage:
    """The only message."""
    (message,) = messages
    assert isinstance(message, ExtendedMessage)
    return message


def marks(messages: list[Message]) -> list[tuple[int, str]]:
    """Seq and marks of each message: N new, B boot, R another reset, A replayed (again), L late, I incomplete."""
    return [
        (
            message.seq,
            ("N" if message.new else "B" if message.boot else "R" * message.seq_reset)
            + "A" * message.replayed
            + "L" * message.out_of_order
            + "I" * message.incomplete,
        )
        for message in messages
        if isinstance(message, ExtendedMessage)
    ]
