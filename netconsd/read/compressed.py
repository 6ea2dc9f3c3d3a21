"""Opens compressed files by their first bytes: gzip, xz, bzip2; Zstandard with Python 3.14 or ``netconsd[zstd]``."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, Final, cast

#: The first bytes of formats that are read, and the name of each.
MAGIC: Final = {
    b"\x1f\x8b\x08": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
}
#: Formats that are not read, each with the program that unpacks them.
UNREAD: Final = {
    b"PK\x03\x04": ("zip", "unzip"),
    b"7z\xbc\xaf\x27\x1c": ("7z", "7z x"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -d"),
    b"LZIP": ("lzip", "lzip -d"),
    b"\x89LZO": ("lzop", "lzop -d"),
    b"\x1f\x9d": ("compress", "uncompress"),
    b"\x1f\xa0": ("compress", "uncompress"),
    b"\x5d\x00\x00": ("lzma", "unlzma"),
    b"Rar!": ("rar", "unrar x"),
    b"LPKSHHRH": ("a systemd journal", "journalctl -k -o json --file"),
    b"\x7fELF": ("an ELF file, perhaps a vmcore", "crash"),
    b"KDUMP   ": ("a kdump vmcore", "crash"),
    b"MDMP": ("a minidump", "crash"),
    b"\xff\xfe": ("text in UTF-16, as PowerShell writes it", "iconv -f UTF-16 -t UTF-8"),
    b"snoop\0\0\0": ("a capture of snoop", "editcap -F pcap"),
    b"GMBU": ("a capture of Network Monitor", "editcap -F pcap"),
    b"\x34\xcd\xb2\xa1": ("a capture in a modified pcap format", "editcap -F pcap"),
    b"\xa1\xb2\xcd\x34": ("a capture in a modified pcap format", "editcap -F pcap"),
}
#: The longest of these.
MAGIC_BYTES: Final = max(map(len, (*MAGIC, *UNREAD)))


class UnreadableError(ValueError):
    """The content is of a format that is not read; the text says which, and what to do."""


def kind_of(head: bytes) -> str | None:
    """Return the name of the compression of a file with this begin; None for none.

    :raises UnreadableError: for a known format that is not read.
    """
    for magic, (name, program) in UNREAD.items():
        if head.startswith(magic):
            raise UnreadableError(f"is {name}, which is not read: use `{program}` first")
    for magic, name in MAGIC.items():
        # Text can begin with BZh, but not with a digit and a block's magic number behind it.
        if head.startswith(magic) and (name != "bzip2" or head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")):
            return name
    return None


def opened(kind: str, file: BinaryIO) -> BinaryIO:
    """Return the uncompressed content as a file that reads from another one.

    :param file: at its begin; not closed.
    :raises UnreadableError: for Zstandard, if no library for it is installed.
    """
    if kind == "gzip":
        import gzip

        return cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb"))
    if kind == "xz":
        import lzma

        return cast(BinaryIO, lzma.LZMAFile(file))
    if kind == "bzip2":
        import bz2

        return cast(BinaryIO, bz2.BZ2File(file))
    return _zstd(file)


def errors() -> tuple[type[Exception], ...]:
    """Return the exceptions by which a damaged file shows while it is read."""
    import lzma
    import zlib

    found: list[type[Exception]] = [EOFError, lzma.LZMAError, zlib.error, OSError]
    for name in ("compression.zstd", "zstandard"):
        try:
            found.append(__import__(name, fromlist=["ZstdError"]).ZstdError)
        except ImportError:
            continue
    return tuple(found)


def _zstd(file: BinaryIO) -> BinaryIO:
    try:
        from compression.zstd import ZstdFile
    except ImportError:
        try:
            from zstandard import ZstdDecompressor
        except ImportError:
            raise UnreadableError(
                'is compressed with zstd: install "netconsd[zstd]" or unpack it with `zstd -d`'
            ) from None
        read: Any = ZstdDecompressor().stream_reader
        return cast(BinaryIO, io.BufferedReader(read(file, read_across_frames=True)))
    return cast(BinaryIO, ZstdFile(file))
