"""A guest: a kernel that boots under qemu, sends its log by netconsole, and crashes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.client.scripts import script
from tests.kernel.initramfs import build
from tests.kernel.kernels import Kernel, find_qemu
from tests.kernel.records import BURST, USERDATA

# qemu's user-mode network: 10.0.2.2 is the host's loopback address. Each port of the guest is mapped to a port of the
# host, so that each target is a sender of its own to the daemon.
HOST = "10.0.2.2/52:55:0a:00:02:02"
LOCAL_PORTS = {"legacy": 6601, "extended": 6602, "release": 6603, "configfs": 6604, "client": 6605, "lossy": 6606}
# All levels are sent; no line written to /dev/kmsg is suppressed; the buffer holds the whole log. After the crash the
# kernel stops: newer kernels (seen with 7.3) pass the last messages to netconsole at the very end of a panic, which
# they do not reach if panic= makes them reboot.
COMMAND_LINE = "console=ttyS0 loglevel=8 printk.devkmsg=on log_buf_len=1M panic=0"


def modes(kernel: Kernel) -> list[str]:
    """The ways of sending that this kernel supports; the guest uses all of them at the same time."""
    return [mode for mode in LOCAL_PORTS if mode != "release" or kernel.has("release")]


def targets(kernel: Kernel, port: int) -> str:
    """The value of netconsole's module parameter.

    :param port: the UDP port of the daemon on this machine.
    """
    options = {"legacy": "", "extended": "+", "release": "+r"}
    return ";".join(
        f"{options[mode]}{LOCAL_PORTS[mode]}@10.0.2.15/eth0,{port}@{HOST}" for mode in modes(kernel) if mode in options
    )


def client_script(port: int) -> str:
    """The script that ``netconsd client`` prints for this guest; it finds route, addresses and MAC itself.

    :param port: the UDP port of the daemon on this machine.
    """
    return script(
        *("--server", HOST.partition("/")[0], "--port", str(port), "--name", "client"),
        *("--source-port", str(LOCAL_PORTS["client"]), "--sysdata", "all", "--loglevel", "8"),
        *(f"--userdata={key}={value}" for key, value in USERDATA.items()),
    )


def file_system(kernel: Kernel, port: int, lossy_port: int) -> bytes:
    """The file system of a guest that sends in all modes, and crashes.

    :param port: the UDP port of the daemon, on the loopback address of this machine.
    :param lossy_port: the port to which the target "lossy" sends.
    :raises Missing: if a part of it is not on this machine.
    """
    settings = {
        "PORT": str(port),
        "TARGETS": targets(kernel, port),
        "CONFIGFS_PORT": str(LOCAL_PORTS["configfs"]),
        "LOSSY_LOCAL_PORT": str(LOCAL_PORTS["lossy"]),
        "LOSSY_PORT": str(lossy_port),
        "BURST": str(BURST),
    }
    return build(kernel, settings, client_script(port))


class Guest:
    """A running guest; as a context manager, it has ended when the block ends.

    :param initramfs: the guest's file system.
    :param directory: for its file and the log of the guest's console.
    :raises Missing: if qemu is not on this machine.
    """

    def __init__(self, kernel: Kernel, initramfs: bytes, directory: Path) -> None:
        self._console = directory / "console.log"
        initrd = directory / "initramfs.cpio"
        initrd.write_bytes(initramfs)
        command = [
            *(find_qemu(), "-accel", "tcg", "-smp", "1", "-m", "256"),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-serial", f"file:{self._console}", "-qmp", "stdio"),
            *("-netdev", "user,id=net", "-device", "e1000,netdev=net,romfile="),
            *("-kernel", str(kernel.image), "-initrd", str(initrd), "-append", COMMAND_LINE),
        ]
        self._log = (directory / "qemu.log").open("wb+")
        self._qemu = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self._log, stderr=self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._qemu.kill()
        self._qemu.wait()
        assert self._qemu.stdin is not None
        self._qemu.stdin.close()
        self._log.close()

    def reset(self) -> None:
        """Press the reset button: the guest boots again. Each target stays the same sender to the daemon."""
        # -no-reboot, against a guest that resets itself, applies to this one as well.
        commands = (
            {"execute": "qmp_capabilities"},
            {"execute": "set-action", "arguments": {"reboot": "reset"}},
            {"execute": "system_reset"},
        )
        assert self._qemu.stdin is not None
        for command in commands:
            self._qemu.stdin.write(json.dumps(command).encode())
        self._qemu.stdin.flush()

    def running(self) -> bool:
        """True while qemu runs; it runs on after the guest's crash."""
        return self._qemu.poll() is None

    def console(self) -> str:
        """The output of qemu, and the guest's console so far."""
        self._log.seek(0)
        said = self._log.read()
        written = self._console.read_bytes() if self._console.exists() else b""
        return (said + written).decode("utf-8", "backslashreplace")
