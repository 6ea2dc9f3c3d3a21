"""The table of senders: bounds, eviction, ageing, deadlines, rates, counters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.counters import SENDER_COUNTERS, WorkerCounters
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import BURST_SECONDS, OUT_BYTES_LIMIT, TOTAL_HELD_BYTES_LIMIT, SourceTable
from netconsd.testing import extended, fragments, source
from tests.support.memory import bytes_for
from tests.support.traffic import datagrams

REORDER_TIME = 0.2


def key(number: int) -> bytes:
    """The key of a sender by number."""
    return source(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}").key


class Harness:
    """A table with a scripted clock."""

    def __init__(self, **options: Any) -> None:
        self.counters = WorkerCounters()
        options = {"limit": 100, "reorder_time": REORDER_TIME, "gc_interval": 60.0, "age": 3600.0} | options
        self.table = SourceTable(self.counters, **options)
        self.now = 0.0

    def feed(self, *pairs: tuple[int, bytes]) -> list[Message]:
        senders = [key(number) for number, _ in pairs]
        return self.table.feed(senders, [datagram for _, datagram in pairs], 5.0, self.now)

    def record(self, sender: int, seq: int, text: str = "x") -> list[Message]:
        return self.feed((sender, extended(text, seq=seq)))

    def advance(self, seconds: float) -> list[Message]:
        self.now += seconds
        return self.table.advance(self.now)


def seen(messages: list[Message]) -> list[tuple[str, int]]:
    """Address and seq of each message."""
    return [(m.source.address, m.seq) for m in messages if isinstance(m, ExtendedMessage)]


def test_senders_do_not_disturb_each_other() -> None:
    """A gap in one sender's records does not hold another sender's records of the same batch."""
    harness = Harness()
    harness.feed((1, extended("", seq=1)), (2, extended("", seq=1)))
    out = harness.feed((1, extended("", seq=3)), (2, extended("", seq=2)), (2, extended("", seq=3)))
    assert seen(out) == [("10.0.0.2", 2), ("10.0.0.2", 3)]


def test_ports_of_one_address_are_different_senders() -> None:
    """Two targets on one machine that send from two ports each have their own order."""
    table = SourceTable(WorkerCounters(), limit=10, reorder_time=REORDER_TIME, gc_interval=0, age=0)
    keys = [source("10.0.0.1", port).key for port in (6665, 6666)]
    out = table.feed(keys, [extended("", seq=5), extended("", seq=5)], 5.0, 0.0)
    assert [message.source.port for message in out] == [6665, 6666]
    assert len(table) == 2


def test_the_source_is_one_object_per_sender() -> None:
    """All messages of a sender share its Source."""
    harness = Harness()
    (first,) = harness.record(1, 1)
    (second,) = harness.record(1, 2)
    assert first.source is second.source
    assert first.source.packed == key(1)[:16]


def test_the_deadline_is_the_earliest_of_all_senders() -> None:
    """The next deadline is that of the message held longest, and ``NEVER`` if none is held."""
    harness = Harness(gc_interval=0)
    for sender in (1, 2):
        harness.record(sender, 1)
    assert harness.table.next_deadline() == NEVER
    harness.record(2, 5)
    harness.now = 0.1
    harness.record(1, 5)
    assert harness.table.next_deadline() == REORDER_TIME
    assert seen(harness.advance(REORDER_TIME - 0.1)) == [("10.0.0.2", 5)]
    assert harness.table.next_deadline() == 0.1 + REORDER_TIME
    assert seen(harness.advance(0.1)) == [("10.0.0.1", 5)]
    assert harness.table.next_deadline() == NEVER


def test_a_filled_gap_does_not_shorten_the_next() -> None:
    """After a gap was filled early, the next gap of the sender has its full reorder time."""
    harness = Harness(gc_interval=0)
    harness.record(1, 1)
    harness.record(1, 3)
    harness.now = 0.1
    harness.record(1, 2)
    harness.record(1, 5)
    assert harness.advance(REORDER_TIME - 0.1) == []
    assert harness.table.next_deadline() == 0.1 + REORDER_TIME
    assert seen(harness.advance(0.1)) == [("10.0.0.1", 5)]


def test_due_messages_are_delivered_with_the_next_batch() -> None:
    """Due messages are delivered with the next batch of any sender."""
    harness = Harness()
    harness.record(1, 1)
    harness.record(1, 3)
    harness.now = REORDER_TIME
    assert ("10.0.0.1", 3) in seen(harness.record(2, 1))


def test_a_further_sender_evicts_the_longest_silent_one() -> None:
    """The table stays within its limit; the sender that was silent longest is evicted, and returns with a reset."""
    harness = Harness(limit=3)
    for sender in (1, 2, 3):
        harness.now += 1
        harness.record(sender, 1)
    harness.now += 1
    harness.record(1, 2)
    harness.now += 1
    harness.record(4, 1)
    assert len(harness.table) == 3
    assert harness.counters.senders_evicted == 1
    (message,) = harness.record(1, 3)
    assert isinstance(message, ExtendedMessage)
    assert not message.seq_reset
    (message,) = harness.record(2, 2)
    assert isinstance(message, ExtendedMessage)
    assert message.seq_reset
    assert (harness.counters.senders_new, harness.counters.senders_evicted) == (5, 2)


def test_the_held_messages_of_an_evicted_sender_are_delivered() -> None:
    """An eviction delivers the sender's held messages, incomplete messages and unfinished line."""
    harness = Harness(limit=1)
    harness.record(1, 1)
    harness.record(1, 9)
    harness.feed((1, fragments(extended("long" * 400, seq=5))[0]))
    harness.feed((1, b"unfinished"))
    out = harness.record(2, 1)
    assert [message.text for message in out if not isinstance(message, ExtendedMessage)] == ["unfinished"]
    assert seen(out) == [("10.0.0.1", 5), ("10.0.0.1", 9), ("10.0.0.2", 1)]
    assert harness.table.held_bytes == 0
    assert harness.advance(10 * REORDER_TIME) == []


