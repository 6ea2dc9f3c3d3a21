"""The counters as metrics for Prometheus. Needs the package prometheus_client (``netconsd[metrics]``).

Labels are the numbers of listeners and workers, and the names of modules; nothing from the network becomes a label, so
no sender can make the page grow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

import netconsd
from netconsd.build import KIND
from netconsd.monitor.crashes import CrashSnapshot
from netconsd.monitor.snapshot import MODULE_COUNTERS, WORKER_ROWS, OwnSnapshot, Snapshot
from netconsd.protocol.counters import LISTENER_COUNTERS, RECEIVER_COUNTERS, Counter
from netconsd.receive.histogram import Histogram
from netconsd.settings import Settings
from netconsd.streams.copies import Summary


class _Shown(NamedTuple):
    """A metric that is no counter: the attribute of a part of the snapshot, its metric, and its help."""

    attribute: str
    metric: str
    help: str


# The gauges of listeners, workers and modules, by label.
_GAUGES = {
    "listener": (
        _Shown("failing", "netconsd_listener_failing", "1 if the last read failed, or the socket cannot receive."),
        _Shown(
            "buffer_used", "netconsd_receive_buffer_used_bytes", "Bytes in the receive buffer, as the kernel counts."
        ),
        _Shown(
            "buffer_size", "netconsd_receive_buffer_size_bytes", "Size of the receive buffer, as the kernel counts."
        ),
    ),
    "worker": (
        _Shown("alive", "netconsd_worker_alive", "1 if the worker's thread runs."),
        _Shown("queued", "netconsd_queue_datagrams", "Datagrams in the queue, those of the current batch included."),
        _Shown("places", "netconsd_queue_places", "Places of the queue in use; a datagram uses one per KiB."),
        _Shown("held", "netconsd_held_messages", "Messages held until the records before them arrive."),
        _Shown("senders", "netconsd_senders", "Senders in the table."),
        _Shown("open_reports", "netconsd_open_crash_reports", "Senders with a crash report that is not finished."),
    ),
    "module": (
        _Shown("busy_seconds", "netconsd_module_call_seconds", "Seconds spent in the current batch; 0 when idle."),
        _Shown("waiting", "netconsd_module_waiting_messages", "Messages in the queue of the module, and in hand."),
        _Shown(
            "silent_seconds",
            "netconsd_module_silent_seconds",
            "Seconds for which the module has had messages and made no progress.",
        ),
    ),
}
# The histograms of listeners and workers, by label.
_HISTOGRAMS = {
    "listener": (
        _Shown("sizes", "netconsd_batch_datagrams", "Datagrams per read: near 1 at rest, hundreds under load."),
    ),
    "worker": (
        _Shown(
            "delays",
            "netconsd_delivery_delay_seconds",
            "Seconds from the receipt of a datagram to the call of the modules.",
        ),
    ),
    "module": (),
}
# A part of the snapshot, with the values of its labels.
Labelled = tuple[list[str], Any]


class SnapshotCollector(Collector):
    """Takes a snapshot for each page, and yields its metrics."""

    def __init__(self, snapshot: Callable[[], Snapshot], settings: Settings) -> None:
        self._snapshot = snapshot
        self._settings = settings

    def describe(self) -> list[Metric]:
        """Nothing, so that a registration takes no snapshot."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics; in any thread."""
        snapshot = self._snapshot()
        taken = set()
        for family in self._families(snapshot):
            taken.add(family.name)
            yield family
        yield from _own(snapshot.own, taken)

    def _families(self, snapshot: Snapshot) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "netconsd_build",
            "1, with the version and the kind of the build as labels.",
            {"version": netconsd.__version__, "kind": KIND},
        )
        listeners = [([str(listener.number)], listener) for listener in snapshot.listeners]
        yield from _counters(LISTENER_COUNTERS, ["listener"], listeners, _by_name)
        yield from _others("listener", ["listener"], listeners)
        workers = [([str(worker.number)], worker) for worker in snapshot.workers]
        yield from _counters(WORKER_ROWS, ["worker"], workers, _by_name)
        yield from _others("worker", ["worker"], workers)
        modules = [([module.name, str(module.worker)], module) for module in snapshot.modules]
        yield from _counters(MODULE_COUNTERS, ["module", "worker"], modules, getattr)
        yield from _others("module", ["module", "worker"], modules)
        yield from _crashes(snapshot.crashes)
        if snapshot.copies is not None:
            yield from _copies(snapshot.copies)
        yield GaugeMetricFamily(
            "netconsd_queue_places_limit",
            "Places in the queue of each worker, and of each of several modules (--queue).",
            self._settings.queue,
        )
        yield GaugeMetricFamily(
            "netconsd_senders_limit",
            "Bound on the senders of each worker (--max-sources).",
            self._settings.sources_share,
        )


