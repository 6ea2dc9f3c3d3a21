"""The script warns on a machine whose settings lose a panic, and names the settings that keep it."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.crash.arrival import ALL, NOTHING, PART, arrives, rules
from tests.client.machine import Machine
from tests.client.scripts import SHELLS

SET = "to send it, set kernel.panic = 0 in /etc/sysctl.d, and no panic= on the kernel's command line"
HARDWARE = "and let the hardware watchdog reset the machine: RuntimeWatchdogSec=30 in /etc/systemd/system.conf"
NO_HARDWARE = "but no hardware watchdog was found, without which somebody has to reset the machine after a panic"


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """A machine with each shell, and a kernel that loses a panic if it reboots."""
    machine = Machine(tmp_path, request.param)
    machine.write("release", "7.3.4+deb13-amd64\n")
    machine.write("proc/sys/kernel/panic", "10\n")
    return machine


def warnings(machine: Machine) -> list[str]:
    """Run the script; return its warnings and the lines that belong to them."""
    said = machine.run("--no-test", "--loglevel", "8")
    assert said.pop(0).startswith("the kernel's log goes to ")
    return said


def test_a_timeout(machine: Machine) -> None:
    """With panic=10 the warning names the setting, and says that a watchdog is missing."""
    assert warnings(machine) == [
        "warning: kernel 7.3.4+deb13-amd64 sends nothing of a panic, because /proc/sys/kernel/panic is 10",
        *(SET, NO_HARDWARE),
    ]


@pytest.mark.parametrize(
    ("identities", "line"),
    [
        (["Software Watchdog"], NO_HARDWARE),
        (["iTCO_wdt"], HARDWARE),
        (["Software Watchdog", "i6300ESB timer"], HARDWARE),
    ],
)
def test_watchdogs(machine: Machine, identities: list[str], line: str) -> None:
    """A hardware watchdog is named; the kernel's own timer is none."""
    for number, identity in enumerate(identities):
        machine.write(f"sys/class/watchdog/watchdog{number}/identity", f"{identity}\n")
    assert warnings(machine)[1:] == [SET, line]


@pytest.mark.parametrize("panic", ["-1\n", "1\n"])
def test_other_timeouts(machine: Machine, panic: str) -> None:
    """An immediate reboot loses the panic as well."""
    machine.write("proc/sys/kernel/panic", panic)
    assert len(warnings(machine)) == 3


def test_no_timeout(machine: Machine) -> None:
    """With panic=0, or without that file, nothing is lost."""
    machine.write("proc/sys/kernel/panic", "0\n")
    assert warnings(machine) == []
    (machine.root / "proc/sys/kernel/panic").unlink()
    assert warnings(machine) == []


def test_kdump(machine: Machine) -> None:
    """While a kernel for kdump is loaded, nothing is sent whatever the timeout."""
    machine.write("sys/kernel/kexec_crash_loaded", "1\n")
    machine.write("proc/sys/kernel/panic", "0\n")
    (warning,) = warnings(machine)
    assert "kdump keeps it" in warning
    machine.write("sys/kernel/kexec_crash_loaded", "0\n")
    assert warnings(machine) == []


@pytest.mark.parametrize(
    ("release", "name", "words"),
    [
        ("7.2.13+deb14-s390x", "s390x", "nothing of a panic on s390x, with any setting"),
        ("7.2.13+deb14-powerpc64le", "ppc64le", "nothing of a panic on ppc64le, with any setting"),
        ("6.1.0-50-s390x", "s390x", "only a part of a panic on s390x"),
        ("7.3.4", "loongarch64", "because /proc/sys/kernel/panic is 10"),
    ],
)
def test_other_machines(machine: Machine, release: str, name: str, words: str) -> None:
    """Machines that lose it with any setting are named; machines that were not measured are as most others."""
    machine.write("release", f"{release}\n")
    machine.write("machine", f"{name}\n")
    assert words in warnings(machine)[0]


@pytest.mark.parametrize("release", ["6.12.117+deb13-amd64", "6.18.2", "5.10.0", "8.0.1", "70.1"])
def test_kernels_that_send_it(machine: Machine, release: str) -> None:
    """Kernels that send it, and those of which nothing is known, are not warned of."""
    machine.write("release", f"{release}\n")
    assert warnings(machine) == []


def test_the_set_up_goes_on(machine: Machine) -> None:
    """The warning does not stop the script: the target is set up, and the test line sent."""
    said = machine.run()
    assert machine.target()["enabled"] == "1"
    assert said[-1].startswith("wrote a test line")


@pytest.mark.parametrize("release", ["5.10", "6.1", "6.12", "6.18", "7.2", "7.3"])
@pytest.mark.parametrize("name", ["x86_64", "aarch64", "armv7l", "riscv64", "ppc64le", "s390x", "mips"])
def test_the_rules_of_the_script(release: str, name: str) -> None:
    """The rules of the script give the answers of the table, for measured versions."""
    major = release.partition(".")[0]
    matching = [rule for rule in rules() if rule.rpartition(":")[0] in (f"{major}:{name}", f"{major}:any")]
    when = matching[0].rpartition(":")[2] if matching else "never"
    stays, reboots = (arrives(f"{release}.9", name, each) for each in (False, True))
    assert (stays == NOTHING) == (when == "always")
    assert (stays == PART) == (when == "part")
    assert (stays == ALL and reboots == NOTHING) == (when == "reboots")
