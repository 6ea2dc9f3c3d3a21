"""A reactor's time that does not jump when the system's clock is set."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["use_monotonic_clock"]


def use_monotonic_clock(reactor: Any) -> None:
    """Let a reactor keep time by the monotonic clock, from now on.

    Twisted's reactors take ``time.time`` for it. When that is set back by an hour, as on a machine whose clock was
    wrong when it started, whatever is to be called later is called an hour late: to read on after a pause, to answer a
    watchdog. To be called before anything is scheduled, for such a call would be out of time.

    :raises RuntimeError: if something is scheduled already.
    """
    if reactor.seconds is time.monotonic:
        return
    if reactor.getDelayedCalls():
        raise RuntimeError(
            "calls are scheduled already by the clock that can be set: use_monotonic_clock comes before them"
        )
    reactor.seconds = time.monotonic
