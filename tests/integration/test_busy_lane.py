"""A module that computes without end in one lane does not starve the other lanes."""

from __future__ import annotations

import socket
import threading

import pytest_twisted
from twisted.internet import threads

from netconsd.protocol.message import Message
from netconsd.receive.lanes import Workers
from netconsd.settings import Settings
from netconsd.testing import extended, source
from tests.integration.rig import PATIENCE, running
from tests.support.loopback import Arrivals, send

ROUNDS = 5
# A round fits any receive buffer that the kernel may grant.
EACH = 100


class Computing(Arrivals):
    """A module that computes in Python for each message of lane 0, until the test releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.computes = threading.Event()
        self.released = False

    def handle(self, worker: int, message: Message) -> None:
        if worker == 0:
            self.computes.set()
            while not self.released:
                pass
        super().handle(worker, message)


def address_in(lane: int) -> str:
    """Return an address whose messages are handled by this lane of two."""
    workers = Workers(lambda worker, messages: None, Settings(workers=2))
    addresses = [f"127.0.0.{number}" for number in range(1, 20)]
    return next(each for each in addresses if workers.lane_for(source(each).packed).number == lane)


@pytest_twisted.ensureDeferred
async def test_a_lane_that_computes() -> None:
    """While a module computes in lane 0, every message from a sender of lane 1 is delivered in order; the messages of
    lane 0 are delivered afterwards."""
    module = Computing()
    async with running({"module": module}, workers=2) as service:
        send(service.port, *(extended(f"late {seq}", seq=seq) for seq in range(3)), sender=address_in(0))
        await threads.deferToThread(module.computes.wait, PATIENCE)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((address_in(1), 0))
                for seq in range(ROUNDS * EACH):
                    sender.sendto(extended(str(seq), seq=seq), ("127.0.0.1", service.port))
                    if (seq + 1) % EACH == 0:
                        await module.number(seq + 1)
            assert module.texts == [str(seq) for seq in range(ROUNDS * EACH)]
        finally:
            # Without this the computing thread would take half of the processor from all later tests.
            module.released = True
        await module.number(ROUNDS * EACH + 3)
    assert module.texts[ROUNDS * EACH :] == ["late 0", "late 1", "late 2"]
