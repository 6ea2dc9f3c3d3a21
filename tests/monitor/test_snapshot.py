"""Snapshots: their values, and the sums of the counters after everything was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from zope.interface import implementer

from netconsd.interfaces import ICountsLosses, ITakesLegacyDatagrams
from netconsd.monitor.snapshot import Snapshot, WorkerSnapshot, take
from netconsd.protocol.counters import COUNTERS
from netconsd.receive.histogram import Histogram
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from netconsd.testing import RecordingModule, extended, fragments, source
from tests.support.outputs import Synchronous
from tests.support.scripted_lane import SameThread, run
from tests.support.scripted_module import Script
from tests.support.snapshots import FakeReader
from tests.support.traffic import datagrams

KEYS = [source(f"192.0.2.{number}").key for number in range(4)]
NO_REACTOR: Any = object()
# The texts about the sums of all listeners and workers.
RECEIVED = (
    "received {} is not dropped_bad_address + dropped_not_allowed + dropped_read_error + queued + dropped_queue_full {}"
)
BYTES = "bytes received {} is not dropped_bytes + dropped_queue_full_bytes + dropped_error_bytes + bytes processed {}"


@implementer(ITakesLegacyDatagrams)
class Whole(RecordingModule):
    """A module that takes legacy text by the datagram."""


class Daemon:
    """A reader, a lane that runs at its stop, and modules."""

    def __init__(self, queue: int = 1000, **modules: Any) -> None:
        self.outputs = Synchronous(modules, 1)
        Deferred.fromCoroutine(self.outputs.start(NO_REACTOR))
        self.reader = FakeReader()
        self.lane = Lane(
            0, self.outputs.deliver, Settings(workers=1, queue=queue), clock=lambda: 0.0, thread=SameThread,
            legacy_datagrams=self.outputs.legacy_datagrams,
        )  # fmt: skip

    def receive(self, batch: Sequence[tuple[int, bytes]], now: float = 0.0) -> None:
        self.reader.counters.datagrams += len(batch)
        self.reader.counters.bytes += sum(len(datagram) for _, datagram in batch)
        self.lane.put([KEYS[number] for number, _ in batch], [datagram for _, datagram in batch], 0.0, now)

    def take(self, now: float = 0.0) -> Snapshot:
        readers: list[Any] = [self.reader]
        return take(readers, [self.lane], self.outputs.started, now)


RECORDS = st.builds(lambda text, seq: extended(text, seq=seq), st.text(max_size=30), st.integers(0, 40))
BATCHES = st.lists(st.lists(st.tuples(st.integers(0, 3), RECORDS | datagrams), min_size=1, max_size=10), max_size=10)


@given(BATCHES, st.integers(1, 40))
def test_sums_hold_after_any_datagrams(batches: list[list[tuple[int, bytes]]], queue: int) -> None:
    """With any datagrams, a short queue, modules of both kinds and a failing one, every datagram has one outcome."""
    daemon = Daemon(queue, lines=RecordingModule(), whole=Whole(), broken=Script("broken", [], handle=ValueError()))
    vars(daemon.outputs)["_reactor"] = None
    for number, batch in enumerate(batches):
        daemon.receive(batch, float(number))
    before = daemon.take()
    (worker,) = before.workers
    assert before.received == worker.queued + before.total("dropped_queue_full")
    run(daemon.lane)
    snapshot = daemon.take()
    assert snapshot.inconsistencies() == []
    assert snapshot.received == sum(map(len, batches))
    assert snapshot.total("datagrams") == snapshot.received + snapshot.workers[0].counters["datagrams"]
    (worker,) = snapshot.workers
    assert (worker.queued, worker.held, worker.places) == (0, 0, 0)
    messages = {module.name: module.messages for module in snapshot.modules}
    assert messages["lines"] == messages["broken"] == snapshot.total("messages")
    assert {module.name: module.errors for module in snapshot.modules} == messages | {"lines": 0, "whole": 0}


def drained() -> Daemon:
    """A daemon that has delivered two messages."""
    daemon = Daemon(module=RecordingModule())
    daemon.receive([(0, extended("1", seq=1)), (0, extended("2", seq=2))])
    run(daemon.lane)
    return daemon


@pytest.mark.parametrize(
    ("counter", "lines"),
    [
        ("queued", [RECEIVED.format(2, 3), "worker 0: queued 3 is not datagrams + dropped_error 2"]),
        ("dropped_queue_full", [RECEIVED.format(2, 3)]),
        ("dropped_error", ["worker 0: queued 2 is not datagrams + dropped_error 3"]),
        ("bytes", [BYTES.format(32, 33)]),
        ("dropped_queue_full_bytes", [BYTES.format(32, 33)]),
        ("senders_new", ["worker 0: senders_new 2 is not senders_expired + senders_evicted + senders 1"]),
        ("lines", ["worker 0: messages 2 is not records + reassembled + lines + taken 3"]),
    ],
)
def test_a_wrong_counter_is_an_inconsistency(counter: str, lines: list[str]) -> None:
    """If a counter of a sum is wrong by one, a line has the sum's names and both numbers."""
    snapshot = drained().take()
    assert snapshot.inconsistencies() == []
    snapshot.workers[0].counters[counter] += 1
    assert snapshot.inconsistencies() == lines


