"""The files of the pages, read and compressed once. A file that is not in the table does not exist."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).with_name("static")
INDEX: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",
}
#: A file larger than this is none of the pages.
_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class File:
    """A file of the pages."""

    data: bytes
    #: Compressed; None if that is not smaller.
    gzip: bytes | None
    kind: str
    etag: str


def file_of(data: bytes, kind: str) -> File:
    """Return a file with its compressed form."""
    packed = gzip.compress(data, 9, mtime=0)
    etag = f'"{sha256(data).hexdigest()[:20]}"'
    return File(data, packed if len(packed) < len(data) else None, kind, etag)


def load(directory: Path = STATIC) -> dict[str, File]:
    """Return the files by their path below the directory: ``js/app.js``.

    :raises OSError: if a file cannot be read.
    """
    found = {}
    for path in sorted(directory.rglob("*")):
        kind = _TYPES.get(path.suffix)
        if kind is not None and path.is_file() and path.stat().st_size <= _BYTES:
            found[path.relative_to(directory).as_posix()] = file_of(path.read_bytes(), kind)
    return found
