"""The guest's file system: an archive in the kernel's "newc" cpio format (its initramfs/buffer-format document)."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path

from tests.kernel.kernels import Kernel, Missing, find_busybox
from tests.kernel.records import RECORDS, USERDATA, USERDATA_LARGE

INIT = Path(__file__).with_name("init.sh")


def build(kernel: Kernel, settings: Mapping[str, str], client: str, init: Path = INIT) -> bytes:
    """The guest's whole file system, as an archive.

    :param settings: variables for init.sh; no value may hold a single quote.
    :param client: the script of ``netconsd client``.
    :param init: the script of the guest's first process.
    :raises Missing: if a part of it is not on this machine.
    """
    files = {
        "init": init.read_bytes(),
        "bin/busybox": find_busybox().read_bytes(),
        "client": client.encode(),
        "settings": "".join(f"{name}='{value}'\n" for name, value in settings.items()).encode(),
    }
    modules = with_dependencies(kernel, ["e1000", "netconsole"])
    files |= {f"modules/{name}.ko": content for name, content in modules.items()}
    # netconsole itself is loaded by hand, with its parameter.
    files["modules/order"] = "".join(f"{name}\n" for name in modules if name != "netconsole").encode()
    for number, record in enumerate(RECORDS):
        files[f"records/{number:03}"] = record.written
    for directory, items in (("userdata", USERDATA), ("userdata-large", USERDATA_LARGE)):
        for key, value in items.items():
            files[f"{directory}/{key}"] = value.encode()
    return archive(files)


def with_dependencies(kernel: Kernel, names: list[str]) -> dict[str, bytes]:
    """The modules, each after the modules that it depends on."""
    modules: dict[str, bytes] = {}
    for name in names:
        content = kernel.module(name)
        depends = re.search(rb"\0depends=([a-z0-9_,-]*)\0", content)
        if depends is None:
            raise Missing(f"the module {name} of kernel {kernel.release} does not say what it depends on")
        modules |= with_dependencies(kernel, [other for other in depends[1].decode().split(",") if other])
        modules[name] = content
    return modules


def archive(files: Mapping[str, bytes]) -> bytes:
    """A cpio archive of the files, all executable, with their directories and the mount points of a Linux system."""
    out = bytearray()
    directories = {"dev", "proc", "sys"} | {path.split("/")[0] for path in files if "/" in path}
    for name in sorted(directories):
        out += _entry(name, stat.S_IFDIR | 0o755, b"")
    for name, content in files.items():
        out += _entry(name, stat.S_IFREG | 0o755, content)
    return bytes(out + _entry("TRAILER!!!", 0, b""))


def _entry(name: str, mode: int, content: bytes) -> bytes:
    ino = uid = gid = mtime = major = minor = check = 0
    name_size = len(name) + 1
    numbers = (ino, mode, uid, gid, 1, mtime, len(content), major, minor, major, minor, name_size, check)
    header = b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0"
    # Header and content each end at a multiple of four.
    return header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)
