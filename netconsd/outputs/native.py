"""Output modules compiled for the C daemon: a ``.so`` file as an output module (docs/native)."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule, ITakesLegacyDatagrams
from netconsd.outputs.modulefile import FileError
from netconsd.protocol.message import Message

__all__ = ["INCLUDE", "NativeModule", "NoHandler"]

try:
    from netconsd.outputs._native import hand_over
except ImportError:  # plain Python
    from netconsd.outputs.abi import hand_over

#: The directory of ``netconsd.h``, for those who compile a module.
INCLUDE: Final = Path(__file__).parents[1] / "include"

_INIT, _HANDLER, _EXIT = "netconsd_output_init", "netconsd_output_handler", "netconsd_output_exit"


class NoHandler(FileError):
    """A shared object that is no output module."""


@implementer(IBatchOutputModule, ITakesLegacyDatagrams)
class NativeModule:
    """One shared object, loaded for as long as the process lives.

    It has the symbol ``netconsd_output_handler``; ``netconsd_output_init`` and ``netconsd_output_exit`` are called if
    they are there, as by the C daemon. A fault in it is a fault of this process.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        hand_over: Callable[[int, int, list[Message], float], int] = hand_over,
    ) -> None:
        """
        :param path: absolute; a name without a slash would be looked for among the system's libraries.
        :param wall: Unix time in seconds.
        :param hand_over: by default the compiled one, if there is one.
        :raises FileError: if it cannot be loaded; :exc:`NoHandler` if it is not an output module.
        """
        try:
            # With all its symbols resolved, and those of two modules kept apart.
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise FileError(f"{path}: cannot be loaded: {reason}") from error
        handler = self._function(_HANDLER)
        if handler is None:
            raise NoHandler(f"{path}: no output module: it has no function {_HANDLER} (docs/native)")
        #: Where it was loaded from.
        self.path = path
        self._handler = ctypes.cast(handler, ctypes.c_void_p).value or 0
        self._init = self._function(_INIT)
        self._exit = self._function(_EXIT)
        self._wall = wall
        self._monotonic = monotonic
        self._hand_over = hand_over
        # Per worker, written by its thread only: whether it is in the handler, and how many messages were cut for it.
        self._inside: list[bool] = []
        self._cut: list[int] = []
        self._log = Logger("netconsd")

    def _function(self, name: str) -> Any:
        return getattr(self._library, name, None)

    def start(self, worker_count: int) -> None:
        """Call ``netconsd_output_init``.

        :raises FileError: if that returns anything but 0.
        """
        self._inside = [False] * worker_count
        self._cut = [0] * worker_count
        status = self._init(worker_count) if self._init is not None else 0
        if status:
            raise FileError(f"{self.path}: did not start: its {_INIT} returned {status}, not 0")

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        """Call ``netconsd_output_handler`` for each message; meanwhile other threads run."""
        self._inside[worker] = True
        try:
            to_monotonic = self._monotonic() - self._wall()
            self._cut[worker] += self._hand_over(self._handler, worker, messages, to_monotonic)
        finally:
            self._inside[worker] = False

    @property
    def cut(self) -> int:
        """How many messages, since the start, were longer than compiled modules take."""
        return sum(self._cut)

    def stop(self) -> None:
        """Call ``netconsd_output_exit``, and write out what the module printed.

        :raises RuntimeError: if a worker is still in the handler; then neither is done, because what the handler uses
            would be freed under it.
        """
        inside = [str(worker) for worker, busy in enumerate(self._inside) if busy]
        if inside:
            raise RuntimeError(f"{_EXIT} is not called: worker {', '.join(inside)} has not come back from {_HANDLER}")
        if self._exit is not None:
            self._exit()
        # Of the C library: a process that is ended by a signal, as twistd ends itself, would lose what is in there.
        ctypes.CDLL(None).fflush(None)
        if self.cut:
            self._log.warn(
                "{path}: {count} messages were longer than compiled modules take, and were cut (docs/native)",
                path=self.path,
                count=self.cut,
            )
