"""A simulated network with faults, in a time that only the test advances.

Pure. The random numbers are an argument, so that the same seed causes the same faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

# Seconds. All times are multiples of TICK, so that their sums are exact.
TICK = 1 / 1024


@dataclass(frozen=True)
class Faults:
    """The probability of each fault per datagram, from 0 to 1; a datagram can have several faults."""

    loss: float = 0.0
    repeat: float = 0.0
    """A copy arrives up to ``jitter`` seconds late."""
    reorder: float = 0.0
    """The datagram arrives up to ``jitter`` seconds late, so that others overtake it."""
    delay: float = 0.0
    """The datagram arrives up to ``longest`` seconds late."""
    cut: float = 0.0
    """The datagram loses its end, or all of it."""
    flip: float = 0.0
    """One bit is inverted."""
    stray: float = 0.0
    """The datagram arrives with the address of another sender."""
    jitter: float = 1 / 16
    longest: float = 1.0


@dataclass(frozen=True)
class Arrival:
    """A datagram that arrived."""

    at: float
    sender: int
    """The sender whose address it arrived with."""
    datagram: bytes
    number: int
    """The number of the datagram in the order of sending, from 0."""
    unharmed: bool
    """True if the datagram arrived with its own bytes and address."""


class Proxy:
    """Accepts datagrams with their times, and yields them in the order of arrival."""

    def __init__(self, faults: Faults, random: Random, senders: int) -> None:
        """
        :param senders: the number of senders, one of whose addresses a stray datagram arrives with.
        """
        self._faults = faults
        self._random = random
        self._senders = senders
        self._sent = 0
        self._ticket = 0
        self._in_transit: list[tuple[float, int, Arrival]] = []

    def send(self, now: float, sender: int, datagram: bytes) -> int:
        """Send a datagram at a multiple of :data:`TICK`; return its number."""
        number = self._sent
        self._sent += 1
        if not self._happens(self._faults.loss):
            self._carry(now, sender, datagram, number)
            if self._happens(self._faults.repeat):
                self._carry(now + self._late(self._faults.jitter), sender, datagram, number)
        return number

    def arrivals(self) -> Iterator[Arrival]:
        """Yield all sent datagrams in the order of arrival."""
        while self._in_transit:
            yield heappop(self._in_transit)[2]

    def _carry(self, now: float, sender: int, datagram: bytes, number: int) -> None:
        faults, random = self._faults, self._random
        at = now + TICK
        if self._happens(faults.reorder):
            at += self._late(faults.jitter)
        if self._happens(faults.delay):
            at += self._late(faults.longest)
        arrived, address = datagram, sender
        if self._happens(faults.cut):
            arrived = arrived[: random.randrange(len(arrived))]
        if arrived and self._happens(faults.flip):
            place = random.randrange(len(arrived))
            bit = 1 << random.randrange(8)
            arrived = arrived[:place] + bytes([arrived[place] ^ bit]) + arrived[place + 1 :]
        if self._happens(faults.stray):
            address = random.randrange(self._senders)
        self._ticket += 1
        unharmed = arrived == datagram and address == sender
        heappush(self._in_transit, (at, self._ticket, Arrival(at, address, arrived, number, unharmed)))

    def _late(self, most: float) -> float:
        return self._random.randrange(round(most / TICK)) * TICK

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance
