"""The receivers under load: the real daemon as a process, and those with which it is compared: a bare reader, and the C
daemon."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon_log import LISTENING, Totals, totals
from netconsd.receive.reader import BATCHES
from netconsd.settings import Settings

START_SECONDS = 30.0
STOP_SECONDS = 120.0
MODULES = Path(__file__).parent / "modules"
TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; sys.exit(run())"


class ReceiverError(Exception):
    """A receiver did not start or did not end correctly; with its error output."""


@dataclass(frozen=True)
class Receiver:
    """A running receiver."""

    pid: int
    port: int
    rcvbuf: int | None
    """Size of the receive buffer that the kernel granted; None if unknown."""
    stop: Callable[[], Totals]
    """Stop the receiver, and return its counters."""


@contextmanager
def floor(program: Path, pieces: int, cpus: set[int]) -> Iterator[Receiver]:
    """Run the bare reader, with the daemon's defaults.

    :param pieces: datagrams per message, because the bare reader does not know messages.
    """
    settings = Settings()
    arguments = [settings.rcvbuf, settings.batch, BATCHES, round(settings.pause * 1e6)]
    command = [str(program), *map(str, arguments)]
    with _running(command, cpus, stdout=subprocess.PIPE) as process:
        assert process.stdout
        port, granted = map(int, process.stdout.readline().split())

        def stop() -> Totals:
            _end(process, "floor")
            assert process.stdout
            datagrams, dropped = map(int, process.stdout.read().split())
            return Totals(datagrams, datagrams // pieces, 0, {"dropped_by_kernel": dropped} if dropped else {})

        yield Receiver(process.pid, port, granted, stop)


@contextmanager
def daemon(
    tree: Path, modules: Sequence[str], options: Sequence[str], scratch: Path, cpus: set[int]
) -> Iterator[Receiver]:
    """Run twistd in the foreground from a copy of the checkout, with default settings except for ``options``."""
    log = scratch.parent / "twistd.log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", f"--logfile={log}", "netconsd", "--port", "0"]
    command += [option.format(scratch=scratch) for option in options]
    for module in modules:
        benchmark_module = MODULES / f"{module}.py"
        command.append(str(benchmark_module) if benchmark_module.exists() else module)
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with _running(command, cpus, cwd=tree, env=environment, stdout=subprocess.DEVNULL) as process:
        listening = _await_line(log, process, LISTENING)

        def stop() -> Totals:
            _end(process, "the daemon")
            return totals(log.read_text())

        yield Receiver(process.pid, int(listening[1]), None, stop)


def child(pid: int) -> int:
    """Return the first process that a daemon started: the compactor, or a stream's.

    :raises ReceiverError: if there is none in time.
    """
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text().split()
            if children:
                return int(children[0])
        time.sleep(0.05)
    raise ReceiverError("the daemon started no process")


@contextmanager
def peer(program: Path, module: Path, scratch: Path, cpus: set[int]) -> Iterator[Receiver]:
    """Run the C daemon with netconsd's default numbers of workers, listeners and datagrams per call.

    :param module: the compiled peer.c.
    """
    settings = Settings()
    counted = scratch / "count"
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as free:
        free.bind(("::", 0))
        port = free.getsockname()[1]
    options = {"-u": port, "-w": settings.workers, "-l": settings.listeners, "-b": settings.batch}
    command = [str(program), *(str(each) for option in options.items() for each in option), str(module)]
    environment = os.environ | {"NETCONSD_PEER_COUNT": str(counted)}
    with _running(command, cpus, stdout=subprocess.DEVNULL, env=environment) as process:
        _await_port(port, process)

        def stop() -> Totals:
            _end(process, "the C daemon")
            messages = int(counted.read_text())
            return Totals(messages, messages, 0, {})

        yield Receiver(process.pid, port, None, stop)


@contextmanager
def _running(
    command: list[str],
    cpus: set[int],
    *,
    stdout: int,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a program on these processors; it is killed at the end of the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)  # inherited by the child
    try:
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=cwd, env=env)
    finally:
        os.sched_setaffinity(0, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


def _end(process: subprocess.Popen[str], name: str) -> None:
    process.terminate()
    try:
        status = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        raise ReceiverError(f"{name} did not end within {STOP_SECONDS:.0f} seconds") from None
    # twistd ends itself by the signal that it received.
    if status not in (0, -signal.SIGTERM):
        assert process.stderr
        raise ReceiverError(f"{name} ended with status {status}: {process.stderr.read()[-2000:]}")


def _await_port(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until a socket of any address has this UDP port."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if f":{port:04X} " in Path("/proc/net/udp6").read_text() + Path("/proc/net/udp").read_text():
            return
        time.sleep(0.02)
    process.kill()
    assert process.stderr
    raise ReceiverError(f"the C daemon did not start: {process.stderr.read()[-2000:]}")


def _await_line(log: Path, process: subprocess.Popen[str], pattern: re.Pattern[str]) -> re.Match[str]:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        match = pattern.search(log.read_text() if log.exists() else "")
        if match:
            return match
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    assert process.stderr
    raise ReceiverError(f"the daemon did not start: {process.stderr.read()[-2000:]}")
