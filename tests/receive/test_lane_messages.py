"""Messages that another netconsd has decoded: they are counted, and every kind of module gets them."""

from __future__ import annotations

from netconsd.message import LegacyDatagram, LegacyMessage, Message
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from netconsd.testing import extended_message, legacy_message
from tests.support.scripted_lane import Delivered, SameThread, lane_with, run


def test_they_are_counted() -> None:
    """They are delivered as they are, counted as taken, and their places are released."""
    delivered = Delivered()
    lane = lane_with(delivered)
    messages: list[Message] = [extended_message("one"), legacy_message("two")]
    lane.put_messages(list(messages), 1.0)
    assert lane.backlog == 2
    run(lane)
    assert delivered.messages == messages
    assert (lane.counters.messages, lane.counters.taken, lane.counters.records, lane.backlog) == (2, 2, 0, 0)


def test_a_line_is_a_datagram_as_well() -> None:
    """If a module takes legacy text by the datagram, each line comes as a datagram before it, and is counted once."""
    delivered = Delivered()
    lane = Lane(0, delivered, Settings(workers=1), legacy_datagrams=True, clock=lambda: 0.0, thread=SameThread)
    line = legacy_message("two")
    lane.put_messages([extended_message("one"), line], 1.0)
    run(lane)
    assert [type(message) for message in delivered.messages[1:]] == [LegacyDatagram, LegacyMessage]
    datagram = delivered.messages[1]
    assert (datagram.source, datagram.raw, datagram.received_at) == (line.source, line.raw, line.received_at)
    assert lane.counters.taken == 2
