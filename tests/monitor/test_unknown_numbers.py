"""An unknown number is never reported as 0: it is named as unknown in the log, and left out of the metrics."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from netconsd.monitor.log import totals
from netconsd.monitor.snapshot import ListenerSnapshot, ModuleSnapshot, Snapshot
from netconsd.receive.lanes import Workers
from netconsd.receive.reader import FINAL_READS, BatchReader
from netconsd.settings import Settings
from tests.support.loopback import send
from tests.support.scripted_lane import Delivered
from tests.support.snapshots import LISTENER, full_snapshot, histogram

MODULE = ModuleSnapshot("disk", 0, False, 15, 0, 17, 1.5, 0.0)


@pytest.fixture
def no_meminfo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without SO_MEMINFO."""

    def fail(bound: socket.socket) -> None:
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr("netconsd.receive.reader.meminfo", fail)


@pytest.fixture
def reader() -> Iterator[BatchReader]:
    """A reader of a real socket, in the test's thread."""
    reactor: Any = Clock()
    reactor.removeReader = lambda reader: None
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.bind(("127.0.0.1", 0))
    workers = Workers(Delivered(), Settings(workers=1), reactor=reactor)
    opened = BatchReader(bound, workers, batch=4, pause=0.0, reactor=reactor)
    yield opened
    opened.stopListening()


@pytest.mark.usefixtures("no_meminfo")
def test_drops_that_the_system_does_not_tell(reader: BatchReader) -> None:
    """Without SO_MEMINFO the drops by the kernel are unknown, which is logged once, and datagrams are read."""
    slots = reader._receiver.slots
    send(reader.getHost().port, *[b"x"] * (slots + 1))
    with capturedLogs() as events:
        reader.look()
        assert reader.read(0.0) == slots
        reader.drain()
    assert reader.counters.datagrams == slots + 1
    assert (reader.counters.dropped_by_kernel, reader.buffer_used, reader.buffer_size) == (None, None, None)
    (line,) = map(formatEvent, events)
    assert line.endswith("(SO_MEMINFO: Protocol not available); dropped_by_kernel is unknown")


@pytest.mark.usefixtures("no_meminfo")
def test_a_flood_without_the_figures_of_the_kernel(reader: BatchReader) -> None:
    """Without the use of the buffer, a socket that is never empty counts as read after FINAL_READS reads."""
    reader._note_read(reader._receiver.slots, 1.0)
    with capturedLogs():
        for _ in range(FINAL_READS):
            assert reader.complete == float("-inf")
            reader._note_read(reader._receiver.slots, 2.0)
    assert reader.complete > 0


def test_unknown_drops_in_the_totals() -> None:
    """The listener's line and a line of its own say that the number is unknown."""
    counters = LISTENER | {"dropped_by_kernel": None}
    snapshot = Snapshot(listeners=(ListenerSnapshot(0, counters, histogram(), None, None),))
    lines = list(totals(snapshot))
    assert "dropped_by_kernel unknown" in lines[0]
    assert "An unknown number of datagrams was dropped by the kernel (dropped_by_kernel)" in lines
    assert snapshot.total("dropped_by_kernel") == 0


def test_unknown_losses_of_a_module_in_the_totals() -> None:
    """If a module's own count raises for one worker, the sum is unknown; the known part is reported as well."""
    snapshot = Snapshot(modules=(replace(MODULE, lost=3), replace(MODULE, worker=1, lost=None)))
    lines = list(totals(snapshot))
    assert lines[0].endswith("; lost unknown")
    assert "3 messages that modules could not write or send (lost_by_modules)" in lines
    assert "An unknown number of messages was lost by module disk, whose count failed (lost_by_modules)" in lines


def test_unknown_numbers_are_not_metrics() -> None:
    """A listener's or module's unknown number has no sample, the others have theirs."""
    prometheus = pytest.importorskip("netconsd.monitor.prometheus")
    full = full_snapshot()
    first, second = full.listeners
    unknown = replace(first, counters=LISTENER | {"dropped_by_kernel": None}, buffer_used=None, buffer_size=None)
    snapshot = replace(full, listeners=(unknown, second), modules=(replace(MODULE, lost=None),))
    collector = prometheus.SnapshotCollector(lambda: snapshot, Settings())
    samples = [sample for metric in collector.collect() for sample in metric.samples]
    listeners = {
        sample.name: sample.labels["listener"]
        for sample in samples
        if sample.name in ("netconsd_dropped_by_kernel_datagrams_total", "netconsd_receive_buffer_used_bytes")
    }
    assert set(listeners.values()) == {"1"}
    assert len(listeners) == 2
    assert not [sample for sample in samples if sample.name == "netconsd_module_lost_messages_total"]
    assert asdict(unknown)["buffer_used"] is None
