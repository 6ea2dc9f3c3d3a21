"""New, rebooted and replayed senders (docs/wire section 6), with tables from recordings of real kernels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.counters import WorkerCounters, inconsistencies, total
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.reorder import HELD_LIMIT
from netconsd.protocol.stream import FRAGMENT_SECONDS
from netconsd.protocol.suspects import BURST_SECONDS, NEAR_ZERO_USEC, SILENCE_SECONDS
from netconsd.protocol.table import SourceTable
from netconsd.protocol.window import WINDOW
from netconsd.testing import extended, fragments, source
from tests.support.stream_harness import REORDER_TIME, Harness, marks, seqs

TABLES = json.loads((Path(__file__).parents[1] / "data" / "boots.json").read_text())


def rows(table: dict[str, Any]) -> list[tuple[float, bytes]]:
    """(arrival, datagram) of each record of a table."""
    return [
        (arrival, extended(f"text {text}", seq=seq, ts_usec=ts_usec, msgid=msgid))
        for arrival, seq, ts_usec, msgid, text in table["records"]
    ]


def play(
    records: list[tuple[float, bytes]], counters: WorkerCounters, reorder_time: float, lag: float = 0.0
) -> list[Message]:
    """Feed records at their times; each deadline in between expires ``lag`` seconds late."""
    table = SourceTable(counters, limit=9, reorder_time=reorder_time, gc_interval=60.0, age=3600.0)
    out: list[Message] = []
    now = 0.0
    for arrival, datagram in records:
        now = 1000.0 + arrival
        while table.next_deadline() < now - lag:
            out += table.advance(table.next_deadline())
        out += table.feed([source().key], [datagram], now, now, now - lag)
    return out + table.flush()


@pytest.mark.parametrize("reorder_time", [0.0, REORDER_TIME])
@pytest.mark.parametrize("name", TABLES)
def test_a_recording(name: str, reorder_time: float) -> None:
    """In the recordings of crash loops, kdump, kexec, watchdogs and buffers sent again in a panic, the first record of
    each boot is marked, and no other; no record is dropped; all records of a buffer sent again are marked."""
    table = TABLES[name]
    counters = WorkerCounters()
    out = play(rows(table), counters, reorder_time)
    first_of_boot = {tuple(table["records"][index][1:3]) for index in table["boots"]}
    assert [(m.seq, m.ts_usec) for m in out if isinstance(m, ExtendedMessage) and m.boot] == [
        tuple(table["records"][index][1:3]) for index in table["boots"]
    ]
    assert len(first_of_boot) <= len(table["boots"])
    assert [message.new for message in out] == [True] + [False] * (len(out) - 1)
    assert len(out) == len(table["records"])
    assert counters.boots == len(table["boots"])
    assert sum(m.replayed for m in out if isinstance(m, ExtendedMessage)) == table["replayed"]
    assert not any(m.out_of_order for m in out if isinstance(m, ExtendedMessage))


def up_for(seconds: float, *numbers: int) -> Harness:
    """A sender that sent these records when it had been up for some seconds."""
    harness = Harness()
    for number in numbers:
        harness.feed(extended("x", seq=number, ts_usec=int(seconds * 1e6) + number))
    return harness


class TestBoot:
    """Rule 5."""

    def test_the_first_records_are_kept_and_marked(self) -> None:
        """Records with the timestamp 0 that equal those of the boot before are delivered, the first with ``boot``."""
        harness = Harness()
        boot = [extended(f"x {seq}", seq=seq, ts_usec=0) for seq in range(20)]
        harness.feed(*boot, extended("up", seq=20, ts_usec=5_000_000))
        harness.now += 30.0
        harness.feed(*boot)
        out = harness.wait(FRAGMENT_SECONDS)
        assert marks(out) == [(0, "B"), *((seq, "") for seq in range(1, 20))]
        assert harness.counters.dropped_duplicate == 0

    def test_a_plain_gap_may_be_a_boot(self) -> None:
        """A record that continues by seq is the first of a boot, if its timestamp is earlier and the sender was not up
        when the last one arrived (6.1, kdump: 371, then 373)."""
        harness = up_for(6.0, 370, 371)
        harness.now += 9.0
        harness.feed(extended("second kernel", seq=373, ts_usec=4_770_996))
        assert marks(harness.wait(FRAGMENT_SECONDS)) == [(373, "B")]
        assert harness.counters.missing == 0

    def test_a_known_seq_decides_at_once(self) -> None:
        """A known seq with another timestamp ends the wait: no two records of one boot share a seq."""
        harness = up_for(6.0, 370, 371)
        harness.now += 9.0
        assert harness.feed(extended("x", seq=369, ts_usec=4_770_000)) == []
        assert marks(harness.feed(extended("x", seq=370, ts_usec=4_770_996))) == [(369, "B"), (370, "")]

    def test_texts_differ_in_a_loop_without_a_clock(self) -> None:
        """With timestamps of 0 only, and no time between the boots, a known seq with another text is a boot."""
        harness = Harness()
        for boot in range(3):
            harness.feed(*(extended(text, seq=seq, ts_usec=0) for seq, text in enumerate(["Linux", f"boot {boot}"])))
        harness.flush()
        assert [message.text for message in harness.out if message.text != "Linux"] == ["boot 0", "boot 1", "boot 2"]
        assert marks(harness.out) == [(0, "N"), (1, ""), (0, "B"), (1, ""), (0, "B"), (1, "")]

    def test_silence_decides_if_no_timestamp_does(self) -> None:
        """With timestamps of 0 only, equal records after a silence are a boot, and without one they are sent again."""
        again = [extended("x", seq=seq, ts_usec=0) for seq in range(3)]
        for silence, mark in (
            (SILENCE_SECONDS * 2, [(0, "B"), (1, ""), (2, "")]),
            (0.1, [(0, "RA"), (1, "A"), (2, "A")]),
        ):
            harness = Harness()
            harness.feed(*again)
            harness.now += silence
            harness.feed(*again)
            assert marks(harness.wait(FRAGMENT_SECONDS)) == mark

    def test_early_clocks_step_back(self) -> None:
        """The timestamps of the first records step back by some milliseconds: that is no boot, and holds nothing."""
        harness = Harness()
        harness.feed(extended("x", seq=117, ts_usec=40_000))
        harness.now += 1e-5
        assert marks(harness.feed(extended("x", seq=118, ts_usec=511))) == [(118, "")]

    def test_fragments_of_the_new_boot_stay_together(self) -> None:
        """Fragments that arrive while the first records of a boot are held become a message of the new boot."""
        harness = up_for(60.0, 500)
        harness.now += 70.0
        harness.feed(extended("x", seq=400, ts_usec=5_000_000))
        pieces = fragments(extended("y" * 1500, seq=401, ts_usec=5_000_001))
        harness.feed(pieces[0])
        harness.feed(extended("x", seq=500, ts_usec=5_000_100))
        assert marks(harness.feed(*pieces[1:])) == [(401, "")]
        harness.wait(REORDER_TIME)
        assert marks(harness.out) == [(500, "N"), (400, "B"), (401, ""), (500, "")]

    def test_the_held_records_are_bounded(self) -> None:
        """No more than HELD_LIMIT records are held to decide."""
        harness = up_for(3600.0, 5000)
        harness.now += 3600.0
        harness.feed(*(extended("x", seq=seq, ts_usec=200_000 + seq) for seq in range(HELD_LIMIT + 1)))
        assert len(harness.out) == HELD_LIMIT + 2
        assert harness.counters.released_early == 1

    def test_the_end_delivers_what_is_held(self) -> None:
        """At a stop the held records are delivered, marked by what is known."""
        harness = up_for(60.0, 500)
        harness.now += 70.0
        harness.feed(extended("x", seq=400, ts_usec=5_000_000))
        assert marks(harness.flush()) == [(400, "B")]

    def test_an_emergency_is_held_for_longer_than_the_suspects(self) -> None:
        """An emergency does not decide what the suspects are. Decided after their deadline, they leave it held."""
        harness = up_for(400.0, 100)
        assert harness.feed(extended("x", seq=5, ts_usec=1000)) == []
        harness.now += 0.75 * REORDER_TIME
        assert harness.feed(extended("x", seq=103, ts_usec=400_100_000).replace(b",-;", b",-,ncemg=1;")) == []
        harness.now += 0.75 * REORDER_TIME
        assert seqs(harness.feed(extended("x", seq=104, ts_usec=400_200_000))) == [5]
        assert seqs(harness.wait(REORDER_TIME)) == [103, 104]


class TestReplay:
    """Rule 6."""

    def buffer(self, first: int, end: int) -> list[bytes]:
        return [extended(f"record {seq}", seq=seq, ts_usec=1_000_000 + 1000 * seq) for seq in range(first, end)]

    @pytest.mark.parametrize("pause", [0.0, 0.5, 2.0, 5000.0])
    @pytest.mark.parametrize(("first", "end"), [(0, 100), (0, 3 * WINDOW), (20, 500), (0, 2000)])
    def test_a_buffer_of_any_length(self, first: int, end: int, pause: float) -> None:
        """A buffer that is sent again, from anywhere and after any time, is marked; the stream then goes on."""
        harness = Harness()
        harness.feed(*self.buffer(0, end))
        harness.now += pause
        before = len(harness.out)
        harness.feed(*self.buffer(first, end), *self.buffer(end, end + 2))
        harness.wait(FRAGMENT_SECONDS)
        again = marks(harness.out[before:])
        assert [seq for seq, mark in again if mark.endswith("A")] == list(range(first, end))
        assert again[-2:] == [(end, ""), (end + 1, "")]
        assert harness.counters.boots == 0
        assert harness.counters.replays == harness.stream.count("replays") == 1

    def test_records_before_the_first_one_received(self) -> None:
        """A buffer that reaches back to records that were never received is marked as a whole (6.1, panic_print)."""
        harness = Harness()
        harness.feed(*self.buffer(371, 410), *self.buffer(0, 412))
        assert seqs([m for m in harness.out if isinstance(m, ExtendedMessage) and m.replayed]) == list(range(410))
        assert marks(harness.out)[-2:] == [(410, ""), (411, "")]

    def test_new_records_in_between(self) -> None:
        """New records between those of the buffer are delivered in order, and are not marked."""
        harness = Harness()
        harness.feed(*self.buffer(0, 200))
        old = self.buffer(0, 200)
        for number, datagram in enumerate(self.buffer(200, 250)):
            harness.feed(old[4 * number], old[4 * number + 1], datagram, old[4 * number + 2], old[4 * number + 3])
        fresh = [m for m in harness.out if isinstance(m, ExtendedMessage) and not m.replayed]
        assert seqs(list(fresh)) == list(range(250))
        assert harness.counters.replayed == 200
        assert harness.counters.missing == 0

    def test_a_reordered_buffer(self) -> None:
        """Records of the buffer that overtake each other are late as well; a copy is dropped."""
        harness = Harness()
        harness.feed(*self.buffer(0, 200))
        old = self.buffer(0, 200)
        assert marks(harness.feed(old[10], old[12], old[11], old[12], old[13])) == [
            (10, "RA"),
            (12, "A"),
            (11, "AL"),
            (13, "A"),
        ]
        assert harness.counters.dropped_duplicate == 1

    def test_loss_is_known_during_a_replay(self) -> None:
        """The msgid goes on during a replay, so that its gaps are losses, and the next new record has none."""
        harness = Harness()
        harness.feed(*(extended("x", seq=seq, ts_usec=10**7 + seq, msgid=seq + 1) for seq in range(100)))
        again = [extended("x", seq=seq, ts_usec=10**7 + seq, msgid=seq + 101) for seq in range(100) if seq != 50]
        harness.feed(*again, extended("x", seq=100, ts_usec=10**7 + 100, msgid=201))
        assert harness.counters.lost == 1
        assert harness.counters.missing == 0

    def test_a_delayed_record_is_no_replay(self) -> None:
        """A record far behind whose msgid was passed is late."""
        harness = Harness()
        harness.feed(*(extended("x", seq=seq, ts_usec=10**7 + seq, msgid=seq) for seq in range(1, 200) if seq != 50))
        harness.wait(REORDER_TIME)
        assert marks(harness.feed(extended("x", seq=50, ts_usec=10**7 + 50, msgid=50))) == [(50, "L")]

    def test_a_delayed_record_below_a_gap_is_no_replay(self) -> None:
        """Without msgid, a record far behind that may have been missing is late; a second one after it is a replay."""
        harness = Harness()
        harness.feed(*(datagram for seq, datagram in enumerate(self.buffer(0, 300)) if not 50 <= seq < 60))
        harness.wait(REORDER_TIME)
        harness.feed(*self.buffer(299, 400))
        assert marks(harness.feed(*self.buffer(50, 52))) == [(50, "L"), (51, "A")]

    def test_a_sender_whose_seqs_stay_low_is_no_endless_replay(self) -> None:
        """After a forged record far ahead, the sender's records are delivered in order, and after a pause unmarked."""
        harness = Harness()
        harness.feed(extended("x", seq=2**60, ts_usec=2**40))
        for seq in range(1, 4):
            harness.now += 2 * BURST_SECONDS
            harness.feed(extended("x", seq=seq, ts_usec=10**8 + seq))
        assert seqs(harness.out) == [2**60, 1, 2, 3]


