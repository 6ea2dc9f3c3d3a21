"""A reactor's clock for timers that do not move when the system's clock is set."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

# Seconds. The kernel lets both clocks run at the same speed (adjtime(3) slews both), so that they drift apart only if
# the system's clock is set, or if the machine was suspended. NTP sets it from 0.128 s on.
STEP_SECONDS = 0.1


def use_monotonic_clock(
    reactor: Any, *, wall_clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
) -> None:
    """Make a reactor's timers independent of the system's clock. A second call does nothing.

    Twisted's reactors use ``time.time``. When that is set back by an hour, as on a machine that booted with a wrong
    clock, every timer fires an hour late: the end of a reader's pause, the answer to a watchdog.

    ``reactor.seconds()`` remains the Unix time, for code that makes dates of it, such as the access log of twisted.web.
    After a step of the system's clock it is followed within a turn of the reactor, together with all timers, so that
    each fires when it would have fired without the step. It advances steadily otherwise. Code that measures a time with
    it measures the step as well, as with Twisted's own clock: use ``time.monotonic`` for that.
    """
    if not isinstance(getattr(reactor.seconds, "__self__", None), _SteadyClock):
        reactor.seconds = _SteadyClock(reactor, wall_clock, monotonic).seconds


class _SteadyClock:
    """The Unix time by the monotonic clock, and the difference of the two."""

    def __init__(self, reactor: Any, wall_clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._epoch = wall_clock() - monotonic()
        self._following = False

    def seconds(self) -> float:
        """The Unix time. For any thread."""
        before = self._monotonic()
        wall = self._wall_clock() - self._epoch
        now = self._monotonic()
        # On a busy machine seconds can pass between two of the calls, which is no step.
        if not before - STEP_SECONDS < wall < now + STEP_SECONDS and not self._following:
            self._following = True
            # Not here: the reactor may be about to compare its timers with a time that it asked for before.
            self._reactor.callFromThread(self._follow)
        return self._epoch + now

    def _follow(self) -> None:
        """Move the epoch and all timers by the step."""
        self._following = False
        step = self._wall_clock() - self._monotonic() - self._epoch
        self._epoch += step
        for call in self._reactor.getDelayedCalls():
            call.delay(step)
