"""Makes a ``.so`` file that was compiled for the C daemon an output module (docs/native)."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule, ITakesLegacyDatagrams
from netconsd.outputs import elf
from netconsd.outputs.modulefile import FileError
from netconsd.protocol.message import Message
from netconsd.protocol.plural import plural

try:
    from netconsd.outputs._native import hand_over
except ImportError:  # plain Python
    from netconsd.outputs.abi import hand_over

#: The directory of ``netconsd.h``, for compiling a module.
INCLUDE: Final = Path(__file__).parents[1] / "include"

_INIT, _HANDLER, _EXIT = "netconsd_output_init", "netconsd_output_handler", "netconsd_output_exit"


def _frame_of(path: Path, function: str) -> Callable[..., Any]:
    """Return a function that calls its first argument with the others, and is a function of the ``.so`` in stacks.

    The output of a crash (:mod:`faulthandler`) has no frames of C, and would not say which module crashed. It has the
    line ``File "/path/lines.so", line 1 in netconsd_output_handler`` then.
    """
    names: dict[str, Any] = {}
    exec(compile(f"def {function}(call, *arguments): return call(*arguments)", str(path), "exec"), names)
    named: Callable[..., Any] = names[function]
    return named


class NoHandler(FileError):
    """A shared object without the handler of an output module."""


@implementer(IBatchOutputModule, ITakesLegacyDatagrams)
class NativeModule:
    """One shared object, loaded until the process ends.

    ``netconsd_output_handler`` is required; ``netconsd_output_init`` and ``netconsd_output_exit`` are optional, as in
    the C daemon. A crash in the module ends this process.
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
        :param path: absolute; the linker would search the system's libraries for a name without a slash.
        :param wall: Unix time in seconds.
        :param hand_over: by default the compiled function, if the build has it.
        :raises FileError: if the file cannot be loaded; :exc:`NoHandler` if it is not an output module.
        """
        try:
            reason = elf.fault(path)
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error
        if reason is not None:
            raise FileError(f"{path}: {reason}")
        try:
            # Resolves all symbols now, and keeps the symbols of two modules separate.
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise FileError(f"{path}: cannot be loaded: {reason}") from error
        handler = self._function(_HANDLER)
        if handler is None:
            raise NoHandler(f"{path}: not an output module: it has no function {_HANDLER} (docs/native)")
        #: The file.
        self.path = path
        self._handler = ctypes.cast(handler, ctypes.c_void_p).value or 0
        self._init = self._function(_INIT)
        self._exit = self._function(_EXIT)
        self._wall = wall
        self._monotonic = monotonic
        self._hand_over = partial(_frame_of(path, _HANDLER), hand_over)
        # Per worker, written only by its thread: whether it is in the handler, and its number of truncated messages.
        self._inside: list[bool] = []
        self._truncated: list[int] = []
        self._log = Logger("netconsd")

    def _function(self, name: str) -> Any:
        return getattr(self._library, name, None)

    def start(self, worker_count: int) -> None:
        """Call ``netconsd_output_init``.

        :raises FileError: if the function does not return 0.
        """
        self._inside = [False] * worker_count
        self._truncated = [0] * worker_count
        status = _frame_of(self.path, _INIT)(self._init, worker_count) if self._init is not None else 0
        if status:
            raise FileError(f"{self.path}: did not start: its {_INIT} returned {status}, not 0")

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        """Call ``netconsd_output_handler`` for each message; other threads run meanwhile."""
        self._inside[worker] = True
        try:
            to_monotonic = self._monotonic() - self._wall()
            self._truncated[worker] += self._hand_over(self._handler, worker, messages, to_monotonic)
        finally:
            self._inside[worker] = False

    @property
    def truncated(self) -> int:
        """The number of messages since the start that were truncated to the size that compiled modules expect."""
        return sum(self._truncated)

    def stop(self) -> None:
        """Call ``netconsd_output_exit``, and flush the module's printed output.

        :raises RuntimeError: if a worker is still in the handler. Then neither is done, because exit frees memory that
            the handler uses.
        """
        inside = [str(worker) for worker, busy in enumerate(self._inside) if busy]
        if inside:
            raise RuntimeError(f"{_EXIT} is not called: worker {', '.join(inside)} is still in {_HANDLER}")
        if self._exit is not None:
            _frame_of(self.path, _EXIT)(self._exit)
        # The C library's buffers would be lost, because twistd ends the process with a signal.
        ctypes.CDLL(None).fflush(None)
        if self.truncated:
            self._log.warn(
                "{path}: truncated {messages} to the size that compiled modules expect (docs/native)",
                path=self.path,
                messages=plural(self.truncated, "message"),
            )
