"""The benchmark ``lanes``: how much faster two lanes are than one, with and without Python's global lock (GIL).

The lanes of netconsd get datagrams directly, without sockets and without a module. All datagrams are made and queued
before the clock starts, by one thread, as the reactor's thread does it; the clock ends when each lane has delivered all
of its messages. Each run has a process of its own, as the threads of an earlier run leave the allocator's memory in
another state. A Python that can run without the GIL is measured in both states.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import loads
from netconsd.build import KIND
from netconsd.monitor.gil import is_enabled
from netconsd.protocol.message import Message
from netconsd.read.entries import Datagram
from netconsd.read.reader import Reader
from netconsd.receive.lanes import Workers
from netconsd.settings import Settings

MESSAGES: Final = 500_000
QUICK: Final = 5_000
# A power of two: then the hash of addresses gives each of two lanes the same number.
SENDERS: Final = 128
# The default batch of the reader.
BATCH: Final = 512
# Monotonic seconds from batch to batch: 300,000 datagrams per second.
BATCH_SECONDS: Final = BATCH / 300_000
#: All datagrams of a run are queued at once, and no sender is forgotten: the largest values of these settings.
QUEUE: Final = 1 << 24
#: Longest wait for the lanes.
SECONDS: Final = 120.0

#: The senders and datagrams of one read.
Read = tuple[list[bytes], list[bytes]]


@dataclass(frozen=True)
class Run:
    """One run: seconds, processor seconds of all threads, and datagrams."""

    lanes: int
    seconds: float
    cpu: float
    datagrams: int

    @property
    def rate(self) -> float:
        """Datagrams per second."""
        return self.datagrams / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor time per datagram in microseconds."""
        return self.cpu / self.datagrams * 1e6


def key(number: int) -> bytes:
    """The sender with this number."""
    return bytes(10) + b"\xff\xff" + (0x7F010000 + number).to_bytes(4, "big") + (6665).to_bytes(2, "big")


def generated(messages: int) -> Iterator[tuple[bytes, bytes]]:
    """Sender and datagram, in order: the load in-order of the other benchmarks."""
    [template] = loads.in_order()
    seq_mark, ts_mark = (bytes([mark]) * len(str(value)) for value, mark in loads.MARKS.items() if mark < 3)
    # Each sender's key is one object, as in the reader.
    keys = [key(number) for number in range(SENDERS)]
    for number in range(messages):
        seq = number // SENDERS + 1_000_000
        datagram = template.replace(seq_mark, b"%07d" % seq).replace(ts_mark, b"%012d" % (seq * 100_000))
        yield keys[number % SENDERS], datagram


