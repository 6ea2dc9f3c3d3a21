"""The bound on what waits rests on what is counted for it: that is as much memory as it really takes, or nearly."""

from __future__ import annotations

import pytest

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.decode import RELEASE_LIMIT
from netconsd.protocol.table import SourceTable
from netconsd.testing import source
from tests.support.memory import bytes_for

REORDER_TIME = 0.2
# How much more memory something may take than is counted for it. A line that grows has an eighth of it in reserve.
FACTOR = 1.25
# The longest header that a stranger can send, because what it takes is not counted byte by byte.
RELEASE = b"r" * RELEASE_LIMIT
CALLER = b",caller=T" + b"1" * 19
# Numbers and time stamps that are objects of their own in plain Python.
FIRST = 2**40
USEC = 2**45


def record(behind: int, keys: bytes = b"", body: bytes = b"x") -> bytes:
    """A record so many numbers behind the sender's first one."""
    return b"%b,6,%d,%d,-%b%b;%b" % (RELEASE, FIRST + behind, USEC + behind * 100, CALLER, keys, body)


def fragment(behind: int, offset: int, piece: bytes) -> bytes:
    """A part of a record; of pieces further on than 256 also the places are objects of their own."""
    return record(behind, b",ncfrag=%d/100000" % (257 + offset), piece)


def table(senders: int, *datagrams: bytes, apart: float = 0.0) -> SourceTable:
    """Senders that have sent in order, with all that stays of that, and then these datagrams.

    :param apart: seconds between one datagram of a sender and the next.
    """
    result = SourceTable(
        WorkerCounters(), limit=senders, reorder_time=REORDER_TIME, gc_interval=0, age=1.0, held_limit=2**40
    )
    keys = [source(f"10.0.{number >> 8}.{number & 255}").key for number in range(senders)]
    # The last one is a repeat: counters of what is out of the ordinary are made with the first of it.
    for datagram in (record(0), record(1), record(1)):
        result.feed(keys, [datagram] * senders, 5.0, 0.0)
    for number, datagram in enumerate(datagrams, 1):
        result.feed(keys, [datagram] * senders, 5.0 + number, number * apart)
    return result


@pytest.mark.parametrize(
    ("senders", "datagrams", "apart"),
    [
        pytest.param(3000, [record(9)], 0.0, id="a message behind a gap"),
        pytest.param(3000, [record(9), record(10)], REORDER_TIME / 15, id="two messages that came one after the other"),
        pytest.param(3000, [record(9, body=b"x" * 1000)], 0.0, id="a large message behind a gap"),
        pytest.param(3, [record(9 + number) for number in range(1000)], 0.0, id="many messages behind a gap"),
        pytest.param(3000, [fragment(9, 0, b"y")], 0.0, id="a tiny fragment"),
        pytest.param(200, [fragment(9 + number, 0, b"y") for number in range(15)], 0.0, id="one of many messages each"),
        pytest.param(5, [fragment(9, 2 * number, b"y") for number in range(500)], 0.0, id="many of one byte"),
        # A single byte is the same object wherever there is one; two are not.
        pytest.param(5, [fragment(9, 3 * number, b"yy") for number in range(500)], 0.0, id="many of two bytes"),
        pytest.param(3000, [b"l"], 0.0, id="an unfinished line"),
        pytest.param(10, [b"l"] * 2000, 0.0, id="an unfinished line in many pieces"),
    ],
)
def test_what_waits_takes_as_much_memory_as_is_counted(senders: int, datagrams: list[bytes], apart: float) -> None:
    """A stranger who forges senders, each with the least that is kept, or with much of it, makes us keep no more than
    a quarter above what is counted."""
    counted = 0

    def waiting() -> SourceTable:
        nonlocal counted
        result = table(senders, *datagrams, apart=apart)
        counted = result.held_bytes
        return result

    taken = bytes_for(waiting) - bytes_for(lambda: table(senders))
    assert counted > senders * len(datagrams), "not all of it waits"
    assert taken < FACTOR * counted
