"""Two receivers of the same machines, merged: each message once, in order, with the marks of the merged stream."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from netconsd.message import ExtendedMessage, Message
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.encode import extended, fragments
from netconsd.protocol.reorder import MESSAGE_OVERHEAD
from netconsd.protocol.seen import WINDOW
from netconsd.protocol.table import SourceTable
from netconsd.streams import copies
from netconsd.streams.copies import (
    BEHIND_MESSAGES,
    BEHIND_SECONDS,
    HEARS_SECONDS,
    HOLD_SECONDS,
    LINES_LIMIT,
    MISSED_SECONDS,
    Copies,
)
from netconsd.testing import extended_message, legacy_message, source
from tests.support.captures import DIRECTORY

A, B, C = b"receiver A......", b"receiver B......", b"receiver C......"
KEY = source().key
#: A recording with userdata, a msgid and a crash.
RECORDING = DIRECTORY / "amd64-7.3-null-read-panic-panic0.jsonl"
FIRST_SEQ = 373


@dataclass(frozen=True)
class Sent:
    """A datagram of a machine."""

    at: float
    data: bytes


def received(
    sent: Iterable[Sent], chance: random.Random, loss: float, delay: float, key: bytes = KEY
) -> list[tuple[float, list[Message]]]:
    """The batches of one receiver, with the times at which they are taken out: after loss, reordering and delay.

    The first datagram is not lost, so that the receiver is known.
    """
    arrivals = sorted(
        (each.at + chance.uniform(0, 0.005), number, each.data)
        for number, each in enumerate(sent)
        if number == 0 or chance.random() >= loss
    )
    table = SourceTable(WorkerCounters(), limit=10, reorder_time=0.2, gc_interval=0.0, age=0.0)
    messages: list[tuple[float, Message]] = []
    for at, _, data in arrivals:
        messages += [(at, each) for each in table.advance(at)]
        messages += [(at, each) for each in table.feed([key], [data], at, at)]
    messages += [(arrivals[-1][0] + 0.2, each) for each in table.flush()] if arrivals else []
    batches: dict[float, list[Message]] = {}
    begin = chance.uniform(0, 1)
    for at, message in messages:
        batches.setdefault(int(at + begin) + 1 - begin + delay, []).append(message)
    return sorted(batches.items())


def merged(merge: Copies, *receivers: Sequence[tuple[float, list[Message]]]) -> list[Message]:
    """The merged stream of receivers."""
    names = (A, B, C)
    batches = sorted((at, names[number], batch) for number, each in enumerate(receivers) for at, batch in each)
    out: list[Message] = []
    now = 0.0
    for at, name, batch in batches:
        now = at
        while merge.deadline() < at:
            out += merge.flush(merge.deadline())
        out += merge.take(name, list(batch), at)
    out += merge.flush(now + HOLD_SECONDS)
    # Twice: a record is decided when it was undecided at the time before.
    out += merge.flush(now + MISSED_SECONDS + 1)
    out += merge.flush(now + 3 * MISSED_SECONDS)
    assert merge.deadline() == float("inf")
    return out


def numbered(messages: Iterable[Message]) -> list[int]:
    """The seqs of the records."""
    return [message.seq for message in messages if isinstance(message, ExtendedMessage)]


def record(seq: int, *, at: float | None = None, ts_usec: int | None = None, **marks: object) -> ExtendedMessage:
    """A record that was logged ``seq`` ms after the boot, at the Unix time 1000, and received at once."""
    ts_usec = seq * 1000 if ts_usec is None else ts_usec
    at = 1000 + seq / 1000 if at is None else at
    return extended_message(f"record {seq}", seq=seq, ts_usec=ts_usec, received_at=at, **marks)  # type: ignore[arg-type]


def records(*seqs: int) -> list[Message]:
    """A sender's first record is a reset; each that follows a gap has ``missing``."""
    found: list[Message] = []
    last = seqs[0] - 1
    for seq in seqs:
        found.append(record(seq, missing=seq - last - 1, seq_reset=not found, new=not found))
        last = seq
    return found


def follow(*seqs: int, after: int) -> list[Message]:
    """Records of a known sender."""
    found: list[Message] = []
    for seq in seqs:
        found.append(record(seq, missing=seq - after - 1))
        after = seq
    return found


