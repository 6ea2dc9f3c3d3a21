"""Flood, soak and overload work, and fail when messages are lost. The capacity of a machine is not tested here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import bounds, builds, daemon_log, findings, flood, overload, receivers, soak
from benchmarks.crowd import FIRST_FORGED, FORGED_PER_MESSAGE, REAL, Crowd
from benchmarks.pressure import FIRST_FORGED as FIRST_FORGED_OF_PRESSURE
from benchmarks.pressure import KINDS, LARGEST, Pressure
from benchmarks.pressure import REAL as REAL_OF_A_FORMAT
from benchmarks.scenarios import Build
from benchmarks.soak import LIFE, Sample, cohorts, ends
from benchmarks.verdict import Check, verdict
from netconsd.build import COMPILED
from netconsd.protocol.encode import CHUNK
from netconsd.send.fleet import FORMATS, Fleet, Template
from netconsd.settings import Settings

# Slow: what is sent while the daemon waits for the processor comes at once, and must not fill the table.
SMALL = ["flood", "--forged", "5000", "--max-sources", "2000", "--rate", "1000", "--build", "plain"]
# A queue that is full within a tenth of a second, so small that a missing bound shows in the memory.
QUEUE = ["overload", "--only=queue", "--seconds=4", "--rate=20000", "-w1", "--queue=500", "--batch=8"]


def test_crowd() -> None:
    """Each forged datagram has its own address, none of a real sender; real senders send equally many messages."""
    crowd = Crowd(10_000)
    senders: Counter[int] = Counter()
    for numbers, datagrams in crowd.batches():
        assert len(numbers) == len(datagrams) and max(map(len, datagrams)) <= CHUNK
        senders.update(set(numbers))
    assert sum(sender >= FIRST_FORGED for sender in senders) == 10_000
    assert {sender: count for sender, count in senders.items() if sender < FIRST_FORGED} == dict.fromkeys(
        range(REAL), 10_000 // FORGED_PER_MESSAGE // REAL
    )


@pytest.mark.slow
def test_small_flood(capsys: pytest.CaptureFixture[str]) -> None:
    """A flooded daemon passes all checks."""
    assert command.main(SMALL) == 0
    out = capsys.readouterr().out
    assert "5000 forged senders and 500 messages of 100 real ones" in out
    assert "FAIL" not in out


@pytest.mark.slow
def test_flood_with_losses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost messages of real senders are a failed check, and status 1."""
    send_batch = flood.send_batch

    def lossy(addresses: object, senders: list[int], datagrams: list[bytes]) -> None:
        send_batch(addresses, senders[1:], datagrams[1:])  # type: ignore[arg-type]

    monkeypatch.setattr(flood, "send_batch", lossy)
    assert command.main(SMALL) == 1
    assert "FAIL  messages of real senders that did not arrive: " in capsys.readouterr().out


def test_cohorts() -> None:
    """A cohort starts each second, with formats in turn; addresses are used again 12 seconds later."""
    schedule = list(cohorts(30.0))
    assert [start for start, _ in schedule] == list(range(30 - LIFE + 1))
    first = [fleet.message(0)[0] for _, fleet in schedule]
    assert first[:13] == [*range(0, 1200, 100), 0]
    # After a "reboot" the first message differs.
    assert schedule[0][1].message(0) != schedule[12][1].message(0)


def test_growth() -> None:
    """Growth is between the peaks of the second and the last fifth of the time."""
    samples = [Sample(float(at), memory, 10) for at, memory in enumerate([50, 99, 20, 25, 24, 23, 22, 21, 30, 29])]
    early, late = ends(samples)
    assert (early.memory, late.memory) == (25, 30)


