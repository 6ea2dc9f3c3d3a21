"""The daemon as a process with a module that blocks the reactor's thread when it is stopped or reloaded."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.loopback import send
from tests.support.processes import Daemon

MODULE = """
import time
from zope.interface import implementer
from netconsd.interfaces import IOutputModule, IReloadable

@implementer(IOutputModule, IReloadable)
class Output:
    def start(self, worker_count): ...
    def handle(self, worker, message):
        print("got", message.text, flush=True)
    def stop(self):
        time.sleep(3600)
    def reload(self):
        time.sleep(3600)
"""


@pytest.mark.parametrize("blocking", ["stop", "reload"])
def test_a_module_that_blocks(tmp_path: Path, blocking: str) -> None:
    """The log names the module, and a second SIGTERM ends the process with status 1 and the totals."""
    (tmp_path / "x.py").write_text(MODULE)
    daemon = Daemon(tmp_path, "-w1", "--stop-timeout", "0", "x.py")
    try:
        send(daemon.port, b"text\n")
        daemon.line("(got text)")
        daemon.process.send_signal(signal.SIGTERM if blocking == "stop" else signal.SIGHUP)
        daemon.line(rf"(x: {blocking}\(\) has not returned within 1 second)")
        while daemon.process.poll() is None:
            daemon.process.send_signal(signal.SIGTERM)
        daemon.end()
    finally:
        daemon.process.kill()
    assert daemon.process.returncode == 1
    assert "Traceback" not in "".join(daemon.seen)