def balanced(merge: Copies, out: Sequence[Message]) -> None:
    """The counters add up."""
    summary = merge.summary()
    assert summary.handed_on == len(out)
    assert sum(each.messages for each in summary.receivers) == summary.handed_on + summary.held + sum(
        each.copies for each in summary.receivers
    )


def test_second_copies_are_dropped() -> None:
    """Each record of two receivers is handed on once, with the marks of the first one."""
    merge = Copies()
    out = merge.take(A, records(1, 2, 3), 0.0)
    assert merge.take(B, records(1, 2, 3), 0.5) == []
    out += merge.take(B, follow(4, 5, after=3), 1.5)
    out += merge.take(A, follow(4, 5, after=3), 2.0)
    assert numbered(out) == [1, 2, 3, 4, 5]
    assert [message.new for message in out] == [True, False, False, False, False]
    assert [each.copies for each in merge.summary().receivers] == [2, 3]
    balanced(merge, out)


def test_a_gap_that_the_other_fills_is_none() -> None:
    """A record behind a gap waits for the other receiver; the merged stream shows no gap and no loss."""
    merge = Copies()
    out = merge.take(A, records(1, 2), 0.0) + merge.take(B, records(1, 2), 0.0)
    gap = record(5, missing=2, lost=2, likely_lost=2)
    out += merge.take(A, [gap], 1.0)
    assert numbered(out) == [1, 2]
    assert merge.oldest() == 1.0
    out += merge.take(B, [*follow(3, 4, 5, after=2)], 1.5)
    assert numbered(out) == [1, 2, 3, 4, 5]
    assert (gap.missing, gap.lost, gap.likely_lost, gap.out_of_order) == (0, 0, 0, False)
    assert merge.oldest() == float("inf")
    balanced(merge, out)


def test_a_part_of_a_gap() -> None:
    """What the other receiver fills of a gap is subtracted from missing and lost."""
    merge = Copies()
    out = merge.take(A, records(1), 0.0) + merge.take(B, records(1), 0.0)
    gap = record(6, missing=4, lost=2, likely_lost=0)
    out += merge.take(A, [gap], 1.0)
    out += merge.take(B, follow(3, 6, after=1), 1.5)
    assert numbered(out) == [1, 3, 6]
    assert [message.missing for message in out if isinstance(message, ExtendedMessage)] == [0, 1, 2]
    assert gap.lost == 1


def test_a_gap_of_both_does_not_wait() -> None:
    """Where both receivers have passed a gap, or msgid shows no loss, nothing waits: the console log level."""
    merge = Copies()
    out = merge.take(A, records(1), 0.0) + merge.take(B, records(1), 0.0)
    out += merge.take(A, [record(9, missing=7)], 1.0)
    assert numbered(out) == [1]
    out += merge.take(B, [record(9, missing=7)], 1.1)
    assert numbered(out) == [1, 9]
    out += merge.take(A, [record(20, missing=10, lost=0)], 2.0)
    assert numbered(out) == [1, 9, 20]


def test_the_wait_ends() -> None:
    """A record behind a gap is handed on after ``hold``; what comes later is marked, and nothing is lost."""
    merge = Copies(hold=3.0)
    out = merge.take(A, records(1), 0.0) + merge.take(B, records(1), 0.0)
    out += merge.take(A, follow(4, after=1), 1.0)
    assert merge.deadline() == 4.0
    assert merge.flush(3.9) == []
    out += merge.flush(4.0)
    assert numbered(out) == [1, 4]
    late = follow(2, 3, after=1)
    out += merge.take(B, list(late), 5.0)
    assert numbered(out) == [1, 4, 2, 3]
    assert [message.out_of_order for message in late if isinstance(message, ExtendedMessage)] == [True, True]
    balanced(merge, out)


def test_nothing_waits_for_a_receiver_that_is_away() -> None:
    """After BEHIND_SECONDS and BEHIND_MESSAGES without the other receiver, a gap does not wait."""
    merge = Copies()
    merge.take(A, records(1), 0.0)
    merge.take(B, records(1), 0.0)
    end = 2 + BEHIND_MESSAGES
    merge.take(A, follow(*range(2, end), after=1), 1.0)
    assert merge.take(A, follow(end + 1, after=end - 1), 1.0) == []
    assert numbered(merge.flush(4.0)) == [end + 1]
    assert numbered(merge.take(A, follow(end + 3, after=end + 1), 1.0 + BEHIND_SECONDS)) == [end + 3]


