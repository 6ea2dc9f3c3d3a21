"""Flood, soak and overload work, and say so when something is lost. How much a machine can take is not tested here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import bounds, builds, flood, overload, receivers, soak
from benchmarks.crowd import FIRST_FORGED, FORGED_PER_MESSAGE, REAL, Crowd
from benchmarks.pressure import FIRST_FORGED as FIRST_STRANGER
from benchmarks.pressure import KINDS, LARGEST, Pressure
from benchmarks.pressure import REAL as REAL_OF_A_FORMAT
from benchmarks.scenarios import Build
from benchmarks.soak import LIFE, Sample, cohorts, ends
from benchmarks.verdict import Check, told
from netconsd.build import COMPILED
from netconsd.protocol.encode import CHUNK
from netconsd.send.fleet import FORMATS
from netconsd.settings import Settings
from tests.send.test_link import fleet_of

SMALL = ["flood", "--forged", "5000", "--max-sources", "2000", "--rate", "5000", "--build", "plain"]
# A queue that is full within a tenth of a second, and of which a bound on memory would be noticed.
QUEUE = [
    "overload",
    "--only",
    "queue",
    "--seconds",
    "4",
    "-w",
    "1",
    "--queue",
    "500",
    "--batch",
    "8",
    "--rate",
    "20000",
]


def test_a_crowd() -> None:
    """Each stranger has an address of his own, none that of a real sender; these send as many messages each."""
    crowd = Crowd(10_000)
    senders: Counter[int] = Counter()
    for numbers, datagrams in crowd.batches():
        assert len(numbers) == len(datagrams) and max(map(len, datagrams)) <= CHUNK
        senders.update(set(numbers))
    assert sum(sender >= FIRST_FORGED for sender in senders) == 10_000
    assert {sender: count for sender, count in senders.items() if sender < FIRST_FORGED} == dict.fromkeys(
        range(REAL), 10_000 // FORGED_PER_MESSAGE // REAL
    )


def test_a_small_flood(capsys: pytest.CaptureFixture[str]) -> None:
    """From end to end: a daemon is flooded, everything is checked, and all is well."""
    assert command.main(SMALL) == 0
    out = capsys.readouterr().out
    assert "5000 forged senders and 500 messages of 100 real ones" in out
    assert "FAIL" not in out


def test_a_flood_that_real_senders_do_not_survive(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a real sender sent and the daemon did not get is a failure, by name and status."""
    send_batch = flood.send_batch

    def lossy(origin: object, senders: list[int], datagrams: list[bytes]) -> None:
        send_batch(origin, senders[1:], datagrams[1:])  # type: ignore[arg-type]

    monkeypatch.setattr(flood, "send_batch", lossy)
    assert command.main(SMALL) == 1
    assert "FAIL  messages of real senders that did not arrive: " in capsys.readouterr().out


def test_addresses_come_again_when_they_are_forgotten() -> None:
    """A cohort each second, of every format by turns; an address comes again 12 seconds later."""
    found = list(cohorts(30.0))
    assert [start for start, _ in found] == list(range(30 - LIFE + 1))
    first = [fleet.message(0)[0] for _, fleet in found]
    assert first[:13] == [*range(0, 1200, 100), 0]
    # A rebooted machine's first message is another one.
    assert found[0][1].message(0) != found[12][1].message(0)


def test_growth_is_seen() -> None:
    """What there was at most in the second fifth, and in the last; the time before does not count."""
    samples = [Sample(float(at), memory, 10) for at, memory in enumerate([50, 99, 20, 25, 24, 23, 22, 21, 30, 29])]
    early, late = ends(samples)
    assert (early.memory, late.memory) == (25, 30)


