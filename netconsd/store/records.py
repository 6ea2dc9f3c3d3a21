"""The bytes of messages in the journal: every field, so that an equal message can be made again. Hot.

A record is in the machine's own byte order (the journal's head says which), without padding::

    u32 size        of the whole record
    u16 flags       the bits below
    u16 prefix      facility * 8 + level, of an extended message
    f64 received_at
    u8[18] key      the sender (Source.key)
    u16 caller, u16 release     the lengths of these fields; the release of the header
    u16 0
    u64 seq, u64 ts_usec, i64 msgid     -1 for no msgid
    u64 missing, i64 lost, u64 likely_lost, i64 limited     only with the flag RARE; lost is -1 if unknown or 0
    caller, release, raw

Rules:

1. Every message can be packed: its fields are bounded by the decoder (a datagram has at most 64 KiB, a reassembled
   body at most 128 KiB).
2. ``unpack`` takes what ``pack`` made. The block around the records has a checksum; ``unpack`` still checks each size,
   and raises ``Damaged`` for records that contradict themselves.
"""

from __future__ import annotations

import struct

from netconsd.protocol.message import (
    PREFIX_LIMIT,
    ExtendedMessage,
    LegacyDatagram,
    LegacyMessage,
    Message,
    Source,
    source_of,
)
from netconsd.store import packing

EXTENDED = 1 << 0
DATAGRAM = 1 << 1
CALLER = 1 << 2
RELEASE = 1 << 3
RARE = 1 << 4
CONTINUATION = 1 << 5
REPLAYED = 1 << 6
EMERGENCY = 1 << 7
INCOMPLETE = 1 << 8
SEQ_RESET = 1 << 9
OUT_OF_ORDER = 1 << 10
NEW = 1 << 11
BOOT = 1 << 12
# The sender counts its messages (msgid), so that a loss of 0 is knowledge; other losses are in the rare fields.
NONE_LOST = 1 << 13

# A block that is not full is written at the end of a batch; a full one at once. Large enough that the call of the
# system and the checksum's start cost nothing per message.
BLOCK_BYTES = 1 << 20
# The head of a block: the length of the records and their CRC-32, their number, and 0.
BLOCK_HEAD_BYTES = 16


class Damaged(Exception):
    """Bytes that are not what was written: the text says what is wrong, without the file's name."""


class Foreign(Damaged):
    """A file of another version, or of a machine with another byte order: it is left for a netconsd that reads it."""


class Block:
    """Records of messages, packed one after the other into one buffer. For one thread at a time."""

    __slots__ = ("count", "data", "used")

    data: bytearray
    used: int
    count: int

    def __init__(self) -> None:
        self.data = bytearray(BLOCK_BYTES)
        #: Bytes in use, the block's head included.
        self.used = BLOCK_HEAD_BYTES
        #: Messages.
        self.count = 0

    def clear(self) -> None:
        """Empty the block."""
        self.used = BLOCK_HEAD_BYTES
        self.count = 0

    def fill(self, messages: list[Message], start: int) -> int:
        """Pack messages from the index ``start`` on until the block is full or all are packed; return the index of the
        next one to pack. A message that does not fit into an empty block makes the block larger.
        """
        length = len(messages)
        while start < length:
            message = messages[start]
            if not self.add(message):
                break
            start += 1
        return start

    def add(self, message: Message) -> bool:
        """Pack a message; return false, and change nothing, if the block has no room and is not empty."""
        raw = message._raw
        source = message._source
        flags = 0
        prefix = 0
        seq = ts_usec = 0
        msgid = -1
        caller = release = None
        missing = likely_lost = 0
        lost = -1
        if message._new:
            flags |= NEW
        if message._boot:
            flags |= BOOT
        if isinstance(message, ExtendedMessage):
            extended = message
            flags |= EXTENDED
            prefix = extended._prefix
            seq = extended._seq
            ts_usec = extended._ts_usec
            msgid = extended._msgid
            caller = extended._caller
            release = extended._release
            missing = extended._missing
            lost = extended._lost
            likely_lost = extended._likely_lost
            if extended._continuation:
                flags |= CONTINUATION
            if extended._replayed:
                flags |= REPLAYED
            if extended._emergency:
                flags |= EMERGENCY
            if extended._incomplete:
                flags |= INCOMPLETE
            if extended._seq_reset:
                flags |= SEQ_RESET
            if extended._out_of_order:
                flags |= OUT_OF_ORDER
        elif isinstance(message, LegacyDatagram):
            flags |= DATAGRAM
        size = packing.HEAD_BYTES + len(raw)
        caller_size = release_size = 0
        if caller is not None:
            flags |= CALLER
            caller_size = len(caller)
        if release is not None:
            flags |= RELEASE
            release_size = len(release)
        if lost == 0:
            flags |= NONE_LOST
            lost = -1
        if missing or lost > 0 or likely_lost or message._limited:
            flags |= RARE
            size += packing.RARE_BYTES
        size += caller_size + release_size
        at = self.used
        if at + size > len(self.data):
            if self.count:
                return False
            self.data.extend(bytes(at + size - len(self.data)))
        data = self.data
        at = packing.put_head(
            data,
            at,
            size,
            flags,
            prefix,
            message._received_at,
            source._key,
            caller_size,
            release_size,
            seq,
            ts_usec,
            msgid,
        )
        if flags & RARE:
            at = packing.put_rare(data, at, missing, lost, likely_lost, message._limited)
        if caller is not None:
            at = packing.put_bytes(data, at, caller)
        if release is not None:
            at = packing.put_bytes(data, at, release)
        self.used = packing.put_bytes(data, at, raw)
        self.count += 1
        return True


