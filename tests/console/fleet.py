"""A store of real kernels' recordings, as if a fleet had sent them in the last day, and what sends one more crash."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modules.store import Store
from netconsd.crash.report import Report
from netconsd.crash.watch import watches
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import MAPPED_IPV4, Message
from netconsd.protocol.table import SourceTable
from tests.support.captures import DIRECTORY
from tests.support.processes import Daemon

#: Recordings, the last byte of the machine's address (192.0.2.N), its name, and how many hours ago it began.
FLEET: Final = (
    ("amd64-6.12-userdata", 11, "web01", 22.0),
    ("amd64-6.12-soft-lockup", 11, "web01", 19.0),
    ("amd64-7.3-kfence-uaf", 11, "web01", 3.0),
    ("boots/amd64-6.12-crash-loop", 12, "web02", 20.0),
    ("amd64-7.3-userdata", 12, "web02", 2.0),
    ("amd64-7.3-hung-task", 13, "db01", 15.0),
    ("amd64-7.3-null-read-panic-panic0", 13, "db01", 1.2),
    ("amd64-6.1-oom-real", 14, "db02", 10.0),
    ("amd64-6.1-list-del", 14, "db02", 6.0),
    ("arm64-6.12-kfence-uaf", 21, "edge01", 9.0),
    ("arm64-6.12-null-read-panic", 22, "edge02", 8.0),
    ("amd64-7.3-null-read-panic-panic0", 23, "build01", 4.0),
    ("amd64-7.3-warn", 23, "build01", 0.7),
    ("riscv64-7.2-hung-task", 31, "board01", 12.0),
    ("s390x-7.2-list-add", 41, "mainframe", 5.0),
    ("amd64-7.3-reboot", 24, "build02", 0.4),
    ("amd64-7.3-soft-lockup", 13, "db01", 0.25),
)
#: A recording whose crash a test sends while it looks at the page.
CRASH: Final = "amd64-7.3-null-read-panic-panic0"
TITLE: Final = "BUG: unable to handle kernel NULL pointer dereference in crashme_null_read"


def datagrams(name: str) -> list[tuple[float, bytes]]:
    """Return the seconds and the bytes of a recording's datagrams."""
    records = [json.loads(line) for line in (DIRECTORY / f"{name}.jsonl").read_text().splitlines()]
    return [(record["t"], record["data"].encode("latin-1")) for record in records]


def _named(datagram: bytes, name: str) -> bytes:
    """Add the name of the machine to the userdata of the recordings, which is before what the kernel adds."""
    return datagram.replace(b"\n role=web\n", f"\n role=web\n host={name}\n".encode(), 1)


def fill(directory: Path, now: float, fleet: Sequence[tuple[str, int, str, float]] = FLEET) -> list[Report]:
    """Fill a store as a daemon would have, whose clock is the recordings', and return its crash reports.

    The recordings are shifted in time; within one, the times are its own.
    """
    store = Store(directory=directory)
    store.start(1)
    reports: list[Report] = []
    try:
        table = SourceTable(WorkerCounters(), limit=100, reorder_time=0.2, gc_interval=0.0, age=0.0)
        watch = watches(True, True, lambda: None)()
        arrivals = sorted(
            (now - 3600 * hours + at, MAPPED_IPV4 + bytes([192, 0, 2, last]), _named(datagram, name))
            for capture, last, name, hours in fleet
            for at, datagram in datagrams(capture)
        )

        def deliver(messages: list[Message], clock: float) -> None:
            # As in a lane: the messages, then what was found in them.
            found = watch.look(messages, clock) + watch.advance(clock, clock, lambda _: ())
            if messages:
                store.handle_batch(0, messages)
            for one in found:
                if isinstance(one, Report):
                    reports.append(one)
                    store.handle_report(0, one)
                else:
                    store.handle_event(0, one)

        clock = arrivals[0][0]
        for at, address, datagram in arrivals:
            if at - clock > 1.0:
                deliver(table.advance(clock + 1.0), clock + 1.0)
                deliver([], min(at, clock + 10.0))
            clock = at
            deliver(table.feed([address + (6666).to_bytes(2, "big")], [datagram], at, at), at)
        deliver(table.flush(), clock)
        deliver([], clock + 10.0)
    finally:
        store.finish()
    return reports


def send(port: int, name: str = CRASH, address: str = "127.0.0.7") -> int:
    """Send a recording to a daemon from one address, at once, and return the number of datagrams."""
    sent = datagrams(name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((address, 0))
        for _, datagram in sent:
            sender.sendto(datagram, ("127.0.0.1", port))
    return len(sent)


@contextmanager
def receiving(directory: Path, now: float) -> Iterator[tuple[Daemon, str]]:
    """Yield a daemon with a filled store and the console, and the address of its pages."""
    data = directory / "data"
    reports = fill(data, now)
    assert len({report.title for report in reports}) >= 8, "the recordings have as many"
    settings = (f"store.directory={data}", f"console.directory={data}", "console.listen=127.0.0.1:0")
    options = [part for setting in settings for part in ("--set", setting)]
    with Daemon(directory, "--modules", "store", "--modules", "console", *options) as daemon:
        url = next(line.partition("console: ")[2] for line in daemon.seen if "console: http" in line)
        yield daemon, url.strip().rstrip("/")
    assert daemon.process.stdout is not None
    daemon.process.stdout.close()
