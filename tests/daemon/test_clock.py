"""Steps of the system's clock while the daemon runs affect no timer."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.posixbase import PosixReactorBase
from twisted.web.http import datetimeToLogString

from netconsd.daemon.clock import use_monotonic_clock
from tests.support.compilers import SOURCES, compiled, needs_cc
from tests.support.processes import SECONDS, Daemon

# Prints the number of messages at each "last", and by how many seconds the system's clock was set.
MODULE = """
import os, time
from zope.interface import implementer
from netconsd.interfaces import IOutputModule

@implementer(IOutputModule)
class Output:
    def start(self, worker_count):
        self.count = 0
        self.began = time.time() - time.monotonic()
    def handle(self, worker, message):
        self.count += 1
        if message.text == "last":
            # Not to the second: the process may be stopped between its reading of the two clocks.
            step = 100 * round((time.time() - time.monotonic() - self.began) / 100)
            print("got", self.count, "after", step, flush=True)
    def stop(self): ...
"""


def send(port: int, count: int) -> None:
    """Send lines without a pause, so that the reader pauses, and a last one that the module reports."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        for _ in range(count - 1):
            sender.send(b"a line\n")
        sender.send(b"last\n")


@needs_cc
@pytest.mark.parametrize("step", [3600, -86400 * 365])
def test_a_step_of_the_clock(tmp_path: Path, step: int) -> None:
    """After a step back or forth, datagrams are delivered at once, the watchdog is answered, and SIGTERM stops."""
    shim = compiled(SOURCES / "clock.c", tmp_path)
    file = tmp_path / "step"
    file.write_bytes(struct.pack("q", 0))
    (tmp_path / "x.py").write_text(MODULE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(SECONDS)
        preload = ":".join(filter(None, (os.environ.get("LD_PRELOAD"), str(shim))))
        environment = [f"LD_PRELOAD={preload}", f"STEP_FILE={file}", f"NOTIFY_SOCKET={tmp_path}/notify"]
        with Daemon(tmp_path, "-w1", "x.py", prefix=["env", *environment, "WATCHDOG_USEC=400000"]) as daemon:
            send(daemon.port, 200)
            daemon.line("(got 200 after 0)")
            # In place: the daemon has the file mapped, and would get SIGBUS while it is empty.
            with file.open("r+b") as mapped:
                mapped.write(struct.pack("q", step))
            for number in (2, 3):
                send(daemon.port, 200)
                daemon.line(f"(got {number * 200} after {step})")
            for _ in range(3):
                while b"WATCHDOG=1" not in manager.recv(4096):
                    pass
            daemon.process.send_signal(signal.SIGTERM)
            out = daemon.end()
    assert daemon.process.returncode == 0
    assert re.search("Total: 600 datagrams", out)


class Machine:
    """A reactor whose two clocks the test moves."""

    def __init__(self) -> None:
        self.wall = 1_000_000_000.0
        self.monotonic = 50.0
        self.reactor = ReactorBase.__new__(Quiet)
        self.reactor.__init__()  # type: ignore[misc]
        self.reactor.seconds = lambda: self.wall
        self.fired: list[tuple[float, float]] = []

    def steady(self) -> None:
        use_monotonic_clock(self.reactor, wall_clock=lambda: self.wall, monotonic=lambda: self.monotonic)

    def timer(self, delay: float) -> Any:
        """A timer that notes its delay, and the time that really passed."""
        began = self.monotonic
        return self.reactor.callLater(delay, lambda: self.fired.append((delay, round(self.monotonic - began))))

    def run(self, seconds: int) -> None:
        """Let time pass; the reactor wakes up each second, and works until no timer is due."""
        for _ in range(seconds):
            self.wall += 1
            self.monotonic += 1
            self.reactor.timeout()
            self.reactor.runUntilCurrent()
            while self.reactor.timeout() == 0:
                self.reactor.runUntilCurrent()


class Quiet(PosixReactorBase):
    """A reactor without signals and sockets."""

    def installWaker(self) -> None:  # noqa: N802
        pass

    def wakeUp(self) -> None:  # noqa: N802
        pass


@pytest.mark.parametrize("step", [3600.0, -3600.0, 1e9, -1e9, 0.2])
def test_a_step_moves_no_timer(step: float) -> None:
    """After a step of the system's clock each timer fires when it would have fired without it, whether it was set
    before the clock was replaced, before the step or after it; and the reactor's time is the system's again."""
    machine = Machine()
    machine.timer(7)
    machine.steady()
    for delay in (3, 5, 40):
        machine.timer(delay)
    machine.timer(9).reset(11)
    machine.run(4)
    machine.wall += step
    # Still in the old time, until the next turn.
    machine.timer(6)
    machine.run(1)
    assert abs(machine.reactor.seconds() - machine.wall) < 1e-6
    machine.timer(8)
    machine.run(60)
    assert sorted(machine.fired) == [(3, 3), (5, 5), (6, 6), (7, 7), (8, 8), (9, 11), (40, 40)]


def test_a_step_within_a_timer() -> None:
    """A step back while the reactor calls its timers makes no other timer fire early."""
    machine = Machine()
    machine.steady()

    def step() -> None:
        machine.wall -= 3600
        machine.timer(4)

    machine.reactor.callLater(1, step)
    machine.timer(30)
    machine.run(3)
    assert machine.fired == []
    machine.run(40)
    assert sorted(machine.fired) == [(4, 4), (30, 30)]


def test_a_pause_between_the_two_clocks_is_no_step() -> None:
    """If the process is not running for seconds between its reading of the two clocks, nothing moves."""
    machine = Machine()

    def wall() -> float:
        result = machine.wall
        machine.monotonic += pause
        machine.wall += pause
        return result

    pause = 0.0
    use_monotonic_clock(machine.reactor, wall_clock=wall, monotonic=lambda: machine.monotonic)
    call = machine.timer(100)
    before = call.getTime()
    pause = 20.0
    machine.reactor.seconds()
    machine.reactor.runUntilCurrent()
    assert call.getTime() == before


def test_the_dates_of_an_access_log() -> None:
    """twisted.web makes dates of the reactor's seconds: they are right, also after the clock of a machine was set."""
    machine = Machine()
    machine.wall = 86_400.0
    machine.steady()
    assert datetimeToLogString(machine.reactor.seconds()) == "[02/Jan/1970:00:00:00 +0000]"
    machine.wall = 1_795_838_400.0
    machine.run(2)
    assert datetimeToLogString(machine.reactor.seconds()) == "[28/Nov/2026:04:00:02 +0000]"


def test_the_clock_is_replaced_once() -> None:
    """A second call does nothing; the default clocks are the system's."""
    reactor = SimpleNamespace(seconds=time.time)
    use_monotonic_clock(reactor)
    before = reactor.seconds
    use_monotonic_clock(reactor)
    assert reactor.seconds == before
    assert abs(reactor.seconds() - time.time()) < 60