def test_a_loss_before_a_silence() -> None:
    """A receiver that lost the last record before a silence is not away: its records are waited for."""
    merge = Copies()
    merge.take(A, records(1), 0.0)
    merge.take(B, records(1), 0.0)
    merge.take(A, follow(2, after=1), 1.0)
    burst = range(5, 5 + 2 * BEHIND_MESSAGES)
    assert merge.take(A, follow(*burst, after=2), 5.0 + BEHIND_SECONDS) == []
    assert numbered(merge.take(B, follow(3, 4, 5, after=1), 5.5 + BEHIND_SECONDS)) == [3, 4, *burst]


def test_one_receiver_is_unchanged() -> None:
    """The messages of a host that one receiver hears are handed on at once with their marks."""
    merge = Copies()
    messages: list[Message] = [
        record(7, seq_reset=True, new=True),
        record(9, missing=1, lost=1),
        record(8, out_of_order=True),
        record(3, seq_reset=True, boot=True, at=2000.0),
        record(5, missing=1, limited=4),
    ]
    before = [message._state() for message in messages]
    assert merge.take(A, list(messages), 0.0) == messages
    assert [message._state() for message in messages] == before


def test_incomplete() -> None:
    """An incomplete record waits for the whole one, and is replaced by it."""
    merge = Copies()
    out = merge.take(A, records(1), 0.0) + merge.take(B, records(1), 0.0)
    broken = extended_message("rec", seq=2, ts_usec=2000, received_at=1000.0, incomplete=True)
    out += merge.take(A, [broken, record(3)], 1.0)
    assert numbered(out) == [1]
    out += merge.take(B, follow(2, 3, after=1), 1.1)
    assert [message.text for message in out] == ["record 1", "record 2", "record 3"]
    assert not any(message.incomplete for message in out if isinstance(message, ExtendedMessage))
    balanced(merge, out)


def test_incomplete_second() -> None:
    """An incomplete second copy is dropped; a whole one after an incomplete one was handed on is handed on."""
    merge = Copies()
    out = merge.take(A, records(1, 2), 0.0) + merge.take(B, records(1), 0.0)
    broken = extended_message("rec", seq=2, ts_usec=2000, received_at=1000.0, incomplete=True)
    assert merge.take(B, [broken], 0.1) == []
    broken = extended_message("rec", seq=3, ts_usec=3000, received_at=1000.0, incomplete=True)
    out += merge.take(A, [broken], 1.0) + merge.flush(4.0)
    out += merge.take(B, follow(3, after=2), 5.0)
    assert [message.text for message in out] == ["record 1", "record 2", broken.text, "record 3"]
    assert merge.summary().receivers[1].completed == 1
    balanced(merge, out)


def test_boot() -> None:
    """A boot is shown once, with its records in order, although one receiver lost its first records."""
    merge = Copies()
    out = merge.take(A, records(98, 99), 0.0) + merge.take(B, records(98, 99), 0.0)
    # Booted at the Unix time 1010.
    first = {"seq_reset": True, "boot": True}
    out += merge.take(A, [record(50, at=1010.05, **first), record(51, at=1010.051)], 10.0)
    out += merge.take(B, [record(48, at=1010.048, **first), record(49, at=1010.049), record(50, at=1010.05)], 10.5)
    assert numbered(out) == [98, 99, 48, 49, 50, 51]
    assert [message.boot for message in out] == [False, False, True, False, False, False]
    assert [message.seq_reset for message in out if isinstance(message, ExtendedMessage)][2:] == [True] + [False] * 3
    balanced(merge, out)


def test_boot_behind_the_last_records_of_the_other() -> None:
    """Records of the boot before that only one receiver had come before the boot."""
    merge = Copies()
    out = merge.take(A, records(98), 0.0) + merge.take(B, records(98), 0.0)
    out += merge.take(A, [record(50, at=1010.05, seq_reset=True, boot=True)], 10.0)
    out += merge.take(B, [record(99, missing=0), record(50, at=1010.05, seq_reset=True, boot=True)], 10.1)
    assert numbered(out) == [98, 99, 50]
    assert [message.boot for message in out] == [False, False, True]


