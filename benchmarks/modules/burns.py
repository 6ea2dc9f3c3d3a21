"""Uses 5 microseconds of processor time per message in Python, like a module that computes."""

from __future__ import annotations

from time import perf_counter_ns

from zope.interface import implementer

from netconsd.interfaces import IOutputModule
from netconsd.protocol.message import Message

TURNS = 10_000


@implementer(IOutputModule)
class Burns:
    """Runs a loop whose number of turns takes ``microseconds`` on an idle machine.

    A loop that reads the clock would run fewer turns whenever another thread runs, and so hide the competition.
    """

    def __init__(self, *, microseconds: float = 5.0) -> None:
        self._nanoseconds = microseconds * 1000
        self._turns = range(0)

    def start(self, worker_count: int) -> None:
        self._turns = range(max(1, round(TURNS * self._nanoseconds / min(_measure_turns() for _ in range(50)))))

    def handle(self, worker: int, message: Message) -> None:
        for _ in self._turns:
            pass

    def stop(self) -> None:
        """Nothing to finish."""


def _measure_turns() -> int:
    before = perf_counter_ns()
    for _ in range(TURNS):
        pass
    return perf_counter_ns() - before
