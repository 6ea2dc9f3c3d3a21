"""How much memory the daemon takes at most: the table of docs/security, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.scenarios import Build
from netconsd.protocol.stream import FRAGMENT_SECONDS
from netconsd.protocol.table import TOTAL_HELD_BYTES_LIMIT
from netconsd.receive.reader import BATCHES
from netconsd.settings import Settings

KIB = 1024
MIB = 1024 * KIB

# A datagram of 1023 bytes, its sender's key, their places in lists, and a batch of its own
# (tests/receive/test_overload).
PLACE_BYTES = 1536
# What waits is reckoned with what most of it costs besides its bytes; it is never more than this times what is reckoned
# (tests/protocol/test_reorder_costs).
WAITING_FACTOR = 1.25
# As many messages as a worker hands out at once, each with the bytes that it has cut out of its datagram.
HAND_BYTES = 16 * MIB
# The largest datagram is a slot.
SLOT_BYTES = 64 * KIB
# A sender with a full window, counters that are no small numbers, and the text of an IPv6 address
# (tests/protocol/test_sender_cost).
SENDER_BYTES: dict[Build, int] = {"compiled": 1408, "plain": 1920}
# Datagrams that all workers together look at in a second, at most.
DATAGRAMS_PER_SECOND = 200_000


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    name: str
    about: str
    octets: int


def bounds(settings: Settings, build: Build = "compiled") -> list[Line]:
    """What the process takes at most above what it takes at rest, line by line; all may come together."""
    slots = settings.batch * BATCHES
    # What is read has been copied before its slot is free. In plain Python there are no slots.
    copies = 2 if build == "compiled" else 1
    forgotten = min(2 * settings.max_sources, int(DATAGRAMS_PER_SECOND * max(settings.reorder, FRAGMENT_SECONDS)))
    sender = SENDER_BYTES[build]
    return [
        Line("queue", "the queues of the workers", settings.workers * settings.queue * PLACE_BYTES),
        Line("waiting", "what waits", int(settings.workers * WAITING_FACTOR * TOTAL_HELD_BYTES_LIMIT)),
        Line("hand", "what is in the hands of the workers", settings.workers * HAND_BYTES),
        Line("read", "what is read at once", settings.listeners * slots * SLOT_BYTES * copies),
        Line("senders", "the senders that are remembered", settings.max_sources * sender),
        Line("forgotten", "those pushed out lately, while something waited", forgotten * sender),
    ]


def kernel_bound(settings: Settings) -> int:
    """What the kernel takes for receive buffers at most, which is no memory of the process.

    It takes one more datagram than there is room for.
    """
    return settings.listeners * (2 * settings.rcvbuf + 2 * SLOT_BYTES)
