"""Metrics: all of the ledger, well named, and nothing that a stranger can make grow."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from netconsd.monitor.prometheus import LISTENER, WORKER, Process, registry
from netconsd.monitor.snapshot import ListenerSnapshot, ModuleSnapshot, Snapshot, WorkerSnapshot
from netconsd.protocol.counters import COUNTERS, AckCounters, ListenerCounters, QueueCounters
from netconsd.receive.histogram import Histogram
from netconsd.settings import Settings

# What Prometheus asks of names, and of what stands at their end (prometheus.io/docs/practices/naming).
NAME = re.compile(r"netconsd(_[a-z]+)+")
BASE_UNITS = {"seconds", "bytes"}
NO_UNITS = {"milliseconds", "ms", "kilobytes", "octets", "usec", "minutes", "percent"}


def sizes(*values: float) -> Histogram:
    """A histogram that has seen these."""
    histogram = Histogram((1.0, 10.0))
    for value in values:
        histogram.observe(value)
    return histogram


def full() -> Snapshot:
    """Snapshot in which every number is another one."""
    listener = {name: 100 + number for number, name in enumerate(LISTENER)}
    worker = {name: 200 + number for number, name in enumerate(WORKER)}
    return Snapshot(
        (ListenerSnapshot(0, listener, sizes(1, 5, 50), 11, 12), ListenerSnapshot(1, listener, sizes(), 0, 0)),
        (WorkerSnapshot(0, True, worker, 13, 14, sizes(0.5)), WorkerSnapshot(1, False, worker, 0, 0, sizes())),
        (ModuleSnapshot("a", 0, False, 15, 16, 17, 1.5, 2.5), ModuleSnapshot('b"\n\\', 1, False, 0, 0, 0, 0.0, 0.0)),
    )


def text(accounts: Snapshot, render: Callable[..., bytes] = generate_latest) -> str:
    """The page."""
    return render(registry(lambda: accounts, Settings())).decode()


def samples(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All values by name and labels; each may be there once."""
    found: dict[Any, float] = {}
    for family in parse(page):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def test_every_counter_is_a_metric() -> None:
    """No counter of any counters is left out; so a new one needs a name here."""
    assert set(LISTENER) == {field.name for field in fields(ListenerCounters)}
    acks = {f"acks_{field.name}" for field in fields(AckCounters)}
    assert set(WORKER) == {*COUNTERS, *(field.name for field in fields(QueueCounters)), *acks}
    names = [name for name, _ in [*LISTENER.values(), *WORKER.values()]]
    assert len(names) == len(set(names))


def test_every_counter_has_its_value() -> None:
    """Each counter of each listener and worker is on the page with its number."""
    found = samples(text(full()))
    accounts = full()
    for counter, (name, _) in LISTENER.items():
        assert found[f"{name}_total", (("listener", "0"),)] == accounts.listeners[0].counters[counter]
    for counter, (name, _) in WORKER.items():
        assert found[f"{name}_total", (("worker", "1"),)] == accounts.workers[0].counters[counter]


def test_the_other_metrics() -> None:
    """Queues, senders, modules, the receive buffer and the limits are there, too."""
    found = samples(text(full()))
    worker, listener = (("worker", "0"),), (("listener", "0"),)
    module = (("module", "a"), ("worker", "0"))
    assert found["netconsd_queue_places", worker] == 13
    assert found["netconsd_senders", worker] == 14
    assert found["netconsd_worker_alive", worker] == 1
    assert found["netconsd_worker_alive", (("worker", "1"),)] == 0
    assert found["netconsd_receive_buffer_used_bytes", listener] == 11
    assert found["netconsd_receive_buffer_size_bytes", listener] == 12
    assert found["netconsd_module_messages_total", module] == 15
    assert found["netconsd_module_errors_total", module] == 16
    assert found["netconsd_module_batches_total", module] == 17
    assert found["netconsd_module_seconds_total", module] == 1.5
    assert found["netconsd_module_call_seconds", module] == 2.5
    assert found["netconsd_queue_places_limit", ()] == Settings().queue
    assert found["netconsd_senders_limit", ()] == Settings().max_sources / Settings().workers
    assert any(name == "netconsd_build_info" for name, _ in found)
    assert any(name == "process_resident_memory_bytes" for name, _ in found)


