"""Failures of files: each kind is logged once when it begins and once when it is over, with the lines that it cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from twisted.logger import Logger

from netconsd.protocol.plural import plural

#: Seconds without a failure until the failure counts as over. A nearly full disk fails now and then; a log line for
#: each time would fill the rest of it.
FAILURE_SECONDS: Final = 10.0

log = Logger("netconsd.logger")


@dataclass
class _Failure:
    """Repeated failures of one action with one errno."""

    text: str
    dropped: int = 0
    #: Failures that cost an unknown number of lines, and the most lines that these can be.
    unknown: int = 0
    at_most: int = 0
    last: float = 0.0

    def cost(self) -> str:
        """The dropped lines in words."""
        if not self.unknown:
            return f"{plural(self.dropped, 'line')} dropped"
        known = f"{plural(self.dropped, 'line')} and " if self.dropped else ""
        return f"{known}an unknown number of lines dropped, {self.at_most} at most"


class Failures:
    """The failures that are not over. Any thread."""

    def __init__(self, title: str) -> None:
        """:param title: the module's name, for the log."""
        self._title = title
        self._lock = threading.Lock()
        # By action and errno, so the kinds of errors bound its size.
        self._failures: dict[tuple[str, int | None], _Failure] = {}

    def note(
        self, action: str, path: str, error: OSError, now: float, *, dropped: int = 0, at_most: int | None = None
    ) -> None:
        """Count the lines dropped by a failure; log the failure if it is new.

        :param action: the verb for the log: ``write``.
        :param at_most: if the number of dropped lines is unknown, the most that it can be.
        """
        with self._lock:
            failure = self._failures.get((action, error.errno))
            if failure is None:
                failure = _Failure(f"cannot {action} {path}: {error.strerror}")
                self._failures[action, error.errno] = failure
                log.error(
                    "{title}: {text} (logged once; the dropped lines are logged when this is over)",
                    title=self._title,
                    text=failure.text,
                )
            failure.dropped += dropped
            if at_most is not None:
                failure.unknown += 1
                failure.at_most += at_most
            failure.last = now

    def end(self, now: float) -> None:
        """Log and forget the failures that are over; cheap if there are none."""
        if not self._failures:
            return
        with self._lock:
            for key, failure in list(self._failures.items()):
                # A clock that was set back also ends a failure; otherwise it might never end.
                if abs(now - failure.last) >= FAILURE_SECONDS:
                    del self._failures[key]
                    log.info(
                        "{title}: over for {seconds:.0f} s: {text}; {cost}",
                        title=self._title,
                        seconds=FAILURE_SECONDS,
                        text=failure.text,
                        cost=failure.cost(),
                    )

    def stop(self) -> None:
        """Log the lines dropped by failures that are not over."""
        with self._lock:
            for failure in self._failures.values():
                log.warn("{title}: {cost}: {text}", title=self._title, text=failure.text, cost=failure.cost())
            self._failures.clear()
