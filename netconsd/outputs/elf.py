"""Reads the headers of a shared object before the linker maps it.

dlopen(3) does not compare a file's headers with its size: the first access beyond the end of a truncated file ends the
process with SIGBUS. The layouts are those of elf(5).
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from pathlib import Path
from typing import Final, NamedTuple

_IDENT: Final = 16
_CLASSES: Final = {1: 32, 2: 64}
_ORDERS: Final = {1: "<", 2: ">"}
#: The field e_type of a shared object, and the types of other files.
_SHARED: Final = 3
_TYPES: Final = {1: "an object file: link it with cc -shared", 2: "a program", 4: "a core dump"}
#: Names of e_machine, as ``uname -m`` writes them.
_MACHINES: Final = {
    3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64",
    258: "loongarch64",
}  # fmt: skip
#: The types of segments whose bytes the linker reads from the file: PT_LOAD and PT_DYNAMIC.
_READ_SEGMENTS: Final = (1, 2)
#: The type of a section without bytes in the file (SHT_NOBITS).
_NO_BITS: Final = 8
#: Section and program headers have 16-bit numbers; with 64 bytes each they are at most this long.
_TABLE_LIMIT: Final = 65535 * 64


class _Header(NamedTuple):
    kind: int
    machine: int
    bits: int
    order: str
    program_offset: int
    section_offset: int
    program_size: int
    program_count: int
    section_size: int
    section_count: int


class _Refused(Exception):
    """``str()`` is the reason for the user."""


def fault(path: Path, *, running: Path | None = None) -> str | None:
    """Return the reason why a file cannot be a shared object of this machine, or None. Never blocks on a FIFO.

    None does not promise that the file can be loaded: the linker also resolves symbols and libraries.

    :param running: a program of this machine; by default the running one.
    :raises OSError: if the file cannot be read.
    """
    # O_NONBLOCK: the open of a FIFO would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "is not a regular file"
        header = _header(descriptor)
        _compare(header, _own(running))
        _check_size(descriptor, header, status.st_size)
    except _Refused as refused:
        return str(refused)
    finally:
        os.close(descriptor)
    return None


def _header(descriptor: int) -> _Header:
    data = os.pread(descriptor, 64, 0)
    if not data:
        raise _Refused("is empty")
    if data[:4] != b"\x7fELF":
        raise _Refused("is not a shared object: compile it with cc -shared -fPIC")
    bits, order = _CLASSES.get(data[4:5][0] if len(data) > 4 else 0), _ORDERS.get(data[5] if len(data) > 5 else 0)
    size = 64 if bits == 64 else 52
    if bits is None or order is None or len(data) < size:
        raise _Refused("is damaged or truncated: its header is incomplete")
    layout = "HHIQQQIHHHHHH" if bits == 64 else "HHIIIIIHHHHHH"
    kind, machine, _, _, program, section, _, _, *rest = struct.unpack(order + layout, data[_IDENT:size])
    return _Header(kind, machine, bits, order, program, section, *rest[:4])


def _own(running: Path | None) -> _Header | None:
    """The header of the running program; None if it cannot be read."""
    for path in (running,) if running is not None else (Path("/proc/self/exe"), Path(sys.executable)):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            return _header(descriptor)
        except (_Refused, OSError):
            continue
        finally:
            os.close(descriptor)
    return None


def _compare(header: _Header, own: _Header | None) -> None:
    if own is not None and (header.machine, header.bits, header.order) != (own.machine, own.bits, own.order):
        raise _Refused(f"was compiled for {_machine(header)}; this Python runs on {_machine(own)}: compile it here")
    if header.kind != _SHARED:
        raise _Refused(f"is not a shared object but {_TYPES.get(header.kind, 'another ELF file')}")


def _machine(header: _Header) -> str:
    return f"{_MACHINES.get(header.machine, f'machine {header.machine}')} ({header.bits} bits)"


def _check_size(descriptor: int, header: _Header, size: int) -> None:
    """Refuse a file that is shorter than its headers say."""
    end = _ends(descriptor, header, size)
    if end > size:
        raise _Refused(f"is truncated: it has {size} bytes of {end} or more; copy or compile it again")


def _ends(descriptor: int, header: _Header, size: int) -> int:
    """The least size of the file according to its headers."""
    programs = header.program_size * header.program_count
    sections = header.section_size * header.section_count if header.section_offset else 0
    end = max(header.program_offset + programs, header.section_offset + sections)
    if end > size:
        return end
    if not header.program_count:
        raise _Refused("is damaged: it has no program headers")
    # The fields up to the size in the file: p_type, p_offset and p_filesz; sh_type, sh_offset and sh_size.
    wide = header.bits == 64
    program = struct.Struct(header.order + ("IIQQQQ" if wide else "IIIII"))
    section = struct.Struct(header.order + ("IIQQQQ" if wide else "IIIIII"))
    if header.program_size < program.size or (sections and header.section_size < section.size):
        raise _Refused("is damaged: its headers have a wrong size")
    ends = [end]
    table = _table(descriptor, header.program_offset, header.program_size, header.program_count, program)
    offset, filesz = (2, 5) if wide else (1, 4)
    ends += [fields[offset] + fields[filesz] for fields in table if fields[0] in _READ_SEGMENTS]
    if sections:
        table = _table(descriptor, header.section_offset, header.section_size, header.section_count, section)
        ends += [fields[4] + fields[5] for fields in table if fields[1] not in (0, _NO_BITS)]
    return max(ends)


def _table(descriptor: int, offset: int, size: int, count: int, layout: struct.Struct) -> list[tuple[int, ...]]:
    data = os.pread(descriptor, min(size * count, _TABLE_LIMIT), offset)
    return [layout.unpack_from(data, at) for at in range(0, len(data) - layout.size + 1, size)]
