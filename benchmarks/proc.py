"""Figures of a process from /proc (proc(5)): processor time, memory, and the bytes in its socket's buffer."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
# A receiver is idle when for this time its socket was empty, all of its threads slept, and it used at most QUIET_NS of
# processor time. Longer than the reorder time of 0.2 s, after which all held messages are delivered.
QUIET_SECONDS = 0.4
QUIET_NS = 2_000_000
STEP_SECONDS = 0.05


class NeverQuietError(Exception):
    """The receiver did not become idle."""


def cpu_ns(pid: int) -> dict[int, int]:
    """Nanoseconds of processor time in user and kernel mode, by thread id."""
    used = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            used[int(task.name)] = int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:  # a kernel without CONFIG_SCHED_INFO: utime and stime, in ticks
            fields = _stat(task)
            used[int(task.name)] = (int(fields[11]) + int(fields[12])) * TICK_NS
    return used


def asleep(pid: int) -> bool:
    """True if all threads sleep, and none waits for the processor or a disk."""
    return all(_stat(task)[0] == "S" for task in Path(f"/proc/{pid}/task").iterdir())


def memory(pid: int) -> tuple[int, int]:
    """Bytes of resident memory: now, and the peak since :func:`reset_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, peak = (re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
    assert now and peak
    return int(now[1]) * 1024, int(peak[1]) * 1024


def reset_peak(pid: int) -> None:
    """Restart the peak of :func:`memory`."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def buffered_bytes(port: int) -> int:
    """Kernel memory used in the receive buffers of the UDP sockets on this port, in bytes."""
    buffered = 0
    for table in (Path("/proc/net/udp"), Path("/proc/net/udp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                buffered += int(fields[4].partition(":")[2], 16)
    return buffered


def wait_until_quiet(pid: int, port: int, limit: float, clock: Callable[[], float] = time.monotonic) -> float:
    """Wait until the process is idle; return the time since when, within :data:`STEP_SECONDS`.

    :param limit: the longest wait, in seconds.
    :raises NeverQuietError: if the process is still busy then.
    """
    end = clock() + limit
    quiet_since, used = clock(), sum(cpu_ns(pid).values())
    while clock() < quiet_since + QUIET_SECONDS:
        if clock() > end:
            raise NeverQuietError(f"process {pid} is still busy {limit:.0f} seconds after the last datagram")
        time.sleep(STEP_SECONDS)
        now_used = sum(cpu_ns(pid).values())
        if now_used - used > QUIET_NS or buffered_bytes(port) or not asleep(pid):
            quiet_since, used = clock(), now_used
    return quiet_since


def _stat(task: Path) -> list[str]:
    """The fields from the third one (the state) on; the second is a name that may contain spaces."""
    return (task / "stat").read_text().rpartition(")")[2].split()
