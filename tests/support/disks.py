"""File systems that a test makes full, read-only, and good again, while a process writes to them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

TOOLS = ("unshare", "nsenter", "mount", "umount", "setpriv")
SIZE = "256k"


def missing() -> str | None:
    """What keeps tests from having such a file system here; ``None`` if nothing does."""
    if os.geteuid() != 0:
        return "only root can mount file systems"
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return f"{tool} is missing: apt-get install util-linux mount"
    probe = subprocess.run([*private_disk(Path("/mnt")), "true"], capture_output=True, text=True, check=False)
    return f"no file system can be mounted here: {probe.stderr.strip()}" if probe.returncode else None


def private_disk(place: Path) -> list[str]:
    """The command that runs another one, by becoming it, with a small file system at that place.

    Nobody else sees it, and it is gone with that process.
    """
    become = f'mount -t tmpfs -o size={SIZE} none "$0" && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", become, str(place)]


def subject_to_permissions() -> list[str]:
    """The command that runs another one, by becoming it, without root's right to write where nobody may."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override"]


class Disk:
    """The file system of a process that was started by :func:`private_disk`."""

    def __init__(self, pid: int, place: Path) -> None:
        self._pid = pid
        self._place = place
        #: The same place, as others than the process see it.
        self.path = Path(f"/proc/{pid}/root{place}")
        self._ballast = self.path / "ballast"

    def fill(self) -> None:
        """Take all the space that is left."""
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass

    def empty(self) -> None:
        """Give it back."""
        self._ballast.unlink()

    def remount(self, option: str) -> None:
        """``ro`` or ``rw``. The system refuses the former while a file is open for writing."""
        self._run("mount", "-o", f"remount,{option}")

    def cover(self) -> None:
        """Mount an empty file system over it that cannot be written to."""
        self._run("mount", "-t", "tmpfs", "-o", "ro", "none")

    def uncover(self) -> None:
        """Take that away."""
        self._run("umount")

    def _run(self, *command: str) -> None:
        subprocess.run(["nsenter", f"--target={self._pid}", "--mount", *command, str(self._place)], check=True)
