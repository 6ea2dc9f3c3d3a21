"""The accounts as metrics for Prometheus. Needs the package prometheus_client (``netconsd[metrics]``).

Labels are the numbers of listeners and workers, and the names of modules: nothing that arrives from the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import accumulate

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
from netconsd.monitor.snapshot import Snapshot
from netconsd.receive.histogram import Histogram
from netconsd.settings import Settings

__all__ = ["LISTENER", "WORKER", "SnapshotCollector", "registry"]

#: The counters of a listener (docs/counters): the metric of each, without ``_total``, and what it says.
LISTENER = {
    "datagrams": ("netconsd_received_datagrams", "Datagrams received."),
    "octets": ("netconsd_received_bytes", "Bytes in the datagrams received."),
    "dropped_by_kernel": (
        "netconsd_dropped_by_kernel_datagrams",
        "Datagrams dropped: the receive buffer was full, or a checksum wrong.",
    ),
    "truncated": ("netconsd_truncated_datagrams", "Datagrams that may have been cut off."),
    "dropped_bad_address": (
        "netconsd_dropped_bad_address_datagrams",
        "Datagrams from an address that cannot be read; dropped.",
    ),
    "dropped_not_allowed": (
        "netconsd_dropped_not_allowed_datagrams",
        "Datagrams from an address that is not allowed; dropped.",
    ),
    "dropped_read_error": ("netconsd_dropped_read_error_datagrams", "Datagrams dropped because reading failed."),
    "dropped_bytes": ("netconsd_dropped_bytes", "Bytes in the datagrams refused, denied or discarded."),
    "read_errors": ("netconsd_read_errors", "Times that reading the socket failed."),
}
#: The same for those of a worker.
WORKER = {
    "queued": ("netconsd_queued_datagrams", "Datagrams put into the queue of a worker."),
    "dropped_queue_full": ("netconsd_dropped_queue_full_datagrams", "Datagrams that found the queue full; dropped."),
    "dropped_queue_full_bytes": (
        "netconsd_dropped_queue_full_bytes",
        "Bytes in the datagrams that found the queue full.",
    ),
    "datagrams": ("netconsd_worker_datagrams", "Datagrams that a worker took from its queue."),
    "octets": ("netconsd_worker_bytes", "Bytes in the datagrams that a worker took from its queue."),
    "dropped_error": ("netconsd_dropped_error_datagrams", "Datagrams that were not looked at because of an exception."),
    "dropped_error_bytes": ("netconsd_dropped_error_bytes", "Bytes in the datagrams that were not looked at."),
    "whole": ("netconsd_whole_datagrams", "Datagrams that were an extended message in one piece."),
    "fragments": ("netconsd_fragment_datagrams", "Datagrams that were a part of an extended message."),
    "legacy": ("netconsd_legacy_datagrams", "Datagrams of legacy text."),
    "dropped_duplicate": ("netconsd_dropped_duplicate_datagrams", "Datagrams that were there already; dropped."),
    "dropped_empty": ("netconsd_dropped_empty_datagrams", "Datagrams without a byte; dropped."),
    "dropped_over_rate": (
        "netconsd_dropped_over_rate_datagrams",
        "Datagrams beyond the rate that a sender may have; dropped.",
    ),
    "messages": ("netconsd_messages", "Messages handed to the modules."),
    "lines": ("netconsd_legacy_lines", "Messages that were a line of legacy text."),
    "reassembled": ("netconsd_reassembled_messages", "Messages put together from fragments."),
    "incomplete": ("netconsd_incomplete_messages", "Messages with holes, because fragments did not come in time."),
    "dropped_superseded": (
        "netconsd_dropped_superseded_messages",
        "Messages in parts that came complete by another way.",
    ),
    "malformed": ("netconsd_malformed_headers", "Extended headers that contradict themselves; read as text."),
    "late": ("netconsd_late_messages", "Messages that came after their place had been given up."),
    "resets": ("netconsd_sender_resets", "Messages with which a sender's counting started anew."),
    "replayed": ("netconsd_replayed_messages", "Messages that the sender marked as sent before."),
    "missing": ("netconsd_missing_messages", "Sequence numbers not seen: suppressed by the sender, or lost."),
    "lost": ("netconsd_lost_messages", "Messages lost between sender and netconsd, by msgid."),
    "released_early": (
        "netconsd_released_early_messages",
        "Times that a bound on what waits, and not time, ended the wait.",
    ),
    "senders_new": ("netconsd_senders_new", "Senders that were new, or had been forgotten."),
    "senders_expired": ("netconsd_senders_expired", "Senders forgotten after a silence."),
    "senders_evicted": ("netconsd_senders_evicted", "Senders forgotten because there were too many."),
    "acks_sent": ("netconsd_acks_sent", "Acknowledgements sent."),
    "acks_failed": ("netconsd_acks_failed", "Acknowledgements that the system refused to send."),
    "acks_dropped": ("netconsd_acks_dropped", "Acknowledgements not given because too many were due."),
}


class SnapshotCollector(Collector):
    """Makes the metrics of one snapshot each time that it is asked."""

    def __init__(self, snapshot: Callable[[], Snapshot], settings: Settings) -> None:
        self._snapshot = snapshot
        self._settings = settings

    def describe(self) -> list[Metric]:
        """Nothing: a snapshot is not worth taking to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics; in the reactor's thread."""
        accounts = self._snapshot()
        yield InfoMetricFamily(
            "netconsd_build", "Which netconsd this is.", {"version": netconsd.__version__, "kind": KIND}
        )
        yield from _listeners(accounts)
        yield from _workers(accounts)
        yield from _modules(accounts)
        yield _gauge("netconsd_queue_places_limit", "Places in the queue of each worker.", self._settings.queue)
        yield _gauge(
            "netconsd_senders_limit", "Senders that each worker remembers at most.", self._settings.sources_share
        )


