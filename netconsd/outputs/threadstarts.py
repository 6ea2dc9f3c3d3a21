"""Calls functions when a thread starts: in the starting thread, whose stack shows for whom."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

#: Called with the thread that is about to start.
Listener = Callable[[threading.Thread], object]

_listeners: list[Listener] = []
_lock = threading.Lock()
# What was at Thread.start before; None while it has not been replaced.
_start: Any = None


def listen(listener: Listener) -> None:
    """Call a function at the start of each thread, until :func:`ignore`; it may not raise.

    ``threading`` has no event for it, so ``Thread.start`` is replaced while there is a listener. Other code pays
    nothing; a thread takes some 50 us to start anyway.
    """
    global _start
    with _lock:
        if _start is None:
            _start = threading.Thread.start
            threading.Thread.start = _started  # type: ignore[method-assign, assignment]
        _listeners.append(listener)


def ignore(listener: Listener) -> None:
    """End the calls of a listener; without a further one ``Thread.start`` is as before."""
    global _start
    with _lock:
        if listener in _listeners:
            _listeners.remove(listener)
        # Something else may have replaced it meanwhile, and call this one: then it has to stay.
        if not _listeners and threading.Thread.start is _started:
            threading.Thread.start = _start  # type: ignore[method-assign]
            _start = None


def _started(thread: Any) -> None:
    # Before the listeners: the last of them may be removed meanwhile.
    start = _start or threading.Thread.start
    for listener in tuple(_listeners):
        listener(thread)
    start(thread)
