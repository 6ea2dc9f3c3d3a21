"""The start, calls, counters and stop of output modules, and their exceptions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, formatEvent
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule, IOutputModule
from netconsd.outputs.loader import ModuleError
from netconsd.outputs.runner import SECONDS_BETWEEN_REPORTS, Outputs
from netconsd.protocol.message import Message
from netconsd.testing import RecordingModule
from tests.support.outputs import HERE, Here, begin, done, failures, fired, some, started
from tests.support.scripted_module import Script


@implementer(IBatchOutputModule)
class Batches:
    """A module that keeps its batches, and raises given exceptions, one per call."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = list(errors)
        self.batches: list[tuple[int, list[str]]] = []

    def start(self, worker_count: int) -> None:
        pass

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        self.batches.append((worker, [message.text for message in messages]))
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error

    def stop(self) -> None:
        pass


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock that limits reports, as a list of one number."""
    now = [1000.0]
    monkeypatch.setattr("netconsd.outputs.runner.monotonic", lambda: now[0])
    return now


# Calls.


def test_every_message_goes_to_every_module() -> None:
    """Each module gets every message with the worker's number, in order."""
    first, second = RecordingModule(), RecordingModule()
    outputs = started(2, first=first, second=second)
    outputs.deliver(1, some("a", "b"))
    outputs.deliver(0, some("c"))
    for module in (first, second):
        assert [(call.worker, call.message.text) for call in module.calls] == [(1, "a"), (1, "b"), (0, "c")]
        assert module.worker_count == 2


def test_a_batch_module_gets_the_batch() -> None:
    """A module with ``handle_batch`` is called once per batch, with the list."""
    batches = Batches()
    started(batches=batches).deliver(0, some("a", "b"))
    assert batches.batches == [(0, ["a", "b"])]


def test_each_module_has_its_own_list() -> None:
    """A module may change its list: the next module gets every message and no other."""

    class Takes(Batches):
        def handle_batch(self, worker: int, messages: list[Message]) -> None:
            super().handle_batch(worker, messages)
            messages[:] = some("of its own")

    first, second, last = Takes(), Takes(), RecordingModule()
    started(first=first, second=second, last=last).deliver(0, some("a", "b"))
    assert first.batches == second.batches == [(0, ["a", "b"])]
    assert [message.text for message in last.messages] == ["a", "b"]


def test_a_module_with_both_gets_batches() -> None:
    """A module that provides both interfaces gets each message once, in a batch."""

    @implementer(IOutputModule)
    class Both(Batches):
        def handle(self, worker: int, message: Message) -> None:
            raise AssertionError("called message by message")

    both = Both()
    outputs = started(both=both)
    outputs.deliver(0, some("a"))
    assert both.batches == [(0, ["a"])]
    assert outputs.started[0].counters[0].errors == 0


def test_messages_are_counted_per_module_and_worker() -> None:
    """Each module has its own counters for each worker."""
    outputs = started(3, one=RecordingModule(), batches=Batches())
    outputs.deliver(0, some("a", "b"))
    outputs.deliver(2, some("c"))
    for output in outputs.started:
        assert [counters.messages for counters in output.counters] == [2, 0, 1]
        assert [counters.errors for counters in output.counters] == [0, 0, 0]


def test_without_modules() -> None:
    """Messages are dropped without an error."""
    outputs = started()
    outputs.deliver(0, some("a"))
    outputs.reload()
    done(outputs.stop())


def test_an_object_that_is_no_module() -> None:
    """An object that provides no interface of modules raises ModuleError, with its name, in the constructor."""
    with pytest.raises(
        ModuleError, match=r"^odd: provides none of IOutputModule, IBatchOutputModule, IReportModule and "
    ):
        Outputs({"good": RecordingModule(), "odd": object()}, 1)
    with pytest.raises(ModuleError, match="class"):
        # A class instead of its instance.
        Outputs({"class": RecordingModule}, 1)


