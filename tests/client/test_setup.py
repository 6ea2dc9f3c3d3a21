"""The script sets a target up, changes it and removes it, on a simulated machine and in each shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.machine import MAC, TARGET, Machine
from tests.client.scripts import SHELLS
from tests.support.tools import skip_or_fail

USERDATA = "it's $(touch pwned) `touch pwned` \"; touch pwned; \\n%s # K\u00f8benhavn"
STORED = "etc/netconsd/client-netconsd.sh"
PARAMETER = f"6665@198.51.100.7/eth0,1514@192.0.2.9/{MAC}"
NEW = {
    "extended": "1",
    "dev_name": "eth0",
    "local_port": "6665",
    "remote_port": "1514",
    "local_ip": "198.51.100.7",
    "remote_ip": "192.0.2.9",
    "remote_mac": MAC,
    "enabled": "1",
}


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """A machine with each shell."""
    return Machine(tmp_path, request.param)


class TestConfigfs:
    """A kernel whose targets are directories of configfs."""

    def test_new_target(self, machine: Machine) -> None:
        """The script loads the module, mounts configfs, and creates and enables a target."""
        said = machine.run()
        assert machine.target() == NEW
        assert said == [
            f"the kernel's log goes to 192.0.2.9, port 1514, through eth0 and {MAC}",
            "only messages below level 4 are sent, as to the console (--loglevel 8 sends all)",
            "wrote a test line to the kernel's log: the server should have received it",
        ]
        assert machine.called("modprobe") == ["netconsole", "configfs"]

    def test_again(self, machine: Machine) -> None:
        """An enabled target is replaced; nothing of the old one remains."""
        machine.make_target()
        machine.run("--userdata", "rack=r17", "--sysdata", "msgid,cpu_nr")
        first = machine.target()
        assert first == NEW | {
            "release": "1",
            "userdata/rack/value": "r17",
            "userdata/cpu_nr_enabled": "1",
            "userdata/taskname_enabled": "0",
            "userdata/release_enabled": "0",
            "userdata/msgid_enabled": "1",
        }
        machine.run("--userdata", "rack=r17", "--sysdata", "msgid,cpu_nr")
        assert machine.target() == first

    def test_enabled_target(self, machine: Machine) -> None:
        """The script disables a target first, because an enabled one cannot be changed; if that fails, it stops."""
        machine.make_target()
        enabled = machine.root / TARGET / "enabled"
        enabled.unlink()
        read_only = Path("/sys/class/net/lo/ifindex")  # contains 1, and root cannot write it either
        if not read_only.exists():
            skip_or_fail("/sys is not mounted")
        enabled.symlink_to(read_only)
        assert machine.fail()[-1] == "the kernel refuses 0 for enabled of the target netconsd"
        assert machine.target()["dev_name"] == ""

    def test_legacy(self, machine: Machine) -> None:
        """``--legacy`` sets up plain text without the release."""
        machine.make_target()
        machine.run("--legacy")
        assert (machine.target()["extended"], machine.target()["release"]) == ("0", "0")

    def test_hostile_value(self, machine: Machine, tmp_path: Path) -> None:
        """Any value is written unchanged, and no shell runs it, also at boot."""
        machine.make_target()
        machine.write("run/systemd/system/x")
        machine.write("etc/systemd/system/x")
        machine.run("--persist", "--userdata", f"k$(touch>pwned)`'\"=E\\nD={USERDATA}")
        expected = {"userdata/k$(touch>pwned)`'\"/value": f"E\\nD={USERDATA}"}
        assert {name: text for name, text in machine.target().items() if "value" in name} == expected
        machine.boot(STORED)
        assert {name: text for name, text in machine.target().items() if "value" in name} == expected
        assert not list(tmp_path.glob("**/pwned*"))

    def test_older_kernel(self, machine: Machine) -> None:
        """Fields that the kernel lacks are reported with the kernels that have them; the rest is set up."""
        machine.write("release", "6.1.0-56-amd64\n")
        said = machine.run("--userdata", "rack=r17", "--sysdata", "all", "--no-test")
        kernel = "kernel 6.1.0-56-amd64"
        assert said[:2] == [
            f"userdata is not sent: {kernel} lacks it (6.9 and later have it)",
            f"not sent: cpu_nr taskname release msgid; {kernel} lacks them (added in 6.14 to 6.17)",
        ]
        assert machine.target() == NEW

    def test_refused_value(self, machine: Machine) -> None:
        """A value that the kernel refuses is an error with the kernel's log."""
        machine.make_target()
        (machine.root / TARGET / "dev_name").unlink()
        (machine.root / TARGET / "dev_name").symlink_to("/dev/full")
        assert machine.fail() == [
            "    [    7.1] netconsole: cmdline0: not enough",
            "the kernel refuses eth0 for dev_name of the target netconsd",
        ]

    def test_no_module(self, machine: Machine) -> None:
        """Without the module, the error names the kernel's option."""
        machine.write("no-module")
        (said,) = machine.fail()
        assert said == (
            "cannot load netconsole (CONFIG_NETCONSOLE) into kernel 6.12.0-test: modprobe: FATAL: not found"
        )


