"""The kernels to test with: extracted Debian packages, and the other parts of a guest.

The environment says where they are:

``NETCONSD_TEST_KERNEL``
    The kernels, separated by colons: directories into which a kernel package was extracted (``dpkg-deb -x``). Without
    it, all kernels that ``.ci/install-kernel-test`` has put into the cache.
``NETCONSD_REQUIRE_KERNEL_TEST``
    ``1`` makes the tests fail instead of skip if something is missing. They also fail if one of the named kernels is
    missing.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

# The first kernel release that has a feature of netconsole.
SINCE = {
    "release": (6, 6),  # the "r" of the module parameter
    "userdata": (6, 9),
    "cpu": (6, 14),
    "taskname": (6, 15),
    "sysdata release": (6, 16),
    "msgid": (6, 17),
}


class Missing(Exception):
    """A tool or kernel of the test is not on this machine; the text names it."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that qemu can boot."""

    release: str
    """The output of ``uname -r``: "6.12.117+deb12-amd64"."""
    image: Path
    modules: Path

    @property
    def version(self) -> tuple[int, int]:
        """The numbers that features depend on: (6, 12)."""
        major, minor = re.findall("[0-9]+", self.release)[:2]
        return int(major), int(minor)

    def has(self, feature: str) -> bool:
        """True if this kernel's netconsole has a feature of :data:`SINCE`."""
        return self.version >= SINCE[feature]

    def module(self, name: str) -> bytes:
        """The uncompressed module of that name.

        :raises Missing: if the kernel has none.
        """
        for path in self.modules.glob(f"kernel/**/{name}.ko*"):
            match path.suffix:
                case ".ko":
                    return path.read_bytes()
                case ".xz":
                    return lzma.decompress(path.read_bytes())
        raise Missing(f"kernel {self.release} has no module {name} (the cloud kernels have no e1000)")


def cache() -> Path:
    """The directory into which ``.ci/install-kernel-test`` puts busybox and the kernels."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "netconsd" / "kernel-test"


def required() -> bool:
    """True if the tests must run: in CI, and if the environment names the kernels to test."""
    return os.environ.get("NETCONSD_REQUIRE_KERNEL_TEST") == "1" or bool(os.environ.get("NETCONSD_TEST_KERNEL"))


def missing() -> str | None:
    """The first missing tool or kernel and how to get it; ``None`` if nothing is missing."""
    try:
        find_qemu()
        find_busybox()
        find_kernels()
    except Missing as error:
        return str(error)
    return None


def find_kernels() -> list[Kernel]:
    """The kernels to test, at least one, oldest first.

    :raises Missing: if there is none, or none in a directory that the environment names.
    """
    named = os.environ.get("NETCONSD_TEST_KERNEL")
    trees = [Path(name) for name in named.split(":")] if named else sorted((cache() / "kernels").glob("*"))
    if not trees:
        raise Missing("there is no kernel to test: run .ci/install-kernel-test")
    return sorted((kernel for tree in trees for kernel in _kernels_in(tree)), key=lambda kernel: kernel.version)


def _kernels_in(tree: Path) -> list[Kernel]:
    """Debian moved modules from /lib to /usr/lib, and then the kernel beside its modules."""
    found = []
    for modules in sorted((*tree.glob("lib/modules/*"), *tree.glob("usr/lib/modules/*"))):
        for image in (modules / "vmlinuz", tree / "boot" / f"vmlinuz-{modules.name}"):
            if image.exists():
                found.append(Kernel(modules.name, image, modules))
                break
    if not found:
        raise Missing(f"there is no kernel in {tree}")
    return found


def find_qemu() -> str:
    """The path of qemu.

    :raises Missing: if it is not installed.
    """
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        raise Missing("qemu-system-x86_64 is not installed: run .ci/install-kernel-test")
    return qemu


def find_busybox() -> Path:
    """The path of a statically linked busybox.

    :raises Missing: if there is none.
    """
    installed = shutil.which("busybox")
    for path in (cache() / "busybox", Path(installed) if installed else None):
        # A dynamically linked program names its loader near its start.
        if path is not None and path.exists() and b"/ld-linux" not in path.read_bytes()[:4096]:
            return path
    raise Missing("there is no static busybox: run .ci/install-kernel-test")
