"""The module alerts with its process: recipients that hang harm nobody else."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.testing import crash_report
from tests.support.servers import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_recipients_that_hang(tmp_path: Path) -> None:
    """With an Alertmanager, a webhook and a mail server that accept connections and say nothing, the command is run,
    and the faults name all three."""
    out = tmp_path / "out"
    # A shell: Python may take longer to start than the timeout.
    command = ["sh", "-c", f"cat >>{out}; echo >>{out}"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        values = {
            "alertmanager": [f"http://127.0.0.1:{port}"], "webhook": f"http://127.0.0.1:{port}/x",
            "email_to": ["ops@example.com"], "smtp": f"127.0.0.1:{port}", "command": command,
            "directory": str(tmp_path / "stream"), "batch_seconds": "0.05s", "wait": "0s", "timeout": "5s",
        }  # fmt: skip
        typed: dict[str, Any] = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
        module = load(["alerts"], {"alerts": typed}).loaded[0].module
        module.start(1)
        try:
            module.handle_report(0, crash_report("BUG: x", received_at=time.time(), fatal=True))
            until(out.exists, "the command")
            until(lambda: " ".join(module.faults()).count("not notified: ") == 3, "the three faults")
            faults = " ".join(module.faults())
            for name in ("alertmanager http://127.0.0.1", "webhook http://127.0.0.1", "mail 127.0.0.1"):
                assert name in faults
        finally:
            module.finish()
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [sorted(alert["id"] for alert in each["begun"]) for each in told] == [["died/192.0.2.1", "new/BUG: x"]]
