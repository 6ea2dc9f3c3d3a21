"""Python's global lock (GIL) in free-threaded builds: whether it is on, and which library turned it on."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

#: The names of the extension modules for which Python turned the GIL on since :func:`watch`.
turned_on_by: list[str] = []

# The text of Python's RuntimeWarning (import.c, _PyImport_EnableGILAndWarn).
_WARNING = re.compile(r"The global interpreter lock \(GIL\) has been enabled to load module '([^']*)'")


def is_enabled() -> bool | None:
    """Return whether the GIL is on; None if this build of Python cannot run without it."""
    enabled: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    if enabled is None or "free-threading" not in sys.version:
        return None
    return enabled()


def watch() -> None:
    """From now on, note the modules that turn the GIL on; Python's warnings are shown as before. Called once."""
    if is_enabled() is not False:
        return
    show = warnings.showwarning

    def note(message: Warning | str, *args: Any, **more: Any) -> None:
        if found := _WARNING.match(str(message)):
            turned_on_by.append(found[1])
        show(message, *args, **more)

    warnings.showwarning = note


def described() -> str:
    """Return a sentence for the log; empty in a build of Python with the GIL only."""
    enabled = is_enabled()
    if enabled is None:
        return ""
    if not enabled:
        return "Python runs without its global lock (GIL): each worker and each module's thread can use a processor"
    if turned_on_by:
        return (
            f"Python's global lock (GIL) was turned on for {', '.join(turned_on_by)}, so all workers share one "
            "processor: do without this library, or set PYTHON_GIL=0 at your own risk"
        )
    return (
        "Python's global lock (GIL) is on, so all workers share one processor: PYTHON_GIL=1 or -X gil=1 is set, or a "
        "library that was loaded at the start needs it (Python's warning names the library)"
    )
