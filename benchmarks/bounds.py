"""The bound of the daemon's memory: the table of docs/security in numbers."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass

from benchmarks.scenarios import Build
from netconsd.protocol.stream import FRAGMENT_SECONDS
from netconsd.protocol.table import TOTAL_HELD_BYTES_LIMIT
from netconsd.receive.reader import BATCHES
from netconsd.settings import Settings

KIB = 1024
MIB = 1024 * KIB

# A queued datagram of 1023 bytes with its sender's key, its entries in lists, and a batch of its own
# (tests/receive/test_overload).
PLACE_BYTES = 1536
# Held messages are counted with their usual overhead; they never take more than this multiple of the count
# (tests/protocol/test_reorder_costs).
HELD_FACTOR = 1.25
# The messages that a worker delivers in one batch, each with its own copy of its bytes.
DELIVERY_BYTES = 16 * MIB
# A slot of the reader holds the largest datagram.
SLOT_BYTES = 64 * KIB
# A sender with a full window, large counters, and the text of an IPv6 address
# (tests/protocol/test_sender_cost).
SENDER_BYTES: dict[Build, int] = {"compiled": 1408, "plain": 1984}
# The same in a free-threaded Python, whose objects are larger: 1424 and 2170 were measured, with the waste of the
# allocator (CPython 3.13). In the default build, it was 1310 and 1930 (3.11).
FREE_THREADED_SENDER_BYTES: dict[Build, int] = {"compiled": 1536, "plain": 2304}
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
# The most datagrams that all workers together process per second.
DATAGRAMS_PER_SECOND = 200_000


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    name: str
    about: str
    bytes: int


def sender_bytes(build: Build, free_threaded: bool = FREE_THREADED) -> int:
    """The most bytes of a sender, by default with the Python that runs this."""
    return (FREE_THREADED_SENDER_BYTES if free_threaded else SENDER_BYTES)[build]


def bounds(settings: Settings, build: Build = "compiled", free_threaded: bool = FREE_THREADED) -> list[Line]:
    """The bounds of the process's memory above that at rest, line by line; all can be reached together."""
    slots = settings.batch * BATCHES
    # A datagram is copied before its slot is free. Plain Python has no slots.
    copies = 2 if build == "compiled" else 1
    removed = min(2 * settings.max_sources, int(DATAGRAMS_PER_SECOND * max(settings.reorder, FRAGMENT_SECONDS)))
    sender = sender_bytes(build, free_threaded)
    return [
        Line("queue", "the queues of the workers", settings.workers * settings.queue * PLACE_BYTES),
        Line("held", "held messages", int(settings.workers * HELD_FACTOR * TOTAL_HELD_BYTES_LIMIT)),
        Line("delivery", "messages that the workers are delivering", settings.workers * DELIVERY_BYTES),
        Line("read", "datagrams read by one system call", settings.listeners * slots * SLOT_BYTES * copies),
        Line("senders", "the table of senders", settings.max_sources * sender),
        Line("removed", "senders removed from the table, while they have held messages", removed * sender),
    ]


def kernel_bound(settings: Settings) -> int:
    """The bound of the kernel's receive buffers, which are not memory of the process.

    The kernel accepts one datagram more than fits.
    """
    return settings.listeners * (2 * settings.rcvbuf + 2 * SLOT_BYTES)
