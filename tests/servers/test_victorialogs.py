"""The module victorialogs with the real server (.ci/install-victorialogs): everything arrives, or is a dead letter."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.protocol.message import Message
from netconsd.streams.deadletters import FILE
from netconsd.testing import crash_report, event, extended_message, legacy_message
from tests.support.servers import VICTORIALOGS, ServerProcess, free_port, listens, running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class VictoriaLogsServer(ServerProcess):
    """VictoriaLogs with its data in a directory."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.flags: list[str] = []
        command = [str(VICTORIALOGS), f"-httpListenAddr=127.0.0.1:{self.port}", f"-storageDataPath={directory}/data"]
        super().__init__(command, directory / "log", listens(self.port), {})

    @property
    def url(self) -> str:
        """The URL for the module."""
        return f"http://127.0.0.1:{self.port}"

    def rows(self) -> list[dict[str, str]]:
        """Return everything that it has."""
        with urlopen(f"{self.url}/internal/force_flush") as done:
            done.read()
        with urlopen(f"{self.url}/select/logsql/query?query=*") as answer:
            return [json.loads(line) for line in answer]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[VictoriaLogsServer]:
    """A running server."""
    if not VICTORIALOGS.exists():
        pytest.skip("needs VictoriaLogs: bash .ci/install-victorialogs")
    directory = tmp_path / "server"
    directory.mkdir()
    server = VictoriaLogsServer(directory)
    with running(server):
        yield server


@pytest.fixture
def stream(tmp_path: Path, server: VictoriaLogsServer) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a started module."""
    modules: list[Any] = []

    def start(**settings: object) -> Any:
        values = {"url": server.url, "directory": str(tmp_path / "stream"), "batch_seconds": "0.05s", **settings}
        typed = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
        module = load(["victorialogs"], {"victorialogs": typed}).loaded[0].module
        module.start(1)
        modules.append(module)
        return module

    yield start
    for module in modules:
        module.finish()


def fresh(count: int, first: int, now: float) -> list[Message]:
    """Return messages that are received now."""
    return [
        extended_message(f"line {seq}", seq=seq, ts_usec=1000 * seq, received_at=now + seq * 1e-6)
        for seq in range(first, first + count)
    ]


def number(module: Any, name: str) -> float:
    """Return a metric of the module."""
    found: float = next(metric.value for metric in module.metrics() if metric.name == f"stream_{name}")
    return found


def test_killed_while_messages_arrive(server: VictoriaLogsServer, stream: Callable[..., Any]) -> None:
    """Killed by SIGKILL under load, down for a while, and started again: it has every message, and none twice."""
    now = time.time()
    module = stream()
    for first in range(0, 10_000, 500):
        module.handle_batch(0, fresh(500, first, now))
    until(lambda: len(server.rows()) > 2000, "some messages")
    for first in range(10_000, 20_000, 500):
        module.handle_batch(0, fresh(500, first, now))
        if first == 12_000:
            server.kill()
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    server.start()
    until(lambda: len(server.rows()) >= 20_000, "all messages")
    module.finish()
    counted = Counter(row["id"].rpartition("/")[2] for row in server.rows())
    assert len(counted) == 20_000
    assert [seq for seq, count in counted.items() if count > 1] == []
    assert number(module, "sent_records") == number(module, "queued_records") == 20_000


def test_lines_that_it_would_drop_are_dead_letters(
    tmp_path: Path, server: VictoriaLogsServer, stream: Callable[..., Any]
) -> None:
    """Too old, too far ahead and too long: the server has the others, and the dead letters these, with the reason."""
    now = time.time()
    module = stream()
    bad = [
        extended_message("old", seq=1, received_at=now - 8 * 86_400),
        extended_message("ahead", seq=2, received_at=now + 3 * 86_400),
        extended_message("\x01" * 60_000, seq=3, received_at=now),
    ]
    good = [
        extended_message("", seq=4, received_at=now),
        legacy_message("<3>legacy", received_at=now),
        extended_message("edge of its days", seq=5, received_at=now - 6 * 86_400),
    ]
    module.handle_batch(0, [*bad, *good])
    module.handle_report(0, crash_report(received_at=now))
    module.handle_event(0, event(received_at=now, how="crash"))
    until(lambda: len(server.rows()) == 5, "the good records")
    module.finish()
    rows = {row["_msg"]: row for row in server.rows()}
    assert set(rows) == {
        *("(empty)", "legacy", "edge of its days", "rebooted; nothing announced it"),
        "BUG: unable to handle kernel NULL pointer dereference in widget_read",
    }
    assert (rows["legacy"]["level"], rows["rebooted; nothing announced it"]["details.how"]) == ("err", "crash")
    letters = [json.loads(line) for line in (tmp_path / "stream" / FILE).read_bytes().splitlines()]
    assert [letter["answer"].partition("server's ")[2] for letter in letters] == [
        *("-retentionPeriod", "-futureRetention", "-insert.maxLineSizeBytes")
    ]
    assert (number(module, "sent_records"), number(module, "dead_records")) == (5, 3)


def test_a_server_without_room(tmp_path: Path, server: VictoriaLogsServer, stream: Callable[..., Any]) -> None:
    """While its disk is full, records wait in the spool; then they arrive."""
    server.kill()
    server._command.append("-storage.minFreeDiskSpaceBytes=1000000GB")
    server.start()
    module = stream()
    module.handle_batch(0, fresh(100, 0, time.time()))
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    server.kill()
    server._command.pop()
    server.start()
    until(lambda: len(server.rows()) == 100, "all messages")
    module.finish()
    assert (number(module, "sent_records"), number(module, "dead_records")) == (100, 0)


def test_a_hanging_server_costs_nothing(server: VictoriaLogsServer, stream: Callable[..., Any]) -> None:
    """While it hangs, the module takes messages at once; they arrive when it continues."""
    module = stream(timeout="1s")
    now = time.time()
    module.handle_batch(0, fresh(10, 0, now))
    until(lambda: len(server.rows()) == 10, "the first messages")
    server.pause()
    for first in range(10, 5000, 10):
        module.handle_batch(0, fresh(10, first, now))
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    server.resume()
    until(lambda: len(server.rows()) == 5000, "all messages")
    module.finish()
    assert number(module, "sent_records") == 5000