def test_silent_senders_are_removed() -> None:
    """A sender that was silent for the age is removed at the next interval; others stay."""
    harness = Harness(gc_interval=10.0, age=100.0)
    harness.record(1, 1)
    harness.now = 60.0
    harness.record(2, 1)
    remembered = {}
    while harness.table.next_deadline() != NEVER:
        harness.advance(harness.table.next_deadline() - harness.now)
        remembered[harness.now] = len(harness.table)
    assert remembered == {70: 2, 80: 2, 90: 2, 100: 1, 110: 1, 120: 1, 130: 1, 140: 1, 150: 1, 160: 0}
    assert harness.counters.senders_expired == 2


def test_the_held_messages_of_a_removed_sender_are_delivered() -> None:
    """Ageing delivers the held messages of removed senders, even if the age is shorter than the reorder time."""
    harness = Harness(gc_interval=0.05, age=0.1)
    harness.record(1, 1)
    harness.record(1, 5)
    harness.now = 0.15
    assert seen(harness.table.advance(harness.now)) == [("10.0.0.1", 5)]
    assert len(harness.table) == 0


def test_without_an_interval_no_sender_is_removed() -> None:
    """With an interval of 0 senders are not removed by age."""
    harness = Harness(gc_interval=0, age=0)
    harness.record(1, 1)
    assert harness.table.next_deadline() == NEVER
    harness.advance(10**9)
    assert len(harness.table) == 1


def test_forged_senders_with_gaps_cannot_fill_the_memory() -> None:
    """The held bytes of all senders stay within the bound; the messages held longest are released early."""
    limit = 50_000
    harness = Harness(held_limit=limit)
    delivered = []
    for sender in range(90):
        delivered += harness.record(sender, 1)
        delivered += harness.record(sender, 3, "y" * 900)
        assert harness.table.held_bytes <= limit
    early = [address for address, seq in seen(delivered) if seq == 3]
    assert early[:2] == ["10.0.0.0", "10.0.0.1"]
    assert harness.counters.released_early == len(early)
    assert len(early) + len(seen(harness.table.flush())) == 90


