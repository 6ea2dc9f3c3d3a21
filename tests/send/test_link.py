"""The faults of a link, and its exact counters."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.table import SourceTable
from netconsd.send.fleet import FORMATS, Fleet, Template
from netconsd.send.link import Link, LinkCounters, expected_counters
from netconsd.testing import source

FAULTS = {
    "none": (0.0, 0.0, 0.0),
    "loss": (0.2, 0.0, 0.0),
    "duplicate": (0.0, 0.2, 0.0),
    "reorder": (0.0, 0.0, 0.2),
    "all": (0.1, 0.1, 0.1),
}
chances = st.sampled_from([0.0, 0.05, 0.3, 0.9])


def transmitted(link: Link, fleet: Fleet, count: int) -> list[tuple[int, bytes]]:
    """The senders and datagrams that leave the link for the first ``count`` messages of a fleet."""
    senders: list[int] = []
    datagrams: list[bytes] = []
    for number in range(count):
        sender, pieces = fleet.message(number)
        link.transmit(sender, pieces, fleet.is_first(number), senders, datagrams)
    link.flush(senders, datagrams)
    return list(zip(senders, datagrams, strict=True))


def fleet_of(senders: int, format: str = "extended") -> Fleet:
    """A fleet."""
    return Fleet(Template(format), senders, 0)


def test_flawless_link() -> None:
    """Without faults all datagrams pass in order; they are counted whether transmitted or bypassed."""
    link = Link(0, 0, 0, Random(1).random)
    fleet = fleet_of(3, "fragments")
    assert transmitted(link, fleet, 20) == list(zip(*fleet.batch(0, 20), strict=True))
    assert link.flawless
    assert link.counters == LinkCounters(messages=20, datagrams=60)
    link.count_bypassed(5, 15)
    assert link.counters == LinkCounters(messages=25, datagrams=75)


def test_loss() -> None:
    """With a loss of 100 %, only the first message of each sender arrives, and the others are unnoticed."""
    link = Link(1, 0, 0, Random(1).random)
    assert [sender for sender, _ in transmitted(link, fleet_of(3), 30)] == [0, 1, 2]
    assert link.counters == LinkCounters(messages=30, datagrams=30, lost=27, messages_lost=27, unnoticed=27)
    assert link.counters.sent == 3
    assert expected_counters(link.counters, "extended", 3)["missing"] == 0


def test_duplicates() -> None:
    """A duplicate follows its datagram immediately."""
    link = Link(0, 1, 0, Random(1).random)
    fleet = fleet_of(1)
    first, *others = [piece for number in range(4) for piece in fleet.message(number)[1]]
    assert [datagram for _, datagram in transmitted(link, fleet, 4)] == [
        first,
        *(piece for piece in others for _ in range(2)),
    ]
    assert link.counters == LinkCounters(messages=4, datagrams=4, duplicated=3)


def test_reordering() -> None:
    """A datagram is overtaken by the next one of its sender, whatever others send in between; the last one by none."""
    link = Link(0, 0, 1, Random(1).random)
    fleet = fleet_of(2)
    sent = transmitted(link, fleet, 12)
    message = [fleet.message(number)[1][0] for number in range(12)]
    for sender in (0, 1):
        expected = [message[sender + 2 * nth] for nth in (0, 2, 1, 4, 3, 5)]
        assert [datagram for from_sender, datagram in sent if from_sender == sender] == expected
    assert link.counters == LinkCounters(messages=12, datagrams=12, reordered=4)
    flushed: list[bytes] = []
    link.flush([], flushed)
    assert flushed == []


def test_loss_of_fragments() -> None:
    """A message that loses all of its datagrams is counted as lost, one that loses some as incomplete."""
    chances = iter([*(0.0, 0.9), *(0.0, 0.0)])
    link = Link(0.5, 0, 0, lambda: next(chances, 0.9))
    pieces = [b"a", b"b"]
    senders: list[int] = []
    datagrams: list[bytes] = []
    link.transmit(0, pieces, True, senders, datagrams)
    link.transmit(0, [b"lost"], False, senders, datagrams)
    assert link.counters.messages_lost == 1
    chances = iter([0.9, 0.9, 0.9, 0.0])
    link.transmit(0, pieces, False, senders, datagrams)
    assert link.counters.messages_incomplete == 1
    assert link.counters.unnoticed == 0
    assert link.counters.lost == 2


@given(
    chances,
    chances,
    chances,
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.integers(0, 120),
    st.sampled_from([*FORMATS]),
)
def test_counters_add_up(
    loss: float, duplicate: float, reorder: float, seed: int, senders: int, count: int, format: str
) -> None:
    """Datagrams built, minus those lost, plus those duplicated, are those sent; none is changed or held at the end."""
    link = Link(loss, duplicate, reorder, Random(seed).random)
    fleet = fleet_of(senders, format)
    built = Counter(zip(*fleet.batch(0, count), strict=True))
    sent = Counter(transmitted(link, fleet, count))
    counters = link.counters
    assert (counters.messages, counters.datagrams) == (count, built.total())
    assert counters.sent == sent.total()
    assert set(sent) <= set(built)
    assert counters.lost == len(set(built) - set(sent))
    assert counters.duplicated == sum(times - 1 for times in sent.values())
    assert counters.reordered == 0 or reorder
    assert 0 <= counters.unnoticed <= counters.messages_lost


def test_seed() -> None:
    """The same random numbers give the same datagrams, others give others."""
    one, same, other = (
        transmitted(Link(0.1, 0.1, 0.1, Random(seed).random), fleet_of(4), 200) for seed in ("7/0", "7/0", "7/1")
    )
    assert one == same != other


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("faults", FAULTS)
def test_counters_of_a_receiver(format: str, faults: str) -> None:
    """A table of senders that receives the datagrams has exactly the counters that the link predicts."""
    link = Link(*FAULTS[faults], Random(faults).random)
    senders = 5
    keys = [source(f"127.64.0.{number}").key for number in range(senders)]
    counters = WorkerCounters()
    table = SourceTable(counters, limit=100, reorder_time=0.2, gc_interval=60.0, age=3600.0, held_limit=10**8)
    sent = transmitted(link, fleet_of(senders, format), 400)
    # A millisecond per datagram: reordered datagrams arrive in time, and no bound on held messages is reached.
    for nth, (sender, datagram) in enumerate(sent):
        table.feed([keys[sender]], [datagram], 5.0, nth * 0.001)
        table.advance(nth * 0.001)
    table.flush()
    expected = expected_counters(link.counters, format, senders)
    names = {"senders": "senders_new"}
    actual = {name: getattr(counters, names.get(name, name)) for name in expected}
    # Late messages were counted as missing before.
    for name in ("missing", "lost"):
        actual[name] -= counters.late if expected[name] else 0
    if format == "fragments":
        actual["missing"] = counters.missing - counters.late
    assert actual == expected
    if faults != "all" or format == "legacy":
        return
    assert expected["dropped_duplicate"] > 0
    assert expected["missing" if format != "fragments" else "incomplete"] > 0


def test_sum_of_counters() -> None:
    """``add`` adds each counter."""
    both = LinkCounters(1, 2, 3, 4, 5, 6, 7, 8)
    both.add(LinkCounters(10, 20, 30, 40, 50, 60, 70, 80))
    assert both == LinkCounters(11, 22, 33, 44, 55, 66, 77, 88)
