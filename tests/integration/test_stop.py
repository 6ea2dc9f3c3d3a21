"""The stop of the service: in order, at any time, with everything delivered and the totals logged."""

from __future__ import annotations

import re
import socket
import threading
import time

import pytest
import pytest_twisted
from twisted.internet import threads
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel

from netconsd.monitor import gil
from netconsd.outputs.loader import ModuleError
from netconsd.protocol.message import Message
from netconsd.service import NetconsdService
from netconsd.testing import RecordingModule, crash_datagrams, extended, legacy
from tests.integration.leaks import LoggedErrors
from tests.integration.rig import (
    PATIENCE,
    Blocked,
    Log,
    StandsStill,
    after_turns,
    is_free,
    make,
    note,
    run_of,
    running,
    until_counted,
)
from tests.support.loopback import Arrivals, send
from tests.support.scripted_module import Script
from tests.support.servers import free_port


@pytest_twisted.ensureDeferred
async def test_the_stop_delivers_what_the_socket_has() -> None:
    """Datagrams that the kernel has received are delivered, even if the reactor had no turn to read them."""
    module = Arrivals()
    async with running({"module": module}) as service:
        send(service.port, *(extended(str(seq), seq=seq) for seq in range(1, 201)))
    assert module.texts == [str(seq) for seq in range(1, 201)]


@pytest_twisted.ensureDeferred
async def test_the_stop_is_in_order() -> None:
    """First the port is closed, then the workers deliver queued and held messages, then the modules stop."""
    events: list[str] = []

    class Watch(Blocked):
        def handle(self, worker: int, message: Message) -> None:
            super().handle(worker, message)
            events.append(f"{message.text}{' port free' if is_free(port) else ''}")

        def stop(self) -> None:
            events.append("stop")

    module = Watch()
    async with running({"module": module}, reorder=60.0, workers=1) as service:
        port = service.port
        send(port, extended("1", seq=1), extended("2", seq=2), extended("4", seq=4))
        send(port, b"no newline", sender="127.0.0.2")
        await threads.deferToThread(module.entered.wait, PATIENCE)
        after_turns(3, module.release.set)
    assert events == ["1 port free", "2 port free", "4 port free", "no newline port free", "stop"]


