"""The closing totals are the whole ledger."""

from __future__ import annotations

from dataclasses import asdict, replace

from netconsd.monitor.snapshot import ListenerSnapshot, ModuleSnapshot, Snapshot, WorkerSnapshot
from netconsd.monitor.totals import OF_NOTE, totals
from netconsd.protocol.counters import COUNTERS, ListenerCounters, QueueCounters
from netconsd.receive.histogram import Histogram

NONE = Histogram(())
LISTENER = asdict(ListenerCounters())
WORKER = dict.fromkeys([*COUNTERS, *asdict(QueueCounters()), "acks_sent", "acks_failed", "acks_dropped"], 0)


def module(worker: int, messages: int, errors: int = 0) -> ModuleSnapshot:
    """What a worker counted of one."""
    return ModuleSnapshot("printer", worker, False, messages, errors, 2, 0.25, 0.0)


def test_nothing_is_left_out() -> None:
    """Whatever was counted is named with its number, in the line of who counted it."""
    listener = {name: 100 + number for number, name in enumerate(LISTENER)}
    worker = {name: 200 + number for number, name in enumerate(WORKER)}
    accounts = Snapshot(
        (ListenerSnapshot(0, listener, NONE, 0, 0),),
        (WorkerSnapshot(0, True, worker, 0, 0, NONE), WorkerSnapshot(1, True, WORKER, 0, 0, NONE)),
        (module(0, 3), module(1, 4, errors=1)),
    )
    lines = list(totals(accounts))
    assert lines[0].startswith("Listener 0: 100 datagrams; octets 101, dropped_by_kernel 102, ")
    assert lines[1].startswith(f"Worker 0: {worker['messages']} messages from {worker['senders_new']} senders; ")
    assert lines[2] == "Worker 1: 0 messages from 0 senders"
    assert lines[3] == "Module printer: 7 messages in 4 batches, 0.500 seconds, errors 1"
    assert lines[4].startswith("In all: 100 datagrams received, ")
    assert lines[5].startswith("Of note: dropped_by_kernel 102, ")
    assert len(lines) == 6
    for name, count in listener.items():
        assert f"{name} {count}" in lines[0] or name == "datagrams"
    for name, count in worker.items():
        assert f"{name} {count}" in lines[1] or name in ("messages", "senders_new")
    for name in OF_NOTE:
        assert f"{name} {(listener | worker)[name]}" in lines[5]


def test_a_quiet_daemon_says_little() -> None:
    """What is zero is not named."""
    lines = list(totals(Snapshot((ListenerSnapshot(0, LISTENER, NONE, 0, 0),), ())))
    assert lines == ["Listener 0: 0 datagrams", "In all: 0 datagrams received, 0 messages from 0 senders"]


def test_what_modules_lost_and_workers_abandoned() -> None:
    """What a module says that it lost, and what a worker that did not end has left, is named with the rest."""
    worker = WORKER | {"queued": 9, "datagrams": 4, "whole": 4, "messages": 3}
    accounts = Snapshot(
        (),
        (WorkerSnapshot(0, True, worker, 5, 0, NONE), WorkerSnapshot(1, False, worker, 5, 0, NONE)),
        (replace(module(0, 3), lost=2), replace(module(1, 3), lost=1)),
    )
    lines = list(totals(accounts))
    assert lines[2] == "Module printer: 6 messages in 4 batches, 0.500 seconds, lost 3"
    assert lines[-1] == "Of note: dropped_at_stop 6, lost_by_modules 3"
