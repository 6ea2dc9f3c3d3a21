"""The system's clock is set while the daemon runs: nothing waits for it to be again what it was."""

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

# Says when it has so many messages, each time, and how the times of their receipt differ from a clock that is not set.
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
    """Lines back to back, so that the reader pauses in between, and a last one that the module tells of."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        for _ in range(count - 1):
            sender.send(b"a line\n")
        sender.send(b"last\n")


@needs_cc
@pytest.mark.parametrize("step", [-3600, 3600, -86400 * 365])
def test_a_step_of_the_clock(tmp_path: Path, step: int) -> None:
    """Back or forth: what arrives is read and delivered at once, and the watchdog is answered as before; the end comes
    when it is asked for."""
    shim = compiled(SOURCES / "clock.c", tmp_path)
    file = tmp_path / "step"
    file.write_bytes(struct.pack("q", 0))
    (tmp_path / "x.py").write_text(MODULE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        preload = ":".join(filter(None, (os.environ.get("LD_PRELOAD"), str(shim))))
        environment = [f"LD_PRELOAD={preload}", f"STEP_FILE={file}", f"NOTIFY_SOCKET={tmp_path}/notify"]
        daemon = Daemon(tmp_path, "-w1", "x.py", prefix=["env", *environment, "WATCHDOG_USEC=400000"])
        try:
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
        finally:
            daemon.process.kill()
    assert daemon.process.returncode == 0
    assert re.search("Total: 600 datagrams received, 600 messages", out)


def test_a_reactor_keeps_steady() -> None:
    """Its time is the monotonic one from then on; it may be told twice, but not when it is too late."""
    reactor = SimpleNamespace(seconds=time.time, getDelayedCalls=list)
    use_monotonic_clock(reactor)
    assert reactor.seconds is time.monotonic
    reactor.getDelayedCalls = lambda: ["a call"]
    use_monotonic_clock(reactor)
    reactor.seconds = time.time
    with pytest.raises(RuntimeError, match="scheduled already"):
        use_monotonic_clock(reactor)
    assert reactor.seconds is time.time
