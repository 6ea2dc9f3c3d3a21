"""The kernel and the first file system of a guest that runs a whole Debian from a disk: python3 -m tests.kernel.disk.

Only ``.ci/boot-systemd`` uses it. The first file system loads the drivers, and hands over to the disk's /sbin/init.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.kernel.initramfs import archive, with_dependencies
from tests.kernel.kernels import Kernel, Missing, find_busybox, find_kernels

# ext4 loads the checksum's driver by its name, so nothing says that it depends on it.
MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
INIT = b"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module.ko"; done < /modules/order
until [ -b /dev/vda ]; do usleep 10000; done
mkdir /disk
mount -t ext4 /dev/vda /disk || poweroff -f
umount /dev
exec switch_root /disk /sbin/init
"""


def first_file_system(kernel: Kernel) -> bytes:
    """The file system as an archive; a driver that this kernel has no module for is part of it."""
    modules: dict[str, bytes] = {}
    for name in MODULES:
        try:
            modules |= with_dependencies(kernel, [name])
        except Missing:
            continue
    files = {"init": INIT, "bin/busybox": find_busybox().read_bytes()}
    files |= {f"modules/{name}.ko": content for name, content in modules.items()}
    files["modules/order"] = "".join(f"{name}\n" for name in modules).encode()
    return archive(files)


def main(directory: Path) -> None:
    """Write ``kernel`` and ``initrd`` to a directory, of the newest kernel of :func:`find_kernels`."""
    kernel = find_kernels()[-1]
    (directory / "kernel").write_bytes(kernel.image.read_bytes())
    (directory / "initrd").write_bytes(first_file_system(kernel))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
