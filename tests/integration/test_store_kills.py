"""The daemon and its compactor are killed again and again under load: nothing that was synced is missing or doubled.

``NETCONSD_KILLS=100 pytest -m slow tests/integration/test_store_kills.py`` kills a hundred times instead of four.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from netconsd.store import Store, layout
from netconsd.store.journal import parts
from netconsd.testing import extended
from tests.support.processes import SECONDS, Daemon, environment

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")

KILLS = int(os.environ.get("NETCONSD_KILLS", "4"))
#: Messages that are sent until a kill at most: about four segments of the smallest size.
MESSAGES = 30_000
#: Messages that are sent before the last ones are synced.
AHEAD = 5_000
BURST = 100

# The module store. After each sync that succeeded it writes the texts that were in the journal before the sync began.
MARKED = """
import os
from collections import deque
from netconsd.modules.store import Store as _Store
from netconsd.store.journal import Journal as _Journal

_append, _sync = _Journal.append, _Journal.sync
_written = deque()
_marks = os.open({marks!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
# The last line can be cut by a kill.
os.write(_marks, b"\\n")

def _marked_append(self, worker, messages):
    _append(self, worker, messages)
    _written.append([message.text for message in messages])

def _marked_sync(self):
    covered = [_written.popleft() for _ in range(len(_written))]
    _sync(self)
    if covered:
        os.write(_marks, "".join(text + ";\\n" for texts in covered for text in texts).encode())

_Journal.append, _Journal.sync = _marked_append, _marked_sync

class Store(_Store):
    pass
"""


class Place:
    """A store, and the texts that were synced."""

    def __init__(self, directory: Path) -> None:
        self.store = directory / "store"
        self.marks = directory / "marks"
        self.module = directory / "marked.py"
        self.module.write_text(MARKED.format(marks=str(self.marks)))
        self.marks.touch()

    def daemon(self) -> Daemon:
        """Start a daemon with small segments."""
        settings = {
            "directory": str(self.store),
            "segment_size": "1M",
            "journal_size": "100M",
            "sync_interval": "0.05s",
        }
        options = [part for name, value in settings.items() for part in ("--set", f"marked.{name}={value}")]
        return Daemon(self.module.parent, *options, self.module)

    def synced(self) -> list[str]:
        """Return the texts that were synced, without lines that were cut by a kill."""
        return [line[:-1] for line in self.marks.read_text().splitlines() if line.endswith(";")]

    def unfinished(self) -> bool:
        """Return whether the compactor is writing a file."""
        return any((self.store / "segments").rglob("*.tmp"))

    def between(self) -> bool:
        """Return whether a part of the journal is in a segment, and not removed yet."""
        highest = max((file.number for file in layout.segment_files(self.store)), default=-1)
        return any(not part.is_open and part.number <= highest for part in parts(self.store / layout.JOURNAL))

    def behind(self) -> bool:
        """Return whether there are closed parts of the journal."""
        return any(not part.is_open for part in parts(self.store / layout.JOURNAL))

    def check(self, hosts: Sequence[str] = ()) -> None:
        """Compare the stored messages of some hosts, by default of all, with those that were synced."""
        # Before the search, because the daemon can run.
        synced = [text for text in self.synced() if not hosts or text.split()[0] in hosts]
        found = Counter(stored.message.text for stored in Store(self.store).messages(hosts=hosts))
        assert [text for text, count in found.items() if count > 1] == []
        assert [text for text in synced if text not in found] == []


def compactor_of(daemon: Daemon) -> int | None:
    """Return the process that the daemon started, if it runs."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{daemon.process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                return int(child)
    return None


@contextmanager
def load(place: Place, port: int, host: str) -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Yield a function that sends messages of a host until a condition is true."""
    size = place.marks.stat().st_size
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.bind((host, 0))

        def send_until(condition: Callable[[], bool]) -> None:
            nonlocal sent
            end = time.monotonic() + SECONDS
            while not condition():
                assert time.monotonic() < end, "the condition did not become true"
                # A line of the marks has about this many bytes: the file is not read for each burst.
                synced = (place.marks.stat().st_size - size) // len(f"{host} 10000;\n")
                if sent < MESSAGES and sent < synced + AHEAD:
                    for number in range(sent, sent + BURST):
                        out.sendto(extended(f"{host} {number}", seq=number, ts_usec=1000 * number), ("127.0.0.1", port))
                    sent += BURST
                else:
                    os.sched_yield()

        yield send_until


def kill(pid: int | None) -> None:
    """Kill a process with -9, if it still runs."""
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * (KILLS + 1))
def test_killed_under_load(tmp_path: Path) -> None:
    """The daemon alone at a random moment; both while a segment is being written; both between that and the removal of
    its parts; the compactor alone. After each kill every synced message is found once, and none twice; also when all
    have become segments."""
    place = Place(tmp_path)
    chance = random.Random(13)
    # Those of which messages can be in the journal.
    hosts: list[str] = []
    for number in range(KILLS):
        host = f"127.0.1.{number + 1}" if number < 250 else f"127.0.2.{number - 249}"
        hosts.append(host)
        with place.daemon() as daemon, load(place, daemon.port, host) as send_until:
            begin, wanted = place.marks.stat().st_size, chance.randrange(200_000)
            send_until(lambda: compactor_of(daemon) is not None)
            # The compactor can write at once, what the last daemon left.
            send_until(lambda: place.marks.stat().st_size > begin)  # noqa: B023
            # Looked up before, so that the kill is not late.
            pids = [compactor_of(daemon), daemon.process.pid]
            way = number % 4
            if way == 0:
                send_until(lambda: place.marks.stat().st_size > begin + wanted)  # noqa: B023
                del pids[0]
            elif way == 1:
                send_until(place.unfinished)
            elif way == 2:
                send_until(place.between)
            else:
                send_until(place.unfinished)
                kill(pids.pop(0))
                place.check(hosts)
                # Another one is started.
                send_until(lambda: not place.behind())
            for pid in pids:
                kill(pid)
            daemon.end()
        place.check(hosts)
        if way == 3:
            hosts.clear()
    with place.daemon() as daemon:
        daemon.process.terminate()
        daemon.end()
    # The compactor of a daemon that was killed finishes its segment.
    with (place.store / "compactor.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    subprocess.run(
        [sys.executable, "-m", "netconsd.store.compactor", place.store, "--once"],
        env=environment(),
        check=True,
        timeout=SECONDS,
        stdout=subprocess.DEVNULL,
    )
    place.check()
    assert not any((place.store / "journal").iterdir())
    assert len({text.split()[0] for text in place.synced()}) == KILLS, "a daemon synced nothing"
