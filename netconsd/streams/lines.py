"""Records as JSON lines for brokers, one in a message or many, and the partition of a machine.

A line is the object of :mod:`netconsd.jsonl`, with ``id``, ``boot_id`` and ``name`` as in the console's API; a reader
of that format ignores them. A report has its messages in it, as in the dead letters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple
from zlib import crc32

from netconsd.crash.report import Report
from netconsd.jsonl import finding_to_json
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded

#: A report with more bytes has no messages: brokers take 1 MB in a message, and the messages were sent themselves.
REPORT_BYTES: Final = 512 << 10


def line(record: Record) -> bytes:
    """Return a record as an object in ASCII without a newline."""
    data = record.to_json()
    body = record.body
    if isinstance(body, Report) and len(data) > REPORT_BYTES:
        data = finding_to_json(body)
    boot = b"null" if record.boot is None else b"%d" % record.boot
    return b'%b,"id":%b,"boot_id":%b,"name":%b}' % (data[:-1], _string(record.id), boot, _string(record.name))


def _string(text: str) -> bytes:
    return json.dumps(text).encode("ascii")


def partition_of(address: str, count: int) -> int:
    """Return the partition of a machine, from 0 on: that of Kafka's clients in C (``partitioner=consistent``) for the
    address as key."""
    return crc32(address.encode(errors="surrogatepass")) % count


class Group(NamedTuple):
    """Records of one partition that are sent as one message."""

    partition: int
    #: Their places in the batch.
    places: list[int]
    #: Their lines, each with a newline.
    data: bytes

    def key(self, batch: Sequence[Encoded]) -> str:
        """Return a text that is the same for the same records only."""
        names = "\n".join([batch[place].record.id for place in self.places])
        return blake2b(names.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def groups(batch: Sequence[Encoded], partitions: int, most_bytes: int) -> list[Group]:
    """Return the records of a batch by partition, in order.

    :param most_bytes: of a group; a longer record is a group alone.
    """
    found: list[tuple[int, list[int], list[bytes]]] = []
    current: dict[int, tuple[list[int], list[bytes], int]] = {}
    for place, each in enumerate(batch):
        number = partition_of(each.record.address, partitions)
        places, lines, size = current.get(number, ([], [], most_bytes))
        if size + len(each.data) + 1 > most_bytes:
            places, lines, size = [], [], 0
            found.append((number, places, lines))
        places.append(place)
        lines += (each.data, b"\n")
        current[number] = places, lines, size + len(each.data) + 1
    return [Group(number, places, b"".join(lines)) for number, places, lines in found]