@pytest.mark.parametrize("outcome", ["dropped_bad_address", "dropped_not_allowed", "dropped_read_error"])
def test_datagrams_that_a_listener_drops_are_in_the_sums(outcome: str) -> None:
    """A datagram that no worker gets is counted under one of three reasons, with its bytes."""
    daemon = drained()
    daemon.reader.counters.datagrams += 1
    daemon.reader.counters.bytes += 9
    setattr(daemon.reader.counters, outcome, 1)
    daemon.reader.counters.dropped_bytes += 9
    assert daemon.take().inconsistencies() == []


def test_a_message_that_a_module_missed_is_an_inconsistency() -> None:
    """Each module must have been called for every message."""
    snapshot = drained().take()
    module = replace(snapshot.modules[0], messages=1)
    assert replace(snapshot, modules=(module,)).inconsistencies() == ["worker 0, module module: 1 messages of 2"]


def test_a_queue_that_is_not_empty_is_an_inconsistency() -> None:
    """A worker whose thread has ended must have emptied its queue."""
    daemon = Daemon()
    daemon.receive([(0, b"text")])
    assert daemon.take().inconsistencies() == [
        BYTES.format(4, 0),
        "worker 0: queued 1 is not datagrams + dropped_error 0",
        "worker 0: 1 places of its queue are in use",
    ]


def test_a_busy_worker_is_left_out_of_the_sums() -> None:
    """A worker that hangs in a module is not checked; the listeners' counters are."""
    daemon = Daemon(module=RecordingModule())
    daemon.receive([(0, b"text")])
    daemon.lane.running = True
    assert daemon.take().inconsistencies() == []
    daemon.reader.counters.datagrams += 1
    assert daemon.take().inconsistencies() == [RECEIVED.format(2, 1)]


def test_a_busy_module() -> None:
    """During a batch a module has the seconds since its call, and none of the batch's messages."""
    snapshots: list[Snapshot] = []

    class Busy(RecordingModule):
        def handle(self, worker: int, message: Any) -> None:
            called_at = daemon.outputs.started[0].counters[0].called_at
            snapshots.append(daemon.take(called_at + 5.0))

    daemon = Daemon(busy=Busy())
    daemon.receive([(0, b"text\n")])
    run(daemon.lane)
    (during,) = snapshots[0].modules
    assert (during.messages, during.busy_seconds) == (0, 5.0)
    (afterwards,) = daemon.take().modules
    assert (afterwards.messages, afterwards.batches, afterwards.busy_seconds) == (1, 1, 0.0)


