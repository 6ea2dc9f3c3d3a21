"""Blocks of messages for brokers: what is packed is unpacked, and other bytes are refused."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.message import LegacyDatagram, LegacyMessage, Message
from netconsd.store.records import BLOCK_HEAD_BYTES, Block
from netconsd.streams.blocks import (
    HEAD_BYTES,
    NAME_BYTES,
    RECEIVER_BYTES,
    Damaged,
    Foreign,
    Head,
    Senders,
    Splitter,
    pack,
    sealed,
    unpack,
)
from netconsd.streams.lines import partition_of
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


@given(st.text(max_size=15))
def test_the_name_of_a_receiver(name: str) -> None:
    """The name is read back; a block without one is as before there were names."""
    message = extended_message("one")
    block = pack(RECEIVER, 1, 2, [message], name)
    assert unpack(block) == (Head(RECEIVER, 1, 2, 1, name), [message])
    assert len(block) - len(pack(RECEIVER, 1, 2, [message])) == len(name.encode())


@pytest.mark.parametrize("size", [NAME_BYTES + 1, 2**32 - 1])
def test_a_name_that_is_too_long(size: int) -> None:
    """The length of a name is checked: the processor shows and keeps it."""
    block = bytearray(pack(RECEIVER, 1, 2, [extended_message("x" * 500)]))
    struct.pack_into("=I", block, HEAD_BYTES - 4, size)
    with pytest.raises(Damaged, match=f"its name has {size} bytes"):
        unpack(summed(bytes(block)))


def test_a_name_that_is_no_text() -> None:
    """Bytes that are not UTF-8 are replaced: a name costs no message."""
    block = bytearray(pack(RECEIVER, 1, 2, [extended_message("x")], "abc"))
    block[HEAD_BYTES + 1] = 0xFF
    assert unpack(summed(bytes(block)))[0].name == "a\ufffdc"


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


@given(st.lists(extended_messages(), min_size=1, max_size=20), st.integers(1, 9), st.integers(100, 2000))
def test_records_are_split(messages: list[Message], partitions: int, most_bytes: int) -> None:
    """A sender's messages are in the parts of its partition, in order; no part is larger than its bound but one with
    one record."""
    block = Block()
    assert block.fill(messages, 0) == len(messages)
    splitter = Splitter(partitions, most_bytes)
    assert splitter.add(bytes(block.data[BLOCK_HEAD_BYTES : block.used])) == len(messages)
    found: dict[int, list[Message]] = {}
    for part in splitter.take():
        assert part.size <= most_bytes or part.count == 1
        head = Head(RECEIVER, 1, 2, part.count)
        read, some = unpack(sealed(head, part.data, part.size))
        assert read == head
        found.setdefault(part.partition, []).extend(some)
    wanted: dict[int, list[Message]] = {}
    for message in messages:
        wanted.setdefault(partition_of(message.source.address, partitions), []).append(message)
    assert found == wanted
    assert splitter.take() == []


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "9.10.99.100", "192.0.2.7", "255.255.255.255", "2001:db8::7", "::1", "fe80::1"]
)
def test_partitions(address: str) -> None:
    """The partition is that of the address's text, as Kafka's clients in C have it."""
    splitter = Splitter(1000, 10_000)
    block = Block()
    block.fill([extended_message("x", address=address)], 0)
    for _ in range(2):
        splitter.add(bytes(block.data[BLOCK_HEAD_BYTES : block.used]))
    (part,) = splitter.take()
    assert (part.partition, part.count) == (partition_of(address, 1000), 2)


def test_a_damaged_block_is_not_split() -> None:
    """Of records that contradict themselves, none is added."""
    block = Block()
    block.fill([extended_message("x"), extended_message("y")], 0)
    records = bytes(block.data[BLOCK_HEAD_BYTES : block.used])
    splitter = Splitter(1, 10_000)
    for damaged in (records[:-1], records[:70], records + bytes(80), records + bytes((255,)) * 80):
        with pytest.raises(Damaged):
            splitter.add(damaged)
    assert splitter.take() == []


def test_the_first_records_are_left_out() -> None:
    """So many as were sent before; more than there are is all."""
    block = Block()
    messages: list[Message] = [extended_message("x", seq=seq) for seq in range(5)]
    block.fill(messages, 0)
    records = bytes(block.data[BLOCK_HEAD_BYTES : block.used])
    splitter = Splitter(1, 10_000)
    assert (splitter.add(records, 3), splitter.add(records, 5), splitter.add(records, 9)) == (2, 0, 0)
    (part,) = splitter.take()
    assert unpack(sealed(Head(RECEIVER, 1, 1, 2), part.data, part.size))[1] == messages[3:]


def test_senders_of_several_blocks_are_one_object() -> None:
    """With ``senders``, the messages of a sender share its object over blocks, however many others there are."""
    senders = Senders()
    given: list[Message] = [
        extended_message("x", address=f"10.{n >> 14}.{n >> 7 & 127}.{n & 127}", port=n & 7) for n in range(70_000)
    ]
    given += [extended_message("x", address="2001:db8::7")]
    block = pack(RECEIVER, 1, 1, given)
    first, second = unpack(block, senders)[1], unpack(block, senders)[1]
    assert first[-1].source.address == "2001:db8::7"
    assert all(one.source is other.source for one, other in zip(first, second, strict=True))


def test_senders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit, senders have new objects, which are equal to those before."""
    monkeypatch.setattr("netconsd.store.records.SENDER_LIMIT", 3)
    senders = Senders()
    blocks = [pack(RECEIVER, 1, 1, [extended_message("x", address=f"192.0.2.{n}")]) for n in (1, 2, 3, 4, 1)]
    found = [unpack(block, senders)[1][0].source for block in blocks]
    assert found[0] == found[4]
    assert found[0] is not found[4]


def test_the_head_has_its_size() -> None:
    """The records begin where the docstring says."""
    assert HEAD_BYTES == 56
