"""A machine to set up, simulated by a directory of files, with commands that log their calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.client.scripts import script
from tests.client.scripts import shell as shell_command

MAC = "52:54:00:12:34:56"
# $NETCONSD_ROOT is the directory of the machine.
COMMANDS = {
    "id": "echo 0",
    "uname": """
        case $1 in
            -r) cat "$NETCONSD_ROOT/release" ;;
            -m) cat "$NETCONSD_ROOT/machine" ;;
            *) echo sender.example ;;
        esac""",
    "ip": f"""
        case "$*" in
            *"route get"*)
                if [ -e "$NETCONSD_ROOT/down-once" ]; then exec rm "$NETCONSD_ROOT/down-once"; fi
                [ ! -e "$NETCONSD_ROOT/down" ] || exit 2
                echo "192.0.2.9 via 198.51.100.1 dev eth0 src 198.51.100.7 uid 0" ;;
            *"neigh show to 198.51.100.1 dev eth0"*) echo "198.51.100.1 lladdr {MAC} STALE" ;;
        esac""",
    # Loading the module creates its directory. modprobe may run hooks, which read standard input.
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
    # In configfs, rmdir also removes the files of a directory.
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

    :param shell: the name of the shell that runs the script; it also provides the commands that are not simulated.
    """

    def __init__(self, root: Path, shell: str) -> None:
        self.root = root / "machine"
        self._shell = [*shell_command(shell), "-s"]
        self._environment = {"PATH": f"{root}:{os.environ['PATH']}", "NETCONSD_ROOT": str(self.root)}
        # Functions, because busybox prefers its own commands to those of the PATH, and the script must not reach this
        # machine's modules.
        self._functions = ""
        for name, text in COMMANDS.items():
            command = root / name
            command.write_text(f'#!/bin/sh\necho "{name} $*" >> "$NETCONSD_ROOT/calls"\n{text}\n')
            command.chmod(0o755)
            if "-" not in name:
                self._functions += f'{name}() {{ {command} "$@"; }}\n'
        self.write("release", "6.12.0-test\n")
        self.write("machine", "x86_64\n")
        self.write("dynamic")
        self.write("proc/sys/kernel/printk", "4\t4\t1\t7\n")
        self.write("sys/class/net/eth0/type", "1\n")
        self.write("dev/kmsg")
        self.write("etc/hostname")

    def run(self, *arguments: str) -> list[str]:
        """Run the script for a server behind a router; return its lines on stderr.

        :raises AssertionError: if it fails.
        """
        done = self._run(arguments)
        assert done.returncode == 0, done.stderr
        return _lines(done)

    def fail(self, *arguments: str) -> list[str]:
        """Run the script, which must fail; return its lines on stderr."""
        done = self._run(arguments)
        assert done.returncode == 1
        return _lines(done)

    def run_with_more(self, text: str) -> list[str]:
        """Run the script followed by more shell text; return the lines on stderr."""
        return _lines(self._sh(script("--server", "192.0.2.9") + text))

    def boot(self, path: str) -> list[str]:
        """Run a stored script, with a wait of 2 seconds for the network; return its lines on stderr.

        :raises AssertionError: if it fails.
        """
        done = self._sh(self.read(path).replace("\nBOOT_SECONDS=120 ", "\nBOOT_SECONDS=2 "))
        assert done.returncode == 0, done.stderr
        return _lines(done)

    def write(self, path: str, text: str = "") -> None:
        """Write a file, with its directories."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def read(self, path: str) -> str:
        """A file, without its final newline."""
        return (self.root / path).read_text().removesuffix("\n")

    def has(self, path: str) -> bool:
        """True if the file or directory exists."""
        return (self.root / path).exists()

    def make_target(self, *, sysdata: tuple[str, ...] = SYSDATA) -> None:
        """Create an enabled target, as a newer kernel has it."""
        for name in ATTRIBUTES:
            self.write(f"{TARGET}/{name}")
        self.write(f"{TARGET}/enabled", "1\n")
        self.write(f"{TARGET}/userdata/old/value", "stale\n")
        for name in sysdata:
            self.write(f"{TARGET}/userdata/{name}_enabled", "1\n")
        self.write("sys/module/netconsole/version")

    def target(self) -> dict[str, str]:
        """The files of the target, with their contents."""
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


def _lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.stdout == ""
    return [line.removeprefix("netconsd client: ") for line in done.stderr.splitlines()]
