"""Leaks of a test in the reactor that all tests share.

pytest_twisted runs every test inside one reactor that is never cleaned: a timer, a socket or a thread of one test would
stay in the next ones, and an error that was only logged would fail no test. The fixture in conftest.py uses these parts
to fail the test that leaks.
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

# Seconds until a thread that is ending must have ended. A thread that takes longer was not awaited by its test.
THREAD_GRACE = 10.0


@dataclass(frozen=True)
class Snapshot:
    """The state of the reactor before the test."""

    timers: frozenset[Any]
    descriptors: frozenset[Any]
    threads: frozenset[threading.Thread]


def snapshot(reactor: Any) -> Snapshot:
    """The current timers, descriptors and threads."""
    return Snapshot(
        timers=frozenset(reactor.getDelayedCalls()),
        descriptors=frozenset(_descriptors(reactor)),
        threads=frozenset(threading.enumerate()),
    )


def clear_leftovers(reactor: Any, before: Snapshot) -> list[str]:
    """Describe the timers, descriptors and threads that are new, and remove them from the reactor.

    Threads of the reactor's pool live as long as the process; they are leaks only while they work.
    """
    leaks = []
    for call in reactor.getDelayedCalls():
        if call not in before.timers:
            leaks.append(f"timer: {call}")
            call.cancel()
    for descriptor in _descriptors(reactor) - before.descriptors:
        leaks.append(f"reader or writer: {descriptor!r}")
        reactor.removeReader(descriptor)
        reactor.removeWriter(descriptor)
    pool = getattr(reactor, "threadpool", None)
    pooled = set(pool.threads) if pool is not None else set()
    if pool is not None and not _idle(pool):
        leaks.append("thread: one of the reactor's is still working")
    for thread in set(threading.enumerate()) - before.threads - pooled:
        thread.join(THREAD_GRACE)
        if thread.is_alive():
            leaks.append(f"thread: {thread!r}")
    return leaks


def _descriptors(reactor: Any) -> set[Any]:
    """Readers and writers, except for the reactor's own wakers."""
    internal: set[Any] = getattr(reactor, "_internalReaders", set())
    return (set(reactor.getReaders()) | set(reactor.getWriters())) - set(internal)


def _idle(pool: Any) -> bool:
    """True once no thread of the pool works; a thread that has just returned its result needs a moment."""
    deadline = time.monotonic() + THREAD_GRACE
    while pool.working and time.monotonic() < deadline:
        time.sleep(0.001)
    return not pool.working


@implementer(ILogObserver)
class LoggedErrors:
    """The errors that were logged during a test; a test removes those that it expects with :meth:`flush`."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        """Keep the event if it has a failure or the level of an error; called in any thread."""
        if _failure(event) or event.get("log_level") in (LogLevel.error, LogLevel.critical):
            self.events.append(event)

    def flush(self, *types: type[BaseException]) -> list[LogEvent]:
        """Remove the events whose failure is of one of the types (without types: all), and return them."""
        removed = [event for event in self.events if not types or _is_of(event, types)]
        self.events = [event for event in self.events if event not in removed]
        return removed

    def describe(self) -> list[str]:
        """A line for each remaining error, after a collection that logs the failures of unhandled Deferreds."""
        # A failure and its frames are a reference cycle, so only the collector deletes a failed Deferred.
        gc.collect()
        return [f"logged error: {_text(event)}" for event in self.events]


def _failure(event: LogEvent) -> Failure | None:
    """The failure of an event of twisted.logger, or of twisted.python.log, which uses another key."""
    failure = event.get("log_failure", event.get("failure"))
    # The second key is also that of a text, as of the selftest's.
    return failure if isinstance(failure, Failure) else None


def _is_of(event: LogEvent, types: tuple[type[BaseException], ...]) -> bool:
    failure = _failure(event)
    return failure is not None and failure.check(*types) is not None


def _text(event: LogEvent) -> str:
    failure = _failure(event)
    return formatEvent(event) if failure is None else f"{formatEvent(event)} {failure.getTraceback()}"


@contextmanager
def logged_errors_of_a_test() -> Iterator[LoggedErrors]:
    """Collect the errors in Twisted's log; unhandled failures of before are collected first."""
    gc.collect()
    errors = LoggedErrors()
    globalLogPublisher.addObserver(errors)
    try:
        yield errors
    finally:
        globalLogPublisher.removeObserver(errors)