class Process(ProcessCollector):
    """What Linux says of the process, where /proc has nothing but processes, too: ``ProcSubset=pid`` of systemd."""

    def _boot_time(self) -> float:
        try:
            return float(super()._boot_time())  # type: ignore[no-untyped-call]
        except OSError:
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def registry(snapshot: Callable[[], Snapshot], settings: Settings) -> CollectorRegistry:
    """What to render: the accounts, and what Linux says of the process."""
    made = CollectorRegistry()
    made.register(SnapshotCollector(snapshot, settings))
    Process(registry=made)
    return made


def _listeners(accounts: Snapshot) -> Iterator[Metric]:
    for counter, (name, text) in LISTENER.items():
        family = CounterMetricFamily(name, text, labels=["listener"])
        for listener in accounts.listeners:
            family.add_metric([str(listener.number)], listener.counters[counter])
        yield family
    failing = GaugeMetricFamily("netconsd_listener_failing", "1 if the last read failed.", labels=["listener"])
    used = GaugeMetricFamily(
        "netconsd_receive_buffer_used_bytes",
        "What waits in the receive buffer, as the kernel counts.",
        labels=["listener"],
    )
    size = GaugeMetricFamily(
        "netconsd_receive_buffer_size_bytes", "Size of the receive buffer, as the kernel counts.", labels=["listener"]
    )
    reads = HistogramMetricFamily("netconsd_batch_datagrams", "Datagrams found by one read.", labels=["listener"])
    for listener in accounts.listeners:
        label = [str(listener.number)]
        failing.add_metric(label, listener.failing)
        used.add_metric(label, listener.buffer_used)
        size.add_metric(label, listener.buffer_size)
        _add_histogram(reads, label, listener.sizes)
    yield from (failing, used, size, reads)


def _workers(accounts: Snapshot) -> Iterator[Metric]:
    for counter, (name, text) in WORKER.items():
        family = CounterMetricFamily(name, text, labels=["worker"])
        for worker in accounts.workers:
            family.add_metric([str(worker.number)], worker.counters[counter])
        yield family
    alive = GaugeMetricFamily("netconsd_worker_alive", "1 if the worker's thread is there.", labels=["worker"])
    queue = GaugeMetricFamily("netconsd_queue_datagrams", "Datagrams waiting in the queue.", labels=["worker"])
    places = GaugeMetricFamily(
        "netconsd_queue_places",
        "Places of the queue that are taken; a datagram has one for each KiB.",
        labels=["worker"],
    )
    held = GaugeMetricFamily("netconsd_held_messages", "Messages waiting for what comes before.", labels=["worker"])
    senders = GaugeMetricFamily("netconsd_senders", "Senders that are remembered.", labels=["worker"])
    delays = HistogramMetricFamily(
        "netconsd_delivery_delay_seconds",
        "From the receipt of a datagram to the call of the modules, waiting for order included.",
        labels=["worker"],
    )
    for worker in accounts.workers:
        label = [str(worker.number)]
        alive.add_metric(label, worker.alive)
        queue.add_metric(label, worker.queued)
        places.add_metric(label, worker.places)
        held.add_metric(label, worker.held)
        senders.add_metric(label, worker.senders)
        _add_histogram(delays, label, worker.delays)
    yield from (alive, queue, places, held, senders, delays)


def _modules(accounts: Snapshot) -> Iterator[Metric]:
    labels = ["module", "worker"]
    messages = CounterMetricFamily("netconsd_module_messages", "Messages handed to the module.", labels=labels)
    batches = CounterMetricFamily("netconsd_module_batches", "Batches handed to the module.", labels=labels)
    errors = CounterMetricFamily("netconsd_module_errors", "Calls that raised an exception.", labels=labels)
    lost = CounterMetricFamily(
        "netconsd_module_lost_messages", "Messages that the module could not put where they belong.", labels=labels
    )
    seconds = CounterMetricFamily(
        "netconsd_module_seconds", "Time that the module took for its batches.", labels=labels
    )
    busy = GaugeMetricFamily(
        "netconsd_module_call_seconds",
        "How long the module has had its present batch; 0 if it has none.",
        labels=labels,
    )
    for module in accounts.modules:
        label = [module.name, str(module.worker)]
        messages.add_metric(label, module.messages)
        batches.add_metric(label, module.batches)
        errors.add_metric(label, module.errors)
        lost.add_metric(label, module.lost)
        seconds.add_metric(label, module.seconds)
        busy.add_metric(label, module.busy_seconds)
    yield from (messages, batches, errors, lost, seconds, busy)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _add_histogram(family: HistogramMetricFamily, label: list[str], histogram: Histogram) -> None:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    family.add_metric(label, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.sum)
