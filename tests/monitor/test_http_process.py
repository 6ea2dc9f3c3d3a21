"""netconsd with --metrics as a process: the page, a port that is taken, and accounts that close at the end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from netconsd.testing import extended
from tests.support.loopback import send
from tests.support.processes import command, environment, failed, twistd

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
DEADLINE = 20.0


def read_until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first line of its output that matches."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        found = re.search(pattern, line)
        if found:
            return found
    pytest.fail("".join(seen))


def test_a_monitored_daemon(tmp_path: Path) -> None:
    """It says where its page is, the page has what was received, and in the end all of it is accounted for."""
    with subprocess.Popen(
        command("-n", "netconsd", "-u0", "-a127.0.0.1", "--metrics", "0", "printer"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            port = int(read_until(process, r"UDP port (\d+)")[1])
            url = read_until(process, r"Metrics are at (http://127\.0\.0\.1:\d+/metrics)")[1]
            send(port, *(extended(f"number {seq}", seq=seq) for seq in (1, 2, 2, 3)))
            read_until(process, "number 3")
            with OPENER.open(url, timeout=DEADLINE) as response:
                page = response.read().decode()
            process.send_signal(signal.SIGTERM)
            assert process.stdout is not None
            rest = process.stdout.read()
        finally:
            process.kill()
    assert 'netconsd_received_datagrams_total{listener="0"} 4.0\n' in page
    assert sum(map(float, re.findall(r"^netconsd_dropped_duplicate_datagrams_total\S+ (.*)$", page, re.MULTILINE))) == 1
    assert "Listener 0: 4 datagrams; octets " in rest
    assert "Module printer: 3 messages in " in rest
    assert "In all: 4 datagrams received, 3 messages from 1 senders" in rest
    assert "does not close" not in rest


def test_a_port_for_metrics_that_is_taken(tmp_path: Path) -> None:
    """One line on stderr that names the option, status 1, and no pid file stays."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        done = twistd(tmp_path, "-n", "netconsd", "-u0", "-a127.0.0.1", "--metrics", str(number))
    told = failed(done, tmp_path)
    assert told.startswith(f"netconsd: --metrics: {number} is in use already; stop the program that has it (ss -tlpn")
    assert told.count("\n") == 1


def test_a_library_that_is_missing(tmp_path: Path) -> None:
    """One line that says what to install."""
    (tmp_path / "prometheus_client.py").write_text("raise ModuleNotFoundError(name='prometheus_client')")
    done = twistd(tmp_path, "-n", "netconsd", "-u0", "-a127.0.0.1", "--metrics", "0")
    told = failed(done, tmp_path)
    assert told == (
        "netconsd: --metrics: needs the Python package prometheus_client, which is not installed; "
        "pip install 'netconsd[metrics]'\n"
    )
