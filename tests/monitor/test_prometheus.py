"""The metrics: every counter under a well-formed name, and no label from the network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from netconsd.monitor.prometheus import Process, registry
from netconsd.monitor.snapshot import MODULE_COUNTERS, WORKER_ROWS, Snapshot, WorkerSnapshot
from netconsd.protocol.counters import LISTENER_COUNTERS
from netconsd.settings import Settings
from tests.support.snapshots import WORKER, full_snapshot, histogram

# Prometheus' rules for names and their last words (prometheus.io/docs/practices/naming).
NAME = re.compile(r"netconsd(_[a-z]+)+")
BASE_UNITS = {"seconds", "bytes"}
NO_UNITS = {"milliseconds", "ms", "kilobytes", "octets", "usec", "minutes", "percent"}


def text(snapshot: Snapshot, render: Callable[..., bytes] = generate_latest) -> str:
    """The page."""
    return render(registry(lambda: snapshot, Settings())).decode()


def samples(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All values by name and labels, each once."""
    values: dict[Any, float] = {}
    for family in parse(page):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in values
            values[key] = sample.value
    return values


def test_every_counter_has_its_value() -> None:
    """Each counter of each listener, worker and module is on the page with its number."""
    values = samples(text(full_snapshot()))
    listener, _ = full_snapshot().listeners
    for row in LISTENER_COUNTERS:
        assert values[f"netconsd_{row.metric}_total", (("listener", "0"),)] == listener.counters[row.name]
    _, worker = full_snapshot().workers
    for row in WORKER_ROWS:
        assert values[f"netconsd_{row.metric}_total", (("worker", "1"),)] == worker.counters[row.name]
    module, _ = full_snapshot().modules
    for row in MODULE_COUNTERS:
        labels = (("module", "a"), ("worker", "0"))
        assert values[f"netconsd_{row.metric}_total", labels] == getattr(module, row.name)


def test_the_other_metrics() -> None:
    """The page has gauges of queues, senders, modules and the receive buffer, and the limits."""
    values = samples(text(full_snapshot()))
    worker, listener = (("worker", "0"),), (("listener", "0"),)
    module = (("module", "a"), ("worker", "0"))
    assert values["netconsd_queue_places", worker] == 13
    assert values["netconsd_senders", worker] == 14
    assert values["netconsd_worker_alive", worker] == 1
    assert values["netconsd_worker_alive", (("worker", "1"),)] == 0
    assert values["netconsd_receive_buffer_used_bytes", listener] == 11
    assert values["netconsd_receive_buffer_size_bytes", listener] == 12
    assert values["netconsd_module_call_seconds", module] == 2.5
    assert values["netconsd_queue_places_limit", ()] == Settings().queue
    assert values["netconsd_senders_limit", ()] == Settings().max_sources / Settings().workers
    assert any(name == "netconsd_build_info" for name, _ in values)
    assert any(name == "process_resident_memory_bytes" for name, _ in values)


def test_histograms_are_cumulative() -> None:
    """Each bucket counts all values up to its bound, and the last bucket counts all values."""
    values = samples(text(full_snapshot()))
    bounds = ("1.0", "10.0", "+Inf")
    buckets = [values["netconsd_batch_datagrams_bucket", (("le", le), ("listener", "0"))] for le in bounds]
    assert buckets == [1, 2, 3]
    assert values["netconsd_batch_datagrams_count", (("listener", "0"),)] == 3
    assert values["netconsd_batch_datagrams_sum", (("listener", "0"),)] == 56
    assert values["netconsd_delivery_delay_seconds_sum", (("worker", "0"),)] == 0.5


@pytest.mark.parametrize(("render", "read"), [(generate_latest, parse), (generate_openmetrics, parse_openmetrics)])
def test_names_follow_the_rules_of_prometheus(render: Any, read: Any) -> None:
    """In both formats the client library parses the page, only counters end in _total, units are base units, and every
    metric has a help text."""
    page = text(full_snapshot(), render)
    for family in read(page):
        if family.name.startswith("process_"):
            continue
        assert NAME.fullmatch(family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert not NO_UNITS & set(family.name.split("_")), family.name
        assert not family.name.endswith("_total"), f"{family.name}: the parser removes it"
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
        if BASE_UNITS & set(family.name.split("_")):
            assert family.name.rsplit("_", 1)[1] in BASE_UNITS, f"{family.name}: the unit comes last"


def test_labels_are_bounded() -> None:
    """Labels are numbers of listeners and workers, names of modules, bounds of histograms and the build."""
    labels = {label for _, pairs in samples(text(full_snapshot())) for label, _ in pairs}
    assert labels == {"listener", "worker", "module", "le", "kind", "version"}


def test_names_of_modules_are_escaped() -> None:
    """Quotes, newlines and backslashes in a name are escaped."""
    values = samples(text(full_snapshot()))
    assert values["netconsd_module_messages_total", (("module", 'b"\n\\'), ("worker", "1"))] == 0


def test_huge_numbers() -> None:
    """Sums of forged sequence numbers beyond 64 bits are on the page."""
    worker = WorkerSnapshot(0, True, dict.fromkeys(WORKER, 2**70), 0, 0, histogram())
    values = samples(text(Snapshot((), (worker,))))
    assert values["netconsd_missing_messages_total", (("worker", "0"),)] == 2.0**70


def test_a_daemon_that_has_not_started() -> None:
    """Without listeners and workers the page has the limits."""
    assert samples(text(Snapshot()))["netconsd_senders_limit", ()] == Settings().max_sources / Settings().workers


def test_one_snapshot_per_page() -> None:
    """A page takes one snapshot, and a new registry takes none."""
    taken: list[Snapshot] = []

    def snapshot() -> Snapshot:
        taken.append(full_snapshot())
        return taken[-1]

    collectors = registry(snapshot, Settings())
    assert taken == []
    generate_latest(collectors)
    assert len(taken) == 1


def test_process_metrics_without_the_rest_of_proc(tmp_path: Path) -> None:
    """Under a unit with ProcSubset=pid, /proc contains only processes, and all metrics of the process exist."""
    (tmp_path / "self").symlink_to("/proc/self")
    hidden, visible = (
        {
            sample.name: sample.value
            for family in Process(registry=None, proc=proc).collect()
            for sample in family.samples
        }
        for proc in (str(tmp_path), "/proc")
    )
    assert hidden.keys() == visible.keys()
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"} <= hidden.keys()
    # The kernel reports its boot time in whole seconds.
    assert abs(hidden["process_start_time_seconds"] - visible["process_start_time_seconds"]) < 2
