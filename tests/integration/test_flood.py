"""A flood of datagrams with forged addresses, with real senders among them."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest_twisted
from twisted.internet.task import deferLater

from benchmarks.crowd import REAL, REAL_PREFIX, Crowd
from benchmarks.flood import send_batch
from netconsd.protocol.message import ExtendedMessage
from netconsd.send.fleet import FIRST_SEQ
from netconsd.send.source_addresses import LOOPBACK_BITS, Target, open_source_addresses
from netconsd.testing import RecordingModule
from tests.integration.rig import running

FORGED = 20_000
MAX_SOURCES = 2_000
# Datagrams in flight: fewer than the smallest receive buffer holds.
AT_A_TIME = 100


@pytest_twisted.ensureDeferred
async def test_forged_senders_evict_only_each_other() -> None:
    """With ten times as many forged senders as the table holds, a hundred real senders are never evicted, and all their
    messages are delivered in order."""
    from twisted.internet import reactor

    module = RecordingModule()
    crowd = Crowd(FORGED)
    sent = 0
    async with running({"module": module}, workers=2, max_sources=MAX_SOURCES) as service:
        origin = open_source_addresses(Target("127.0.0.1", service.port), None, LOOPBACK_BITS)
        try:
            for senders, datagrams in crowd.batches():
                send_batch(origin, senders, datagrams)
                sent += len(datagrams)
                while sent - service.snapshot().received > AT_A_TIME:
                    await deferLater(reactor, 0, lambda: None)
        finally:
            origin.close()
        while service.snapshot().received < sent:
            await deferLater(reactor, 0, lambda: None)
    snapshot = service.snapshot()
    assert snapshot.inconsistencies() == []
    assert snapshot.total("dropped_queue_full") == snapshot.total("dropped_by_kernel") == 0
    assert snapshot.total("senders_new") == FORGED + REAL
    assert snapshot.total("senders_evicted") == FORGED + REAL - MAX_SOURCES
    assert sum(worker.senders for worker in snapshot.workers) == MAX_SOURCES
    # An evicted sender's unfinished lines are delivered.
    assert sum(message.text.startswith("a line without an end") for message in module.messages) == FORGED // 4
    seqs: dict[str, list[int]] = defaultdict(list)
    marks: Counter[str] = Counter()
    for message in module.messages:
        if message.source.address.startswith(REAL_PREFIX):
            assert isinstance(message, ExtendedMessage)
            seqs[message.source.address].append(message.seq)
            marks["reset"] += message.seq_reset
            marks["harmed"] += bool(message.incomplete or message.missing or message.out_of_order)
    assert seqs.keys() == {f"{REAL_PREFIX}{number}" for number in range(REAL)}
    assert all(of_sender == list(range(FIRST_SEQ, FIRST_SEQ + crowd.messages // REAL)) for of_sender in seqs.values())
    assert marks == {"reset": REAL, "harmed": 0}
