"""The start of the service: in order, logged, and undone if any part of it fails."""

from __future__ import annotations

import errno
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from netconsd.outputs.loader import ModuleError
from netconsd.receive.reader import Receiver
from netconsd.settings import ConfigError
from netconsd.testing import RecordingModule, extended
from tests.integration.leaks import LoggedErrors
from tests.integration.rig import Log, is_free, make, running
from tests.support.loopback import Arrivals, send
from tests.support.scripted_module import Script


@pytest_twisted.ensureDeferred
async def test_the_port_is_known_while_it_is_bound() -> None:
    """``port`` is the port that the kernel chose, from the binding on; before and after it is 0."""
    service = make({})
    assert service.port == 0
    service.privilegedStartService()
    port = service.port
    assert not is_free(port)
    service.startService()
    await service.started
    assert service.port == port
    await service.stopService()
    assert service.port == 0
    assert is_free(port)


@pytest_twisted.ensureDeferred
async def test_as_a_child_of_an_application(log: Log) -> None:
    """A parent binds the sockets in its privileged start, and its stop waits for the service's."""
    module = Arrivals()
    parent: Any = MultiService()
    service = make({"module": module}, reorder=60.0)
    service.setServiceParent(parent)
    parent.privilegedStartService()
    assert not is_free(service.port)
    parent.startService()
    await service.started
    send(service.port, extended("1", seq=1), extended("3", seq=3))
    await module.number(1)
    await parent.stopService()
    assert module.texts == ["1", "3"]
    assert module.stopped


@pytest.mark.parametrize("listeners", [1, 2])
@pytest_twisted.ensureDeferred
async def test_a_second_service_on_the_port_is_refused(listeners: int) -> None:
    """A port in use raises ConfigError with the port, even if both services would share it; the first one continues."""
    module = Arrivals()
    async with running({"module": module}, listeners=listeners) as service:
        for bound in ("privilegedStartService", "startService"):
            second = make({}, port=service.port, listeners=2)
            with pytest.raises(ConfigError, match=rf"port {service.port}\b"):
                getattr(second, bound)()
            assert not second.running
            await second.stopService()
        send(service.port, extended("still there"))
        await module.number(1)


def test_an_address_of_another_machine_is_refused() -> None:
    """An address of another machine raises ConfigError with the address."""
    with pytest.raises(ConfigError, match=r"203\.0\.113\.1"):
        make({}, address="203.0.113.1").privilegedStartService()


@pytest.mark.parametrize("by_deferred", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_module_that_does_not_start(by_deferred: bool) -> None:
    """``started`` fails with ModuleError, started modules are stopped, the port is free; a new start is possible."""
    events: list[str] = []
    ready: Deferred[None] = Deferred()
    bad = Script("bad", events, start=ready if by_deferred else OSError("no such directory"))
    service = make({"good": Script("good", events), "bad": bad, "never": Script("never", events)})
    service.privilegedStartService()
    port = service.port
    service.startService()
    if by_deferred:
        ready.errback(OSError("no such directory"))
    with pytest.raises(ModuleError, match=r"^bad: did not start: no such directory"):
        await service.started
    assert events == ["good start", "bad start", "good stop"]
    assert is_free(port)
    await service.stopService()
    assert events == ["good start", "bad start", "good stop"]

    del events[:]
    bad.outcomes.clear()
    service.startService()
    await service.started
    await service.stopService()
    assert events == ["good start", "bad start", "never start", "never stop", "bad stop", "good stop"]


class Delegate:
    """Delegates to the reactor, and keeps the names of the attributes used."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Any:
        from twisted.internet import reactor

        self.names.append(name)
        return getattr(reactor, name)


@pytest_twisted.ensureDeferred
async def test_the_reactor_may_be_given(logged_errors: LoggedErrors) -> None:
    """Listeners, workers and the log of exceptions use the given reactor."""
    reactor = Delegate()
    module = Arrivals()
    service = make({"bad": Script("bad", [], handle=OSError("x")), "module": module}, reactor=reactor, workers=2)
    service.startService()
    await service.started
    assert reactor.names.count("addReader") == 1
    send(service.port, extended("text"))
    await module.number(1)
    await service.stopService()
    # One for the error, and one for the end of each worker, and of each queue of a module.
    assert reactor.names.count("callFromThread") == 7
    assert len(logged_errors.flush(OSError)) == 1


class Exhausted:
    """Makes one receiver; a second one fails."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def __call__(self, *arguments: Any) -> Any:
        if self.made:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        self.made.append(Receiver(*arguments))
        return self.made[-1]


@pytest_twisted.ensureDeferred
async def test_a_listener_that_does_not_start() -> None:
    """If a listener fails after modules and workers have started, ``started`` fails and everything is stopped."""
    events: list[str] = []
    service = make({"module": Script("module", events)}, receiver=Exhausted(), listeners=2)
    service.privilegedStartService()
    port = service.port
    service.startService()
    with pytest.raises(OSError, match="Cannot allocate memory"):
        await service.started
    assert events == ["module start", "module stop"]
    assert is_free(port)
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_the_start_is_announced(log: Log) -> None:
    """The log has the address, the port and the modules."""
    async with running({"a": RecordingModule(), "b": RecordingModule()}, workers=3) as service:
        port = service.port
    assert f"127.0.0.1, UDP port {port}; " in log.lines()[0]
    assert "modules: a, b" in log.lines()[0]
    async with running({}, address=None):
        pass
    (text,) = [line for line in log.lines() if "all addresses" in line]
    assert "modules: none" in text


@pytest_twisted.ensureDeferred
async def test_a_small_receive_buffer_is_warned_of(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel grants a smaller receive buffer, the log warns with both sizes."""
    async with running({}):
        pass
    assert log.lines(LogLevel.warn) == []
    monkeypatch.setattr("netconsd.service.granted_rcvbuf", lambda bound: 212992)
    async with running({}):
        pass
    (text,) = log.lines(LogLevel.warn)
    assert "212992" in text and "1048576" in text