# Exceptions of modules.


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_an_exception_of_handle(error: BaseException) -> None:
    """After any exception the module gets the next message, and the other modules get every message."""
    events: list[str] = []
    before, after = RecordingModule(), RecordingModule()
    outputs = started(before=before, bad=Script("bad", events, handle=error), after=after)
    with capturedLogs() as logged:
        outputs.deliver(0, some("a", "b"))
    assert events == ["bad start", "bad handle", "bad handle"]
    for module in (before, after):
        assert [message.text for message in module.messages] == ["a", "b"]
    assert failures(logged) == [f"Module bad failed: {type(error).__name__}"]
    counters = outputs.started[1].counters[0]
    assert (counters.messages, counters.errors) == (2, 2)


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_an_exception_of_handle_batch(error: BaseException) -> None:
    """The same for a module that takes batches; a call that raises counts as one error."""
    bad = Batches(error, error)
    after = RecordingModule()
    outputs = started(bad=bad, after=after)
    with capturedLogs() as logged:
        outputs.deliver(0, some("a", "b"))
        outputs.deliver(0, some("c"))
    assert bad.batches == [(0, ["a", "b"]), (0, ["c"])]
    assert [message.text for message in after.messages] == ["a", "b", "c"]
    assert failures(logged) == [f"Module bad failed: {type(error).__name__}"]
    counters = outputs.started[0].counters[0]
    assert (counters.messages, counters.errors) == (3, 2)


def test_a_module_that_always_fails(seconds: list[float]) -> None:
    """The first error is logged; then at most one a minute, with the number in between; all are counted."""
    outputs = started(bad=Script("bad", [], handle=ValueError("x")))
    with capturedLogs() as logged:
        outputs.deliver(0, some("first"))
        assert failures(logged) == ["Module bad failed: ValueError"]
        outputs.deliver(0, some(*"abc"))
        seconds[0] += SECONDS_BETWEEN_REPORTS - 1
        outputs.deliver(0, some("d"))
        assert len(failures(logged)) == 1
        seconds[0] += 1
        outputs.deliver(0, some("e", "f"))
        assert failures(logged)[1:] == ["Module bad failed, and 4 times since the last report: ValueError"]
        seconds[0] += SECONDS_BETWEEN_REPORTS
        outputs.deliver(0, some("g"))
        assert failures(logged)[2:] == ["Module bad failed, and 1 time since the last report: ValueError"]
        seconds[0] += SECONDS_BETWEEN_REPORTS
        outputs.deliver(0, some("h"))
        assert failures(logged)[3:] == ["Module bad failed: ValueError"]
    assert outputs.started[0].counters[0].errors == 9


def test_each_module_has_its_own_reports(seconds: list[float]) -> None:
    """The limit on reports is per module."""
    outputs = started(one=Script("one", [], handle=ValueError("x")), two=Script("two", [], handle=KeyError("y")))
    with capturedLogs() as logged:
        outputs.deliver(0, some("a", "b"))
    assert failures(logged) == ["Module one failed: ValueError", "Module two failed: KeyError"]


def test_errors_are_logged_in_the_reactors_thread() -> None:
    """A worker makes one call in the reactor's thread per report: observers of the log may belong to the reactor."""
    here = Here()
    outputs = started(reactor=here, bad=Script("bad", [], handle=ValueError("x")))
    with capturedLogs():
        outputs.deliver(0, some(*"abcde"))
    assert here.counted == 1


# Start.


def test_modules_start_in_order_each_after_the_one_before() -> None:
    """A module starts when the Deferred of the one before has fired."""
    events: list[str] = []
    ready: Deferred[None] = Deferred()
    outputs = Outputs({"a": Script("a", events, start=ready), "b": Script("b", events)}, 1)
    start = begin(outputs.start(HERE))
    assert events == ["a start"]
    assert not fired(start)
    ready.callback(None)
    assert fired(start)
    assert events == ["a start", "b start"]
    assert [output.name for output in outputs.started] == ["a", "b"]


