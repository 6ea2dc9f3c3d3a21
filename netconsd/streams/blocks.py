"""Blocks: many messages of one partition as the bytes of one message of a broker, as they are in the journal. Hot.

A block is a head and records (:mod:`netconsd.store.records`), in the byte order of the receiver, without padding::

    u8[8] "ncblock1"
    u32 1               in the byte order of the receiver
    u32 checksum        the CRC-32 of everything after it
    u8[16] receiver     random, kept in the stream's directory: it stays when the receiver is started again
    u64 run             greater for each run of the stream's process
    u64 number          of the block in the run, from 0 on, over all partitions
    u32 count           of the records, at least 1
    u32 name            the length of the receiver's name in UTF-8, at most 63 bytes; 0 for none
    name, records

Rules:

1. Two blocks with the same receiver, run and number are copies: they have the same bytes. A block that is sent again
   may come after blocks with greater numbers.
2. A sender's messages are in one partition (:func:`netconsd.streams.lines.partition_of` its address), in order.
3. Nothing is compressed: the brokers' clients and servers do that (compression.type of Kafka, the stream's compression
   of JetStream), for all blocks that they send or store at once.
4. The name is for people, and no part of the identity.
5. A block of a receiver with another byte order is :class:`Foreign`: this machine cannot read it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from netconsd.protocol.message import MAPPED_IPV4, Message, source_of
from netconsd.store import packing
from netconsd.store.records import BLOCK_HEAD_BYTES, Block, Damaged, Foreign, Senders
from netconsd.store.records import unpack as records_of
from netconsd.streams.lines import partition_of

__all__ = [
    "HEAD_BYTES",
    "NAME_BYTES",
    "RECEIVER_BYTES",
    "Damaged",
    "Foreign",
    "Head",
    "Part",
    "Senders",
    "Splitter",
    "pack",
    "unpack",
]

RECEIVER_BYTES = 16
#: As a host name.
NAME_BYTES = 63
_MAGIC = b"ncblock1"
_HEAD = struct.Struct("=8sII16sQQII")
HEAD_BYTES = _HEAD.size
# The checksum is of the bytes from here on.
_SUMMED_AT = 16
_OTHER_ORDER = 1 << 24
# The most bytes of a message: a body of 128 KiB, and the notes of the bytes that were lost in it.
_RAW_LIMIT = 1 << 18
# The first room of a part; it doubles.
_ROOM_BYTES = 1 << 13
# Addresses that are not IPv4 whose partitions are remembered: 20 MB.
_ADDRESSES = 100_000
_MAPPED = MAPPED_IPV4


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a block: together, the first three are the identity of the block."""

    #: 16 bytes.
    receiver: bytes
    run: int
    number: int
    #: Messages in the block, at least 1.
    count: int
    #: The receiver's name; empty if it has none.
    name: str = ""


def pack(receiver: bytes, run: int, number: int, messages: Sequence[Message], name: str = "") -> bytes:
    """Return a block of messages, at least one."""
    block = Block()
    parts = []
    left = list(messages)
    at = 0
    while at < len(left):
        block.clear()
        at = block.fill(left, at)
        parts.append(bytes(block.data[BLOCK_HEAD_BYTES : block.used]))
    data = bytearray(HEAD_BYTES + len(name.encode())) + b"".join(parts)
    return sealed(Head(receiver, run, number, len(left), name), data, len(data))


def sealed(head: Head, data: bytearray, size: int) -> bytes:
    """Return a block of the first bytes of a buffer, which has room for the head and the name, and then the records."""
    name = head.name.encode()
    _HEAD.pack_into(data, 0, _MAGIC, 1, 0, head.receiver, head.run, head.number, head.count, len(name))
    data[HEAD_BYTES : HEAD_BYTES + len(name)] = name
    with memoryview(data) as view:
        struct.pack_into("=I", data, 12, crc32(view[_SUMMED_AT:size]))
        return bytes(view[:size])