def test_equal_seqs_of_two_boots() -> None:
    """Records with the timestamp 0 are equal in every boot, and each boot has them once."""
    merge = Copies()
    out: list[Message] = []
    for boot in range(3):
        for receiver in (A, B):
            at = 1000.0 + 10 * boot
            marks = {"seq_reset": True, "boot": boot > 0, "new": not boot}
            first = extended_message("Linux version", seq=0, ts_usec=0, received_at=at, **marks)  # type: ignore[arg-type]
            second = extended_message("Command line", seq=1, ts_usec=0, received_at=at)
            out += merge.take(receiver, [first, second], 10.0 * boot + (receiver == B))
    assert [message.text for message in out] == ["Linux version", "Command line"] * 3
    assert [message.boot for message in out] == [False, False, True, False, True, False]
    balanced(merge, out)


def test_equal_seqs_after_a_boot_that_the_other_missed() -> None:
    """The first records of a boot are no copies of those of a boot that one receiver missed."""
    merge = Copies()
    out: list[Message] = []
    for number, receiver in enumerate((A, B)):
        out += merge.take(
            receiver, [extended_message("Linux version", seq=0, ts_usec=0, received_at=1000.0 + 10 * number)], number
        )
    assert len(out) == 2


def test_restart_of_a_receiver() -> None:
    """A receiver that was restarted marks its first message as new; the merged stream shows no reset."""
    merge = Copies()
    out = merge.take(A, records(1, 2), 0.0) + merge.take(B, records(1, 2), 0.0)
    again = [record(4, new=True, seq_reset=True), record(5)]
    out += merge.take(B, follow(3, after=2), 0.5)
    out += merge.take(A, list(again), 1.0)
    out += merge.take(B, follow(4, 5, after=3), 1.5)
    assert numbered(out) == [1, 2, 3, 4, 5]
    assert (again[0].new, again[0].seq_reset, again[0].missing) == (False, False, 0)
    balanced(merge, out)


def test_a_buffer_that_is_sent_again() -> None:
    """A replay is handed on once, as often as one receiver has it, marked ``replayed``."""
    merge = Copies()
    out = merge.take(A, records(1, 2, 3), 0.0) + merge.take(B, records(1, 2, 3), 0.0)
    for receiver in (A, B):
        replay = [record(seq, replayed=True, seq_reset=seq == 1, at=1100.0) for seq in (1, 2, 3)]
        out += merge.take(receiver, [*replay, record(4, at=1100.0)], 10.0)
    out += merge.flush(20.0)
    assert numbered(out) == [1, 2, 3, 1, 2, 3, 4]
    balanced(merge, out)


def test_legacy_lines() -> None:
    """Lines are copies by text and time of receipt; equal lines of one receiver are all handed on."""
    merge = Copies()
    of_a: list[Message] = [legacy_message("tick", received_at=1000.0 + step) for step in (0.0, 0.1, 0.2, 60.0)]
    of_b: list[Message] = [legacy_message("tick", received_at=1000.3 + step) for step in (0.0, 0.1, 0.2, 30.0)]
    out = merge.take(A, list(of_a), 0.0)
    assert out == of_a
    assert merge.take(B, list(of_b), 0.5) == [of_b[3]]
    assert merge.take(B, [legacy_message("other", received_at=1000.0)], 1.0)
    balanced(merge, [None] * 6)  # type: ignore[list-item]


def test_legacy_lines_are_bounded() -> None:
    """More than LINES_LIMIT lines of a host are not remembered."""
    merge = Copies()
    lines: list[Message] = [legacy_message(f"line {number}", received_at=1000.0) for number in range(LINES_LIMIT + 5)]
    merge.take(A, list(lines), 0.0)
    cost = merge.summary().cost
    merge.take(A, [legacy_message("line 0", received_at=1000.0)], 0.0)
    assert merge.summary().cost == pytest.approx(cost, abs=10)
    assert merge.take(B, lines[6:], 0.0) == []
    assert merge.take(B, lines[:1], 0.0) == []
    assert merge.take(B, lines[1:6], 0.0) == lines[1:6]


def test_other_ports_and_hosts() -> None:
    """The target's port is not compared; another address is another host."""
    merge = Copies()
    out = merge.take(A, records(1, 2), 0.0)
    for message in records(1, 2):
        message._source = source(port=7777)
        out += merge.take(B, [message], 0.1)
    assert numbered(out) == [1, 2]
    for message in records(1, 2):
        message._source = source("192.0.2.2")
        out += merge.take(B, [message], 0.2)
    assert numbered(out) == [1, 2, 1, 2]


