"""What /proc tells about a process: processor time, memory, and what waits in its socket (proc(5))."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
# A receiver has nothing more to do when, for so many seconds, its socket was empty, all of its threads slept, and it
# used next to no processor time. It is longer than the reorder time of 0.2 s, after which all that waits is delivered.
QUIET_SECONDS = 0.4
QUIET_NS = 2_000_000
STEP_SECONDS = 0.05


class NeverQuietError(Exception):
    """The receiver did not come to the end of its work."""


def cpu_ns(pid: int) -> dict[int, int]:
    """Processor time that each thread has used, in user and kernel mode, in nanoseconds, by thread id."""
    used = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            used[int(task.name)] = int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:  # a kernel without CONFIG_SCHED_INFO: utime and stime, in ticks
            fields = _stat(task)
            used[int(task.name)] = (int(fields[11]) + int(fields[12])) * TICK_NS
    return used


def asleep(pid: int) -> bool:
    """Whether all threads wait for something to happen, none for the processor or a disk."""
    return all(_stat(task)[0] == "S" for task in Path(f"/proc/{pid}/task").iterdir())


def memory(pid: int) -> tuple[int, int]:
    """Bytes of resident memory: now, and at most since :func:`forget_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, most = (re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
    assert now and most
    return int(now[1]) * 1024, int(most[1]) * 1024


def forget_peak(pid: int) -> None:
    """Let the most of :func:`memory` begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def waiting_bytes(port: int) -> int:
    """What waits in the receive buffers of the UDP sockets on this port, in bytes of kernel memory."""
    waiting = 0
    for table in (Path("/proc/net/udp"), Path("/proc/net/udp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                waiting += int(fields[4].partition(":")[2], 16)
    return waiting


def wait_until_quiet(pid: int, port: int, limit: float, clock: Callable[[], float] = time.monotonic) -> float:
    """Wait until the process has done all that it had to do, and return when that was, within :data:`STEP_SECONDS`.

    :param limit: seconds.
    :raises NeverQuietError: if it goes on for longer.
    """
    end = clock() + limit
    quiet_since, used = clock(), sum(cpu_ns(pid).values())
    while clock() < quiet_since + QUIET_SECONDS:
        if clock() > end:
            raise NeverQuietError(f"process {pid} is busy {limit:.0f} seconds after the last datagram was sent")
        time.sleep(STEP_SECONDS)
        now_used = sum(cpu_ns(pid).values())
        if now_used - used > QUIET_NS or waiting_bytes(port) or not asleep(pid):
            quiet_since, used = clock(), now_used
    return quiet_since


def _stat(task: Path) -> list[str]:
    """The fields from the third on (the state); the second is a name that may have spaces."""
    return (task / "stat").read_text().rpartition(")")[2].split()
