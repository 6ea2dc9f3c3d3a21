"""SIGINT and SIGTERM: the first one stops in order, the second one ends the process at once.

Twisted's own handlers exist only once the reactor runs, and at a second signal they stop the reactor again, which logs
a traceback.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

_BOTH = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Handles both signals from its construction on. For the main thread.

    A signal may arrive before the reactor runs, while modules are loaded or start. It is kept until
    :meth:`reactor_runs`.
    """

    def __init__(self) -> None:
        #: The first signal, or None.
        self.first: signal.Signals | None = None
        self._stop: Callable[[signal.Signals], object] = lambda number: None
        self._abort: Callable[[signal.Signals], object] = self._end
        self._running = self._stopped = False
        self._before = {number: signal.getsignal(number) for number in _BOTH}
        # An ignored signal stays ignored: a shell ignores SIGINT for background processes.
        self._numbers = [number for number, handler in self._before.items() if handler != signal.SIG_IGN]
        self._install()

    def attach(self, stop: Callable[[signal.Signals], object], abort: Callable[[signal.Signals], object]) -> None:
        """Set the callbacks. Before, the first signal is kept, and a second one has the effect that it had before.

        Both are called in the handler of the signal, between any two instructions of the main thread.

        :param stop: called once, with the first signal, when the reactor runs.
        :param abort: called once, with the second signal; further ones are ignored.
        """
        self._stop = stop
        self._abort = abort

    def reactor_runs(self) -> None:
        """Install the handlers again, since the reactor has replaced that of SIGTERM; and stop for an early signal."""
        self._running = True
        self._install()
        self._stop_once()

    def restore(self) -> None:
        """Restore the handlers from before the construction."""
        for number, handler in self._before.items():
            # None is a handler that was not set by Python, which cannot set it again.
            if handler is not None:
                signal.signal(number, handler)

    def _end(self, number: signal.Signals) -> None:
        """Let a second signal end a process that loads its modules: an import may hang."""
        self.restore()
        signal.raise_signal(number)

    def _install(self) -> None:
        for number in self._numbers:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.first is not None:
            # Further signals would call abort within abort, once for each.
            for other in self._numbers:
                signal.signal(other, signal.SIG_IGN)
            self._abort(signal.Signals(number))
            return
        self.first = signal.Signals(number)
        if self._running:
            self._stop_once()

    def _stop_once(self) -> None:
        if self.first is not None and not self._stopped:
            self._stopped = True
            self._stop(self.first)
