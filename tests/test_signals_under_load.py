"""The daemon as a process at full load: what it has read is delivered or counted, whatever the signal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 60.0
# So many have been delivered before the signal comes; far more wait in the queue by then.
ENOUGH = 2000

# Slower than what is sent to it: 100 batches of lines per second. It says when it has enough, and at its end what it
# got, and whether the numbers that are the lines came in order.
MODULE = f"""
import json, os, time
from pathlib import Path
from zope.interface import implementer
from netconsd.interfaces import IBatchOutputModule, IReloadable

@implementer(IBatchOutputModule, IReloadable)
class Output:
    def start(self, worker_count):
        self.count = self.last = self.reloads = 0
        self.ordered = True
        self.said = False
    def handle_batch(self, worker, messages):
        time.sleep(0.01)
        self.count += len(messages)
        for message in messages:
            number = int(message.text)
            self.ordered = self.ordered and number > self.last
            self.last = number
        if self.count >= {ENOUGH} and not self.said:
            self.said = True
            print("enough", flush=True)
    def reload(self):
        self.reloads += 1
        print("reloaded", flush=True)
    def stop(self):
        print("got", json.dumps(vars(self)), flush=True)
"""


class Load:
    """A thread that sends numbered lines as fast as it can, from here until ``stop``."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            # Refused once the daemon has closed its socket; until its end it is to be under load.
            with suppress(ConnectionRefusedError):
                self._socket.send(b"%d\n" % number)

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._thread.join()
        self._socket.close()


class Daemon:
    """A daemon with the module above."""

    def __init__(self, directory: Path, *options: str) -> None:
        (directory / "x.py").write_text(MODULE)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "netconsd", "run", "-u0", "-a127.0.0.1", "-w1", *options, "x.py"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.port = int(self.line(r"UDP port (\d+);"))

    def line(self, pattern: str) -> str:
        """Read what it prints up to a line with this, and return the first group."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if found := re.search(pattern, line):
                return found[1]
        pytest.fail("".join(seen))

    def end(self) -> str:
        """What it prints until it has ended."""
        out, _ = self.process.communicate(timeout=SECONDS)
        return out


def account(out: str) -> dict[str, int]:
    """What the daemon says that it has received, and shed; and what the module says that it got."""
    (got,) = re.findall(r"got (.*)", out)
    module = json.loads(got)
    ((received, messages),) = re.findall(r"In all: (\d+) datagrams received, (\d+) messages", out)
    shed = sum(map(int, re.findall(r"Worker 0: .*\bshed (\d+)", out)))
    assert "does not close" not in out
    assert "Traceback" not in out
    assert module["ordered"]
    return {"received": int(received), "messages": int(messages), "shed": shed, "module": module["count"]} | {
        "reloads": module["reloads"]
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_the_end_at_full_load(tmp_path: Path, number: signal.Signals) -> None:
    """All that was read is delivered, in order, though the signal finds a long queue and the load goes on."""
    daemon = Daemon(tmp_path)
    load = Load(daemon.port)
    try:
        daemon.line("(enough)")
        daemon.process.send_signal(number)
        out = daemon.end()
    finally:
        load.stop()
        daemon.process.kill()
    found = account(out)
    assert found["module"] == found["messages"] == found["received"]
    assert found["module"] > ENOUGH
    assert found["shed"] == 0
    assert daemon.process.returncode == (0 if number == signal.SIGTERM else -number)


def test_the_end_with_a_full_queue(tmp_path: Path) -> None:
    """What the queue had no room for is counted, and all else is delivered."""
    daemon = Daemon(tmp_path, "--queue", "3000")
    load = Load(daemon.port)
    try:
        assert "found the queue of worker 0 full" in daemon.line("(Datagrams are being lost: .*)")
        daemon.process.send_signal(signal.SIGTERM)
        out = daemon.end()
    finally:
        load.stop()
        daemon.process.kill()
    found = account(out)
    assert found["shed"] > 0
    assert found["module"] == found["messages"] == found["received"] - found["shed"]


def test_hanging_up_at_full_load(tmp_path: Path) -> None:
    """Signals to reload cost no message, nor does a second daemon that wants the same port."""
    daemon = Daemon(tmp_path)
    load = Load(daemon.port)
    try:
        for _ in range(3):
            daemon.process.send_signal(signal.SIGHUP)
            daemon.line("(reloaded)")
        second = subprocess.run(
            [sys.executable, "-m", "netconsd", "run", "-a127.0.0.1", "-u", str(daemon.port)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS,
        )  # fmt: skip
        daemon.process.send_signal(signal.SIGTERM)
        out = daemon.end()
    finally:
        load.stop()
        daemon.process.kill()
    assert second.returncode == 1
    assert f"--port: address 127.0.0.1, port {daemon.port} is in use already; stop the program" in second.stderr
    assert "Traceback" not in second.stderr + second.stdout
    found = account(out)
    assert found["module"] == found["messages"] == found["received"] - found["shed"] > 0
    assert found["reloads"] == 3
