"""The proof ``store-reception``: the daemon with the module ``store`` under load, beside one whose module does nothing.

The processor time of a message is that of all threads of the daemon: reader, workers, and the thread that syncs. The
compactor is a process of its own, and runs on the same processors.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import builds, loads, proc, receivers
from benchmarks.measure import DRAIN_SECONDS, Place, processors, send
from benchmarks.scenarios import Scenario
from benchmarks.verdict import Check, verdict
from netconsd.testing import extended

HERE: Final = Path(__file__).parent
RATE: Final = 300_000
SECONDS: Final = 60
SENDERS: Final = 5_000
#: A figure within its limit proves nothing at a lower rate.
ENOUGH: Final = 0.98
#: Longest wait for the compactor at the end.
BEHIND_SECONDS: Final = 600.0
MARK: Final = "Zyzzyva"

MB: Final = 1_000_000
MORE_US: Final = 0.3
MORE_MB: Final = 30
COMPACTOR_MB: Final = 400
FOUND_SECONDS: Final = 1.5


@dataclass(frozen=True)
class Run:
    """The figures of one daemon."""

    rate: float
    """Messages sent per second."""
    lost: int
    """Messages that were sent, and not delivered or not stored."""
    cpu: float
    """Seconds of the daemon per message."""
    peak: int
    """Peak of the resident memory of the daemon in bytes."""
    journal: int = 0
    """Bytes of the journal when the last message was sent: not yet in segments."""
    behind: float = 0.0
    """Seconds from the last message until all full parts were in segments."""
    compactor_cpu: float = 0.0
    """Seconds of the compactor per message."""
    compactor_peak: int = 0
    """As ``peak``."""
    found: float = 0.0
    """Seconds from sending a message until ``netconsd log`` had shown it."""


def main(arguments: list[str]) -> int:
    """Measure, print, and return 0 if all targets were met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks store-reception", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each load [%(default)s]")
    parser.add_argument("--rate", type=int, default=RATE, help="messages per second [%(default)s]")
    parser.add_argument("--runs", type=int, default=5, help="runs of each daemon; the median counts [%(default)s]")
    parser.add_argument("--no-pin", action="store_true", help="let sender and receiver run on any processor")
    parser.add_argument("--directory", type=Path, help="for the store: about 150 bytes per message")
    options = parser.parse_args(arguments)
    scenario = Scenario(
        name="store-reception",
        about="",
        pieces=loads.in_order(),
        senders=SENDERS,
        messages=int(options.rate * options.seconds),
    )
    runs: dict[str, list[Run]] = {"noop": [], "store": []}
    with tempfile.TemporaryDirectory(prefix="netconsd-reception-", dir=options.directory) as name:
        directory = Path(name)
        tree = builds.checkout("compiled", directory / "compiled")
        blast = builds.c_program(HERE / "blast.c", directory / "blast")
        sender, receiver = processors(not options.no_pin)
        place = Place(directory, blast, blast, {"compiled": tree}, sender, receiver)
        for _ in range(options.runs):
            for module, done in runs.items():
                run = _run(scenario, options.rate, module, tree, place)
                done.append(run)
                print(f"{module}: {_line(run)}", flush=True)
    return verdict(checks(runs, options.rate))


def _line(run: Run) -> str:
    text = f"{run.rate:.0f} messages/s, {run.lost} lost, {run.cpu * 1e6:.2f} us, peak {run.peak / MB:.1f} MB"
    if run.compactor_peak:
        text += (
            f"; compactor {run.compactor_cpu * 1e6:.2f} us, peak {run.compactor_peak / MB:.0f} MB, "
            f"{run.journal / MB:.0f} MB and {run.behind:.1f} s behind; found after {run.found:.2f} s"
        )
    return text


