"""Snapshot: after everything was delivered, what came in is what went out and what is counted."""

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
from netconsd.outputs.runner import Outputs
from netconsd.protocol.counters import COUNTERS, ListenerCounters
from netconsd.receive.histogram import Histogram
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from netconsd.testing import RecordingModule, extended, source
from tests.protocol.test_conservation import datagrams
from tests.support.scripted_lane import SameThread, run
from tests.support.scripted_module import Script

KEYS = [source(f"192.0.2.{number}").key for number in range(4)]
NOBODY: Any = object()


class Reader:
    """In place of a reader: what it has counted."""

    def __init__(self) -> None:
        self.counters = ListenerCounters()
        self.sizes = Histogram((1.0,))
        self.buffer_used = self.buffer_size = 0
        self.failing = False
        self.looks = 0

    def look(self) -> None:
        self.looks += 1


@implementer(ITakesLegacyDatagrams)
class Whole(RecordingModule):
    """A module that takes legacy text by the datagram."""


class Daemon:
    """A reader, a lane that runs when it is stopped, and modules."""

    def __init__(self, queue: int = 1000, **modules: Any) -> None:
        self.outputs = Outputs(modules, 1)
        Deferred.fromCoroutine(self.outputs.start(NOBODY))
        self.reader = Reader()
        self.lane = Lane(
            0, self.outputs.deliver, Settings(workers=1, queue=queue), clock=lambda: 0.0, thread=SameThread,
            legacy_datagrams=self.outputs.legacy_datagrams,
        )  # fmt: skip

    def receive(self, batch: Sequence[tuple[int, bytes]], now: float = 0.0) -> None:
        self.reader.counters.datagrams += len(batch)
        self.reader.counters.octets += sum(len(datagram) for _, datagram in batch)
        self.lane.put([KEYS[number] for number, _ in batch], [datagram for _, datagram in batch], 0.0, now)

    def take(self, now: float = 0.0) -> Snapshot:
        readers: list[Any] = [self.reader]
        return take(readers, [self.lane], self.outputs.started, now)


BATCHES = st.lists(st.lists(st.tuples(st.integers(0, 3), datagrams), min_size=1, max_size=10), max_size=10)


@given(BATCHES, st.integers(1, 40))
def test_they_add_up_whatever_arrives(batches: list[list[tuple[int, bytes]]], queue: int) -> None:
    """Any datagrams, a queue that is too short, modules of either kind and one that fails: nothing is unaccounted."""
    daemon = Daemon(queue, lines=RecordingModule(), whole=Whole(), broken=Script("broken", [], handle=ValueError()))
    vars(daemon.outputs)["_reactor"] = None
    for number, batch in enumerate(batches):
        daemon.receive(batch, float(number))
    before = daemon.take()
    (worker,) = before.workers
    assert before.received == worker.queued + before.total("dropped_queue_full")
    run(daemon.lane)
    accounts = daemon.take()
    assert accounts.inconsistencies() == []
    assert accounts.received == sum(map(len, batches))
    assert accounts.total("datagrams") == accounts.received + accounts.workers[0].counters["datagrams"]
    (worker,) = accounts.workers
    assert (worker.queued, worker.held, worker.places) == (0, 0, 0)
    messages = {module.name: module.messages for module in accounts.modules}
    assert messages["lines"] == messages["broken"] == accounts.total("messages")
    assert {module.name: module.errors for module in accounts.modules} == messages | {"lines": 0, "whole": 0}


def drained() -> Daemon:
    """One that has delivered two messages."""
    daemon = Daemon(module=RecordingModule())
    daemon.receive([(0, extended("1", seq=1)), (0, extended("2", seq=2))])
    run(daemon.lane)
    return daemon


