"""The script sets a target up, changes it and removes it: on a machine that is a directory, in each of the shells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.machine import MAC, TARGET, Machine
from tests.client.scripts import SHELLS

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
    """A machine in each of the shells."""
    return Machine(tmp_path, request.param)


class TestConfigfs:
    """A kernel whose targets are directories of configfs."""

    def test_new_target(self, machine: Machine) -> None:
        """The module is loaded, configfs mounted, and a target with the way to the server made and enabled."""
        said = machine.run()
        assert machine.target() == NEW
        assert said == [
            f"the kernel's log goes to 192.0.2.9, port 1514, through eth0 and {MAC}",
            "only messages below level 4 are sent, as on the console (--loglevel 8 sends all)",
            "sent a test line through the kernel's log: it should be at the server now",
        ]
        assert machine.called("modprobe") == ["netconsole", "configfs"]

    def test_again(self, machine: Machine) -> None:
        """A target that sends already is disabled before it is written anew, with nothing left of what it was."""
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

    def test_a_target_that_sends_is_disabled_first(self, machine: Machine) -> None:
        """The kernel takes no changes while it sends, so the script stops where it cannot be disabled."""
        machine.make_target()
        enabled = machine.root / TARGET / "enabled"
        enabled.unlink()
        enabled.symlink_to("/sys/class/net/lo/ifindex")  # a file of the kernel's that is 1, and cannot be written
        assert machine.fail()[-1] == "the kernel does not take 0 for enabled of the target netconsd"
        assert machine.target()["dev_name"] == ""

    def test_legacy(self, machine: Machine) -> None:
        """On request bare text is sent, without the release."""
        machine.make_target()
        machine.run("--legacy")
        assert (machine.target()["extended"], machine.target()["release"]) == ("0", "0")

    def test_hostile_value(self, machine: Machine, tmp_path: Path) -> None:
        """Whatever a value holds arrives as it is, and no shell ever runs it, not even at boot."""
        machine.make_target()
        machine.write("run/systemd/system/x")
        machine.write("etc/systemd/system/x")
        machine.run("--persist", "--userdata", f"k$(touch>pwned)`'\"=E\\nD={USERDATA}")
        expected = {"userdata/k$(touch>pwned)`'\"/value": f"E\\nD={USERDATA}"}
        assert {name: text for name, text in machine.target().items() if "value" in name} == expected
        machine.boot(STORED)
        assert {name: text for name, text in machine.target().items() if "value" in name} == expected
        assert not list(tmp_path.glob("**/pwned*"))

    def test_features_that_the_kernel_lacks(self, machine: Machine) -> None:
        """What an older kernel cannot send is said, with the kernel that can, and the rest is set up."""
        machine.write("release", "6.1.0-56-amd64\n")
        said = machine.run("--userdata", "rack=r17", "--sysdata", "all", "--no-test")
        kernel = "kernel 6.1.0-56-amd64"
        assert said[:2] == [
            f"{kernel} knows no userdata (6.9 and later do): it is not sent",
            f"{kernel} cannot send cpu_nr taskname release msgid (they came with 6.14 to 6.17): they are not sent",
        ]
        assert machine.target() == NEW

    def test_the_kernel_refuses(self, machine: Machine) -> None:
        """If the kernel does not take a value, the script says which, and what the kernel's log says."""
        machine.make_target()
        (machine.root / TARGET / "dev_name").unlink()
        (machine.root / TARGET / "dev_name").symlink_to("/dev/full")
        assert machine.fail() == [
            "    [    7.1] netconsole: cmdline0: not enough",
            "the kernel does not take eth0 for dev_name of the target netconsd",
        ]

    def test_no_module(self, machine: Machine) -> None:
        """Where netconsole is missing, the kernel's option is named."""
        machine.write("no-module")
        (said,) = machine.fail()
        assert said == (
            "cannot load netconsole, which is CONFIG_NETCONSOLE of kernel 6.12.0-test: modprobe: FATAL: not found"
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
        """The module is loaded with the parameter, and with the option "r" only where the kernel knows it."""
        machine.write("release", f"{release}\n")
        machine.run()
        assert machine.called("modprobe")[-1] == f"netconsole netconsole={options}{PARAMETER}"

    def test_again(self, machine: Machine) -> None:
        """A module that the script loaded is loaded anew."""
        machine.run()
        machine.run("--port", "1600")
        assert machine.called("modprobe")[-2:] == [
            "-r netconsole",
            f"netconsole netconsole=+r{PARAMETER}".replace("1514", "1600"),
        ]

    def test_in_use(self, machine: Machine) -> None:
        """A module that somebody else loaded is left alone."""
        machine.write("sys/module/netconsole/version")
        (said,) = machine.fail()
        assert said.startswith("netconsole is in use already")
        assert "-r netconsole" not in machine.called("modprobe")

    def test_userdata(self, machine: Machine) -> None:
        """What needs configfs is said not to be sent."""
        assert machine.run("--sysdata", "all")[0].startswith("userdata and sysdata need CONFIG_NETCONSOLE_DYNAMIC")

    def test_remove(self, machine: Machine) -> None:
        """The module is unloaded; if the script did not load it, it is not."""
        machine.run()
        machine.run("--remove")
        assert not machine.has("sys/module/netconsole")
        machine.write("sys/module/netconsole/version")
        machine.run("--remove")
        assert machine.has("sys/module/netconsole")


class TestLogLevel:
    """The console log level decides what is sent."""

    def test_set(self, machine: Machine) -> None:
        """On request it is set, then nothing is said about it; --remove sets what it was before the first time."""
        said = machine.run("--loglevel", "8", "--no-test")
        assert said == [f"the kernel's log goes to 192.0.2.9, port 1514, through eth0 and {MAC}"]
        assert machine.read("proc/sys/kernel/printk") == "8"
        machine.run("--loglevel", "7")
        machine.run("--remove")
        assert machine.read("proc/sys/kernel/printk") == "4"

    def test_read_from_the_kernel(self, machine: Machine) -> None:
        """A file of /proc/sys can only be read at once."""
        real = Path("/proc/sys/kernel/printk")
        printk = machine.root / "proc/sys/kernel/printk"
        printk.unlink()
        printk.symlink_to(real)
        level = real.read_text().split()[0]
        assert any(f" below level {level} " in line for line in machine.run("--no-test")) == (level < "8")

    @pytest.mark.parametrize(
        ("level", "line"),
        [("8", "<6>"), ("7", "<6>"), ("4", "<3>"), ("2", "<1>"), ("1", None)],
    )
    def test_test_line(self, machine: Machine, level: str, line: str | None) -> None:
        """The test line has a level that is sent; never 0, which would go to all terminals."""
        machine.write("proc/sys/kernel/printk", f"{level}\t4\t1\t7\n")
        said = machine.run()
        expected = f"{line}netconsd client: test line of sender.example" if line else ""
        assert machine.read("dev/kmsg") == expected
        assert ("no test line: the console log level is 1" in said) == (line is None)

    def test_ignored(self, machine: Machine) -> None:
        """With the kernel's ignore_loglevel all is sent, and nothing is said about levels."""
        machine.write("sys/module/printk/parameters/ignore_loglevel", "Y\n")
        assert not any("below level" in line for line in machine.run())
        assert machine.read("dev/kmsg").startswith("<6>")

    def test_no_test_line(self, machine: Machine) -> None:
        """It can be left out."""
        machine.run("--no-test")
        assert machine.read("dev/kmsg") == ""


class TestPersistence:
    """What runs at every boot, and its end."""

    def test_systemd(self, machine: Machine) -> None:
        """A unit runs the stored script once the network is there."""
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
        """Without systemd, a file of OpenRC's local service does it, not waiting for the network."""
        machine.write("etc/local.d/x")
        machine.run("--persist")
        start = "etc/local.d/netconsd-client-netconsd.start"
        assert machine.read(start) == f"#!/bin/sh\nsh {machine.root}/{STORED} &"
        assert (machine.root / start).stat().st_mode & 0o111
        assert machine.called("rc-update") == ["add local default"]
        machine.run("--remove")
        assert not machine.has(start)

    def test_cron(self, machine: Machine) -> None:
        """Without those, cron does it; it takes no file with a dot in its name."""
        machine.write("etc/cron.d/x")
        machine.run("--persist", "--name", "a.b")
        assert machine.read("etc/cron.d/netconsd-client-a_b") == (
            f"@reboot root sh {machine.root}/etc/netconsd/client-a.b.sh"
        )
        machine.run("--remove", "--name", "a.b")
        assert not machine.has("etc/cron.d/netconsd-client-a_b")

    def test_nothing_that_runs_at_boot(self, machine: Machine) -> None:
        """Where there is none of these, the script says what to run; the target sends all the same."""
        assert machine.fail("--persist")[-1] == (
            "it is set up, but there is no systemd, OpenRC or cron: "
            f"run {machine.root}/{STORED} at the end of every boot"
        )
        assert machine.target() == NEW
        assert machine.read("dev/kmsg").startswith("<3>netconsd client: test line")

    def test_at_boot(self, machine: Machine) -> None:
        """The stored script sets up the same, log level included, but sends no test line and stores nothing."""
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

    def test_the_network_comes_up_later(self, machine: Machine) -> None:
        """At boot the script waits for the network, but not for ever; at other times it does not."""
        machine.write("etc/cron.d/x")
        machine.run("--persist")
        machine.write("down-once")
        assert machine.fail() == ["there is no route to 192.0.2.9"]
        machine.write("down-once")
        assert f"the kernel's log goes to 192.0.2.9, port 1514, through eth0 and {MAC}" in machine.boot(STORED)
        machine.write("down")
        with pytest.raises(AssertionError, match=r"there is no route to 192\.0\.2\.9"):
            machine.boot(STORED)

    def test_set_up_otherwise(self, machine: Machine) -> None:
        """Who changes the target, and not what runs at boot, is told so."""
        machine.write("etc/cron.d/x")
        machine.run("--persist")
        assert any("at boot" in line and "--persist" in line for line in machine.run("--port", "1600"))


def test_input(machine: Machine) -> None:
    """What the script starts does not read on in the pipe that the script came through."""
    more = "".join(f"echo {number} >&2\n" for number in range(2000))
    assert machine.run_with_more(more)[-2:] == ["1998", "1999"]


def test_remove(machine: Machine) -> None:
    """The target goes, with its userdata, and with what is remembered of it."""
    machine.run("--userdata", "rack=r17", "--loglevel", "8")
    machine.run("--remove")
    assert not machine.has(TARGET)
    assert not machine.has("run/netconsd-client-netconsd")


def test_remove_nothing(machine: Machine) -> None:
    """Where there is nothing to remove, that is no error."""
    machine.run("--remove")


def test_targets_by_name(machine: Machine) -> None:
    """A second target under another name leaves the first one alone."""
    machine.run()
    machine.run("--name", "other", "--source-port", "6666")
    machine.run("--remove", "--name", "other")
    assert machine.target() == NEW
