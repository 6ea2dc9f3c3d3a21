"""Clients that flood the HTTP port, while messages arrive. This is not a benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import threads

from netconsd.monitor.http import CONNECTIONS_LIMIT
from netconsd.testing import RecordingModule
from tests.integration.rig import PATIENCE, running

ROOT = Path(__file__).parents[2]
SENDERS = 100
MESSAGES = 320
RATE = 8_000


def flood_both(http_port: int, udp_port: int) -> int:
    """Send all messages while the clients pipeline; return the number of answers that they read."""
    clients = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.pipeline", str(http_port), str(CONNECTIONS_LIMIT)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with clients:
        assert clients.stdout is not None
        try:
            assert clients.stdout.readline() == "connected\n"
            arguments = map(str, (udp_port, SENDERS, MESSAGES, RATE))
            subprocess.run(
                [sys.executable, "-m", "tests.integration.flood", *arguments],
                cwd=ROOT, stdout=subprocess.DEVNULL, check=True, timeout=2 * PATIENCE,
            )  # fmt: skip
            return int(clients.communicate("", timeout=PATIENCE)[0])
        finally:
            clients.kill()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest_twisted.ensureDeferred
async def test_pipelined_requests_lose_no_message() -> None:
    """While 32 clients pipeline requests, 8,000 messages per second are received and delivered without a loss, and the
    clients get answers; then the service stops although they still ask."""
    module = RecordingModule()
    # Without privileges the kernel grants small receive buffers.
    listeners = 1 if os.geteuid() == 0 else 64
    async with running({"module": module}, metrics="0", rcvbuf=32 * 1024 * 1024, listeners=listeners) as service:
        assert service._bound is not None and service._bound.monitoring is not None
        answers = await threads.deferToThread(flood_both, service._bound.monitoring.port, service.port)
    snapshot = service.snapshot()
    assert snapshot.total("dropped_by_kernel") == 0
    assert snapshot.total("dropped_queue_full") == 0
    assert len(module.calls) == snapshot.received == SENDERS * MESSAGES
    assert answers > CONNECTIONS_LIMIT