@pytest.mark.parametrize(
    ("counter", "told"),
    [
        (
            "queued",
            [
                (
                    "received 2 is not dropped_bad_address + dropped_not_allowed + "
                    "dropped_read_error + queued + dropped_queue_full 3"
                ),
                "worker 0: queued 3 is not datagrams + dropped_error 2",
            ],
        ),
        (
            "dropped_queue_full",
            [
                (
                    "received 2 is not dropped_bad_address + dropped_not_allowed + "
                    "dropped_read_error + queued + dropped_queue_full 3"
                )
            ],
        ),
        ("dropped_error", ["worker 0: queued 2 is not datagrams + dropped_error 3"]),
        (
            "octets",
            [
                (
                    "octets received 32 is not dropped_bytes + dropped_queue_full_bytes + "
                    "dropped_error_bytes + octets taken 33"
                )
            ],
        ),
        (
            "dropped_queue_full_bytes",
            [
                (
                    "octets received 32 is not dropped_bytes + dropped_queue_full_bytes + "
                    "dropped_error_bytes + octets taken 33"
                )
            ],
        ),
        ("senders_new", ["worker 0: senders_new 2 is not senders_expired + senders_evicted + senders 1"]),
        (
            "dropped_empty",
            [
                (
                    "worker 0: datagrams 2 is not whole + fragments + legacy + "
                    "dropped_duplicate + dropped_empty + dropped_over_rate 3"
                )
            ],
        ),
        ("lines", ["worker 0: messages 2 is not whole + reassembled + lines 3"]),
    ],
)
def test_what_does_not_add_up_is_told(counter: str, told: list[str]) -> None:
    """One more of any counter that takes part in an equation is a line that names it and both numbers."""
    accounts = drained().take()
    assert accounts.inconsistencies() == []
    accounts.workers[0].counters[counter] += 1
    assert accounts.inconsistencies() == told


@pytest.mark.parametrize("fate", ["dropped_bad_address", "dropped_not_allowed", "dropped_read_error"])
def test_what_a_listener_rejects_adds_up(fate: str) -> None:
    """A datagram that goes to no worker has one of three fates, and its bytes are counted with it."""
    daemon = drained()
    daemon.reader.counters.datagrams += 1
    daemon.reader.counters.octets += 9
    setattr(daemon.reader.counters, fate, 1)
    daemon.reader.counters.dropped_bytes += 9
    assert daemon.take().inconsistencies() == []


def test_a_module_that_missed_a_message_is_told() -> None:
    """Every module has to have been handed every message."""
    accounts = drained().take()
    missed = replace(accounts.modules[0], messages=1)
    assert replace(accounts, modules=(missed,)).inconsistencies() == ["worker 0, module module: 1 messages of 2"]


def test_what_is_still_queued_does_not_add_up() -> None:
    """A worker whose thread is gone and whose queue is not dropped_empty has lost something."""
    daemon = Daemon()
    daemon.receive([(0, b"text")])
    assert daemon.take().inconsistencies() == [
        "octets received 4 is not dropped_bytes + dropped_queue_full_bytes + dropped_error_bytes + octets taken 0",
        "worker 0: queued 1 is not datagrams + dropped_error 0",
        "worker 0: 1 places of its queue are taken",
    ]


def test_a_worker_that_is_busy_is_not_asked() -> None:
    """Of one that hangs in a module, nothing is said; what the listeners gave away is known all the same."""
    daemon = Daemon(module=RecordingModule())
    daemon.receive([(0, b"text")])
    daemon.lane.running = True
    assert daemon.take().inconsistencies() == []
    daemon.reader.counters.datagrams += 1
    assert daemon.take().inconsistencies() == [
        (
            "received 2 is not dropped_bad_address + dropped_not_allowed + "
            "dropped_read_error + queued + dropped_queue_full 1"
        )
    ]


