"""Addresses and interfaces that go and come back, with the kernel's own sockets and a service."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.network import obstacle
from tests.integration.rig import PATIENCE
from tests.support.tools import require

ROOT = Path(__file__).parents[2]


def test_a_service_receives_again() -> None:
    """While an address or an interface is gone, /readyz says so; when it is back, messages are received again: by the
    same socket, or by one that is bound to the new interface of the same name."""
    require("ip")
    reason = obstacle()
    if reason:
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.interfaces"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=2 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    gone = [
        "listener 0: 10.77.9.1 is no address of this machine at present (ip address shows them)\n",
        "listener 0: interface eth9 is gone\n",
    ]
    for number, text in enumerate(gone):
        assert steps[3 * number : 3 * number + 3] == [
            ["before", ["before"], "ok\n"],
            ["gone", ["before"], text],
            ["back", ["before", "after"], "ok\n"],
        ]