def test_soak_sends_all_of_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of those who come sends all of its messages, however late the sender is."""
    monkeypatch.setattr(soak, "NEW", 3)
    monkeypatch.setattr("benchmarks.proc.memory", lambda pid: (1, 1))
    sent: list[int] = []
    monkeypatch.setattr(soak, "send_batch", lambda origin, senders, datagrams: sent.extend(senders))
    times = iter([0.0, 0.5, 3.0, 50.0])
    coming = iter([(0, fleet_of(3)), (1, fleet_of(3))])
    messages, samples = soak.run(coming, None, os.getpid(), clock=lambda: next(times))  # type: ignore[arg-type]
    assert messages == len(sent) == 2 * 3 * soak.MESSAGES
    assert [sample.at for sample in samples] == [0.5, 3.0, 50.0]


@pytest.fixture
def small_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two senders come each second, for one second; an address comes again after three more, and is forgotten after
    half of that."""
    for name, value in {"NEW": 2, "LIFE": 1, "MESSAGES": 50, "BLOCKS": 4, "GC": "100/1500"}.items():
        monkeypatch.setattr(soak, name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("small_soak")
def test_a_small_soak(capsys: pytest.CaptureFixture[str]) -> None:
    """From end to end: senders come, are forgotten, and come again; everything is checked, and all is well."""
    assert command.main(["soak", "--minutes", "0.117", "--build", "plain"]) == 0
    out = capsys.readouterr().out
    assert "14 senders, 700 messages in " in out
    assert out.count("pass  ") == 6
    assert "FAIL" not in out


# Takes some megabytes in each second, and does not give them back.
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
def test_a_soak_that_loses_messages_and_takes_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was sent and did not arrive, and memory that grows on, are failures, by name and status."""
    leak = tmp_path / "leak.py"
    leak.write_text(LEAK)
    daemon, send_batch = receivers.daemon, flood.send_batch

    def leaking(tree: Path, module: str, options: Sequence[str], *rest: Any) -> Any:
        return daemon(tree, module, (*options, str(leak)), *rest)

    def lossy(origin: Any, senders: list[int], datagrams: list[bytes]) -> None:
        kept = [pair for pair in zip(senders, datagrams, strict=True) if pair[0] != 1]
        send_batch(origin, [sender for sender, _ in kept], [datagram for _, datagram in kept])

    monkeypatch.setattr(receivers, "daemon", leaking)
    monkeypatch.setattr(soak, "send_batch", lossy)
    assert command.main(["soak", "--minutes", "0", "--build", "plain"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  messages that did not arrive: 50, at most 0" in out
    assert "FAIL  growth of memory, in percent: " in out


@pytest.mark.parametrize("build", ["compiled", "plain"] if COMPILED else ["plain"])
def test_a_small_overload(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    """From end to end: a module stands still, the queue fills up, and afterwards nothing is lost any more."""
    assert command.main([*QUEUE, "--build", build]) == 0, capsys.readouterr().out
    assert "pass  bounds that were not reached: 0" in capsys.readouterr().out


def test_an_overload_without_a_bound(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that takes everything is a failure: of the bound that is not reached, and of the memory."""
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
    monkeypatch.setattr(overload, "STANDS", 0.99)
    monkeypatch.setattr(bounds, "HAND_BYTES", bounds.MIB)
    assert command.main([*QUEUE, "--build", "plain"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  bounds that were not reached: 1" in out
    assert "FAIL  memory at most, above that at rest" in out


def test_pressure() -> None:
    """Every kind is sent by turns, up to the largest datagrams; strangers are new each time, and none of them real."""
    pressure = Pressure(list(KINDS))
    strangers: set[int] = set()
    sizes: set[int] = set()
    for number in range(50 * len(KINDS)):
        senders, datagrams = pressure.next()
        assert len(senders) == len(datagrams)
        sizes.update(map(len, datagrams))
        forged = {sender for sender in senders if sender >= FIRST_STRANGER}
        assert not forged & strangers
        strangers |= forged
        assert bool(forged) == (list(KINDS)[number % len(KINDS)] not in ("real", "queue"))
        assert forged or max(senders) < REAL_OF_A_FORMAT * len(FORMATS)
    assert max(sizes) == LARGEST


def test_the_bound_is_that_of_the_docs() -> None:
    """docs/security has the sum, and each line of it, with the defaults."""
    text = (Path(__file__).parents[2] / "docs/security.rst").read_text()
    for build in bounds.SENDER_BYTES:
        lines = bounds.bounds(Settings(), build)
        for line in lines:
            assert f"{line.octets / bounds.MIB:.0f} MiB" in text, line
        assert f"{sum(line.octets for line in lines) / bounds.MIB:.0f} MiB" in text


def test_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """One figure above its limit, or below nothing, is enough to fail."""
    assert told([Check("a", 1, 1), Check("b", 0, 0)]) == 0
    assert told([Check("a", 1, 1), Check("b", 0.5, 0)]) == 1
    assert told([Check("more came than was sent", -1, 0)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAIL  more came than was sent: -1, at most 0"
