"""``--rate`` drops neither emergencies nor the rest of a crash, within a bound, and marks the next message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from netconsd.protocol.counters import WorkerCounters, inconsistencies, total
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, LegacyMessage, Message
from netconsd.protocol.table import (
    BURST_SECONDS,
    CRASH_DATAGRAMS,
    CRASH_REFILL_SECONDS,
    CRASH_SECONDS,
    LIMITED_SECONDS,
    LIMITED_SENDERS,
    SourceTable,
)
from netconsd.testing import extended, fragments, legacy, source

RATE = 10.0
BURST = round(RATE * BURST_SECONDS)
SENDER = source("192.0.2.1").key
OTHER = source("192.0.2.2").key


class Harness:
    """A table with a rate of 10 datagrams per second and a scripted clock."""

    def __init__(self, **options: Any) -> None:
        self.counters = WorkerCounters()
        options = {"limit": 10_000, "reorder_time": 0.2, "gc_interval": 0.0, "age": 0.0, "rate": RATE} | options
        self.table = SourceTable(self.counters, **options)
        self.now = 0.0
        self.seq = 0

    def feed(self, *datagrams: bytes, sender: bytes = SENDER) -> list[Message]:
        return self.table.feed([sender] * len(datagrams), list(datagrams), 5.0, self.now)

    def record(self, text: str, level: int = 6) -> bytes:
        """The sender's next record."""
        self.seq += 1
        return extended(text, seq=self.seq, level=level)

    def records(self, texts: Iterable[str], level: int = 6) -> list[bytes]:
        return [self.record(text, level) for text in texts]

    def exhaust(self) -> None:
        """Use up the sender's burst."""
        self.feed(*self.records(["noise"] * BURST))
        assert self.counters.dropped_over_rate == 0


def texts(messages: list[Message]) -> list[str]:
    """The texts of messages."""
    return [message.text for message in messages]


def test_the_end_of_a_crash_is_not_dropped() -> None:
    """A crash of 401 lines whose first line is within the rate arrives completely, the panic included."""
    harness = Harness()
    lines = ["BUG: kernel NULL pointer dereference, address: 0", *(f" line{n}+0x1/0x2" for n in range(399))]
    out = harness.feed(*harness.records(lines, 4), harness.record("Kernel panic - not syncing", 0))
    assert texts(out) == [*lines, "Kernel panic - not syncing"]
    assert harness.counters.dropped_over_rate == 0
    assert harness.counters.accepted_over_rate == 401 - BURST


@pytest.mark.parametrize(
    "make",
    [
        lambda text, level: legacy(text),
        lambda text, level: b"<%d>" % level + legacy(text),
        lambda text, level: extended(text, seq=level, level=level),
    ],
)
@pytest.mark.parametrize(("text", "level"), [("out of battery", 0), ("Oops: general protection fault", 4)])
def test_an_urgent_datagram_of_a_limited_sender(make: Any, text: str, level: int) -> None:
    """A limited sender's emergencies (with a level) and first lines of crashes pass, and the lines after them."""
    harness = Harness()
    harness.feed(*[b"noise\n"] * (BURST + 5))
    assert harness.counters.dropped_over_rate == 5
    datagram = make(text, level)
    passes = text.startswith("Oops") or datagram != legacy(text)
    out = harness.feed(datagram, b"the next line\n")
    assert (len(out) == 2) == passes
    assert harness.counters.dropped_over_rate == (5 if passes else 7)


def test_fragments_of_an_emergency() -> None:
    """A limited sender's emergency in several fragments arrives complete."""
    harness = Harness()
    harness.exhaust()
    (message,) = harness.feed(*fragments(harness.record("x" * 3000, 0), 1000))
    assert isinstance(message, ExtendedMessage)
    assert (len(message.text), message.incomplete) == (3000, False)


def test_a_crash_ends() -> None:
    """CRASH_SECONDS after the last urgent line, a sender is limited by its rate again."""
    harness = Harness()
    flood = ["noise"] * 1000
    harness.exhaust()
    assert len(harness.feed(*harness.records(["BUG: x", *flood]))) == 1001
    harness.now += CRASH_SECONDS - 0.1
    assert len(harness.feed(*harness.records(flood))) == 1000
    harness.now += 0.1
    assert len(harness.feed(*harness.records(flood))) <= RATE * CRASH_SECONDS + 1


