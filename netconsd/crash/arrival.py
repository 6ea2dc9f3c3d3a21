"""The part of a panic that arrives by netconsole, by kernel, processor, ``panic=`` and network card: one table.

docs/clients shows it, ``netconsd client`` warns by it, and an event of an unannounced reboot says by it that nothing of
a crash could arrive. A row was measured with the versions that it names, under qemu with kernels of Debian. For other
versions the answers below are those of the nearest measured one of the same major version.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: How much of a panic arrives.
ALL: Final = "all"
PART: Final = "a part"
NOTHING: Final = "nothing"

#: The setting ``panic=``, /proc/sys/kernel/panic: with 0 the kernel stays as it is, with other values it reboots.
STAYS: Final = "0"
REBOOTS: Final = "not 0"


class Arrival(NamedTuple):
    """A row of the table."""

    #: The versions that were measured.
    kernels: tuple[str, ...]
    #: The processors, as ``uname -m`` prints them.
    machines: tuple[str, ...]
    #: :data:`STAYS` or :data:`REBOOTS`.
    panic: str
    #: :data:`ALL`, :data:`PART` or :data:`NOTHING`.
    arrives: str
    #: The last line that arrives, or what is missing.
    detail: str
    #: The recordings that show it, or WIRE section 10, which has the sums of many.
    sources: tuple[str, ...]
    #: The network cards.
    card: str = "e1000"
    #: The kernel is built with PREEMPT_RT.
    realtime: bool = False
    #: A kernel for kdump is loaded.
    kdump: bool = False
    #: Another condition, for people.
    condition: str = ""


_END: Final = "to `---[ end Kernel panic`"
_REBOOTING: Final = "to `Rebooting in N seconds..`"
_NEITHER: Final = "neither the panic nor an oops before it"
_WIRE: Final = "WIRE section 10"
_AMD64: Final = ("x86_64",)

#: The table, from the oldest kernel to the newest. A test compares it with the recordings that it names.
ARRIVALS: Final = (
    Arrival(("5.10",), _AMD64, STAYS, ALL, _END, (_WIRE,)),
    Arrival(("5.10",), _AMD64, REBOOTS, ALL, _REBOOTING, (_WIRE,)),
    Arrival(("6.1",), _AMD64, STAYS, ALL, _END, ("amd64-6.1-sysrq-c",)),
    Arrival(("6.1",), _AMD64, STAYS, ALL, _END, ("amd64-6.1-sysrq-c-virtio1",), "virtio-net"),
    Arrival(("6.1",), _AMD64, REBOOTS, ALL, _REBOOTING, ("amd64-6.1-null-read-panic", "amd64-6.1-crash-loop")),
    Arrival(("6.1",), _AMD64, STAYS, PART, "to the trace", ("amd64-6.1-kdump-sysrq-c",), kdump=True),
    Arrival(("6.1",), ("ppc64le",), STAYS, PART, "no `---[ end Kernel panic`", (_WIRE,), "virtio-net"),
    Arrival(("6.1",), ("s390x",), STAYS, PART, "the first 4 to 14 lines", (_WIRE,), "virtio-net"),
    Arrival(("6.1", "6.12"), _AMD64, STAYS, ALL, _END, ("amd64-6.12rt-panic-replay",), realtime=True),
    Arrival(
        *(("6.1", "6.12"), _AMD64, REBOOTS, ALL, "except `Rebooting in N seconds..`", (_WIRE,)),
        realtime=True,
    ),
    Arrival(("6.12",), _AMD64, STAYS, ALL, _END, ("amd64-6.12-kill-init",)),
    Arrival(("6.12",), _AMD64, STAYS, ALL, _END, ("amd64-6.12-sysrq-c-virtio1",), "virtio-net"),
    Arrival(("6.12",), _AMD64, REBOOTS, ALL, _REBOOTING, ("amd64-6.12-sysrq-c-panic5", "amd64-6.12-crash-loop")),
    Arrival(("6.12",), _AMD64, STAYS, PART, "to the trace", ("amd64-6.12-kdump-sysrq-c",), kdump=True),
    Arrival(("6.12",), ("aarch64",), STAYS, ALL, _END, ("arm64-6.12-sysrq-c-e1000",)),
    Arrival(("6.12",), ("aarch64",), STAYS, ALL, _END, ("arm64-6.12-sysrq-c-virtio2",), "virtio-net"),
    Arrival(
        *(("6.12",), ("aarch64",), STAYS, PART, "the first 4 to 21 of 30 lines"),
        *(("arm64-6.12-sysrq-c", "arm64-6.12-sysrq-c-virtio3"), "virtio-net"),
        condition="the host is busy",
    ),
    Arrival(
        *(("6.12",), ("aarch64",), REBOOTS, PART, "the first 4 lines", ("arm64-6.12-sysrq-c-panic5",), "virtio-net"),
        condition="the host is busy",
    ),
    Arrival(("6.12",), ("armv7l",), STAYS, ALL, _END, ("armhf-6.12-sysrq-c-e1000",)),
    Arrival(("6.12",), ("armv7l",), STAYS, ALL, _END, ("armhf-6.12-null-read-panic",), "virtio-net"),
    Arrival(("6.12",), ("aarch64", "armv7l", "riscv64"), REBOOTS, ALL, _REBOOTING, (_WIRE,)),
    Arrival(("6.12",), ("riscv64",), STAYS, ALL, _END, (_WIRE,)),
    Arrival(("6.16", "6.18"), _AMD64, STAYS, ALL, _END, (_WIRE,)),
    Arrival(("6.16", "6.18"), _AMD64, REBOOTS, ALL, _REBOOTING, (_WIRE,)),
    Arrival(("7.2", "7.3"), _AMD64, STAYS, ALL, _END, ("amd64-7.3-null-read-panic-panic0", "amd64-7.3-kill-init")),
    Arrival(
        *(("7.2", "7.3"), _AMD64, REBOOTS, NOTHING, _NEITHER),
        ("amd64-7.3-null-read-panic", "amd64-7.3-sysrq-c-panic5", "amd64-7.3-sysrq-c-panic5-smp2"),
    ),
    Arrival(("7.3",), _AMD64, STAYS, NOTHING, _NEITHER, ("amd64-7.3-kdump-post-notifiers",), kdump=True),
    Arrival(("7.3",), _AMD64, STAYS, ALL, _END, (_WIRE,), realtime=True),
    Arrival(("7.3",), _AMD64, REBOOTS, NOTHING, _NEITHER, (_WIRE,), realtime=True),
    Arrival(
        *(("7.3",), _AMD64, STAYS, ALL, f"{_END}, then a reset after 10 s", ("amd64-7.3-watchdog-hw",)),
        condition="a hardware watchdog runs",
    ),
    Arrival(("7.2",), ("riscv64",), STAYS, ALL, _END, ("riscv64-7.2-sysrq-c",), "virtio-net"),
    Arrival(("7.2",), ("riscv64",), REBOOTS, NOTHING, _NEITHER, ("riscv64-7.2-sysrq-c-panic5",), "virtio-net"),
    Arrival(("7.3",), ("aarch64",), STAYS, ALL, _END, (_WIRE,), "virtio-net"),
    Arrival(("7.3",), ("aarch64",), REBOOTS, NOTHING, _NEITHER, (_WIRE,), "virtio-net"),
    Arrival(
        ("7.2",), ("ppc64le",), STAYS, NOTHING, "an oops that the machine survives arrives", (_WIRE,), "virtio-net"
    ),
    Arrival(("7.2",), ("ppc64le",), REBOOTS, NOTHING, _NEITHER, ("ppc64el-7.2-sysrq-c-panic5",), "virtio-net"),
    Arrival(
        *(("7.2",), ("s390x",), STAYS, NOTHING, "an oops that the machine survives arrives"),
        *(("s390x-7.2-sysrq-c",), "virtio-net"),
    ),
    Arrival(("7.2",), ("s390x",), REBOOTS, NOTHING, _NEITHER, (_WIRE,), "virtio-net"),
)

# The ends of releases and the compilers' names in "Linux version", by the names of `uname -m`.
_MACHINES: Final = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "armmp": "armv7l",
    "armhf": "armv7l",
    "arm": "armv7l",
    "riscv64": "riscv64",
    "powerpc64le": "ppc64le",
    "ppc64le": "ppc64le",
    "ppc64el": "ppc64le",
    "s390x": "s390x",
}
_MACHINE: Final = re.compile(rf"(?<![a-z0-9])({'|'.join(_MACHINES)})(?![a-z0-9])")
_RELEASE: Final = re.compile(r"(\d{1,4})\.(\d{1,4})(?!\d)")


def machine_of(text: str) -> str | None:
    """Return the processor that a release or a line ``Linux version ...`` names, as ``uname -m``; None without one."""
    found = _MACHINE.search(text[:1000])
    return None if found is None else _MACHINES[found[1]]


def arrives(release: str, machine: str | None, panic: str) -> str | None:
    """Return how much of a panic arrives, by the nearest measured version of the same major version; None if unknown.

    Kdump and special conditions are left out.

    :param release: as ``uname -r`` prints it.
    :param machine: as ``uname -m`` prints it, or None if unknown; one that was not measured is as most others.
    :param panic: :data:`STAYS` or :data:`REBOOTS`.
    """
    found = _RELEASE.match(release)
    if found is None:
        return None
    major, minor = int(found[1]), int(found[2])
    rows = [
        row for row in ARRIVALS if row.panic == panic and not row.kdump and not row.condition and _major(row) == major
    ]
    same = [row for row in rows if machine in row.machines]
    if not same:
        same = [row for row in rows if row.machines[0] == "x86_64"]
    if not same:
        return None
    return min(same, key=lambda row: min(abs(int(kernel.split(".")[1]) - minor) for kernel in row.kernels)).arrives


def explanation(release: str | None, machine: str | None, panic: int | None) -> str:
    """Return why nothing of a panic can have arrived, in words that follow ``and``; "" if it would have.

    :param panic: the kernel's setting; None if unknown.
    """
    if release is None:
        return ""
    machine = machine or machine_of(release)
    if arrives(release, machine, STAYS) == NOTHING:
        return f"this kernel sends none on {machine}"
    if arrives(release, machine, REBOOTS) != NOTHING or panic == 0:
        return ""
    if panic is None:
        return "this kernel sends none unless panic=0"
    return f"this kernel sends none with panic={panic}"


def _major(row: Arrival) -> int:
    return int(row.kernels[-1].split(".")[0])
