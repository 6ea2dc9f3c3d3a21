"""Boots and numbers: the identity of a stored message is the same, however the messages are divided."""

from __future__ import annotations

import pytest

from netconsd.protocol.message import ExtendedMessage, LegacyMessage, Message
from netconsd.store.boots import Boots
from netconsd.store.columns import Columns
from netconsd.store.records import Block
from netconsd.testing import extended_message, legacy_message, source


def assigned(messages: list[Message], boots: Boots | None = None) -> list[tuple[int, int]]:
    """Return the boot and the number of each message; they are of one sender."""
    boots = boots or Boots()
    block, columns = Block(), Columns()
    assert block.fill(messages, 0) == len(messages)
    columns.add(bytes(block.data[16 : block.used]))
    columns.sort()
    boots.assign(columns)
    return list(zip(boots.boot, boots.number, strict=True))


def line(at: float, ts: float, seq: int, *, new: bool = False, boot: bool = False) -> ExtendedMessage:
    """Return a message that was received and logged at these seconds."""
    message = extended_message("x", seq=seq, ts_usec=int(ts * 1e6), received_at=at)
    message._new, message._boot = new, boot
    return message


def old_line(at: float, *, boot: bool = False) -> LegacyMessage:
    """Return a message without seq and time."""
    message = legacy_message("x\n", received_at=at)
    message._boot = boot
    return message


CASES: list[tuple[str, list[Message], list[int]]] = [
    ("the second in which it began", [line(1000.5, 10, 5)], [990]),
    ("a message does not change it", [line(1000, 10, 5), line(2000, 1009, 6)], [990, 990]),
    ("the mark begins one", [line(1000, 10, 5), line(2000, 1, 1, boot=True)], [990, 1999]),
    ("netconsd was restarted", [line(1000, 10, 5), line(2000, 1010, 90, new=True)], [990, 990]),
    ("late by a slow clock", [line(1000, 10, 5), line(2000, 990, 90, new=True)], [990, 990]),
    ("booted meanwhile", [line(1000, 10, 5), line(5000, 100, 90, new=True)], [990, 4900]),
    ("the seq went back", [line(1000, 500, 9000), line(1400, 800, 3, new=True)], [500, 600]),
    ("the clock was set back", [line(9000, 10, 5), line(1000, 5, 1, boot=True)], [8990, 8991]),
    ("no time", [old_line(1000), old_line(1001)], [0, 0]),
    ("no time, and a mark", [old_line(1000), old_line(1001, boot=True)], [0, 1001]),
    ("a clock before 1970", [line(5, 100, 1)], [0]),
]


@pytest.mark.parametrize(("messages", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
def test_boots(messages: list[Message], expected: list[int], together: bool) -> None:
    """The boots of messages, at once or each in a segment of its own."""
    boots = Boots()
    if together:
        found = assigned(messages, boots)
    else:
        found = [pair for message in messages for pair in assigned([message], boots)]
    assert [boot for boot, _ in found] == expected


def test_messages_without_seq_are_numbered() -> None:
    """Messages of the same microsecond have the numbers from 0, also over the bound of a segment; others have 0."""
    boots = Boots()
    assert [number for _, number in assigned([old_line(5), old_line(5), old_line(6)], boots)] == [0, 1, 0]
    assert [number for _, number in assigned([old_line(6), old_line(6), old_line(7)], boots)] == [1, 2, 0]


def test_the_state_is_all_that_is_needed() -> None:
    """An object with the states of another gives the same boots."""
    one, other = Boots(), Boots()
    assigned([line(1000, 10, 5), old_line(1001)], one)
    other.update(one.states())
    more: list[Message] = [line(2000, 1010, 6, new=True), line(3000, 1, 1, boot=True)]
    assert assigned(list(more), one) == assigned(list(more), other)
    assert one.states() == other.states()


def test_senders_have_a_bound() -> None:
    """Beyond the bound the senders silent longest are forgotten."""
    boots = Boots(most=10)
    for host in range(30):
        message = extended_message("x", address=f"192.0.2.{host}", received_at=1000.0 + host)
        assigned([message], boots)
        assert len(boots.states()) <= 10
    assert boots.state(source("192.0.2.29").key) is not None
    assert boots.state(source("192.0.2.1").key) is None
