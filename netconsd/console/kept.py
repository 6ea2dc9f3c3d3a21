"""A directory that is held, to notice that its path leads to another one: a store that was deleted and made again."""

from __future__ import annotations

import os
from pathlib import Path


class Kept:
    """Holds a directory until it is forgotten, so that no new one can have its inode."""

    def __init__(self, path: Path) -> None:
        """:raises OSError: if there is no such directory."""
        self._path = path
        self._fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def is_there(self) -> bool:
        """Return whether the path still leads to it."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self._path))
        except OSError:
            return False

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)
