"""How long a module may keep the reactor's thread, in which it is stopped and reloaded, and nothing else goes on.

A module that blocks there is named, by a thread of its own that watches. What may be done about it is for the owner of
the process to say: :class:`netconsd.daemon.process.Daemon` has the call interrupted, and, if even that does not help,
the process ended. An embedding application is told, and no more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from twisted.logger import Logger

__all__ = ["LEAST_SECONDS", "TimeLimit", "TimeLimitExceeded"]

# A stop that is not to wait at all (--stop-timeout 0) waits for no Deferred and no worker; but a module that closes a
# file is not to be interrupted in that.
LEAST_SECONDS = 1.0

Result = TypeVar("Result")


class TimeLimitExceeded(BaseException):
    """Something took too long. Raised in what takes it, so no ``except Exception`` of a module is to catch it."""


class _Call:
    """A call that is watched."""

    def __init__(self, name: str, last: bool) -> None:
        self.name = name
        self.last = last
        self.over = threading.Event()
        self.overdue = False


class TimeLimit:
    """Watches calls, one at a time, of one thread."""

    def __init__(
        self,
        seconds: float,
        *,
        interrupt: Callable[[], object] | None = None,
        end: Callable[[], object] | None = None,
    ) -> None:
        """
        :param seconds: how long a call may take before it is named in the log.
        :param interrupt: called then in another thread: has :meth:`interrupted` called in the thread of the call.
        :param end: called in another thread when that did not help for as long again: ends the process.
        """
        self._seconds = seconds
        self._interrupt = interrupt
        self._end = end
        self._call: _Call | None = None
        self._log = Logger("netconsd")

    def call(self, name: str, function: Callable[[], Result], *, last: bool = False) -> Result:
        """Return what ``function`` returns, or raise what it raises.

        :param name: for the log.
        :param last: whether the process is to end if the call does not.
        :raises TimeLimitExceeded: if it took too long and could be interrupted.
        """
        call = _Call(name, last)
        watch = threading.Thread(target=self._watch, args=(call,), name="netconsd-timelimit", daemon=True)
        try:
            watch.start()
        except RuntimeError:
            # The system has no more threads: then nobody watches.
            return function()
        try:
            self._call = call
            try:
                return function()
            finally:
                self._call = None
        finally:
            call.over.set()
            watch.join()

    def interrupted(self, number: int = 0, frame: FrameType | None = None) -> None:
        """A signal handler, for the thread of the call: end a call that took too long.

        :raises TimeLimitExceeded: if there is one.
        """
        call = self._call
        if call is not None and call.overdue:
            raise TimeLimitExceeded(f"{call.name} has not returned within {self._seconds:g} seconds (--stop-timeout)")

    def _watch(self, call: _Call) -> None:
        if call.over.wait(self._seconds):
            return
        call.overdue = True
        self._log.error(
            "{name} has not returned within {seconds:g} seconds (--stop-timeout), and all else waits for it",
            name=call.name,
            seconds=self._seconds,
        )
        if self._interrupt is not None:
            self._interrupt()
        if self._end is None or not call.last or call.over.wait(self._seconds):
            return
        self._log.critical(
            "{name} could not be interrupted, so the process ends, and no other module is stopped", name=call.name
        )
        self._end()
