"""File systems that a test fills, remounts and covers while a process writes to them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

TOOLS = ("unshare", "nsenter", "mount", "umount", "setpriv")
SIZE = "256k"


def missing() -> str | None:
    """Return the reason why this machine cannot mount such a file system; ``None`` if it can."""
    if os.geteuid() != 0:
        return "only root can mount file systems"
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return f"{tool} is missing: apt-get install util-linux mount"
    probe = subprocess.run([*private_disk(Path("/mnt")), "true"], capture_output=True, text=True, check=False)
    return f"no file system can be mounted here: {probe.stderr.strip()}" if probe.returncode else None


def private_disk(place: Path) -> list[str]:
    """Return a prefix for a command, which is run by ``exec`` with a small file system mounted at the place.

    No other process sees the file system, and it ends with that process.
    """
    script = f'mount -t tmpfs -o size={SIZE} none "$0" && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(place)]


def subject_to_permissions() -> list[str]:
    """Return a prefix for a command, which is run by ``exec`` without root's right to ignore permissions."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override"]


class Disk:
    """The file system of a process that was started by :func:`private_disk`."""

    def __init__(self, pid: int, place: Path) -> None:
        self._pid = pid
        self._place = place
        #: The same place, from outside the process.
        self.path = Path(f"/proc/{pid}/root{place}")
        self._ballast = self.path / "ballast"

    def fill(self) -> None:
        """Use all free space."""
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass

    def empty(self) -> None:
        """Free the space that :meth:`fill` used."""
        self._ballast.unlink()

    def remount(self, option: str) -> None:
        """Remount with ``ro`` or ``rw``. The kernel refuses ``ro`` while a file is open for writing."""
        self._run("mount", "-o", f"remount,{option}")

    def cover(self) -> None:
        """Mount an empty read-only file system over it."""
        self._run("mount", "-t", "tmpfs", "-o", "ro", "none")

    def uncover(self) -> None:
        """Unmount the file system of :meth:`cover`."""
        self._run("umount")

    def _run(self, *command: str) -> None:
        subprocess.run(["nsenter", f"--target={self._pid}", "--mount", *command, str(self._place)], check=True)
