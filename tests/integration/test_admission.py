"""Who may send to a service, and how much."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from netconsd.protocol.table import BURST_SECONDS
from netconsd.receive.reader import Receiver
from netconsd.receive.recvfrom import Receiver as PlainReceiver
from netconsd.testing import legacy
from tests.integration.rig import logging, running
from tests.support.loopback import Arrivals, send


@pytest.mark.parametrize("receiver", [Receiver, PlainReceiver])
@pytest_twisted.ensureDeferred
async def test_strangers_get_nowhere(receiver: Any) -> None:
    """Whoever is not in the networks is counted, and neither handed on nor remembered; the totals tell."""
    module = Arrivals()
    with logging() as log:
        async with running({"module": module}, receiver=receiver, allow=("127.0.0.2", "127.0.3.0/24")) as service:
            for address in ("127.0.0.1", "127.0.0.2", "127.0.2.1", "127.0.3.1"):
                send(service.port, legacy(address), sender=address)
            await module.number(2)
    assert sorted(module.texts) == ["127.0.0.2", "127.0.3.1"]
    assert "Only datagrams from 127.0.0.2, 127.0.3.0/24 are taken (--allow)" in log.lines()
    assert log.lines()[-2:] == [
        "In all: 4 datagrams received, 2 messages from 2 senders",
        "Of note: dropped_not_allowed 2",
    ]


@pytest_twisted.ensureDeferred
async def test_a_sender_gets_its_rate() -> None:
    """One that sends more than it may loses what is beyond, another loses nothing; the totals tell."""
    module = Arrivals()
    burst = round(2 * BURST_SECONDS)
    with logging() as log:
        async with running({"module": module}, rate=2) as service:
            send(service.port, *(legacy(str(number)) for number in range(200)))
            send(service.port, legacy("quiet"), sender="127.0.0.2")
    loud = [text for text in module.texts if text != "quiet"]
    assert len(module.texts) == len(loud) + 1
    # A moment may pass between two reads.
    assert burst <= len(loud) < burst + 20
    assert loud[:burst] == [str(number) for number in range(burst)]
    assert log.lines()[-1] == f"Of note: dropped_over_rate {200 - len(loud)}"
