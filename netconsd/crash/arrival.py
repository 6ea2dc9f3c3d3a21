"""The part of a panic that arrives by netconsole, by kernel, processor, network card and ``panic=``: one table.

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


class Outcome(NamedTuple):
    """One cell of the table."""

    #: :data:`ALL`, :data:`PART` or :data:`NOTHING`.
    arrives: str
    #: The last line that arrives, or the part that is missing; "" if nothing is to be added.
    detail: str
    #: The recordings that show it; :data:`MANY` for the sums of many recordings.
    sources: tuple[str, ...]


class Arrival(NamedTuple):
    """A row of the table."""

    #: The versions that were measured.
    kernels: tuple[str, ...]
    #: The processors, as ``uname -m`` prints them.
    machines: tuple[str, ...]
    #: The network card.
    card: str
    #: With ``panic=0`` (/proc/sys/kernel/panic): the kernel stops and stays as it is. None if not measured.
    stays: Outcome | None
    #: With any other value: the kernel reboots.
    reboots: Outcome | None
    #: A further condition, "" for none.
    condition: str = ""


#: Section 10 of WIRE.md, which sums up 479 recordings. They are not in the repository.
MANY: Final = ("WIRE section 10",)

_LAST: Final = "to `---[ end Kernel panic`"
_REBOOTING: Final = "to `Rebooting in N seconds..`"
_NEITHER: Final = "also not the oops before it"
_SURVIVED: Final = "except an oops that the machine survives"
REALTIME: Final = "PREEMPT_RT"
KDUMP: Final = "a kernel for kdump is loaded"
BUSY: Final = "the virtual machine's host is busy"
WATCHDOG: Final = "a hardware watchdog runs"


def _all(*sources: str) -> Outcome:
    return Outcome(ALL, _LAST, sources or MANY)


def _all_and_reboots(*sources: str) -> Outcome:
    return Outcome(ALL, _REBOOTING, sources or MANY)


def _nothing(*sources: str) -> Outcome:
    return Outcome(NOTHING, _NEITHER, sources or MANY)


def _part(detail: str, *sources: str) -> Outcome:
    return Outcome(PART, detail, sources or MANY)


_X86: Final = ("x86_64",)

#: The table, from the oldest kernel to the newest. A test compares it with the recordings.
ARRIVALS: Final = (
    Arrival(("5.10",), _X86, "e1000", _all(), _all_and_reboots()),
    Arrival(
        *(("6.1",), _X86, "e1000", _all("amd64-6.1-sysrq-c")),
        _all_and_reboots("amd64-6.1-null-read-panic", "amd64-6.1-crash-loop"),
    ),
    Arrival(("6.1",), _X86, "virtio-net", _all("amd64-6.1-sysrq-c-virtio1"), None),
    Arrival(("6.1",), _X86, "e1000", _part("to the trace", "amd64-6.1-kdump-sysrq-c"), None, KDUMP),
    Arrival(("6.1",), ("ppc64le",), "virtio-net", _part("without `---[ end Kernel panic`"), None),
    Arrival(("6.1",), ("s390x",), "virtio-net", _part("the first 4 to 14 lines"), None),
    Arrival(
        *(("6.1", "6.12"), _X86, "e1000", _all("amd64-6.12rt-panic-replay")),
        *(Outcome(ALL, "except `Rebooting in N seconds..`", MANY), REALTIME),
    ),
    Arrival(
        *(("6.12",), _X86, "e1000", _all("amd64-6.12-kill-init")),
        _all_and_reboots("amd64-6.12-sysrq-c-panic5", "amd64-6.12-null-read-panic", "amd64-6.12-crash-loop"),
    ),
    Arrival(("6.12",), _X86, "virtio-net", _all("amd64-6.12-sysrq-c-virtio1"), None),
    Arrival(("6.12",), _X86, "e1000", _part("to the trace", "amd64-6.12-kdump-sysrq-c"), None, KDUMP),
    Arrival(("6.12",), ("aarch64",), "e1000", _all("arm64-6.12-sysrq-c-e1000"), _all_and_reboots()),
    Arrival(
        *(("6.12",), ("aarch64",), "virtio-net", _all("arm64-6.12-sysrq-c-virtio2", "arm64-6.12-null-read-panic")),
        _all_and_reboots(),
    ),
    Arrival(
        *(("6.12",), ("aarch64",), "virtio-net"),
        _part("4 to 21 of 30 lines", "arm64-6.12-sysrq-c", "arm64-6.12-sysrq-c-virtio3"),
        *(_part("the first 4 lines", "arm64-6.12-sysrq-c-panic5"), BUSY),
    ),
    Arrival(("6.12",), ("armv7l",), "e1000", _all("armhf-6.12-sysrq-c-e1000"), _all_and_reboots()),
    Arrival(("6.12",), ("armv7l",), "virtio-net", _all("armhf-6.12-null-read-panic"), _all_and_reboots()),
    Arrival(("6.12",), ("riscv64",), "virtio-net", _all(), _all_and_reboots()),
    Arrival(("6.16", "6.18"), _X86, "e1000", _all(), _all_and_reboots()),
    Arrival(
        *(("7.2", "7.3"), _X86, "e1000", _all("amd64-7.3-null-read-panic-panic0", "amd64-7.3-kill-init")),
        _nothing("amd64-7.3-null-read-panic", "amd64-7.3-sysrq-c-panic5", "amd64-7.3-sysrq-c-panic5-smp2"),
    ),
    Arrival(("7.2",), ("riscv64",), "virtio-net", _all("riscv64-7.2-sysrq-c"), _nothing("riscv64-7.2-sysrq-c-panic5")),
    Arrival(
        *(("7.2",), ("ppc64le",), "virtio-net", Outcome(NOTHING, _SURVIVED, MANY)),
        Outcome(NOTHING, _SURVIVED, ("ppc64el-7.2-sysrq-c-panic5",)),
    ),
    Arrival(
        *(("7.2",), ("s390x",), "virtio-net", Outcome(NOTHING, _SURVIVED, ("s390x-7.2-sysrq-c",))),
        Outcome(NOTHING, _SURVIVED, MANY),
    ),
    Arrival(("7.3",), ("aarch64",), "virtio-net", _all(), _nothing()),
    Arrival(("7.3",), _X86, "e1000", _all(), _nothing(), REALTIME),
    Arrival(("7.3",), _X86, "e1000", _nothing("amd64-7.3-kdump-post-notifiers"), None, KDUMP),
    Arrival(
        ("7.3",), _X86, "e1000", Outcome(ALL, "then a reset after 10 s", ("amd64-7.3-watchdog-hw",)), None, WATCHDOG
    ),
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


def arrives(release: str, machine: str | None, reboots: bool) -> str | None:
    """Return how much of a panic arrives, by the nearest measured version of the same major version; None if unknown.

    Rows with a further condition are left out.

    :param release: as ``uname -r`` prints it.
    :param machine: as ``uname -m`` prints it, or None if unknown; one that was not measured is as x86_64.
    :param reboots: whether the kernel reboots after a panic (``panic=`` is not 0).
    """
    found = _RELEASE.match(release)
    if found is None:
        return None
    rows = [row for row in ARRIVALS if not row.condition and _major(row) == found[1]]
    same = [row for row in rows if machine in row.machines] or [row for row in rows if row.machines == _X86]
    outcomes = [
        (min(abs(int(_minor(kernel)) - int(found[2])) for kernel in row.kernels), outcome.arrives)
        for row in same
        for outcome in [row.reboots if reboots else row.stays]
        if outcome is not None
    ]
    return min(outcomes)[1] if outcomes else None


def explanation(release: str | None, machine: str | None, panic: int | None) -> str:
    """Return why nothing of a panic can have arrived, in words that follow ``and``; "" if it would have.

    :param panic: the kernel's setting; None if unknown.
    """
    if release is None:
        return ""
    machine = machine or machine_of(release)
    if arrives(release, machine, False) == NOTHING:
        return f"this kernel sends none on {machine}"
    if arrives(release, machine, True) != NOTHING or panic == 0:
        return ""
    if panic is None:
        return "this kernel sends none unless panic=0"
    return f"this kernel sends none with panic={panic}"


def rules() -> list[str]:
    """Return the answers of :func:`arrives` for a shell script: ``MAJOR:MACHINE:WHEN``, the machine ``any`` last.

    WHEN is ``always`` or ``reboots``, if nothing arrives, ``part``, if a part arrives, and ``never``. The answers are
    those for the newest measured kernel of each major version.
    """
    found = []
    for major in dict.fromkeys(map(_major, ARRIVALS)):
        rows = [row for row in ARRIVALS if _major(row) == major and not row.condition]
        others = _when(rows, "any")
        machines = dict.fromkeys(name for row in rows for name in row.machines)
        different = {name: when for name in machines if (when := _when(rows, name)) != others}
        found += [f"{major}:{name}:{when}" for name, when in different.items()]
        if others != "never":
            found.append(f"{major}:any:{others}")
    return found


def _when(rows: list[Arrival], machine: str) -> str:
    kernels = [kernel for row in rows if machine in row.machines or machine == "any" for kernel in row.kernels]
    newest = max(kernels, key=lambda kernel: int(_minor(kernel)))
    stays, reboots = (arrives(newest, machine, each) for each in (False, True))
    if stays == NOTHING:
        return "always"
    if reboots == NOTHING:
        return "reboots"
    return "part" if stays == PART else "never"


def _major(row: Arrival) -> str:
    return row.kernels[-1].partition(".")[0]


def _minor(kernel: str) -> str:
    return kernel.partition(".")[2]
