"""SIGINT and SIGTERM: the first one stops in good order, and those that follow change nothing.

Twisted's own handlers are there only once the reactor runs, and at the second signal they try to stop what is stopping
already, which is a traceback in the log.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

__all__ = ["StopSignals"]

_BOTH = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Takes both signals when it is made. For the main thread.

    A signal may come before the reactor runs, when threads and modules run already. Then it is kept until
    :meth:`reactor_runs`, and a second one ends the process at once: a module's start may hang.
    """

    def __init__(self, stop: Callable[[signal.Signals], object]) -> None:
        """
        :param stop: called with the first one that came, when the reactor runs: in that turn, or from the handler of
            the signal, between any two instructions.
        """
        #: The first one that came.
        self.came: signal.Signals | None = None
        self._stop = stop
        self._running = self._stopped = False
        self._before = {number: signal.getsignal(number) for number in _BOTH}
        # What is ignored stays so: a shell has it so in what it starts in the background.
        self._taken = [number for number, handler in self._before.items() if handler != signal.SIG_IGN]
        self._take_both()

    def reactor_runs(self) -> None:
        """Take both again, since the reactor has taken SIGTERM; and stop if one came before."""
        self._running = True
        self._take_both()
        self._stop_once()

    def let_go(self) -> None:
        """Put back what handled them before."""
        for number, handler in self._before.items():
            if handler is not None:
                signal.signal(number, handler)

    def _take_both(self) -> None:
        for number in self._taken:
            signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.came = self.came or signal.Signals(number)
        if self._running:
            self._stop_once()
        else:
            for each in self._taken:
                signal.signal(each, signal.SIG_DFL)

    def _stop_once(self) -> None:
        if self.came is not None and not self._stopped:
            self._stopped = True
            self._stop(self.came)
