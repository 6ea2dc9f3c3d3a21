"""The daemon as a process at full load: what it has read is delivered or counted, whatever the signal."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from netconsd.testing import extended, fragments
from tests.support.processes import ROOT, SECONDS, Daemon

# So many have been delivered before the signal comes; far more wait in the queue by then.
ENOUGH = 2000

# Slower than what is sent to it: 100 batches per second and worker. It says when each worker has enough, and at its end
# what it got of each sender, and whether the numbers with which the texts begin came in order.
MODULE = f"""
import json, os, time
from pathlib import Path
from zope.interface import implementer
from netconsd.interfaces import IBatchOutputModule, IReloadable

@implementer(IBatchOutputModule, IReloadable)
class Output:
    def start(self, worker_count):
        self.counts = [0] * worker_count
        self.senders = {{}}
        self.reloads = 0
        self.said = False
    def handle_batch(self, worker, messages):
        time.sleep(0.01)
        self.counts[worker] += len(messages)
        for message in messages:
            sender = self.senders.setdefault(message.source.address, Sender())
            sender.take(int(message.text.split()[0]), getattr(message, "missing", 0))
        if min(self.counts) >= {ENOUGH} and not self.said:
            self.said = True
            print("enough", json.dumps(self.senders), flush=True)
    def reload(self):
        self.reloads += 1
        print("reloaded", flush=True)
    def stop(self):
        print("got", json.dumps(vars(self)), flush=True)

class Sender(dict):
    def __init__(self):
        super().__init__(count=0, last=0, missing=0, ordered=True)
    def take(self, number, missing):
        self["count"] += 1
        self["missing"] += missing
        self["ordered"] = self["ordered"] and number > self["last"]
        self["last"] = number
"""


Made = Callable[[int], list[bytes]]


def line(number: int) -> list[bytes]:
    """A number as a line of legacy text."""
    return [b"%d\n" % number]


def record(number: int) -> list[bytes]:
    """A number as an extended message; each eighth is in three pieces."""
    padding = "x" * 2500 if number % 8 == 0 else ""
    return fragments(extended(f"{number} {padding}", seq=number))


class Load:
    """A thread that sends numbers as fast as it can, from here until ``stop``, the same ones from each address."""

    def __init__(self, port: int, made: Made = line, addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        self._made = made
        self._sockets = [sender(port, address) for address in addresses]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            for datagram in self._made(number):
                for each in self._sockets:
                    # Refused once the daemon has closed its socket; until its end it is to be under load.
                    with suppress(ConnectionRefusedError):
                        each.send(datagram)

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._thread.join()
        for each in self._sockets:
            each.close()


def sender(port: int, address: str) -> socket.socket:
    """A socket that sends from there to that port."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 0))
    made.connect(("127.0.0.1", port))
    return made


def loaded(directory: Path, *options: str) -> Daemon:
    """A daemon with the module above."""
    (directory / "x.py").write_text(MODULE)
    return Daemon(directory, *options, "x.py")


def account(out: str) -> dict[str, int]:
    """What the daemon says that it has received, and shed; and what the module says that it got."""
    module = got(out)
    ((received, messages),) = re.findall(r"Total: (\d+) datagrams? received, (\d+) messages?", out)
    assert "inconsistent" not in out
    assert "Traceback" not in out
    assert all(each["ordered"] for each in module["senders"].values())
    return {"received": int(received), "messages": int(messages), "module": sum(module["counts"])} | {
        "reloads": module["reloads"],
        "dropped_queue_full": counted(out, "dropped_queue_full"),
    }


def got(out: str) -> Any:
    """What the module had at its end."""
    (found,) = re.findall(r"got (.*)", out)
    return json.loads(found)


def counted(out: str, name: str) -> int:
    """A counter of the workers' in the closing totals."""
    return sum(map(int, re.findall(rf"Worker \d+: .*\b{name} (\d+)", out)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_the_end_at_full_load(tmp_path: Path, number: signal.Signals) -> None:
    """All that was read is delivered, in order, though the signal finds a long queue and the load goes on."""
    daemon = loaded(tmp_path, "-w1")
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
    assert found["dropped_queue_full"] == 0
    assert daemon.process.returncode == (0 if number == signal.SIGTERM else -number)


def test_the_end_with_a_full_queue(tmp_path: Path) -> None:
    """What the queue had no room for is counted, and all else is delivered."""
    daemon = loaded(tmp_path, "-w1", "--queue", "3000")
    load = Load(daemon.port)
    try:
        assert "at the full queue of worker 0" in daemon.line("(Datagrams are being dropped: .*)")
        daemon.process.send_signal(signal.SIGTERM)
        out = daemon.end()
    finally:
        load.stop()
        daemon.process.kill()
    found = account(out)
    assert found["dropped_queue_full"] > 0
    assert found["module"] == found["messages"] == found["received"] - found["dropped_queue_full"]


def test_hanging_up_at_full_load(tmp_path: Path) -> None:
    """Signals to reload cost no message, nor does a second daemon that wants the same port."""
    daemon = loaded(tmp_path, "-w1")
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
    assert found["module"] == found["messages"] == found["received"] - found["dropped_queue_full"] > 0
    assert found["reloads"] == 3


LOADING = [f"127.0.0.{number}" for number in range(1, 10)]
WAITING = [f"127.0.0.{number}" for number in range(11, 20)]


def test_the_end_of_several_workers_with_messages_that_wait(tmp_path: Path) -> None:
    """All that was read is delivered or counted, for each sender in order, and no number is left out: what waits for
    one that never came is delivered at the end, and says that it is missing; in one piece or in several."""
    daemon = loaded(tmp_path, "-w3", "--reorder", "60000")
    for address in WAITING:
        with sender(daemon.port, address) as waiting:
            for number in (1, 2, 3, 5, 6, 7, 8, 9):
                for datagram in record(number):
                    waiting.send(datagram)
    load = Load(daemon.port, record, LOADING)
    try:
        before = json.loads(daemon.line(r"enough (.*)"))
        daemon.process.send_signal(signal.SIGTERM)
        out = daemon.end()
    finally:
        load.stop()
        daemon.process.kill()
    found = account(out)
    assert found["module"] == found["messages"] == counted(out, "whole") + counted(out, "reassembled")
    assert found["received"] == found["dropped_queue_full"] + counted(out, "whole") + counted(out, "fragments")
    senders = got(out)["senders"]
    assert {address: before[address]["count"] for address in WAITING} == dict.fromkeys(WAITING, 3)
    for address in WAITING:
        assert senders[address] == {"count": 8, "last": 9, "missing": 1, "ordered": True}
    for address in LOADING:
        assert senders[address]["count"] + senders[address]["missing"] == senders[address]["last"]
    assert senders.keys() == {*LOADING, *WAITING}
    assert daemon.process.returncode == 0
