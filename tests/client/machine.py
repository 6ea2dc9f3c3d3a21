"""A machine to be set up that is a directory of plain files, with commands that note how they were called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.client.scripts import SHELLS, script

MAC = "52:54:00:12:34:56"
# Each is told its arguments; $NETCONSD_ROOT is the machine.
COMMANDS = {
    "id": "echo 0",
    "uname": 'case $1 in -r) cat "$NETCONSD_ROOT/release" ;; *) echo sender.example ;; esac',
    "ip": f"""
        case "$*" in
            *"route get"*)
                if [ -e "$NETCONSD_ROOT/down-once" ]; then exec rm "$NETCONSD_ROOT/down-once"; fi
                [ ! -e "$NETCONSD_ROOT/down" ] || exit 2
                echo "192.0.2.9 via 198.51.100.1 dev eth0 src 198.51.100.7 uid 0" ;;
            *"neigh show to 198.51.100.1 dev eth0"*) echo "198.51.100.1 lladdr {MAC} STALE" ;;
        esac""",
    # The kernel makes these directories; with a parameter that it does not take, it says so.
    # It may run hooks, which read what is left of the input.
    "modprobe": """
        cat >/dev/null
        case "$*" in
            "-r netconsole") rmdir "$NETCONSD_ROOT/sys/module/netconsole" ;;
            netconsole*)
                [ ! -e "$NETCONSD_ROOT/no-module" ] || { echo "modprobe: FATAL: not found" >&2; exit 1; }
                mkdir -p "$NETCONSD_ROOT/sys/module/netconsole" ;;
        esac""",
    "mount": """
        [ ! -e "$NETCONSD_ROOT/dynamic" ] || mkdir -p "$NETCONSD_ROOT/sys/kernel/config/netconsole" """,
    # In configfs the files of a directory go with it.
    "rmdir": 'rm -r "$@"',
    "dmesg": 'echo "[    7.1] netconsole: cmdline0: not enough"',
    "systemctl": "",
    "rc-update": "",
}
TARGET = "sys/kernel/config/netconsole/netconsd"
#: The files that a target of a new kernel has.
ATTRIBUTES = ("enabled", "extended", "release", "dev_name", "local_port", "remote_port", "local_ip", "remote_ip")
SYSDATA = ("cpu_nr", "taskname", "release", "msgid")


class Machine:
    """A sending machine with netconsole as a module, configfs, and no target yet.

    :param shell: which runs the script; the commands that are not ours are its own.
    """

    def __init__(self, root: Path, shell: str) -> None:
        self.root = root / "machine"
        self._shell = [*SHELLS[shell], "-s"]
        self._environment = {"PATH": f"{root}:{os.environ['PATH']}", "NETCONSD_ROOT": str(self.root)}
        # Functions, because busybox takes its own commands before those of the PATH, and the script must by no means
        # get at this machine's modules.
        self._functions = ""
        for name, text in COMMANDS.items():
            command = root / name
            command.write_text(f'#!/bin/sh\necho "{name} $*" >> "$NETCONSD_ROOT/calls"\n{text}\n')
            command.chmod(0o755)
            if "-" not in name:
                self._functions += f'{name}() {{ {command} "$@"; }}\n'
        self.write("release", "6.12.0-test\n")
        self.write("dynamic")
        self.write("proc/sys/kernel/printk", "4\t4\t1\t7\n")
        self.write("sys/class/net/eth0/type", "1\n")
        self.write("dev/kmsg")
        self.write("etc/hostname")

    def run(self, *arguments: str) -> list[str]:
        """What the script says, set up for a server behind a router.

        :raises AssertionError: if it fails.
        """
        done = self._run(arguments)
        assert done.returncode == 0, done.stderr
        return _said(done)

    def fail(self, *arguments: str) -> list[str]:
        """What the script says; it must fail."""
        done = self._run(arguments)
        assert done.returncode == 1
        return _said(done)

    def run_with_more(self, text: str) -> list[str]:
        """What the shell says that is given the script and then this text."""
        return _said(self._sh(script("--server", "192.0.2.9") + text))

    def boot(self, path: str) -> list[str]:
        """What a stored script says, which may wait for 2 seconds only.

        :raises AssertionError: if it fails.
        """
        done = self._sh(self.read(path).replace("\nBOOT_SECONDS=120 ", "\nBOOT_SECONDS=2 "))
        assert done.returncode == 0, done.stderr
        return _said(done)

    def write(self, path: str, text: str = "") -> None:
        """Write a file, with its directories."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def read(self, path: str) -> str:
        """A file, without its final newline."""
        return (self.root / path).read_text().removesuffix("\n")

    def has(self, path: str) -> bool:
        """Whether there is such a file or directory."""
        return (self.root / path).exists()

    def make_target(self, *, sysdata: tuple[str, ...] = SYSDATA) -> None:
        """A target of a newer kernel, which sends something already."""
        for name in ATTRIBUTES:
            self.write(f"{TARGET}/{name}")
        self.write(f"{TARGET}/enabled", "1\n")
        self.write(f"{TARGET}/userdata/old/value", "stale\n")
        for name in sysdata:
            self.write(f"{TARGET}/userdata/{name}_enabled", "1\n")
        self.write("sys/module/netconsole/version")

    def target(self) -> dict[str, str]:
        """The files of the target, with what is in them."""
        top = self.root / TARGET
        return {
            str(path.relative_to(top)): path.read_text().rstrip("\n") for path in top.glob("**/*") if path.is_file()
        }

    def called(self, command: str) -> list[str]:
        """The arguments of each call of a command."""
        calls = [line.partition(" ") for line in self.read("calls").splitlines()]
        return [arguments for name, _, arguments in calls if name == command]

    def _run(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return self._sh(script("--server", "192.0.2.9", *arguments))

    def _sh(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._shell,
            input=self._functions + text,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def _said(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.stdout == ""
    return [line.removeprefix("netconsd client: ") for line in done.stderr.splitlines()]
