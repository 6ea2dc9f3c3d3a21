"""The proof ``brokers`` of the benchmarks."""

from __future__ import annotations

import re

import pytest

from benchmarks import __main__ as command
from benchmarks import brokers


def run_of(cpu: float, **figures: float) -> brokers.Run:
    """Return a run without loss at the full rate."""
    values = {"rate": 3e5, "dropped": 0, "lost": 0, "daemon": cpu, **figures}
    return brokers.Run(**values)  # type: ignore[arg-type]


def test_the_verdict() -> None:
    """The module's processes together are compared with the daemon alone in the same round, the processor with it as
    well."""
    runs = {
        "noop": [run_of(1.5e-6), run_of(3e-6), run_of(1.6e-6)],
        "nats": [run_of(1.8e-6, stream=3e-7, processor=1e-6), run_of(4e-6), run_of(2e-6, stream=4e-7, processor=1e-6)],
        "kafka": [run_of(1.6e-6, stream=1e-7)] * 3,
    }
    checks = brokers.checks(runs, 300_000)
    assert all(check.passed for check in checks)
    figures = {check.about: check.figure for check in checks}
    assert figures["nats: us more than a module that does nothing"] == 0.8
    assert figures["a processor's time, as a multiple of the reception's"] == 0.62
    runs["kafka"] = [run_of(2.7e-6, stream=9e-7, dropped=2, lost=1, rate=2e5)] * 3
    assert [check.about for check in brokers.checks(runs, 300_000) if not check.passed] == [
        "kafka: percent of the rate that was not sent",
        "kafka: messages not received in all runs",
        "kafka: messages lost in all runs",
        "kafka: us more than a module that does nothing",
    ]


@pytest.mark.slow
def test_small_brokers(capsys: pytest.CaptureFixture[str]) -> None:
    """Daemons send to both brokers, which acknowledge everything, and a processor takes it out."""
    pytest.importorskip("nats")
    pytest.importorskip("confluent_kafka")
    assert command.main(["brokers", "--seconds", "1", "--rate", "20000", "--runs", "1", "--no-pin"]) in (0, 1)
    out = capsys.readouterr().out
    assert re.search(
        r"^nats: \d+ messages/s, 0 not received, 0 lost, .* in the stream's process, .*; a processor ",
        out,
        re.MULTILINE,
    )
    assert re.search(r"^kafka: \d+ messages/s, 0 not received, 0 lost, .* in the stream's process", out, re.MULTILINE)
    assert "pass  kafka: messages lost in all runs: 0" in out
