"""Whole legacy datagrams, for modules that take them: besides the lines, in order, counted once."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface import implementer

from netconsd.interfaces import IOutputModule, ITakesLegacyDatagrams
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, LegacyMessage, Message
from netconsd.protocol.stream import Stream
from netconsd.protocol.table import SourceTable
from netconsd.receive.lanes import Workers
from netconsd.settings import Settings
from netconsd.testing import RecordingModule, extended, extended_message, legacy_message, source
from tests.support.outputs import Synchronous

SENDER = source("192.0.2.7")
# One worker and fast modules need none.
NO_REACTOR: Any = None


@implementer(IOutputModule, ITakesLegacyDatagrams)
class Whole(RecordingModule):
    """A module that takes legacy datagrams."""


def kinds(messages: list[Message]) -> list[tuple[str, bytes]]:
    """Class and bytes of each message."""
    return [(type(message).__name__, message.raw) for message in messages]


def fed(*datagrams: bytes, legacy_datagrams: bool = True) -> tuple[list[tuple[str, bytes]], WorkerCounters]:
    """The messages and counters of a stream that was fed these datagrams."""
    counters = WorkerCounters()
    stream = Stream(SENDER, counters, 0.2, legacy_datagrams)
    out: list[Message] = []
    for datagram in datagrams:
        stream.feed(datagram, 5.0, 1000.0, out)
    stream.flush(out)
    return kinds(out), counters


def test_a_datagram_is_delivered_before_the_lines_that_end_in_it() -> None:
    """Each legacy datagram is delivered at once, before the lines that end in it; it is not counted as a message."""
    out, counters = fed(b"one\ntw", b"o\nthree\n")
    assert out == [
        ("LegacyDatagram", b"one\ntw"),
        ("LegacyMessage", b"one\n"),
        ("LegacyDatagram", b"o\nthree\n"),
        ("LegacyMessage", b"two\n"),
        ("LegacyMessage", b"three\n"),
    ]
    assert (counters.datagrams, counters.legacy, counters.lines, counters.messages) == (2, 2, 3, 3)


def test_by_default_only_lines_are_delivered() -> None:
    """Without ``legacy_datagrams`` a stream delivers lines only."""
    assert fed(b"one\n", legacy_datagrams=False)[0] == [("LegacyMessage", b"one\n")]


def test_other_datagrams_are_not_delivered_whole() -> None:
    """Extended and empty datagrams are not delivered whole; a malformed one is."""
    malformed = b"6,2,3,-,ncfrag=9/1;x\n"
    out, counters = fed(extended("x"), b"", malformed)
    assert [kind for kind, _ in out] == ["ExtendedMessage", "LegacyDatagram", "LegacyMessage"]
    assert out[1] == ("LegacyDatagram", malformed)
    assert (counters.dropped_empty, counters.malformed, counters.legacy) == (1, 1, 1)


def test_the_table_passes_the_setting_to_its_streams() -> None:
    """A table with ``legacy_datagrams`` delivers them for each sender."""
    table = SourceTable(WorkerCounters(), limit=9, reorder_time=0.2, gc_interval=0, age=0, legacy_datagrams=True)
    out = table.feed([SENDER.key], [b"a\n"], 5.0, 1.0)
    assert kinds(out) == [("LegacyDatagram", b"a\n"), ("LegacyMessage", b"a\n")]
    assert out[0].source is out[1].source


@pytest.mark.parametrize("legacy_datagrams", [False, True])
def test_workers_pass_the_setting_to_their_tables(legacy_datagrams: bool) -> None:
    """Workers deliver legacy datagrams only with ``legacy_datagrams``."""
    delivered: list[Message] = []
    workers = Workers(
        lambda worker, messages: delivered.extend(messages),
        Settings(workers=1),
        reactor=NO_REACTOR,
        legacy_datagrams=legacy_datagrams,
    )
    (lane,) = workers.lanes
    lane.put([SENDER.key], [b"a\n"], 5.0, 1.0)
    lane._turn()
    assert [type(message) for message in delivered] == [LegacyDatagram] * legacy_datagrams + [LegacyMessage]


def test_the_attributes_of_a_datagram() -> None:
    """A legacy datagram has source, time and bytes; its text is all of it, and the fields of a line are None."""
    datagram = LegacyDatagram(SENDER, 12.5, b"<6>[    1.000000] a\nb\xff\n")
    assert (datagram.source, datagram.received_at, datagram.raw) == (SENDER, 12.5, b"<6>[    1.000000] a\nb\xff\n")
    assert datagram.text == "<6>[    1.000000] a\nb\\xff"
    assert (datagram.level, datagram.facility, datagram.ts_usec, datagram.caller) == (None, None, None, None)
    assert repr(datagram) == f"<LegacyDatagram from 192.0.2.7: {datagram.raw!r}>"


def test_a_datagram_is_a_value() -> None:
    """Legacy datagrams are compared, hashed and pickled by value; a line with the same bytes is different."""
    datagram = LegacyDatagram(SENDER, 12.5, b"a\n")
    assert pickle.loads(pickle.dumps(datagram)) == datagram == LegacyDatagram(SENDER, 12.5, b"a\n")
    assert len({datagram, LegacyDatagram(SENDER, 12.5, b"a\n")}) == 1
    assert datagram != LegacyMessage(SENDER, 12.5, b"a\n")


def outputs(**modules: Any) -> Synchronous:
    """Modules that were started."""
    running = Synchronous(modules, 1)
    Deferred.fromCoroutine(running.start(NO_REACTOR))
    return running


def test_a_module_gets_datagrams_or_lines() -> None:
    """A module that takes legacy datagrams gets no lines, another one no datagrams; both get extended messages."""
    whole, lines = Whole(), RecordingModule()
    running = outputs(whole=whole, lines=lines)
    assert running.legacy_datagrams
    batch = [LegacyDatagram(SENDER, 5.0, b"a\nb\n"), legacy_message("a"), legacy_message("b"), extended_message("x")]
    running.deliver(0, batch)
    assert [type(message) for message in whole.messages] == [LegacyDatagram, ExtendedMessage]
    assert [message.text for message in lines.messages] == ["a", "b", "x"]
    assert [output.counters[0].messages for output in running.started] == [2, 3]


def test_no_module_gets_an_empty_batch() -> None:
    """A module that takes lines is not called for a datagram in which no line ends."""
    whole, lines = Whole(), RecordingModule()
    running = outputs(whole=whole, lines=lines)
    running.deliver(0, [LegacyDatagram(SENDER, 5.0, b"no newline")])
    assert [output.counters[0].batches for output in running.started] == [1, 0]


def test_without_such_a_module_batches_are_not_copied() -> None:
    """Without a module that takes legacy datagrams, the modules get the worker's own list."""
    running = outputs(lines=RecordingModule())
    assert not running.legacy_datagrams
    batches: list[Any] = []
    vars(running.started[0])["handle"] = lambda worker, messages: batches.append(messages)
    batch: list[Message] = [legacy_message("a")]
    running.deliver(0, batch)
    assert batches[0] is batch
