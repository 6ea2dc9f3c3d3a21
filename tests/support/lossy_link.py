"""A simulated link that loses, repeats and reorders, between the reliable variant's sender and receiver. The test moves
its time."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random

from netconsd.protocol.acks import Acks
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.table import SourceTable
from netconsd.send.reliable import ReliableSender
from netconsd.testing import extended, source

KEY = source("192.0.2.1").key


class Receiver:
    """A table of senders with acknowledgements, as in the daemon."""

    def __init__(self, link: Link, hold: float) -> None:
        self.counters = WorkerCounters()
        self.messages: list[Message] = []
        self._link = link
        self._table = SourceTable(self.counters, limit=10, reorder_time=hold, gc_interval=0, age=0)
        self._acks = Acks(self._table, self._reply)

    def receive(self, datagram: bytes, now: float) -> None:
        self.messages += self._table.feed([KEY], [datagram], now, now)
        self._acks.heard([KEY], [datagram], now)

    def advance(self, now: float) -> None:
        self.messages += self._table.advance(now)
        self._acks.advance(now)

    def deadline(self) -> float:
        return min(self._table.next_deadline(), self._acks.next_deadline())

    def _reply(self, key: bytes, ack: bytes) -> bool:
        self._link.send(back=True, datagram=ack)
        return True


class Link:
    """Both ends, and the datagrams in transit."""

    def __init__(
        self, seed: int, *, loss: float = 0.0, repeat: float = 0.0, jitter: float = 0.0, hold: float = 0.2
    ) -> None:
        self.now = 1000.0
        self.loss = loss
        self.sender = ReliableSender()
        self.hold = hold
        self.receiver = Receiver(self, hold)
        #: The messages delivered by this receiver and its predecessors.
        self.delivered: list[ExtendedMessage] = []
        #: Datagrams sent to the receiver.
        self.forth = 0
        self._repeat = repeat
        self._jitter = jitter
        self._random = Random(seed)
        self._ticket = 0
        # (time of arrival, ticket, True for an answer, datagram)
        self._in_transit: list[tuple[float, int, bool, bytes]] = []

    def restart_receiver(self) -> None:
        """Replace the receiver by a new one without any state."""
        self._collect()
        self.receiver = Receiver(self, self.hold)

    def send(self, *, back: bool, datagram: bytes) -> None:
        """Put a datagram on the link."""
        if not back:
            self.forth += 1
        for _ in range(2 if self._random.random() < self._repeat else 1):
            if self._random.random() >= self.loss:
                delay = 0.005 + self._random.random() * self._jitter
                self._ticket += 1
                heappush(self._in_transit, (self.now + delay, self._ticket, back, datagram))

    def log(self, *seqs: int, size: int = 20) -> None:
        """Log records with these numbers, now."""
        for seq in seqs:
            text = f"record {seq} ".ljust(size, "x")
            self.sender.add(extended(text, seq=seq, ts_usec=int(self.now * 1e6)))

    def run(self, seconds: float) -> None:
        """Simulate the next ``seconds``."""
        end = self.now + seconds
        while True:
            for datagram in self.sender.take(self.now):
                self.send(back=False, datagram=datagram)
            arrival = self._in_transit[0][0] if self._in_transit else float("inf")
            due = max(self.now, min(arrival, self.sender.deadline, self.receiver.deadline()))
            if due > end:
                break
            self.now = due
            if arrival <= due:
                _, _, back, datagram = heappop(self._in_transit)
                if back:
                    self.sender.acknowledge(datagram, self.now)
                else:
                    self.receiver.receive(datagram, self.now)
            self.receiver.advance(self.now)
        self.now = end
        self._collect()

    def _collect(self) -> None:
        self.delivered += [message for message in self.receiver.messages if isinstance(message, ExtendedMessage)]
        self.receiver.messages.clear()

    @property
    def seqs(self) -> list[int]:
        """The numbers of the delivered messages, in order of delivery."""
        return [message.seq for message in self.delivered]