def test_a_coroutine_is_waited_for() -> None:
    """``start`` and ``stop`` may be coroutine functions."""
    events: list[str] = []
    ready: list[Deferred[None]] = [Deferred(), Deferred()]

    @implementer(IOutputModule)
    class Slow(RecordingModule):
        async def start(self, worker_count: int) -> None:  # type: ignore[override]
            await ready[0]
            events.append("started")

        async def stop(self) -> None:  # type: ignore[override]
            await ready[1]
            events.append("stopped")

    outputs = Outputs({"slow": Slow()}, 1)
    start = begin(outputs.start(HERE))
    assert events == []
    ready[0].callback(None)
    assert fired(start)
    stop = begin(outputs.stop())
    assert events == ["started"]
    assert not fired(stop)
    ready[1].callback(None)
    assert events == ["started", "stopped"]
    assert fired(stop)


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
@pytest.mark.parametrize("by_deferred", [False, True])
def test_a_module_that_does_not_start_stops_those_before(kind: type[BaseException], by_deferred: bool) -> None:
    """It raises ModuleError with name and reason; the modules before it are stopped, the later ones do not start."""
    events: list[str] = []
    ready: Deferred[None] = Deferred()
    error = kind("no such file")
    bad = Script("c", events, start=ready if by_deferred else error)
    modules = {"a": Script("a", events), "b": Script("b", events), "c": bad, "d": Script("d", events)}
    outputs = Outputs(modules, 1)
    start = begin(outputs.start(HERE))
    if by_deferred:
        ready.errback(error)
    results: list[Any] = []
    start.addErrback(results.append)
    assert results, "the coroutine waits"
    assert results[0].type is ModuleError
    text = f"c: did not start: {'SystemExit: ' if kind is SystemExit else ''}no such file"
    # The text names the line that raised, but not the line that awaited a Deferred.
    assert re.fullmatch(text + ("" if by_deferred else r" \(.*scripted_module\.py:\d+\)"), results[0].getErrorMessage())
    assert events == ["a start", "b start", "c start", "b stop", "a stop"]
    assert outputs.started == []


def test_a_missing_package_is_named() -> None:
    """The error of a module that imports a missing package names the package."""

    @implementer(IOutputModule)
    class Needy(RecordingModule):
        def start(self, worker_count: int) -> None:
            import surely_not_installed.deeper  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(ModuleError, match=r"^needy: did not start: .*'surely_not_installed'.* not installed$"):
        started(needy=Needy())


def test_a_missing_name_in_a_package() -> None:
    """If the package is installed and only lacks the name, the text is that of Python."""

    @implementer(IOutputModule)
    class Old(RecordingModule):
        def start(self, worker_count: int) -> None:
            from json import surely_not_there  # type: ignore[attr-defined]  # noqa: F401

    with pytest.raises(ModuleError, match=r"^old: did not start: cannot import name 'surely_not_there'"):
        started(old=Old())