def unpack(data: bytes, senders: Senders | None = None) -> tuple[Head, list[Message]]:
    """Return the head of a block, and its messages, in order. All messages of a sender share one object; the interface
    of a link-local sender is the receiver's number of it.

    :param senders: has the senders of earlier blocks; without it, they are new objects.
    :raises Damaged: for any other bytes; Foreign for a block of a machine with another byte order.
    """
    if len(data) < HEAD_BYTES or not data.startswith(_MAGIC):
        raise Damaged("it is not a block of version 1")
    _, one, checksum, receiver, run, number, count, name_size = _HEAD.unpack_from(data)
    if one == _OTHER_ORDER:
        raise Foreign("it was written by a machine with another byte order")
    if one != 1 or crc32(memoryview(data)[_SUMMED_AT:]) != checksum:
        raise Damaged("its checksum is wrong")
    start = HEAD_BYTES + name_size
    if name_size > NAME_BYTES or start > len(data):
        raise Damaged(f"its name has {name_size} bytes")
    name = data[HEAD_BYTES:start].decode(errors="replace") if name_size else ""
    messages = records_of(data, start, senders, _RAW_LIMIT)
    if len(messages) != count or not count:
        raise Damaged(f"it has {len(messages)} messages instead of {count}")
    return Head(receiver, run, number, count, name), messages


class Part:
    """Records of one partition, with room for the head and the name before them."""

    __slots__ = ("count", "data", "partition", "size")

    #: Which partition, from 0 on.
    partition: int
    #: Its first :attr:`size` bytes are those of the block.
    data: bytearray
    size: int
    #: Records.
    count: int


class Splitter:
    """Splits records by partition, in order. For one thread."""

    __slots__ = ("_begin", "_done", "_known", "_most_bytes", "_partitions", "_parts", "_spare")

    _begin: int
    _partitions: int
    _most_bytes: int
    _parts: list[Part | None]
    _done: list[Part]
    _known: dict[bytes, int]
    _spare: list[bytearray]

    def __init__(self, partitions: int, most_bytes: int, name_bytes: int = 0) -> None:
        """
        :param partitions: at least 1.
        :param most_bytes: of a block; a record that is larger is a block alone.
        :param name_bytes: of the receiver's name.
        """
        self._begin = HEAD_BYTES + name_bytes
        self._partitions = partitions
        self._most_bytes = most_bytes
        self._parts = [None] * partitions
        self._done = []
        # The partitions of addresses that are not IPv4.
        self._known = {}
        # Buffers of parts before: memory that is new to the process costs as much as the splitting.
        self._spare = []

    def add(self, records: bytes, skip: int = 0) -> int:
        """Add the records of a block of the journal but the first ``skip``, and return their number.

        :raises Damaged: if a record contradicts itself; nothing of this block was added.
        """
        end = len(records)
        at = 0
        count = 0
        # First, so that a damaged block is left out as a whole.
        while at < end:
            if end - at < packing.HEAD_BYTES:
                raise Damaged(f"a record of {end - at} bytes is shorter than its head")
            size = packing.u32_at(records, at)
            if size < packing.HEAD_BYTES or size > end - at:
                raise Damaged(f"a record says that it has {size} bytes")
            at += size
            count += 1
        at = 0
        number = 0
        while at < end:
            size = packing.u32_at(records, at)
            if number >= skip:
                self._put(records, at, size)
            number += 1
            at += size
        return max(0, count - skip)

    def _put(self, records: bytes, at: int, size: int) -> None:
        address_at = at + packing.KEY_AT
        if packing.is_part(_MAPPED, records, address_at, 12):
            partition = packing.crc_of_ipv4(records, address_at + 12) % self._partitions
        else:
            partition = self._partition(records[address_at : address_at + packing.KEY_BYTES])
        part = self._parts[partition]
        if part is not None and part.size + size > self._most_bytes:
            self._done.append(part)
            part = None
        if part is None:
            part = self._parts[partition] = _begun(
                partition, self._spare.pop() if self._spare else bytearray(_ROOM_BYTES), self._begin
            )
        if part.size + size > len(part.data):
            part.data.extend(bytes(max(size, len(part.data))))
        part.size = packing.put_part(part.data, part.size, records, at, size)
        part.count += 1

    def _partition(self, key: bytes) -> int:
        """Return the partition of a sender."""
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _ADDRESSES:
                self._known.clear()
            known = self._known[key] = partition_of(source_of(key).address, self._partitions)
        return known

    def take(self) -> list[Part]:
        """Return everything that was added, at least one record each: of a partition in order; the splitter is empty
        then."""
        found = self._done + [part for part in self._parts if part is not None]
        self._parts = [None] * self._partitions
        self._done = []
        return found

    def reuse(self, parts: Sequence[Part]) -> None:
        """Use the buffers of parts, of which nobody uses the bytes any more, for the next ones."""
        self._spare = [part.data for part in parts]


def _begun(partition: int, data: bytearray, begin: int) -> Part:
    part = Part()
    part.partition = partition
    part.data = data
    part.size = begin
    part.count = 0
    return part
