"""One thread's part of a load: messages made, harmed if that is wished, and sent, at a rate."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from netconsd.send.fleet import Fleet
from netconsd.send.link import Link
from netconsd.send.source_addresses import Origin

# Messages made before they are sent: enough to share the cost of a call, few enough that a rate is kept.
BATCH = 256
# Seconds that a thread sleeps when it is ahead of its rate.
TICK = 0.001
# Seconds to wait for room in an interface's queue, and how often in a row: one that takes nothing for a second is down.
FULL_SECONDS = 0.001
FULL_TIMES = 1000


class Blast:
    """Sends the messages of a fleet. ``run`` is for one thread; the counters may be read from any."""

    def __init__(
        self,
        fleet: Fleet,
        link: Link,
        origin: Origin,
        *,
        count: int,
        rate: float,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param count: how many messages; 0: until it is stopped.
        :param rate: messages per second; 0: as fast as it goes.
        :param stop: when it is set, ``run`` ends after what is being sent.
        """
        self._fleet = fleet
        self._link = link
        self._origin = origin
        self._count = count
        self._rate = rate
        self._stop = stop
        self._clock = clock
        #: What became of the messages; exact when ``run`` has ended.
        self.account = link.account
        #: Datagrams sent so far, and bytes in them.
        self.datagrams = 0
        self.octets = 0
        #: Why it ended early.
        self.error: OSError | None = None

    def run(self) -> None:
        """Send until all is sent, it is stopped, or sending fails (see ``error``)."""
        try:
            self._run()
        except OSError as error:
            self.error = error
            self._stop.set()

    @property
    def senders(self) -> int:
        """From how many senders there were messages so far."""
        return min(self._fleet.senders, self.account.messages)

    def _run(self) -> None:
        begun = self._clock()
        number = 0
        while not self._stop.is_set() and not (self._count and number >= self._count):
            upto = number + BATCH
            if self._rate:
                upto = min(upto, 1 + int((self._clock() - begun) * self._rate))
            if self._count:
                upto = min(upto, self._count)
            if upto <= number:
                self._stop.wait(TICK)
                continue
            self._send(*self._made(number, upto))
            number = upto
        senders: list[int] = []
        datagrams: list[bytes] = []
        self._link.flush(senders, datagrams)
        self._send(senders, datagrams)

    def _made(self, first: int, upto: int) -> tuple[list[int], list[bytes]]:
        """The messages of these numbers, as they come off the link."""
        if self._link.flawless:
            senders, datagrams = self._fleet.batch(first, upto)
            self._link.passed(upto - first, len(datagrams))
            return senders, datagrams
        senders, datagrams = [], []
        for each in range(first, upto):
            sender, pieces = self._fleet.message(each)
            self._link.carry(sender, pieces, self._fleet.is_first(each), senders, datagrams)
        return senders, datagrams

    def _send(self, senders: list[int], datagrams: list[bytes]) -> None:
        packets, sources = self._origin.address(senders, datagrams)
        sender: Any = self._origin.sender
        at = 0
        full = 0
        while at < len(packets):
            before = at
            at = sender.send(packets, sources, at)
            full = 0 if at > before else full + 1
            if full > FULL_TIMES:
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
            if at < len(packets):
                self._stop.wait(FULL_SECONDS)
        self.datagrams += len(datagrams)
        self.octets += sum(map(len, datagrams))
