"""The bounds of the index of the streams of one address."""

from __future__ import annotations

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.neighbours import PORTS_LIMIT, SLOTS_LIMIT, Neighbours
from netconsd.protocol.recency import Recency
from netconsd.protocol.stream import Stream
from netconsd.testing import source


def test_the_latest_ports_are_known() -> None:
    """Of an address with a stream per port, the latest PORTS_LIMIT are kept."""
    recency = Recency()
    neighbours = Neighbours(10, recency)
    for port in range(1, 3 * PORTS_LIMIT):
        stream = Stream(source("192.0.2.1", port), WorkerCounters(), 0.2)
        stream.number = recency.add(stream)
        others = neighbours.add(stream.source.key, stream) or []
        assert [other.source.port for other in others] == list(range(max(1, port - PORTS_LIMIT), port))


def test_the_slots_are_bounded() -> None:
    """The index does not grow with the number of senders."""
    assert len(Neighbours(100 * SLOTS_LIMIT, Recency())._latest) == SLOTS_LIMIT


def test_a_removed_stream_is_no_neighbour() -> None:
    """The streams of an address that were removed are not returned, whichever they are."""
    recency = Recency()
    neighbours = Neighbours(10, recency)
    streams = [Stream(source("192.0.2.1", port), WorkerCounters(), 0.2) for port in range(6)]
    for stream in streams[:5]:
        stream.number = recency.add(stream)
        neighbours.add(stream.source.key, stream)
    for index in (4, 0, 2, 3):
        neighbours.remove(streams[index])
        recency.remove(streams[index].number)
    streams[5].number = recency.add(streams[5])
    assert neighbours.add(streams[5].source.key, streams[5]) == [streams[1]]
    for stream in (streams[1], streams[5]):
        neighbours.remove(stream)
        recency.remove(stream.number)
    assert neighbours.add(streams[0].source.key, streams[0]) is None
