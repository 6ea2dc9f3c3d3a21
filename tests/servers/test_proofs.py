"""The account of every sink with its server, at 2,000 messages a second: the server hangs, is killed, has a full disk,
or refuses every 50th record.

Not in CI, where other work takes the time that a server needs. Each fault lasts NETCONSD_PROOF_SECONDS, 60 for the
whole proof: ``NETCONSD_PROOF_SECONDS=3 pytest -m slow --timeout 600 tests/servers/test_proofs.py``.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from netconsd.streams.deadletters import FILE
from netconsd.testing import extended_message
from tests.servers.proofs import BAD, LONG, SUBJECTS, Subject
from tests.support.scripted_lane import PATIENCE
from tests.support.scripted_stream import made

SECONDS = float(os.environ.get("NETCONSD_PROOF_SECONDS", "3"))
#: Messages in a second, and in a call of the module.
RATE = 2000
BATCH = 100
#: Seconds before and after the fault.
AROUND = 1.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300 + 12 * SECONDS),
    pytest.mark.skipif("NETCONSD_PROOF_SECONDS" not in os.environ, reason="a proof: set NETCONSD_PROOF_SECONDS to 3"),
]


@dataclass
class Proof:
    """A running stream, what it was given, and what became of it."""

    subject: Subject
    module: Any
    directory: Path
    given: int = 0
    began_at: float = field(default_factory=time.monotonic)

    def give(self, seconds: float, bad: int = 0) -> None:
        """Hand over messages for some seconds; each of the number ``bad`` is one that the server refuses."""
        end = time.monotonic() + seconds
        at = time.monotonic()
        while at < end:
            now = time.time()
            numbers = range(self.given, self.given + BATCH)
            self.module.handle_batch(
                0,
                [
                    extended_message(
                        f"{BAD}{'x' * LONG}" if bad and n % bad == 0 else f"line {n}",
                        seq=n, ts_usec=1 + n, address=f"192.0.2.{n % 10}", received_at=now,
                    )
                    for n in numbers
                ],
            )  # fmt: skip
            self.given += BATCH
            at += BATCH / RATE
            time.sleep(max(0.0, at - time.monotonic()))

    def number(self, name: str) -> int:
        """Return a metric of the stream."""
        return int(next(metric.value for metric in self.module.metrics() if metric.name == f"stream_{name}"))

    def finish(self, report: Callable[[str], None]) -> None:
        """Wait until each record has an end, and compare the account with the server's records."""
        # A record waits for a minute between two attempts at most, and a server for its own time.
        idle = PATIENCE + 2 * 60
        end = time.monotonic() + idle

        def numbers() -> dict[str, int]:
            return {name: self.number(f"{name}_records") for name in ("queued", "sent", "dead", "dropped", "refused")}

        found = numbers()
        while found["sent"] + found["dead"] + found["dropped"] < self.given and time.monotonic() < end:
            time.sleep(0.1)
            before, found = found, numbers()
            if found != before:
                end = time.monotonic() + idle
        letters = self.directory / FILE
        dead = [json.loads(line)["id"] for line in letters.read_bytes().splitlines()] if letters.exists() else []
        there = self.subject.ids()
        while len(set(there)) < self.given - len(set(dead)) - found["dropped"] and time.monotonic() < end:
            time.sleep(0.2)
            there = self.subject.ids()
        copies = len(there) - len(set(there))
        twice = sum(count > 1 for count in Counter(there).values())
        report(
            f"given {self.given}, there {len(set(there))}, copies {copies} of {twice}, "
            f"sent {found['sent']}, dead {found['dead']}, dropped {found['dropped']}, "
            f"retried {self.number('retried_batches')}"
        )
        assert found["queued"] == self.given
        assert found["sent"] + found["dead"] + found["dropped"] == self.given
        assert len(dead) == len(set(dead)) == found["dead"]
        assert len(set(there)) + found["dead"] + found["dropped"] == self.given
        assert not set(there) & set(dead)
        if self.subject.exact:
            assert copies == 0


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that keeps the figures of a proof, in the file NETCONSD_PROOF_FILE if it is set."""

    def kept(text: str) -> None:
        line = f"{request.node.name}: {text}"
        print(line)
        path = os.environ.get("NETCONSD_PROOF_FILE")
        if path is not None:
            with Path(path).open("a") as file:
                file.write(line + "\n")

    return kept


@pytest.fixture
def proof_of(tmp_path: Path) -> Iterator[Callable[..., Proof]]:
    """Return a function that starts a server and a stream to it."""
    proofs: list[Proof] = []
    subjects: list[Subject] = []

    def started(name: str, *, small_disk: int = 0, refuses: bool = False) -> Proof:
        directory = tmp_path / "server"
        directory.mkdir()
        subject = SUBJECTS[name](directory, small_disk=small_disk)
        subjects.append(subject)
        if refuses and hasattr(subject, "refuses"):
            subject.refuses()
        subject.start()
        module = made(
            subject.module, tmp_path, directory=str(tmp_path / "stream"), batch_seconds="0.2s", timeout="2s",
            **subject.settings,
        )  # fmt: skip
        module.start(1)
        proofs.append(Proof(subject, module, tmp_path / "stream"))
        return proofs[-1]

    yield started
    for proof in proofs:
        proof.module.finish()
    # Also one whose start failed halfway.
    for subject in subjects:
        subject.stop()


def names(condition: Callable[[type[Subject]], bool] = lambda subject: True) -> list[str]:
    """Return the subjects that a proof can have."""
    return [name for name, subject in SUBJECTS.items() if condition(subject)]


@pytest.mark.parametrize("name", names())
def test_hangs(name: str, proof_of: Callable[..., Proof], report: Callable[[str], None]) -> None:
    """The server stops (SIGSTOP), and continues."""
    proof = proof_of(name)
    proof.give(AROUND)
    proof.subject.server.pause()
    proof.give(SECONDS)
    proof.subject.server.resume()
    proof.give(AROUND)
    proof.finish(report)


@pytest.mark.parametrize("name", names())
def test_killed(name: str, proof_of: Callable[..., Proof], report: Callable[[str], None]) -> None:
    """The server is killed (SIGKILL), and started again."""
    proof = proof_of(name)
    proof.give(AROUND)
    proof.subject.server.kill()
    proof.give(SECONDS)
    proof.subject.server.start()
    proof.give(AROUND)
    proof.finish(report)


@pytest.mark.parametrize("name", names(lambda subject: subject.disk is not None))
def test_full_disk(name: str, proof_of: Callable[..., Proof], report: Callable[[str], None]) -> None:
    """The server's disk is full, and has room again."""
    proof = proof_of(name, small_disk=round((SECONDS + 4 * AROUND) * RATE))
    proof.give(AROUND)
    proof.subject.fill()
    proof.give(SECONDS)
    proof.subject.empty()
    if proof.subject.restarts:
        proof.subject.server.kill()
        proof.subject.server.start()
    proof.give(AROUND)
    proof.finish(report)


@pytest.mark.parametrize("name", names(lambda subject: subject.answers))
def test_refuses(name: str, proof_of: Callable[..., Proof], report: Callable[[str], None]) -> None:
    """The answer is an error for every 50th record."""
    proof = proof_of(name, refuses=True)
    proof.give(2 * AROUND, bad=50)
    proof.finish(report)
    assert proof.number("dead_records") == proof.given // 50
