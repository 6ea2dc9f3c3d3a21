"""The accounts of a running service, and what it says if they do not add up."""

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
async def test_a_snapshot_while_it_runs_and_after() -> None:
    """Listeners, workers and modules are in it; after the stop it is that of the end, before the first start empty."""
    module = Arrivals()
    service = make({"module": module}, workers=3, listeners=2)
    assert service.snapshot() == Snapshot()
    service.startService()
    await service.started
    send(service.port, *(extended(str(seq), seq=seq) for seq in (1, 2, 3)))
    await module.number(3)
    running_one = service.snapshot()
    assert running_one.received == 3
    assert [len(part) for part in (running_one.listeners, running_one.workers, running_one.modules)] == [2, 3, 3]
    assert all(worker.alive for worker in running_one.workers)
    assert all(listener.buffer_size for listener in running_one.listeners)
    send(service.port, legacy("one more"))
    await service.stopService()
    stopped = service.snapshot()
    assert (stopped.received, stopped.total("messages")) == (4, 4)
    assert sum(module.messages for module in stopped.modules) == 4
    assert not any(worker.alive for worker in stopped.workers)
    assert stopped.inconsistencies() == []


@pytest_twisted.ensureDeferred
async def test_a_ledger_that_does_not_close_is_an_error(logged_errors: LoggedErrors) -> None:
    """A datagram that is lost on its way to a worker, and in no counter, is in the log in the end; so every test of a
    service sees it."""
    async with running({"module": Arrivals()}, workers=1) as service:
        with patch.object(service.lanes[0], "put"):
            send(service.port, b"text")
            run_of(service).readers[0].drain()
    assert [event["discrepancy"] for event in logged_errors.flush()] == [
        (
            "received 1 is not dropped_bad_address + dropped_not_allowed + "
            "dropped_no_memory + queued + dropped_queue_full 0"
        ),
        "octets received 4 is not dropped_bytes + dropped_queue_full_bytes + dropped_error_bytes + octets taken 0",
    ]


@pytest_twisted.ensureDeferred
async def test_drops_are_told_while_it_runs() -> None:
    """What the kernel drops is counted and logged within a second, without anybody asking, and not again."""
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
    assert dropped > 0
    warnings = [line for line in log.lines(LogLevel.warn) if "dropped" in line]
    why = "because the receive buffer was full (see --rcvbuf and --listeners) or their checksum wrong"
    assert warnings == [f"Datagrams are being lost: the kernel dropped {dropped} at listener 0, {why}"]
