"""The service over real sockets: it receives every message, whatever modules and the system do."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from netconsd.service import PAUSE_BYTES_PER_SECOND, PAUSE_RCVBUF
from netconsd.settings import Settings
from netconsd.testing import extended, legacy
from tests.integration.leaks import LoggedErrors
from tests.integration.rig import Log, make, note, running
from tests.support.loopback import Arrivals, needs_ipv6, send
from tests.support.scripted_module import Script

# Reception.


@needs_ipv6
@pytest_twisted.ensureDeferred
async def test_both_families_arrive() -> None:
    """Without an address, IPv4 and IPv6 are received, and the source of an IPv4 sender is plain IPv4."""
    module = Arrivals()
    async with running({"module": module}, address=None) as service:
        port4 = send(service.port, extended("four", userdata={"rack": "r17"}), to="127.0.0.1")
        port6 = send(service.port, extended("six"), to="::1")
        await module.number(2)
    four, six = sorted(module.messages, key=lambda message: message.text)
    assert (four.source.address, four.source.port) == ("127.0.0.1", port4)
    assert (six.source.address, six.source.port) == ("::1", port6)
    assert (four.level, four.userdata) == (6, {"rack": "r17"})  # type: ignore[attr-defined]


@pytest_twisted.ensureDeferred
async def test_senders_keep_their_order_and_their_thread() -> None:
    """Messages of a sender are delivered in order, in one thread, with one worker's number; all workers are used."""
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


@pytest.mark.parametrize("size", [1, 8193, 65507])
@pytest_twisted.ensureDeferred
async def test_datagrams_of_any_size_arrive_whole(size: int, log: Log) -> None:
    """A datagram of any size up to UDP's largest is delivered with every byte."""
    module = Arrivals()
    text = "x" * (size - 1) + "\n"
    async with running({"module": module}) as service:
        send(service.port, text.encode())
        await module.number(1)
    assert module.messages[0].raw == text.encode()
    assert log.lines(LogLevel.warn) == []


@pytest_twisted.ensureDeferred
async def test_a_held_message_is_delivered_in_time() -> None:
    """The worker delivers a message after a gap when the reorder time is over, without a further datagram."""
    module = Arrivals()
    async with running({"module": module}, reorder=0.05) as service:
        send(service.port, extended("1", seq=1), extended("3", seq=3))
        await module.number(2)
    assert [message.missing for message in module.messages] == [0, 1]  # type: ignore[attr-defined]


@pytest_twisted.ensureDeferred
async def test_garbage_ends_nothing() -> None:
    """After empty datagrams, arbitrary bytes and broken headers, good datagrams are received."""
    module = Arrivals()
    bad = [b"", bytes(range(256)), b"6,1,2,-,ncfrag=5/3;x", b"6,1,2,-,ncfrag=0/9,ncfrag=0/9;x", b"\xff" * 2000]
    async with running({"module": module}) as service:
        send(service.port, *bad, sender="127.1.0.1")
        send(service.port, extended("good"), sender="127.1.0.2")
        await module.number(1)
    assert "good" in module.texts
    assert service.snapshot().total("dropped_empty") == 1


# Modules.


@pytest_twisted.ensureDeferred
async def test_modules_start_before_the_first_message_and_wait_for_each_other(log: Log) -> None:
    """Nothing is received before the last module is ready; datagrams sent meanwhile are received then."""
    events: list[str] = []
    ready: Deferred[None] = Deferred()
    module = Arrivals()
    service = make({"slow": Script("slow", events, start=ready), "module": module})
    service.started.addCallback(note, events, "started")
    service.startService()
    send(service.port, extended("early"))
    assert events == ["slow start"]
    assert not module.worker_count
    ready.callback(None)
    await service.started
    assert events == ["slow start", "started"]
    assert module.worker_count == Settings().workers
    await module.number(1)
    await service.stopService()
    assert module.texts == ["early"]
    assert events == ["slow start", "started", "slow handle", "slow stop"]


@pytest_twisted.ensureDeferred
async def test_reload(logged_errors: LoggedErrors) -> None:
    """``reload`` is called for each reloadable module; an exception affects neither the others nor the reception."""
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


# Faults of the system.


class Delays:
    """Delegates to the reactor, and keeps the delays of ``callLater``."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    def __getattr__(self, name: str) -> Any:
        from twisted.internet import reactor

        return getattr(reactor, name)

    def callLater(self, seconds: float, *call: Any) -> Any:  # noqa: N802
        from twisted.internet import reactor

        self.delays.append(seconds)
        return reactor.callLater(seconds, *call)


PAUSE = 0.0123
SHORT = PAUSE_RCVBUF / PAUSE_BYTES_PER_SECOND


@pytest.mark.parametrize(
    ("granted", "pauses"),
    [
        ((64 << 20, 64 << 20), {PAUSE}),
        ((64 << 20, PAUSE_RCVBUF), {SHORT}),
        ((64 << 20, PAUSE_RCVBUF - 1), set()),
        ((212_992, 212_992), set()),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_reader_pauses_only_with_a_large_receive_buffer(
    granted: tuple[int, int], pauses: set[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After several datagrams a reader pauses, for less time if the kernel granted a listener a smaller receive buffer,
    and not at all with one that is too small."""
    left = list(granted)
    monkeypatch.setattr("netconsd.service.granted_rcvbuf", lambda bound: left.pop())
    reactor, module = Delays(), Arrivals()
    async with running({"module": module}, reactor=reactor, listeners=2, pause=PAUSE) as service:
        assert left == []
        send(service.port, legacy("one"), legacy("two"), legacy("three"))
        await module.number(3)
    assert {PAUSE, SHORT, 0.0} & set(reactor.delays) == pauses