def test_histograms_are_cumulative() -> None:
    """Each bucket has all values up to its bound; the last one has all; the sum is that of the values."""
    found = samples(text(full()))
    bounds = ("1.0", "10.0", "+Inf")
    buckets = [found["netconsd_batch_datagrams_bucket", (("le", le), ("listener", "0"))] for le in bounds]
    assert buckets == [1, 2, 3]
    assert found["netconsd_batch_datagrams_count", (("listener", "0"),)] == 3
    assert found["netconsd_batch_datagrams_sum", (("listener", "0"),)] == 56
    assert found["netconsd_delivery_delay_seconds_sum", (("worker", "0"),)] == 0.5


@pytest.mark.parametrize(("render", "read"), [(generate_latest, parse), (generate_openmetrics, parse_openmetrics)])
def test_the_names_are_as_they_should_be(render: Any, read: Any) -> None:
    """In both formats: counters end in _total and nothing else does, units are base units, everything has a help text,
    no label stands twice, and the parsers of the client library take it."""
    page = text(full(), render)
    for family in read(page):
        if family.name.startswith("process_"):
            continue
        assert NAME.fullmatch(family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert not NO_UNITS & set(family.name.split("_")), family.name
        assert not family.name.endswith("_total"), f"{family.name}: the parser takes it off"
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
        if BASE_UNITS & set(family.name.split("_")):
            assert family.name.rsplit("_", 1)[1] in BASE_UNITS, f"{family.name}: the unit comes last"


def test_the_labels_are_bounded() -> None:
    """Labels are numbers of listeners and workers, names of modules, bounds of histograms and the build."""
    labels = {label for _, pairs in samples(text(full())) for label, _ in pairs}
    assert labels == {"listener", "worker", "module", "le", "kind", "version"}


def test_a_name_of_a_module_cannot_break_the_page() -> None:
    """Quotes, newlines and backslashes in a name come out as they went in."""
    found = samples(text(full()))
    assert found["netconsd_module_messages_total", (("module", 'b"\n\\'), ("worker", "1"))] == 0


def test_huge_numbers() -> None:
    """What forged sequence numbers add up to is on the page."""
    worker = WorkerSnapshot(0, True, dict.fromkeys(WORKER, 2**70), 0, 0, sizes())
    found = samples(text(Snapshot((), (worker,))))
    assert found["netconsd_missing_messages_total", (("worker", "0"),)] == 2.0**70


def test_a_daemon_that_has_not_started() -> None:
    """Without listeners and workers there is a page, too."""
    assert samples(text(Snapshot()))["netconsd_senders_limit", ()] == Settings().max_sources / Settings().workers


def test_one_snapshot_per_page() -> None:
    """All numbers of a page are of one time; and making the registry takes none."""
    taken: list[Snapshot] = []

    def snapshot() -> Snapshot:
        taken.append(full())
        return taken[-1]

    made = registry(snapshot, Settings())
    assert taken == []
    generate_latest(made)
    assert len(taken) == 1


def test_what_linux_says_without_the_rest_of_proc(tmp_path: Path) -> None:
    """Under a unit with ProcSubset=pid, /proc has processes and no more; the metrics of the process are all there."""
    (tmp_path / "self").symlink_to("/proc/self")
    hidden, seen = (
        {
            sample.name: sample.value
            for family in Process(registry=None, proc=proc).collect()
            for sample in family.samples
        }
        for proc in (str(tmp_path), "/proc")
    )
    assert hidden.keys() == seen.keys()
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"} <= hidden.keys()
    # The kernel tells the time of its boot in whole seconds.
    assert abs(hidden["process_start_time_seconds"] - seen["process_start_time_seconds"]) < 2
