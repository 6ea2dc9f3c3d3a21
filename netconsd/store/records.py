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
# Of messages of a journal.
NO_LIMIT = 1 << 62
# As many as packing.slot_of returns.
SENDER_SLOTS = 1 << 16
# More than --max-sources is by default; about 250 bytes each.
SENDER_LIMIT = 1 << 18

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(NO_LIMIT=NO_LIMIT)


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


class Senders:
    """The sender objects of messages that are unpacked, for many blocks: one object for a sender. For one thread.

    Bounded: at :data:`SENDER_LIMIT` senders all are forgotten, and have new objects, equal to those before.
    """

    __slots__ = ("_known", "_slots")

    _known: dict[bytes, Source]
    _slots: list[Source | None]

    def __init__(self) -> None:
        self._known = {}
        # Those that were asked for last, found without a key object.
        self._slots = [None] * SENDER_SLOTS

    def at(self, data: bytes, place: int) -> Source:
        """Return the sender whose key is at a place of the data, which is within bounds."""
        slot = packing.slot_of(data, place, packing.KEY_BYTES)
        source = self._slots[slot]
        if source is None or not packing.is_part(source._key, data, place, packing.KEY_BYTES):
            key = data[place : place + packing.KEY_BYTES]
            source = self._known.get(key)
            if source is None:
                if len(self._known) >= SENDER_LIMIT:
                    self._known.clear()
                    self._slots = [None] * SENDER_SLOTS
                source = self._known[key] = source_of(key)
            self._slots[slot] = source
        return source


def unpack(data: bytes, start: int = 0, senders: Senders | None = None, raw_limit: int = NO_LIMIT) -> list[Message]:
    """Return the messages of a block's records, equal to those that were packed. All messages of a sender share one
    object.

    :param start: the place of the first record.
    :param senders: has the senders of other blocks; without it, they are new objects.
    :param raw_limit: the most bytes of a message. With it, times are checked as well: both are right in a journal,
        but a stranger can write to some brokers.
    :raises Damaged: if a record contradicts itself, or is beyond the limit.
    """
    messages: list[Message] = []
    sources: dict[bytes, Source] = {}
    # In C, a slice of a pointer costs half as much as a slice of a bytes object.
    octets = data
    source = None
    key = _NO_KEY
    at, end = start, len(data)
    while at < end:
        if end - at < packing.HEAD_BYTES:
            raise Damaged(f"a record of {end - at} bytes is shorter than its head")
        size, flags, prefix, received_at, caller_size, release_size, seq, ts_usec, msgid = packing.head_at(data, at)
        if prefix > PREFIX_LIMIT:
            raise Damaged(f"a record has the prefix {prefix}")
        rare_at = at + packing.HEAD_BYTES
        caller_at = rare_at + packing.RARE_BYTES if flags & RARE else rare_at
        release_at = caller_at + caller_size
        raw_at = release_at + release_size
        record_end = at + size
        if raw_at > record_end or record_end > end:
            raise Damaged(f"a record says that it has {size} bytes")
        if record_end - raw_at > raw_limit:
            raise Damaged(f"a message has {record_end - raw_at} bytes")
        # Also true for NaN.
        if not 0 <= received_at <= packing.LATEST_SECONDS and raw_limit < NO_LIMIT:
            raise Damaged("a message has a time that no clock has")
        if senders is not None:
            source = senders.at(data, at + packing.KEY_AT)
        elif source is None or not packing.is_part(key, data, at + packing.KEY_AT, packing.KEY_BYTES):
            key = octets[at + packing.KEY_AT : at + packing.KEY_AT + packing.KEY_BYTES]
            source = sources.get(key)
            if source is None:
                source = sources[key] = source_of(key)
        if flags & EXTENDED:
            extended = ExtendedMessage.__new__(ExtendedMessage)
            extended._set_defaults()
            extended._prefix = prefix
            extended._seq = seq
            extended._ts_usec = ts_usec
            extended._continuation = flags & CONTINUATION != 0
            extended._caller = octets[caller_at:release_at] if flags & CALLER else None
            extended._release = octets[release_at:raw_at] if flags & RELEASE else None
            extended._msgid = msgid
            extended._replayed = flags & REPLAYED != 0
            extended._emergency = flags & EMERGENCY != 0
            extended._incomplete = flags & INCOMPLETE != 0
            extended._seq_reset = flags & SEQ_RESET != 0
            extended._out_of_order = flags & OUT_OF_ORDER != 0
            if flags & RARE:
                extended._missing = packing.u64_at(data, rare_at)
                extended._lost = packing.i64_at(data, rare_at + 8)
                extended._likely_lost = packing.u64_at(data, rare_at + 16)
            if flags & NONE_LOST:
                extended._lost = 0
            message: Message = extended
            message._source = source
            message._received_at = received_at
            message._raw = octets[raw_at:record_end]
        else:
            message = (LegacyDatagram if flags & DATAGRAM else LegacyMessage)(
                source, received_at, octets[raw_at:record_end]
            )
        message._new = flags & NEW != 0
        message._boot = flags & BOOT != 0
        if flags & RARE:
            message._limited = packing.i64_at(data, rare_at + 24)
        messages.append(message)
        at = record_end
    return messages


_NO_KEY = b""
