"""An hour's worth of senders in some minutes: do memory and open files stay as they are, and does everything arrive?

Machines come, log for a few seconds, and are silent long enough to be forgotten; then their addresses come again, as
rebooted ones. What they log is in every format, and is written to files.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import builds, proc, receivers
from benchmarks.flood import send_batch
from benchmarks.measure import DRAIN_SECONDS, processors
from benchmarks.verdict import Check, told
from netconsd.send.fleet import FORMATS, Fleet, Template
from netconsd.send.source_addresses import LOOPBACK_BITS, Origin, Target, origin_for

# Senders that come in each second, the seconds for which each of them sends, and its messages in that time.
NEW = 100
LIFE = 4
MESSAGES = 20
# The daemon forgets those that were silent for 5 seconds, looking once in a second. After 12 seconds an address comes
# again: 4 of sending, and 8 of silence.
GC = "1000/5000"
BLOCKS = 12
# Each is compared between the first and the last part of this length, after one in which everything has its first time.
PARTS = 5
GROWTH = 0.05
FILES_GROWTH = 8
# Fragments of messages that do not fill a disk.
SIZES = {"fragments": 1200}


@dataclass(frozen=True)
class Sample:
    """The daemon at one moment."""

    at: float
    memory: int
    files: int


def main(arguments: list[str]) -> int:
    """Run it, and say what came of it; 0 if all is as it is to be."""
    made = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__.partition("\n\n")[0])
    made.add_argument("--minutes", type=float, default=5.0, help="[%(default)s]")
    made.add_argument("--build", choices=("compiled", "plain"), default="compiled", help="of netconsd [%(default)s]")
    options = made.parse_args(arguments)
    seconds = max(options.minutes * 60, 4.0 * LIFE)
    sender_cpus, receiver_cpus = processors(True)
    with tempfile.TemporaryDirectory(prefix="netconsd-soak-") as name:
        directory = Path(name)
        tree = builds.checkout(options.build, directory / "tree")
        (directory / "scratch").mkdir()
        logger = ("--gc", GC, "--set", "logger.directory={scratch}")
        with receivers.daemon(tree, "logger", logger, directory / "scratch", receiver_cpus) as receiver:
            origin = origin_for(Target("127.0.0.1", receiver.port), None, LOOPBACK_BITS)
            try:
                with builds.on_processors(sender_cpus):
                    sent, samples = run(cohorts(seconds), origin, receiver.pid)
            finally:
                origin.close()
            proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
            totals = receiver.stop()
    lives = sum(fleet.senders for _, fleet in cohorts(seconds))
    early, late = ends(samples)
    print(f"{lives} senders, {sent} messages in {samples[-1].at:.0f} seconds")
    print(f"memory {early.memory / 1e6:.1f} MB, then {late.memory / 1e6:.1f}; files {early.files}, then {late.files}")
    return told(
        [
            Check("messages that did not arrive", sent - totals.messages, 0),
            Check(
                "datagrams dropped or shed",
                sum(totals.notes.get(each, 0) for each in ("dropped_by_kernel", "dropped_queue_full")),
                0,
            ),
            Check("messages with a part missing", totals.notes.get("incomplete", 0), 0),
            Check("senders that were not forgotten in between", lives - totals.senders, 0),
            Check("growth of memory, in percent", max(0.0, 100 * (late.memory / early.memory - 1)), 100 * GROWTH),
            Check("growth of open files", max(0, late.files - early.files), FILES_GROWTH),
        ]
    )


def cohorts(seconds: float) -> Iterator[tuple[int, Fleet]]:
    """The seconds at which somebody comes, and who: a format after the other, the addresses by turns."""
    for start in range(int(seconds) - LIFE + 1):
        format = list(FORMATS)[start % len(FORMATS)]
        template = Template(format, SIZES.get(format))
        yield start, Fleet(template, NEW, start * 1_000_000, start % BLOCKS * NEW)


def run(
    coming: Iterator[tuple[int, Fleet]], origin: Origin, pid: int, clock: Callable[[], float] = time.monotonic
) -> tuple[int, list[Sample]]:
    """Send what all of them send; return how many messages that was, and a sample of the daemon per second."""
    begun = clock()
    sent = 0
    samples: list[Sample] = []
    # When they came, who they are, and how many of their messages were sent.
    here: list[tuple[int, Fleet, int]] = []
    following = next(coming, None)
    while here or following:
        now = clock() - begun
        while following and following[0] <= now:
            here.append((*following, 0))
            following = next(coming, None)
        left = []
        for start, fleet, done in here:
            upto = min(NEW * MESSAGES, int((now - start) / LIFE * NEW * MESSAGES))
            send_batch(origin, *fleet.batch(done, upto))
            sent += upto - done
            if upto < NEW * MESSAGES:
                left.append((start, fleet, upto))
        here = left
        if now >= len(samples):
            samples.append(Sample(now, proc.memory(pid)[0], len(os.listdir(f"/proc/{pid}/fd"))))
        time.sleep(0.005)
    return sent, samples


def ends(samples: list[Sample]) -> tuple[Sample, Sample]:
    """The most that there was of each in the second part of the time, and in the last."""
    size = max(1, len(samples) // PARTS)
    first, last = samples[size : 2 * size] or samples, samples[-size:]
    return (
        Sample(first[-1].at, max(each.memory for each in first), max(each.files for each in first)),
        Sample(last[-1].at, max(each.memory for each in last), max(each.files for each in last)),
    )
