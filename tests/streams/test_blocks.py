"""Blocks of messages for brokers: what is packed is unpacked, and other bytes are refused."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.message import LegacyDatagram, LegacyMessage, Message
from netconsd.streams.blocks import HEAD_BYTES, RECEIVER_BYTES, Damaged, Foreign, Head, pack, unpack
from netconsd.testing import extended_message, source
from tests.support.messages import extended_messages

RECEIVER = bytes(range(RECEIVER_BYTES))
NUMBERS = st.integers(0, 2**64 - 1)


def summed(block: bytes) -> bytes:
    """Return a block with the right checksum, however damaged it is."""
    return block[:12] + struct.pack("=I", crc32(block[16:])) + block[16:]


@given(NUMBERS, NUMBERS, st.lists(extended_messages(), min_size=1, max_size=5))
def test_a_block_is_read_back(run: int, number: int, messages: list[Message]) -> None:
    """Every message is equal to the one that was packed, and the head has what was given."""
    assert unpack(pack(RECEIVER, run, number, messages)) == (Head(RECEIVER, run, number, len(messages)), messages)


def test_legacy_messages_are_read_back() -> None:
    """Lines and datagrams without a header keep their class and their marks."""
    line = LegacyMessage(source("fe80::1"), 1.5, b"line")
    line._new = line._boot = True
    line._limited = 3
    datagram = LegacyDatagram(source("::1"), 2.0, b"part")
    found = unpack(pack(RECEIVER, 1, 2, [line, datagram]))[1]
    assert found == [line, datagram]
    assert (found[0].new, found[0].boot, found[0].limited) == (True, True, 3)


def test_more_than_a_buffer() -> None:
    """A block may have more messages than the buffer that packs them."""
    messages: list[Message] = [extended_message("x" * 60_000, seq=seq) for seq in range(40)]
    assert unpack(pack(RECEIVER, 1, 2, messages))[1] == messages


@given(st.binary())
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes that are no block are refused, and raise nothing else."""
    with pytest.raises(Damaged):
        unpack(data)


BLOCK = pack(RECEIVER, 1, 2, [extended_message("one", release="6.1"), extended_message("two", caller="T1", lost=7)])


@pytest.mark.parametrize("at", range(len(BLOCK)))
def test_each_byte_is_checked(at: int) -> None:
    """A block with one wrong byte, or that ends early, is refused."""
    with pytest.raises(Damaged):
        unpack(BLOCK[:at] + bytes((BLOCK[at] ^ 1,)) + BLOCK[at + 1 :])
    with pytest.raises(Damaged):
        unpack(BLOCK[:at])


@given(st.integers(16, len(BLOCK) - 1), st.binary(min_size=1, max_size=8))
def test_a_right_checksum_is_not_believed(at: int, octets: bytes) -> None:
    """A stranger who can write to the broker can make checksums: his blocks are refused, or are messages with values
    that modules can use."""
    try:
        head, messages = unpack(summed(BLOCK[:at] + octets + BLOCK[at + len(octets) :]))
    except Damaged:
        return
    assert head.count == len(messages) > 0
    for message in messages:
        assert 0 <= message.received_at < 1e12
        assert (message.facility or 0) <= 255


@pytest.mark.parametrize("time", [float("nan"), float("inf"), -1.0, 1e300])
def test_times_of_no_clock_are_refused(time: float) -> None:
    """A time that datetime does not have is refused."""
    with pytest.raises(Damaged, match="time"):
        unpack(pack(RECEIVER, 1, 2, [LegacyMessage(source(), time, b"x")]))


def test_a_message_beyond_a_datagram_is_refused() -> None:
    """A message that no sender can send, which the journal of a processor could not have, is refused."""
    with pytest.raises(Damaged):
        unpack(pack(RECEIVER, 1, 2, [LegacyMessage(source(), 1.0, bytes((1 << 18) + 1))]))


def test_an_empty_block_is_refused() -> None:
    """A block without messages is refused."""
    with pytest.raises(Damaged):
        unpack(pack(RECEIVER, 1, 2, []))


def test_another_byte_order() -> None:
    """A block of a machine with the other byte order is foreign, which is said."""
    with pytest.raises(Foreign, match="byte order"):
        unpack(BLOCK[:8] + BLOCK[8:12][::-1] + BLOCK[12:])


def test_the_head_has_its_size() -> None:
    """The records begin where the docstring says."""
    assert HEAD_BYTES == 56