def recorded(path: Path, messages: int) -> Iterator[tuple[bytes, bytes]]:
    """Sender and datagram: each of a number of senders sends the datagrams of a recording once, up to ``messages``.

    :raises SystemExit: if the file has no datagrams.
    """
    with path.open("rb") as file:
        datagrams = [entry.data for entry in Reader(file.read, year=1970) if isinstance(entry, Datagram)]
    if not datagrams:
        raise SystemExit(f"benchmarks: {path} has no datagrams: give a recording of netconsd, or a pcap file")
    senders = -(-messages // len(datagrams))
    # A power of two, as SENDERS.
    senders = 1 << (senders - 1).bit_length()
    # A copy each, as received datagrams are.
    keys = [key(number) for number in range(senders)]
    load = ((each, bytes(bytearray(data))) for data in datagrams for each in keys)
    return islice(load, messages)


def reads(load: Iterator[tuple[bytes, bytes]]) -> Iterator[Read]:
    """The load in batches of the reader."""
    while batch := list(islice(load, BATCH)):
        senders, datagrams = zip(*batch, strict=True)
        yield list(senders), list(datagrams)


class _Direct:
    """Calls at once: the lanes ask for nothing that needs a reactor."""

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:  # noqa: N802
        function(*arguments)

    def callLater(self, seconds: float, function: Callable[..., object], *arguments: Any) -> None:  # noqa: N802
        raise AssertionError("without ports there is nothing to wait for")


def run(count: int, load: Iterator[tuple[bytes, bytes]]) -> Run:
    """Give the load to so many lanes.

    :raises RuntimeError: if a lane does not end in :data:`SECONDS`, or did not deliver what it got.
    """

    def deliver(number: int, messages: list[Message]) -> None:
        pass

    settings = Settings(workers=count, queue=QUEUE, max_sources=QUEUE)
    workers = Workers(deliver, settings, reactor=_Direct())  # type: ignore[arg-type]
    now = time.monotonic() - 3_600
    total = 0
    for senders, datagrams in reads(load):
        total += len(datagrams)
        now += BATCH_SECONDS
        shares: dict[Any, Read] = {lane: ([], []) for lane in workers.lanes}
        for sender, datagram in zip(senders, datagrams, strict=True):
            share = shares[workers.lane_for(sender[:16])]
            share[0].append(sender)
            share[1].append(datagram)
        for lane, share in shares.items():
            lane.put(*share, time.time(), now, large=False)
    ended = threading.Semaphore(0)
    for lane in workers.lanes:
        lane.stop()
    cpu, start = time.process_time(), time.perf_counter()
    for lane in workers.lanes:
        lane.start(ended.release)
    for _ in workers.lanes:
        if not ended.acquire(timeout=SECONDS):
            raise RuntimeError(f"a lane has not ended after {SECONDS:g} s")
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    counters = [lane.counters for lane in workers.lanes]
    done = sum(each.datagrams for each in counters)
    if done != total or any(each.dropped_error for each in counters):
        raise RuntimeError(f"{total} datagrams were queued, and the lanes processed {done}")
    return Run(count, seconds, cpu, total)


def table(content: dict[str, Any]) -> str:
    """The figures: medians of the runs; the ratio is the median of the rounds' ratios."""
    lines = [f"Python {content['python']}, netconsd {content['build']}, {content['processors']} processors"]
    for gil, values in content["gil"].items():
        runs = [Run(**value) for value in values]
        by_count = {count: [each for each in runs if each.lanes == count] for count in sorted({r.lanes for r in runs})}
        first = by_count[min(by_count)]
        for count, each in by_count.items():
            ratio = median(many.rate / one.rate for many, one in zip(each, first, strict=True))
            rate, cpu = median(many.rate for many in each), median(many.cpu_us for many in each)
            what = "lane " if count == 1 else "lanes"
            lines.append(
                f"GIL {gil:<4}{count:>3} {what}  {rate:>10,.0f} datagrams/s  {cpu:.3f} µs of CPU per datagram"
                f"  {ratio:.2f} times the rate of {first[0].lanes}"
            )
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks lanes", description="Measures how much faster several lanes are than one."
    )
    options.add_argument("--runs", type=int, default=5, help="runs per figure; the median counts [%(default)s]")
    options.add_argument("--messages", type=int, default=MESSAGES, help="datagrams of a run [%(default)s]")
    options.add_argument("--lanes", type=int, nargs="+", default=[1, 2], help="numbers of lanes [1 2]")
    options.add_argument("--recording", type=Path, help="a recording or a pcap file, instead of messages in order")
    options.add_argument("--quick", action="store_true", help="a few messages, once, as a test of the benchmark")
    options.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    options.add_argument("--gil", choices=("as-is",), help=argparse.SUPPRESS)
    return options


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit status, which does not depend on figures."""
    options = parser().parse_args(arguments)
    if options.quick:
        options.runs, options.messages = 1, QUICK
    if not 0 < options.messages <= QUEUE:
        raise SystemExit(f"benchmarks: --messages {options.messages} is not between 1 and {QUEUE}")
    if options.gil:
        [count] = options.lanes
        print(json.dumps(vars(run(count, _load(options)))))
        return 0
    content: dict[str, Any] = {
        "python": platform.python_version() + ("t" if is_enabled() is not None else ""),
        "build": KIND,
        "processors": len(os.sched_getaffinity(0)),
        "gil": {},
    }
    for gil in ("on",) if is_enabled() is None else ("on", "off"):
        # In turn, so that a disturbance of the machine affects all.
        content["gil"][gil] = [_in_child(gil, count, arguments) for _ in range(options.runs) for count in options.lanes]
    print(table(content))
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


def _load(options: argparse.Namespace) -> Iterator[tuple[bytes, bytes]]:
    return recorded(options.recording, options.messages) if options.recording else generated(options.messages)


def _in_child(gil: str, count: int, arguments: Sequence[str]) -> dict[str, Any]:
    environment = {**os.environ, "PYTHON_GIL": "0" if gil == "off" else "1"}
    command = [sys.executable, "-m", "benchmarks", "lanes", *arguments, "--lanes", str(count), "--gil", "as-is"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result
