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

import pytest

from netconsd.daemon.clock import use_monotonic_clock
from tests.support.compilers import SOURCES, compiled, needs_cc
from tests.support.processes import Daemon

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
            step = round(time.time() - time.monotonic() - self.began)
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
        manager.settimeout(20)
        preload = ":".join(filter(None, (os.environ.get("LD_PRELOAD"), str(shim))))
        environment = [f"LD_PRELOAD={preload}", f"STEP_FILE={file}", f"NOTIFY_SOCKET={tmp_path}/notify"]
        with Daemon(tmp_path, "-w1", "x.py", prefix=["env", *environment, "WATCHDOG_USEC=400000"]) as daemon:
            send(daemon.port, 200)
            daemon.line("(got 200 after 0)")
            file.write_bytes(struct.pack("q", step))
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


def test_the_clock_of_a_reactor() -> None:
    """The reactor uses the monotonic clock; a second call does nothing; with a timer set it raises RuntimeError."""
    reactor = SimpleNamespace(seconds=time.time, getDelayedCalls=list)
    use_monotonic_clock(reactor)
    assert reactor.seconds is time.monotonic
    reactor.getDelayedCalls = lambda: ["a call"]
    use_monotonic_clock(reactor)
    reactor.seconds = time.time
    with pytest.raises(RuntimeError, match="scheduled already"):
        use_monotonic_clock(reactor)
    assert reactor.seconds is time.time
