"""A busy fleet: everything arrives, in order, each sender in one thread. This is not a benchmark."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import threads

from netconsd.protocol.message import ExtendedMessage
from netconsd.receive.sockets import bind, granted_rcvbuf
from netconsd.service import NetconsdService
from netconsd.settings import Settings
from netconsd.testing import RecordingModule

ROOT = Path(__file__).parents[2]

SENDERS = 100
MESSAGES = 1000
RATE = 20_000

# The kernel holds one datagram of this size per 416 granted bytes: half a second of them.
ENOUGH_RCVBUF = 4 * 1024 * 1024


def flood(port: int) -> float:
    """Send everything from another process while the calling thread waits; return the duration in seconds."""
    arguments = map(str, (port, SENDERS, MESSAGES, RATE))
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.flood", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def dropped_by_the_kernel(port: int) -> int:
    """Return the number of datagrams that the kernel dropped at this port."""
    rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if int(row[1].partition(":")[2], 16) == port)


def listeners_for_a_burst() -> int:
    """Return one if the kernel grants a large receive buffer, otherwise enough for the pauses of this process."""
    settings = Settings(port=0, address="127.0.0.1")
    (probe,) = bind(settings)
    with probe:
        return 1 if granted_rcvbuf(probe) >= ENOUGH_RCVBUF else 64


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_busy_fleet() -> None:
    """100,000 datagrams from 100 senders at 20,000 per second are delivered in order, each sender in one thread."""
    module = RecordingModule()
    settings = Settings(port=0, address="127.0.0.1", listeners=listeners_for_a_burst())
    service = NetconsdService({"module": module}, settings)
    service.startService()
    await service.started
    try:
        seconds = await threads.deferToThread(flood, service.port)
        dropped = dropped_by_the_kernel(service.port)
    finally:
        await service.stopService()

    threads_of: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
    seqs_of: defaultdict[str, list[int]] = defaultdict(list)
    marked: list[Any] = []
    for call in module.calls:
        message = call.message
        assert isinstance(message, ExtendedMessage)
        threads_of[message.source.address].add((call.worker, call.thread))
        seqs_of[message.source.address].append(message.seq)
        if message.out_of_order or message.incomplete or message.missing or message.seq_reset != (message.seq == 1):
            marked.append(message)
    account = {"messages": len(module.calls), "dropped by the kernel": dropped}
    assert account == {"messages": SENDERS * MESSAGES, "dropped by the kernel": 0}
    assert seqs_of == {f"127.0.1.{number}": list(range(1, MESSAGES + 1)) for number in range(1, SENDERS + 1)}
    assert marked == []
    assert all(len(one) == 1 for one in threads_of.values())
    assert len(set.union(*threads_of.values())) == settings.workers
    if seconds > 1.2 * SENDERS * MESSAGES / RATE:
        pytest.skip(f"proved at a lower rate: this machine, or what ran beside, sent for {seconds:.1f} seconds")
