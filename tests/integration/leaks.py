"""What a test leaves behind in a reactor that is shared by all tests.

pytest_twisted runs every test inside one reactor that is never cleaned: a timer, a socket or a thread of one test
would live on in the next ones, and an error that was only logged would be seen by nobody. These are the parts of the
fixture in conftest.py, which makes each of them fail the test that did it.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

# How long a thread that has been told to end may take for it, in seconds. One that needs longer was not waited for.
THREAD_GRACE = 1.0


@dataclass(frozen=True)
class Snapshot:
    """What was there before the test, which it is not to blame for."""

    timers: frozenset[Any]
    descriptors: frozenset[Any]
    threads: frozenset[threading.Thread]


def snapshot(reactor: Any) -> Snapshot:
    """Everything in the reactor and every thread of this moment."""
    return Snapshot(
        timers=frozenset(reactor.getDelayedCalls()),
        descriptors=frozenset(_descriptors(reactor)),
        threads=frozenset(threading.enumerate()),
    )


def clear_leftovers(reactor: Any, before: Snapshot) -> list[str]:
    """Describe what is there now and was not before, and take out of the reactor what can be taken out.

    Threads of the reactor's own pool stay for as long as the process does; they are left over only while they work.
    """
    found = []
    for call in reactor.getDelayedCalls():
        if call not in before.timers:
            found.append(f"timer: {call}")
            call.cancel()
    for descriptor in _descriptors(reactor) - before.descriptors:
        found.append(f"reader or writer: {descriptor!r}")
        reactor.removeReader(descriptor)
        reactor.removeWriter(descriptor)
    pool = getattr(reactor, "threadpool", None)
    pooled = set(pool.threads) if pool is not None else set()
    if pool is not None and not _idle(pool):
        found.append("thread: one of the reactor's is still working")
    for thread in set(threading.enumerate()) - before.threads - pooled:
        thread.join(THREAD_GRACE)
        if thread.is_alive():
            found.append(f"thread: {thread!r}")
    return found


def _descriptors(reactor: Any) -> set[Any]:
    """Readers and writers, without those by which the reactor wakes up itself."""
    internal: set[Any] = getattr(reactor, "_internalReaders", set())
    return (set(reactor.getReaders()) | set(reactor.getWriters())) - set(internal)


def _idle(pool: Any) -> bool:
    """Whether the pool's threads have nothing to do; one that has just given its result needs a moment to say so."""
    deadline = time.monotonic() + THREAD_GRACE
    while pool.working and time.monotonic() < deadline:
        time.sleep(0.001)
    return not pool.working


@implementer(ILogObserver)
class LoggedErrors:
    """The errors that were logged during a test; what a test expects, it takes out with :meth:`flush`."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        """Note the event if it has a failure or says that it is an error; called in any thread."""
        if _failure(event) or event.get("log_level") in (LogLevel.error, LogLevel.critical):
            self.events.append(event)

    def flush(self, *types: type[BaseException]) -> list[LogEvent]:
        """Remove the events whose failure is of one of the types (without types: all), and return them."""
        taken = [event for event in self.events if not types or _is_of(event, types)]
        self.events = [event for event in self.events if event not in taken]
        return taken

    def describe(self) -> list[str]:
        """A line for each error that is left, after collecting the Deferreds whose failure nobody has taken."""
        # A failure and the frames it refers to are a cycle, so reference counts alone do not end a failed Deferred.
        gc.collect()
        return [f"logged error: {_text(event)}" for event in self.events]


def _failure(event: LogEvent) -> Failure | None:
    """The failure of an event of twisted.logger, or of twisted.python.log, which names it otherwise."""
    failure: Failure | None = event.get("log_failure", event.get("failure"))
    return failure


def _is_of(event: LogEvent, types: tuple[type[BaseException], ...]) -> bool:
    failure = _failure(event)
    return failure is not None and failure.check(*types) is not None


def _text(event: LogEvent) -> str:
    failure = _failure(event)
    return formatEvent(event) if failure is None else f"{formatEvent(event)} {failure.getTraceback()}"


@contextmanager
def logged_errors_of_a_test() -> Iterator[LoggedErrors]:
    """Listen to Twisted's log from here to there, blaming nothing on it that happened before."""
    gc.collect()
    errors = LoggedErrors()
    globalLogPublisher.addObserver(errors)
    try:
        yield errors
    finally:
        globalLogPublisher.removeObserver(errors)
