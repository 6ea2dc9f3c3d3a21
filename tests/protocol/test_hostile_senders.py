"""Hostile senders cost bounded time and memory, and do not affect other senders' order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.protocol.counters import WorkerCounters, inconsistencies, total
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.placesize import places_of
from netconsd.protocol.stream import FRAGMENT_SECONDS
from netconsd.protocol.table import SourceTable
from netconsd.testing import extended, fragments, source
from tests.support.memory import bytes_for

REORDER_TIME = 0.2
REAL = source("192.0.2.1").key
HOSTILE = source("203.0.113.9").key


def forged(number: int) -> bytes:
    """The key of a forged sender by number."""
    return source(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}").key


#: The hostile sender's datagram by number. Each attack is the worst known for one step between a datagram and its
#: message: a table, a search, a loop.
ATTACKS: dict[str, Callable[[int], bytes]] = {
    "gaps": lambda n: extended("x", seq=n * 1000, ts_usec=n),
    "jumps to the end": lambda n: extended("x", seq=2**64 - 1 - n % 2, ts_usec=n),
    "held in descending order": lambda n: extended("x", seq=2**40 if n % 2000 == 0 else 2**41 - n, ts_usec=5),
    "resets": lambda n: extended("x", seq=n % 2 * 10**6, ts_usec=n),
    "repeats": lambda n: extended("x", seq=1, ts_usec=1),
    "repeats of a held record": lambda n: extended("x", seq=5 if n else 1, ts_usec=1),
    "huge held records": lambda n: b"6,%d,%d,-;" % (n * 1000, n) + b"x" * 60_000,
    "a fragment of each message": lambda n: b"6,%d,1,-,ncfrag=0/131072;x" % n,
    "a fragment of each total": lambda n: b"6,1,1,-,ncfrag=0/%d;x" % (1000 + n % 100_000),
    "fragments of a byte": lambda n: b"6,1,1,-,ncfrag=%d/131072;x" % (n * 2 % 131_072),
    "a fragment over many gaps": lambda n: (
        b"6,%d,1,-,ncfrag=%d/131072;x" % (n // 520, n % 520 * 2)
        if n % 520 < 512
        else b"6,%d,1,-,ncfrag=0/131072;" % (n // 520) + b"y" * 60_000
    ),
    "newlines": lambda n: b"\n" * 1000,
    "64 KiB of newlines": lambda n: b"\n" * 65_507,
    "no newline": lambda n: b"x" * 65_507,
    "a byte of a line": lambda n: b"x",
    "both formats in turn": lambda n: b"x" if n % 2 else extended("x", seq=n, ts_usec=n),
    "64 KiB of keys": lambda n: b"6,%d,1,-," % n + b"k=v," * 16_000 + b";x",
    "64 KiB of fields": lambda n: b"1," * 32_000,
    "64 KiB of beginnings of headers": lambda n: b"1,2,3," * 10_000 + b";",
    "64 KiB of records": lambda n: b"".join(b"6,%d,1,-;\n" % (n * 6000 + k) for k in range(5500)),
    "64 KiB of stray lines": lambda n: b"6,%d,1,-;\n" % n + b";\n" * 32_000,
    "a record without an end": lambda n: b"6,1,1,-;x" if n % 60_000 == 0 else b"\n",
    "64 KiB of NULs": lambda n: b"a\0" * 32_000,
    "64 KiB of userdata": lambda n: b"6,%d,1,-;x\n" % n + b" a=b\n" * 12_000 + b" msgid=%d\n" % n,
    "empty datagrams": lambda n: b"",
}
attacks = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


def parts(datagram: bytes) -> int:
    """The lines and keys of a datagram, roughly: the number of their separators."""
    return sum(datagram.count(separator) for separator in b"\n\0,")


class Lane:
    """A table with the defaults of a worker, and a scripted clock."""

    def __init__(self, **options: Any) -> None:
        self.counters = WorkerCounters()
        options = {"limit": 1000, "reorder_time": REORDER_TIME, "gc_interval": 60.0, "age": 3600.0} | options
        self.table = SourceTable(self.counters, **options)
        self.now = 1000.0

    def feed(self, *pairs: tuple[bytes, bytes]) -> list[Message]:
        return self.table.feed([key for key, _ in pairs], [datagram for _, datagram in pairs], 5.0, self.now)

    def wait(self, seconds: float) -> list[Message]:
        self.now += seconds
        return self.table.advance(self.now)


def seqs(messages: list[Message], key: bytes = REAL) -> list[int]:
    """The seqs of a sender's messages."""
    return [message.seq for message in messages if isinstance(message, ExtendedMessage) and message.source.key == key]


# Time.


@attacks
def test_the_time_of_a_datagram_is_bounded(attack: Callable[[int], bytes]) -> None:
    """Each KiB takes less than 3 ms of the lane (measured: a third of it for records of 12 bytes in plain Python, a
    thirtieth otherwise), however many datagrams were received before it."""
    lane = Lane()
    datagrams: list[bytes] = []
    while len(datagrams) < 3000 and sum(map(len, datagrams)) < 2_000_000:
        datagrams.append(attack(len(datagrams)))
    seconds = time.thread_time()
    for start in range(0, len(datagrams), 100):
        lane.now += 0.0005
        lane.feed(*((HOSTILE, datagram) for datagram in datagrams[start : start + 100]))
    lane.table.flush()
    seconds = time.thread_time() - seconds
    places = sum(places_of(len(datagram)) for datagram in datagrams)
    assert seconds / places < 0.003
    assert inconsistencies(total([lane.counters])) == []


