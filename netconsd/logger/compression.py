"""Compressed copies of files, with gzip or Zstandard (RFC 1952, RFC 8878)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

# Between two pieces other threads may run; the libraries release the GIL while they compress one.
PIECE: Final = 1 << 20
# A level of Zstandard that takes a few milliseconds per megabyte; logs become a tenth of their size.
ZSTD_LEVEL: Final = 3
GZIP_LEVEL: Final = 6


def compressor(kind: str) -> Callable[[], Any]:
    """Return a function that makes a new compressor, an object with ``compress`` and ``flush``.

    :param kind: ``gzip`` or ``zstd``.
    :raises ModuleNotFoundError: for ``zstd`` before Python 3.14 without the package zstandard.
    """
    if kind == "gzip":
        import zlib

        # 16 added to the window: a gzip header, without name and time, so that equal files stay equal.
        return lambda: zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    try:
        from compression.zstd import ZstdCompressor
    except ImportError:
        from zstandard import ZstdCompressor as Packaged

        return lambda: Packaged(level=ZSTD_LEVEL).compressobj()
    return lambda: ZstdCompressor(ZSTD_LEVEL)


def compress(make: Callable[[], Any], source: int, target: int, *, stopped: Callable[[], bool]) -> bool:
    """Compress the rest of one file into another, and wait until it is on the disk.

    :param make: from :func:`compressor`.
    :param source: a descriptor to read.
    :param target: a descriptor to write.
    :param stopped: asked between the pieces.
    :returns: False if it was stopped; then the target is incomplete.
    :raises OSError: if a file cannot be read or written.
    """
    stream = make()
    while piece := os.read(source, PIECE):
        if stopped():
            return False
        _write(target, stream.compress(piece))
    _write(target, stream.flush())
    os.fsync(target)
    return True


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