def checks(runs: dict[str, list[Run]], rate: int) -> list[Check]:
    """The figures with their targets; the CPU is the median of the differences of neighbouring runs."""
    noop, store = runs["noop"], runs["store"]
    more = median(with_store.cpu - without.cpu for without, with_store in zip(noop, store, strict=True))
    memory = median(with_store.peak - without.peak for without, with_store in zip(noop, store, strict=True))
    slowest = min(run.rate for run in store)
    return [
        Check(
            "percent of the rate that was not sent", round(max(0.0, 100 - slowest / rate * 100), 2), 100 - 100 * ENOUGH
        ),
        Check("messages lost in all runs", sum(run.lost for run in store), 0),
        Check("us more than a module that does nothing", round(max(0.0, more * 1e6), 3), MORE_US),
        Check("MB more of the daemon's peak", round(max(0.0, memory / MB), 1), MORE_MB),
        Check("peak MB of the compactor", round(max(run.compactor_peak for run in store) / MB, 1), COMPACTOR_MB),
        Check("seconds until a message is found", round(median(run.found for run in store), 2), FOUND_SECONDS),
    ]


def _run(scenario: Scenario, rate: int, module: str, tree: Path, place: Place) -> Run:
    scratch = place.directory / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    directory = scratch / "store"
    options = ("--set", f"store.directory={directory}") if module == "store" else ()
    with receivers.daemon(tree, (module,), options, scratch, place.receiver_cpus) as receiver:
        proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
        proc.reset_peak(receiver.pid)
        before = proc.cpu_ns(receiver.pid)
        compactor = receivers.child(receiver.pid) if module == "store" else None
        compactor_before = _cpu(compactor) if compactor else 0.0
        seconds = send(scenario, rate, receiver.port, place)
        sent_at = time.monotonic()
        journal = _journal(directory) if compactor else 0
        proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
        used = sum(ns - before.get(thread, 0) for thread, ns in proc.cpu_ns(receiver.pid).items())
        _, peak = proc.memory(receiver.pid)
        behind = compactor_cpu = found = 0.0
        compactor_peak = 0
        if compactor:
            behind = _until_compacted(directory, sent_at)
            compactor_cpu = (_cpu(compactor) - compactor_before) / scenario.messages
            _, compactor_peak = proc.memory(compactor)
            found = _until_found(directory, receiver.port, tree)
        totals = receiver.stop()
    lost = scenario.messages - totals.messages
    if compactor:
        # The one that was found is not of the load.
        lost = scenario.messages + 1 - _stored(directory, tree)
    return Run(
        rate=scenario.messages / seconds,
        lost=lost,
        cpu=used / 1e9 / scenario.messages,
        peak=peak,
        journal=journal,
        behind=behind,
        compactor_cpu=compactor_cpu,
        compactor_peak=compactor_peak,
        found=found,
    )


def _cpu(pid: int) -> float:
    return sum(proc.cpu_ns(pid).values()) / 1e9


def _journal(directory: Path) -> int:
    total = 0
    for path in (directory / "journal").iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # compacted meanwhile
            continue
    return total


def _until_compacted(directory: Path, since: float) -> float:
    while any(path.suffix == ".journal" for path in (directory / "journal").iterdir()):
        if time.monotonic() > since + BEHIND_SECONDS:
            raise proc.NeverQuietError(f"the compactor is still behind after {BEHIND_SECONDS:.0f} seconds")
        time.sleep(0.1)
    return time.monotonic() - since


def _until_found(directory: Path, port: int, tree: Path) -> float:
    begin = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(extended(f"{MARK} of the benchmark"), ("127.0.0.1", port))
    while True:
        command = [sys.executable, "-m", "netconsd", "log", "--store", str(directory), "--grep", MARK, "-n", "1"]
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": str(tree)}, stdout=subprocess.PIPE, text=True, check=False
        )
        if MARK in done.stdout:
            return time.monotonic() - begin
        if done.returncode > 1 or time.monotonic() > begin + receivers.START_SECONDS:
            raise receivers.ReceiverError(f"netconsd log ended with {done.returncode}, and did not find the message")


def _stored(directory: Path, tree: Path) -> int:
    """Count the messages of a store, in another process, which reads the indexes and the journal."""
    program = "import sys; from netconsd.store import Store; print(sum(n for _, _, n in Store(sys.argv[1]).counts()))"
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", program, str(directory)]
    return int(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)
