"""The page of the receiver shows what each of two receivers missed, in a processor."""

from __future__ import annotations

from dataclasses import replace

from netconsd.console.receiver import snapshot_fields
from netconsd.interfaces import ModuleMetric
from netconsd.monitor.snapshot import OwnSnapshot
from netconsd.protocol.counters import RECEIVER_COUNTERS
from netconsd.streams.copies import Heard, MissedOfHost, Summary, together
from tests.support.snapshots import full_snapshot

A, B = b"\xaa" * 16, b"\xbb" * 16


def test_a_receiver_has_no_receivers() -> None:
    """A daemon that takes nothing out of a broker shows none."""
    assert snapshot_fields(full_snapshot(), {}, 1000.0)["copies"] is None


def test_the_receivers_of_a_processor() -> None:
    """Messages, second copies, and missed messages less those that came late; ids in hexadecimal digits, and names."""
    summary = Summary(
        [Heard(A, messages=9, copies=4, received_at=990.0), Heard(B, messages=7, missed=5, late=2, completed=1)],
        *(12, 0, 3, 0, 4000),
        [MissedOfHost("192.0.2.1", B, 5)],
        {B: "hall-b"},
    )
    shown = snapshot_fields(replace(full_snapshot(), copies=summary), {}, 1000.0)
    empty = {"copies": 0, "missed": 0, "late": 0, "completed": 0}
    assert shown["copies"]["receivers"] == [
        {"receiver": "aa" * 16, "name": "", **empty, "messages": 9, "copies": 4, "last": 990.0},
        {
            "receiver": "bb" * 16,
            "name": "hall-b",
            **empty,
            "messages": 7,
            "missed": 3,
            "late": 2,
            "completed": 1,
            "last": None,
        },
    ]
    assert shown["copies"]["most_missed"] == [
        {"address": "192.0.2.1", "receiver": "bb" * 16, "name": "hall-b", "missed": 5}
    ]
    assert shown["copies_help"] == {row.name: row.help for row in RECEIVER_COUNTERS}


def test_the_broker_of_a_processor() -> None:
    """A processor has its broker's numbers and faults; a receiver has none, whatever a module of it is called."""
    own = (OwnSnapshot("process", (ModuleMetric("broker_damaged", "Dropped.", 3, counter=True),), ("away",)),)
    receiver = replace(full_snapshot(), own=own)
    assert snapshot_fields(receiver, {}, 1000.0)["broker"] is None
    processor = replace(receiver, copies=together([]))
    assert snapshot_fields(processor, {}, 1000.0)["broker"] == {
        "faults": ["away"], "numbers": {"damaged": 3}, "help": {"damaged": "Dropped."},
    }  # fmt: skip


def test_partitions_together() -> None:
    """Each partition has copies of its own; the page shows their sum."""
    one = Summary([Heard(B, messages=2, received_at=5.0)], 1, 2, 3, 4, 5, [MissedOfHost("192.0.2.1", B, 1)])
    two = Summary([Heard(A, messages=1), Heard(B, messages=3, copies=1)], 1, 2, 3, 4, 5, [MissedOfHost("::1", A, 7)])
    both = together([one, two], most=1)
    assert both.receivers == [Heard(A, messages=1), Heard(B, messages=5, copies=1, received_at=5.0)]
    assert (both.handed_on, both.held, both.hosts, both.forgotten, both.cost) == (2, 4, 6, 8, 10)
    assert both.most_missed == [MissedOfHost("::1", A, 7)]