def test_a_filled_gap_does_not_count_as_held_longest() -> None:
    """Above the bound, a sender whose earlier gap was filled is not released before one whose gap is older."""
    harness = Harness(held_limit=4_000)
    harness.record(1, 1)
    harness.record(1, 3)
    harness.record(1, 2)
    harness.now = REORDER_TIME / 4
    harness.record(2, 1)
    harness.record(2, 3, "y" * 1500)
    harness.now = REORDER_TIME / 2
    harness.record(1, 5)
    early = harness.record(2, 5, "y" * 2500)
    assert seen(early) == [("10.0.0.2", 3), ("10.0.0.2", 5)]
    assert harness.counters.released_early == 1
    assert seen(harness.advance(REORDER_TIME)) == [("10.0.0.1", 5)]


def test_the_bound_has_room_for_500_large_messages() -> None:
    """The default bound holds 500 of the largest messages at once."""
    assert TOTAL_HELD_BYTES_LIMIT >= 500 * 128 * 1024


def test_flush_delivers_everything_and_keeps_the_senders() -> None:
    """After a flush nothing is held and no deadline is left; the senders' order continues."""
    harness = Harness(gc_interval=0)
    for sender in (1, 2):
        harness.record(sender, 1)
        harness.record(sender, 3)
    assert seen(harness.table.flush()) == [("10.0.0.1", 3), ("10.0.0.2", 3)]
    assert harness.table.next_deadline() == NEVER
    assert harness.table.held_bytes == 0
    assert seen(harness.record(1, 4)) == [("10.0.0.1", 4)]
    harness.record(1, 6)
    assert seen(harness.advance(REORDER_TIME)) == [("10.0.0.1", 6)]


def test_a_batch_of_newlines_is_delivered_in_parts() -> None:
    """Datagrams of thousands of lines each are delivered in parts of bounded size, without loss."""
    harness = Harness()
    datagrams = [b"0123456\n" * 3000] * 20
    senders = [key(1)] * len(datagrams)
    sizes = []
    done = 0
    while done < len(datagrams):
        part: list[Message] = []
        done = harness.table.feed_part(senders, datagrams, 5.0, 0.0, done, part, 0.0)
        sizes.append(len(part))
    assert max(sizes) < 12_000
    assert sum(sizes) == harness.counters.lines == 60_000
    assert len(harness.table.feed(senders, datagrams, 5.0, 0.0)) == 60_000


def test_evicted_senders_do_not_stay_in_the_schedule() -> None:
    """Forged senders that are evicted before their deadlines leave no entries in the schedule."""

    def flood() -> SourceTable:
        harness = Harness(limit=10, reorder_time=60.0)
        for sender in range(5000):
            harness.feed((sender, b"unfinished"))
        return harness.table

    assert bytes_for(flood) < 100_000


