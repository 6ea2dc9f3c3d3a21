"""What a sender that is remembered costs: the table in docs/security says so, and holds in both builds."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.bounds import SENDER_BYTES
from benchmarks.scenarios import Build
from netconsd.build import COMPILED
from netconsd.testing import extended, source
from tests.support.compare_builds import AsImported
from tests.support.memory import bytes_for
from tests.support.plain_build import PlainBuild

BUILDS: dict[Build, Any] = {"compiled": AsImported(), "plain": PlainBuild()} if COMPILED else {"plain": AsImported()}
# Of all numbers of senders these take the most: the table of a dict, made anew while senders come and go, has room for
# three times as many, and that is a little more than a power of two.
LIMIT = 2**8 // 3 + 1
# So many messages that the window is full, and that no number is one of the small ones that Python has once.
MESSAGES = 260
REORDER_TIME = 0.2
# What is allocated is rounded up to 16 bytes each time, and there is some waste between: a tenth, measured as resident
# memory with 50,000 senders, in both builds.
WASTE = 1.1
# An IPv6 address has the longest text.
NETWORK = "2001:db8:1111:2222:3333:4444:5555:"


def in_order(number: int, turn: int) -> bytes:
    """A kernel's log; the numbers are as large as they get."""
    return extended("x", seq=2**40 + turn, ts_usec=2**45 + number * MESSAGES + turn, msgid=10**9 + turn)


def with_a_gap(number: int, turn: int) -> bytes:
    """Only one gap, in the middle; it is given up, and there is a window from then on."""
    return in_order(number, turn + (200 if turn > MESSAGES // 2 else 0))


def with_gaps(number: int, turn: int) -> bytes:
    """All that there is to count of a sender: numbers that are missing, and messages that are lost."""
    return extended("x", seq=2**40 + 3 * turn, ts_usec=2**45 + number * MESSAGES + turn, msgid=10**9 + 3 * turn)


def legacy(number: int, turn: int) -> bytes:
    """A line at a time."""
    return b"line %d\n" % turn


def both(number: int, turn: int) -> bytes:
    """Lines, too, and each has to wait for its end, which does not come."""
    return with_gaps(number, turn) if turn % 2 else b"half a line"


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("log", [in_order, with_a_gap, with_gaps, legacy, both])
def test_a_sender_costs_what_it_is_said_to(name: Build, log: Any) -> None:
    """Nothing that a sender sends makes what is remembered of it, while nothing of it waits, cost more than that:
    with the time of its rate, and the text of its address, which a module has asked for."""

    build = BUILDS[name]

    def full() -> Any:
        table = build.table.SourceTable(
            build.counters.WorkerCounters(),
            limit=LIMIT,
            reorder_time=REORDER_TIME,
            gc_interval=60.0,
            age=3600.0,
            rate=1e6,
        )
        now = 1000.0
        # Those before are pushed out, every one.
        for first, messages in ((LIMIT, 1), (0, MESSAGES)):
            keys = [source(f"{NETWORK}{first + number:x}").key for number in range(LIMIT)]
            for turn in range(messages):
                datagrams = [log(number, turn) for number in range(LIMIT)]
                now += REORDER_TIME
                for message in table.feed(keys, datagrams, now, now):
                    assert message.source.address
        table.advance(now + REORDER_TIME)
        assert len(table) == LIMIT
        assert table.held_bytes == 0
        return table

    assert bytes_for(full) / LIMIT * WASTE < SENDER_BYTES[name]