def test_a_flood_of_forged_emergencies_is_limited() -> None:
    """A flood of emergencies passes at the rate, plus CRASH_DATAGRAMS at once and again per CRASH_REFILL_SECONDS."""
    harness = Harness()
    seconds = 1200
    sent = 0
    for second in range(seconds):
        harness.now = float(second)
        harness.feed(*[b"<0>forged\n"] * 100)
        sent += 100
    bound = RATE * (seconds + BURST_SECONDS) + CRASH_DATAGRAMS * (1 + seconds / CRASH_REFILL_SECONDS)
    assert harness.counters.lines == pytest.approx(bound, rel=0.01)
    assert harness.counters.dropped_over_rate == sent - harness.counters.lines
    assert inconsistencies(total([harness.counters])) == []


def test_a_crash_costs_no_other_sender() -> None:
    """The crash of one sender does not raise another's limit."""
    harness = Harness()
    harness.feed(harness.record("BUG: x"))
    harness.feed(*[b"noise\n"] * 2 * BURST, sender=OTHER)
    assert harness.counters.dropped_over_rate == BURST


# The mark.


def test_the_next_message_has_the_number_of_dropped_datagrams() -> None:
    """``limited`` is the number of the sender's datagrams dropped just before; other messages have 0."""
    harness = Harness()
    harness.exhaust()
    assert harness.feed(*harness.records(["noise"] * 202)) == []
    assert [message.limited for message in harness.feed(b"other\n", sender=OTHER)] == [0]
    harness.now += 1.0
    marked, unmarked = harness.feed(b"a\n", b"b\n")
    assert (marked.limited, unmarked.limited) == (202, 0)


def test_a_message_delivered_at_its_deadline_is_marked() -> None:
    """A message that was held for order carries the mark as well."""
    harness = Harness()
    harness.feed(*harness.records(["noise"] * (BURST - 1)))
    harness.seq += 1
    assert harness.feed(harness.record("held")) == []
    harness.feed(*[b"noise\n"] * 7)
    (held,) = harness.table.advance(harness.now + 1.0)
    assert (held.text, held.limited) == ("held", 7)


@pytest.mark.parametrize("how", ["flush", "evict"])
def test_a_message_delivered_at_the_end_is_marked(how: str) -> None:
    """A message that is delivered at the stop, or because its sender is evicted, carries the mark as well."""
    harness = Harness(limit=1)
    harness.feed(*harness.records(["noise"] * (BURST - 1)))
    harness.seq += 1
    harness.feed(harness.record("held"), *[b"noise\n"] * 7)
    out = harness.table.flush() if how == "flush" else harness.feed(b"other\n", sender=OTHER)
    assert (out[0].text, out[0].limited) == ("held", 7)


def test_whole_datagrams_and_lines_are_each_marked_once() -> None:
    """A module that takes datagrams of legacy text sees the number once, as does one that takes lines."""
    harness = Harness(legacy_datagrams=True)
    harness.feed(*[b"noise\n"] * (BURST + 5))
    harness.now += 1.0
    out = harness.feed(b"unfinished", b", now finished\n", b"more\n")
    assert [message.limited for message in out if isinstance(message, LegacyDatagram)] == [5, 0, 0]
    assert [message.limited for message in out if isinstance(message, LegacyMessage)] == [5, 0]
    harness.feed(*[b"noise\n"] * 20)
    dropped = harness.counters.dropped_over_rate - 5
    harness.now += 1.0
    out = harness.feed(harness.record("whole"), b"line\n")
    assert [message.limited for message in out] == [dropped, 0, 0]


# The senders for the log.


def test_a_limitation_begins_once() -> None:
    """The begin of a limitation is counted and named, once until LIMITED_SECONDS pass without a drop."""
    harness = Harness()
    harness.feed(*[b"noise\n"] * (BURST + 1))
    for _ in range(100):
        harness.now += LIMITED_SECONDS / 2
        harness.feed(*[b"noise\n"] * 2 * BURST * 3)
    assert harness.counters.senders_limited == 1
    assert [one.address for one in harness.table.limited] == ["192.0.2.1"]
    harness.now += LIMITED_SECONDS
    harness.feed(*[b"noise\n"] * (RATE_OF_A_MINUTE + BURST))
    assert harness.counters.senders_limited == 2


RATE_OF_A_MINUTE = round(RATE * LIMITED_SECONDS)


def test_the_named_senders_are_bounded() -> None:
    """Of thousands of forged senders over the rate, the latest LIMITED_SENDERS are named; all are counted."""
    harness = Harness()
    for number in range(1000):
        key = source(f"198.51.{number // 250}.{number % 250}").key
        harness.feed(*[b"noise\n"] * (BURST + 1), sender=key)
    assert harness.counters.senders_limited == 1000
    assert [one.address for one in harness.table.limited] == [
        f"198.51.3.{n}" for n in range(250 - LIMITED_SENDERS, 250)
    ]