def test_a_module_that_has_a_batch() -> None:
    """As long as a module has a batch, its account says since when; it has taken none of it yet."""
    seen: list[Snapshot] = []

    class Busy(RecordingModule):
        def handle(self, worker: int, message: Any) -> None:
            called_at = daemon.outputs.started[0].counters[0].called_at
            seen.append(daemon.take(called_at + 5.0))

    daemon = Daemon(busy=Busy())
    daemon.receive([(0, b"text\n")])
    run(daemon.lane)
    (meanwhile,) = seen[0].modules
    assert (meanwhile.messages, meanwhile.busy_seconds) == (0, 5.0)
    (afterwards,) = daemon.take().modules
    assert (afterwards.messages, afterwards.batches, afterwards.busy_seconds) == (1, 1, 0.0)


@implementer(ICountsLosses)
class Losing(RecordingModule):
    """A module that loses each message of the first worker, or does not even know."""

    def __init__(self, failing: bool = False) -> None:
        super().__init__()
        self.failing = failing

    def lost(self, worker: int) -> int:
        if self.failing:
            raise OSError("unknown")
        return len(self.calls)


def test_what_a_module_has_lost() -> None:
    """A module that knows what it has lost is asked; what it raises then is logged, and is no loss."""
    daemon = Daemon(good=RecordingModule(), losing=Losing(), failing=Losing(failing=True))
    daemon.receive([(0, extended("1", seq=1)), (0, extended("2", seq=2))])
    run(daemon.lane)
    told: list[str] = []
    vars(daemon.outputs.started[2])["_report"] = lambda failure, name, unreported: told.append(
        f"{name} {failure.value}"
    )
    accounts = daemon.take()
    assert [module.lost for module in accounts.modules] == [0, 2, 0]
    assert accounts.inconsistencies() == []
    assert told == ["failing unknown"]


def test_what_a_worker_leaves_that_did_not_end() -> None:
    """What is in its queue, and what waits, is abandoned, if its thread is there; else that is a defect, and told."""
    daemon = Daemon(module=RecordingModule())
    daemon.receive([(0, extended(str(seq), seq=seq)) for seq in (1, 3)])
    assert daemon.lane._turn()
    daemon.receive([(0, b"never looked at")] * 3)
    daemon.lane.running = True
    (worker,) = daemon.take().workers
    assert (worker.queued, worker.held, worker.dropped_at_stop, daemon.lane.waiting) == (3, 1, 4, 3)
    daemon.lane.running = False
    assert daemon.take().workers[0].dropped_at_stop == 0


def test_what_is_held_is_known() -> None:
    """Messages behind a gap are in no module yet, and in ``held``."""
    held: list[int] = []
    daemon = Daemon(module=RecordingModule())
    daemon.receive([(0, extended(str(seq), seq=seq)) for seq in (1, 3, 4)])
    daemon.lane.ask(lambda table: held.append(daemon.take().workers[0].held))
    run(daemon.lane)
    assert held == [2]


def test_a_snapshot_stays() -> None:
    """What is counted later is not in accounts taken before; the kernel is asked for each."""
    daemon = drained()
    first = daemon.take()
    daemon.lane.counters.whole += 1
    daemon.lane.delays.observe(1.0)
    daemon.reader.counters.dropped_bad_address += 1
    assert first.workers[0].counters["whole"] == 2
    assert sum(first.workers[0].delays.counts) == 2
    assert first.total("dropped_bad_address") == 0
    assert daemon.reader.looks == 1


def test_nothing_adds_up_to_nothing() -> None:
    """Without a daemon there is nothing to account for."""
    assert (Snapshot().inconsistencies(), Snapshot().received, Snapshot().total("lost")) == ([], 0, 0)


def test_numbers_of_different_moments_are_never_negative() -> None:
    """Counters read while the worker counts can be a moment apart, and then nothing is queued or held."""
    counters = dict.fromkeys([*COUNTERS, "queued", "dropped_queue_full"], 0) | {
        "messages": 5,
        "whole": 4,
        "datagrams": 6,
        "queued": 5,
    }
    worker = WorkerSnapshot(0, True, counters, 0, 1, Histogram(()))
    assert (worker.queued, worker.held) == (0, 0)
