"""A flood of forged crashes, through a lane with the real recognisers, costs real senders no message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from netconsd.crash import watch
from netconsd.crash.report import Report
from netconsd.crash.watch import watches
from netconsd.protocol.message import Message
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from netconsd.testing import CRASH, crash_datagrams, extended, source
from tests.support.scripted_lane import Delivered, SameThread, put, run

FORGED = extended("BUG: kernel NULL pointer dereference, address: 0000000000000008", seq=1, level=1)
REAL = 3
# More senders than a worker remembers recognisers of, and more lines than its allowance for new reports.
STRANGERS = 5000
DATAGRAMS = int(watch.LINES_PER_SECOND * watch.BURST_SECONDS / 2 / watch.BEGIN_LINES) * 3


def real(number: int) -> bytes:
    """The key of a real sender."""
    return source(f"192.0.2.{number + 1}").key


def flood() -> Iterator[bytes]:
    """The keys of the forged senders, in turn, without end."""
    while True:
        yield from (source(f"10.0.{number >> 8}.{number & 255}").key for number in range(STRANGERS))


@pytest.mark.parametrize("wanted", [True, False], ids=["reports", "off"])
def test_real_senders_lose_nothing(wanted: bool) -> None:
    """Between the lines of a crash of each real sender the flood arrives: each message of all senders is delivered, in
    order, as if nobody wanted reports, although the allowances of the worker are used up."""
    deliver = Delivered()
    found: list[Any] = []
    failures: list[int] = []
    make = watches(wanted, wanted, lambda: failures.append(1))
    lane = Lane(
        3,
        deliver,
        Settings(workers=1, queue=10 * DATAGRAMS, reorder=0.0),
        clock=lambda: 0.0,
        thread=SameThread,
        watch=make() if wanted else None,
        publish=lambda worker, items: found.extend(items),
    )
    crash, forged = crash_datagrams(), flood()
    part = DATAGRAMS // len(crash)
    for datagram in crash:
        for number in range(REAL):
            put(lane, datagram, sender=real(number))
        lane.put([next(forged) for _ in range(part)], [FORGED] * part, 0.0, 0.0)
    run(lane)
    of_senders: dict[bytes, list[Message]] = {}
    for message in deliver.messages:
        of_senders.setdefault(message.source.key, []).append(message)
    for number in range(REAL):
        assert [message.text for message in of_senders.pop(real(number))] == list(CRASH)
    # Only copies of the first record of a stranger are dropped, as duplicates.
    assert len(of_senders) == min(STRANGERS, part * len(crash))
    assert lane.counters.messages + lane.counters.dropped_duplicate == len(crash) * (REAL + part)
    assert failures == []
    if wanted:
        assert lane.watch is not None
        assert lane.watch.counters.skipped > 0
        sources = {item.source.key for item in found if isinstance(item, Report) and item.source is not None}
        assert sources >= {real(number) for number in range(REAL)}
