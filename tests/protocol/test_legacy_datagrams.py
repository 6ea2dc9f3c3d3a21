"""Legacy text by the datagram, for the modules that ask for it: beside the lines, in order, counted once."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from zope.interface import implementer

from netconsd.interfaces import IOutputModule, ITakesLegacyDatagrams
from netconsd.outputs.runner import Outputs
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, LegacyMessage, Message
from netconsd.protocol.stream import Stream
from netconsd.protocol.table import SourceTable
from netconsd.receive.lanes import Workers
from netconsd.settings import Settings
from netconsd.testing import RecordingModule, extended, extended_message, legacy_message, source
from tests.support.outputs import HERE, done

SENDER = source("192.0.2.7")


@implementer(IOutputModule, ITakesLegacyDatagrams)
class Whole(RecordingModule):
    """A module that takes datagrams."""


def kinds(messages: list[Message]) -> list[tuple[str, bytes]]:
    """What came out: class and bytes."""
    return [(type(message).__name__, message.raw) for message in messages]


def fed(*datagrams: bytes, legacy_datagrams: bool = True) -> tuple[list[tuple[str, bytes]], WorkerCounters]:
    """What a stream makes of some datagrams."""
    counters = WorkerCounters()
    stream = Stream(SENDER, counters, 0.2, legacy_datagrams)
    out: list[Message] = []
    for datagram in datagrams:
        stream.feed(datagram, 5.0, 1000.0, out)
    stream.flush(out)
    return kinds(out), counters


def test_a_datagram_comes_whole_before_the_lines_that_end_in_it() -> None:
    """Each legacy datagram is handed out as it arrived, at once; the lines come as ever."""
    out, counters = fed(b"one\ntw", b"o\nthree\n")
    assert out == [
        ("LegacyDatagram", b"one\ntw"),
        ("LegacyMessage", b"one\n"),
        ("LegacyDatagram", b"o\nthree\n"),
        ("LegacyMessage", b"two\n"),
        ("LegacyMessage", b"three\n"),
    ]
    assert (counters.datagrams, counters.legacy, counters.lines, counters.messages) == (2, 2, 3, 3)


def test_nothing_is_added_where_nobody_asks() -> None:
    """Without being told to, a stream makes lines only."""
    assert fed(b"one\n", legacy_datagrams=False)[0] == [("LegacyMessage", b"one\n")]


def test_what_is_not_legacy_text_is_no_legacy_datagram() -> None:
    """Extended datagrams, and those without a byte, are not handed out whole; what is malformed is."""
    malformed = b"6,2,3,-,ncfrag=9/1;x\n"
    out, counters = fed(extended("x"), b"", malformed)
    assert [kind for kind, _ in out] == ["ExtendedMessage", "LegacyDatagram", "LegacyMessage"]
    assert out[1] == ("LegacyDatagram", malformed)
    assert (counters.dropped_empty, counters.malformed, counters.legacy) == (1, 1, 1)


def test_the_table_passes_it_on() -> None:
    """A table of senders that was told to does so for each of them."""
    table = SourceTable(WorkerCounters(), limit=9, hold=0.2, gc_interval=0, age=0, legacy_datagrams=True)
    out = table.feed([SENDER.key], [b"a\n"], 5.0, 1.0)
    assert kinds(out) == [("LegacyDatagram", b"a\n"), ("LegacyMessage", b"a\n")]
    assert out[0].source is out[1].source


@pytest.mark.parametrize("asked", [False, True])
def test_workers_pass_it_on(asked: bool) -> None:
    """Workers that were told to deliver datagrams, and others do not."""
    delivered: list[Message] = []
    reactor: Any = HERE
    workers = Workers(
        lambda worker, messages: delivered.extend(messages),
        Settings(workers=1),
        reactor=reactor,
        legacy_datagrams=asked,
    )
    (lane,) = workers.lanes
    lane.put([SENDER.key], [b"a\n"], 5.0, 1.0)
    lane._turn()
    assert [type(message) for message in delivered] == [LegacyDatagram] * asked + [LegacyMessage]


def test_what_a_datagram_says() -> None:
    """It has the sender, the time and the bytes; its text is all of it, and what only lines know is None."""
    datagram = LegacyDatagram(SENDER, 12.5, b"<6>[    1.000000] a\nb\xff\n")
    assert (datagram.source, datagram.received_at, datagram.raw) == (SENDER, 12.5, b"<6>[    1.000000] a\nb\xff\n")
    assert datagram.text == "<6>[    1.000000] a\nb\\xff"
    assert (datagram.level, datagram.facility, datagram.ts_usec, datagram.caller) == (None, None, None, None)
    assert repr(datagram) == f"<LegacyDatagram from 192.0.2.7: {datagram.raw!r}>"


def test_a_datagram_is_a_value() -> None:
    """Datagrams can be compared, hashed and pickled; a line with the same bytes is another thing."""
    datagram = LegacyDatagram(SENDER, 12.5, b"a\n")
    assert pickle.loads(pickle.dumps(datagram)) == datagram == LegacyDatagram(SENDER, 12.5, b"a\n")
    assert len({datagram, LegacyDatagram(SENDER, 12.5, b"a\n")}) == 1
    assert datagram != LegacyMessage(SENDER, 12.5, b"a\n")


def outputs(**modules: Any) -> Outputs:
    """The modules, running."""
    made = Outputs(modules, 1)
    done(made.start(HERE))
    return made


def test_who_takes_datagrams_gets_no_lines_and_the_others_no_datagrams() -> None:
    """Both kinds of module side by side: each gets legacy text once, and every extended message, in order."""
    whole, lines = Whole(), RecordingModule()
    running = outputs(whole=whole, lines=lines)
    assert running.legacy_datagrams
    batch = [LegacyDatagram(SENDER, 5.0, b"a\nb\n"), legacy_message("a"), legacy_message("b"), extended_message("x")]
    running.deliver(0, batch)
    assert [type(message) for message in whole.messages] == [LegacyDatagram, ExtendedMessage]
    assert [message.text for message in lines.messages] == ["a", "b", "x"]
    assert [output.counters[0].messages for output in running.started] == [2, 3]


def test_a_module_for_which_nothing_is_left_is_not_called() -> None:
    """A batch always has a message: a datagram that ends no line is no call for those who take lines."""
    whole, lines = Whole(), RecordingModule()
    running = outputs(whole=whole, lines=lines)
    running.deliver(0, [LegacyDatagram(SENDER, 5.0, b"no newline")])
    assert [output.counters[0].batches for output in running.started] == [1, 0]


def test_where_no_module_asks_nobody_looks() -> None:
    """Modules that say nothing of datagrams get the very list that the worker made."""
    running = outputs(lines=RecordingModule())
    assert not running.legacy_datagrams
    given: list[Any] = []
    vars(running.started[0])["handle"] = lambda worker, messages: given.append(messages)
    batch: list[Message] = [legacy_message("a")]
    running.deliver(0, batch)
    assert given[0] is batch
