"""netconsblaster to netconsd: both count the same, in every format, with and without faults."""

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

# At this rate each sender's next message follows after 8 ms, well within the reorder time; and each sender has about 3
# incomplete messages at a time, of the 16 that are held.
SENDERS = 16
MESSAGES = 1000
RATE = 2000
FAULTS = ["--loss", "5", "--duplicate", "5", "--reorder", "5"]


def blast(port: int, *options: str) -> dict[str, Any]:
    """Run netconsblaster to its end; return its summary. Blocks the calling thread."""
    done = subprocess.run(
        [sys.executable, "-m", "netconsd", "blaster", "-p", str(port), "--json", *options],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=40,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


async def round_trip(*options: str) -> tuple[dict[str, Any], dict[str, int], RecordingModule]:
    """Run netconsblaster against a daemon; return its summary, the daemon's counters, and the recording module."""
    module = RecordingModule()
    async with running({"module": module}, rcvbuf=16 * 1024 * 1024) as service:
        summary = await threads.deferToThread(blast, service.port, *options)
        lanes, readers = run_of(service).workers.lanes, run_of(service).readers
    counters = total(lane.counters for lane in lanes)
    counters["received"] = sum(reader.counters.datagrams for reader in readers)
    counters["not received"] = sum(reader.counters.dropped_by_kernel or 0 for reader in readers)
    counters["not received"] += sum(lane.queue_counters.dropped_queue_full for lane in lanes)
    return summary, counters, module


@pytest.mark.parametrize(("format", "faults"), [("extended", []), *((format, FAULTS) for format in FORMATS)])
@pytest_twisted.ensureDeferred
async def test_counters(format: str, faults: list[str]) -> None:
    """The daemon's counters are those that netconsblaster predicts."""
    summary, counters, module = await round_trip(
        *("-o", "4", "-n", str(MESSAGES), "--rate", str(RATE), "--format", format, "--seed", "11", *faults)
    )
    sent, done, expected = summary["sent"], summary["faults"], summary["netconsd"]
    pieces = 3 if format == "fragments" else 1
    assert counters["not received"] == 0
    assert counters["received"] == counters["datagrams"] == sent["datagrams"]
    assert sent["datagrams"] == MESSAGES * pieces - done["lost"] + done["duplicated"]
    assert counters["bytes"] == sent["octets"]
    # Late messages were counted as missing, and as lost, before.
    late = counters["late"] if format != "legacy" else 0
    actual = {name: counters.get(name, 0) for name in expected} | {"senders": counters["senders_new"]}
    actual["missing"] -= late
    actual["lost"] -= late if format == "sysdata" else 0
    assert actual == expected
    assert len(module.messages) == expected["messages"]
    assert all(done.values()) if faults else not any(done.values())
    if format != "legacy":
        assert_once_and_in_order(module)


def assert_once_and_in_order(module: RecordingModule) -> None:
    """No message was delivered twice; each sender's are in order, except those marked out of order."""
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
    """The summary of several threads is the sum of their counters."""
    summary, counters, _ = await round_trip("-o", "5", "-t", "2", "-n", "400", "--rate", "4000", *FAULTS)
    assert summary["sent"]["messages"] == 1600
    assert counters["datagrams"] == summary["sent"]["datagrams"]
    assert counters["messages"] == summary["netconsd"]["messages"]
    assert counters["dropped_duplicate"] == summary["netconsd"]["dropped_duplicate"]
    assert counters["missing"] - counters["late"] == summary["netconsd"]["missing"]
    assert counters["senders_new"] == summary["sent"]["senders"] == 32
