"""The log names modules that hang or drop messages. Here the texts are tested."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogEvent, Logger, capturedLogs, formatEvent

from netconsd.monitor.liveness import STUCK_SECONDS, Liveness, hanging_modules, health, status
from netconsd.monitor.modulelog import REPEAT_SECONDS, ModuleLog
from netconsd.monitor.snapshot import ModuleSnapshot, Snapshot, WorkerSnapshot
from netconsd.outputs.progress import HANGING_SECONDS
from netconsd.protocol.counters import ModuleCounters
from tests.support import daemons
from tests.support.snapshots import IDLE_WORKER, histogram

FakeLane: Any = daemons.FakeLane


class FakeOutput:
    """A running module with one worker, and its figures."""

    def __init__(self, name: str = "webhook", queues: bool = True) -> None:
        self.name = name
        self.queues = [object()] if queues else []
        self.counters = [ModuleCounters()]
        self.silent = 0.0
        self.own_faults: tuple[str, ...] = ()

    def faults(self) -> tuple[str, ...]:
        return self.own_faults

    def silent_seconds(self, worker: int, now: float) -> float:
        return self.silent

    def waiting(self, worker: int) -> int:
        return 1200


@pytest.fixture
def events() -> Iterator[Any]:
    """The events logged so far."""
    with capturedLogs() as captured:
        yield captured


def lines(events: list[LogEvent]) -> list[str]:
    """The lines logged since the last call, with their levels."""
    texts = [f"{event['log_level'].name}: {formatEvent(event)}" for event in events]
    events.clear()
    return texts


def test_a_module_that_hangs_is_named(events: list[LogEvent]) -> None:
    """A hang is logged when it has lasted for HANGING_SECONDS, once a minute while it lasts, and at its end."""
    log, output = ModuleLog(Logger("netconsd")), FakeOutput()
    outputs: Any = [output]
    for second in range(int(HANGING_SECONDS)):
        output.silent = float(second)
        log.update(outputs, float(second))
    assert events == []
    output.silent = HANGING_SECONDS
    log.update(outputs, HANGING_SECONDS)
    (line,) = lines(events)
    assert line == (
        "warn: Module webhook hangs in worker 0: no message processed for 10 seconds; 1200 messages waiting. "
        "The other modules continue"
    )
    for second in range(11, 11 + 2 * int(REPEAT_SECONDS)):
        output.silent = float(second)
        log.update(outputs, float(second))
    assert [line.partition(" for ")[2].partition(";")[0] for line in lines(events)] == ["70 seconds", "130 seconds"]
    output.silent = 0.0
    log.update(outputs, 200.0)
    assert lines(events) == ["info: Module webhook continues in worker 0 after 130 seconds"]


def test_a_single_module_that_hangs(events: list[LogEvent]) -> None:
    """The line about a single module says what its hang means."""
    output = FakeOutput(queues=False)
    output.silent = 12.0
    outputs: Any = [output]
    ModuleLog(Logger("netconsd")).update(outputs, 0.0)
    (line,) = lines(events)
    assert line.endswith("Nothing of this worker's senders is processed meanwhile")


def test_drops_of_a_module_are_logged(events: list[LogEvent]) -> None:
    """The first drop is logged at once, further ones once a minute with their number."""
    log, output = ModuleLog(Logger("netconsd")), FakeOutput()
    outputs: Any = [output]
    for second in range(61):
        output.counters[0].dropped_queue_full += 1
        log.update(outputs, float(second))
    assert lines(events) == [
        f"warn: Module webhook is too slow or hangs: {messages} dropped in worker 0, because its queue was full "
        "(dropped_queue_full; see --queue)"
        for messages in ("1 message", "60 messages")
    ]


def test_the_watchdog_is_answered_while_another_module_works() -> None:
    """A worker is stuck only if each of its modules hangs; a hang beside a module that works is in the status."""
    first, second = FakeOutput("webhook"), FakeOutput("logger")
    modules: Any = [first, second]
    lane = FakeLane()
    liveness = Liveness(60.0)
    first.silent = 1000.0
    assert liveness.hanging([lane], 0.0, modules) == []
    assert status([lane], (), hanging_modules(modules, 0.0)).startswith(
        "Module webhook hangs in worker 0 for 1000 seconds; 0 messages so far"
    )
    second.silent = 60.0
    assert liveness.hanging([lane], 0.0, modules) == [0]


def snapshot(*silent: float, alive: bool = True) -> Snapshot:
    """A worker with modules that are silent for this time."""
    modules = [
        ModuleSnapshot(f"m{number}", 0, False, 0, 0, 0, 0.0, 0.0, silent_seconds=seconds)
        for number, seconds in enumerate(silent)
    ]
    return Snapshot((), (WorkerSnapshot(0, alive, IDLE_WORKER, 0, 0, histogram()),), tuple(modules))


def test_health_names_modules_that_hang() -> None:
    """A hang beside a module that works is named, and no reason for a restart; if all modules hang for as long as the
    watchdog waits, it is."""
    assert health(snapshot(9.0, 0.0)) == (True, [])
    assert health(snapshot(41.0, 0.0)) == (True, ["module m0 hangs in worker 0 for 41 seconds"])
    healthy, texts = health(snapshot(STUCK_SECONDS, STUCK_SECONDS))
    assert not healthy
    assert texts[0] == "worker 0 is stuck: all modules hang"
    assert len(texts) == 3
    healthy, texts = health(snapshot(STUCK_SECONDS))
    assert (healthy, texts[0]) == (False, "worker 0 is stuck: its module hangs")
    assert health(snapshot(0.0, alive=False)) == (False, ["worker 0 has ended"])
