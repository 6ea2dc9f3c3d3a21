"""A module that sends to a broker, in one of three formats: each record in a message, lines, or blocks."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from netconsd.protocol.message import Message
from netconsd.streams.blocks import NAME_BYTES, RECEIVER_BYTES, pack
from netconsd.streams.blockspool import Packed
from netconsd.streams.lines import groups, line, partition_of
from netconsd.streams.module import Stream
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded
from netconsd.units import Size

Format = Literal["records", "lines", "blocks"]

#: Bytes of a batch of blocks: with 16 partitions, messages of half a megabyte, of which brokers take many thousands a
#: second. It is in memory three times: as blocks, in the client's queue, and as the bytes that are read.
BLOCKS_BATCH: Final = Size("8M")
#: The least bytes that a message shrinks to, because the broker refuses larger ones.
LEAST_BYTES: Final = 4096
#: Settings that contradict ``format = "blocks"``, each with the reason.
_CONTRADICTIONS: Final = {
    "store": "blocks are made of the stream's own journal: leave it out",
    "batch_records": "blocks are not counted: write batch_bytes",
}


class Sent(NamedTuple):
    """Records of one partition as one message of the broker."""

    partition: int
    #: The same for the same message only.
    id: str
    data: bytes
    #: The places of its records in the batch.
    places: list[int]


class Broker(Stream):
    """A stream whose messages have partitions."""

    def __init__(self, *, format: Format = "records", receiver: str = "", **settings: Any) -> None:
        """
        :param format: records: a message for each record; lines: a message for the records of a batch and a partition,
            as lines; blocks: a message for the messages of a batch and a partition, as netconsd process reads them.
        :param receiver: of blocks: the name of this receiver on pages and in metrics of processors; the machine's name
            if it is empty.
        :raises ValueError: if a setting contradicts it, with a text that names the setting.
        """
        if format == "blocks":
            for name, reason in _CONTRADICTIONS.items():
                if settings.get(name) is not None:
                    raise ValueError(f'{name}: with format = "blocks", {reason}')
            if (settings.get("kinds") or ["messages"]) != ["messages"]:
                raise ValueError('kinds: with format = "blocks", write messages: processors make reports and events')
            settings = {"batch_bytes": BLOCKS_BATCH, **settings, "kinds": ["messages"]}
        elif receiver:
            raise ValueError('receiver: needs format = "blocks"')
        if not re.fullmatch(rf"[A-Za-z0-9._-]{{0,{NAME_BYTES}}}", receiver):
            raise ValueError(f'receiver: "{receiver}" is not up to {NAME_BYTES} letters, digits, ".", "_" and "-"')
        super().__init__(**settings)
        self.format = format
        self.sends_blocks = format == "blocks"
        self.receiver = receiver or re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:NAME_BYTES]
        # Lower than the server's own limit after a message was too large for the topic or the stream.
        self._bound: int | None = None

    def bounded(self, most_bytes: int) -> int:
        """Return the most bytes of a message, of which the broker says ``most_bytes``."""
        return most_bytes if self._bound is None else min(most_bytes, self._bound)

    def was_too_large(self, size: int) -> None:
        """Make the next messages smaller than one that was refused: each refused one is sent twice."""
        self._bound = max(LEAST_BYTES, size // 2)

    def encode(self, record: Record) -> bytes:
        """Return a line of JSON without its newline, or a block."""
        if isinstance(record, Packed):
            return record.data
        if self.sends_blocks and isinstance(record.body, Message):
            # The record of ``netconsd check --send``: its receiver is nobody's.
            return pack(os.urandom(RECEIVER_BYTES), round(time.time() * 1e6), 0, [record.body])
        return line(record)

    def grouped(self, batch: Sequence[Encoded], partitions: int, most_bytes: int) -> list[Sent]:
        """Return the messages of a batch of lines or blocks.

        :param most_bytes: of a message of lines; blocks were made as :meth:`shape` says.
        """
        if not self.sends_blocks:
            return [
                Sent(group.partition, group.key(batch), group.data, group.places)
                for group in groups(batch, partitions, self.bounded(most_bytes))
            ]
        found = []
        for place, each in enumerate(batch):
            record = each.record
            number = record.partition if isinstance(record, Packed) else partition_of(record.address, partitions)
            # There are fewer than when the block was made, if the topic was deleted and made again.
            found.append(Sent(number % partitions, record.id, each.data, [place]))
        return found
