"""A flood of forged senders: real senders must lose nothing, and memory must stay bounded."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks import builds, proc, receivers
from benchmarks.crowd import REAL, REAL_PREFIX, Crowd
from benchmarks.daemon_log import Totals
from benchmarks.measure import DRAIN_SECONDS, processors
from benchmarks.verdict import Check, verdict
from netconsd.send.source_addresses import LOOPBACK_BITS, SourceAddresses, Target, open_source_addresses

FORGED = 1_000_000
MAX_SOURCES = 100_000
# Datagrams per second that daemon and sender can both handle on a small machine. Above that the kernel drops datagrams
# of real senders too, before the daemon sees them.
RATE = 50_000
MEMORY_LIMIT = 200_000_000


def main(arguments: list[str]) -> int:
    """Flood a daemon, and print the checks; return 0 if all passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks flood", description=__doc__)
    parser.add_argument("--forged", type=int, default=FORGED, help="datagrams from different addresses [%(default)s]")
    parser.add_argument("--max-sources", type=int, default=MAX_SOURCES, help="the daemon's option [%(default)s]")
    parser.add_argument("--rate", type=int, default=RATE, help="datagrams per second [%(default)s]")
    parser.add_argument("--build", choices=("compiled", "plain"), default="compiled", help="build [%(default)s]")
    options = parser.parse_args(arguments)
    crowd = Crowd(options.forged)
    sender_cpus, receiver_cpus = processors(True)
    with tempfile.TemporaryDirectory(prefix="netconsd-flood-") as name:
        directory = Path(name)
        tree = builds.checkout(options.build, directory / "tree")
        watched = directory / "watched"
        watch = ("--set", f"watch.path={watched}", "--set", f"watch.prefix={REAL_PREFIX}")
        limit = ("--max-sources", str(options.max_sources))
        (directory / "scratch").mkdir()
        with receivers.daemon(tree, ["watch"], (*limit, *watch), directory / "scratch", receiver_cpus) as receiver:
            proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
            proc.reset_peak(receiver.pid)
            with builds.on_processors(sender_cpus):
                seconds = send(crowd, receiver.port, options.rate)
            proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
            _, peak = proc.memory(receiver.pid)
            totals = receiver.stop()
        real: dict[str, dict[str, int]] = json.loads(watched.read_text())
    notes = totals.notes
    print(
        f"{options.forged} forged senders and {crowd.messages} messages of {REAL} real ones in {seconds:.0f} seconds; "
        f"the table holds {options.max_sources} senders"
    )
    return verdict(
        [
            Check(
                "datagrams dropped by the kernel or a full queue",
                sum_of(notes, "dropped_by_kernel", "dropped_queue_full"),
                0,
            ),
            Check("messages of real senders that did not arrive", crowd.messages - _sum(real, "messages"), 0),
            Check("incomplete messages of real senders", _sum(real, "incomplete"), 0),
            Check("messages of real senders counted as missing", _sum(real, "missing"), 0),
            Check("resets of real senders after the first message", _sum(real, "resets") - REAL, 0),
            Check("peak of the daemon's memory, in MB", peak / 1e6, MEMORY_LIMIT / 1e6),
            Check("senders in the table beyond the limit", beyond(totals, options.max_sources), 0),
        ]
    )


def send(crowd: Crowd, port: int, rate: int, clock: Callable[[], float] = time.monotonic) -> float:
    """Send the crowd to this port of 127.0.0.1 at ``rate`` datagrams per second; return the seconds."""
    with closing(open_source_addresses(Target("127.0.0.1", port), None, LOOPBACK_BITS)) as addresses:
        start = clock()
        sent = 0
        for senders, datagrams in crowd.batches():
            while sent > (clock() - start) * rate:
                time.sleep(0.0005)
            sent += len(datagrams)
            send_batch(addresses, senders, datagrams)
        return clock() - start


def send_batch(addresses: SourceAddresses, senders: list[int], datagrams: list[bytes]) -> None:
    """Send a whole batch."""
    packets, sources = addresses.packets(senders, datagrams)
    done = 0
    while done < len(packets):
        done = addresses.sender.send(packets, sources, done)


def _sum(real: dict[str, dict[str, int]], name: str) -> int:
    return sum(counters.get(name, 0) for counters in real.values())


def sum_of(notes: dict[str, int], *names: str) -> int:
    """The sum of these counters."""
    return sum(notes.get(name, 0) for name in names)


def beyond(totals: Totals, limit: int) -> int:
    """Number of senders in the table at the end beyond ``limit``."""
    in_table = totals.senders - sum_of(totals.notes, "senders_evicted", "senders_expired")
    return max(0, in_table - limit)
