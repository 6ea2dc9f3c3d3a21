"""One run: start a receiver, load it, wait until it is idle, stop it. And the medians of several runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import proc, receivers
from benchmarks.loads import template
from benchmarks.receivers import Receiver
from benchmarks.scenarios import Scenario

FLOOR = "floor"
PEER = "peer"
# The only module that the C daemon has an equal of, peer.c.
PEER_MODULES = ("noop",)
# Longer than blast.c's own limit.
SEND_SECONDS = 150.0
DRAIN_SECONDS = 120.0


@dataclass(frozen=True)
class Run:
    """The figures of one receiver under one load."""

    sent: int
    """Messages; likewise ``received``."""
    received: int
    offered_rate: float
    """Messages sent per second."""
    received_rate: float
    """Messages per second from the first one sent to the last one delivered; the end is exact to 50 ms."""
    cpu: float
    """Seconds of processor time per message received, in user and kernel mode, of all threads."""
    cpu_reader: float
    """The main thread's share of ``cpu``."""
    memory: int
    """Resident memory after the load in bytes, above that before the load."""
    peak: int
    """Peak of the resident memory in bytes, above that before the load."""
    senders: int
    """Number of senders whose messages arrived; 0 for the floor."""
    notes: dict[str, int]
    """Other counters that are not 0, such as ``dropped_by_kernel``."""

    @property
    def loss(self) -> float:
        """The share of the messages sent that did not arrive."""
        return 1 - self.received / self.sent


@dataclass(frozen=True)
class Place:
    """The programs and builds to measure, and the processors to use."""

    directory: Path
    blast: Path
    floor: Path
    trees: dict[str, Path]
    """By the name of the receiver: that of the build, or of the build and the revision (``compiled 1a2b3c4``)."""
    sender_cpus: set[int]
    receiver_cpus: set[int]
    peer: Path | None = None
    """The C daemon."""
    peer_module: Path | None = None
    """The compiled peer.c."""


@dataclass
class Result:
    """All runs of a scenario at one rate, by receiver (the floor and the builds), the same number of each."""

    scenario: Scenario
    rate: int
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def median(self, receiver: str, figure: str) -> float:
        """The median of an attribute of :class:`Run`, or of ``ratio``: CPU divided by that of the next floor."""
        if figure == "ratio":
            pairs = zip(self.runs[receiver], self.runs[FLOOR], strict=True)
            return median(run.cpu / floor.cpu for run, floor in pairs)
        return median(float(getattr(run, figure)) for run in self.runs[receiver])


def processors(pin: bool) -> tuple[set[int], set[int]]:
    """The processors for the sender and for the receiver: the last one, and all others.

    A sender on a shared processor would take time that the receiver needs, which a sender on another machine does not.
    """
    usable = sorted(os.sched_getaffinity(0))
    if not pin or len(usable) < 2:
        return set(usable), set(usable)
    return {usable[-1]}, set(usable[:-1])


def measure(scenario: Scenario, rate: int, runs: int, place: Place, show: Callable[[str], object]) -> Result:
    """Measure floor and builds in turn, so that a disturbance of the machine affects all of them.

    :param show: called with a text for the current step.
    """
    result = Result(scenario, rate)
    names = [FLOOR, *(name for name in place.trees if name.partition(" ")[0] in scenario.builds)]
    if place.peer is not None and scenario.module in PEER_MODULES and not scenario.beside:
        names.append(PEER)
    for _ in range(runs):
        for name in names:
            show(f"{scenario.name} {rate or 'full'} {name}")
            scratch = place.directory / "scratch"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            result.runs.setdefault(name, []).append(_run(scenario, rate, name, scratch, place))
    return result


def _run(scenario: Scenario, rate: int, name: str, scratch: Path, place: Place) -> Run:
    running: AbstractContextManager[Receiver]
    if name == FLOOR:
        running = receivers.floor(place.floor, len(scenario.pieces), place.receiver_cpus)
    elif name == PEER:
        assert place.peer is not None and place.peer_module is not None
        running = receivers.peer(place.peer, place.peer_module, scratch, place.receiver_cpus)
    else:
        modules = (scenario.module, *scenario.beside)
        running = receivers.daemon(place.trees[name], modules, scenario.options, scratch, place.receiver_cpus)
    with running as receiver:
        # The work of the start does not count.
        proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
        proc.reset_peak(receiver.pid)
        idle, _ = proc.memory(receiver.pid)
        before = proc.cpu_ns(receiver.pid)
        started = time.monotonic()
        seconds = send(scenario, rate, receiver.port, place)
        ended = proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
        after = proc.cpu_ns(receiver.pid)
        now, peak = proc.memory(receiver.pid)
        totals = receiver.stop()
    if not totals.messages:
        raise receivers.ReceiverError(f"{scenario.name}, {name}: nothing arrived")
    used = {thread: ns - before.get(thread, 0) for thread, ns in after.items()}
    return Run(
        sent=scenario.messages,
        received=totals.messages,
        offered_rate=scenario.messages / seconds,
        received_rate=totals.messages / (ended - started),
        cpu=sum(used.values()) / totals.messages / 1e9,
        cpu_reader=used[receiver.pid] / totals.messages / 1e9,
        memory=now - idle,
        peak=peak - idle,
        senders=totals.senders,
        notes=totals.notes,
    )


def send(scenario: Scenario, rate: int, port: int, place: Place) -> float:
    """Send all messages of a scenario to this port of 127.0.0.1; return the seconds."""
    pieces = place.directory / "pieces"
    pieces.write_bytes(template(scenario.pieces))
    arguments: list[Any] = [port, pieces, scenario.senders, scenario.messages, rate, scenario.skip]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, place.sender_cpus)
    try:
        blast = subprocess.run(
            [place.blast, *map(str, arguments)], capture_output=True, text=True, check=True, timeout=SEND_SECONDS
        )
    finally:
        os.sched_setaffinity(0, before)
    datagrams, nanoseconds = map(int, blast.stdout.split())
    assert datagrams == scenario.messages * len(scenario.pieces)
    return nanoseconds / 1e9
