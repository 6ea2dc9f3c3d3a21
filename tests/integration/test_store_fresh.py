"""``netconsd log`` in another process finds a message as soon as the module store has it, with and without -f."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest
import pytest_twisted
from twisted.internet import threads

from netconsd.testing import extended
from tests.integration.rig import PATIENCE, running, until_counted

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from modules.store import Store
from netconsd.units import Duration

ROOT = Path(__file__).parents[2]
#: The module syncs the journal less often than anybody waits here, as readers need no sync.
SYNC_SECONDS = 60
assert SYNC_SECONDS > PATIENCE


def send(port: int, text: str, seq: int) -> None:
    """Send a message to a daemon."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(extended(text, seq=seq), ("127.0.0.1", port))


def command(directory: Path, *options: str) -> list[str]:
    """Return the command that shows a store."""
    return [sys.executable, "-m", "netconsd", "log", "--store", str(directory), "-o", "raw", *options]


def found(directory: Path, *options: str) -> list[str]:
    """Return what a process of its own finds. Blocks the calling thread."""
    done = subprocess.run(
        command(directory, *options), cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert not done.stderr
    return done.stdout.split()


@contextmanager
def followed(directory: Path) -> Iterator[Queue[str]]:
    """Yield the lines that a process prints that follows a store."""
    lines: Queue[str] = Queue()
    with subprocess.Popen(command(directory, "-f"), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(line.strip())

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield lines
        finally:
            process.terminate()
            reader.join(PATIENCE)


# Six processes one after the other, which import pyarrow.
@pytest.mark.timeout(180)
@pytest_twisted.ensureDeferred
async def test_a_message_is_found_at_once(tmp_path: Path) -> None:
    """What a module's call has returned from is found by a search that begins then, before any sync."""
    module = Store(directory=tmp_path, sync_interval=Duration(f"{SYNC_SECONDS}s"))
    async with running({"store": module}) as service:
        for number in range(1, 4):
            send(service.port, f"fresh-{number}", number)
            await until_counted(service, number)
            expected = [f"fresh-{n}" for n in range(1, number + 1)]
            assert await threads.deferToThread(found, tmp_path) == expected
            assert await threads.deferToThread(found, tmp_path, "--grep", f"fresh-{number}", "-n", "5") == expected[-1:]


@pytest_twisted.ensureDeferred
async def test_a_message_is_followed(tmp_path: Path) -> None:
    """A process that follows prints the history, then each message, without a sync."""
    module = Store(directory=tmp_path, sync_interval=Duration(f"{SYNC_SECONDS}s"))
    async with running({"store": module}) as service:
        send(service.port, "fresh-0", 1)
        await until_counted(service, 1)
        with followed(tmp_path) as lines:
            assert await threads.deferToThread(lines.get, True, PATIENCE) == "fresh-0"
            for number in range(1, 6):
                send(service.port, f"fresh-{number}", number + 1)
                assert await threads.deferToThread(lines.get, True, PATIENCE) == f"fresh-{number}"
