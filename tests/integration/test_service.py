"""The service over real sockets: start, receipt, stop in order, and everything that can go wrong on the way."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import MultiService
from twisted.internet import threads, udp
from twisted.internet.defer import Deferred, succeed
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from netconsd.interfaces import IOutputModule, IReloadable
from netconsd.listener import MAX_DATAGRAM, NetconsoleListener
from netconsd.loader import ModuleError
from netconsd.message import Message
from netconsd.service import FINAL_READS, NetconsdService
from netconsd.settings import ConfigError, Settings
from netconsd.testing import RecordingModule, extended, fragments, legacy, source
from netconsd.workers import Workers
from tests.integration.leaks import LoggedErrors
from tests.loopback import Arrivals, needs_ipv6, send

ROOT = Path(__file__).parents[2]
# Seconds that a worker waits for the test, at most.
PATIENCE = 10.0


class Log:
    """What was logged."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def lines(self, level: LogLevel = LogLevel.info) -> list[str]:
        """Ours of this level."""
        return [
            formatEvent(event)
            for event in self.events
            if event["log_level"] is level and event["log_namespace"] == "netconsd"
        ]


@pytest.fixture
def log() -> Iterator[Log]:
    """The log from here on."""
    result = Log()
    observer: Any = result.events.append
    globalLogPublisher.addObserver(observer)
    yield result
    globalLogPublisher.removeObserver(observer)


def make(modules: dict[str, Any], *, reactor: Any = None, **settings: Any) -> NetconsdService:
    """A service on a free port of 127.0.0.1, unless the settings say otherwise."""
    chosen = Settings(**{"port": 0, "address": "127.0.0.1", "rcvbuf": 1024 * 1024, **settings})
    return NetconsdService(modules, chosen, reactor=reactor)


@asynccontextmanager
async def running(modules: dict[str, Any], **settings: Any) -> AsyncIterator[NetconsdService]:
    """A service that runs, and is stopped in the end."""
    service = make(modules, **settings)
    service.startService()
    await service.started
    try:
        yield service
    finally:
        await service.stopService()


def is_free(port: int) -> bool:
    """Whether a port can be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def after_turns(count: int, function: Callable[[], object]) -> None:
    """Call the function in the reactor's turn after so many."""
    from twisted.internet import reactor

    call_later: Any = reactor.callLater
    call_later(0, function if count == 1 else partial(after_turns, count - 1, function))


def fired(deferred: Deferred[Any]) -> bool:
    """Whether it has come to its end."""
    return bool(deferred.called)


@implementer(IOutputModule, IReloadable)
class Script:
    """A module that writes down what is called, and raises or returns what it is told."""

    def __init__(self, name: str, events: list[str], **outcomes: Any) -> None:
        self.name = name
        self.events = events
        self.outcomes = outcomes

    def _do(self, what: str) -> Any:
        self.events.append(f"{self.name} {what}")
        outcome = self.outcomes.get(what)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def start(self, worker_count: int) -> Any:
        return self._do("start")

    def handle(self, worker: int, message: Message) -> None:
        self._do("handle")

    def reload(self) -> None:
        self._do("reload")

    def stop(self) -> Any:
        return self._do("stop")


