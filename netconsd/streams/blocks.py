"""Blocks: many messages of one partition as the bytes of one message of a broker, as they are in the journal.

A block is a head and records (:mod:`netconsd.store.records`), in the byte order of the receiver, without padding::

    u8[8] "ncblock1"
    u32 1               in the byte order of the receiver
    u32 checksum        the CRC-32 of everything after it
    u8[16] receiver     random, kept in the stream's directory: it stays when the receiver is started again
    u64 run             greater for each run of the stream's process
    u64 number          of the block in the run, from 0 on, over all partitions
    u32 count           of the records, at least 1
    u32 0
    records

Rules:

1. Two blocks with the same receiver, run and number are copies: they have the same bytes. A block that is sent again
   may come after blocks with greater numbers.
2. A sender's messages are in one partition (:func:`netconsd.streams.lines.partition_of` its address), in order.
3. Nothing is compressed: the brokers' clients and servers do that (compression.type of Kafka, the stream's compression
   of JetStream), for all blocks that they send or store at once.
4. A block of a receiver with another byte order is :class:`Foreign`: this machine cannot read it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from netconsd.protocol.message import Message
from netconsd.store.packing import LATEST_SECONDS
from netconsd.store.records import BLOCK_HEAD_BYTES, Block, Damaged, Foreign
from netconsd.store.records import unpack as records_of

__all__ = ["HEAD_BYTES", "RECEIVER_BYTES", "Damaged", "Foreign", "Head", "pack", "unpack"]

RECEIVER_BYTES: Final = 16
_MAGIC: Final = b"ncblock1"
_HEAD: Final = struct.Struct("=8sII16sQQII")
HEAD_BYTES: Final = _HEAD.size
#: The checksum is of the bytes from here on.
_SUMMED_AT: Final = 16
_OTHER_ORDER: Final = 1 << 24
#: The most bytes of a message: a body of 128 KiB, and the notes of the bytes that were lost in it.
_RAW_LIMIT: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a block: together, the first three are the identity of the block."""

    #: 16 bytes.
    receiver: bytes
    run: int
    number: int
    #: Messages in the block, at least 1.
    count: int


def pack(receiver: bytes, run: int, number: int, messages: Sequence[Message]) -> bytes:
    """Return a block of messages, at least one."""
    block = Block()
    parts = []
    left = list(messages)
    at = 0
    while at < len(left):
        block.clear()
        at = block.fill(left, at)
        parts.append(bytes(block.data[BLOCK_HEAD_BYTES : block.used]))
    return sealed(Head(receiver, run, number, len(left)), b"".join(parts))


def sealed(head: Head, records: bytes) -> bytes:
    """Return the block with these records."""
    begin = _HEAD.pack(_MAGIC, 1, 0, head.receiver, head.run, head.number, head.count, 0)
    checksum = crc32(records, crc32(begin[_SUMMED_AT:]))
    return b"".join((begin[:12], struct.pack("=I", checksum), begin[_SUMMED_AT:], records))


def unpack(data: bytes) -> tuple[Head, list[Message]]:
    """Return the head of a block, and its messages, in order. Their senders are new objects, one for all messages of a
    sender; the interface of a link-local sender is the receiver's number of it.

    :raises Damaged: for any other bytes; Foreign for a block of a machine with another byte order.
    """
    if len(data) < HEAD_BYTES or not data.startswith(_MAGIC):
        raise Damaged("it is not a block of version 1")
    _, one, checksum, receiver, run, number, count, zero = _HEAD.unpack_from(data)
    if one == _OTHER_ORDER:
        raise Foreign("it was written by a machine with another byte order")
    if one != 1 or zero or crc32(memoryview(data)[_SUMMED_AT:]) != checksum:
        raise Damaged("its checksum is wrong")
    messages = records_of(data[HEAD_BYTES:])
    if len(messages) != count or not count:
        raise Damaged(f"it has {len(messages)} messages instead of {count}")
    for message in messages:
        # Also false for NaN.
        if not 0 <= message._received_at <= LATEST_SECONDS:
            raise Damaged("a message has a time beyond the year 9999")
        if len(message._raw) > _RAW_LIMIT:
            raise Damaged(f"a message has {len(message._raw)} bytes")
    return Head(receiver, run, number, count), messages
