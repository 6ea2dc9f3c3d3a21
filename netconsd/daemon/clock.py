"""A reactor clock that does not jump when the system's clock is set."""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """Make a reactor use the monotonic clock for its timers; call it before any timer is set.

    Twisted's reactors use ``time.time``. When that is set back by an hour, as on a machine that booted with a wrong
    clock, every timer fires an hour late: the end of a reader's pause, the answer to a watchdog.

    :raises RuntimeError: if a timer is set already, which would fire at a wrong time.
    """
    if reactor.seconds is time.monotonic:
        return
    if reactor.getDelayedCalls():
        raise RuntimeError("calls are scheduled already by the system's clock: call use_monotonic_clock before them")
    reactor.seconds = time.monotonic