def test_two_machines_behind_one_address() -> None:
    """Machines that share an address are told apart by their numbers; each record is handed on once."""
    merge = Copies()
    out: list[Message] = []
    for receiver, ports in ((A, (1000, 1001)), (B, (2000, 2001))):
        batch: list[Message] = []
        for seq in range(5):
            for machine, port in enumerate(ports):
                message = record(
                    seq + 5000 * machine, at=5000.0, ts_usec=seq * 1000 + machine * 10**9, seq_reset=seq == 0
                )
                message._source = source(port=port)
                batch.append(message)
        out += merge.take(receiver, batch, 1.0)
    assert sorted(numbered(out)) == [*range(5), *range(5000, 5005)]
    balanced(merge, out)


def test_missed() -> None:
    """Messages that only one receiver had are counted for the other one, by host, after MISSED_SECONDS."""
    merge = Copies()
    merge.take(A, records(1, 2), 0.0)
    merge.take(B, records(1, 2), 0.0)
    merge.take(A, follow(3, 4, 5, after=2), 1.0)
    merge.take(B, follow(5, after=2), 1.0)
    merge.flush(MISSED_SECONDS - 1)
    assert [each.missed for each in merge.summary().receivers] == [0, 0]
    merge.flush(MISSED_SECONDS + 1)
    merge.flush(3 * MISSED_SECONDS)
    assert [each.missed for each in merge.summary().receivers] == [0, 2]
    assert merge.summary().most_missed == [("192.0.2.1", B, 2)]
    merge.take(B, follow(4, after=2), 200.0)
    assert [(each.missed, each.late, each.copies) for each in merge.summary().receivers] == [(0, 0, 0), (2, 1, 4)]


def test_missed_only_by_receivers_of_the_host() -> None:
    """A receiver that never heard a host misses nothing of it; what was before its first record is not missed."""
    merge = Copies()
    merge.take(B, [legacy_message("other", address="192.0.2.9")], 0.0)
    merge.take(A, records(1, 2, 3), 0.0)
    merge.flush(3 * MISSED_SECONDS)
    merge.take(B, records(3), 200.0)
    merge.flush(300.0)
    merge.flush(400.0)
    assert [each.missed for each in merge.summary().receivers] == [0, 0]


def test_a_receiver_that_is_away_is_forgotten() -> None:
    """A receiver misses the messages of HEARS_SECONDS; after that, it is none of the host's."""
    merge = Copies()
    merge.take(A, records(1), 0.0)
    merge.take(B, records(1), 0.0)
    now, seq = 0.0, 1
    while now < HEARS_SECONDS + 3 * MISSED_SECONDS:
        now += 20
        seq += 1
        merge.take(A, [record(seq)], now)
    missed = merge.summary().receivers[1].missed
    assert HEARS_SECONDS / 20 - 10 < missed < HEARS_SECONDS / 20 + 10
    for _ in range(100):
        now += 20
        seq += 1
        merge.take(A, [record(seq)], now)
    assert merge.summary().receivers[1].missed == missed


def test_beyond_the_window() -> None:
    """A copy more than WINDOW records behind is not recognised, and handed on: nothing is dropped on a guess."""
    merge = Copies(hold=0)
    merge.take(A, records(1), 0.0)
    merge.take(B, records(1), 0.0)
    merge.take(A, follow(*range(2, WINDOW + 3), after=1), 1.0)
    assert numbered(merge.take(B, follow(2, 3, after=1), 2.0)) == [2]


def test_hosts_are_bounded() -> None:
    """The memory for hosts is bounded: those silent longest are forgotten, and counted."""
    merge = Copies(memory=100_000)
    for number in range(500):
        message = record(1)
        message._source = source(f"192.0.{number // 250}.{number % 250}")
        merge.take(A, [message], float(number))
    summary = merge.summary()
    assert summary.cost <= 100_000
    assert summary.hosts + summary.forgotten == 500
    message = record(1)
    message._source = source("192.0.1.249")
    assert merge.take(B, [message], 500.0) == []


