"""The numbers and faults of modules' own are in the metrics, in /healthz, in the log and in the totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from twisted.logger import Logger
from zope.interface import implementer

from netconsd.interfaces import IExportsMetrics, IOutputModule, ModuleMetric
from netconsd.monitor.liveness import health
from netconsd.monitor.log import totals
from netconsd.monitor.modulelog import FAULT_REPEAT_SECONDS, ModuleLog
from netconsd.monitor.prometheus import SnapshotCollector
from netconsd.monitor.snapshot import ModuleSnapshot, OwnSnapshot, Snapshot, take
from netconsd.outputs.runner import MOST_METRICS, RunningModule
from netconsd.protocol.message import Message
from netconsd.settings import Settings
from tests.support.loggers import logged


@implementer(IOutputModule, IExportsMetrics)
class Measured:
    """A module with metrics and faults."""

    def __init__(self) -> None:
        self.own: list[Any] = []
        self.bad: Sequence[str] = ()

    def start(self, worker_count: int) -> None: ...

    def handle(self, worker: int, message: Message) -> None: ...

    def stop(self) -> None: ...

    def metrics(self) -> list[ModuleMetric]:
        return self.own

    def faults(self) -> Sequence[str]:
        return self.bad


def running(module: Any) -> RunningModule:
    """Return a running module ``m``."""
    return RunningModule("m", module, 1, lambda failure, name, count: None)


def page(*own: OwnSnapshot) -> str:
    """Return the page of metrics of a snapshot."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(lambda: Snapshot(own=own), Settings()))
    return generate_latest(registry).decode()


def test_a_snapshot_has_them() -> None:
    """A snapshot has the metrics and the faults, on one line each, of the modules that export them."""
    module = Measured()
    module.own = [ModuleMetric("x_bytes", "Bytes.", 5)]
    module.bad = ["the disk\nis full"]
    assert take([], [], [running(module)]).own == (OwnSnapshot("m", tuple(module.own), ("the disk is full",)),)


@pytest.mark.parametrize(
    "own",
    [
        [ModuleMetric("Bytes", "Bytes.", 1)],
        [ModuleMetric("x{a=1}", "Bytes.", 1)],
        [ModuleMetric("x", "Bytes.", "many")],  # type: ignore[arg-type]
        [ModuleMetric(f"x{number}", "Bytes.", 1) for number in range(MOST_METRICS + 1)],
        None,
    ],
)
def test_metrics_that_cannot_be_shown_are_logged(own: Any) -> None:
    """A wrong name, no number, too many, or an exception: nothing of the module is shown, and the log says why."""
    module = Measured()
    module.own = own
    reports: list[str] = []
    output = RunningModule("m", module, 1, lambda failure, name, count: reports.append(name))
    assert output.metrics() == ()
    assert reports == ["m"]


def test_prometheus_shows_them() -> None:
    """A counter has _total, an unknown number is left out, two modules share a name, and a fault is 1."""
    one = OwnSnapshot("a", (ModuleMetric("q_sent", "Sent.", 3, True), ModuleMetric("q_lag", "Lag.", None)), ("full",))
    two = OwnSnapshot("b", (ModuleMetric("q_sent", "Sent.", 4, True), ModuleMetric("q_lag", "Lag.", 0.5)))
    lines = page(one, two).splitlines()
    assert [line for line in lines if "{module=" in line] == [
        'netconsd_module_faults{module="a"} 1.0',
        'netconsd_module_faults{module="b"} 0.0',
        'netconsd_q_sent_total{module="a"} 3.0',
        'netconsd_q_sent_total{module="b"} 4.0',
        'netconsd_q_lag{module="b"} 0.5',
    ]
    assert "netconsd_module_faults" not in page()


def test_a_name_is_shown_once() -> None:
    """A name that netconsd has itself, and one that another module has as another type, are left out."""
    own = OwnSnapshot(
        "a", (ModuleMetric("senders", "X.", 9), ModuleMetric("events", "X.", 9, True), ModuleMetric("q", "X.", 9))
    )
    shown = page(own, OwnSnapshot("b", (ModuleMetric("q", "X.", 8, True),)))
    assert [line for line in shown.splitlines() if line.endswith((" 9.0", " 8.0"))] == ['netconsd_q{module="a"} 9.0']


def test_a_fault_is_named_and_asks_for_no_restart() -> None:
    """The health has a line for each fault; it is no reason for a restart, which would not help."""
    assert health(Snapshot(own=(OwnSnapshot("store", (), ("the disk is full",)),))) == (
        True,
        ["module store: the disk is full"],
    )


def test_the_log_has_beginning_course_and_end_of_a_fault() -> None:
    """A fault is logged at once, again after an hour, and when it is over."""
    module = Measured()
    outputs = [running(module)]
    log = ModuleLog(Logger("netconsd"))
    with logged() as texts:
        for bad, now in (
            ([], 0.0),
            (["the disk is full"], 1.0),
            (["the disk is full"], 2.0),
            (["the disk is full"], 1.0 + FAULT_REPEAT_SECONDS),
            ([], FAULT_REPEAT_SECONDS + 2),
        ):
            module.bad = bad
            log.update(outputs, now)
    assert texts == [
        "Module m: the disk is full",
        "Module m: the disk is full",
        "Module m: no longer: the disk is full",
    ]


def test_the_totals_have_the_counters() -> None:
    """The module's line in the totals has its own counters that are not 0, and no gauges."""
    module = ModuleSnapshot("m", 0, False, 5, 0, 1, 0.5, 0.0)
    metrics = (ModuleMetric("q_sent", "Sent.", 3, True), ModuleMetric("q_lag", "Lag.", 9), ModuleMetric("q_z", "Z.", 0))
    lines = list(totals(Snapshot(modules=(module,), own=(OwnSnapshot("m", metrics),)), of_parts=True))
    assert lines[0] == "Module m: 5 messages in 1 batch, 0.500 seconds; q_sent 3"
