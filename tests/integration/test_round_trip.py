"""netconsblaster to netconsd: every message is accounted for, in every format, with every fault."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import threads

from netconsd.protocol.counters import total
from netconsd.protocol.message import ExtendedMessage
from netconsd.send.fleet import FORMATS
from netconsd.testing import RecordingModule
from tests.integration.rig import run_of, running

ROOT = Path(__file__).parents[2]

# At this rate each sender's next message comes after 8 ms, well within the reorder time; and of each sender's messages
# that lack a part, 3 wait at a time, of the 16 that may.
SENDERS = 16
MESSAGES = 1000
RATE = 2000
FAULTS = {
    "none": [],
    "loss": ["--loss", "5"],
    "duplicate": ["--duplicate", "5"],
    "reorder": ["--reorder", "5"],
    "all": ["--loss", "5", "--duplicate", "5", "--reorder", "5"],
}


def blast(port: int, *options: str) -> dict[str, Any]:
    """Run netconsblaster to its end, while the caller's thread waits; return its account."""
    done = subprocess.run(
        [sys.executable, "-m", "netconsd", "blaster", "-p", str(port), "--json", *options],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=40,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    account: dict[str, Any] = json.loads(done.stdout)
    return account


async def round_trip(*options: str) -> tuple[dict[str, Any], dict[str, int], RecordingModule]:
    """A daemon that heard one netconsblaster: the one's account, the other's counters, and what its module got."""
    module = RecordingModule()
    async with running({"module": module}, rcvbuf=16 * 1024 * 1024) as service:
        account = await threads.deferToThread(blast, service.port, *options)
        lanes, readers = run_of(service).workers.lanes, run_of(service).readers
    counters = total(lane.counters for lane in lanes)
    counters["received"] = sum(reader.counters.datagrams for reader in readers)
    counters["not received"] = sum(reader.counters.dropped_by_kernel for reader in readers)
    counters["not received"] += sum(lane.queue_counters.dropped_queue_full for lane in lanes)
    return account, counters, module


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("format", FORMATS)
@pytest_twisted.ensureDeferred
async def test_every_message_is_accounted_for(format: str, faults: str) -> None:
    """The daemon's totals are what netconsblaster says that it sent and did, counter by counter."""
    account, counters, module = await round_trip(
        *("-o", "4", "-n", str(MESSAGES), "--rate", str(RATE), "--format", format, "--seed", "11", *FAULTS[faults])
    )
    sent, done, expected = account["sent"], account["faults"], account["netconsd"]
    pieces = 3 if format == "fragments" else 1
    assert counters["not received"] == 0
    assert counters["received"] == counters["datagrams"] == sent["datagrams"]
    assert sent["datagrams"] == MESSAGES * pieces - done["lost"] + done["duplicated"]
    assert counters["octets"] == sent["octets"]
    # What came late had been given up for missing, and lost, before.
    late = counters["late"] if format != "legacy" else 0
    found = {name: counters.get(name, 0) for name in expected} | {"senders": counters["senders_new"]}
    found["missing"] -= late
    found["lost"] -= late if format == "sysdata" else 0
    assert found == expected
    assert len(module.messages) == expected["messages"]
    # The faults that were asked for happened.
    assert [bool(done[name]) for name in ("lost", "duplicated", "reordered")] == [
        faults in (name, "all") for name in ("loss", "duplicate", "reorder")
    ]
    if format != "legacy":
        assert_once_and_in_order(module)


def assert_once_and_in_order(module: RecordingModule) -> None:
    """No message came twice, and each sender's in order, but for those that are marked."""
    last: dict[str, int] = {}
    seen = set()
    for message in module.messages:
        assert isinstance(message, ExtendedMessage)
        key = message.source.address, message.seq
        assert key not in seen
        seen.add(key)
        if not message.out_of_order:
            assert message.seq > last.get(message.source.address, 0)
            last[message.source.address] = message.seq
    assert len(last) == SENDERS


@pytest_twisted.ensureDeferred
async def test_threads_together() -> None:
    """What several threads do is one account."""
    account, counters, _ = await round_trip("-o", "5", "-t", "2", "-n", "400", "--rate", "4000", *FAULTS["all"])
    assert account["sent"]["messages"] == 1600
    assert counters["datagrams"] == account["sent"]["datagrams"]
    assert counters["messages"] == account["netconsd"]["messages"]
    assert counters["dropped_duplicate"] == account["netconsd"]["dropped_duplicate"]
    assert counters["missing"] - counters["late"] == account["netconsd"]["missing"]
    assert counters["senders_new"] == account["sent"]["senders"] == 32