def test_soak_sends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sender sends all of its messages, also if the program falls behind."""
    monkeypatch.setattr(soak, "NEW", 3)
    monkeypatch.setattr("benchmarks.proc.memory", lambda pid: (1, 1))
    sent: list[int] = []
    monkeypatch.setattr(soak, "send_batch", lambda addresses, senders, datagrams: sent.extend(senders))
    times = iter([0.0, 0.5, 3.0, 50.0])
    arrivals = iter([(0, Fleet(Template("extended"), 3, 0)), (1, Fleet(Template("extended"), 3, 0))])
    messages, samples = soak.run(arrivals, None, os.getpid(), clock=lambda: next(times))  # type: ignore[arg-type]
    assert messages == len(sent) == 2 * 3 * soak.MESSAGES
    assert [sample.at for sample in samples] == [0.5, 3.0, 50.0]


@pytest.fixture
def small_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two new senders per second, each for one second; an address is used again three seconds later, and its sender is
    removed after half of that time."""
    for name, value in {"NEW": 2, "LIFE": 1, "MESSAGES": 50, "BLOCKS": 4, "GC": "100/1500"}.items():
        monkeypatch.setattr(soak, name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("small_soak")
def test_small_soak(capsys: pytest.CaptureFixture[str]) -> None:
    """A soak passes all checks."""
    assert command.main(["soak", "--minutes", "0.117", "--build", "plain"]) == 0
    out = capsys.readouterr().out
    assert "14 senders, 700 messages in " in out
    assert out.count("pass  ") == 6
    assert "FAIL" not in out


# Leaks some megabytes per second.
LEAK = """
from zope.interface import moduleProvides
from netconsd.interfaces import IOutputModule
moduleProvides(IOutputModule)
kept = []
def start(worker_count): ...
def handle(worker, message):
    kept.append(b"x" * 300_000)
def stop(): ...
"""


@pytest.mark.slow
@pytest.mark.usefixtures("small_soak")
def test_soak_with_losses_and_a_leak(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Lost messages and growing memory are failed checks, and status 1."""
    leak = tmp_path / "leak.py"
    leak.write_text(LEAK)
    daemon, send_batch = receivers.daemon, flood.send_batch

    def leaking(tree: Path, module: str, options: Sequence[str], *rest: Any) -> Any:
        return daemon(tree, module, (*options, str(leak)), *rest)

    def lossy(addresses: Any, senders: list[int], datagrams: list[bytes]) -> None:
        kept = [pair for pair in zip(senders, datagrams, strict=True) if pair[0] != 1]
        send_batch(addresses, [sender for sender, _ in kept], [datagram for _, datagram in kept])

    monkeypatch.setattr(receivers, "daemon", leaking)
    monkeypatch.setattr(soak, "send_batch", lossy)
    assert command.main(["soak", "--minutes", "0", "--build", "plain"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  messages that did not arrive: 50, at most 0" in out
    assert "FAIL  growth of memory, in percent: " in out


@pytest.mark.slow
@pytest.mark.parametrize("build", ["compiled", "plain"] if COMPILED else ["plain"])
def test_small_overload(build: Build, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon whose module blocks while its queue fills passes all checks."""
    # Other processes may have the processors for a second: how soon it recovers is measured on a quiet machine.
    for name in ("RECOVERY_SECONDS", "AT_ONCE_SECONDS"):
        monkeypatch.setattr(overload, name, 5.0)
    assert command.main([*QUEUE, "--build", build]) == 0, capsys.readouterr().out
    assert "pass  bounds that were not reached: 0" in capsys.readouterr().out


@pytest.mark.slow
def test_overload_without_a_bound(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unbounded queue fails two checks: the bound that is not reached, and the memory."""
    checkout = builds.checkout

    def without_a_limit(build: Build, target: Path) -> Path:
        tree = checkout(build, target)
        workers = tree / "netconsd/receive/lanes.py"
        text = workers.read_text()
        assert "self._limit = settings.queue" in text
        workers.write_text(text.replace("self._limit = settings.queue", "self._limit = 10**9"))
        return tree

    monkeypatch.setattr(builds, "checkout", without_a_limit)
    monkeypatch.setattr(overload, "TURNS", 1)
    monkeypatch.setattr(overload, "BLOCKED", 0.99)
    monkeypatch.setattr(bounds, "DELIVERY_BYTES", bounds.MIB)
    assert command.main([*QUEUE, "--build", "plain"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  bounds that were not reached: 1" in out
    assert "FAIL  peak of memory above that at rest" in out


def test_pressure() -> None:
    """The kinds take turns, up to the largest datagrams; forged senders are new in each batch, and none is real."""
    pressure = Pressure(list(KINDS))
    forged_before: set[int] = set()
    sizes: set[int] = set()
    for number in range(50 * len(KINDS)):
        senders, datagrams = pressure.next()
        assert len(senders) == len(datagrams)
        sizes.update(map(len, datagrams))
        forged = {sender for sender in senders if sender >= FIRST_FORGED_OF_PRESSURE}
        assert not forged & forged_before
        forged_before |= forged
        assert bool(forged) == (list(KINDS)[number % len(KINDS)] not in ("real", "queue"))
        assert forged or max(senders) < REAL_OF_A_FORMAT * len(FORMATS)
    assert max(sizes) == LARGEST


def test_bound_in_the_docs() -> None:
    """docs/security has each line of the bound with the default settings, and the sum."""
    text = (Path(__file__).parents[2] / "docs/security.rst").read_text()
    for build in bounds.SENDER_BYTES:
        lines = bounds.bounds(Settings(), build, free_threaded=False)
        for line in lines:
            assert f"{line.bytes / bounds.MIB:.0f} MiB" in text, line
        assert f"{sum(line.bytes for line in lines) / bounds.MIB:.0f} MiB" in text
        free_threaded = bounds.bounds(Settings(), build, free_threaded=True)
        assert f"{sum(line.bytes for line in free_threaded) / bounds.MIB:.0f} MiB" in text


def test_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """One figure above its limit, or negative, fails."""
    assert verdict([Check("a", 1, 1), Check("b", 0, 0)]) == 0
    assert verdict([Check("a", 1, 1), Check("b", 0.5, 0)]) == 1
    assert verdict([Check("messages lost", -1, 0)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAIL  messages lost: -1, at most 0"


def test_daemon_log() -> None:
    """The totals, the notable counters and the sums of the workers' counters are read from the daemon's log."""
    log = (
        "Worker 0: 5 messages from 1 sender; datagrams 6, missing 1\nWorker 1: 5 messages from 2 senders; datagrams 6\n"
        "Total: 13 datagrams received, 10 messages from 3 senders\n"
        "2026-11-28T01:02:03+0000 [netconsd#info] 1 datagram dropped because the queue was full (dropped_queue_full)\n"
        "2026-11-28T01:02:03+0000 [netconsd#info] 1 sequence number not seen (missing)\n"
    )
    notes = {"dropped_queue_full": 1, "missing": 1}
    assert daemon_log.totals(log) == daemon_log.Totals(13, 10, 3, notes, {"datagrams": 12, "missing": 1})
    short = "netconsd: 2 records lost (lost)\nnetconsd: warning: 1 datagram dropped (x)\nnetconsd: 3 others\n"
    assert daemon_log.notable(short) == {"lost": 2, "x": 1}
    with pytest.raises(daemon_log.LogError, match="has no totals"):
        daemon_log.totals("")
    with pytest.raises(daemon_log.LogError, match="Worker 0 failed"):
        daemon_log.totals(f"Worker 0 failed: oops\n{log}")


@pytest.mark.slow
def test_small_findings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each figure is measured, and only what it measures decides: a small file costs mostly the start of a process."""
    for name in ("MESSAGE_US", "CRASH_MS", "GIGABYTE_SECONDS"):
        monkeypatch.setattr(findings, name, 1e9)
    small = ["findings", "--rounds", "1", "--messages", "2000", "--megabytes", "1"]
    assert command.main(small) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[1:]] == ["pass"] * 3
    monkeypatch.setattr(findings, "CRASH_MS", 0.0)
    assert command.main(small) == 1
    assert "FAIL  ms for a crash of 200 lines: " in capsys.readouterr().out


def test_the_quiet_file(tmp_path: Path) -> None:
    """It has the size that was asked for, and no report."""
    path = findings.quiet_file(tmp_path / "console.log", 100_000)
    assert path.stat().st_size == 100_000
    assert findings.reading(path)() > 0