class Blocked(Arrivals):
    """A module that holds up its worker until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.release = threading.Event()

    def handle(self, worker: int, message: Message) -> None:
        self.entered.set()
        assert self.release.wait(PATIENCE)
        super().handle(worker, message)


# Receipt.


@needs_ipv6
@pytest_twisted.ensureDeferred
async def test_both_families_arrive() -> None:
    """Without an address, messages come from IPv4 and IPv6, and IPv4 senders show as plain IPv4."""
    module = Arrivals()
    async with running({"module": module}, address=None) as service:
        port4 = send(service.port, extended("four", userdata={"rack": "r17"}), to="127.0.0.1")
        port6 = send(service.port, extended("six"), to="::1")
        await module.number(2)
    four, six = sorted(module.messages, key=lambda message: message.text)
    assert (four.source.address, four.source.port) == ("127.0.0.1", port4)
    assert (six.source.address, six.source.port) == ("::1", port6)
    assert (four.level, four.userdata) == (6, {"rack": "r17"})  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
@pytest_twisted.ensureDeferred
async def test_an_address_of_either_family(address: str) -> None:
    """The service listens on one address of either family if told to."""
    module = Arrivals()
    async with running({"module": module}, address=address) as service:
        send(service.port, extended("hello"), to=address)
        await module.number(1)
    assert [message.source.address for message in module.messages] == [address]


@pytest_twisted.ensureDeferred
async def test_senders_keep_their_order_and_their_thread() -> None:
    """Messages of a sender come in order, in one thread, with one worker's number; all workers are at work."""
    module = Arrivals()
    senders = [f"127.1.0.{number}" for number in range(1, 41)]
    async with running({"module": module}, workers=3) as service:
        for sender in senders:
            send(service.port, *(extended(str(seq), seq=seq) for seq in range(1, 6)), sender=sender)
        await module.number(5 * len(senders))
    for sender in senders:
        calls = [call for call in module.calls if call.message.source.address == sender]
        assert [call.message.text for call in calls] == ["1", "2", "3", "4", "5"]
        assert len({(call.worker, call.thread) for call in calls}) == 1
    assert {call.worker for call in module.calls} == {0, 1, 2}
    assert len({call.thread for call in module.calls}) == 3
    assert threading.get_ident() not in {call.thread for call in module.calls}


@pytest_twisted.ensureDeferred
async def test_all_ports_of_an_address_share_a_worker() -> None:
    """A machine that sends from several ports, as for two targets, has one worker."""
    module = Arrivals()
    async with running({"module": module}, workers=8) as service:
        ports = {send(service.port, extended(str(number)), sender="127.1.2.3") for number in range(20)}
        await module.number(20)
    assert {message.source.port for message in module.messages} == ports
    assert len({call.worker for call in module.calls}) == 1


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 8191, 8192, 8193, 65507])
@pytest_twisted.ensureDeferred
async def test_datagrams_of_any_size_arrive_whole(size: int, log: Log) -> None:
    """Up to the largest that UDP has, a datagram comes to the module with every byte."""
    module = Arrivals()
    text = "x" * (size - 1) + "\n"
    async with running({"module": module}) as service:
        send(service.port, text.encode())
        await module.number(1)
    assert module.messages[0].raw == text.encode()
    assert log.lines(LogLevel.warn) == []


@pytest_twisted.ensureDeferred
async def test_what_was_cut_is_put_together() -> None:
    """Fragments make one message, and pieces of a legacy line one line."""
    module = Arrivals()
    async with running({"module": module}) as service:
        send(service.port, *reversed(fragments(extended("long " * 1000))))
        await module.number(1)
        send(service.port, b"a line in ", b"two pieces\n")
        await module.number(2)
    assert module.texts == ["long " * 1000, "a line in two pieces"]


@pytest_twisted.ensureDeferred
async def test_what_is_held_comes_in_time() -> None:
    """A message behind a gap is delivered by the worker itself when the reorder time is over."""
    module = Arrivals()
    async with running({"module": module}, reorder=0.05) as service:
        send(service.port, extended("1", seq=1), extended("3", seq=3))
        await module.number(2)
    assert [message.missing for message in module.messages] == [0, 1]  # type: ignore[attr-defined]


@pytest_twisted.ensureDeferred
async def test_two_listeners_share_a_port(log: Log) -> None:
    """With two listeners there is one port, both receive, and both count."""
    module = Arrivals()
    async with running({"module": module}, listeners=2) as service:
        for number in range(64):
            send(service.port, extended(str(number)))
        await module.number(64)
    counts = [int(line.split()[2]) for line in log.lines() if line.startswith("Listener ")]
    assert len(counts) == 2
    assert sum(counts) == 64
    # The kernel spreads by a hash of addresses and ports: one in 2**63 runs puts all on one.
    assert all(counts)


@pytest_twisted.ensureDeferred
async def test_garbage_ends_nothing(log: Log) -> None:
    """Datagrams without a byte, of any byte, or with a broken header are followed by good ones as ever."""
    module = Arrivals()
    bad = [b"", bytes(range(256)), b"6,1,2,-,ncfrag=5/3;x", b"6,1,2,-,ncfrag=0/9,ncfrag=0/9;x", b"\xff" * 2000]
    async with running({"module": module}) as service:
        send(service.port, *bad, sender="127.1.0.1")
        send(service.port, extended("good"), sender="127.1.0.2")
        await module.number(1)
    assert "good" in module.texts
    assert "empty 1" in log.lines()[-1]


# Modules.


@pytest_twisted.ensureDeferred
async def test_a_module_that_fails_harms_no_other(log: Log, logged_errors: LoggedErrors) -> None:
    """A module that raises with every message is logged once, and the others get every message."""
    module = Arrivals()
    bad = Script("bad", [], handle=SystemExit(1))
    async with running({"bad": bad, "module": module}) as service:
        send(service.port, *(extended(str(seq), seq=seq) for seq in range(1, 101)))
        await module.number(100)
    assert bad.events.count("bad handle") == 100
    assert log.lines(LogLevel.critical) == ["Module bad failed"]
    assert len(logged_errors.flush(SystemExit)) == 1


@pytest_twisted.ensureDeferred
async def test_modules_start_before_the_first_message_and_wait_for_each_other(log: Log) -> None:
    """Nothing is received until the last module is ready; what was sent meanwhile is received then."""
    events: list[str] = []
    ready: Deferred[None] = Deferred()
    module = Arrivals()
    service = make({"slow": Script("slow", events, start=ready), "module": module})
    service.startService()
    send(service.port, extended("early"))
    assert events == ["slow start"]
    assert not module.worker_count
    assert not fired(service.started)
    ready.callback(None)
    await service.started
    assert module.worker_count == Settings().workers
    await module.number(1)
    await service.stopService()
    assert module.texts == ["early"]
    assert events == ["slow start", "slow handle", "slow stop"]


@pytest_twisted.ensureDeferred
async def test_reload(logged_errors: LoggedErrors) -> None:
    """Reloadable modules are asked to reopen their files; one that fails harms neither the others nor the receipt."""
    events: list[str] = []
    module = Arrivals()
    modules = {"bad": Script("bad", events, reload=OSError("gone")), "good": Script("good", events), "module": module}
    async with running(modules) as service:
        service.reload()
        assert events == ["bad start", "good start", "bad reload", "good reload"]
        send(service.port, extended("after"))
        await module.number(1)
    service.reload()
    assert events.count("bad reload") == 1
    assert len(logged_errors.flush(OSError)) == 1


def test_what_is_no_module_is_refused() -> None:
    """An object that provides neither interface is refused when the service is made."""
    with pytest.raises(ModuleError, match=r"^thing: "):
        make({"thing": object()})


# Start.


@pytest_twisted.ensureDeferred
async def test_the_port_is_known_while_it_is_bound() -> None:
    """``port`` says which port the kernel chose, from the binding on; it is 0 before and after."""
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
    """Under a parent, the sockets are bound with its privileges, and its stop waits for ours."""
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
    """A port that is in use raises ConfigError, naming it, however ready both are to share; the first one goes on."""
    module = Arrivals()
    async with running({"module": module}, listeners=listeners) as service:
        for bound in ("privilegedStartService", "startService"):
            second = make({}, port=service.port, listeners=2)
            with pytest.raises(ConfigError, match=rf"port {service.port} is in use"):
                getattr(second, bound)()
            assert not second.running
            await second.stopService()
        send(service.port, extended("still there"))
        await module.number(1)


def test_an_address_of_another_machine_is_refused() -> None:
    """An address that is not ours raises ConfigError, naming it."""
    with pytest.raises(ConfigError, match=r"203\.0\.113\.1"):
        make({}, address="203.0.113.1").privilegedStartService()


