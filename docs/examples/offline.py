"""Reassembles recorded datagrams without sockets and threads; the time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netconsd import Message, Source
from netconsd.embedding import SourceTable, WorkerCounters


def messages_of(recording: Iterable[tuple[float, Source, bytes]]) -> Iterator[Message]:
    """Yield the messages of a recording, whose items are the time in seconds, the sender and the datagram."""
    table = SourceTable(WorkerCounters(), limit=10_000, reorder_time=0.2, gc_interval=60.0, age=3600.0)
    for when, source, datagram in recording:
        # The held messages that are due at the time of the datagram.
        yield from table.advance(when)
        yield from table.feed([source.key], [datagram], received_at=when, now=when)
    yield from table.flush()
