"""The reliable variant from end to end in simulated time: every record arrives over any faulty link."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from netconsd.send.reliable import ANSWER_SECONDS, PROBE_SECONDS, ReliableSender
from tests.support.lossy_link import Link


def until_empty(link: Link, seconds: int) -> int:
    """Run the link until the sender has no records left; return the seconds."""
    for passed in count():
        if not len(link.sender):
            return passed
        assert passed < seconds, f"{len(link.sender)} records are left"
        link.run(1.0)
    raise AssertionError


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("hold", [0.2, 5.0])
def test_loss_of_a_fifth(seed: int, hold: float) -> None:
    """With 20 % loss both ways, repeats and reordering, 3,000 records logged at once arrive exactly once, and in order
    if the receiver waits long enough. Fewer than twice as many datagrams are sent."""
    link = Link(seed, loss=0.2, repeat=0.05, jitter=0.02, hold=hold)
    link.log(*range(1, 3001))
    until_empty(link, 60)
    assert sorted(link.seqs) == list(range(1, 3001))
    assert [message.seq for message in link.delivered if message.seq_reset] == [1]
    assert link.forth < 2 * 3000
    if hold > 1.0:
        assert link.seqs == list(range(1, 3001))


@pytest.mark.parametrize("seed", range(10))
def test_few_records_at_a_time(seed: int) -> None:
    """A machine that logs a few records every two seconds loses none."""
    link = Link(seed, loss=0.2, repeat=0.05, jitter=0.02)
    for start in range(1, 301, 3):
        link.log(*range(start, start + 3))
        link.run(2.0)
    until_empty(link, 30)
    assert sorted(link.seqs) == list(range(1, 301))


@pytest.mark.parametrize("seed", range(5))
def test_long_records(seed: int) -> None:
    """Records of up to eight fragments, any of which may be lost, arrive whole in the end."""
    link = Link(seed, loss=0.2, jitter=0.01, hold=1.0)
    for seq in range(1, 201):
        link.log(seq, size=30 + seq * 37 % 7000)
    until_empty(link, 200)
    whole = [message for message in link.delivered if not message.incomplete]
    assert sorted(message.seq for message in whole) == list(range(1, 201))
    assert all(len(message.text) == 30 + message.seq * 37 % 7000 for message in whole)


@pytest.mark.parametrize("seed", range(5))
def test_gaps_in_the_log(seed: int) -> None:
    """Gaps in the log's own numbers (the kernel's buffer overran) delay nothing, and the sender becomes idle."""
    link = Link(seed, loss=0.2, jitter=0.01)
    numbers = [*range(1, 50), *range(1000, 1100), *range(1101, 1200, 2), 10**9, 2**63]
    link.log(*numbers)
    until_empty(link, 60)
    assert sorted(link.seqs) == numbers
    sent = link.forth
    link.run(3600.0)
    assert link.forth == sent


@pytest.mark.parametrize("outage", [0.5, 3.0, 9.0])
def test_short_outage(outage: float) -> None:
    """After an outage of less than ANSWER_SECONDS, every record arrives once and in order."""
    link = Link(1, jitter=0.01)
    for start in range(1, 1001, 100):
        link.loss = 1.0 if start == 301 else 0.0
        link.log(*range(start, start + 100))
        link.run(outage)
    until_empty(link, 30)
    assert link.seqs == list(range(1, 1001))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("logged", [30, 1000])
def test_long_outage(logged: int, seed: int) -> None:
    """Every record logged during an emergency arrives after it."""
    link = Link(seed, loss=0.2, jitter=0.01)
    link.log(*range(1, 101))
    link.run(30.0)
    link.loss = 1.0
    link.log(*range(101, 101 + logged))
    link.run(5 * ANSWER_SECONDS)
    assert link.sender.emergency
    link.log(*range(101 + logged, 201 + logged))
    link.run(ANSWER_SECONDS)
    link.loss = 0.2
    until_empty(link, 120)
    assert set(link.seqs) == set(range(1, 201 + logged))


@pytest.mark.parametrize("seed", range(5))
def test_outage_of_answers(seed: int) -> None:
    """While only answers are lost, records are delivered as they are logged; afterwards none is missing."""
    link = Link(seed, jitter=0.01)
    link.log(*range(1, 11))
    link.run(1.0)
    answer = link.sender.acknowledge
    link.sender.acknowledge = lambda datagram, now: None  # type: ignore[method-assign]
    link.log(*range(11, 101))
    link.run(2 * ANSWER_SECONDS)
    assert set(link.seqs) == set(range(1, 101))
    for seq in range(101, 501):
        link.log(seq)
        link.run(0.02)
        # Older records are repeated in between, and marked.
        assert [message.seq for message in link.delivered if not message.out_of_order][-1] == seq
    link.sender.acknowledge = answer  # type: ignore[method-assign]
    until_empty(link, 60)
    assert set(link.seqs) == set(range(1, 501))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("down", [0.3, 2.0, 30.0])
def test_restart_of_the_receiver(down: float, seed: int) -> None:
    """A restarted receiver gets all records that its predecessor did not acknowledge."""
    link = Link(seed, loss=0.2, jitter=0.01)
    link.log(*range(1, 501))
    link.run(2.0)
    link.loss = 1.0
    link.run(down)
    link.restart_receiver()
    link.log(*range(501, 601))
    link.loss = 0.2
    until_empty(link, 120)
    assert set(link.seqs) == set(range(1, 601))


@pytest.mark.parametrize("seed", range(5))
def test_late_start_of_the_receiver(seed: int) -> None:
    """A receiver started long after the sender gets every record from the first on."""
    link = Link(seed, jitter=0.01)
    link.loss = 1.0
    link.log(*range(1, 301))
    link.run(3 * ANSWER_SECONDS)
    link.loss = 0.0
    until_empty(link, 60)
    assert sorted(set(link.seqs)) == list(range(1, 301))


@pytest.mark.parametrize("seed", range(5))
def test_reboot_of_the_sender(seed: int) -> None:
    """After a reboot the numbers restart while the receiver remembers the old ones: no record is missing, although the
    network comes up late."""
    link = Link(seed, loss=0.2, jitter=0.01)
    link.log(*range(5000, 5100))
    until_empty(link, 60)
    link.sender = ReliableSender()
    link.loss = 1.0
    link.log(*range(100))
    link.run(2 * ANSWER_SECONDS)
    link.loss = 0.2
    until_empty(link, 60)
    assert set(link.seqs) == {*range(5000, 5100), *range(100)}
    assert link.delivered[-1].ts_usec > 0


def test_pace_of_an_emergency() -> None:
    """In an emergency one record per 100 ms is sent again, and later one per second."""
    link = Link(1, loss=1.0)
    link.log(*range(1, 11))
    link.run(ANSWER_SECONDS + 0.001)
    before = link.forth
    link.run(0.95)
    assert link.forth - before == 9
    link.run(60.0)
    before = link.forth
    link.run(60.0)
    assert 59 <= link.forth - before <= 61


def test_idle() -> None:
    """When every record is acknowledged, nothing is sent and there is no deadline."""
    link = Link(1)
    link.log(1, 2, 3)
    link.run(1.0)
    forth = link.forth
    link.run(10 * ANSWER_SECONDS)
    assert link.forth == forth == 3
    assert link.sender.deadline == float("inf")


def test_first_record() -> None:
    """No other record is sent before the first one is acknowledged, so that the receiver's stream begins with it."""
    link = Link(1, loss=1.0)
    link.log(*range(1, 101))
    link.run(PROBE_SECONDS * 3.5)
    assert link.forth == 4
    link.loss = 0.0
    until_empty(link, 5)
    assert link.seqs == list(range(1, 101))


@pytest.mark.parametrize("seed", range(60))
def test_random_events(seed: int) -> None:
    """After bursts, pauses, outages and restarts of the receiver in any order, on links that lose up to 40 %, no record
    is missing."""
    random = Random(seed)
    usual = random.choice([0.0, 0.2, 0.4])
    link = Link(seed, loss=usual, repeat=0.05, jitter=random.choice([0.0, 0.01, 0.05]), hold=random.choice([0.2, 2.0]))
    logged = 0
    for _ in range(random.randint(1, 12)):
        event = random.choice(["log", "log", "run", "run", "outage", "restart"])
        if event == "log":
            number = random.choice([1, 3, 30, 100, 500])
            link.log(*range(logged, logged + number))
            logged += number
        elif event == "run":
            link.run(random.choice([0.01, 0.1, 1.0, 5.0, 15.0, 70.0]))
        else:
            link.loss = 1.0
            link.run(random.choice([0.5, 2.0, 12.0, 40.0]))
            link.loss = usual
            if event == "restart":
                link.restart_receiver()
    until_empty(link, 400)
    assert set(link.seqs) == set(range(logged))
