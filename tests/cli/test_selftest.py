"""The daemon with --selftest, as a process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.processes import Daemon


@pytest.mark.parametrize("arguments", [("--selftest", "printer"), ("--set", "selftest.on_failure=log", "selftest")])
def test_success(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """If the test messages arrive, the log says so, the daemon continues, and SIGHUP runs the test again."""
    with Daemon(tmp_path, *arguments) as daemon:
        for number in (signal.SIGHUP, signal.SIGTERM):
            daemon.line("(selftest: 4 messages over IPv4)")
            daemon.process.send_signal(number)
        rest = daemon.end()
    assert "14 datagrams received" in rest
    assert daemon.process.returncode == 0
