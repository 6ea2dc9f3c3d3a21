"""A module that computes without end in one lane: it shares the interpreter with the others, and starves none."""

from __future__ import annotations

import socket
import threading
import time

import pytest_twisted
from twisted.internet import threads

from netconsd.protocol.message import Message
from netconsd.receive.lanes import Workers
from netconsd.settings import Settings
from netconsd.testing import extended, source
from tests.integration.rig import PATIENCE, running
from tests.support.loopback import Arrivals, send

ROUNDS = 20
# Whatever the kernel grants as a receive buffer, it holds a round of the sender's.
EACH = 100


class Computing(Arrivals):
    """A message in lane 0 has it compute, in Python, until it is told to stop, or patience has an end."""

    def __init__(self) -> None:
        super().__init__()
        self.computes = threading.Event()
        self.told = False
        self.end = time.monotonic() + PATIENCE

    def handle(self, worker: int, message: Message) -> None:
        if worker == 0:
            self.computes.set()
            while not self.told and time.monotonic() < self.end:
                pass
        super().handle(worker, message)


def address_in(lane: int) -> str:
    """An address whose messages that lane of two gets."""
    workers = Workers(lambda worker, messages: None, Settings(workers=2))
    addresses = [f"127.0.0.{number}" for number in range(1, 20)]
    return next(each for each in addresses if workers.lane_for(source(each).packed).number == lane)


@pytest_twisted.ensureDeferred
async def test_a_lane_that_computes() -> None:
    """While a module computes in lane 0, a sender of lane 1 has every message read and handled, in order; those of
    lane 0 come when it has computed."""
    module = Computing()
    async with running({"module": module}, workers=2) as service:
        send(service.port, *(extended(f"late {seq}", seq=seq) for seq in range(3)), sender=address_in(0))
        await threads.deferToThread(module.computes.wait, PATIENCE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((address_in(1), 0))
            for seq in range(ROUNDS * EACH):
                sender.sendto(extended(str(seq), seq=seq), ("127.0.0.1", service.port))
                if (seq + 1) % EACH == 0:
                    await module.number(seq + 1)
        assert module.texts == [str(seq) for seq in range(ROUNDS * EACH)], "lane 0 did not compute all the time"
        module.told = True
        await module.number(ROUNDS * EACH + 3)
    assert module.texts[ROUNDS * EACH :] == ["late 0", "late 1", "late 2"]
