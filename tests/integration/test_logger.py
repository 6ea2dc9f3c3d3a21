"""The logger in the real service, with patterns, a real DNS server, and a reload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from modules.logger import Logger
from netconsd.testing import extended, legacy
from tests.integration.rig import running, until_counted
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
        logger = Logger(directory=tmp_path / "logs", name="{host}.log", ignore=patterns)
        modules = {"logger": logger, "arrivals": arrivals}
        async with running(modules, reverse_dns=f"127.0.0.1:{server.address[1]}") as service:
            for sender in (NAMED, UNVERIFIED):
                send(service.port, extended("early"), sender=sender)
            send(service.port, legacy("noise"), extended("more noise"), sender=NOISY)
            # The logger has a thread of its own: it must have dropped the noise before the reload.
            await until_counted(service, 4 * len(modules))
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
    # Without the mark of a sender's first message.
    texts = {name: [text.removeprefix("[new] ") for text in lines] for name, lines in files(tmp_path / "logs").items()}
    assert texts == {
        f"{NAMED}.log": ["early"],
        "web1.example.log": ["late"],
        f"{UNVERIFIED}.log": ["early", "late"],
        f"{NOISY}.log": ["late"],
    }


def next_turn(call_later: Any) -> Deferred[None]:
    """Return a Deferred that fires in a later turn of the reactor."""
    turn: Deferred[None] = Deferred()
    call_later(0.001, turn.callback, None)
    return turn