class Process(ProcessCollector):
    """The process's metrics; also if /proc contains only processes (``ProcSubset=pid`` of systemd)."""

    def _boot_time(self) -> float:
        try:
            return float(super()._boot_time())  # type: ignore[no-untyped-call]
        except OSError:
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def registry(snapshot: Callable[[], Snapshot], settings: Settings) -> CollectorRegistry:
    """A registry of the counters' metrics and the process's metrics."""
    collectors = CollectorRegistry()
    collectors.register(SnapshotCollector(snapshot, settings))
    Process(registry=collectors)
    return collectors


def _crashes(crashes: CrashSnapshot) -> Iterator[Metric]:
    """The metrics of crash reports and events; their labels are closed sets of words."""
    reports = CounterMetricFamily(
        "netconsd_crash_reports", "Crash reports by kind and severity.", labels=["kind", "severity"]
    )
    for (kind, severity), count in sorted(crashes.reports.items()):
        reports.add_metric([kind, severity], count)
    yield reports
    yield CounterMetricFamily(
        "netconsd_fatal_crash_reports", "Crash reports with which a machine went down.", crashes.fatal
    )
    yield CounterMetricFamily(
        "netconsd_new_crash_titles",
        "Whole crash reports whose title was not seen before, since netconsd started.",
        crashes.new_titles,
    )
    events = CounterMetricFamily("netconsd_events", "Events of machines by kind.", labels=["kind"])
    for event, count in sorted(crashes.events.items()):
        events.add_metric([event], count)
    yield events


def _copies(copies: Summary) -> Iterator[Metric]:
    """The metrics of the receivers whose messages are merged; ids and names are those of the broker's blocks."""
    receivers = [([heard.receiver.hex(), copies.names.get(heard.receiver, "")], heard) for heard in copies.receivers]
    yield from _counters(RECEIVER_COUNTERS, ["receiver", "name"], receivers, getattr)
    received = GaugeMetricFamily(
        "netconsd_receiver_last_message_timestamp_seconds",
        "Receipt of the last message by the receiver's clock, in Unix seconds.",
        labels=["receiver", "name"],
    )
    for labels, heard in receivers:
        received.add_metric(labels, heard.received_at)
    yield received
    yield GaugeMetricFamily(
        "netconsd_merge_held_messages", "Messages that wait for another receiver to fill a gap.", copies.held
    )
    yield GaugeMetricFamily("netconsd_merge_hosts", "Hosts whose last messages are remembered.", copies.hosts)
    yield GaugeMetricFamily("netconsd_merge_bytes", "Bytes of memory for these hosts.", copies.cost)
    yield CounterMetricFamily(
        "netconsd_merge_forgotten_hosts",
        "Hosts forgotten because the memory for them was full: their second copies are not recognised.",
        copies.forgotten,
    )


def _own(modules: Sequence[OwnSnapshot], taken: set[str]) -> Iterator[Metric]:
    """The metrics of modules' own. A name that netconsd itself has, or another module as another type, is left out."""
    if not modules:
        return
    faults = GaugeMetricFamily(
        "netconsd_module_faults", "Reasons for which the module does not work, by its own account.", labels=["module"]
    )
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for module in modules:
        faults.add_metric([module.name], len(module.faults))
        for metric in module.metrics:
            kind = CounterMetricFamily if metric.counter else GaugeMetricFamily
            family = families.setdefault(metric.name, kind(f"netconsd_{metric.name}", metric.help, labels=["module"]))
            if metric.value is not None and type(family) is kind and family.name not in taken:
                family.add_metric([module.name], metric.value)
    yield faults
    yield from (family for family in families.values() if family.name not in taken and family.name != faults.name)


def _by_name(part: Any, name: str) -> int | None:
    count: int | None = part.counters[name]
    return count


def _counters(
    rows: Sequence[Counter], labels: list[str], parts: Sequence[Labelled], value: Callable[[Any, str], float | None]
) -> Iterator[Metric]:
    """The metrics of counters; an unknown value is left out, because 0 would be wrong."""
    for row in rows:
        family = CounterMetricFamily(f"netconsd_{row.metric}", row.help, labels=labels)
        for label, part in parts:
            count = value(part, row.name)
            # An unknown number is left out.
            if count is not None:
                family.add_metric(label, count)
        yield family


def _others(kind: str, labels: list[str], parts: Sequence[Labelled]) -> Iterator[Metric]:
    for attribute, name, text in _GAUGES[kind]:
        gauge = GaugeMetricFamily(name, text, labels=labels)
        for label, part in parts:
            size = getattr(part, attribute)
            if size is not None:
                gauge.add_metric(label, size)
        yield gauge
    for attribute, name, text in _HISTOGRAMS[kind]:
        family = HistogramMetricFamily(name, text, labels=labels)
        for label, part in parts:
            histogram: Histogram = getattr(part, attribute)
            bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
            family.add_metric(label, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.sum)
        yield family
