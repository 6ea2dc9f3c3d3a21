"""The snapshot of a running service, and the errors in its log if the counters are inconsistent."""

from __future__ import annotations

from unittest.mock import patch

import pytest_twisted
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from netconsd.monitor.snapshot import Snapshot
from netconsd.service import LOOK_SECONDS
from netconsd.testing import extended, legacy
from tests.integration.leaks import LoggedErrors
from tests.integration.rig import logging, make, run_of, running
from tests.support.loopback import Arrivals, send


@pytest_twisted.ensureDeferred
async def test_a_snapshot_while_the_service_runs_and_afterwards() -> None:
    """It has listeners, workers and modules; it is empty before the first start, and the last one after the stop."""
    module = Arrivals()
    service = make({"module": module}, workers=3, listeners=2)
    assert service.snapshot() == Snapshot()
    service.startService()
    await service.started
    send(service.port, *(extended(str(seq), seq=seq) for seq in (1, 2, 3)))
    await module.number(3)
    before = service.snapshot()
    assert before.received == 3
    assert [len(part) for part in (before.listeners, before.workers, before.modules)] == [2, 3, 3]
    assert all(worker.alive for worker in before.workers)
    assert all(listener.buffer_size for listener in before.listeners)
    send(service.port, legacy("one more"))
    await service.stopService()
    after = service.snapshot()
    assert (after.received, after.total("messages")) == (4, 4)
    assert sum(module.messages for module in after.modules) == 4
    assert not any(worker.alive for worker in after.workers)
    assert after.inconsistencies() == []


@pytest_twisted.ensureDeferred
async def test_inconsistent_counters_are_logged_errors(logged_errors: LoggedErrors) -> None:
    """A datagram without an outcome is an error in the log at the stop, so every test of a service checks the sums."""
    async with running({"module": Arrivals()}, workers=1) as service:
        with patch.object(service.lanes[0], "put"):
            send(service.port, b"text")
            run_of(service).readers[0].drain()
    sums = [event["inconsistency"].partition(" is not ")[0] for event in logged_errors.flush()]
    assert sums == ["received 1", "bytes received 4"]


@pytest_twisted.ensureDeferred
async def test_drops_are_logged_while_the_service_runs() -> None:
    """Drops by the kernel are counted and logged once within a second."""
    from twisted.internet import reactor

    with logging() as log:
        service = make({"module": Arrivals()}, rcvbuf=4096)
        service.startService()
        await service.started
        # Often enough for a counter of 32 bits, at a million drops per second and more.
        assert run_of(service).look_call.interval == LOOK_SECONDS < 2**32 / 1e6
        run_of(service).look_call.stop()
        # In this turn of the reactor nobody reads.
        send(service.port, *[b"x" * 900] * 50)
        run_of(service).look_call.start(0.0)
        await deferLater(reactor, 0, lambda: None)
        dropped = run_of(service).readers[0].counters.dropped_by_kernel
        await service.stopService()
    assert dropped
    (warning,) = [line for line in log.lines(LogLevel.warn) if "dropped" in line]
    assert f"{dropped} by the kernel at listener 0, " in warning
