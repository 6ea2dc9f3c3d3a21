"""Two receivers, the real nats-server and ``netconsd process``: what either had is processed once, in order."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from netconsd.streams.copies import HOLD_SECONDS
from netconsd.testing import extended
from tests.support.nats_server import StreamServer
from tests.support.processors import ROOT, Processor, out_of_order, processed
from tests.support.scripted_lane import PATIENCE
from tests.support.servers import free_port, running, until

pytest.importorskip("nats", reason="needs nats-py: pip install 'netconsd[nats]'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOSTS = [f"127.0.0.{number}" for number in range(2, 8)]
#: A receiver loses each message whose number is a multiple of this.
LOST = (7, 11)


class Receiver:
    """The daemon with the module nats, which sends blocks."""

    def __init__(self, directory: Path, name: str, nats_port: int) -> None:
        self.log = directory / f"{name}.log"
        self.metrics = free_port()
        settings = {
            "servers": f"nats://127.0.0.1:{nats_port}", "format": "blocks", "batch_seconds": "0.05s",
            "directory": str(directory / name),
        }  # fmt: skip
        command = [sys.executable, "-m", "netconsd", "--address", "127.0.0.1", "--port", "0"]
        command += ["--metrics", str(self.metrics), "nats"]
        for key, value in settings.items():
            command += ["--set", f"nats.{key}={value}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        until(lambda: self.port, f"the start of receiver {name}")

    @property
    def port(self) -> int:
        """The UDP port; 0 before it listens."""
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"UDP port (\d+)", self.log.read_text())
        return int(found[1]) if found else 0

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    """A running server with a stream."""
    server = StreamServer(tmp_path / "server")
    with running(server):
        server.make_stream()
        yield server


@pytest.fixture
def receivers(tmp_path: Path, server: StreamServer) -> Iterator[list[Receiver]]:
    """Two running receivers."""
    started: list[Receiver] = []
    try:
        started.append(Receiver(tmp_path, "a", server.port))
        started.append(Receiver(tmp_path, "b", server.port))
        yield started
    finally:
        for receiver in started:
            receiver.kill()


@pytest.fixture
def one(tmp_path: Path, server: StreamServer) -> Iterator[Processor]:
    """A running processor."""
    started = Processor(tmp_path, "one", server.source)
    try:
        yield started.takes(16)
    finally:
        started.end()


def send(first: int, last: int, ports: Sequence[int | None], *, lossless: bool = False) -> set[tuple[str, int]]:
    """Send messages of all machines to the receivers that are there, and return those that one of them got."""
    got: set[tuple[str, int]] = set()
    for host in HOSTS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((host, 0))
            for seq in range(first, last):
                datagram = extended(f"line {seq}", seq=seq, ts_usec=1_000_000 + seq)
                for port, lost in zip(ports, LOST, strict=True):
                    if port is not None and (lossless or seq % lost):
                        sender.sendto(datagram, ("127.0.0.1", port))
                        got.add((host, seq))
    return got


def metric(port: int, name: str) -> list[float]:
    """Return the values of a metric, one for each receiver."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    return [float(value) for value in re.findall(rf"^{name}{{[^}}]*}} (\S+)$", text, re.MULTILINE)]


def test_one_truth(receivers: list[Receiver], one: Processor) -> None:
    """Each message is processed once, in order, though each receiver lost some; also when one of them is killed."""
    ports: list[int | None] = [receiver.port for receiver in receivers]
    # Until both were heard, nothing is waited for.
    got = send(0, 5, ports, lossless=True)
    until(lambda: set(processed([one])) == got, "the first messages")
    until(lambda: len(metric(one.port, "netconsd_receiver_messages_total")) == 2, "both receivers")
    until(lambda: sum(metric(one.port, "netconsd_receiver_messages_total")) == 2 * len(got), "all copies")
    begun = time.monotonic()
    got |= send(5, 200, ports)
    until(lambda: len(one.messages()) >= len(got), "all messages")
    # A gap waits so long: on a slower machine, order is not promised.
    assert out_of_order(one) == [] or time.monotonic() - begun > HOLD_SECONDS
    # Copies that come later are dropped.
    until(
        lambda: sum(metric(one.port, "netconsd_receiver_messages_total")) == sum(map(sent_by, receivers)),
        "all copies",
    )
    receivers[0].kill()
    got |= send(200, 260, [None, ports[1]])
    until(lambda: len(one.messages()) >= len(got), "the messages of the other receiver")
    assert processed([one]) == dict.fromkeys(got, 1)
    one.stop()


def sent_by(receiver: Receiver) -> float:
    """Return how many messages a receiver has received."""
    return sum(metric(receiver.metrics, "netconsd_messages_total"))
