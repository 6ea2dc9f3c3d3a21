"""The daemon as a process at full load: every datagram read is delivered or counted as dropped, for each signal."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from netconsd.testing import extended, fragments
from tests.support.processes import Daemon

# Messages delivered by each worker before the signal is sent; the queue has many more by then.
ENOUGH = 2000

# More than the sender sends before the signal, although this process or a worker may be late.
LONG_QUEUE = ("--queue", "4000000")

# Slower than its sender: 100 batches per second and worker. It prints its counts when each worker has ENOUGH messages
# and at its end: for each sender the messages, the missing ones, the greatest number, and the messages that came after
# a greater number. The number is the message's seq, because the kernel's receive buffer may have lost the text's
# begin; lines of legacy text have no seq, and are whole.
MODULE = f"""
import json, os, time
from pathlib import Path
from zope.interface import implementer
from netconsd import ExtendedMessage
from netconsd.interfaces import IBatchOutputModule, IReloadable

@implementer(IBatchOutputModule, IReloadable)
class Output:
    def start(self, worker_count):
        self.counts = [0] * worker_count
        self.senders = {{}}
        self.reloads = 0
        self.printed = False
    def handle_batch(self, worker, messages):
        time.sleep(0.01)
        self.counts[worker] += len(messages)
        for message in messages:
            sender = self.senders.setdefault(message.source.address, Sender())
            if isinstance(message, ExtendedMessage):
                sender.take(message.seq, message.missing)
            else:
                sender.take(int(message.text), 0)
        if min(self.counts) >= {ENOUGH} and not self.printed:
            self.printed = True
            print("enough", json.dumps(self.senders), flush=True)
    def reload(self):
        self.reloads += 1
        print("reloaded", flush=True)
    def stop(self):
        print("got", json.dumps(vars(self)), flush=True)

class Sender(dict):
    def __init__(self):
        super().__init__(count=0, last=0, missing=0, late=0)
    def take(self, number, missing):
        self["count"] += 1
        self["missing"] += missing
        self["late"] += number <= self["last"]
        self["last"] = max(number, self["last"])
"""


Encoder = Callable[[int], list[bytes]]


def line(number: int) -> list[bytes]:
    """Return a number as a line of legacy text."""
    return [b"%d\n" % number]


def record(number: int) -> list[bytes]:
    """Return a number as an extended message; each eighth is in three fragments."""
    padding = "x" * 2500 if number % 8 == 0 else ""
    return fragments(extended(f"{number} {padding}", seq=number))


class Load:
    """A thread that sends the same numbers from each address as fast as it can, until the end of the block."""

    def __init__(self, port: int, encode: Encoder = line, addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        self._encode = encode
        self._sockets = [sender(port, address) for address in addresses]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            for datagram in self._encode(number):
                for each in self._sockets:
                    # Refused after the daemon has closed its socket; the load continues until its end.
                    with suppress(ConnectionRefusedError):
                        each.send(datagram)

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()
        for each in self._sockets:
            each.close()


def sender(port: int, address: str) -> socket.socket:
    """Return a socket that sends from this address to this port."""
    result = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    result.bind((address, 0))
    result.connect(("127.0.0.1", port))
    return result


def loaded(directory: Path, *options: str) -> Daemon:
    """Return a daemon with the module above."""
    (directory / "x.py").write_text(MODULE)
    return Daemon(directory, *options, "x.py")


def totals(out: str) -> dict[str, int]:
    """Return the counts of the daemon and of the module."""
    module = final_counts(out)
    ((received, messages),) = re.findall(r"Total: (\d+) datagrams? received, (\d+) messages?", out)
    assert "inconsistent" not in out
    assert "Traceback" not in out
    assert sum(each["late"] for each in module["senders"].values()) == counted(out, "late")
    return {"received": int(received), "messages": int(messages), "module": sum(module["counts"])} | {
        "reloads": module["reloads"],
        "dropped_queue_full": counted(out, "dropped_queue_full"),
    }


def final_counts(out: str) -> Any:
    """Return the module's counts at its end."""
    (line,) = re.findall(r"got (.*)", out)
    return json.loads(line)


def counted(out: str, name: str) -> int:
    """Return the sum of a counter over the workers, from the totals."""
    return sum(map(int, re.findall(rf"Worker \d+: .*\b{name} (\d+)", out)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_the_stop_at_full_load(tmp_path: Path, number: signal.Signals) -> None:
    """Every datagram read is delivered, in order, although the queue is long and the load continues."""
    with loaded(tmp_path, "-w1", *LONG_QUEUE) as daemon, Load(daemon.port):
        daemon.line("(enough)")
        daemon.process.send_signal(number)
        out = daemon.end()
    counts = totals(out)
    assert counts["module"] == counts["messages"] == counts["received"]
    assert counts["module"] > ENOUGH
    assert counts["dropped_queue_full"] == 0
    assert daemon.process.returncode == (0 if number == signal.SIGTERM else -number)


def test_the_stop_with_a_full_queue(tmp_path: Path) -> None:
    """Datagrams that found the queue full are counted as dropped, and all others are delivered."""
    with loaded(tmp_path, "-w1", "--queue", "3000") as daemon, Load(daemon.port):
        daemon.line("(Datagrams are being)")
        daemon.process.send_signal(signal.SIGTERM)
        out = daemon.end()
    counts = totals(out)
    assert counts["dropped_queue_full"] > 0
    assert counts["module"] == counts["messages"] == counts["received"] - counts["dropped_queue_full"]


def test_sighup_at_full_load(tmp_path: Path) -> None:
    """No message is lost by reloads."""
    with loaded(tmp_path, "-w1") as daemon, Load(daemon.port):
        for _ in range(3):
            daemon.process.send_signal(signal.SIGHUP)
            daemon.line("(reloaded)")
        daemon.process.send_signal(signal.SIGTERM)
        out = daemon.end()
    counts = totals(out)
    assert counts["module"] == counts["messages"] == counts["received"] - counts["dropped_queue_full"] > 0
    assert counts["reloads"] == 3


LOADING = [f"127.0.0.{number}" for number in range(1, 10)]
WAITING = [f"127.0.0.{number}" for number in range(11, 20)]


def test_the_stop_of_several_workers_with_held_messages(tmp_path: Path) -> None:
    """Every datagram read is delivered or counted as dropped, in order for each sender or counted as late; held
    messages, whole or in fragments, are delivered at the stop with the number of missing ones before."""
    with loaded(tmp_path, "-w3", "--reorder", "60000") as daemon:
        for address in WAITING:
            with sender(daemon.port, address) as waiting:
                for number in (1, 2, 3, 5, 6, 7, 8, 9):
                    for datagram in record(number):
                        waiting.send(datagram)
        with Load(daemon.port, record, LOADING):
            before = json.loads(daemon.line(r"enough (.*)"))
            daemon.process.send_signal(signal.SIGTERM)
            out = daemon.end()
    counts = totals(out)
    assert counts["module"] == counts["messages"] == counted(out, "whole") + counted(out, "reassembled")
    assert counts["received"] == counts["dropped_queue_full"] + counted(out, "whole") + counted(out, "fragments")
    senders = final_counts(out)["senders"]
    assert {address: before[address]["count"] for address in WAITING} == dict.fromkeys(WAITING, 3)
    for address in WAITING:
        assert senders[address] == {"count": 8, "last": 9, "missing": 1, "late": 0}
    for address in LOADING:
        each = senders[address]
        assert each["count"] + each["missing"] == each["last"] + each["late"]
    assert senders.keys() == {*LOADING, *WAITING}
    assert daemon.process.returncode == 0