_HEAD = struct.Struct("=IHHd18sHHHQQq")
_RARE = struct.Struct("=QqQq")


def unpack(data: bytes) -> list[Message]:
    """Return the messages of a block's records, equal to those that were packed. Their senders are new objects, one for
    all messages of a sender.

    :raises Damaged: if a record contradicts itself.
    """
    messages: list[Message] = []
    sources: dict[bytes, Source] = {}
    at, end = 0, len(data)
    while at < end:
        if end - at < _HEAD.size:
            raise Damaged(f"a record of {end - at} bytes is shorter than its head")
        size, flags, prefix, received_at, key, caller_size, release_size, _, seq, ts_usec, msgid = _HEAD.unpack_from(
            data, at
        )
        if prefix > PREFIX_LIMIT:
            raise Damaged(f"a record has the prefix {prefix}")
        raw_at = at + _HEAD.size + caller_size + release_size
        if flags & RARE:
            raw_at += _RARE.size
        if not raw_at <= at + size <= end:
            raise Damaged(f"a record says that it has {size} bytes")
        source = sources.get(key)
        if source is None:
            source = sources[key] = source_of(key)
        raw = data[raw_at : at + size]
        missing, lost, likely_lost, limited = 0, -1, 0, 0
        if flags & RARE:
            missing, lost, likely_lost, limited = _RARE.unpack_from(data, at + _HEAD.size)
        message: Message
        if flags & EXTENDED:
            release_at = raw_at - release_size
            caller_at = release_at - caller_size
            message = ExtendedMessage(
                source,
                received_at,
                raw,
                prefix,
                seq,
                ts_usec,
                bool(flags & CONTINUATION),
                data[caller_at:release_at] if flags & CALLER else None,
                data[release_at:raw_at] if flags & RELEASE else None,
                msgid,
                bool(flags & REPLAYED),
                bool(flags & EMERGENCY),
                bool(flags & INCOMPLETE),
                bool(flags & SEQ_RESET),
                bool(flags & OUT_OF_ORDER),
                missing,
                0 if flags & NONE_LOST else lost,
                bool(flags & NEW),
                bool(flags & BOOT),
                limited,
                likely_lost,
            )
        else:
            message = (LegacyDatagram if flags & DATAGRAM else LegacyMessage)(source, received_at, raw)
            message._new = bool(flags & NEW)
            message._boot = bool(flags & BOOT)
            message._limited = limited
        messages.append(message)
        at += size
    return messages
