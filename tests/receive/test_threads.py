"""What several threads read while a lane's thread changes it. With the GIL off, mistakes here end the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from netconsd.message import ExtendedMessage, LegacyMessage, Message, Source
from netconsd.protocol.counters import COUNTERS, DATAGRAM_OUTCOMES, MESSAGE_KINDS
from netconsd.protocol.decode import decode
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from tests.support.scripted_lane import PATIENCE

BATCHES = 400
KEY = Source(bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 7)), 6665).key


def at_once(*functions: Callable[[], object]) -> None:
    """Call each function in a thread of its own, all at the same time; raise what one of them raised."""
    barrier = threading.Barrier(len(functions))
    errors: list[BaseException] = []

    def call(function: Callable[[], object]) -> None:
        try:
            barrier.wait(PATIENCE)
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads)


def gaps(batch: int) -> list[bytes]:
    """Records with forged seqs: each adds up to 2**64 to the worker's `missing`."""
    return [b"6,%d,%d,-;hello\n" % (batch * 2**50 + number * 2**40, batch + 1) for number in range(1, 17)]


def test_the_counters_of_a_lane_are_of_one_moment() -> None:
    """Whoever reads the counters of a lane at work gets numbers whose sums hold."""
    lane = Lane(0, lambda number, messages: None, Settings(reorder=0.0))
    ended, read_once = threading.Event(), threading.Event()
    lane.start(ended.set)

    def read() -> None:
        while not ended.is_set():
            counters = lane.counters
            values: dict[str, Any] = {name: getattr(counters, name) for name in COUNTERS}
            read_once.set()
            assert all(type(value) is int and 0 <= value < 2**64 for value in values.values()), values
            assert values["datagrams"] == sum(values[name] for name in DATAGRAM_OUTCOMES)
            assert values["messages"] == sum(values[name] for name in MESSAGE_KINDS)

    def feed() -> None:
        # A lane can process everything before a thread of the readers runs for the first time.
        assert read_once.wait(PATIENCE)
        for batch in range(BATCHES):
            datagrams = gaps(batch)
            lane.put([KEY] * len(datagrams), datagrams, 1.0 + batch, 1.0 + batch)
        lane.stop()

    at_once(feed, read, read)
    assert lane.counters.datagrams == 16 * BATCHES
    assert lane.counters.missing >= 2**40


def test_parts_of_messages_are_counted_when_a_worker_is_given_up() -> None:
    """A fragment, an unfinished line and no whole record: the count follows the lane, and ends at 0."""
    lane = Lane(0, lambda number, messages: None, Settings(), clock=lambda: 0.0)
    other = Source(bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 8)), 6665).key
    seen = []
    for step, (key, datagram) in enumerate(
        [(KEY, b"6,1,1,-,ncfrag=0/20;0123456789"), (other, b"half a line"), (KEY, b"6,2,2,-;whole\n")]
    ):
        lane.put([key], [datagram], 1.0, 1.0 + step / 1000)
        lane._turn()
        lane.give_up()
        seen.append(lane.given_up)
    lane.put([KEY], [b"6,1,1,-,ncfrag=10/20;012345678\n"], 1.0, 1.004)
    lane._turn()
    lane.give_up()
    seen.append(lane.given_up)
    lane.stop()
    lane._turn()
    lane.give_up()
    assert [*seen, lane.given_up] == [1, 2, 2, 1, 0]


def fresh() -> list[Message]:
    """Messages that nobody has read."""
    source = Source.from_key(KEY)
    body = b"text\n SUBSYSTEM=usb\n DEVICE=+usb:1-1\n key=value\n cpu=1\n"
    records = [decode(b"6,%d,%d,-;%s" % (seq, seq, body), source, 1.0) for seq in range(1, 51)]
    return [
        *(record for record in records if isinstance(record, ExtendedMessage)),
        *(LegacyMessage(source, 1.0, b"<6>[   12.345678] line\n") for _ in range(50)),
    ]


def read_everything(message: Message) -> tuple[Any, ...]:
    """Each value that is computed when it is read."""
    more = (message.dictionary, message.userdata, message.cpu) if isinstance(message, ExtendedMessage) else ()
    return message.source.address, message.source.shared, message.text, message.level, message.ts_usec, *more


def test_modules_read_the_same_messages_at_once() -> None:
    """The threads of several modules get equal values from the same messages, while the lane marks the sender."""
    expected = [read_everything(message)[2:] for message in fresh()]
    for _ in range(20):
        messages = fresh()
        results: list[list[tuple[Any, ...]]] = []

        def read(messages: list[Message] = messages, results: list[list[tuple[Any, ...]]] = results) -> None:
            results.append([read_everything(message) for message in messages])

        at_once(read, read, read, messages[0].source.share)
        assert len(results) == 3
        for result in results:
            assert [values[2:] for values in result] == expected
            assert {values[0] for values in result} == {"192.0.2.7"}
        assert len(messages) == 100
        assert messages[0].source.shared
