"""The standard output of the process, which belongs to one module at a time."""

from __future__ import annotations

import os
import stat
import sys
import threading
import weakref
from typing import Any, TextIO

_lock = threading.Lock()
# By reference, so that a module that was never stopped keeps nothing.
_owner: weakref.ref[Any] | None = None
_name = ""


def claim(owner: Any, name: str, advice: str) -> TextIO | None:
    """Return the standard output for a module, until :func:`release`; None if the process has none.

    Lines of two formats in one stream are of no use to a reader, and the lines of two modules could be torn.

    :param owner: the module, which holds it; a second claim of the same module is allowed.
    :param name: the module's name.
    :param advice: the end of the error text: what the user can do.
    :raises RuntimeError: if another module has it.
    """
    global _owner, _name
    with _lock:
        other = _owner() if _owner is not None else None
        if other is not None and other is not owner:
            raise RuntimeError(f"the module {_name} already writes to standard output; {advice}")
        _owner, _name = weakref.ref(owner), name
    # Not sys.stdout, because under twistd that is the log.
    return sys.__stdout__


def release(owner: Any) -> None:
    """End the claim of a module, if it has one."""
    global _owner
    with _lock:
        if _owner is not None and _owner() is owner:
            _owner = None


def is_discarded(fd: int) -> bool:
    """Return whether a descriptor is /dev/null, as the standard output of a daemon in the background is."""
    found = os.fstat(fd)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.stat(os.devnull).st_rdev
