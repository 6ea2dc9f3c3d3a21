"""The daemon as a process, with a module that blocks the thread of the reactor when it is stopped or reloaded."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.loopback import send
from tests.support.processes import Daemon

# Another module says when it has got or done something.
MODULE = """
import time
from zope.interface import implementer
from netconsd.interfaces import IOutputModule, IReloadable

class Base:
    def start(self, worker_count): ...
    def handle(self, worker, message):
        print("got", message.text, flush=True)
    def stop(self):
        print(self, "stopped", flush=True)
    def reload(self):
        print(self, "reloaded", flush=True)

@implementer(IOutputModule, IReloadable)
class First(Base):
    def __repr__(self):
        return "first"

@implementer(IOutputModule, IReloadable)
class Second(Base):
    def __init__(self, *, how: str) -> None:
        self.how = how
    def __repr__(self):
        return "second"
    def handle(self, worker, message): ...
    def stop(self):
        while self.how in ("once", "always"):
            try:
                time.sleep(3600)
            except BaseException:
                if self.how == "once":
                    raise
    def reload(self):
        time.sleep(3600)
"""


def started(directory: Path, how: str) -> Daemon:
    """A daemon that waits for modules for a second."""
    (directory / "x.py").write_text(MODULE)
    return Daemon(directory, "-w1", "--stop-timeout", "0", "--set", f"x.Second.how={how}", "x.py")


def terminated(daemon: Daemon) -> str:
    """What it prints after SIGTERM until it has ended."""
    daemon.process.send_signal(signal.SIGTERM)
    try:
        return daemon.end()
    finally:
        daemon.process.kill()


def test_a_stop_that_blocks_is_interrupted(tmp_path: Path) -> None:
    """It is named, the totals are told, and the other module is stopped, too; the end is an ordinary one."""
    daemon = started(tmp_path, "once")
    send(daemon.port, b"text\n")
    daemon.line("(got text)")
    out = terminated(daemon)
    assert daemon.process.returncode == 0
    assert "Second: stop() has not returned within 1 seconds (--stop-timeout), and all else waits for it" in out
    assert "Total: 1 datagram received, 1 message from 1 sender" in out
    assert "first stopped" in out
    assert "Traceback" not in out


def test_a_stop_that_cannot_be_interrupted_ends_the_process(tmp_path: Path) -> None:
    """It is named, the totals have been told, and the process ends by itself, with status 1."""
    daemon = started(tmp_path, "always")
    send(daemon.port, b"text\n")
    daemon.line("(got text)")
    out = terminated(daemon)
    assert daemon.process.returncode == 1
    assert "Total: 1 datagram received, 1 message from 1 sender" in out
    assert "Second: stop() could not be interrupted, so the process ends, and no other module is stopped" in out


def test_a_reload_that_blocks_is_interrupted(tmp_path: Path) -> None:
    """It is named; then what has come in the meantime is received, and the daemon goes on."""
    daemon = started(tmp_path, "never")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.line("(first reloaded)")
    send(daemon.port, b"meanwhile\n")
    daemon.line(r"(Second: reload\(\) has not returned within 1 seconds) \(--stop-timeout\)")
    daemon.line("(got meanwhile)")
    assert "Total: 1 datagram received" in terminated(daemon)
    assert daemon.process.returncode == 0