class TestParameter:
    """A kernel without CONFIG_NETCONSOLE_DYNAMIC."""

    @pytest.fixture
    def machine(self, machine: Machine) -> Machine:
        (machine.root / "dynamic").unlink()
        return machine

    @pytest.mark.parametrize(
        ("release", "options"),
        [
            ("6.1.0-56-amd64", "+"),
            ("5.15.0", "+"),
            ("6.5.13", "+"),
            ("6.6.0", "+r"),
            ("6.6-rc1", "+r"),
            ("6.12.107+deb13", "+r"),
            ("7.0", "+r"),
            ("10.0.1", "+r"),
        ],
    )
    def test_loaded(self, machine: Machine, release: str, options: str) -> None:
        """The module is loaded with the parameter; the option "r" is used from kernel 6.6 on."""
        machine.write("release", f"{release}\n")
        machine.run()
        assert machine.called("modprobe")[-1] == f"netconsole netconsole={options}{PARAMETER}"

    def test_again(self, machine: Machine) -> None:
        """A module that the script loaded is reloaded."""
        machine.run()
        machine.run("--port", "1600")
        assert machine.called("modprobe")[-2:] == [
            "-r netconsole",
            f"netconsole netconsole=+r{PARAMETER}".replace("1514", "1600"),
        ]

    def test_in_use(self, machine: Machine) -> None:
        """A module that the script did not load is not touched."""
        machine.write("sys/module/netconsole/version")
        (said,) = machine.fail()
        assert said.startswith("netconsole is already in use")
        assert "-r netconsole" not in machine.called("modprobe")

    def test_userdata(self, machine: Machine) -> None:
        """Without configfs, sysdata is reported as not sent."""
        assert machine.run("--sysdata", "all")[0].startswith("userdata and sysdata are not sent")

    def test_remove(self, machine: Machine) -> None:
        """``--remove`` unloads the module only if the script loaded it."""
        machine.run()
        machine.run("--remove")
        assert not machine.has("sys/module/netconsole")
        machine.write("sys/module/netconsole/version")
        machine.run("--remove")
        assert machine.has("sys/module/netconsole")


class TestLogLevel:
    """The console log level decides what is sent."""

    def test_set(self, machine: Machine) -> None:
        """``--loglevel`` sets it; ``--remove`` restores the level before the first run."""
        said = machine.run("--loglevel", "8", "--no-test")
        assert said == [f"the kernel's log goes to 192.0.2.9, port 1514, through eth0 and {MAC}"]
        assert machine.read("proc/sys/kernel/printk") == "8"
        machine.run("--loglevel", "7")
        machine.run("--remove")
        assert machine.read("proc/sys/kernel/printk") == "4"

    def test_read_from_the_kernel(self, machine: Machine) -> None:
        """The level is read from the real /proc/sys, whose files end after one read."""
        real = Path("/proc/sys/kernel/printk")
        printk = machine.root / "proc/sys/kernel/printk"
        printk.unlink()
        printk.symlink_to(real)
        level = real.read_text().split()[0]
        assert any(f" below level {level} " in line for line in machine.run("--no-test")) == (level < "8")

    @pytest.mark.parametrize(("level", "line"), [("8", "<6>"), ("7", "<6>"), ("4", "<3>"), ("2", "<1>"), ("1", None)])
    def test_test_line(self, machine: Machine, level: str, line: str | None) -> None:
        """The test line has the lowest priority that is sent, and never level 0, which would go to all terminals."""
        machine.write("proc/sys/kernel/printk", f"{level}\t4\t1\t7\n")
        said = machine.run()
        expected = f"{line}netconsd client: test line of sender.example" if line else ""
        assert machine.read("dev/kmsg") == expected
        assert ("no test line sent: the console log level is 1" in said) == (line is None)

    def test_ignored(self, machine: Machine) -> None:
        """With the kernel's ignore_loglevel every level is sent."""
        machine.write("sys/module/printk/parameters/ignore_loglevel", "Y\n")
        assert not any("below level" in line for line in machine.run())
        assert machine.read("dev/kmsg").startswith("<6>")

    def test_no_test_line(self, machine: Machine) -> None:
        """``--no-test`` writes no test line."""
        machine.run("--no-test")
        assert machine.read("dev/kmsg") == ""