class TestLikelyLost:
    """Rule 2: gaps in a stream that usually has none."""

    def feed(self, harness: Harness, numbers: list[int], **fields: Any) -> list[Message]:
        out = harness.feed(*(extended("x", seq=seq, ts_usec=10**7 + seq, **fields) for seq in numbers))
        return out + harness.wait(REORDER_TIME)

    def test_a_gap_after_none(self) -> None:
        """A gap in a stream without gaps is a loss."""
        harness = Harness()
        self.feed(harness, list(range(100)))
        (message,) = self.feed(harness, [103])
        assert isinstance(message, ExtendedMessage)
        assert (message.missing, message.likely_lost, message.lost) == (3, 3, None)
        assert harness.counters.likely_lost == harness.stream.count("likely_lost") == 3

    @pytest.mark.parametrize("step", [2, 5, 20])
    def test_a_level_that_is_not_sent(self, step: int) -> None:
        """Of a sender with frequent gaps, no gap is a loss once that is known."""
        harness = Harness()
        for block in range(100):
            self.feed(harness, list(range(block * (step + 1), block * (step + 1) + step)))
        assert harness.stream.count("missing") == 99
        assert harness.counters.likely_lost <= 2

    def test_gaps_after_the_first_message_say_nothing(self) -> None:
        """A gap behind the first messages of a sender, or of a boot, is no loss."""
        harness = Harness()
        self.feed(harness, [5, 300])
        self.feed(harness, list(range(301, 400)))
        self.feed(harness, [399 - WINDOW // 2])
        assert marks(harness.feed(extended("x", seq=399, ts_usec=5))) == [(399, "B")]
        self.feed(harness, [700])
        assert harness.counters.likely_lost == 0

    def test_with_msgid_it_is_none(self) -> None:
        """Where the loss is known by msgid, ``likely_lost`` is 0."""
        harness = Harness()
        harness.feed(*(extended("x", seq=seq, ts_usec=10**7 + seq, msgid=seq) for seq in range(100)))
        self.feed(harness, [105], msgid=103)
        assert (harness.counters.lost, harness.counters.likely_lost) == (3, 0)


class TestLegacy:
    """Rules 9 and 11."""

    def lines(self, harness: Harness, *lines: bytes) -> list[tuple[bool, bool]]:
        return [(message.new, message.boot) for message in harness.feed(*lines)]

    def test_new_and_boot(self) -> None:
        """The first line is new; a line with an earlier timestamp is the first of a boot, if the estimate says so."""
        harness = Harness()
        assert self.lines(harness, b"[    5.000000] a\n", b"<6>[   60.000000] b\n") == [(True, False), (False, False)]
        harness.now += 3.0
        assert self.lines(harness, b"[   59.999999] late\n") == [(False, False)]
        harness.now += 70.0
        assert self.lines(harness, b"[    4.500000] c\n", b"[    4.500001] d\n") == [(False, True), (False, False)]
        harness.now += 30.0
        assert self.lines(harness, b"[    0.000000] Linux version\n", b"no time\n", b"[    0.000000] e\n") == [
            (False, True),
            (False, False),
            (False, False),
        ]
        assert harness.counters.boots == harness.stream.count("boots") == 2

    @pytest.mark.parametrize(
        "line",
        [b"[", b"<6>", b"<", b"[ 1.5]", b"[123456789012345.000000] x", b"[1234567] x", b"[ 1.0000000] x", b"[.000001"],
    )
    def test_what_is_no_timestamp(self, line: bytes) -> None:
        """A line without a timestamp decides nothing."""
        harness = Harness()
        self.lines(harness, b"[   60.000000] b\n")
        harness.now += 100.0
        assert self.lines(harness, line + b"\n") == [(False, False)]


class TestPorts:
    """Rule 11."""

    def table(self) -> SourceTable:
        return SourceTable(WorkerCounters(), limit=99, reorder_time=REORDER_TIME, gc_interval=60.0, age=3600.0)

    def feed(self, table: SourceTable, port: int, datagram: bytes) -> Message:
        (message,) = table.feed([source(port=port).key], [datagram], 5.0, 1000.0)
        return message

    def test_a_port_per_message(self) -> None:
        """A host whose messages each come from another port is one sender: new once, with gaps counted."""
        table = self.table()
        out = [
            self.feed(table, 40000 + 7 * n, extended("x", seq=500 + n, ts_usec=7_000_000 + 1000 * n)) for n in range(40)
        ]
        assert [message.new for message in out] == [True] + [False] * 39
        assert not any(message.source.shared for message in out)
        assert not any(
            message.seq_reset or message.missing for message in out[1:] if isinstance(message, ExtendedMessage)
        )

    def test_several_hosts_behind_one_address(self) -> None:
        """Hosts behind one address are told apart by seq and time, and their sources are marked as shared."""
        table = self.table()
        first = self.feed(table, 44501, extended("x", seq=100, ts_usec=5_000_000))
        assert not first.source.shared
        second = self.feed(table, 44502, extended("x", seq=100, ts_usec=9_000_000))
        self.feed(table, 44501, extended("x", seq=101, ts_usec=5_100_000))
        third = self.feed(table, 44503, extended("x", seq=7, ts_usec=1_000_000))
        other = self.feed(table, 45110, extended("x", seq=102, ts_usec=5_200_000))
        assert [m.new for m in (first, second, third, other)] == [True, True, True, False]
        assert all(m.source.shared for m in (first, second, third, other))
        assert isinstance(other, ExtendedMessage)
        assert (other.seq_reset, other.boot, other.missing) == (False, False, 0)

    def test_two_targets_of_a_machine(self) -> None:
        """The second target of a machine sends all records once more from another port: none is dropped or late."""
        table = self.table()
        for seq in range(100, 110):
            self.feed(table, 6665, extended("x", seq=seq, ts_usec=5_000_000 + seq))
        for seq in range(104, 112):
            message = self.feed(table, 6666, extended("x", seq=seq, ts_usec=5_000_000 + seq))
            assert isinstance(message, ExtendedMessage)
            assert (message.new, message.boot, message.out_of_order, message.replayed) == (seq == 104, *[False] * 3)

    def test_the_last_record_comes_again_from_another_port(self) -> None:
        """The new port's stream knows the last record of the old one: its repeat is dropped, and nothing is missing."""
        table = self.table()
        for seq in (10, 11):
            self.feed(table, 1, extended("x", seq=seq, ts_usec=5_000_000 + seq))
        self.feed(table, 2, extended("x", seq=12, ts_usec=5_000_012))
        again = [source(port=2).key], [extended("x", seq=11, ts_usec=5_000_011)]
        assert table.feed(*again, 5.0, 1000.0) == []
        assert table.acknowledgement(source(port=2).key) == b"ncrx12"

    def test_a_boot_from_another_port(self) -> None:
        """A machine that was rebooted and sends from another port continues nothing."""
        table = self.table()
        self.feed(table, 1, extended("x", seq=400, ts_usec=10**9))
        assert self.feed(table, 2, extended("x", seq=401, ts_usec=5_000_000)).new

    def test_legacy_text_from_two_ports(self) -> None:
        """Senders of text have no seq: the address is shared."""
        table = self.table()
        first = self.feed(table, 1, b"one\n")
        second = self.feed(table, 2, b"two\n")
        assert (first.new, second.new, first.source.shared, second.source.shared) == (True,) * 4


steps = st.lists(
    st.tuples(
        st.floats(0, 20) | st.sampled_from([0.0, 0.6 * REORDER_TIME]),
        st.integers(0, 200),
        st.sampled_from([0, 50_000, 10**6, 5 * 10**6, 10**8]),
        st.sampled_from("ab"),
    ),
    max_size=60,
)


@given(
    steps, st.sampled_from([0.0, REORDER_TIME]), st.booleans(), st.sampled_from([0.0, 1.0]), st.sets(st.integers(0, 59))
)
def test_any_records_are_delivered_or_repeats(
    records: list[tuple[float, int, int, str]], reorder_time: float, with_msgid: bool, lag: float, emergencies: set[int]
) -> None:
    """Any seqs, timestamps, pauses and emergencies raise nothing; a record that is dropped has the seq and timestamp of
    one that was delivered, and its timestamp is not 0; every counter agrees with the marks."""
    counters = WorkerCounters()
    arrival = 0.0
    sent = []
    for number, (pause, seq, ts_usec, text) in enumerate(records):
        arrival += pause
        # Records of one boot have timestamps in order of their seqs, and one text.
        ts_usec += seq if ts_usec else 0
        datagram = extended(
            text if not ts_usec else "x", seq=seq, ts_usec=ts_usec, msgid=number + 1 if with_msgid else None
        )
        if number in emergencies:
            datagram = datagram.replace(b",-;", b",-,ncemg=1;")
        sent.append((arrival, datagram))
    out = [message for message in play(sent, counters, reorder_time, lag) if isinstance(message, ExtendedMessage)]
    assert inconsistencies(total([counters])) == []
    assert counters.boots == sum(message.boot for message in out)
    assert counters.resets == sum(message.seq_reset for message in out)
    assert all(message.seq_reset for message in out if message.boot or message.new)
    delivered = {(message.seq, message.ts_usec) for message in out}
    assert delivered == {(seq, ts_usec + (seq if ts_usec else 0)) for _, seq, ts_usec, _ in records}
    clockless = sum(not ts_usec for _, _, ts_usec, _ in records)
    assert sum(message.ts_usec == 0 for message in out) >= clockless - counters.dropped_duplicate
    previous = None
    for message in out:
        if not (message.seq_reset or message.out_of_order or message.replayed) and previous is not None:
            assert message.seq > previous
        if not (message.out_of_order or message.replayed):
            previous = message.seq


def test_thresholds() -> None:
    """A timestamp is near 0 only below the times at which a kernel first sends, and a reboot takes longer than the
    silence that is asked for: 4.3 s and 1.7 s in the recordings."""
    assert NEAR_ZERO_USEC < 4_000_000
    assert SILENCE_SECONDS < 1.7
