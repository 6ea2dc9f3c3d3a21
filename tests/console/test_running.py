"""The console from end to end: the command, real processes, real connections."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError

import pytest

from netconsd.console import limits
from netconsd.testing import crash_datagrams, extended
from tests.console.running import Events, Running
from tests.console.stores import T0, small
from tests.support.scripted_lane import PATIENCE

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A running console."""
    made = Running(tmp_path / "store", tmp_path / "log")
    yield made
    made.stop()


def said(first: int, count: int) -> list[bytes]:
    """Return datagrams."""
    return [
        extended(f"m {number}", seq=number, ts_usec=number + 1, release="6.12.0")
        for number in range(first, first + count)
    ]


def test_from_a_datagram_to_the_page(running: Running) -> None:
    """A crash that a machine sends is in the tail, in the list of crashes, and in the search."""
    events = Events(running.http, "")
    running.send(crash_datagrams(release="6.12.0"))
    found = next(data for kind, data in events if kind == "finding" and data["kind"] == "report")
    events.close()
    title = found["finding"]["title"]
    (group,) = running.get("crashes")["groups"]
    assert group["title"] == title
    assert running.get(f"crashes/{found['finding']['group']}")["title"] == title
    (host,) = running.get("hosts")["hosts"]
    assert (host["address"], host["crashes"]) == ("127.0.0.1", 1)
    assert running.get("receiver")["ledger"]["modules"]["console"]["lost"] == 0
    status = running.get("status")
    assert (status["store"]["directory"], status["port"]) == (str(running.store), running.udp)


def test_a_reconnect_loses_and_repeats_nothing(running: Running) -> None:
    """A viewer who reconnects again and again, from the ring and from the store, gets each message once, in order."""
    running.send(said(0, 10))
    events = Events(running.http, "?last=10")
    # The store may have got only some of them when the tail began.
    taken = events.take(10)
    for number in range(10, 60, 10):
        events.close()
        running.send(said(number, 10))
        if number == 40:
            # The ring is lost with its process: the place is found in the store.
            running.until(lambda: len(running.texts()) == 50)
            for child in running.children():
                if b"console.tail" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGKILL)
        events = Events(running.http, "", events.last_id)
        taken += events.take(10)
    events.close()
    assert taken == [f"m {number}" for number in range(60)]


def test_slow_viewers_cost_reception_nothing(running: Running) -> None:
    """Viewers who do not read cost no message, and no memory beyond their bound; another viewer goes on."""
    first = Events(running.http, "")
    slow = []
    for _ in range(limits.VIEWERS - 1):
        connection = socket.create_connection(("127.0.0.1", running.http))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        slow.append(connection)
    for connection in slow:
        assert connection.recv(1)
    refused = HTTPConnection("127.0.0.1", running.http, timeout=PATIENCE)
    refused.request("GET", "/api/v1/live")
    assert refused.getresponse().status == 429
    refused.close()
    before = memory(running.process.pid)
    text = "x" * 800
    datagrams = [extended(f"{text} {number}", seq=number, ts_usec=number + 1) for number in range(8000)]
    for at in range(0, len(datagrams), 100):
        running.send(datagrams[at : at + 100])
        # The socket's buffer is no part of this test: without root it holds 180 of them.
        running.until(lambda end=at + 100: running.get("receiver")["counters"]["messages"] >= end)
    # A module has a message some time after the worker.
    running.until(lambda: running.get("receiver")["ledger"]["modules"]["store"]["messages"] == 8000)
    assert running.get("receiver")["ledger"]["lost"] == {}
    # A connection has 64 KiB and a piece; the ring is shared.
    assert memory(running.process.pid) - before < limits.VIEWERS * 2 * limits.PIECE_BYTES + limits.RING_BYTES
    running.send(said(8000, 1))
    assert any(data["text"] == "m 8000" for kind, data in first if kind == "message")
    first.close()
    for connection in slow:
        connection.close()


def memory(pid: int) -> int:
    """Return the resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_killed_worker_is_replaced(running: Running) -> None:
    """A process that is killed fails its query only; the next query has a new one."""
    running.send(said(0, 3))
    running.until(lambda: len(running.texts()) == 3)
    for child in running.children():
        if b"console.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(child, signal.SIGKILL)
    assert running.until(lambda: _texts(running)) == ["m 0", "m 1", "m 2"]


def _runs(pid: int) -> bool:
    """Return whether a process runs; one that was killed can wait for its parent, which is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _texts(running: Running) -> list[str]:
    try:
        return running.texts()
    except HTTPError as error:
        # It has a file, of which Python 3.15 says if nobody closed it.
        error.close()
        return []
    except OSError:
        return []


def test_the_stop_leaves_no_process(running: Running) -> None:
    """A stop ends the responses of viewers, the processes, and the daemon, without an error in its log."""
    events = Events(running.http, "")
    running.get("hosts")
    children = running.children()
    # The compactor is the child of a thread.
    assert len(children) >= 2
    running.stop()
    assert running.process.returncode == 0
    deadline = time.monotonic() + PATIENCE
    while any(_runs(child) for child in children):
        assert time.monotonic() < deadline
    assert "rror" not in running.log.read_text()
    events.close()


def test_a_store_alone(tmp_path: Path) -> None:
    """--read-only shows a store without receiving, and without writing to it."""
    import re
    import subprocess
    import sys

    store = small(tmp_path / "store")
    before = sorted(str(path) for path in store.rglob("*"))
    process = subprocess.Popen(
        [sys.executable, "-m", "netconsd", "console", "--read-only", "--store", str(store), "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        match = re.fullmatch(r"console: http://127\.0\.0\.1:(\d+)/\n", process.stdout.readline())
        assert match is not None
        events = Events(int(match[1]), "?last=3")
        assert events.take(3) == ["old 0", "old 1", "old 2"]
        events.close()
        connection = HTTPConnection("127.0.0.1", int(match[1]), timeout=PATIENCE)
        connection.request("GET", "/api/v1/status")
        status = json.loads(connection.getresponse().read())
        assert (status["read_only"], status["receiving"]) == (True, False)
        assert status["store"]["first"] == pytest.approx(T0, abs=1e9)
        connection.close()
    finally:
        process.terminate()
        assert process.wait(PATIENCE) in (0, -signal.SIGTERM)
        if process.stdout is not None:
            process.stdout.close()
    assert sorted(str(path) for path in store.rglob("*")) == before
