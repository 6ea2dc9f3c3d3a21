"""Snapshots and the parts that they are taken of, for the tests of counters."""

from __future__ import annotations

from netconsd.monitor.snapshot import WORKER_ROWS, ListenerSnapshot, ModuleSnapshot, Snapshot, WorkerSnapshot
from netconsd.protocol.counters import LISTENER_COUNTERS, ListenerCounters
from netconsd.receive.histogram import Histogram

#: Counters that are all different, and counters that are all 0.
LISTENER = {row.name: 100 + number for number, row in enumerate(LISTENER_COUNTERS)}
WORKER = {row.name: 200 + number for number, row in enumerate(WORKER_ROWS)}
IDLE_LISTENER = dict.fromkeys(LISTENER, 0)
IDLE_WORKER = dict.fromkeys(WORKER, 0)


class FakeReader:
    """Stands for a :class:`~netconsd.receive.reader.BatchReader`: its counters."""

    def __init__(self) -> None:
        self.counters = ListenerCounters()
        self.sizes = Histogram((1.0,))
        self.buffer_used = self.buffer_size = 0
        self.failing = False
        self.problem = ""
        self.looks = 0

    def look(self) -> None:
        self.looks += 1


def histogram(*values: float) -> Histogram:
    """A histogram with these observations."""
    observations = Histogram((1.0, 10.0))
    for value in values:
        observations.observe(value)
    return observations


def full_snapshot() -> Snapshot:
    """A snapshot of two listeners, two workers and two modules, whose numbers are all different."""
    return Snapshot(
        (
            ListenerSnapshot(0, dict(LISTENER), histogram(1, 5, 50), 11, 12),
            ListenerSnapshot(1, dict(LISTENER), histogram(), 0, 0),
        ),
        (
            WorkerSnapshot(0, True, dict(WORKER), 13, 14, histogram(0.5)),
            WorkerSnapshot(1, False, dict(WORKER), 0, 0, histogram()),
        ),
        (ModuleSnapshot("a", 0, False, 15, 16, 17, 1.5, 2.5), ModuleSnapshot('b"\n\\', 1, False, 0, 0, 0, 0.0, 0.0)),
    )