@implementer(ICountsLosses)
class Losing(RecordingModule):
    """A module that counts each message as lost, or fails to count."""

    def __init__(self, failing: bool = False) -> None:
        super().__init__()
        self.failing = failing

    def lost(self, worker: int) -> int:
        if self.failing:
            raise OSError("unknown")
        return len(self.calls)


def test_losses_of_modules() -> None:
    """A module's own count of losses is in the snapshot; an exception of it is logged, and the number is unknown."""
    daemon = Daemon(good=RecordingModule(), losing=Losing(), failing=Losing(failing=True))
    daemon.receive([(0, extended("1", seq=1)), (0, extended("2", seq=2))])
    run(daemon.lane)
    reports: list[str] = []
    vars(daemon.outputs.started[2])["_report"] = lambda failure, name, unreported: reports.append(
        f"{name} {failure.value}"
    )
    snapshot = daemon.take()
    assert [module.lost for module in snapshot.modules] == [0, 2, None]
    assert snapshot.inconsistencies() == []
    assert reports == ["failing unknown"]


def test_parts_of_messages_that_the_stop_did_not_deliver() -> None:
    """Incomplete messages and unfinished lines of a worker that the stop gives up are ``dropped_at_stop`` as well."""
    daemon = Daemon(module=RecordingModule())
    first, _, _ = fragments(extended("x" * 2500, seq=1), 1000)
    other, _, _ = fragments(extended("y" * 2500, seq=2), 1000)
    daemon.receive([(0, first), (0, other), (1, b"unfinished"), (2, b"finished\n")])
    assert daemon.lane._turn()
    daemon.lane.running = True
    assert daemon.take().workers[0].dropped_at_stop == 0
    daemon.lane.give_up()
    assert daemon.take().workers[0].dropped_at_stop == 3


def test_a_worker_that_the_stop_did_not_end() -> None:
    """If its thread is alive, its queued datagrams and held messages are ``dropped_at_stop``."""
    daemon = Daemon(module=RecordingModule())
    daemon.receive([(0, extended(str(seq), seq=seq)) for seq in (1, 3)])
    assert daemon.lane._turn()
    daemon.receive([(0, b"not processed")] * 3)
    daemon.lane.running = True
    (worker,) = daemon.take().workers
    assert (worker.queued, worker.held, worker.dropped_at_stop, daemon.lane.waiting) == (3, 1, 4, 3)
    daemon.lane.give_up()
    assert daemon.take().workers[0].dropped_at_stop == 4
    daemon.lane.running = False
    assert daemon.take().workers[0].dropped_at_stop == 0


def test_held_messages() -> None:
    """Messages behind a gap are in ``held`` until they are delivered."""
    held: list[int] = []
    daemon = Daemon(module=RecordingModule())
    daemon.receive([(0, extended(str(seq), seq=seq)) for seq in (1, 3, 4)])
    daemon.lane.ask(lambda table: held.append(daemon.take().workers[0].held))
    run(daemon.lane)
    assert held == [2]


def test_a_snapshot_does_not_change() -> None:
    """Later counts are not in a snapshot; each snapshot reads the kernel's counter once."""
    daemon = drained()
    first = daemon.take()
    daemon.lane.counters.whole += 1
    daemon.lane.delays.observe(1.0)
    daemon.reader.counters.dropped_bad_address += 1
    assert first.workers[0].counters["whole"] == 2
    assert sum(first.workers[0].delays.counts) == 2
    assert first.total("dropped_bad_address") == 0
    assert daemon.reader.looks == 1


def test_differences_are_never_negative() -> None:
    """Counters that were read while the worker counted may be a moment apart; then nothing is queued or held."""
    counters = dict.fromkeys([*COUNTERS, "queued", "dropped_queue_full"], 0) | {
        "messages": 5,
        "records": 4,
        "datagrams": 6,
        "queued": 5,
    }
    worker = WorkerSnapshot(0, True, counters, 0, 1, Histogram(()))
    assert (worker.queued, worker.held) == (0, 0)
