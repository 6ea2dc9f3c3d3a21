"""netconsd with --metrics as a process: its page, and the totals at its end."""

from __future__ import annotations

import re
import signal
import urllib.request
from pathlib import Path

from netconsd.testing import extended
from tests.support.loopback import send
from tests.support.processes import SECONDS, Daemon

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def test_a_monitored_daemon(tmp_path: Path) -> None:
    """The log has the URL of a page with the counters, and at the end the same numbers."""
    daemon = Daemon(tmp_path, "--metrics", "0", "printer")
    try:
        url = daemon.line(r"Metrics are at (http://127\.0\.0\.1:\d+/metrics)")
        send(daemon.port, *(extended(f"number {seq}", seq=seq) for seq in (1, 2, 2, 3)))
        daemon.line("(number 3)")
        with OPENER.open(url, timeout=SECONDS) as response:
            page = response.read().decode()
        daemon.process.send_signal(signal.SIGTERM)
        rest = daemon.end()
    finally:
        daemon.process.kill()
    assert 'netconsd_received_datagrams_total{listener="0"} 4.0\n' in page
    assert sum(map(float, re.findall(r"^netconsd_dropped_duplicate_datagrams_total\S+ (.*)$", page, re.MULTILINE))) == 1
    assert "Total: 4 datagrams received, 3 messages from 1 sender" in rest
    assert "inconsistent" not in rest
