"""One thread's share of a load: builds messages, passes them through a faulty link, and sends them at a rate."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from netconsd.send.fleet import Fleet
from netconsd.send.link import Link
from netconsd.send.source_addresses import SourceAddresses

# Messages built before they are sent: enough to share the cost of a call, few enough to keep a rate.
BATCH = 256
# Seconds that a thread sleeps when it is ahead of its rate.
TICK = 0.001
# Seconds to wait for room in the interface's queue, and the number of waits in a row that count as an error: an
# interface that takes nothing for a second is down.
FULL_SECONDS = 0.001
FULL_TIMES = 1000


class Blast:
    """Sends the messages of a fleet. ``run`` is for one thread; any thread may read the counters."""

    def __init__(
        self,
        fleet: Fleet,
        link: Link,
        source_addresses: SourceAddresses,
        *,
        count: int,
        rate: float,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param count: number of messages; 0: until ``stop`` is set.
        :param rate: messages per second; 0: unlimited.
        :param stop: when it is set, ``run`` ends after the current batch.
        """
        self._fleet = fleet
        self._link = link
        self._source_addresses = source_addresses
        self._count = count
        self._rate = rate
        self._stop = stop
        self._clock = clock
        #: Counters of the link; exact when ``run`` has ended.
        self.counters = link.counters
        #: Datagrams sent so far, and their bytes.
        self.datagrams = 0
        self.octets = 0
        #: The error that ended ``run`` early.
        self.error: OSError | None = None

    def run(self) -> None:
        """Send until all messages are sent, ``stop`` is set, or sending fails (see ``error``)."""
        try:
            self._run()
        except OSError as error:
            self.error = error
            self._stop.set()

    @property
    def senders(self) -> int:
        """Number of senders that have sent at least one message."""
        return min(self._fleet.senders, self.counters.messages)

    def _run(self) -> None:
        start = self._clock()
        number = 0
        while not self._stop.is_set() and not (self._count and number >= self._count):
            end = number + BATCH
            if self._rate:
                end = min(end, 1 + int((self._clock() - start) * self._rate))
            if self._count:
                end = min(end, self._count)
            if end <= number:
                self._stop.wait(TICK)
                continue
            self._send(*self._through_link(number, end))
            number = end
        senders: list[int] = []
        datagrams: list[bytes] = []
        self._link.flush(senders, datagrams)
        self._send(senders, datagrams)

    def _through_link(self, start: int, end: int) -> tuple[list[int], list[bytes]]:
        """The senders and datagrams that leave the link when these messages enter it."""
        if self._link.flawless:
            senders, datagrams = self._fleet.batch(start, end)
            self._link.count_bypassed(end - start, len(datagrams))
            return senders, datagrams
        senders, datagrams = [], []
        for number in range(start, end):
            sender, pieces = self._fleet.message(number)
            self._link.transmit(sender, pieces, self._fleet.is_first(number), senders, datagrams)
        return senders, datagrams

    def _send(self, senders: list[int], datagrams: list[bytes]) -> None:
        packets, sources = self._source_addresses.packets(senders, datagrams)
        sender: Any = self._source_addresses.sender
        index = 0
        full = 0
        while index < len(packets):
            before = index
            index = sender.send(packets, sources, index)
            full = 0 if index > before else full + 1
            if full > FULL_TIMES:
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
            if index < len(packets):
                self._stop.wait(FULL_SECONDS)
        self.datagrams += len(datagrams)
        self.octets += sum(map(len, datagrams))
