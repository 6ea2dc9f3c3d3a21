"""The fixture of the integration tests catches each kind of leak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration import conftest

ROOT = Path(__file__).parents[2]

LEAKING = """
import threading
import pytest, pytest_twisted
from tests.integration import conftest
from twisted.internet import defer, protocol, reactor, task, threads
from twisted.logger import Logger
from twisted.python import log

conftest.TIMEOUT = 0.2
release = threading.Event()
kept = []

def test_timer():
    reactor.callLater(1000, print)

def test_looping_call():
    kept.append(task.LoopingCall(print).start(1000, now=False))

def test_reader():
    reactor.listenUDP(0, protocol.DatagramProtocol(), interface="127.0.0.1")

def test_thread():
    thread = threading.Thread(target=release.wait, name="left over", daemon=True)
    thread.start()

def test_thread_of_the_pool():
    kept.append(threads.deferToThread(release.wait))

@pytest_twisted.inlineCallbacks
def test_release():
    release.set()
    yield kept.pop()

def test_logged_failure():
    try:
        1 / 0
    except ZeroDivisionError:
        log.err()

def test_logged_error_without_failure():
    Logger().error("it does not work")

def test_failed_deferred():
    defer.fail(ZeroDivisionError())

@pytest_twisted.ensureDeferred
async def test_failed_deferred_of_a_coroutine():
    async def fails():
        raise ZeroDivisionError
    defer.ensureDeferred(fails())
    await task.deferLater(reactor, 0)

@pytest_twisted.inlineCallbacks
def test_never_ends():
    yield defer.Deferred()

@pytest_twisted.ensureDeferred
async def test_never_ends_in_a_coroutine():
    await defer.Deferred()

@pytest_twisted.ensureDeferred
async def test_catches_the_cancellation():
    try:
        await defer.Deferred()
    except defer.CancelledError:
        pass
"""

CLEAN = """
import threading
import pytest, pytest_twisted
from twisted.internet import protocol, reactor, task, threads
from twisted.python import log

@pytest_twisted.ensureDeferred
async def test_port():
    port = reactor.listenUDP(0, protocol.DatagramProtocol(), interface="127.0.0.1")
    await task.deferLater(reactor, 0)
    await port.stopListening()

@pytest_twisted.inlineCallbacks
def test_thread_of_the_pool():
    yield threads.deferToThread(threading.get_ident)

def test_thread():
    thread = threading.Thread(target=threading.get_ident)
    thread.start()

def test_expected_error(logged_errors):
    log.err(ZeroDivisionError(), "expected")
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    assert logged_errors.flush() == []

@pytest.fixture
def cancelled():
    call = reactor.callLater(1000, print)
    yield
    call.cancel()

def test_timer_that_a_fixture_cancels(cancelled):
    pass
"""


def outcomes(tmp_path: Path, source: str) -> dict[str, str]:
    """The reports of the tests of ``source``, by name, run with the fixture in their own process."""
    file = tmp_path / "test_inner.py"
    file.write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.integration.conftest", "-p", "no:cacheprovider", "-rA", "-W",
         "default", "-o", "addopts=", str(file)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    summary = done.stdout.partition("short test summary info")[2]
    results: dict[str, str] = {}
    for line in summary.splitlines():
        verdict, _, rest = line.partition(" ")
        if "::" in rest:
            name = rest.partition("::")[2].partition(" ")[0]
            results[name] = f"{results.get(name, '')} {verdict}".strip()
    assert results, done.stdout + done.stderr
    return results


@pytest.mark.slow
def test_each_kind_of_leak_fails_its_test(tmp_path: Path) -> None:
    """A timer, reader, thread, logged error, failed Deferred or endless wait fails its own test only."""
    assert outcomes(tmp_path, LEAKING) == {
        "test_timer": "PASSED ERROR",
        "test_looping_call": "PASSED ERROR",
        "test_reader": "PASSED ERROR",
        "test_thread": "PASSED ERROR",
        "test_thread_of_the_pool": "PASSED ERROR",
        "test_release": "PASSED",
        "test_logged_failure": "PASSED ERROR",
        "test_logged_error_without_failure": "PASSED ERROR",
        "test_failed_deferred": "PASSED ERROR",
        "test_failed_deferred_of_a_coroutine": "PASSED ERROR",
        "test_catches_the_cancellation": "FAILED",
        "test_never_ends": "FAILED",
        "test_never_ends_in_a_coroutine": "FAILED",
    }


def test_a_mark_sets_the_time_limit() -> None:
    """A test with a mark of pytest-timeout has most of that time, so that its Deferred is cancelled first."""
    assert conftest.time_limit(None) == conftest.TIMEOUT
    assert conftest.TIMEOUT < conftest.time_limit(pytest.mark.timeout(100).mark) < 100


@pytest.mark.slow
def test_a_test_that_cleans_up_passes(tmp_path: Path) -> None:
    """Ports, timers, threads and errors that are closed, cancelled, joined or flushed in time are no leaks."""
    assert set(outcomes(tmp_path, CLEAN).values()) == {"PASSED"}
