"""Dumps of pstore: ``Panic#1 Part3`` and the text, the end of the log in part 1 (fs/pstore/platform.c).

A backend keeps small parts, each in a file of its own; a file can also have several parts in a row.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Final

#: Bytes of a dump that is read, uncompressed: a record of EFI has some kilobytes, one of ramoops can have megabytes.
DUMP_LIMIT: Final = 16 << 20

_HEADER = re.compile(
    rb"^(?:====[0-9]{1,20}\.[0-9]{1,9}-[CD]\n)?(?P<why>Panic|Oops|Emergency|Restart|Halt|Poweroff|Shutdown|Unknown)#"
    rb"(?P<count>[0-9]{1,9}) Part(?P<part>[0-9]{1,9})\n",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a dump."""

    #: ``Panic``, ``Oops`` ...; the number of the dump since boot; the number of the part, 1 for the end of the log.
    why: str
    count: int
    part: int
    #: The lines of the file before the part's text.
    line: int
    text: bytes


def is_pstore(head: bytes) -> bool:
    """Return whether a file with this begin is a dump, or several parts of it."""
    return _HEADER.match(head) is not None


def inflated(data: bytes, limit: int = DUMP_LIMIT) -> bytes | None:
    """Return a dump that the kernel has compressed and left so (``dmesg-efi-1.enc.z``), or None for other bytes."""
    for bits in (-zlib.MAX_WBITS, zlib.MAX_WBITS):
        try:
            text = zlib.decompressobj(bits).decompress(data, limit)
        except zlib.error:
            continue
        if is_pstore(text) or text.startswith((b"<", b"[")):
            return text
    return None


def parts(data: bytes) -> list[Part]:
    """Return the parts in the order of the log: dump by dump, the highest part first."""
    found: list[Part] = []
    headers = list(_HEADER.finditer(data))
    lines = at = 0
    for index, header in enumerate(headers):
        end = headers[index + 1].start() if index + 1 < len(headers) else len(data)
        lines += data.count(b"\n", at, header.end())
        at = header.end()
        found.append(
            Part(header["why"].decode(), int(header["count"]), int(header["part"]), lines, data[header.end() : end])
        )
    # Stable: dumps of different boots with the same number stay in the order of the file, as far as one can tell.
    return sorted(found, key=lambda part: (part.count, -part.part))