def test_cleaning_the_schedule_keeps_valid_entries() -> None:
    """A sender whose gap was filled early, while others are evicted, still has its next deadline met."""
    harness = Harness(limit=10, gc_interval=0)
    for seq in (1, 3, 2):
        harness.record(1, seq)
    for stranger in range(100, 400):
        harness.now += REORDER_TIME / 1000
        harness.feed((stranger, b"unfinished"))
        if stranger % 5 == 0:
            harness.record(1, stranger // 5 - 16)
    assert harness.record(1, 500) == []
    assert ("10.0.0.1", 500) in seen(harness.advance(REORDER_TIME))


def limited(**options: Any) -> Harness:
    """A table with a rate of 10 datagrams per second."""
    return Harness(rate=10.0, gc_interval=0, **options)


def test_a_burst_is_within_the_rate() -> None:
    """The datagrams of BURST_SECONDS pass at once; more are dropped."""
    burst = round(10 * BURST_SECONDS)
    harness = limited()
    out = harness.feed(*((1, extended("", seq=seq)) for seq in range(3 * burst)))
    assert [seq for _, seq in seen(out)] == list(range(burst))
    assert harness.counters.dropped_over_rate == 2 * burst


def test_the_rate_in_the_long_run() -> None:
    """Of a sender with ten times its rate for ten minutes, exactly the rate and the burst pass."""
    harness = limited()
    for number in range(60_000):
        harness.now = number / 100
        harness.feed((1, b"line\n"))
    assert harness.counters.lines == pytest.approx(10 * (600 + BURST_SECONDS), abs=1)
    assert harness.counters.lines + harness.counters.dropped_over_rate == harness.counters.datagrams == 60_000


def test_no_datagram_within_the_rate_is_dropped() -> None:
    """Neither a steady sender at its rate nor a burst after silence is limited."""
    harness = limited()
    for number in range(1000):
        harness.now = number / 10
        harness.feed((1, b"line\n"))
    harness.now += BURST_SECONDS
    harness.feed(*((1, b"line\n"),) * round(10 * BURST_SECONDS))
    assert harness.counters.dropped_over_rate == 0


def test_a_limited_sender_does_not_affect_others() -> None:
    """Other senders' datagrams pass; the limited sender stays in the table and is counted."""
    harness = limited(limit=2)
    for number in range(1000):
        harness.now += 0.001
        harness.feed((1, b"limit\n"))
        if number % 100 == 0:
            harness.feed((2, b"other\n"))
    assert harness.counters.dropped_over_rate == 1000 - 10 * round(BURST_SECONDS) - 9
    assert harness.counters.senders_evicted == 0
    limited_sender, other = harness.table.top(2, "datagrams")
    assert (limited_sender.datagrams, limited_sender.bytes, limited_sender.last_seen) == (1000, 6000, harness.now)
    assert (other.datagrams, other.messages) == (10, 10)


def test_the_default_is_no_rate() -> None:
    """By default no datagram is dropped for its rate."""
    harness = Harness()
    harness.feed(*((1, b"line\n"),) * 100_000)
    assert harness.counters.dropped_over_rate == 0


def test_the_top_list() -> None:
    """``top`` returns the given number of senders with the highest values, with all their counters."""
    harness = Harness()
    for seq in (1, 2, 5):
        harness.feed((1, extended("", seq=seq, msgid=seq)))
    harness.advance(1.0)
    harness.feed(*((2, b"a line\n"),) * 5, (3, b"x"))
    busiest, second = harness.table.top(2, "datagrams")
    assert (busiest.address, busiest.datagrams, busiest.bytes, busiest.messages) == ("10.0.0.2", 5, 35, 5)
    assert busiest.last_seen == harness.now
    assert (second.address, second.port, second.datagrams, second.messages) == ("10.0.0.1", 6665, 3, 3)
    assert (second.missing, second.lost) == (2, 2)
    assert [sender.address for sender in harness.table.top(1, "lost")] == ["10.0.0.1"]
    assert len(harness.table.top(9, "missing")) == 3


def test_the_top_list_by_an_unknown_counter() -> None:
    """``top`` raises ValueError for a name that is not one of SENDER_COUNTERS."""
    with pytest.raises(ValueError, match=r"^'_window' is not one of datagrams, "):
        Harness().table.top(1, "_window")


ARRIVALS = st.lists(st.tuples(st.integers(1, 4), datagrams, st.floats(0, 0.3)), max_size=60)


@given(ARRIVALS, st.sampled_from([0.0, 0.5]), st.sampled_from([TOTAL_HELD_BYTES_LIMIT, 3000]))
def test_the_counters_of_the_senders_add_up_to_those_of_the_worker(
    arrivals: list[tuple[int, bytes, float]], rate: float, held_limit: int
) -> None:
    """With any datagrams, each counter of SENDER_COUNTERS is for the worker the sum of all its senders."""
    harness = Harness(rate=rate, held_limit=held_limit)
    for sender, datagram, pause in arrivals:
        harness.now += pause
        harness.feed((sender, datagram))
    harness.table.flush()
    senders = harness.table.top(9, "datagrams")
    assert sum(sender.datagrams for sender in senders) == len(arrivals)
    for name in SENDER_COUNTERS:
        counts = [getattr(sender, name) for sender in senders]
        # The counters of one sender end at 2^63 - 1, those of the worker wrap.
        if max(counts, default=0) < 2**63 - 1:
            assert sum(counts) % 2**64 == getattr(harness.counters, name), name


def test_the_counters_of_one_sender() -> None:
    """Each of SENDER_COUNTERS is counted for the sender of the datagram, and senders can be ranked by it."""
    harness = Harness(rate=1.0)
    pieces = fragments(extended("long" * 300, seq=2, ts_usec=9_000_000))
    first, last = extended("", seq=1, ts_usec=9_000_000, msgid=1), extended("", seq=5, ts_usec=9_000_000)
    harness.feed((2, b"line\n"), (2, b""), (3, extended("", seq=1)))
    harness.feed(*((1, datagram) for datagram in (first, pieces[0], last)))
    harness.advance(1.0)
    harness.feed((1, extended("", seq=3, ts_usec=9_000_000)), (1, extended("", seq=1, ts_usec=7, msgid=1)))
    harness.feed(*((1, extended("", seq=seq, ts_usec=7, msgid=msgid)) for seq, msgid in ((2, 2), (3, 5), (3, 5))))
    harness.feed(*((1, b"too much\n"),) * 7)
    (sender,) = harness.table.top(1, "dropped_duplicate")
    assert sender.address == "10.0.0.1"
    assert {name: getattr(sender, name) for name in SENDER_COUNTERS if name != "bytes"} == {
        "datagrams": 15,
        "dropped_duplicate": 1,
        "dropped_over_rate": 4,
        "messages": 10,
        "incomplete": 1,
        "late": 1,
        "resets": 2,
        "boots": 1,
        "replays": 0,
        "missing": 2,
        "likely_lost": 0,
        "lost": 2,
    }
    for name in SENDER_COUNTERS:
        most, *others = [getattr(sender, name) for sender in harness.table.top(3, name)]
        assert most == max(most, *others)


@pytest.mark.parametrize("datagram", [b"x" * 60_000 + b"\n", extended("x" * 60_000)], ids=["legacy", "extended"])
def test_a_part_of_a_batch_has_a_bound_in_bytes(datagram: bytes) -> None:
    """A batch of the largest datagrams is delivered in parts of at most OUT_BYTES_LIMIT and one datagram."""
    table = Harness().table
    senders = [key(number) for number in range(200)]
    done = parts = messages = 0
    while done < 200:
        out: list[Message] = []
        before, done = done, table.feed_part(senders, [datagram] * 200, 5.0, 0.0, done, out, 0.0)
        assert (done - before - 1) * len(datagram) < OUT_BYTES_LIMIT
        assert len(out) == done - before
        messages += len(out)
        parts += 1
    assert (messages, parts) == (200, 12)


@pytest.mark.parametrize("reorder_time", [0.001, 0.01, 0.19])
def test_a_fragment_does_not_delay_held_messages(reorder_time: float) -> None:
    """While a fragment is held for 0.2 seconds, messages behind a gap are held for the shorter reorder time."""
    harness = Harness(reorder_time=reorder_time)
    harness.record(1, 1)
    harness.feed((1, fragments(extended("long" * 300, seq=9))[0]))
    assert harness.table.next_deadline() == 0.2
    assert harness.record(1, 3) == []
    assert harness.table.next_deadline() == reorder_time
    assert seen(harness.advance(reorder_time)) == [("10.0.0.1", 3)]
    assert harness.table.next_deadline() == 0.2
    assert [message.incomplete for message in harness.advance(0.2) if isinstance(message, ExtendedMessage)] == [True]
    assert harness.table.next_deadline() == 60.0


def test_the_schedule_of_one_sender_is_bounded() -> None:
    """A sender that alternates between late and early deadlines does not fill the schedule."""
    piece = fragments(extended("long" * 300, seq=2**40))[0]

    def alternating() -> Harness:
        harness = Harness(reorder_time=0.1)
        for seq in range(1, 20_000, 2):
            # Both before any of them is due; then a reset flushes them.
            harness.now += 1e-9
            harness.feed((1, piece), (1, extended("", seq=seq)))
            if seq % 20 == 19:
                harness.feed((1, extended("", seq=1, ts_usec=seq)))
        return harness

    # An entry takes more than a hundred bytes.
    assert bytes_for(alternating) < 100_000
