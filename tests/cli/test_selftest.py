"""The daemon with --selftest, as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import environment

# Blocks its worker, so that the messages arrive too late.
SLOW = """
import threading
from zope.interface import implementer
from netconsd.interfaces import IOutputModule

@implementer(IOutputModule)
class Slow:
    def start(self, worker_count): ...
    def handle(self, worker, message):
        threading.Event().wait(0.5)
    def stop(self): ...
"""


def command(*arguments: str) -> list[str]:
    """Return the command line of the daemon in the foreground, on a free port of 127.0.0.1."""
    return [sys.executable, "-m", "netconsd", "run", "-u0", "-a127.0.0.1", *arguments]


def test_failure(tmp_path: Path) -> None:
    """If the test messages do not arrive in time, the process ends with status 1 and the reason."""
    (tmp_path / "slow.py").write_text(SLOW)
    done = subprocess.run(
        command("--selftest", "--set", "selftest.timeout=0.2", "slow.py"),
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("netconsd: selftest: RuntimeError: IPv4: the full message did not arrive; IPv4: ")
    assert done.stderr.count("\n") == 1
    assert "selftest: IPv4: the last message did not arrive" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [("--selftest", "printer"), ("--set", "selftest.on_failure=log", "selftest")])
def test_success(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """If they arrive, the log says so, the daemon continues, and SIGHUP runs the test again."""
    with subprocess.Popen(
        command(*arguments),
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            for number in (signal.SIGHUP, signal.SIGTERM):
                lines = []
                for line in process.stdout:
                    lines.append(line)
                    if "selftest: 4 messages over IPv4 arrived intact in " in line:
                        break
                else:
                    pytest.fail("".join(lines))
                process.send_signal(number)
            rest = process.stdout.read()
        finally:
            process.kill()
    assert "14 datagrams received" in rest
    assert process.returncode == 0
