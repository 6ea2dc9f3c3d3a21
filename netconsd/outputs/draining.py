"""The wait of a stop: as long as there is progress, and within a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from netconsd.outputs.progress import Progress
from netconsd.protocol.plural import plural

# Seconds between two lines about the progress of a stop.
REPORT_SECONDS = 5.0
# Progress is looked for this often, and at least four times within the time that a stop waits for it.
LOOK_SECONDS = 1.0
LEAST_LOOK_SECONDS = 0.01


@dataclass
class Part:
    """A thread that a stop waits for."""

    #: Whether the thread still runs.
    running: Callable[[], bool]
    #: A count that changes with each progress.
    done: Callable[[], int]
    #: The rest in words, such as ``41,200 messages left in module slow, worker 1``; empty if there is none.
    left: Callable[[], str]
    #: Called with the reason if the part is given up; counts and logs what is dropped.
    give_up: Callable[[str], object]
    progress: Progress = field(default_factory=Progress)
    given_up: bool = False


class Draining:
    """Waits for the parts of a stop, each as long as it makes progress. For the reactor's thread."""

    def __init__(self, timeout: float, limit: float, reactor: Any, report: Callable[[str], object]) -> None:
        """
        :param timeout: seconds without progress after which a part is given up (``--stop-timeout``).
        :param limit: seconds from now after which all parts are given up (``--stop-limit``).
        :param report: called every :data:`REPORT_SECONDS` with what is left, in words, while the stop waits.
        """
        self._timeout = timeout
        self._limit = limit
        self._reactor = reactor
        self._report = report
        self._began = reactor.seconds()
        self._reported = self._began
        self._log = Logger("netconsd")

    @property
    def rest(self) -> float:
        """The seconds until the limit; 0 after it."""
        return float(max(0.0, self._began + self._limit - self._reactor.seconds()))

    async def wait(self, finished: Deferred[None], parts: Sequence[Part]) -> None:
        """Return when all parts have ended or were given up.

        :param finished: fires when all have ended; it is cancelled when none of those that run has a chance.
        """
        look = LoopingCall(self._look, finished, parts)
        look.clock = self._reactor
        if not finished.called:
            # Errors of a look, which would be a bug, must not keep the stop from its end.
            looking = look.start(max(LEAST_LOOK_SECONDS, min(LOOK_SECONDS, self._timeout / 4)), now=False)
            looking.addErrback(self._failed, finished)
        await finished
        if look.running:
            look.stop()

    def _failed(self, failure: Any, finished: Deferred[None]) -> None:
        self._log.failure("The stop cannot see progress, and continues", failure)
        finished.cancel()

    def _look(self, finished: Deferred[None], parts: Sequence[Part]) -> None:
        now = self._reactor.seconds()
        waits = [part for part in parts if part.running() and not part.given_up]
        for part in waits:
            silent = part.progress.look(part.done(), True, now)
            if silent >= self._timeout:
                part.given_up = True
                part.give_up(f"no progress for {plural(self._timeout, 'second', form='g')} (--stop-timeout)")
            elif not self.rest:
                part.given_up = True
                part.give_up(f"the stop has taken {plural(self._limit, 'second', form='g')} (--stop-limit)")
        waits = [part for part in waits if not part.given_up]
        if not waits and any(part.given_up for part in parts):
            finished.cancel()
        elif waits and now - self._reported >= REPORT_SECONDS:
            self._reported = now
            left = [text for part in waits if (text := part.left())]
            self._report(f"Stopping: {'; '.join(left)}" if left else "Stopping")
