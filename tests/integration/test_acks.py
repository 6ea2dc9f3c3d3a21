"""Acknowledgements of the daemon over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from netconsd.service import NetconsdService
from netconsd.testing import extended
from tests.integration.rig import Blocked, is_free, logging, run_of, running
from tests.support.loopback import Arrivals, needs_ipv6

TIMEOUT = 30.0


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    """The socket of a sender on 127.0.0.1."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(TIMEOUT)
        yield made


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param(None, marks=needs_ipv6)])
@pytest_twisted.ensureDeferred
async def test_the_daemon_answers_from_its_own_port(address: str | None, sender: socket.socket) -> None:
    """With acks, the acknowledgement is sent from the daemon's port, from an IPv4 and from an IPv6 socket."""
    module = Arrivals()
    with logging() as log:
        async with running({"module": module}, address=address, acks=True) as service:
            port = service.port
            sender.sendto(extended("x", seq=7), ("127.0.0.1", port))
            answer = await deferToThread(sender.recvfrom, 2000)
    assert answer == (b"ncrx7", ("127.0.0.1", port))
    assert "1 acknowledgement sent (acks_sent)" in log.lines()


@needs_ipv6
@pytest_twisted.ensureDeferred
async def test_ipv6_senders_are_acknowledged() -> None:
    """A sender with an IPv6 address gets an acknowledgement."""
    with closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as sender:
        sender.settimeout(TIMEOUT)
        async with running({}, address="::1", acks=True) as service:
            sender.sendto(extended("x", seq=7), ("::1", service.port))
            answer = await deferToThread(sender.recvfrom, 2000)
    assert answer[0] == b"ncrx7"


@pytest_twisted.ensureDeferred
async def test_no_acknowledgements_by_default(sender: socket.socket) -> None:
    """Without acks the daemon sends nothing."""
    module = Arrivals()
    async with running({"module": module}) as service:
        sender.sendto(extended("x", seq=7), ("127.0.0.1", service.port))
        await module.number(1)
    sender.setblocking(False)
    with pytest.raises(BlockingIOError):
        sender.recv(2000)


@pytest_twisted.ensureDeferred
async def test_messages_are_acknowledged_at_the_end(sender: socket.socket) -> None:
    """Messages in a worker's queue when the listener stops are delivered, then acknowledged; then the port is free."""
    module = Blocked()
    async with running({"module": module}, acks=True, workers=1) as service:
        port = service.port
        sender.sendto(extended("x", seq=7), ("127.0.0.1", port))
        assert await deferToThread(module.entered.wait, TIMEOUT)
        sender.sendto(extended("x", seq=8), ("127.0.0.1", port))
        # The listener reads the second datagram and stops while the module processes the first.
        stopped = service.stopService()
        module.release.set()
        await stopped
    assert module.texts == ["x", "x"]
    answers = {sender.recv(2000) for _ in range(2)}
    assert answers == {b"ncrx7", b"ncrx8"}
    assert is_free(port)


@pytest_twisted.ensureDeferred
async def test_two_daemons_fall_silent() -> None:
    """Forged records with the address of another daemon, and with the daemon's own, get one answer each: the daemons do
    not answer each other's answers."""
    one, other = Arrivals(), Arrivals()
    async with (
        running({"module": one}, acks=True, workers=1) as first,
        running({"module": other}, acks=True, workers=1) as second,
    ):
        # Sent from the daemons' own sockets, as only a forger can.
        forge(first, second.port, extended("x", seq=1))
        forge(second, first.port, extended("x", seq=2))
        forge(first, first.port, extended("x", seq=3))
        # The records, and each answer as text, which is delivered after an answer to it would have been sent.
        await one.number(4)
        await other.number(2)
    assert [service.snapshot().total("acks_sent") for service in (first, second)] == [2, 1]
    assert sorted(one.texts) == ["ncrx1", "ncrx3", "x", "x"]
    assert sorted(other.texts) == ["ncrx2", "x"]


def forge(service: NetconsdService, port: int, datagram: bytes) -> None:
    """Send a datagram with the address and port of a daemon."""
    run_of(service).readers[0]._socket.sendto(datagram, ("127.0.0.1", port))
