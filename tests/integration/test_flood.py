"""Strangers who forge a new address for each datagram, and real machines in their midst."""

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
# Sent before the daemon is waited for: less than the smallest receive buffer holds.
AT_A_TIME = 100


@pytest_twisted.ensureDeferred
async def test_forged_senders_push_out_each_other() -> None:
    """Ten times as many forged senders as are remembered, with all that makes others wait: a hundred real ones lose
    nothing, are never forgotten, and what comes of them is in order."""
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
    accounts = service.snapshot()
    assert accounts.inconsistencies() == []
    assert accounts.total("dropped_queue_full") == accounts.total("dropped_by_kernel") == 0
    assert accounts.total("senders_new") == FORGED + REAL
    assert accounts.total("senders_evicted") == FORGED + REAL - MAX_SOURCES
    assert sum(worker.senders for worker in accounts.workers) == MAX_SOURCES
    # What an evicted sender had begun is handed out, too.
    assert sum(message.text.startswith("a line without an end") for message in module.messages) == FORGED // 4
    numbers: dict[str, list[int]] = defaultdict(list)
    marks: Counter[str] = Counter()
    for message in module.messages:
        if message.source.address.startswith(REAL_PREFIX):
            assert isinstance(message, ExtendedMessage)
            numbers[message.source.address].append(message.seq)
            marks["reset"] += message.seq_reset
            marks["harmed"] += bool(message.incomplete or message.missing or message.out_of_order)
    assert numbers.keys() == {f"{REAL_PREFIX}{number}" for number in range(REAL)}
    assert all(each == list(range(FIRST_SEQ, FIRST_SEQ + crowd.messages // REAL)) for each in numbers.values())
    assert marks == {"reset": REAL, "harmed": 0}
