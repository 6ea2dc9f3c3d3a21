"""Any datagrams in any order: nothing raises, no record is lost or delivered twice, everything is counted."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.counters import WorkerCounters, inconsistencies, total
from netconsd.protocol.legacy import FRAMINGS
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, Message
from netconsd.protocol.table import SourceTable
from netconsd.protocol.window import WINDOW
from netconsd.testing import extended, fragments
from tests.support.stream_harness import FIRST_TS
from tests.support.traffic import KEYS, datagrams

REORDER_TIME = 0.2


def table(
    counters: WorkerCounters,
    limit: int = 3,
    held_limit: int = 20_000,
    legacy_datagrams: bool = False,
    framing: str = "auto",
) -> SourceTable:
    """A table with low bounds."""
    return SourceTable(
        counters,
        limit=limit,
        reorder_time=REORDER_TIME,
        gc_interval=1.0,
        age=2.0,
        held_limit=held_limit,
        legacy_datagrams=legacy_datagrams,
        framing=framing,
    )


def assert_counters_add_up(counters: WorkerCounters, messages: list[Message]) -> None:
    """Every datagram has one outcome, every message one kind, and the counters agree with the messages' marks."""
    assert inconsistencies(total([counters])) == []
    assert counters.messages == len(messages)
    extended_ones = [message for message in messages if isinstance(message, ExtendedMessage)]
    assert counters.lines == len(messages) - len(extended_ones)
    assert counters.incomplete == sum(message.incomplete for message in extended_ones)
    assert counters.late == sum(message.out_of_order for message in extended_ones)
    assert counters.resets == sum(message.seq_reset for message in extended_ones)
    assert counters.replayed == sum(message.replayed for message in extended_ones)
    assert counters.boots == sum(message.boot for message in messages)
    # These wrap.
    assert counters.likely_lost == sum(message.likely_lost for message in extended_ones) % 2**64
    assert counters.missing == sum(message.missing for message in extended_ones) % 2**64
    assert counters.lost == sum(message.lost or 0 for message in extended_ones)


batches = st.lists(
    st.tuples(
        st.floats(0, 1.5, allow_nan=False), st.lists(st.tuples(st.integers(0, 3), datagrams), min_size=1, max_size=12)
    ),
    max_size=15,
)


@given(batches, st.booleans(), st.sampled_from(FRAMINGS))
def test_any_datagrams_are_counted(
    arrivals: list[tuple[float, list[tuple[int, bytes]]]], legacy_datagrams: bool, framing: str
) -> None:
    """Any datagrams at any times raise nothing, and datagrams and messages are each counted once; legacy datagrams, if
    they are delivered, are not counted as messages."""
    counters = WorkerCounters()
    senders = table(counters, legacy_datagrams=legacy_datagrams, framing=framing)
    out: list[Message] = []
    now = 0.0
    for pause, batch in arrivals:
        now += pause
        while senders.next_deadline() < now:
            out += senders.advance(senders.next_deadline())
        out += senders.feed([KEYS[sender] for sender, _ in batch], [each for _, each in batch], 5.0, now)
        assert senders.next_deadline() > now
        assert len(senders) <= 3
        assert senders.held_bytes <= 20_000
    out += senders.flush()
    assert senders.held_bytes == 0
    assert counters.datagrams == sum(len(batch) for _, batch in arrivals)
    assert counters.bytes == sum(len(datagram) for _, batch in arrivals for _, datagram in batch)
    assert counters.senders_new == counters.senders_expired + counters.senders_evicted + len(senders)
    whole = [message for message in out if isinstance(message, LegacyDatagram)]
    assert len(whole) == (counters.legacy if legacy_datagrams else 0)
    assert_counters_add_up(counters, [message for message in out if not isinstance(message, LegacyDatagram)])
    for message in out:
        # The views of hostile content raise nothing.
        assert isinstance(message.text, str)
        if isinstance(message, ExtendedMessage):
            assert all(isinstance(value, str) for value in message.userdata.values())
            assert set(message.dictionary) <= {"SUBSYSTEM", "DEVICE"}


@given(st.lists(st.integers(0, WINDOW - 1), unique=True, min_size=1), st.data())
def test_every_record_of_a_boot_is_delivered_exactly_once(seqs: list[int], data: st.DataObject) -> None:
    """Records in any order, with any repeats, some in fragments: each is delivered once, complete, and in order unless
    it is marked as out of order."""
    in_pieces = data.draw(st.sets(st.sampled_from(seqs)))
    sent = {seq: extended(f"record {seq} " + "." * 150, seq=seq, ts_usec=FIRST_TS + seq) for seq in seqs}
    parts = [part for seq in seqs for part in (fragments(sent[seq], 100) if seq in in_pieces else [sent[seq]])]
    arrivals = data.draw(st.permutations(parts + data.draw(st.lists(st.sampled_from(parts)))))
    counters = WorkerCounters()
    # The time does not advance, so that no fragment is late.
    senders = table(counters, held_limit=10**9)
    out = [message for each in arrivals for message in senders.feed([KEYS[0]], [each], 5.0, 1.0)]
    out += senders.flush()
    assert Counter(message.raw for message in out) == Counter(each.partition(b";")[2] for each in sent.values())
    assert counters.dropped_duplicate == len(arrivals) - len(parts)
    assert_counters_add_up(counters, out)
    in_order = [message.seq for message in out if isinstance(message, ExtendedMessage) and not message.out_of_order]
    assert in_order == sorted(in_order)


@given(st.permutations(range(1, 40)), st.sets(st.integers(1, 38)))
def test_records_within_the_reorder_time_are_delivered_in_order(order: list[int], lost: set[int]) -> None:
    """Records that arrive within the reorder time, in any order, are delivered in order; ``missing`` and ``lost`` of
    the message behind a gap are exact."""
    counters = WorkerCounters()
    senders = table(counters, held_limit=10**6)
    out = senders.feed([KEYS[0]], [extended("", seq=0, ts_usec=0, msgid=1)], 5.0, 0.0)
    for step, seq in enumerate(seq for seq in order if seq not in lost):
        now = step * REORDER_TIME / 100
        out += senders.feed([KEYS[0]], [extended("", seq=seq, ts_usec=seq, msgid=seq + 1)], 5.0, now)
    out += senders.advance(2 * REORDER_TIME)
    records = [message for message in out if isinstance(message, ExtendedMessage)]
    assert [message.seq for message in records] == [seq for seq in range(40) if seq not in lost]
    assert not any(message.out_of_order for message in records)
    assert sum(message.missing for message in records) == len(lost)
    assert sum(message.lost or 0 for message in records) == len(lost)


@given(st.lists(st.binary(min_size=1, max_size=30).filter(lambda text: b";" not in text), max_size=20))
def test_legacy_text_is_preserved(texts: list[bytes]) -> None:
    """The lines of legacy text, joined, are the bytes of its datagrams."""
    counters = WorkerCounters()
    senders = table(counters)
    out = senders.feed([KEYS[0]] * len(texts), texts, 5.0, 0.0) if texts else []
    out += senders.flush()
    assert b"".join(message.raw for message in out) == b"".join(texts)
    assert_counters_add_up(counters, out)
