"""Times of imported logs, which can be any: they are stored and found, and stop neither the compactor nor a reader."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store import Store
from netconsd.store.compactor import Compactor
from netconsd.store.packing import LATEST_SECONDS
from netconsd.store.query import Query

TIMES = {-1e12: 0.0, -5.5: 0.0, 0.25: 0.25, 1.7e9: 1.7e9, 3e11: LATEST_SECONDS, 1e300: LATEST_SECONDS, math.nan: 0.0}


@pytest.mark.parametrize("compacted", [False, True])
def test_any_time_is_stored(tmp_path: Path, compacted: bool) -> None:
    """A time before 1970 or after the year 9999 becomes the nearest one, in the journal and in a segment; each way of
    reading has all messages."""
    (tmp_path / layout.JOURNAL).mkdir()
    journal = Journal(tmp_path / layout.JOURNAL, 1, first_number=1, part_bytes=1 << 20, part_seconds=1, most_bytes=9999)
    for seq, at in enumerate(TIMES):
        journal.append(0, [extended_message("x", seq=seq, ts_usec=5, received_at=at)])
    journal.close()
    if compacted:
        made = Compactor(tmp_path)
        made.recover()
        assert made.compact()
    store = Store(tmp_path)
    found: dict[Any, float] = {stored.message.seq: stored.message.received_at for stored in store.messages()}  # type: ignore[attr-defined]
    assert [found[seq] for seq in range(len(TIMES))] == list(TIMES.values())
    assert [host.messages for host in store.hosts()] == [len(TIMES)]
    assert sum(count for _, _, count in store.counts()) == len(TIMES)
    assert sum(pattern.count for pattern in store.patterns()) == len(TIMES)


@pytest.mark.parametrize(
    "wrong",
    [{"since": math.inf}, {"until": math.nan}, {"since": -1e300}, {"boot": 10**30}, {"seq": -1}, {"seq": 1 << 64}],
)
def test_a_condition_that_nothing_can_meet(wrong: dict[str, Any]) -> None:
    """It is refused with its name."""
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: "):
        Query(**wrong)
