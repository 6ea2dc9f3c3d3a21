"""An overload: does memory stay within its bound however long it lasts, and is all well at once when it is over?

A module takes as much as it can, and then nothing for a while, by turns, while everything is sent that costs memory:
until the bounds are reached, and then for twice as long again. Then the module is released, and a trickle is left.
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
from benchmarks.flood import beyond, both, send_batch
from benchmarks.measure import DRAIN_SECONDS, processors
from benchmarks.pressure import KINDS, Pressure
from benchmarks.receivers import Totals
from benchmarks.verdict import Check, told
from netconsd.send.fleet import FIRST_SEQ, Fleet, Template
from netconsd.send.source_addresses import LOOPBACK_BITS, Origin, Target, origin_for
from netconsd.settings import Settings

# Small enough to be reached within seconds; what may wait is no setting. Reordering lasts long enough for it.
SMALL = Settings(queue=4000, max_sources=20_000, rcvbuf=4 * bounds.MIB, batch=64, reorder=5.0)
RATE = 40_000
SECONDS = 24.0
# The second and the third part are compared, as parts of an overload that lasts. In each the module takes something and
# then nothing, so many times; and for this part of the time nothing.
PARTS = 3
TURNS = 2
STANDS = 0.6
SAMPLE_SECONDS = 0.05
# The last part may have as much more: what is left over between the objects of one size is not always the same.
GROWTH = 0.05
# The trickle: senders, of both workers, messages per second, and seconds beyond those until all is worked off. What was
# sent before the worker has looked at a first batch still finds a full queue.
TRICKLE = Fleet(Template("extended"), 20, 0, 2**21)
TRICKLE_PREFIX = "127.96.0."
TRICKLE_RATE = 200
TRICKLE_SECONDS = 1.0
RECOVERY_SECONDS = 1.0
# When a queue is empty, a message is with the module within this time, even on a machine that others use as well. A
# full one is worked off at so many messages per second, in plain Python, too.
AT_ONCE_SECONDS = 0.5
MESSAGES_PER_SECOND = 40_000
# What alone is loaded with --only, the lines of the bound that it may fill, and the counters that show that it did.
ALONE: dict[str, tuple[list[str], list[str], list[str]]] = {
    "queue": (["queue"], ["queue", "hand", "read"], ["dropped_queue_full"]),
    "waiting": (["waiting"], ["waiting", "hand", "read", "senders", "forgotten"], ["released_early"]),
    "senders": (["senders"], ["senders", "hand", "read", "queue"], ["senders_evicted"]),
    "large": (["large"], ["queue", "waiting", "hand", "read"], ["dropped_queue_full"]),
}
ALL = [*KINDS, "waiting"]
REACHED = ["dropped_queue_full", "senders_evicted", "released_early"]
# With the default reorder time and two hundred thousand senders, more would have to come than one machine can send.
DEFAULTS_REACHED = ["dropped_queue_full"]


@dataclass
class Peaks:
    """What there was at most in a part of the time, in bytes."""

    memory: int = 0
    sampled: int = 0
    kernel: int = 0


def main(arguments: list[str]) -> int:
    """Overload a daemon, and say what came of it; 0 if all is as it is to be."""
    options = _parser().parse_args(arguments)
    settings = Settings() if options.defaults else SMALL
    given = {name: getattr(options, name) for name in ("queue", "max_sources", "rcvbuf", "workers", "batch")}
    settings = Settings(**{**_given(settings), **{name: value for name, value in given.items() if value is not None}})
    kinds, names, reached = ALONE.get(options.only, (ALL, [], REACHED))
    if options.defaults:
        reached = DEFAULTS_REACHED
    lines = [line for line in bounds.bounds(settings, options.build) if not names or line.name in names]
    limit = sum(line.octets for line in lines)
    if limit + bounds.kernel_bound(settings) > _available():
        raise receivers.ReceiverError(f"this machine has not the {limit / 1e6:.0f} MB that the daemon may take")
    with tempfile.TemporaryDirectory(prefix="netconsd-overload-") as name:
        run = Run(Path(name), settings, Pressure(kinds), options)
        run.all()
    for line in lines:
        print(f"{line.octets / 1e6:8.1f} MB at most: {line.about}")
    peaks = ", ".join(f"{(part.memory - run.idle) / 1e6:.1f}" for part in run.peaks)
    counted = ", ".join(f"{name} {run.totals.notes.get(name, 0)}" for name in ("dropped_by_kernel", *REACHED))
    print(f"{run.sent} datagrams; {counted}")
    print(
        f"memory {run.idle / 1e6:.1f} MB at rest; above that {peaks} MB in the parts of the time, "
        f"{(run.after - run.idle) / 1e6:.1f} when all was worked off"
    )
    lost, slow = run.late(), run.late(AT_ONCE_SECONDS)
    print(f"after the release all arrives from {_end(lost):.2f} seconds on, and at once from {_end(slow):.2f} on")
    return told(run.checks(limit, reached, lost, slow))


class Run:
    """A daemon, and what is done to it."""

    def __init__(self, directory: Path, settings: Settings, pressure: Pressure, options: argparse.Namespace) -> None:
        self.settings = settings
        self.idle = self.after = 0
        self.peaks = [Peaks() for _ in range(PARTS)]
        self.released = 0.0
        self.sent = 0
        self.totals = Totals(0, 0, 0, {}, {})
        self.account: dict[str, Any] = {}
        self._directory = directory
        self._gate = directory / "gate"
        self._pressure = pressure
        self._build = options.build
        self._rate = options.rate
        self._seconds = options.seconds

    def all(self) -> None:
        """Do it."""
        tree = builds.checkout(self._build, self._directory / "tree")
        scratch = self._directory / "scratch"
        scratch.mkdir()
        account = self._directory / "account"
        sets = {"gate": self._gate, "path": account, "prefix": TRICKLE_PREFIX}
        arguments = [part for key, value in sets.items() for part in ("--set", f"stands.{key}={value}")]
        sender_cpus, receiver_cpus = processors(True)
        with receivers.daemon(tree, "stands", [*_options(self.settings), *arguments], scratch, receiver_cpus) as daemon:
            proc.wait_until_quiet(daemon.pid, daemon.port, DRAIN_SECONDS)
            self.idle, _ = proc.memory(daemon.pid)
            origin = origin_for(Target("127.0.0.1", daemon.port), None, LOOPBACK_BITS)
            try:
                with builds.on_processors(sender_cpus):
                    for part in self.peaks:
                        self._overload(origin, daemon, part)
                    self._gate.unlink()
                    self.released = time.monotonic()
                    self._trickle(origin)
                proc.wait_until_quiet(daemon.pid, daemon.port, DRAIN_SECONDS)
            finally:
                self._gate.unlink(missing_ok=True)
                origin.close()
            self.after, _ = proc.memory(daemon.pid)
            self.totals = daemon.stop()
        self.account = json.loads(account.read_text())

    def checks(self, limit: int, reached: list[str], lost: list[int], slow: list[int]) -> list[Check]:
        """What is to be."""
        totals, notes, workers = self.totals, self.totals.notes, self.totals.workers
        _, second, third = (peaks.memory for peaks in self.peaks)
        most = max(peaks.memory for peaks in self.peaks) - self.idle
        kernel = max(peaks.kernel for peaks in self.peaks)
        after = [number for number in lost if number >= RECOVERY_SECONDS * TRICKLE_RATE]
        return [
            Check("bounds that were not reached", sum(not notes.get(name) for name in reached), 0),
            Check("memory at most, above that at rest, in MB", most / 1e6, limit / 1e6),
            Check(
                "growth from the second part of the time to the third, in percent",
                max(0.0, 100 * (third / second - 1)),
                100 * GROWTH,
            ),
            Check("memory of the kernel for it, in MB", kernel / 1e6, bounds.kernel_bound(self.settings) / 1e6),
            Check("senders remembered beyond the limit", beyond(totals, self.settings.max_sources), 0),
            Check(
                "datagrams neither received nor dropped by the kernel",
                self.sent - totals.datagrams - both(notes, "dropped_by_kernel"),
                0,
            ),
            Check(
                "datagrams neither shed nor looked at",
                totals.datagrams - both(notes, "dropped_queue_full") - both(workers, "datagrams", "dropped_error"),
                0,
            ),
            Check("messages not handed out", totals.messages - self.account["messages"], 0),
            Check("seconds until the queues are empty", _end(slow), self.recovery_seconds),
            Check(f"messages lost later than {RECOVERY_SECONDS:g} s after the release", len(after), 0),
        ]

    def late(self, seconds: float = math.inf) -> list[int]:
        """The numbers of those messages of the trickle that did not arrive so soon after they were to be sent."""
        numbers: dict[str, list[tuple[int, float]]] = self.account["numbers"]
        came = {(address, seq): when for address, each in numbers.items() for seq, when in each}
        late = []
        for number in range(int(TRICKLE_RATE * self.trickle_seconds)):
            key = f"{TRICKLE_PREFIX}{number % TRICKLE.senders}", FIRST_SEQ + number // TRICKLE.senders
            if key not in came or came[key] > self.released + number / TRICKLE_RATE + seconds:
                late.append(number)
        return late

    @property
    def recovery_seconds(self) -> float:
        """After the release, until the queues have to be empty."""
        return RECOVERY_SECONDS + self.settings.workers * self.settings.queue / MESSAGES_PER_SECOND

    @property
    def trickle_seconds(self) -> float:
        """How long it lasts: longer than that."""
        return self.recovery_seconds + TRICKLE_SECONDS

    def _overload(self, origin: Origin, daemon: receivers.Receiver, peaks: Peaks) -> None:
        proc.forget_peak(daemon.pid)
        turn = self._seconds / PARTS / TURNS
        for _ in range(TURNS):
            self._gate.unlink(missing_ok=True)
            self._press(origin, daemon, peaks, turn * (1 - STANDS))
            self._gate.touch()
            self._press(origin, daemon, peaks, turn * STANDS)
        _, most = proc.memory(daemon.pid)
        peaks.memory = max(peaks.sampled, most)

    def _press(
        self,
        origin: Origin,
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
                peaks.kernel = max(peaks.kernel, proc.waiting_bytes(daemon.port))
                sampled = now
            if sent < (now - started) * self._rate:
                senders, datagrams = self._pressure.next()
                send_batch(origin, senders, datagrams)
                sent += len(datagrams)
            else:
                time.sleep(0.0005)
            now = clock()
        self.sent += sent

    def _trickle(self, origin: Origin, clock: Callable[[], float] = time.monotonic) -> None:
        started = clock()
        for number in range(int(TRICKLE_RATE * self.trickle_seconds)):
            while clock() - started < number / TRICKLE_RATE:
                time.sleep(0.001)
            sender, datagrams = TRICKLE.message(number)
            send_batch(origin, [sender], datagrams)
            self.sent += 1


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks overload", description=__doc__.partition("\n\n")[0])
    made.add_argument("--seconds", type=float, default=SECONDS, help="[%(default)s]")
    made.add_argument("--rate", type=int, default=RATE, help="datagrams per second [%(default)s]")
    made.add_argument("--only", choices=ALONE, help="one thing that costs memory, instead of all of them")
    made.add_argument("--defaults", action="store_true", help="with the daemon's own bounds, not with small ones")
    for name in ("queue", "max-sources", "rcvbuf", "batch"):
        made.add_argument(f"--{name}", type=int, help="the daemon's option")
    made.add_argument("-w", "--workers", type=int, help="the daemon's option")
    made.add_argument("--build", choices=("compiled", "plain"), default="compiled", help="of netconsd [%(default)s]")
    return made


def _given(settings: Settings) -> dict[str, Any]:
    names = ("queue", "max_sources", "rcvbuf", "workers", "batch", "reorder")
    return {name: getattr(settings, name) for name in names}


def _options(settings: Settings) -> list[str]:
    """As the daemon's command line has them."""
    given = _given(settings)
    given["reorder"] = round(1000 * settings.reorder)
    return [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def _available() -> int:
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def _end(late: list[int]) -> float:
    """Seconds after the release at which the last of these was sent."""
    return (late[-1] + 1) / TRICKLE_RATE if late else 0.0
