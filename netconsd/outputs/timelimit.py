"""Logs the name of a module that blocks the reactor's thread, in which modules are stopped and reloaded.

While it blocks, nothing else of the daemon runs in that thread, so a thread of its own watches. It ends nothing: a
second SIGTERM ends the process, or SIGKILL (of the service manager) if the module blocks in C code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from twisted.logger import Logger

# With --stop-timeout 0 the stop waits for no Deferred and no worker; but closing a file may take a moment and is no
# reason for an error in the log.
LEAST_SECONDS = 1.0

Result = TypeVar("Result")


class TimeLimit:
    """Watches calls of one thread, one call at a time."""

    def __init__(self, seconds: float) -> None:
        """:param seconds: the duration of a call after which it is logged."""
        self._seconds = seconds
        self._log = Logger("netconsd")

    def call(self, name: str, function: Callable[[], Result]) -> Result:
        """Return the result of ``function``, or raise its exception.

        :param name: of the call, for the log.
        """
        returned = threading.Event()
        watch = threading.Thread(target=self._watch, args=(name, returned), name="netconsd-timelimit", daemon=True)
        try:
            watch.start()
        except RuntimeError:
            # The system has no more threads: the call goes unwatched.
            return function()
        try:
            return function()
        finally:
            returned.set()
            watch.join()

    def _watch(self, name: str, returned: threading.Event) -> None:
        if not returned.wait(self._seconds):
            self._log.error(
                "{name} has not returned within {seconds:g} seconds (--stop-timeout) and blocks the whole daemon; "
                "a second SIGTERM ends it, or SIGKILL if the module blocks in C code",
                name=name,
                seconds=self._seconds,
            )