@pytest.mark.parametrize("by_deferred", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_module_that_does_not_start(by_deferred: bool) -> None:
    """``started`` fails with ModuleError, started modules are stopped, the port is free; then it can start."""
    events: list[str] = []
    ready: Deferred[None] = Deferred()
    bad = Script("bad", events, start=ready if by_deferred else OSError("no such directory"))
    service = make({"good": Script("good", events), "bad": bad, "never": Script("never", events)})
    service.privilegedStartService()
    port = service.port
    service.startService()
    if by_deferred:
        ready.errback(OSError("no such directory"))
    with pytest.raises(ModuleError, match=r"^bad: did not start: OSError: no such directory"):
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


@pytest_twisted.ensureDeferred
async def test_a_module_that_needs_a_missing_package() -> None:
    """What cannot be imported when a module starts is named."""

    @implementer(IOutputModule)
    class Needy(RecordingModule):
        def start(self, worker_count: int) -> None:
            import surely_not_installed  # type: ignore[import-not-found]  # noqa: F401

    service = make({"needy": Needy()})
    service.startService()
    with pytest.raises(ModuleError, match="'surely_not_installed'"):
        await service.started
    await service.stopService()


class Exhausted:
    """The reactor, but for the ports after the first: there are no descriptors left."""

    def __init__(self) -> None:
        self.adopted: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        from twisted.internet import reactor

        return getattr(reactor, name)

    def adoptDatagramPort(self, *arguments: Any) -> Any:  # noqa: N802
        if self.adopted:
            raise OSError(errno.EMFILE, "Too many open files")
        self.adopted.append(self.__getattr__("adoptDatagramPort")(*arguments))
        return self.adopted[-1]


@pytest_twisted.ensureDeferred
async def test_a_listener_that_does_not_start() -> None:
    """When modules and workers run and a listener cannot, ``started`` fails, and everything is stopped again."""
    events: list[str] = []
    service = make({"module": Script("module", events)}, reactor=Exhausted(), listeners=2)
    service.privilegedStartService()
    port = service.port
    service.startService()
    with pytest.raises(OSError, match="Too many open files"):
        await service.started
    assert events == ["module start", "module stop"]
    assert is_free(port)
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_the_start_is_announced(log: Log) -> None:
    """The log says where it listens, with how many listeners and workers, and which modules there are."""
    async with running({"a": RecordingModule(), "b": RecordingModule()}, workers=3) as service:
        port = service.port
    assert f"listens on 127.0.0.1, UDP port {port}; 1 listener(s), 3 worker(s), modules: a, b" in log.lines()[0]
    async with running({}, address=None):
        pass
    (text,) = [line for line in log.lines() if "all addresses" in line]
    assert "none, so messages go nowhere" in text


@pytest_twisted.ensureDeferred
async def test_a_small_receive_buffer_is_warned_of(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel grants less receive buffer than asked for, the log says how much and what to do; else nothing."""
    async with running({}):
        pass
    assert log.lines(LogLevel.warn) == []
    monkeypatch.setattr("netconsd.service.granted_rcvbuf", lambda bound: 212992)
    async with running({}):
        pass
    (text,) = log.lines(LogLevel.warn)
    assert "212992 of the 1048576 bytes" in text
    assert "sysctl -w net.core.rmem_max=1048576" in text


# Stop.


@pytest_twisted.ensureDeferred
async def test_the_stop_delivers_what_the_socket_has() -> None:
    """Datagrams that the kernel has received are delivered, though the reactor had no turn to read them in."""
    module = Arrivals()
    async with running({"module": module}) as service:
        send(service.port, *(extended(str(seq), seq=seq) for seq in range(1, 201)))
    assert module.texts == [str(seq) for seq in range(1, 201)]


@pytest_twisted.ensureDeferred
async def test_the_stop_is_in_order() -> None:
    """First the port is closed, then the workers deliver what is queued and held, then the modules stop."""
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
        send(port, b"no newline")
        await threads.deferToThread(module.entered.wait, PATIENCE)
        after_turns(3, module.release.set)
    assert events == ["1 port free", "2 port free", "4 port free", "no newline port free", "stop"]


@pytest_twisted.ensureDeferred
async def test_the_stop_waits_for_modules() -> None:
    """The last module stops first, each is waited for, and only then the stop is over."""
    events: list[str] = []
    closed: Deferred[None] = Deferred()
    waiting: Deferred[None] = Deferred()

    class Slow(Script):
        def stop(self) -> Any:
            super().stop()
            waiting.callback(None)
            return closed

    service = make({"a": Script("a", events), "b": Slow("b", events)})
    service.startService()
    await service.started
    stopped = service.stopService()
    await waiting
    assert events == ["a start", "b start", "b stop"]
    assert not fired(stopped)
    closed.callback(None)
    await stopped
    assert events == ["a start", "b start", "b stop", "a stop"]


@pytest_twisted.ensureDeferred
async def test_a_module_that_fails_to_stop(logged_errors: LoggedErrors) -> None:
    """It is logged, the others are stopped, and so is the service."""
    events: list[str] = []
    modules = {"a": Script("a", events), "b": Script("b", events, stop=SystemExit(3)), "c": Script("c", events)}
    async with running(modules):
        pass
    assert events[3:] == ["c stop", "b stop", "a stop"]
    assert len(logged_errors.flush(SystemExit)) == 1


@pytest_twisted.ensureDeferred
async def test_the_totals(log: Log) -> None:
    """In the end the log has messages and senders per worker, datagrams per listener, all in all, and what was odd."""
    module = Arrivals()
    async with running({"module": module}, workers=2) as service:
        workers = Workers(lambda worker, messages: None, service.settings)
        addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        lanes = {address: workers.lane_for(source(address).packed).number for address in addresses}
        for address in addresses:
            send(service.port, *(extended(str(seq), seq=seq) for seq in (1, 2, 2, 3)), sender=address)
        send(service.port, b"", legacy("text"), sender="127.0.0.1")
        await module.number(10)
    messages = [0, 0]
    senders = [0, 0]
    for number in lanes.values():
        messages[number] += 3
        senders[number] += 1
    messages[lanes["127.0.0.1"]] += 1
    senders[lanes["127.0.0.1"]] += 1
    assert log.lines()[1:] == [
        "Listener 0: 14 datagrams",
        f"Worker 0: {messages[0]} messages from {senders[0]} senders",
        f"Worker 1: {messages[1]} messages from {senders[1]} senders",
        "In all: 14 datagrams received, 10 messages from 4 senders",
        "Of note: duplicates 3, empty 1",
    ]


@pytest_twisted.ensureDeferred
async def test_what_was_shed_is_told(log: Log) -> None:
    """A worker that cannot keep up loses the newest, and the totals say how many."""
    module = Blocked()
    async with running({"module": module}, workers=1, queue=3) as service:
        send(service.port, legacy("0"))
        await threads.deferToThread(module.entered.wait, PATIENCE)
        send(service.port, *(legacy(str(number)) for number in range(1, 10)))
        # The stop reads them; a message has its place until it has been delivered.
        after_turns(3, module.release.set)
    assert module.texts == ["0", "1", "2"]
    assert log.lines()[-1] == "Of note: shed 7"


@pytest_twisted.ensureDeferred
async def test_stopping_while_starting() -> None:
    """A module that is not ready is not waited for: its start is cancelled, and what had started is stopped."""
    events: list[str] = []
    ready: Deferred[None] = Deferred(lambda deferred: events.append("cancelled"))
    service = make({"a": Script("a", events), "b": Script("b", events, start=ready), "c": Script("c", events)})
    service.startService()
    started = service.started
    port = service.port
    await service.stopService()
    assert events == ["a start", "b start", "cancelled", "a stop"]
    with pytest.raises(ModuleError, match=r"^b: did not start: CancelledError"):
        await started
    assert is_free(port)
    assert service.started is not started


@pytest_twisted.ensureDeferred
async def test_stopping_while_starting_what_cannot_be_cancelled() -> None:
    """A module that gets ready at the last moment is stopped as any other."""
    events: list[str] = []
    ready: Deferred[None] = Deferred(lambda deferred: deferred.callback(None))
    service = make({"a": Script("a", events, start=ready), "b": Script("b", events)})
    service.startService()
    started = service.started
    await service.stopService()
    await started
    assert events == ["a start", "b start", "b stop", "a stop"]


def stop(result: None, service: NetconsdService) -> Deferred[None]:
    """As a callback."""
    return service.stopService()


@pytest_twisted.ensureDeferred
async def test_stopping_at_the_moment_of_the_start() -> None:
    """A callback of ``started`` may stop the service, also if a module took its time to start."""
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
    """A second call waits for the same end: everything is delivered before, and each module is stopped once."""
    events: list[str] = []
    module = Blocked()
    service = make({"script": Script("script", events), "module": module})
    service.startService()
    await service.started
    send(service.port, legacy("text"))
    await threads.deferToThread(module.entered.wait, PATIENCE)
    first = service.stopService()
    second = service.stopService()
    assert not fired(first)
    assert not fired(second)
    module.release.set()
    await second
    assert module.texts == ["text"]
    assert events == ["script start", "script handle", "script stop"]
    await first


@pytest_twisted.ensureDeferred
async def test_stopping_what_was_not_started() -> None:
    """A service that never ran can be stopped, and one whose sockets are bound closes them."""
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
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
    assert [line for line in log.lines() if line.startswith("In all")] == [
        "In all: 1 datagrams received, 1 messages from 1 senders"
    ] * 3


# What the system may do.


class Trouble:
    """A socket between a port and the real one, whose ``recvfrom`` does what a test wants."""

    def __init__(self, real: Any, recvfrom: Any) -> None:
        self._real = real
        self._recvfrom = recvfrom

    def recvfrom(self, size: int) -> Any:
        return self._recvfrom(self._real, size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def the_port(number: int) -> Any:
    """The reactor's port with this number."""
    from twisted.internet import reactor

    readers: Any = reactor.getReaders()
    (port,) = [each for each in readers if isinstance(each, udp.Port) and each.getHost().port == number]
    return port


@pytest_twisted.ensureDeferred
async def test_reads_that_fail_do_not_make_it_deaf(log: Log, logged_errors: LoggedErrors) -> None:
    """An error of the system while reading is counted and logged, rarely; what comes after it is received."""
    module = Arrivals()
    errors = [OSError(errno.ENOMEM, "Cannot allocate memory") for _ in range(5)]

    def recvfrom(real: Any, size: int) -> Any:
        if errors:
            raise errors.pop()
        return real.recvfrom(size)

    async with running({"module": module}) as service:
        port = the_port(service.port)
        port.socket = Trouble(port.socket, recvfrom)
        send(service.port, legacy("after"))
        await module.number(1)
    assert log.lines()[-1] == "Of note: read_errors 5"
    # The first, second and fourth.
    assert len(logged_errors.flush(OSError)) == 3


@pytest_twisted.ensureDeferred
async def test_a_sender_that_never_pauses_does_not_hold_up_the_stop(log: Log) -> None:
    """What the socket has is read at the stop, but only so much of it if there is always more."""
    largest = b"x" * 65507

    def recvfrom(real: Any, size: int) -> Any:
        return largest, ("127.0.0.1", 6665)

    async with running({}, workers=1, queue=64) as service:
        port = the_port(service.port)
        per_read = -(-port.maxThroughput // len(largest))
        port.socket = Trouble(port.socket, recvfrom)
    (line,) = [line for line in log.lines() if line.startswith("Listener 0")]
    assert int(line.split()[2]) <= (FINAL_READS + 2) * per_read


# The parts alone.


@pytest_twisted.ensureDeferred
async def test_the_listener_alone(log: Log) -> None:
    """``NetconsoleListener`` works with ``Workers`` and any reactor's ``listenUDP``, without service or modules."""
    from twisted.internet import reactor

    listen: Any = reactor.listenUDP  # type: ignore[attr-defined]
    got: list[Message] = []
    enough: Deferred[None] = Deferred()

    def deliver(worker: int, messages: list[Message]) -> None:
        got.extend(messages)
        if len(got) == 2:
            reactor.callFromThread(enough.callback, None)  # type: ignore[attr-defined]

    workers = Workers(deliver)
    workers.start()
    listener = NetconsoleListener(workers)
    port = listen(0, listener, interface="127.0.0.1", maxPacketSize=MAX_DATAGRAM)
    send(port.getHost().port, extended("one"), b"x" * 65506 + b"\n")
    await enough
    await port.stopListening()
    await workers.stop()
    assert [len(message.text) for message in got] == [3, 65506]
    assert listener.tally.datagrams == 2
    assert log.lines(LogLevel.warn) == []


@pytest_twisted.ensureDeferred
async def test_the_listener_alone_with_too_little_room(log: Log) -> None:
    """With Twisted's default size for packets the log warns, and what is cut off is counted."""
    from twisted.internet import reactor

    listen: Any = reactor.listenUDP  # type: ignore[attr-defined]
    got: list[Message] = []
    enough: Deferred[None] = Deferred()

    def deliver(worker: int, messages: list[Message]) -> None:
        if not got:
            reactor.callFromThread(enough.callback, None)  # type: ignore[attr-defined]
        got.extend(messages)

    workers = Workers(deliver, Settings(workers=1, reorder=60.0))
    workers.start()
    listener = NetconsoleListener(workers)
    port = listen(0, listener, interface="127.0.0.1")
    send(port.getHost().port, b"x" * 9000)
    send(port.getHost().port, b"y" * 8000 + b"\n")
    await enough
    await port.stopListening()
    await workers.stop()
    assert [len(message.raw) for message in got] == [8001, 8192]
    assert listener.tally.truncated == 1
    (text,) = log.lines(LogLevel.warn)
    assert "8192" in text


ANOTHER_REACTOR = """
import socket, sys
from twisted.internet import {name}
{name}.install()

from twisted.internet import defer, reactor, task
from netconsd.listener import MAX_DATAGRAM, NetconsoleListener
from netconsd.service import NetconsdService
from netconsd.settings import Settings
from netconsd.testing import RecordingModule, extended
from netconsd.workers import Workers

class Module(RecordingModule):
    def handle(self, worker, message):
        super().handle(worker, message)
        reactor.callFromThread(arrived.callback, None)

def send(port, text):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(extended(text), ("127.0.0.1", port))

async def main(reactor):
    global arrived
    arrived = defer.Deferred()
    module = Module()
    service = NetconsdService({{"module": module}}, Settings(port=0, rcvbuf=65536))
    service.startService()
    await service.started
    send(service.port, "service")
    await arrived
    await service.stopService()

    arrived = defer.Deferred()
    workers = Workers(lambda worker, messages: reactor.callFromThread(arrived.callback, messages[0].text))
    workers.start()
    port = reactor.listenUDP(0, NetconsoleListener(workers), maxPacketSize=MAX_DATAGRAM)
    send(port.getHost().port, "listener")
    text = await arrived
    await port.stopListening()
    await workers.stop()
    print(type(reactor).__name__, module.messages[0].text, module.messages[0].source.address, module.stopped, text)

task.react(lambda reactor: defer.Deferred.fromCoroutine(main(reactor)))
"""


@pytest.mark.parametrize(
    ("name", "reactor"),
    [
        ("asyncioreactor", "AsyncioSelectorReactor"),
        ("pollreactor", "PollReactor"),
        ("selectreactor", "SelectReactor"),
    ],
)
def test_on_another_reactor(name: str, reactor: str) -> None:
    """The service and the listener receive and stop on any of Twisted's reactors, not on epoll's only."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ANOTHER_REACTOR.format(name=name)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{reactor} service 127.0.0.1 True listener\n", "")
