"""nctx, ncrx and the daemon as processes, over a network that loses a fifth of the datagrams."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from netconsd.testing import extended
from tests.support.lossy_proxy import LossyProxy
from tests.support.servers import free_port

ROOT = Path(__file__).parents[2]
# Seconds until a process counts as hung.
HANG_SECONDS = 40.0
RECORDS = 200
# The sender has run for an hour. Soon after a boot, a record that is sent again more than a second later, as on a slow
# machine, looks like that of another boot.
FIRST_TS_USEC = 3_600_000_000


@contextmanager
def running(*arguments: str, cwd: Path, stdout: int | IO[str] = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """Run a sub-command as a process; kill it at the end of the block."""
    command = [sys.executable, "-m", "netconsd", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_port(port: int) -> None:
    """Wait until a process has bound the port."""
    end = time.monotonic() + HANG_SECONDS
    entry = f":{port:04X} "
    while not any(entry in Path(f"/proc/net/{table}").read_text() for table in ("udp", "udp6")):
        assert time.monotonic() < end, "no process bound the port"
        select.select([], [], [], 0.01)


def numbers(text: str) -> list[int]:
    """The numbers of the printed records, in order, without incomplete ones, which are sent again."""
    whole = [line for line in text.splitlines() if "[incomplete]" not in line]
    return [int(number) for line in whole for number in re.findall(r"record (\d+)", line)]


def log_file(directory: Path, count: int) -> Path:
    """A file of ``count`` records; every fiftieth needs several fragments."""
    path = directory / "kmsg"
    path.write_bytes(
        b"".join(
            extended(
                f"record {seq} ".ljust(2500 if seq % 50 == 0 else 20, "x"), seq=seq, ts_usec=FIRST_TS_USEC + seq * 1000
            )
            for seq in range(1, count + 1)
        )
    )
    return path


@pytest.mark.parametrize("receiver", ["ncrx", "daemon"])
def test_every_record_arrives(receiver: str, tmp_path: Path) -> None:
    """Over a link that loses 20 % both ways, nctx ends when every record is acknowledged; each was printed once and
    whole, by ncrx in order."""
    port = free_port(socket.SOCK_DGRAM)
    arguments = {
        "ncrx": ["ncrx", "-a", "127.0.0.1", "--reorder", "5000", str(port)],
        "daemon": ["run", "--acks", "-a", "127.0.0.1", "-u", str(port), "printer"],
    }[receiver]
    shown = tmp_path / "shown"
    with (
        shown.open("w") as output,
        running(*arguments, cwd=tmp_path, stdout=output) as receiving,
        LossyProxy(port, loss=0.2, seed=1) as proxy,
    ):
        wait_for_port(port)
        with running(
            "nctx", "-k", str(log_file(tmp_path, RECORDS)), "127.0.0.1", str(proxy.port), cwd=tmp_path
        ) as nctx:
            output_of_nctx = nctx.communicate(timeout=HANG_SECONDS)
        receiving.send_signal(signal.SIGTERM)
        receiving.communicate(timeout=HANG_SECONDS)
    assert (nctx.returncode, output_of_nctx) == (0, ("", ""))
    assert proxy.lost > RECORDS / 10
    assert sorted(numbers(shown.read_text())) == list(range(1, RECORDS + 1))
    if receiver == "ncrx":
        assert numbers(shown.read_text()) == list(range(1, RECORDS + 1))


def test_pipe(tmp_path: Path) -> None:
    """A record written to a named pipe arrives while the pipe is open, and nctx keeps running."""
    port = free_port(socket.SOCK_DGRAM)
    pipe = tmp_path / "kmsg"
    os.mkfifo(pipe)
    with (
        running("ncrx", "-a", "127.0.0.1", str(port), cwd=tmp_path) as ncrx,
        running("nctx", "-k", str(pipe), "127.0.0.1", str(port), cwd=tmp_path) as nctx,
    ):
        wait_for_port(port)
        assert ncrx.stdout is not None
        for seq in (1, 2, 4):
            pipe.write_bytes(extended(f"record {seq}", seq=seq, dictionary={"SUBSYSTEM": "usb"}))
            shown = until(ncrx.stdout, f"record {seq}\n")
        assert nctx.poll() is None
        assert "[ SEQ SKIPPED] 1 message skipped\n" in shown


def until(stream: IO[str], word: str) -> str:
    """Read the stream up to ``word``, at least."""
    shown = ""
    while word not in shown:
        assert select.select([stream], [], [], HANG_SECONDS)[0], f"only {shown!r}"
        data = os.read(stream.fileno(), 65536).decode()
        assert data, f"it ended with {shown!r}"
        shown += data
    return shown
