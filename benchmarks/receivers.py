"""What is loaded: the real daemon as a process, and the bare reader beside which it is measured."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from netconsd.receive.reader import BATCHES
from netconsd.settings import Settings

START_SECONDS = 30.0
STOP_SECONDS = 120.0
MODULES = Path(__file__).parent / "modules"
TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; sys.exit(run())"


class ReceiverError(Exception):
    """A receiver did not start, or did not end as it should; with what it said."""


@dataclass(frozen=True)
class Totals:
    """What a receiver counted."""

    datagrams: int
    messages: int
    senders: int
    """0 where nobody tells them apart."""
    notes: dict[str, int]
    """``dropped``, ``shed`` and the like, where they are not 0."""
    workers: dict[str, int] = field(default_factory=dict)
    """What the workers counted, all together, where it is not 0."""


@dataclass(frozen=True)
class Receiver:
    """One that runs."""

    pid: int
    port: int
    rcvbuf: int | None
    """Bytes that the kernel granted; None where it is not told."""
    stop: Callable[[], Totals]
    """End it, and return what it counted."""


@contextmanager
def floor(program: Path, pieces: int, cpus: set[int]) -> Iterator[Receiver]:
    """Run the bare reader, with the daemon's defaults.

    :param pieces: datagrams per message; it knows none.
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
def daemon(tree: Path, module: str, options: Sequence[str], scratch: Path, cpus: set[int]) -> Iterator[Receiver]:
    """Run twistd in the foreground, from a copy of the checkout, with its defaults but for the options given."""
    log = scratch.parent / "twistd.log"
    log.unlink(missing_ok=True)
    own = MODULES / f"{module}.py"
    command = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", f"--logfile={log}", "netconsd", "--port", "0"]
    command += [option.format(scratch=scratch) for option in options]
    command.append(str(own) if own.exists() else module)
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with _running(command, cpus, cwd=tree, env=environment, stdout=subprocess.DEVNULL) as process:
        said = _await_line(log, process, r"listens on .*, UDP port (\d+);")

        def stop() -> Totals:
            _end(process, "the daemon")
            return _totals(log.read_text())

        yield Receiver(process.pid, int(said[1]), None, stop)


def _totals(log: str) -> Totals:
    """Read the closing totals of netconsd.service, as the log has them."""
    found = re.search(r"Total: (\d+) datagrams? received, (\d+) messages? from (\d+) senders?", log)
    if not found:
        raise ReceiverError(f"the daemon's log has no totals:\n{log[-2000:]}")
    failures = re.findall(
        r"Module .* failed.*|.*calls? failed.*|Worker .* failed.*|Reading failed.*|The counters are inconsistent.*", log
    )
    if failures:
        raise ReceiverError("\n".join(failures[:5]) + f"\n{log[-2000:]}")
    notable = {name: int(count) for count, name in re.findall(r"\] (\d+) .*\((\w+)\)$", log, re.MULTILINE)}
    workers: Counter[str] = Counter()
    for counters in re.findall(r"Worker \d+: \d+ messages? from \d+ senders?; (.*)", log):
        workers.update(_named(counters))
    return Totals(int(found[1]), int(found[2]), int(found[3]), notable, dict(workers))


def _named(counters: str) -> dict[str, int]:
    return {name: int(count) for name, count in re.findall(r"(\w+) (\d+)", counters)}


@contextmanager
def _running(
    command: list[str],
    cpus: set[int],
    *,
    stdout: int,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a program on these processors; it has ended when the block has."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)  # children have it from us
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
        raise ReceiverError(f"{name} has not ended after {STOP_SECONDS:.0f} seconds") from None
    # twistd ends by the signal that ended it, as is the custom.
    if status not in (0, -signal.SIGTERM):
        assert process.stderr
        raise ReceiverError(f"{name} ended with status {status}: {process.stderr.read()[-2000:]}")


def _await_line(log: Path, process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        found = re.search(pattern, log.read_text() if log.exists() else "")
        if found:
            return found
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    assert process.stderr
    raise ReceiverError(f"the daemon did not start: {process.stderr.read()[-2000:]}")