# The order of other senders' messages.


@attacks
def test_other_senders_on_the_lane_are_unaffected(attack: Callable[[int], bytes]) -> None:
    """A real sender's records are delivered with their batch, unmarked; one behind a gap after the reorder time; one in
    fragments with its last fragment."""
    lane = Lane()
    seq = 1
    lane.feed((REAL, extended("first", seq=seq)))
    # Thousands of records or lines in one datagram take some milliseconds in plain Python.
    turns = 8 if parts(attack(0)) < 1000 else 1
    for turn in range(turns):
        hostile = [(HOSTILE, attack(turn * 10 + number)) for number in range(10)]
        lane.now += 0.001
        out = lane.feed(*hostile[:5], (REAL, extended("next", seq=seq + 1)), *hostile[5:])
        assert seqs(out) == [seq + 1]
        pieces = fragments(extended("long " * 500, seq=seq + 2))
        out = lane.feed(*((REAL, piece) for piece in pieces[:-1]), *hostile)
        assert seqs(out) == []
        out = lane.feed((REAL, pieces[-1]), *hostile)
        assert seqs(out) == [seq + 2]
        (record,) = [message for message in out if message.source.key == REAL]
        assert isinstance(record, ExtendedMessage)
        assert not (record.incomplete or record.seq_reset or record.out_of_order or record.missing)
        out = lane.feed((REAL, extended("behind a gap", seq=seq + 5)), *hostile)
        assert seqs(out) == []
        assert seqs(lane.wait(REORDER_TIME * 0.9)) == []
        assert seqs(lane.wait(REORDER_TIME * 0.1 + 1e-6)) == [seq + 5]
        seq += 5


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(ATTACKS)), st.integers(0, 600), st.floats(0, 0.05)), min_size=1, max_size=25
    )
)
def test_a_forged_address_does_not_silence_its_sender(hostile: list[tuple[str, int, float]]) -> None:
    """Datagrams forged with the address and port of a real sender, but not with its timestamps, can cause marks and
    resets; each record of the real sender is delivered once, within the time for fragments."""

    def forged_datagram(attack: str, number: int) -> bytes:
        datagram = ATTACKS[attack](number)
        # Ten thousand parts do the same as a thousand, only slower.
        return datagram if parts(datagram) < 1000 else datagram[:8192]

    lane = Lane()
    out: list[Message] = []
    due = []
    for seq, (attack, number, pause) in enumerate(hostile, 100):
        lane.feed((REAL, b"\n"))
        out += lane.feed((REAL, forged_datagram(attack, number)))
        out += lane.feed((REAL, extended(f"real {seq}", seq=seq, ts_usec=777_000_000 + seq)))
        due.append(f"real {seq}")
        out += lane.wait(pause)
        out += lane.feed((REAL, forged_datagram(attack, number + 1)))
    out += lane.wait(max(REORDER_TIME, FRAGMENT_SECONDS))
    texts = Counter(message.text for message in out if message.text.startswith("real "))
    assert texts == Counter(due)


# Memory, and the table.


def test_a_flood_of_forged_senders_evicts_the_longest_silent() -> None:
    """100 real senders that each send a message for every ten of 40,000 forged senders keep their place in a table of
    1200, and their order."""
    lane = Lane(limit=1200)
    real = [source(f"192.0.2.{number}").key for number in range(100)]
    out: list[Message] = []
    for turn in range(1, 41):
        for number, key in enumerate(real):
            base = (turn * 100 + number) * 10
            lane.now += 1e-5
            out += lane.feed((key, extended("", seq=turn)), *((forged(base + offset), b"x\n") for offset in range(10)))
    assert lane.counters.senders_evicted == 40_000 + 100 - 1200
    assert len(lane.table) == 1200
    assert lane.counters.resets == 100
    for key in real:
        assert seqs(out, key) == list(range(1, 41))


@attacks
def test_the_held_bytes_are_bounded(attack: Callable[[int], bytes]) -> None:
    """During an attack from 100 addresses, the held bytes of a lane stay within their bound, and so does the memory."""
    bound = 2_000_000 if parts(attack(0)) < 1000 else 200_000

    def flooded() -> SourceTable:
        lane = Lane(limit=100, held_limit=bound)
        octets = 0
        for number in range(2500):
            datagram = attack(number)
            octets += len(datagram)
            lane.feed((forged(number % 100), datagram))
            if octets > 2 * bound:
                break
        assert lane.table.held_bytes <= bound
        return lane.table

    assert bytes_for(flooded) < 1.5 * bound + 400_000


# Clocks.


def test_a_step_of_the_wall_clock_changes_no_order_and_no_deadline() -> None:
    """Steps of the wall clock by years change neither the order nor the deadlines of messages."""
    stepped, steady = Lane(), Lane()
    for lane, times in ((stepped, [1.7e9, 0.0, 4e9, 1.0, 1.7e9]), (steady, [1.7e9] * 5)):
        out: list[list[int]] = []
        for seq, when in zip((1, 3, 2, 6, 5), times, strict=True):
            out.append(seqs(lane.table.feed([REAL], [extended("", seq=seq)], when, lane.now)))
            lane.now += REORDER_TIME / 4
            out.append(seqs(lane.table.advance(lane.now)))
        out.append(seqs(lane.wait(REORDER_TIME)))
        assert out == [[1], [], [], [], [2, 3], [], [], [], [], [], [5, 6]]
        assert len(lane.table) == 1
