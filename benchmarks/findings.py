"""The proof ``findings``: the cost of crash reports and events, per message, per crash, and per gigabyte of a file.

Each figure is processor time, the least of some rounds, because other programs only add to it. The limits are those of
the compiled build on a processor of today.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.verdict import Check, verdict
from netconsd.build import KIND
from netconsd.crash.watch import Watch, watches
from netconsd.crashes import Report
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import Message
from netconsd.protocol.table import SourceTable
from netconsd.testing import CRASH, crash_datagrams, extended, source

ROUNDS = 5
MESSAGES = 200_000
SENDERS = 100
BATCH = 512
CRASHES = 100
CRASH_LINES = 200
MEGABYTES = 1000
MB = 1_000_000

MESSAGE_US = 0.10
CRASH_MS = 3.0
# 150 MB/s.
GIGABYTE_SECONDS = 1000 / 150

TEXT = "eth0: NIC Link is Up 10 Gbps Full Duplex, Flow Control: RX/TX, port {} of the machine in rack r17 b"
#: Console text of a machine that nothing happens to; a block of it has lines of all of them, and no two are equal.
QUIET = (
    "e1000e 0000:00:1f.6 eth0: NIC Link is Up 1000 Mbps Full Duplex, Flow Control: Rx/Tx",
    "systemd[1]: Started Session {} of user root.",
    'audit: type=1400 audit(1700000000.{}:63): apparmor="STATUS" operation="profile_load" name="man_filter"',
    "usb 1-{}: new high-speed USB device number 4 using xhci_hcd",
    "EXT4-fs (sda1): mounted filesystem with ordered data mode. Quota mode: none.",
    "br-{}: port 1(veth7) entered forwarding state",
    "nf_conntrack: default automatic helper assignment has been turned off for security reasons {}",
    "perf: interrupt took too long (2504 > 2500), lowering kernel.perf_event_max_sample_rate to {}",
)


def main(arguments: list[str]) -> int:
    """Measure, and print the checks; return 0 if all passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks findings", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds per figure; the least counts [%(default)s]")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="messages per round [%(default)s]")
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, help="size of the file [%(default)s]")
    options = parser.parse_args(arguments)
    print(f"netconsd, {KIND}")
    with tempfile.TemporaryDirectory(prefix="netconsd-findings-") as directory:
        gigabyte = least(options.rounds, reading(quiet_file(Path(directory) / "console.log", options.megabytes * MB)))
    off, on = side_by_side(options.rounds, options.messages)
    return verdict(
        [
            Check("us more for an ordinary message with reports and events", round(max(0.0, on - off), 4), MESSAGE_US),
            Check(f"ms for a crash of {CRASH_LINES} lines", round(least(options.rounds, crashes), 3), CRASH_MS),
            Check("seconds for a quiet gigabyte in netconsd crashes", round(gigabyte, 2), GIGABYTE_SECONDS),
        ]
    )


def least(rounds: int, measure: Callable[[], float]) -> float:
    """The least figure of some rounds."""
    return min(measure() for _ in range(rounds))


def side_by_side(rounds: int, messages: int) -> tuple[float, float]:
    """Microseconds per ordinary message without and with a watch, from the datagram to its delivery, in turns."""
    make = watches(True, True, _fail)
    figures = [(ordinary(None, messages), ordinary(make(), messages)) for _ in range(rounds)]
    return min(off for off, _ in figures), min(on for _, on in figures)


def ordinary(watch: Watch | None, messages: int) -> float:
    """Microseconds per message of many senders, in order."""
    keys = [source(f"192.0.2.{number + 1}").key for number in range(SENDERS)]
    table = _table()
    batches: list[tuple[list[bytes], list[bytes]]] = []
    for begin in range(0, messages, BATCH):
        numbers = range(begin, begin + BATCH)
        batches.append(
            (
                [keys[number % SENDERS] for number in numbers],
                [extended(TEXT.format(number), seq=number // SENDERS, ts_usec=number) for number in numbers],
            )
        )
    start = time.process_time()
    for number, (senders, datagrams) in enumerate(batches):
        found = table.feed(senders, datagrams, float(number), float(number))
        if watch is not None:
            watch.look(found, float(number))
    return (time.process_time() - start) / (len(batches) * BATCH) * 1e6


def crashes() -> float:
    """Milliseconds for a crash, each of another sender."""
    frames = [f" ? caller_{number}_of_ioctl+0x{number + 16:x}/0x2e0" for number in range(CRASH_LINES - len(CRASH))]
    lines = [*CRASH[:13], *frames, *CRASH[13:]]
    watch, table = watches(True, True, _fail)(), _table()
    reports = 0
    seconds = 0.0
    for number in range(CRASHES):
        key = source(f"192.0.2.{number + 1}").key
        datagrams = crash_datagrams(lines)
        messages: list[Message] = table.feed([key] * len(datagrams), datagrams, float(number), float(number))
        start = time.process_time()
        found = watch.look(messages, float(number))
        found += watch.advance(number + 0.5, number + 0.5, lambda since: ())
        seconds += time.process_time() - start
        reports += sum(isinstance(one, Report) for one in found)
    start = time.process_time()
    reports += sum(isinstance(one, Report) for one in watch.finish(float(CRASHES)))
    seconds += time.process_time() - start
    assert reports == CRASHES, f"{reports} reports of {CRASHES} crashes"
    return seconds / CRASHES * 1e3


def quiet_file(path: Path, size: int) -> Path:
    """Write console text without a crash."""
    lines = [f"[{index / 100:12.6f}] {QUIET[index % len(QUIET)].format(index)}\n" for index in range(100_000)]
    block = "".join(lines).encode()
    with path.open("wb") as file:
        left = size
        while left > 0:
            left -= file.write(block[:left])
    return path


def reading(path: Path) -> Callable[[], float]:
    """A measurement: the seconds of processor time per gigabyte of ``netconsd crashes``."""

    def measure() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "netconsd", "crashes", str(path)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Without a report the status is 1.
        assert done.returncode == 1, f"netconsd crashes ended with {done.returncode}: {done.stdout.decode()[-500:]}"
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return seconds / path.stat().st_size * 1e9

    return measure


def _table() -> SourceTable:
    return SourceTable(WorkerCounters(), limit=100_000, reorder_time=0.2, gc_interval=0.0, age=3600.0)


def _fail() -> None:
    raise AssertionError("a recogniser failed") from sys.exception()
