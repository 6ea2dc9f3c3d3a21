"""Processors as processes, what they have processed, and blocks for them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from netconsd.streams.blocks import pack
from netconsd.streams.lines import partition_of
from netconsd.testing import extended_message
from tests.support.scripted_lane import PATIENCE
from tests.support.servers import free_port, until

ROOT = Path(__file__).parents[2]

#: Writes the address and number of each message, at once.
MODULE = """
import os, time
from pathlib import Path
from zope.interface import implementer
from netconsd.interfaces import IBatchOutputModule, IReportModule

@implementer(IBatchOutputModule, IReportModule)
class Record:
    def __init__(self, *, file: Path, hold: float = 0.0, gate: Path | None = None, free: int = 0) -> None:
        self._file, self._hold, self._gate = file, hold, gate
        # The messages that pass before the gate exists.
        self._free = free

    def start(self, worker_count):
        self._fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def handle_batch(self, worker, messages):
        while self._free <= 0 and self._gate is not None and not self._gate.exists():
            time.sleep(0.01)
        self._free -= len(messages)
        if self._hold:
            time.sleep(self._hold)
        os.write(self._fd, b"".join([f"{m.source.address} {m.seq}\\n".encode() for m in messages]))

    def handle_report(self, worker, report):
        with open(f"{self._file}.reports", "a") as file:
            file.write(f"{report.title}|{report.incomplete}\\n")

    def stop(self):
        os.close(self._fd)
"""


class Processor:
    """``netconsd process`` with a module that writes what it gets to a file."""

    def __init__(
        self, directory: Path, name: str, source: str, *, group: str = "g", more: Sequence[str] = (),
        patience: float = PATIENCE,
    ) -> None:  # fmt: skip
        """:param patience: seconds of a wait for it."""
        self._patience = patience
        module = directory / "record.py"
        module.write_text(MODULE)
        self.name = name
        self.file = directory / f"{name}.out"
        self._log = directory / f"{name}.log"
        self.port = free_port()
        command = [
            *(sys.executable, "-m", "netconsd", "process", "--from", source, "--group", group),
            *("--metrics", str(self.port), str(module), "--set", f"record.file={self.file}", *more),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )

    @property
    def log(self) -> str:
        """Everything that it has logged."""
        return self._log.read_text()

    @property
    def partitions(self) -> set[int]:
        """The partitions that it said last that it takes."""
        found = re.findall(r"takes \d+ of \d+ partitions: (.*)", self.log)
        return set() if not found or found[-1] == "none" else set(map(int, found[-1].split(", ")))

    def takes(self, count: int) -> Processor:
        """Wait until it takes so many partitions."""
        until(
            lambda: self.is_running() and len(self.partitions) == count,
            f"{count} partitions of {self.name}",
            self._patience,
        )
        return self

    def is_running(self) -> bool:
        """Return True, or fail with its log."""
        assert self._process.poll() is None, self.log
        return True

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        """End it by SIGTERM, as a service manager does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(2 * self._patience)
            assert self._process.returncode == 0, self.log

    def reload(self) -> None:
        """Have it reload, by SIGHUP."""
        self._process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        """Let nothing of it remain after a test."""
        if self._process.poll() is None:
            self.kill()

    def pause(self) -> None:
        """Let it hang."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it continue."""
        self._process.send_signal(signal.SIGCONT)

    def health(self) -> str:
        """Return the answer of /healthz; empty before it can be asked."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=PATIENCE) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            self.is_running()
            return ""

    def number(self, name: str) -> int:
        """Return a metric of the broker."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        found = re.search(rf"^netconsd_broker_{name}(?:_total)?{{.*}} (\S+)$", text, re.MULTILINE)
        assert found is not None, text
        return int(float(found[1]))

    def reports(self) -> list[str]:
        """Return ``TITLE|INCOMPLETE`` of the crash reports that its module got."""
        file = Path(f"{self.file}.reports")
        return file.read_text().splitlines() if file.exists() else []

    def messages(self) -> list[tuple[str, int]]:
        """Return the address and number of each message that its module got, in order."""
        if not self.file.exists():
            return []
        lines = self.file.read_bytes().split(b"\n")[:-1]
        return [(address.decode(), int(seq)) for address, _, seq in (line.partition(b" ") for line in lines)]


def blocks(
    first: int, last: int, *, hosts: int = 8, receiver: bytes = b"r" * 16, partitions: int = 16
) -> list[tuple[int, bytes, list[tuple[str, int]]]]:
    """Return the partition of each block, its bytes, and the address and number of its messages: ten of one machine."""
    result = []
    for seq in range(first, last, 10):
        for host in range(hosts):
            address = f"192.0.2.{host}"
            now = time.time()
            seqs = range(seq, seq + 10)
            messages = [extended_message(f"line {n}", seq=n, ts_usec=n, address=address, received_at=now) for n in seqs]
            data = pack(receiver, 1, seq * 100 + host, messages)
            result.append((partition_of(address, partitions), data, [(address, n) for n in seqs]))
    return result


def processed(processors: Iterable[Processor]) -> Counter[tuple[str, int]]:
    """Return how often each message was processed."""
    return Counter(message for processor in processors for message in processor.messages())


def out_of_order(processor: Processor) -> list[tuple[str, int, int]]:
    """Return the machines of which a message was followed by an earlier one, with both numbers."""
    last: dict[str, int] = defaultdict(lambda: -1)
    found = []
    for address, seq in processor.messages():
        if seq < last[address]:
            found.append((address, last[address], seq))
        last[address] = seq
    return found
