"""One run: a receiver is started, loaded, waited for, stopped. And the medians of several."""

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
from benchmarks.scenarios import Build, Scenario

FLOOR = "floor"
# blast.c ends by itself before.
SEND_SECONDS = 150.0
DRAIN_SECONDS = 120.0


@dataclass(frozen=True)
class Run:
    """What one receiver made of one load."""

    sent: int
    """Messages; so is what follows."""
    received: int
    offered_rate: float
    """Per second, as they were sent in fact."""
    received_rate: float
    """Per second, from the first sent to the last delivered, within some hundredths of a second."""
    cpu: float
    """Seconds of processor time per message received, in user and kernel mode, of all threads."""
    cpu_reader: float
    """The part of it that the main thread used."""
    memory: int
    """Bytes of resident memory after the load, above those before."""
    peak: int
    """Bytes of resident memory at most, above those before."""
    senders: int
    """From how many senders something arrived; 0 for the floor."""
    notes: dict[str, int]
    """What the receiver counted besides: ``dropped``, ``shed`` and the like."""

    @property
    def loss(self) -> float:
        """The part of what was sent that did not arrive."""
        return 1 - self.received / self.sent


@dataclass(frozen=True)
class Place:
    """Where to measure: what has been built, and which processors to use."""

    directory: Path
    blast: Path
    floor: Path
    trees: dict[Build, Path]
    sender_cpus: set[int]
    receiver_cpus: set[int]


@dataclass
class Result:
    """All runs of a scenario at one rate, by receiver: the floor and the builds, the same number of each."""

    scenario: Scenario
    rate: int
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def median(self, receiver: str, figure: str) -> float:
        """The median of an attribute of :class:`Run`, or of ``ratio``: CPU over floor, each with its neighbour's."""
        if figure == "ratio":
            pairs = zip(self.runs[receiver], self.runs[FLOOR], strict=True)
            return median(run.cpu / floor.cpu for run, floor in pairs)
        return median(float(getattr(run, figure)) for run in self.runs[receiver])


def processors(pin: bool) -> tuple[set[int], set[int]]:
    """The processors for the sender and for the receiver: the last one, and all the others.

    A sender that shares a processor with the receiver takes from it what it needs to keep up, as no sender does that is
    another machine.
    """
    usable = sorted(os.sched_getaffinity(0))
    if not pin or len(usable) < 2:
        return set(usable), set(usable)
    return {usable[-1]}, set(usable[:-1])


def measure(scenario: Scenario, rate: int, runs: int, place: Place, tell: Callable[[str], object]) -> Result:
    """Measure floor and builds in turn, so that what disturbs the machine for a while disturbs all of them.

    :param tell: called with a word on what is being done.
    """
    result = Result(scenario, rate)
    builds = [build for build in scenario.builds if build in place.trees]
    for _ in range(runs):
        for name in (FLOOR, *builds):
            tell(f"{scenario.name} {rate or 'full'} {name}")
            scratch = place.directory / "scratch"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            result.runs.setdefault(name, []).append(_run(scenario, rate, name, scratch, place))
    return result


def _run(scenario: Scenario, rate: int, name: str, scratch: Path, place: Place) -> Run:
    made: AbstractContextManager[Receiver]
    if name == FLOOR:
        made = receivers.floor(place.floor, len(scenario.pieces), place.receiver_cpus)
    else:
        tree = place.trees["compiled" if name == "compiled" else "plain"]
        made = receivers.daemon(tree, scenario.module, scenario.options, scratch, place.receiver_cpus)
    with made as receiver:
        # What the start has left to do is none of ours.
        proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
        proc.forget_peak(receiver.pid)
        idle, _ = proc.memory(receiver.pid)
        before = proc.cpu_ns(receiver.pid)
        started = time.monotonic()
        seconds = send(scenario, rate, receiver.port, place)
        ended = proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
        after = proc.cpu_ns(receiver.pid)
        now, most = proc.memory(receiver.pid)
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
        peak=most - idle,
        senders=totals.senders,
        notes=totals.notes,
    )


def send(scenario: Scenario, rate: int, port: int, place: Place) -> float:
    """Send all messages of a scenario to that port of this machine; return how many seconds it took."""
    pieces = place.directory / "pieces"
    pieces.write_bytes(template(scenario.pieces))
    arguments: list[Any] = [port, pieces, scenario.senders, scenario.messages, rate, scenario.skip]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, place.sender_cpus)
    try:
        done = subprocess.run(
            [place.blast, *map(str, arguments)], capture_output=True, text=True, check=True, timeout=SEND_SECONDS
        )
    finally:
        os.sched_setaffinity(0, before)
    datagrams, nanoseconds = map(int, done.stdout.split())
    assert datagrams == scenario.messages * len(scenario.pieces)
    return nanoseconds / 1e9
