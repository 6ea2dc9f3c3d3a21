"""Admission: --allow and --rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import LogLevel

from netconsd.protocol.table import BURST_SECONDS
from netconsd.receive.reader import Receiver
from netconsd.receive.recvfrom import Receiver as PlainReceiver
from netconsd.settings import Settings
from netconsd.testing import legacy
from tests.integration.rig import logging, make, run_of, running
from tests.support.loopback import Arrivals, send


@pytest.mark.parametrize("receiver", [Receiver, PlainReceiver])
@pytest_twisted.ensureDeferred
async def test_senders_outside_allow_are_dropped(receiver: Any) -> None:
    """A datagram from outside --allow is counted and dropped; its sender is not added to the table."""
    module = Arrivals()
    with logging() as log:
        async with running({"module": module}, receiver=receiver, allow=("127.0.0.2", "127.0.3.0/24")) as service:
            for address in ("127.0.0.1", "127.0.0.2", "127.0.2.1", "127.0.3.1"):
                send(service.port, legacy(address), sender=address)
            await module.number(2)
    assert sorted(module.texts) == ["127.0.0.2", "127.0.3.1"]
    assert "Datagrams are accepted from 127.0.0.2, 127.0.3.0/24 only (--allow)" in log.lines()
    assert log.lines()[-1].startswith("2 datagrams dropped because the sender's address is not in --allow")


@pytest_twisted.ensureDeferred
async def test_a_sender_over_its_rate() -> None:
    """The datagrams of a sender over --rate are dropped and counted; another sender loses none."""
    module = Arrivals()
    burst = round(2 * BURST_SECONDS)
    with logging() as log:
        async with running({"module": module}, rate=2) as service:
            send(service.port, *(legacy(str(number)) for number in range(200)))
            send(service.port, legacy("quiet"), sender="127.0.0.2")
    loud = [text for text in module.texts if text != "quiet"]
    assert len(module.texts) == len(loud) + 1
    # Time passes between two reads, so a few more may be allowed.
    assert burst <= len(loud) < burst + 20
    assert loud[:burst] == [str(number) for number in range(burst)]
    assert log.lines()[-1].startswith(f"{200 - len(loud)} datagrams dropped because the sender sent more than --rate")


@pytest.mark.parametrize("receiver", [Receiver, PlainReceiver])
@pytest_twisted.ensureDeferred
async def test_new_admission(receiver: Any) -> None:
    """``reload`` applies allow and rate to all sockets and workers at once, and returns the fields that it cannot."""
    module = Arrivals()
    old: dict[str, Any] = {"port": 0, "address": "127.0.0.1", "rcvbuf": 1024 * 1024}
    async with running({"module": module}, receiver=receiver, listeners=2, allow=("127.0.0.2",)) as service:
        send(service.port, legacy("a"), sender="127.0.0.2")
        await module.number(1)
        new = Settings(**{**old, "listeners": 3, "queue": 7, "allow": ("127.0.0.1",), "rate": 1})
        assert service.reload(new) == ("listeners", "queue")
        assert (service.settings.allow, service.settings.rate, service.settings.listeners) == (("127.0.0.1",), 1, 2)
        send(service.port, legacy("dropped"), sender="127.0.0.2")
        send(service.port, *(legacy("b") for _ in range(round(2 * BURST_SECONDS))), sender="127.0.0.1")
    limited = service.snapshot().total("dropped_over_rate")
    # Time passes between two reads, so one more may be allowed.
    assert 0 < limited <= round(BURST_SECONDS)
    assert sorted(module.texts) == ["a", *["b"] * (round(2 * BURST_SECONDS) - limited)]


def test_a_service_that_does_not_run() -> None:
    """``reload`` before the start changes the settings of the start."""
    service = make({}, rate=1)
    assert service.reload(replace(service.settings, rate=2)) == ()
    assert service.settings.rate == 2


@pytest_twisted.ensureDeferred
async def test_limits_are_logged_while_the_service_runs() -> None:
    """A sender over --rate, and a stranger, are logged by the next look, each in a line of its own."""
    module = Arrivals()
    burst = round(2 * BURST_SECONDS)
    with logging() as log:
        settings: dict[str, Any] = {"rate": 2, "workers": 1, "allow": ("127.0.0.1", "127.0.0.2")}
        async with running({"module": module}, **settings) as service:
            run_of(service).look_call.stop()
            send(service.port, *[legacy("noise")] * 1000)
            send(service.port, legacy("stranger"), sender="127.0.0.3")
            send(service.port, legacy("quiet"), sender="127.0.0.2")
            await module.number(burst + 1)
            while "quiet" not in module.texts:
                await module.number(len(module.texts) + 1)
            run_of(service)._look()
            warnings = log.lines(LogLevel.warn)
    limited, stranger = sorted(warnings, key=lambda line: "--allow" in line)
    assert " over --rate at worker 0, of 127.0.0.1 port " in limited
    assert ": 1 at listener 0, because their senders are not in --allow" in stranger
