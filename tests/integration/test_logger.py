"""The logger in the real service, with patterns, a real DNS server, and a reload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from modules.logger import Logger
from netconsd.testing import extended, legacy
from tests.integration.rig import running
from tests.support.loggers import files
from tests.support.loopback import Arrivals, send
from tests.support.nameserver import nameserver

NAMED, UNVERIFIED, NOISY = "127.0.0.21", "127.0.0.22", "127.0.0.23"


@pytest_twisted.ensureDeferred
async def test_the_logger_in_the_service(tmp_path: Path) -> None:
    """Matching lines are dropped, an unverified name is not used, and a reload applies new patterns."""
    from twisted.internet import reactor

    call_later: Any = reactor.callLater
    get_readers: Any = reactor.getReaders
    patterns = tmp_path / "patterns.txt"
    patterns.write_text("ignore:\n  - noise\n")
    arrivals = Arrivals()
    with nameserver() as server:
        server.records = {
            "21.0.0.127.in-addr.arpa": [("PTR", "web1.example", 600)],
            "22.0.0.127.in-addr.arpa": [("PTR", "web1.example", 600)],
            "web1.example": [("A", NAMED, 600)],
        }
        answering = LoopingCall(server.answer)
        logger = Logger(directory=tmp_path / "logs", ignore=patterns, reverse_dns=f"127.0.0.1:{server.address[1]}")
        async with running({"logger": logger, "arrivals": arrivals}) as service:
            for sender in (NAMED, UNVERIFIED):
                send(service.port, extended("early"), sender=sender)
            send(service.port, legacy("noise"), extended("more noise"), sender=NOISY)
            await arrivals.number(4)
            answering.start(0.001)
            while server.queried.count("web1.example") < 2:
                await next_turn(call_later)
            # The last answers have been read when their sockets are closed.
            while any("reversedns" in type(reader).__module__ for reader in get_readers()):
                await next_turn(call_later)
            patterns.write_text("ignore:\n")
            service.reload()
            for sender in (NAMED, UNVERIFIED, NOISY):
                send(service.port, extended("late"), sender=sender)
            await arrivals.number(7)
        answering.stop()
    assert files(tmp_path / "logs") == {
        f"{NAMED}.log": ["[start] early"],
        "web1.example.log": ["[start] late"],
        f"{UNVERIFIED}.log": ["[start] early", "[start] late"],
        f"{NOISY}.log": ["[start] late"],
    }


def next_turn(call_later: Any) -> Deferred[None]:
    """Return a Deferred that fires in a later turn of the reactor."""
    turn: Deferred[None] = Deferred()
    call_later(0.001, turn.callback, None)
    return turn
