"""A flood of forged senders: do the real ones lose anything, and how much memory does it take?"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import builds, proc, receivers
from benchmarks.crowd import REAL, REAL_PREFIX, Crowd
from benchmarks.measure import DRAIN_SECONDS, processors
from benchmarks.receivers import Totals
from benchmarks.verdict import Check, told
from netconsd.send.source_addresses import LOOPBACK_BITS, Origin, Target, origin_for

FORGED = 1_000_000
MAX_SOURCES = 100_000
# Datagrams per second: what a worker of the daemon has time for on half of a small machine, and the sender, too. What
# is above that is lost in the socket, the real senders' part as well: no table can help there.
RATE = 50_000
MEMORY_LIMIT = 200_000_000
SEND_SECONDS = 600.0


def main(arguments: list[str]) -> int:
    """Flood a daemon, and say what came of it; 0 if all is as it is to be."""
    made = argparse.ArgumentParser(prog="python -m benchmarks flood", description=__doc__)
    made.add_argument("--forged", type=int, default=FORGED, help="datagrams, each from another address [%(default)s]")
    made.add_argument("--max-sources", type=int, default=MAX_SOURCES, help="the daemon's option [%(default)s]")
    made.add_argument("--rate", type=int, default=RATE, help="datagrams per second [%(default)s]")
    made.add_argument("--build", choices=("compiled", "plain"), default="compiled", help="of netconsd [%(default)s]")
    options = made.parse_args(arguments)
    crowd = Crowd(options.forged)
    sender_cpus, receiver_cpus = processors(True)
    with tempfile.TemporaryDirectory(prefix="netconsd-flood-") as name:
        directory = Path(name)
        tree = builds.checkout(options.build, directory / "tree")
        account = directory / "account"
        watch = ("--set", f"watch.path={account}", "--set", f"watch.prefix={REAL_PREFIX}")
        limit = ("--max-sources", str(options.max_sources))
        (directory / "scratch").mkdir()
        with receivers.daemon(tree, "watch", (*limit, *watch), directory / "scratch", receiver_cpus) as receiver:
            proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
            proc.forget_peak(receiver.pid)
            with builds.on_processors(sender_cpus):
                seconds = send(crowd, receiver.port, options.rate)
            proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
            _, peak = proc.memory(receiver.pid)
            totals = receiver.stop()
        real: dict[str, dict[str, int]] = json.loads(account.read_text())
    notes = totals.notes
    print(
        f"{options.forged} forged senders and {crowd.messages} messages of {REAL} real ones in {seconds:.0f} seconds; "
        f"{options.max_sources} are remembered"
    )
    return told(
        [
            Check(
                "datagrams dropped by the kernel, or shed by a queue",
                both(notes, "dropped_by_kernel", "dropped_queue_full"),
                0,
            ),
            Check("messages of real senders that did not arrive", crowd.messages - _sum(real, "messages"), 0),
            Check("of those that did, with a part missing", _sum(real, "incomplete"), 0),
            Check("numbers that seemed to be missing", _sum(real, "missing"), 0),
            Check("real senders that were forgotten in between", _sum(real, "resets") - REAL, 0),
            Check("memory of the daemon at most, in MB", peak / 1e6, MEMORY_LIMIT / 1e6),
            Check("senders remembered beyond the limit", beyond(totals, options.max_sources), 0),
        ]
    )


def send(crowd: Crowd, port: int, rate: int, clock: Callable[[], float] = time.monotonic) -> float:
    """Send all of it to that port of this machine, at so many datagrams per second; return the seconds."""
    origin = origin_for(Target("127.0.0.1", port), None, LOOPBACK_BITS)
    try:
        started = clock()
        sent = 0
        for senders, datagrams in crowd.batches():
            while sent > (clock() - started) * rate:
                time.sleep(0.0005)
            sent += len(datagrams)
            send_batch(origin, senders, datagrams)
        return clock() - started
    finally:
        origin.close()


def send_batch(origin: Origin, senders: list[int], datagrams: list[bytes]) -> None:
    """Send a batch, whole."""
    packets, sources = origin.address(senders, datagrams)
    done = 0
    while done < len(packets):
        done = origin.sender.send(packets, sources, done)


def _sum(real: dict[str, dict[str, int]], name: str) -> int:
    return sum(account.get(name, 0) for account in real.values())


def both(notes: dict[str, int], *names: str) -> int:
    """The sum of these counters."""
    return sum(notes.get(name, 0) for name in names)


def beyond(totals: Totals, limit: int) -> int:
    """How many senders more than that were remembered at the end."""
    remembered = totals.senders - both(totals.notes, "senders_evicted", "senders_expired")
    return max(0, remembered - limit)