def test_the_reason_is_one_line() -> None:
    """A reason of several lines becomes one line, and an exception without a readable text is named by its class."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(ModuleError, match=r"^bad: did not start: two lines \("):
        started(bad=Script("bad", [], start=ValueError("two\nlines")))
    with pytest.raises(ModuleError, match=r"^bad: did not start: Mute \("):
        started(bad=Script("bad", [], start=Mute()))


# Reload.


def test_only_reloadable_modules_are_reloaded() -> None:
    """``reload`` is called only for modules that provide IReloadable."""
    events: list[str] = []

    class Pretender(RecordingModule):
        def reload(self) -> None:
            events.append("called without IReloadable")

    outputs = started(plain=RecordingModule(), pretender=Pretender(), a=Script("a", events), b=Script("b", events))
    outputs.reload()
    assert events[2:] == ["a reload", "b reload"]


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(1)], ids=repr)
def test_an_exception_of_reload(error: BaseException) -> None:
    """It is logged and counted; the other modules are reloaded, and the module still gets messages."""
    events: list[str] = []
    outputs = started(a=Script("a", events, reload=error), b=Script("b", events))
    with capturedLogs() as logged:
        outputs.reload()
    outputs.deliver(0, some("x"))
    assert events[2:] == ["a reload", "b reload", "a handle", "b handle"]
    assert failures(logged) == [f"Module a failed: {type(error).__name__}"]
    assert [output.reload_errors for output in outputs.started] == [1, 0]


# Stop.


def test_modules_stop_in_reverse_each_after_the_one_before() -> None:
    """The module started last stops first, and each stop is awaited."""
    events: list[str] = []
    closed: Deferred[None] = Deferred()
    outputs = started(a=Script("a", events), b=Script("b", events, stop=closed), c=Script("c", events))
    stop = begin(outputs.stop())
    assert events[3:] == ["c stop", "b stop"]
    assert not fired(stop)
    closed.callback(None)
    assert events[3:] == ["c stop", "b stop", "a stop"]
    assert fired(stop)
    assert outputs.started == []


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("by_deferred", [False, True])
def test_an_exception_of_stop(error: BaseException, by_deferred: bool) -> None:
    """It is logged with the module's name, and the other modules are stopped."""
    events: list[str] = []
    closed: Deferred[None] = Deferred()
    outputs = started(a=Script("a", events), b=Script("b", events, stop=closed if by_deferred else error))
    results: list[Any] = []
    with capturedLogs() as logged:
        stop = begin(outputs.stop())
        if by_deferred:
            closed.errback(error)
        stop.addBoth(results.append)
    assert results == [None]
    assert events[2:] == ["b stop", "a stop"]
    assert failures(logged) == [f"Module b failed to stop: {type(error).__name__}"]


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_module_that_never_stops_is_named(stubborn: bool) -> None:
    """After the time limit its Deferred is cancelled, it is logged, and the others are stopped, in any case."""
    events: list[str] = []
    cancelled: list[object] = []
    # A Deferred that its canceller does not fire fails; the stubborn one waits on.
    forever: Deferred[None] = Deferred(cancelled.append)
    if stubborn:
        forever.addErrback(lambda failure: Deferred())
    outputs = started(a=Script("a", events), b=Script("b", events, stop=forever), c=Script("c", events))
    clock: Here = HERE
    with capturedLogs() as logged:
        stop = begin(outputs.stop())
        clock.advance(29.9)
        assert not fired(stop)
        clock.advance(0.1)
    assert fired(stop)
    assert cancelled == [forever]
    assert events[3:] == ["c stop", "b stop", "a stop"]
    assert [formatEvent(event) for event in logged] == [
        "Module b has not stopped within 30 seconds (--stop-timeout); the stop continues without it"
    ]
    assert clock.getDelayedCalls() == []


def test_modules_can_be_started_again() -> None:
    """After a stop the modules can start again, with counters at zero."""
    module = RecordingModule()
    outputs = started(module=module)
    outputs.deliver(0, some("a"))
    done(outputs.stop())
    done(outputs.start(HERE))
    outputs.deliver(0, some("b"))
    assert [message.text for message in module.messages] == ["a", "b"]
    assert [counters.messages for counters in outputs.started[0].counters] == [1]


def test_stopping_twice_stops_once() -> None:
    """A second stop does nothing."""
    events: list[str] = []
    outputs = started(a=Script("a", events, stop=succeed(None)))
    done(outputs.stop())
    done(outputs.stop())
    assert events == ["a start", "a stop"]


# Time.


def test_the_time_that_a_module_takes(seconds: list[float]) -> None:
    """Each worker counts a module's batches, messages and seconds, with or without exceptions."""

    class Slow(Batches):
        def handle_batch(self, worker: int, messages: list[Message]) -> None:
            counters = outputs.started[0].counters[worker]
            assert counters.called_at == seconds[0]
            seconds[0] += len(messages)
            messages.clear()
            super().handle_batch(worker, messages)

    outputs = started(2, slow=Slow(None, OSError()))
    outputs.deliver(1, some("a", "b"))
    outputs.deliver(1, some("c"))
    first, second = outputs.started[0].counters
    assert (first.batches, first.messages, first.seconds) == (0, 0, 0.0)
    assert (second.batches, second.messages, second.errors) == (2, 3, 1)
    assert second.seconds == 3.0
    assert second.called_at == 0.0
