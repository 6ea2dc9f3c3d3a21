"""The bounds of the index of the streams of one address."""

from __future__ import annotations

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.neighbours import PORTS_LIMIT, SLOTS_LIMIT, Neighbours
from netconsd.protocol.stream import Stream
from netconsd.testing import source


def test_the_latest_ports_are_known() -> None:
    """Of an address with a stream per port, the latest PORTS_LIMIT are kept."""
    neighbours = Neighbours(10)
    for port in range(1, 3 * PORTS_LIMIT):
        stream = Stream(source("192.0.2.1", port), WorkerCounters(), 0.2)
        others = neighbours.add(stream.source.key, stream) or []
        assert [other.source.port for other in others] == list(range(max(1, port - PORTS_LIMIT), port))


def test_the_slots_are_bounded() -> None:
    """The index does not grow with the number of senders."""
    assert len(Neighbours(100 * SLOTS_LIMIT)._slots) == SLOTS_LIMIT