class TestPersistence:
    """Setting up at every boot, and its removal."""

    def test_systemd(self, machine: Machine) -> None:
        """A unit runs the stored script when the network is up."""
        machine.write("run/systemd/system/x")
        machine.write("etc/systemd/system/x")
        machine.run("--persist")
        stored = machine.root / STORED
        unit = machine.read("etc/systemd/system/netconsd-client-netconsd.service")
        assert f"\nExecStart=/bin/sh {stored}\n" in unit
        assert "\nAfter=network-online.target\n" in unit
        assert machine.called("systemctl") == ["--quiet enable netconsd-client-netconsd.service"]
        machine.run("--remove")
        assert machine.called("systemctl")[1:] == ["--quiet disable netconsd-client-netconsd.service"]
        assert not machine.has("etc/systemd/system/netconsd-client-netconsd.service")
        assert not stored.exists()

    def test_openrc(self, machine: Machine) -> None:
        """Without systemd, OpenRC's local service runs it in the background."""
        machine.write("etc/local.d/x")
        machine.run("--persist")
        start = "etc/local.d/netconsd-client-netconsd.start"
        assert machine.read(start) == f"#!/bin/sh\nsh {machine.root}/{STORED} &"
        assert (machine.root / start).stat().st_mode & 0o111
        assert machine.called("rc-update") == ["add local default"]
        machine.run("--remove")
        assert not machine.has(start)

    def test_cron(self, machine: Machine) -> None:
        """Without systemd and OpenRC, cron runs it; its file name has no dot."""
        machine.write("etc/cron.d/x")
        machine.run("--persist", "--name", "a.b")
        assert machine.read("etc/cron.d/netconsd-client-a_b") == (
            f"@reboot root sh {machine.root}/etc/netconsd/client-a.b.sh"
        )
        machine.run("--remove", "--name", "a.b")
        assert not machine.has("etc/cron.d/netconsd-client-a_b")

    def test_nothing_that_runs_at_boot(self, machine: Machine) -> None:
        """Without any of them, the script says what to run at boot, and the target is enabled."""
        assert machine.fail("--persist")[-1] == (
            "netconsole is set up, but found no systemd, OpenRC or cron: "
            f"run {machine.root}/{STORED} at the end of every boot"
        )
        assert machine.target() == NEW
        assert machine.read("dev/kmsg").startswith("<3>netconsd client: test line")

    def test_at_boot(self, machine: Machine) -> None:
        """The stored script sets up the same with the log level, without a test line, and stores nothing."""
        machine.write("etc/cron.d/x")
        machine.run("--persist", "--loglevel", "8", "--userdata", "rack=r17")
        before = machine.read(STORED)
        machine.write("dev/kmsg")
        machine.write("proc/sys/kernel/printk", "4\t4\t1\t7\n")
        (machine.root / TARGET / "enabled").write_text("0\n")
        machine.boot(STORED)
        assert machine.target()["enabled"] == "1"
        assert machine.read("proc/sys/kernel/printk") == "8"
        assert machine.read("dev/kmsg") == ""
        assert machine.read(STORED) == before

    @pytest.mark.slow
    def test_the_network_comes_up_later(self, machine: Machine) -> None:
        """Only at boot does the script wait for the network, for a limited time."""
        machine.write("etc/cron.d/x")
        machine.run("--persist")
        machine.write("down-once")
        assert machine.fail() == ["no route to 192.0.2.9"]
        machine.write("down-once")
        assert f"the kernel's log goes to 192.0.2.9, port 1514, through eth0 and {MAC}" in machine.boot(STORED)
        machine.write("down")
        with pytest.raises(AssertionError, match=r"no route to 192\.0\.2\.9"):
            machine.boot(STORED)

    def test_set_up_otherwise(self, machine: Machine) -> None:
        """Changing the target without ``--persist`` reports that the stored script is unchanged."""
        machine.write("etc/cron.d/x")
        machine.run("--persist")
        assert any("at boot" in line and "--persist" in line for line in machine.run("--port", "1600"))


def test_input(machine: Machine) -> None:
    """Commands that the script starts do not read the rest of the script's pipe."""
    more = "".join(f"echo {number} >&2\n" for number in range(2000))
    assert machine.run_with_more(more)[-2:] == ["1998", "1999"]


def test_remove(machine: Machine) -> None:
    """``--remove`` removes the target, its userdata and its state."""
    machine.run("--userdata", "rack=r17", "--loglevel", "8")
    machine.run("--remove")
    assert not machine.has(TARGET)
    assert not machine.has("run/netconsd-client-netconsd")


def test_remove_nothing(machine: Machine) -> None:
    """Nothing to remove is not an error."""
    machine.run("--remove")


def test_targets_by_name(machine: Machine) -> None:
    """Targets with different names are independent."""
    machine.run()
    machine.run("--name", "other", "--source-port", "6666")
    machine.run("--remove", "--name", "other")
    assert machine.target() == NEW


def test_two_receivers(machine: Machine) -> None:
    """Two runs with two servers make two targets with the same source port (docs/two-receivers), stored one by one."""
    (machine.root / "etc/cron.d").mkdir(parents=True)
    machine.run("--server", "192.0.2.9", "--name", "receiver-a", "--persist")
    machine.run("--server", "192.0.2.10", "--name", "receiver-b", "--persist")
    for name, address in (("receiver-a", "192.0.2.9"), ("receiver-b", "192.0.2.10")):
        target = TARGET.replace("netconsd", name)
        found = {file: machine.read(f"{target}/{file}").strip() for file in ("remote_ip", "local_port", "enabled")}
        assert found == {"remote_ip": address, "local_port": "6665", "enabled": "1"}
        assert machine.has(f"etc/netconsd/client-{name}.sh")
