"""An overload: memory must stay within its bound for any duration, and everything must arrive soon after its end.

A module alternates between taking messages and blocking, while every kind of datagram that costs memory is sent: until
the bounds are reached, and then for twice as long. Then the module is released, and a low rate of messages remains.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import bounds, builds, proc, receivers
from benchmarks.daemon_log import Totals
from benchmarks.flood import beyond, send_batch, sum_of
from benchmarks.measure import DRAIN_SECONDS, processors
from benchmarks.pressure import KINDS, Pressure
from benchmarks.verdict import Check, verdict
from netconsd.send.fleet import FIRST_SEQ, Fleet, Template
from netconsd.send.source_addresses import LOOPBACK_BITS, SourceAddresses, Target, open_source_addresses
from netconsd.settings import Settings

# Small bounds that are reached within seconds. The bound of held messages is no setting, so the reorder time is long.
SMALL = Settings(queue=4000, max_sources=20_000, rcvbuf=4 * bounds.MIB, batch=64, reorder=5.0)
RATE = 40_000
SECONDS = 24.0
# The second and the third part of the time are compared. In each part the module blocks TURNS times, for this share of
# the time.
PARTS = 3
TURNS = 2
BLOCKED = 0.6
SAMPLE_SECONDS = 0.05
# Allowed growth, because fragmentation of the allocator varies.
GROWTH = 0.05
# The low rate after the overload, from senders of both workers. It lasts TRICKLE_SECONDS longer than the recovery.
# Messages sent before a worker has processed its first batch may still find a full queue.
TRICKLE = Fleet(Template("extended"), 20, 0, 2**21)
TRICKLE_PREFIX = "127.96.0."
TRICKLE_RATE = 200
TRICKLE_SECONDS = 1.0
RECOVERY_SECONDS = 1.0
# With an empty queue, a message reaches the module within this time, also on a busy machine. A full queue is drained at
# MESSAGES_PER_SECOND or faster, also in plain Python.
AT_ONCE_SECONDS = 0.5
MESSAGES_PER_SECOND = 40_000
# For each value of --only: the kinds of load, the bounds that may be filled, and the counters that prove it.
ALONE: dict[str, tuple[list[str], list[str], list[str]]] = {
    "queue": (["queue"], ["queue", "delivery", "read"], ["dropped_queue_full"]),
    "held": (["held"], ["held", "delivery", "read", "senders", "removed"], ["released_early"]),
    "senders": (["senders"], ["senders", "delivery", "read", "queue"], ["senders_evicted"]),
    "large": (["large"], ["queue", "held", "delivery", "read"], ["dropped_queue_full"]),
}
ALL = [*KINDS, "held"]
REACHED = ["dropped_queue_full", "senders_evicted", "released_early"]
# With the default reorder time and 200,000 senders, one machine cannot send enough to reach the other bounds.
DEFAULTS_REACHED = ["dropped_queue_full"]


@dataclass
class Peaks:
    """The peaks in one part of the time, in bytes."""

    memory: int = 0
    sampled: int = 0
    kernel: int = 0


def main(arguments: list[str]) -> int:
    """Overload a daemon, and print the checks; return 0 if all passed."""
    options = _parser().parse_args(arguments)
    settings = Settings() if options.defaults else SMALL
    overrides = {name: getattr(options, name) for name in ("queue", "max_sources", "rcvbuf", "workers", "batch")}
    overrides = {name: value for name, value in overrides.items() if value is not None}
    settings = Settings(**{**_bounds_of(settings), **overrides})
    kinds, names, reached = ALONE.get(options.only, (ALL, [], REACHED))
    if options.defaults:
        reached = DEFAULTS_REACHED
    lines = [line for line in bounds.bounds(settings, options.build) if not names or line.name in names]
    limit = sum(line.bytes for line in lines)
    if limit + bounds.kernel_bound(settings) > _available():
        raise receivers.ReceiverError(f"this machine lacks the {limit / 1e6:.0f} MB that the daemon may use")
    with tempfile.TemporaryDirectory(prefix="netconsd-overload-") as name:
        run = Run(Path(name), settings, Pressure(kinds), options)
        run.all()
    for line in lines:
        print(f"{line.bytes / 1e6:8.1f} MB at most: {line.about}")
    peaks = ", ".join(f"{(part.memory - run.idle) / 1e6:.1f}" for part in run.peaks)
    counted = ", ".join(f"{name} {run.totals.notes.get(name, 0)}" for name in ("dropped_by_kernel", *REACHED))
    print(f"{run.sent} datagrams; {counted}")
    print(
        f"memory {run.idle / 1e6:.1f} MB at rest; above that {peaks} MB in the parts of the time, "
        f"{(run.after - run.idle) / 1e6:.1f} MB after the queues were drained"
    )
    lost, slow = run.late(), run.late(AT_ONCE_SECONDS)
    print(f"after the release all messages arrive from {_end(lost):.2f} s on, without delay from {_end(slow):.2f} s on")
    return verdict(run.checks(limit, reached, lost, slow))


class Run:
    """One overload of a daemon, and its figures."""

    def __init__(self, directory: Path, settings: Settings, pressure: Pressure, options: argparse.Namespace) -> None:
        self.settings = settings
        self.idle = self.after = 0
        self.peaks = [Peaks() for _ in range(PARTS)]
        self.released = 0.0
        self.sent = 0
        self.totals = Totals(0, 0, 0, {}, {})
        self.delivered: dict[str, Any] = {}
        self._directory = directory
        self._gate = directory / "gate"
        self._pressure = pressure
        self._build = options.build
        self._rate = options.rate
        self._seconds = options.seconds

    def all(self) -> None:
        """Start the daemon, overload it, release it, and stop it."""
        tree = builds.checkout(self._build, self._directory / "tree")
        scratch = self._directory / "scratch"
        scratch.mkdir()
        delivered = self._directory / "delivered"
        sets = {"gate": self._gate, "path": delivered, "prefix": TRICKLE_PREFIX}
        arguments = [part for key, value in sets.items() for part in ("--set", f"blocks.{key}={value}")]
        sender_cpus, receiver_cpus = processors(True)
        with receivers.daemon(
            tree, ["blocks"], [*_options(self.settings), *arguments], scratch, receiver_cpus
        ) as daemon:
            proc.wait_until_quiet(daemon.pid, daemon.port, DRAIN_SECONDS)
            self.idle, _ = proc.memory(daemon.pid)
            addresses = open_source_addresses(Target("127.0.0.1", daemon.port), None, LOOPBACK_BITS)
            try:
                with builds.on_processors(sender_cpus):
                    for part in self.peaks:
                        self._overload(addresses, daemon, part)
                    self._gate.unlink()
                    self.released = time.monotonic()
                    self._trickle(addresses)
                proc.wait_until_quiet(daemon.pid, daemon.port, DRAIN_SECONDS)
            finally:
                self._gate.unlink(missing_ok=True)
                addresses.close()
            self.after, _ = proc.memory(daemon.pid)
            self.totals = daemon.stop()
        self.delivered = json.loads(delivered.read_text())

    def checks(self, limit: int, reached: list[str], lost: list[int], slow: list[int]) -> list[Check]:
        """The figures with their limits."""
        totals, notes, workers = self.totals, self.totals.notes, self.totals.workers
        _, second, third = (peaks.memory for peaks in self.peaks)
        peak = max(peaks.memory for peaks in self.peaks) - self.idle
        kernel = max(peaks.kernel for peaks in self.peaks)
        after = [number for number in lost if number >= RECOVERY_SECONDS * TRICKLE_RATE]
        return [
            Check("bounds that were not reached", sum(not notes.get(name) for name in reached), 0),
            Check("peak of memory above that at rest, in MB", peak / 1e6, limit / 1e6),
            Check(
                "growth from the second part of the time to the third, in percent",
                max(0.0, 100 * (third / second - 1)),
                100 * GROWTH,
            ),
            Check("peak of the receive buffers, in MB", kernel / 1e6, bounds.kernel_bound(self.settings) / 1e6),
            Check("senders in the table beyond the limit", beyond(totals, self.settings.max_sources), 0),
            Check(
                "datagrams neither received nor dropped by the kernel",
                self.sent - totals.datagrams - sum_of(notes, "dropped_by_kernel"),
                0,
            ),
            Check(
                "datagrams neither dropped from a queue nor processed",
                totals.datagrams - sum_of(notes, "dropped_queue_full") - sum_of(workers, "datagrams", "dropped_error"),
                0,
            ),
            Check("messages not delivered", totals.messages - self.delivered["messages"], 0),
            Check("seconds until the queues are empty", _end(slow), self.recovery_seconds),
            Check(f"messages lost later than {RECOVERY_SECONDS:g} s after the release", len(after), 0),
        ]

    def late(self, seconds: float = math.inf) -> list[int]:
        """The numbers of the messages after the overload that did not arrive within ``seconds``."""
        numbers: dict[str, list[tuple[int, float]]] = self.delivered["numbers"]
        arrivals = {(address, seq): time for address, pairs in numbers.items() for seq, time in pairs}
        late = []
        for number in range(int(TRICKLE_RATE * self.trickle_seconds)):
            key = f"{TRICKLE_PREFIX}{number % TRICKLE.senders}", FIRST_SEQ + number // TRICKLE.senders
            if key not in arrivals or arrivals[key] > self.released + number / TRICKLE_RATE + seconds:
                late.append(number)
        return late

    @property
    def recovery_seconds(self) -> float:
        """Seconds after the release within which the queues must be empty."""
        return RECOVERY_SECONDS + self.settings.workers * self.settings.queue / MESSAGES_PER_SECOND

    @property
    def trickle_seconds(self) -> float:
        """Duration of the low rate after the overload."""
        return self.recovery_seconds + TRICKLE_SECONDS

    def _overload(self, addresses: SourceAddresses, daemon: receivers.Receiver, peaks: Peaks) -> None:
        proc.reset_peak(daemon.pid)
        turn = self._seconds / PARTS / TURNS
        for _ in range(TURNS):
            self._gate.unlink(missing_ok=True)
            self._press(addresses, daemon, peaks, turn * (1 - BLOCKED))
            self._gate.touch()
            self._press(addresses, daemon, peaks, turn * BLOCKED)
        _, peak = proc.memory(daemon.pid)
        peaks.memory = max(peaks.sampled, peak)

    def _press(
        self,
        addresses: SourceAddresses,
        daemon: receivers.Receiver,
        peaks: Peaks,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        started = now = clock()
        sampled = 0.0
        sent = 0
        while now - started < seconds:
            if now - sampled > SAMPLE_SECONDS:
                peaks.sampled = max(peaks.sampled, proc.memory(daemon.pid)[0])
                peaks.kernel = max(peaks.kernel, proc.buffered_bytes(daemon.port))
                sampled = now
            if sent < (now - started) * self._rate:
                senders, datagrams = self._pressure.next()
                send_batch(addresses, senders, datagrams)
                sent += len(datagrams)
            else:
                time.sleep(0.0005)
            now = clock()
        self.sent += sent

    def _trickle(self, addresses: SourceAddresses, clock: Callable[[], float] = time.monotonic) -> None:
        started = clock()
        for number in range(int(TRICKLE_RATE * self.trickle_seconds)):
            while clock() - started < number / TRICKLE_RATE:
                time.sleep(0.001)
            sender, datagrams = TRICKLE.message(number)
            send_batch(addresses, [sender], datagrams)
            self.sent += 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks overload", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="[%(default)s]")
    parser.add_argument("--rate", type=int, default=RATE, help="datagrams per second [%(default)s]")
    parser.add_argument("--only", choices=ALONE, help="only one kind of load, instead of all")
    parser.add_argument("--defaults", action="store_true", help="the daemon's default bounds instead of small ones")
    for name in ("queue", "max-sources", "rcvbuf", "batch"):
        parser.add_argument(f"--{name}", type=int, help="the daemon's option")
    parser.add_argument("-w", "--workers", type=int, help="the daemon's option")
    parser.add_argument("--build", choices=("compiled", "plain"), default="compiled", help="build [%(default)s]")
    return parser


def _bounds_of(settings: Settings) -> dict[str, Any]:
    names = ("queue", "max_sources", "rcvbuf", "workers", "batch", "reorder")
    return {name: getattr(settings, name) for name in names}


def _options(settings: Settings) -> list[str]:
    """The settings as options of the daemon."""
    values = _bounds_of(settings)
    values["reorder"] = round(1000 * settings.reorder)
    return [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def _available() -> int:
    match = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert match
    return int(match[1]) * 1024


def _end(late: list[int]) -> float:
    """Seconds after the release at which the last of these messages was sent."""
    return (late[-1] + 1) / TRICKLE_RATE if late else 0.0
