"""Many short-lived senders: all messages must arrive, and memory and open files must not grow.

Senders log for a few seconds in every format, then stay silent until the daemon removes them; later their addresses are
used again, as after a reboot. The shipped logger writes the messages to files.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks import builds, proc, receivers
from benchmarks.flood import send_batch
from benchmarks.measure import DRAIN_SECONDS, processors
from benchmarks.verdict import Check, verdict
from netconsd.send.fleet import FORMATS, Fleet, Template
from netconsd.send.source_addresses import LOOPBACK_BITS, SourceAddresses, Target, open_source_addresses

# New senders per second, the seconds for which each of them sends, and its messages in that time.
NEW = 100
LIFE = 4
MESSAGES = 20
# The daemon removes senders after 5 seconds of silence, and checks every second. An address is used again after 12
# seconds: 4 seconds of sending and 8 of silence.
GC = "1000/5000"
BLOCKS = 12
# The second and the last of these parts of the time are compared; the first one includes one-time allocations.
PARTS = 5
GROWTH = 0.05
FILES_GROWTH = 8
# Short fragmented messages, so that the files do not fill a disk.
SIZES = {"fragments": 1200}


@dataclass(frozen=True)
class Sample:
    """Figures of the daemon at one time."""

    at: float
    memory: int
    files: int


def main(arguments: list[str]) -> int:
    """Run the soak, and print the checks; return 0 if all passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="[%(default)s]")
    parser.add_argument("--build", choices=("compiled", "plain"), default="compiled", help="build [%(default)s]")
    options = parser.parse_args(arguments)
    seconds = max(options.minutes * 60, 4.0 * LIFE)
    sender_cpus, receiver_cpus = processors(True)
    with tempfile.TemporaryDirectory(prefix="netconsd-soak-") as name:
        directory = Path(name)
        tree = builds.checkout(options.build, directory / "tree")
        (directory / "scratch").mkdir()
        logger = ("--gc", GC, "--set", "logger.directory={scratch}")
        with receivers.daemon(tree, ["logger"], logger, directory / "scratch", receiver_cpus) as receiver:
            opened = open_source_addresses(Target("127.0.0.1", receiver.port), None, LOOPBACK_BITS)
            with closing(opened) as addresses, builds.on_processors(sender_cpus):
                sent, samples = run(cohorts(seconds), addresses, receiver.pid)
            proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
            totals = receiver.stop()
    lives = sum(fleet.senders for _, fleet in cohorts(seconds))
    early, late = ends(samples)
    print(f"{lives} senders, {sent} messages in {samples[-1].at:.0f} seconds")
    print(f"memory {early.memory / 1e6:.1f} MB, then {late.memory / 1e6:.1f}; files {early.files}, then {late.files}")
    return verdict(
        [
            Check("messages that did not arrive", sent - totals.messages, 0),
            Check(
                "datagrams dropped by the kernel or a full queue",
                sum(totals.notes.get(name, 0) for name in ("dropped_by_kernel", "dropped_queue_full")),
                0,
            ),
            Check("incomplete messages", totals.notes.get("incomplete", 0), 0),
            Check("senders that were not removed when silent", lives - totals.senders, 0),
            Check("growth of memory, in percent", max(0.0, 100 * (late.memory / early.memory - 1)), 100 * GROWTH),
            Check("growth of open files", max(0, late.files - early.files), FILES_GROWTH),
        ]
    )


def cohorts(seconds: float) -> Iterator[tuple[int, Fleet]]:
    """The start and the fleet of each second's new senders; formats and addresses take turns."""
    for start in range(int(seconds) - LIFE + 1):
        format = list(FORMATS)[start % len(FORMATS)]
        template = Template(format, SIZES.get(format))
        yield start, Fleet(template, NEW, start * 1_000_000, start % BLOCKS * NEW)


def run(
    arrivals: Iterator[tuple[int, Fleet]],
    addresses: SourceAddresses,
    pid: int,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, list[Sample]]:
    """Send the messages of all senders; return their number, and a sample of the daemon per second."""
    begin = clock()
    sent = 0
    samples: list[Sample] = []
    # Start, fleet, and number of messages sent.
    active: list[tuple[int, Fleet, int]] = []
    following = next(arrivals, None)
    while active or following:
        now = clock() - begin
        while following and following[0] <= now:
            active.append((*following, 0))
            following = next(arrivals, None)
        unfinished = []
        for start, fleet, done in active:
            end = min(NEW * MESSAGES, int((now - start) / LIFE * NEW * MESSAGES))
            send_batch(addresses, *fleet.batch(done, end))
            sent += end - done
            if end < NEW * MESSAGES:
                unfinished.append((start, fleet, end))
        active = unfinished
        if now >= len(samples):
            samples.append(Sample(now, proc.memory(pid)[0], len(os.listdir(f"/proc/{pid}/fd"))))
        time.sleep(0.005)
    return sent, samples


def ends(samples: list[Sample]) -> tuple[Sample, Sample]:
    """The largest figures in the second part of the time, and in the last."""
    size = max(1, len(samples) // PARTS)
    first, last = samples[size : 2 * size] or samples, samples[-size:]
    return (
        Sample(first[-1].at, max(sample.memory for sample in first), max(sample.files for sample in first)),
        Sample(last[-1].at, max(sample.memory for sample in last), max(sample.files for sample in last)),
    )
