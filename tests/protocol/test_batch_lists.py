"""The lists of a batch: those that do not fit together, or hold something other than bytes."""

from __future__ import annotations

import sysconfig

import pytest

from netconsd.build import COMPILED
from netconsd.protocol import octets
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import Source
from netconsd.protocol.table import SourceTable
from netconsd.settings import Settings

KEY = Source(bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 7)), 6665).key


def new_table(counters: WorkerCounters) -> SourceTable:
    """Return a table with the daemon's defaults."""
    settings = Settings()
    return SourceTable(
        counters,
        limit=settings.max_sources,
        reorder_time=settings.reorder,
        gc_interval=settings.gc_interval,
        age=settings.gc_age,
    )


def test_a_datagram_without_its_sender_is_an_error() -> None:
    """The compiled build does not read behind the end of a list that is too short."""
    counters = WorkerCounters()
    with pytest.raises(IndexError):
        new_table(counters).feed([KEY], [b"6,1,1,-;one\n", b"6,2,2,-;two\n"], 1.0, 1.0)
    assert counters.datagrams == 1


def test_a_datagram_that_is_no_bytes_is_an_error() -> None:
    """The compiled build does not take another object for bytes."""
    counters = WorkerCounters()
    with pytest.raises((TypeError, AttributeError)):
        new_table(counters).feed([KEY], ["6,1,1,-;one\n"], 1.0, 1.0)  # type: ignore[list-item]
    assert counters.messages == 0


def test_an_index_is_within_its_list() -> None:
    """No index counts from the end."""
    assert octets.item_at([b"a", b"b"], 1) == b"b"
    for index in (-1, 2):
        with pytest.raises(IndexError):
            octets.item_at([b"a", b"b"], index)


def test_without_the_gil_each_lane_has_keys_of_its_own() -> None:
    """Two lanes do not change the references of one key; with the GIL, a million senders cost no second copy."""
    table = new_table(WorkerCounters())
    [message] = table.feed([KEY], [b"6,1,1,-;one\n"], 1.0, 1.0)
    assert message.source.key == KEY
    without_gil = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert (message.source.key is KEY) != (COMPILED and without_gil)