@pytest_twisted.ensureDeferred
async def test_the_totals(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The totals have a line for each listener, worker and module, one for the sums, and one for the drops."""
    # A free-threaded Python has one line more at the start.
    monkeypatch.setattr(gil, "described", lambda: "")
    module = Arrivals()
    async with running({"module": module}, workers=2) as service:
        send(service.port, *(extended(str(seq), seq=seq) for seq in (1, 2, 2, 3)), b"", legacy("text"))
        await module.number(4)
    heads = [line.partition(":")[0] for line in log.lines()[1:]]
    assert heads[:5] == ["Listener 0", "Worker 0", "Worker 1", "Module module", "Total"]
    assert len(heads) == 7
    totals = service.snapshot()
    assert (totals.received, totals.total("messages")) == (6, 4)
    assert (totals.total("dropped_duplicate"), totals.total("dropped_empty")) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_modules_that_failed(log: Log, logged_errors: LoggedErrors) -> None:
    """Before the modules stop, the log has the number of failed calls of each module, reloads included; modules without
    a failure are not listed."""
    events: list[str] = []

    class Fails(Script):
        def stop(self) -> None:
            events.extend(log.lines(LogLevel.warn))
            super().stop()

    module = Arrivals()
    bad = Fails("bad", events, handle=OSError("x"), reload=OSError("y"))
    reloads = Script("reloads", [], reload=OSError("z"))
    async with running({"bad": bad, "reloads": reloads, "module": module}, workers=2) as service:
        for number in range(1, 21):
            send(service.port, legacy("text"), sender=f"127.0.0.{number}")
        await module.number(20)
        service.reload()
    assert len(logged_errors.flush(OSError)) == 2
    assert {call.worker for call in module.calls} == {0, 1}
    warnings = log.lines(LogLevel.warn)
    assert [line.partition(" call")[0] for line in warnings] == ["Module bad: 21", "Module reloads: 1"]
    assert events[-3:] == [*warnings, "bad stop"]


@pytest_twisted.ensureDeferred
async def test_stopping_while_starting() -> None:
    """The start of a module that is not ready is cancelled, and the started modules are stopped."""
    events: list[str] = []
    ready: Deferred[None] = Deferred(lambda deferred: events.append("cancelled"))
    service = make({"a": Script("a", events), "b": Script("b", events, start=ready), "c": Script("c", events)})
    service.startService()
    started = service.started
    port = service.port
    stopped = service.stopService()
    assert events == ["a start", "b start", "cancelled", "a stop"]
    await stopped
    with pytest.raises(ModuleError, match=r"^b: the stop came before the end of its start$"):
        await started
    assert is_free(port)
    assert service.started is not started


@pytest_twisted.ensureDeferred
async def test_stopping_while_a_start_ends() -> None:
    """A module whose start ends when it is cancelled is stopped like any other."""
    events: list[str] = []
    ready: Deferred[None] = Deferred(lambda deferred: deferred.callback(None))
    service = make({"a": Script("a", events, start=ready), "b": Script("b", events)})
    service.startService()
    started = service.started
    stopped = service.stopService()
    assert events == ["a start", "b start"]
    await started
    await stopped
    assert events == ["a start", "b start", "b stop", "a stop"]


def stop(result: None, service: NetconsdService) -> Deferred[None]:
    """Stop the service, as a callback."""
    return service.stopService()


@pytest_twisted.ensureDeferred
async def test_stopping_at_the_moment_of_the_start() -> None:
    """A callback of ``started`` may stop the service, whether the start was immediate or not."""
    for ready in (Deferred[None](), succeed(None)):
        events: list[str] = []
        service = make({"a": Script("a", events, start=ready)})
        service.startService()
        stopped = service.started.addCallback(stop, service)
        if not ready.called:
            ready.callback(None)
        await stopped
        assert events == ["a start", "a stop"]
        assert not service.running


@pytest_twisted.ensureDeferred
async def test_stopping_twice_at_once() -> None:
    """Both calls fire after everything is delivered, and each module is stopped once."""
    events: list[str] = []
    module = Blocked()
    service = make({"script": Script("script", events), "module": module})
    service.startService()
    await service.started
    send(service.port, legacy("text"))
    await threads.deferToThread(module.entered.wait, PATIENCE)
    first = service.stopService().addCallback(note, events, "first")
    second = service.stopService().addCallback(note, events, "second")
    after_turns(3, module.release.set)
    await second
    await first
    assert module.texts == ["text"]
    assert events[:3] == ["script start", "script handle", "script stop"]
    assert sorted(events[3:]) == ["first", "second"]


@pytest_twisted.ensureDeferred
async def test_stopping_without_a_start() -> None:
    """A service that was not started can be stopped; bound sockets are closed."""
    service = make({})
    await service.stopService()
    service.privilegedStartService()
    port = service.port
    await service.stopService()
    assert is_free(port)


@pytest_twisted.ensureDeferred
async def test_a_stopped_service_can_be_started_again(log: Log) -> None:
    """A new start listens on the same port, has a new ``started``, and counts from zero."""
    module = Arrivals()
    port = free_port(socket.SOCK_DGRAM)
    service = make({"module": module}, port=port)
    for count in (1, 2, 3):
        service.startService()
        assert service.running
        await service.started
        send(port, extended(str(count)))
        await module.number(count)
        await service.stopService()
        assert not service.running
    assert module.texts == ["1", "2", "3"]
    totals = [line for line in log.lines() if line.startswith("Total: 1 datagram")]
    assert len(totals) == 3


@pytest_twisted.ensureDeferred
async def test_a_module_that_hangs(log: Log) -> None:
    """The log has the number of datagrams dropped with a worker whose single module hangs, and of messages in hand."""
    stuck = Blocked()
    service = make({"stuck": stuck}, workers=1, stop_timeout=0.0)
    service.startService()
    await service.started
    workers = run_of(service).workers
    send(service.port, b"one\n")
    assert await deferToThread(stuck.entered.wait, PATIENCE)
    send(service.port, *[b"x" * 5000 + b"\n"] * 3)
    await service.stopService()
    (warning,) = [line for line in log.lines(LogLevel.warn) if "is given up" in line]
    assert warning.startswith("Worker 0 is given up, because module stuck blocks: no progress for 0 seconds")
    # The number of datagrams, not of their places in the queue.
    assert "3 datagrams in its queue" in warning
    assert "1 message that the module has in hand" in warning
    assert [worker.dropped_at_stop for worker in service.snapshot().workers] == [3]
    assert [module.dropped_at_stop for module in service.snapshot().modules] == [1]
    assert [line for line in log.lines() if line.startswith("4 messages dropped at the stop")]
    (lane,) = workers.unfinished
    stuck.release.set()
    await deferToThread(join, f"netconsd-{lane.number}")
    # After its stop a module gets no more messages.
    assert len(stuck.calls) == 1


@pytest_twisted.ensureDeferred
async def test_an_open_report_of_a_worker_that_is_given_up(log: Log) -> None:
    """No module gets the open crash report of a worker whose single module hangs; the totals say so."""
    stuck = Blocked()
    service = make({"stuck": stuck}, workers=1, stop_timeout=0.0)
    service.startService()
    await service.started
    send(service.port, crash_datagrams()[0])
    assert await deferToThread(stuck.entered.wait, PATIENCE)
    await service.stopService()
    assert [worker.reports_at_stop for worker in service.snapshot().workers] == [1]
    assert [line for line in log.lines() if line.endswith("(reports_at_stop)")] == [
        "1 sender whose open crash report was dropped at the stop: a module did not return (reports_at_stop)"
    ]
    stuck.release.set()
    await deferToThread(join, "netconsd-0")


@pytest_twisted.ensureDeferred
async def test_a_module_that_hangs_beside_another(log: Log) -> None:
    """The other module gets every message, and is stopped in order; what the one that hangs has is counted, and every
    sum holds."""
    stuck, module = Blocked(), Arrivals()
    # On a loaded machine the other threads of the service may need longer than the timeout for their end.
    reactor = StandsStill("netconsd-0", "module-0")
    service = make({"stuck": stuck, "module": module}, reactor=reactor, workers=1, stop_timeout=0.05)
    service.startService()
    await service.started
    send(service.port, *(extended(str(seq), seq=seq) for seq in range(17)))
    await module.number(17)
    await service.stopService()
    assert module.texts == [str(seq) for seq in range(17)]
    assert module.stopped
    (warning,) = [line for line in log.lines(LogLevel.warn) if "is given up" in line]
    assert warning == (
        "Module stuck is given up in worker 0: no progress for 0.05 seconds (--stop-timeout). 17 messages in its queue "
        "and in hand are dropped (dropped_at_stop)"
    )
    (totals,) = [line for line in log.lines() if line.startswith("Module stuck: ")]
    assert "dropped_at_stop 17" in totals
    assert [line for line in log.lines() if line.startswith("17 messages dropped at the stop")]
    assert log.lines(LogLevel.error) == []
    snapshot = service.snapshot()
    assert [(each.name, each.dropped_at_stop) for each in snapshot.modules] == [("stuck", 17), ("module", 0)]
    stuck.release.set()
    await deferToThread(join, "stuck-0")
    assert len(stuck.calls) == 1


@pytest_twisted.ensureDeferred
async def test_the_stop_limit(log: Log) -> None:
    """After --stop-limit the stop gives up a module although it makes progress."""
    slow = Blocked()
    service = make({"slow": slow, "module": RecordingModule()}, workers=1, stop_timeout=PATIENCE, stop_limit=0.0)
    service.startService()
    await service.started
    send(service.port, extended("text"))
    assert await deferToThread(slow.entered.wait, PATIENCE)
    await service.stopService()
    (warning,) = [line for line in log.lines(LogLevel.warn) if "is given up" in line]
    assert ": the stop has taken 0 seconds (--stop-limit). 1 message in its queue and in hand" in warning
    slow.release.set()
    await deferToThread(join, "slow-0")


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest_twisted.ensureDeferred
async def test_a_slow_module_delivers_everything(log: Log) -> None:
    """60,000 messages at a millisecond each are delivered by a stop longer than --stop-timeout, with a line every
    few seconds."""

    class Slow(RecordingModule):
        def handle(self, worker: int, message: Message) -> None:
            time.sleep(0.001)
            super().handle(worker, message)

    slow, module = Slow(), Arrivals()
    service = make({"slow": slow, "module": module}, workers=1)
    service.startService()
    await service.started
    for start in range(0, 60_000, 500):
        send(service.port, *(extended(str(seq), seq=seq) for seq in range(start, start + 500)))
        await module.number(start + 500)
    await service.stopService()
    assert [message.text for message in slow.messages] == [str(seq) for seq in range(60_000)]
    assert len([line for line in log.lines() if re.match(r"Stopping: [\d,]+ messages left in module slow", line)]) > 5


@pytest_twisted.ensureDeferred
async def test_a_module_that_never_stops(log: Log) -> None:
    """A module whose stop does not end is named in the log; the others are stopped, and the totals are logged."""
    events: list[str] = []
    module = Arrivals()
    modules = {"first": Script("first", events), "stuck": Script("stuck", events, stop=Deferred()), "module": module}
    reactor = StandsStill("netconsd-0", "first-0", "stuck-0", "module-0")
    async with running(modules, reactor=reactor, workers=1, stop_timeout=0.05) as service:
        send(service.port, extended("text"))
        await module.number(1)
    assert events[-2:] == ["stuck stop", "first stop"]
    (warning,) = log.lines(LogLevel.warn)
    assert warning.startswith("Module stuck has not stopped within 0.05 seconds")
    assert [line for line in log.lines() if line.startswith("Total: 1 datagram")]


def join(name: str) -> None:
    """Wait for the end of a thread."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(PATIENCE)


@pytest_twisted.ensureDeferred
async def test_totals_without_a_stop(log: Log) -> None:
    """``log_totals`` logs the totals of a running service; after a stop it logs nothing, because the stop did."""
    async with running({"module": Arrivals()}) as service:
        send(service.port, extended("text"))
        await until_counted(service, 1)
        service.log_totals()
        assert log.lines()[-1].startswith("Total: 1 datagram")
    count = len(log.lines())
    service.log_totals()
    assert len(log.lines()) == count
