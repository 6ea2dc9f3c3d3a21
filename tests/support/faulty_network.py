"""A network that does to datagrams what networks do, in a time that only the test moves, and writes it all down.

Pure. The random numbers are an argument: with the same seed, the same happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

# Seconds. All times are multiples of it, so that sums of them are exact, and what is due is due at one time.
TICK = 1 / 1024


@dataclass(frozen=True)
class Faults:
    """How often each of them happens to a datagram, from 0 to 1; several can happen to one."""

    loss: float = 0.0
    repeat: float = 0.0
    """The copy is late by up to ``jitter`` seconds."""
    reorder: float = 0.0
    """It is late by up to ``jitter`` seconds, so that others overtake it."""
    delay: float = 0.0
    """It is late by up to ``longest`` seconds."""
    cut: float = 0.0
    """Its end is missing; perhaps all of it."""
    flip: float = 0.0
    """One bit is another one."""
    stray: float = 0.0
    """It arrives under the address of another sender."""
    jitter: float = 1 / 16
    longest: float = 1.0


@dataclass(frozen=True)
class Arrival:
    """A datagram that came through."""

    at: float
    sender: int
    """Under whose address it came."""
    datagram: bytes
    number: int
    """Which of the datagrams sent it was, counted from 0."""
    unharmed: bool
    """Whether it has the bytes, and comes under the address, with which it was sent."""


class Proxy:
    """Takes datagrams at their times, and has them ready as they arrive."""

    def __init__(self, faults: Faults, random: Random, senders: int) -> None:
        """
        :param senders: how many there are; astray goes what comes under the address of another one of them.
        """
        self._faults = faults
        self._random = random
        self._senders = senders
        self._sent = 0
        self._ticket = 0
        self._on_the_way: list[tuple[float, int, Arrival]] = []

    def send(self, now: float, sender: int, datagram: bytes) -> int:
        """Put a datagram on its way, at a multiple of :data:`TICK`; return its number."""
        number = self._sent
        self._sent += 1
        if not self._happens(self._faults.loss):
            self._carry(now, sender, datagram, number)
            if self._happens(self._faults.repeat):
                self._carry(now + self._late(self._faults.jitter), sender, datagram, number)
        return number

    def arrivals(self) -> Iterator[Arrival]:
        """All that is on its way, in the order in which it arrives."""
        while self._on_the_way:
            yield heappop(self._on_the_way)[2]

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
        heappush(self._on_the_way, (at, self._ticket, Arrival(at, address, arrived, number, unharmed)))

    def _late(self, most: float) -> float:
        return self._random.randrange(round(most / TICK)) * TICK

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance
