"""The files of a stream's place, written whole or not at all: a process that is killed leaves the last place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from netconsd.store.journal import FILE_MODE
from netconsd.store.layout import UNFINISHED

#: Identities that are remembered, twice: those of a minute at 1700 messages a second. 16 bytes each on disk.
RECENT_LIMIT: Final = 100_000
_BYTES: Final = 8


class Cursor:
    """A JSON object in a file. For one process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Any] | None:
        """Return the object; None if there is none, or the file is damaged.

        :raises OSError: if the disk fails.
        """
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def save(self, fields: dict[str, Any], *, sync: bool = False) -> None:
        """Replace the object.

        :param sync: whether it survives a crash of the machine; otherwise the end of the process.
        :raises OSError: if the disk fails or is full; the object before stays.
        """
        unfinished = f"{self._path}{UNFINISHED}"
        data = json.dumps(fields, separators=(",", ":")).encode("ascii")
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            written = 0
            while written < len(data):
                written += os.write(fd, data[written:])
            if sync:
                os.fdatasync(fd)
        finally:
            os.close(fd)
        os.rename(unfinished, self._path)


class Recent:
    """The identities of the last records, at least :data:`RECENT_LIMIT`, in memory and in two files.

    A record is known from :meth:`add` on; after the end of the process, from :meth:`save` on. 64 bits of a hash stand
    for an identity: that a record is taken for another one has a probability of 1 in 10^14.
    """

    def __init__(self, path: Path, limit: int = RECENT_LIMIT) -> None:
        """
        :raises OSError: if the files cannot be read.
        """
        self._path = path
        self._old = path.with_name(f"{path.name}.old")
        self._limit = limit
        self._before: set[bytes] = _read(self._old)
        self._now: set[bytes] = _read(path)
        self._in_file = len(self._now)

    def __contains__(self, identity: str) -> bool:
        digest = _digest(identity)
        return digest in self._now or digest in self._before

    def add(self, identities: Iterable[str]) -> None:
        """Remember identities in memory."""
        self._now.update(map(_digest, identities))
        if len(self._now) >= self._limit:
            self._before, self._now = self._now, set()

    def save(self, identities: Iterable[str]) -> None:
        """Remember identities in the file.

        :raises OSError: if the disk is full: they are remembered by this process only.
        """
        digests = [_digest(identity) for identity in identities]
        if self._in_file >= self._limit:
            with suppress(FileNotFoundError):
                os.rename(self._path, self._old)
            self._in_file = 0
        with self._path.open("ab", buffering=0) as file:
            file.write(b"".join(digests))
        self._in_file += len(digests)


def _digest(identity: str) -> bytes:
    return blake2b(identity.encode(errors="surrogatepass"), digest_size=_BYTES).digest()


def _read(path: Path) -> set[bytes]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return set()
    # After a crash of the machine the last one can be torn.
    return {data[at : at + _BYTES] for at in range(0, len(data) - _BYTES + 1, _BYTES)}
