"""Threads that a module starts through a library are named at the stop, although no line of its file is on a stack."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import capturedLogs

from netconsd.outputs import threadstarts
from netconsd.outputs.leftovers import GRACE_SECONDS, LOOK_SECONDS
from netconsd.outputs.runner import Outputs
from netconsd.testing import RecordingModule
from tests.support.lazy_module import Lazy
from tests.support.outputs import Here, begin, done, some
from tests.support.scripted_lane import PATIENCE
from tests.support.thread_library import Library


@pytest.fixture(autouse=True)
def _no_other_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the modules of other tests, which do not stop all of theirs."""
    monkeypatch.setattr(threading.Thread, "start", threadstarts._start or threading.Thread.start)
    monkeypatch.setattr(threadstarts, "_listeners", [])
    monkeypatch.setattr(threadstarts, "_start", None)


@pytest.fixture
def library() -> Iterator[Library]:
    """A library, whose threads end with the test."""
    library = Library()
    yield library
    library.release.set()
    for thread in library.threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def left(reactor: Here, outputs: Outputs) -> list[str]:
    """Stop the modules, and return the texts about threads."""
    with capturedLogs() as logged:
        stop = begin(outputs.stop())
        reactor.pump([LOOK_SECONDS] * int(GRACE_SECONDS / LOOK_SECONDS + 2))
        assert stop.called
    return [event["text"] for event in logged if "text" in event]


@pytest.mark.parametrize("by_another", [False, True])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("method", ["handle", "reload", "stop"])
def test_a_thread_of_a_library(library: Library, method: str, beside: bool, by_another: bool) -> None:
    """The module that was running when a library started the thread, in whichever method, is named; no other is."""
    reactor: Any = Here()
    module = Lazy(library.send_by_another if by_another else library.send, method)
    modules: dict[str, Any] = {"first": RecordingModule(), "webhook": module} if beside else {"webhook": module}
    outputs = Outputs(modules, 2)
    done(outputs.start(reactor))
    outputs.deliver(1, some("x"))
    if method == "handle":
        assert module.called.wait(PATIENCE)
    outputs.reload()
    assert left(reactor, outputs) == ["Module webhook has left the thread 'sender' running"]


def test_a_thread_of_the_embedding_program(library: Library) -> None:
    """A thread that something else starts while modules run is no module's."""
    reactor: Any = Here()
    outputs = Outputs({"webhook": Lazy(library.send, "never")}, 1)
    done(outputs.start(reactor))
    outside = threading.Thread(target=library.send)
    outside.start()
    outside.join(PATIENCE)
    assert left(reactor, outputs) == []


def test_the_start_of_threads_is_as_before() -> None:
    """``Thread.start`` is replaced from the start of modules to their stop only, also with several services."""
    before = threading.Thread.start
    several = [Outputs({"x": RecordingModule()}, 1) for _ in range(2)]
    for outputs in several:
        done(outputs.start(Here()))
    assert threading.Thread.start is not before
    for outputs in several:
        assert threading.Thread.start is not before
        done(outputs.stop())
    assert threading.Thread.start is before


def test_beside_a_replacement_of_something_else() -> None:
    """If something else replaces ``Thread.start`` as well and calls the one before, each thread is started and heard
    once, in whichever order the replacements come and go."""
    before: Any = threading.Thread.start
    heard: list[threading.Thread] = []
    threadstarts.listen(heard.append)
    ours: Any = threading.Thread.start

    def replacement(thread: Any) -> None:
        ours(thread)

    threading.Thread.start = replacement  # type: ignore[method-assign, assignment]
    try:
        threadstarts.ignore(heard.append)
        run()
        assert heard == []
        threadstarts.listen(heard.append)
        assert heard == [run()]
        threading.Thread.start = ours  # type: ignore[method-assign]
        threadstarts.ignore(heard.append)
        assert threading.Thread.start is before
    finally:
        threading.Thread.start = before  # type: ignore[method-assign]


def run() -> threading.Thread:
    """Run a thread to its end."""
    ran = threading.Event()
    thread = threading.Thread(target=ran.set)
    thread.start()
    thread.join(PATIENCE)
    assert ran.is_set()
    return thread
