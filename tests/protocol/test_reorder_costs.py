"""The bound on held bytes rests on their cost: the cost is close to the memory that is taken."""

from __future__ import annotations

import pytest

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.decode import RELEASE_LIMIT
from netconsd.protocol.table import SourceTable
from netconsd.testing import source
from tests.support.memory import bytes_for

REORDER_TIME = 0.2
# The memory may be this many times the cost. A bytearray that grows has an eighth in reserve.
FACTOR = 1.25
# The longest possible header, because its bytes are not counted.
RELEASE = b"r" * RELEASE_LIMIT
CALLER = b",caller=T" + b"1" * 19
# Seqs and timestamps that are objects of their own in plain Python.
FIRST = 2**40
USEC = 2**45
# Seconds after which a table holds nothing.
SETTLED = 10.0


def record(behind: int, keys: bytes = b"", body: bytes = b"x") -> bytes:
    """A record that is this many seqs after the sender's first."""
    return b"%b,6,%d,%d,-%b%b;%b" % (RELEASE, FIRST + behind, USEC + behind * 100, CALLER, keys, body)


def fragment(behind: int, offset: int, piece: bytes) -> bytes:
    """A fragment of a record, at an offset above 256, which is an object of its own in plain Python."""
    return record(behind, b",ncfrag=%d/100000" % (257 + offset), piece)


def table(senders: int, *datagrams: bytes, apart: float = 0.0) -> SourceTable:
    """A table of senders that sent records in order and a duplicate, and then these datagrams.

    :param apart: seconds between one datagram of a sender and the next.
    """
    result = SourceTable(
        WorkerCounters(), limit=senders, reorder_time=REORDER_TIME, gc_interval=0, age=1.0, held_limit=2**40
    )
    keys = [source(f"10.0.{number >> 8}.{number & 255}").key for number in range(senders)]
    # The duplicate makes the sender allocate its rare counters.
    for datagram in (record(0), record(1), record(1)):
        result.feed(keys, [datagram] * senders, 5.0, 0.0)
    # The duplicate is held for a while, because it may be the begin of a replayed buffer.
    result.advance(SETTLED)
    assert result.held_bytes == 0
    for number, datagram in enumerate(datagrams, 1):
        result.feed(keys, [datagram] * senders, 5.0 + number, SETTLED + number * apart)
    return result


@pytest.mark.parametrize(
    ("senders", "datagrams", "apart"),
    [
        pytest.param(500, [record(9)], 0.0, id="a message behind a gap"),
        pytest.param(500, [record(9), record(10)], REORDER_TIME / 15, id="two messages one after the other"),
        pytest.param(500, [record(9, body=b"x" * 1000)], 0.0, id="a large message behind a gap"),
        pytest.param(3, [record(9 + number) for number in range(1000)], 0.0, id="many messages behind a gap"),
        pytest.param(500, [fragment(9, 0, b"y")], 0.0, id="a tiny fragment"),
        pytest.param(
            200, [fragment(9 + number, 0, b"y") for number in range(15)], 0.0, id="fragments of many messages"
        ),
        pytest.param(5, [fragment(9, 2 * number, b"y") for number in range(500)], 0.0, id="many of one byte"),
        # A single byte is the same object wherever there is one; two are not.
        pytest.param(5, [fragment(9, 3 * number, b"yy") for number in range(500)], 0.0, id="many of two bytes"),
        pytest.param(500, [b"l"], 0.0, id="an unfinished line"),
        pytest.param(10, [b"l"] * 2000, 0.0, id="an unfinished line in many pieces"),
    ],
)
def test_the_memory_of_held_messages(senders: int, datagrams: list[bytes], apart: float) -> None:
    """Forged senders that each hold little or much take at most a quarter more memory than their cost."""
    cost = 0

    def holding() -> SourceTable:
        nonlocal cost
        result = table(senders, *datagrams, apart=apart)
        cost = result.held_bytes
        return result

    taken = bytes_for(holding) - bytes_for(lambda: table(senders))
    assert cost > senders * len(datagrams), "not all datagrams are held"
    assert taken < FACTOR * cost
