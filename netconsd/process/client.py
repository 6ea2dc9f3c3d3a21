"""The thread of a broker's client: it connects, takes, acknowledges, and connects again."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from netconsd.process.intake import Intake

#: Seconds before the broker is asked again after an error: the first time, and at most.
RETRY_SECONDS: Final = 0.5
RETRY_LIMIT: Final = 10.0
#: Seconds for which a partition that is given away is processed to its end; a module that takes longer gives its
#: messages back.
LEAVE_SECONDS: Final = 30.0


class LostError(Exception):
    """The broker does not answer, or refuses: tried again, with the reason as a fault."""


class Client(ABC):
    """Takes deliveries from a broker into an :class:`Intake`. Methods are for the reactor's thread."""

    def __init__(self, intake: Intake, *, thread: Callable[..., Any] = threading.Thread) -> None:
        self.intake = intake
        #: Whether the thread runs.
        self.running = False
        #: The number of partitions of all processors together, at least 1.
        self.partitions = 1
        #: Why nothing can be taken; empty if that works.
        self.fault = ""
        self._make_thread = thread
        self._stopping = threading.Event()
        self._given_up = threading.Event()
        self._log = Logger("netconsd")

    def start(self, ended: Callable[[], object]) -> None:
        """Start the thread.

        :param ended: called in it, as its last action.
        :raises RuntimeError: if the system cannot start a thread.
        """
        thread = self._make_thread(target=self._run, args=(ended,), name="netconsd process", daemon=True)
        self.running = True
        try:
            thread.start()
        except RuntimeError:
            self.running = False
            raise

    def stop(self) -> None:
        """Take nothing more, process and acknowledge what was taken, and end the thread."""
        self._stopping.set()
        self.intake.wake()

    def give_up(self) -> None:
        """As :meth:`stop`, without waiting for what was taken: the broker delivers it to another processor."""
        self._given_up.set()
        self.stop()

    def faults(self) -> list[str]:
        """Return further reasons for which messages are not taken."""
        return []

    @abstractmethod
    def session(self) -> None:
        """Connect and take until the stop; in the thread.

        :raises LostError: to be called again after a pause.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """Let a session look for work at once; any thread."""

    def _run(self, ended: Callable[[], object]) -> None:
        self.intake.wake = self.interrupt
        pause = RETRY_SECONDS
        try:
            while True:
                try:
                    self.session()
                    return
                except LostError as error:
                    if str(error) != self.fault:
                        self._log.warn("The broker: {error}. It is tried again", error=error)
                    if not self.fault:
                        pause = RETRY_SECONDS
                    self.fault = str(error)
                except Exception:
                    # A defect, of netconsd or of the library, must not end the processor.
                    self.fault = "the client of the broker failed; the log has more"
                    self._log.failure("The client of the broker failed; it is started again", Failure())
                if self._stopping.is_set() or self._stopping.wait(pause):
                    return
                pause = min(2 * pause, RETRY_LIMIT)
        finally:
            for number in self.intake.partitions:
                self.intake.end(number)
            self.intake.close()
            self.running = False
            ended()

    def _connected(self, text: str) -> None:
        """Note that the broker answers."""
        self.fault = ""
        self._log.info("Taking messages from {text}", text=text)