def test_receivers_of_a_host_are_bounded() -> None:
    """More receivers of a host than bits begin its window again, and nothing is lost."""
    merge = Copies()
    out: list[Message] = []
    for number in range(50):
        out += merge.take(b"receiver %d" % number, records(1, 2), float(number))
    out += merge.flush()
    assert numbered(out) == [1, 2] * -(-50 // copies.HOST_RECEIVERS_LIMIT)
    balanced(merge, out)


def test_ports_are_bounded() -> None:
    """A host that sends each message from another port takes no more memory, and its copies are recognised."""
    merge = Copies()
    out: list[Message] = []
    for seq in range(1, 200):
        for receiver in (A, B):
            message = record(seq, seq_reset=True)
            message._source = source(port=1000 + seq)
            out += merge.take(receiver, [message], float(seq))
    assert numbered(out) == list(range(1, 200))
    assert merge.summary().cost < 20_000


def test_runs_are_bounded() -> None:
    """A host that begins again and again takes no more memory."""
    merge = Copies()
    for number in range(100):
        merge.take(A, [record(seq, at=2000.0 + number, seq_reset=seq == 1, boot=seq == 1) for seq in (1, 2)], 1.0)
    assert merge.summary().cost < 10_000


def test_receivers_and_missed_hosts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receivers silent longest are forgotten, and the hosts with the fewest missed messages."""
    monkeypatch.setattr(copies, "RECEIVERS_LIMIT", 3)
    monkeypatch.setattr(copies, "MISSED_LIMIT", 2)
    merge = Copies()
    for number in range(5):
        for receiver in (A, B):
            merge.take(receiver, [_at_host(record(1), number)], 1.0)
        merge.take(A, [_at_host(record(seq), number) for seq in range(2, 4 + number)], 1.0)
    merge.flush(2 * MISSED_SECONDS)
    merge.flush(4 * MISSED_SECONDS)
    assert [host.missed for host in merge.summary().most_missed] == [6, 5]
    for number in range(9):
        merge.take(b"receiver %d" % number, [record(1)], 300.0 + number)
    assert [heard.receiver[-1:] for heard in merge.summary().receivers] == [b"6", b"7", b"8"]


def _at_host(message: Message, number: int) -> Message:
    message._source = source(f"192.0.2.{number}")
    return message


def test_forged_seqs() -> None:
    """A seq that no kernel reaches is handed on, and compared with nothing."""
    merge = Copies()
    for receiver in (A, B):
        for seq in (2**63, 2**64 - 1):
            assert numbered(merge.take(receiver, [record(seq, ts_usec=1, at=1000.0)], 0.0)) == [seq]


def test_another_boot_is_not_joined() -> None:
    """A record of a boot after the other receiver's last record begins a run, although its seq would follow."""
    merge = Copies()
    merge.take(A, records(98, 99), 0.0)
    first = record(100, at=2000.1, new=True, seq_reset=True)
    assert merge.take(B, [first], 900.0) == [first]
    assert first.seq_reset and first.new


def test_held_messages_are_bounded() -> None:
    """Beyond the bound for held bytes, with their objects, the messages held longest are handed on."""
    merge = Copies(held_bytes=3 * MESSAGE_OVERHEAD)
    out = merge.take(A, records(1), 0.0) + merge.take(B, records(1), 0.0)
    out += merge.take(A, follow(*range(3, 100, 2), after=1), 1.0)
    assert 0 < merge.summary().held <= 2
    balanced(merge, out)


def test_the_bytes_of_replaced_messages() -> None:
    """A held message that a shorter one replaces does not count as long as before when it is handed on."""
    merge = Copies(held_bytes=100_000)
    out = merge.take(A, records(1), 0.0) + merge.take(B, records(1), 0.0)
    # After 20 of them, the bound would be reached for ever.
    for seq in range(2, 200):
        broken = extended_message("x" * 10_000, seq=seq, ts_usec=seq * 1000, received_at=1000.0, incomplete=True)
        assert merge.take(A, [broken], 1.0) == []
        out += merge.take(B, [record(seq)], 1.0)
    assert numbered(out) == list(range(1, 200))
    balanced(merge, out)


def test_the_first_stop_loses_nothing() -> None:
    """``flush`` without a time hands on everything, and decides nothing."""
    merge = Copies()
    out = merge.take(A, records(1), 0.0) + merge.take(B, records(1), 0.0)
    out += merge.take(A, follow(5, after=1), 1.0)
    out += merge.flush()
    assert numbered(out) == [1, 5]
    assert merge.summary().receivers[1].missed == 0


def machine(chance: random.Random, count: int) -> list[Sent]:
    """The datagrams of a machine: some suppressed, some in fragments, a boot in between."""
    sent: list[Sent] = []
    at, boot, seq = 5000.0, 4990.0, chance.randrange(500)
    for _ in range(count):
        at += chance.choice((0.0001, 0.001, 0.02, 0.5))
        seq += chance.choice((1, 1, 1, 1, 1, 3))
        if chance.random() < 0.01:
            boot = at + 3
            at += chance.uniform(4, 20)
            seq = chance.randrange(300)
        text = f"text {chance.randrange(10**9)}"
        ts_usec = int((at - boot) * 1e6)
        if chance.random() < 0.03:
            sent += [Sent(at, each) for each in fragments(extended(text + "." * 1500, seq=seq, ts_usec=ts_usec))]
        else:
            sent.append(Sent(at, extended(text, seq=seq, ts_usec=ts_usec)))
    return sent


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("delay", [0.0, 1.0, 20.0])
def test_each_message_once(loss: float, delay: float) -> None:
    """Two receivers with loss, reordering and delay: the merged stream has once what either had, and sums hold."""
    for seed in range(60):
        each_message_once(seed, loss, delay)


def each_message_once(seed: int, loss: float, delay: float) -> None:
    """Of 2000 seeds, 5 fail: with much loss, a record beside a reboot can come twice or out of order, or is counted as
    missed by both."""
    chance = random.Random(seed)
    sent = machine(chance, 150)
    one, two = received(sent, chance, loss, 0.0), received(sent, chance, loss, delay)

    def identities(batches: Iterable[tuple[float, Sequence[Message]]]) -> set[tuple[int | None, int, bool]]:
        return {
            (message.ts_usec, message.seq, message.incomplete)
            for _, batch in batches
            for message in batch
            if isinstance(message, ExtendedMessage)
        }

    had = identities(one), identities(two)
    merge = Copies()
    out = merged(merge, one, two)
    found = [
        (message.ts_usec, message.seq, message.incomplete) for message in out if isinstance(message, ExtendedMessage)
    ]
    # Parts of a record, each incomplete, can be delivered as several.
    assert max(Counter(each[:2] for each in found if not each[2]).values(), default=0) <= 1, seed
    whole = {(ts, seq) for ts, seq, incomplete in had[0] | had[1] if not incomplete}
    assert {(ts, seq) for ts, seq, incomplete in found if not incomplete} == whole
    assert {(ts, seq) for ts, seq, _ in found} == {(ts, seq) for ts, seq, _ in had[0] | had[1]}
    balanced(merge, out)
    if loss <= 0.01:
        only = [len({each[:2] for each in one} - {each[:2] for each in other}) for one, other in (had, had[::-1])]
        missed = {each.receiver: each.missed - each.late for each in merge.summary().receivers}
        # A record beside a reboot, which one receiver noticed later, can be counted as missed by both.
        assert 0 <= missed[A] - only[1] <= (loss > 0), seed
        assert 0 <= missed[B] - only[0] <= (loss > 0), seed
    if delay <= 1.0:
        in_order = [(ts, seq) for ts, seq, _ in found]
        late = [m for m in out if isinstance(m, ExtendedMessage) and m.out_of_order]
        boots = 1 + sum(message.boot for message in out)
        steps = sum(1 for (_, before), (_, after) in pairwise(in_order) if after < before)
        assert steps <= boots - 1 + len(late)


@pytest.mark.skipif(not RECORDING.exists(), reason="the recordings are not beside the checkout")
@pytest.mark.parametrize("seed", range(20))
def test_a_real_crash(seed: int) -> None:
    """A kernel's crash, received twice with different losses, is whole and in order, and shows no loss that is none."""
    chance = random.Random(seed)
    begin = 1_795_849_200.0
    lines = [json.loads(line) for line in RECORDING.read_text().splitlines()]
    # 10 s before, so that both receivers are known.
    sent = [Sent(begin + lines[0]["t"] - 10, extended("before", seq=FIRST_SEQ - 1, ts_usec=1000))]
    sent += [Sent(begin + line["t"], line["data"].encode("latin-1")) for line in lines]
    one, two = received(sent, chance, 0.2, 0.0), received(sent, chance, 0.2, 0.5)
    had = set(numbered(m for _, batch in one + two for m in batch))
    merge = Copies()
    out = merged(merge, one, two)
    assert numbered(out) == sorted(had)
    seqs = sorted(had)
    gaps = [after - before - 1 for before, after in pairwise(seqs)]
    assert [m.missing for m in out[1:] if isinstance(m, ExtendedMessage)] == gaps
    balanced(merge, out)


def test_names() -> None:
    """The recordings are where the test looks for them, or nowhere."""
    assert RECORDING.exists() or not Path(DIRECTORY).exists()
