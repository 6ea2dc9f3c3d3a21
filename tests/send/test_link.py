"""What a faulty link does to messages, and that it says exactly what it did."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.table import SourceTable
from netconsd.send.fleet import FORMATS, Fleet, Template
from netconsd.send.link import Account, Link, counted
from netconsd.testing import source

FAULTS = {
    "none": (0.0, 0.0, 0.0),
    "loss": (0.2, 0.0, 0.0),
    "duplicate": (0.0, 0.2, 0.0),
    "reorder": (0.0, 0.0, 0.2),
    "all": (0.1, 0.1, 0.1),
}
chances = st.sampled_from([0.0, 0.05, 0.3, 0.9])


def carried(link: Link, fleet: Fleet, count: int) -> list[tuple[int, bytes]]:
    """What comes off the link when a fleet has sent so many messages: sender and datagram."""
    senders: list[int] = []
    datagrams: list[bytes] = []
    for number in range(count):
        sender, pieces = fleet.message(number)
        link.carry(sender, pieces, fleet.is_first(number), senders, datagrams)
    link.flush(senders, datagrams)
    return list(zip(senders, datagrams, strict=True))


def fleet_of(senders: int, format: str = "extended") -> Fleet:
    """A fleet whose messages are small."""
    return Fleet(Template(format), senders, 0)


def test_a_flawless_link() -> None:
    """Without faults everything passes, in order, and is counted, whether it goes through the link or by its side."""
    link = Link(0, 0, 0, Random(1).random)
    fleet = fleet_of(3, "fragments")
    assert carried(link, fleet, 20) == list(zip(*fleet.batch(0, 20), strict=True))
    assert link.flawless
    assert link.account == Account(messages=20, datagrams=60)
    link.passed(5, 15)
    assert link.account == Account(messages=25, datagrams=75)


def test_what_is_lost_is_not_sent() -> None:
    """Where all is lost, only the first message of each sender arrives, and of the others nobody can know."""
    link = Link(1, 0, 0, Random(1).random)
    assert [sender for sender, _ in carried(link, fleet_of(3), 30)] == [0, 1, 2]
    assert link.account == Account(messages=30, datagrams=30, lost=27, messages_lost=27, unnoticed=27)
    assert link.account.sent == 3
    assert counted(link.account, "extended", 3)["missing"] == 0


def test_what_is_sent_twice_comes_twice_in_a_row() -> None:
    """A duplicate is the same datagram again, at once."""
    link = Link(0, 1, 0, Random(1).random)
    fleet = fleet_of(1)
    first, *others = [piece for number in range(4) for piece in fleet.message(number)[1]]
    assert [datagram for _, datagram in carried(link, fleet, 4)] == [
        first,
        *(each for each in others for _ in range(2)),
    ]
    assert link.account == Account(messages=4, datagrams=4, duplicated=3)


def test_what_is_reordered_comes_behind_the_next_of_its_sender() -> None:
    """A datagram is overtaken by the next one of its sender, whatever others send between; the last one by none."""
    link = Link(0, 0, 1, Random(1).random)
    fleet = fleet_of(2)
    sent = carried(link, fleet, 12)
    message = [fleet.message(number)[1][0] for number in range(12)]
    for sender in (0, 1):
        expected = [message[sender + 2 * nth] for nth in (0, 2, 1, 4, 3, 5)]
        assert [datagram for each, datagram in sent if each == sender] == expected
    assert link.account == Account(messages=12, datagrams=12, reordered=4)
    again: list[bytes] = []
    link.flush([], again)
    assert again == []


def test_messages_in_parts_are_counted_by_what_is_left_of_them() -> None:
    """A message of which every datagram is lost is lost; one of which some are is incomplete."""
    chances = iter([*(0.0, 0.9), *(0.0, 0.0)])
    link = Link(0.5, 0, 0, lambda: next(chances, 0.9))
    pieces = [b"a", b"b"]
    senders: list[int] = []
    datagrams: list[bytes] = []
    link.carry(0, pieces, True, senders, datagrams)
    link.carry(0, [b"lost"], False, senders, datagrams)
    assert link.account.messages_lost == 1
    chances = iter([0.9, 0.9, 0.9, 0.0])
    link.carry(0, pieces, False, senders, datagrams)
    assert link.account.messages_incomplete == 1
    assert link.account.unnoticed == 0
    assert link.account.lost == 2


@given(
    chances,
    chances,
    chances,
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.integers(0, 120),
    st.sampled_from([*FORMATS]),
)
def test_the_account_closes(
    loss: float, duplicate: float, reorder: float, seed: int, senders: int, count: int, format: str
) -> None:
    """Datagrams made, less those lost, plus those doubled, are those sent: none changed, invented, or left waiting."""
    link = Link(loss, duplicate, reorder, Random(seed).random)
    fleet = fleet_of(senders, format)
    made = Counter(zip(*fleet.batch(0, count), strict=True))
    sent = Counter(carried(link, fleet, count))
    account = link.account
    assert (account.messages, account.datagrams) == (count, made.total())
    assert account.sent == sent.total()
    assert set(sent) <= set(made)
    assert account.lost == len(set(made) - set(sent))
    assert account.duplicated == sum(times - 1 for times in sent.values())
    assert account.reordered == 0 or reorder
    assert 0 <= account.unnoticed <= account.messages_lost


def test_the_same_seed_is_the_same_faults() -> None:
    """With the same random numbers the same datagrams come off the link; with others, others."""
    one, same, other = (
        carried(Link(0.1, 0.1, 0.1, Random(seed).random), fleet_of(4), 200) for seed in ("7/0", "7/0", "7/1")
    )
    assert one == same != other


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("faults", FAULTS)
def test_a_receiver_counts_what_the_account_says(format: str, faults: str) -> None:
    """The table of senders, fed with what comes off the link, has in its ledger just what the account says it will."""
    link = Link(*FAULTS[faults], Random(faults).random)
    senders = 5
    keys = [source(f"127.64.0.{number}").key for number in range(senders)]
    counters = WorkerCounters()
    table = SourceTable(counters, limit=100, reorder_time=0.2, gc_interval=60.0, age=3600.0, held_limit=10**8)
    sent = carried(link, fleet_of(senders, format), 400)
    # A millisecond per datagram, so that what is reordered comes in time, and no bound on what waits is reached.
    for nth, (sender, datagram) in enumerate(sent):
        table.feed([keys[sender]], [datagram], 5.0, nth * 0.001)
        table.advance(nth * 0.001)
    table.flush()
    expected = counted(link.account, format, senders)
    names = {"senders": "senders_new"}
    found = {name: getattr(counters, names.get(name, name)) for name in expected}
    # What came late was taken for missing before.
    for name in ("missing", "lost"):
        found[name] -= counters.late if expected[name] else 0
    if format == "fragments":
        found["missing"] = counters.missing - counters.late
    assert found == expected
    if faults != "all" or format == "legacy":
        return
    assert expected["dropped_duplicate"] > 0
    assert expected["missing" if format != "fragments" else "incomplete"] > 0


def test_accounts_add_up() -> None:
    """The account of several links is the sum of theirs, counter by counter."""
    both = Account(1, 2, 3, 4, 5, 6, 7, 8)
    both.add(Account(10, 20, 30, 40, 50, 60, 70, 80))
    assert both == Account(11, 22, 33, 44, 55, 66, 77, 88)
