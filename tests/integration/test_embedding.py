"""The listener without the service, and both on other reactors."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from netconsd.protocol.message import Message
from netconsd.receive.lanes import Workers
from netconsd.receive.listener import NetconsoleListener
from netconsd.settings import Settings
from netconsd.testing import extended
from tests.integration.rig import Log, running
from tests.support.loopback import Arrivals, send

ROOT = Path(__file__).parents[2]


@pytest_twisted.ensureDeferred
async def test_the_listener_alone_with_too_little_room(log: Log) -> None:
    """With Twisted's default size for packets the log warns, and truncated datagrams are counted."""
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
    send(port.getHost().port, b"y" * 8000 + b"\n", sender="127.0.0.2")
    await enough
    await port.stopListening()
    await workers.stop()
    assert [len(message.raw) for message in got] == [8001, 8192]
    assert listener.counters.truncated == 1
    (text,) = log.lines(LogLevel.warn)
    assert "8192" in text


@pytest.fixture
def process_settings() -> Iterator[Callable[[], list[object]]]:
    """Settings of the process made by an application; a function that returns the current ones."""

    def now() -> list[object]:
        handlers = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)]
        return [gc.get_threshold()[:2], sys.getswitchinterval(), sys.excepthook, *handlers]

    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(1234, 12, 12)
    sys.setswitchinterval(0.004)
    yield now
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


@pytest_twisted.ensureDeferred
async def test_the_service_leaves_the_process_as_it_is(process_settings: Callable[[], list[object]]) -> None:
    """A service changes neither the collector's thresholds, nor the switch interval, nor the handlers of signals and
    exceptions: they belong to the application."""
    before = process_settings()
    module = Arrivals()
    async with running({"module": module}) as service:
        send(service.port, extended("text"))
        await module.number(1)
        assert process_settings() == before
    assert process_settings() == before


ANOTHER_REACTOR = """
import socket, sys
from twisted.internet import {name}
{name}.install()

from twisted.internet import defer, reactor, task
from netconsd.receive.listener import MAX_DATAGRAM, NetconsoleListener
from netconsd.service import NetconsdService
from netconsd.settings import Settings
from netconsd.testing import RecordingModule, extended
from netconsd.receive.lanes import Workers

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
    [("asyncioreactor", "AsyncioSelectorReactor"), ("pollreactor", "PollReactor"), ("selectreactor", "SelectReactor")],
)
def test_on_another_reactor(name: str, reactor: str) -> None:
    """The service and the listener receive and stop on any of Twisted's reactors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ANOTHER_REACTOR.format(name=name)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{reactor} service 127.0.0.1 True listener\n", "")
