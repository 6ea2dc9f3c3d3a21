"""Fixtures of the tests with a running reactor: each test cleans the reactor up, and has a time limit."""

from __future__ import annotations

import functools
import gc
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred

from tests.integration.leaks import LoggedErrors, clear_leftovers, logged_errors_of_a_test, snapshot
from tests.integration.rig import Log, logging

# Seconds. A test sets another limit with @pytest.mark.timeout(...), of which this part is for the test itself:
# pytest-timeout cannot end a Deferred that never fires, because the reactor catches its exception.
TIMEOUT = 30.0
PART_OF_MARK = 0.8


@pytest.fixture
def logged_errors() -> Iterator[LoggedErrors]:
    """The errors logged so far; a test removes expected errors with ``logged_errors.flush(SomeError)``."""
    with logged_errors_of_a_test() as errors:
        yield errors


@pytest.fixture
def log() -> Iterator[Log]:
    """The log of the test."""
    with logging() as result:
        yield result


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(logged_errors: LoggedErrors) -> Iterator[None]:
    """Fail the test that leaves a timer, reader, thread, logged error or failed Deferred behind."""
    from twisted.internet import reactor

    before = snapshot(reactor)
    yield
    # Ports that the test closed at its end are closed in the reactor's next turns.
    for _turn in range(2):
        pytest_twisted.blockon(task.deferLater(reactor, 0))
    leftovers = clear_leftovers(reactor, before) + logged_errors.describe()
    if leftovers:
        pytest.fail("the test left behind\n" + "\n".join(leftovers), pytrace=False)


def time_limit(mark: pytest.Mark | None) -> float:
    """The seconds of a test, by its mark if it has one."""
    return float(mark.args[0]) * PART_OF_MARK if mark and mark.args else TIMEOUT


def _with_limit(result: Deferred[Any], limit: float, reactor: Any) -> Deferred[Any]:
    """Cancel a Deferred at its time limit, and fail even if the test caught the cancellation."""
    late = reactor.callLater(limit, result.cancel)

    def ended(outcome: Any) -> Any:
        if late.active():
            late.cancel()
            return outcome
        raise TimeoutError(f"it took more than {limit:g} seconds")

    return result.addBoth(ended)


def pytest_collection_finish() -> None:
    """Exclude all objects of before the tests from the collections, which would take longer than the tests."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Give the Deferred or coroutine of each test a time limit, then let pytest_twisted wait for it."""
    test = pyfuncitem.obj
    if hasattr(test, "hypothesis"):
        return
    limit = time_limit(pyfuncitem.get_closest_marker("timeout"))

    @functools.wraps(test)
    def limited(**arguments: Any) -> Any:
        from twisted.internet import reactor

        result = test(**arguments)
        if inspect.iscoroutine(result):
            result = ensureDeferred(result)
        return _with_limit(result, limit, reactor) if isinstance(result, Deferred) else result

    # The wrapper returns a Deferred, so the mark of pytest_twisted no longer applies.
    vars(limited).pop("_pytest_twisted_mark", None)
    pyfuncitem.obj = limited
