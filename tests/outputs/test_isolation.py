"""No module stands in another's way: modules that raise, hang, take all memory or exit, beside one that works."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from netconsd.outputs.leftovers import GRACE_SECONDS, Leftovers
from netconsd.outputs.loader import ModuleError
from netconsd.outputs.queues import ModuleQueue
from netconsd.outputs.runner import Outputs
from netconsd.protocol.message import Message
from netconsd.testing import RecordingModule
from tests.support.outputs import Here, begin, done, some
from tests.support.scripted_lane import PATIENCE


class Mailbox(Clock):
    """A reactor's clock that keeps the calls of threads until the test makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: queue.Queue[tuple[Callable[..., object], tuple[object, ...]]] = queue.Queue()

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:  # noqa: N802
        self.mail.put((function, arguments))

    def wait_for(self, deferred: Deferred[None]) -> None:
        while not deferred.called:
            function, arguments = self.mail.get(timeout=PATIENCE)
            function(*arguments)


class Awaited(RecordingModule):
    """A module that a test waits for."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.complete = threading.Event()
        self.seen = threading.Semaphore(0)

    def handle(self, worker: int, message: Message) -> None:
        super().handle(worker, message)
        self.seen.release()
        if len(self.calls) == self._count:
            self.complete.set()


class Saboteur(RecordingModule):
    """A module whose ``handle`` is a function."""

    def __init__(self, handle: Callable[[], object]) -> None:
        super().__init__()
        self._handle = handle

    def handle(self, worker: int, message: Message) -> None:
        self._handle()


def raises(error: BaseException) -> Callable[[], object]:
    """A function that raises."""

    def fail() -> None:
        raise error

    return fail


HOARD: list[Any] = []


def hungry() -> None:
    """Keep memory, then fail as if there were no more."""
    HOARD.append(bytearray(1024))
    raise MemoryError


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    "handle", [raises(ValueError("x")), raises(SystemExit(1)), hungry], ids=["raises", "exits", "hungry"]
)
def test_beside_a_module_that_fails(handle: Callable[[], object], first: bool) -> None:
    """A module gets every message in order, whatever another does, whichever starts first; each counts for itself."""
    reactor = Mailbox()
    logger = Awaited(50)
    bad = Saboteur(handle)
    outputs = Outputs({"bad": bad, "logger": logger} if first else {"logger": logger, "bad": bad}, 1)
    done(outputs.start(reactor))
    with capturedLogs():
        for number in range(50):
            outputs.deliver(0, some(str(number)))
        finished = outputs.finish()
        reactor.wait_for(finished)
    assert [message.text for message in logger.messages] == [str(number) for number in range(50)]
    counters = {output.name: output.counters[0] for output in outputs.started}
    assert (counters["bad"].messages, counters["bad"].errors) == (50, 50)
    assert (counters["logger"].messages, counters["logger"].errors) == (50, 0)
    HOARD.clear()


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_a_module_that_hangs_costs_another_no_message(first: bool) -> None:
    """While a module hangs, the other gets every message; the one that hangs drops its own beyond its queue, and is
    seen to be silent."""
    reactor = Mailbox()
    release = threading.Event()
    logger = Awaited(17)
    bad = Saboteur(lambda: release.wait(PATIENCE))
    outputs = Outputs({"bad": bad, "logger": logger} if first else {"logger": logger, "bad": bad}, 1, queue=5)
    done(outputs.start(reactor))
    try:
        for number in range(17):
            outputs.deliver(0, some(str(number)))
            # The logger's own queue is as short.
            assert logger.seen.acquire(timeout=PATIENCE)
        assert logger.complete.wait(PATIENCE)
        assert [message.text for message in logger.messages] == [str(number) for number in range(17)]
        (hangs,) = [output for output in outputs.started if output.name == "bad"]
        assert [hangs.silent_seconds(0, now) for now in (100.0, 141.0)] == [0.0, 41.0]
        counters = hangs.counters[0]
        assert (counters.queued, counters.dropped_queue_full, hangs.waiting(0)) == (5, 12, 5)
        assert logger_of(outputs).counters[0].dropped_queue_full == 0
    finally:
        release.set()
        reactor.wait_for(outputs.finish())


def logger_of(outputs: Outputs) -> Any:
    """The running module with this name."""
    return next(output for output in outputs.started if output.name == "logger")


def test_a_single_module_has_no_thread() -> None:
    """One module is called in the worker's own thread, as without this isolation."""
    before = set(threading.enumerate())
    module = RecordingModule()
    outputs = Outputs({"module": module}, 2)
    done(outputs.start(Here()))
    # The threads of earlier tests may end meanwhile.
    assert set(threading.enumerate()) <= before
    outputs.deliver(1, some("a"))
    assert [call.thread for call in module.calls] == [threading.get_ident()]


def test_each_module_and_worker_has_a_thread() -> None:
    """Each call of a module and a worker is made in one thread of its own, named after both, which ends at the stop."""
    reactor = Mailbox()
    before = set(threading.enumerate())
    one, two = RecordingModule(), RecordingModule()
    outputs = Outputs({"one": one, "two": two}, 2)
    done(outputs.start(reactor))
    threads = set(threading.enumerate()) - before
    assert {thread.name for thread in threads} == {"one-0", "one-1", "two-0", "two-1"}
    assert all(thread.daemon for thread in threads)
    for worker in (0, 1):
        for _ in range(5):
            outputs.deliver(worker, some("x"))
    reactor.wait_for(outputs.finish())
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    used = {(id(module), call.worker): call.thread for module in (one, two) for call in module.calls}
    assert len(set(used.values())) == 4


def test_threads_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system has no thread for a queue, the modules are stopped again, and the start fails with one text."""
    start = ModuleQueue.start
    count: list[int] = []

    def start_two(self: ModuleQueue, finished: Callable[[], object]) -> None:
        count.append(1)
        if len(count) > 2:
            raise RuntimeError("can't start new thread")
        start(self, finished)

    monkeypatch.setattr(ModuleQueue, "start", start_two)
    before = set(threading.enumerate())
    modules = {"one": RecordingModule(), "two": RecordingModule()}
    outputs = Outputs(modules, 2)
    with pytest.raises(ModuleError, match=r"^the threads of the modules cannot start: RuntimeError: can't start"):
        done(outputs.start(Mailbox()))
    assert all(module.stopped for module in modules.values())
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


# Threads that a module leaves behind.


class Leaves(RecordingModule):
    """A module that starts a thread, and does not end it."""

    def __init__(self, late: bool, daemon: bool) -> None:
        super().__init__()
        self.release = threading.Event()
        self.thread = threading.Thread(target=self._run, name="uploader\n", daemon=daemon)
        self._late = late
        self.ready = threading.Event()

    def _run(self) -> None:
        self.ready.set()
        self.release.wait(PATIENCE)

    def start(self, worker_count: int) -> None:
        super().start(worker_count)
        if not self._late:
            self.thread.start()

    def handle(self, worker: int, message: Message) -> None:
        self.thread.start()
        assert self.ready.wait(PATIENCE)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("daemon", [False, True])
def test_a_thread_that_is_left_behind_is_named(late: bool, daemon: bool) -> None:
    """After the stop the log has the name of the module and of each of its threads that would keep the process, whether
    it began in ``start`` or later; daemon threads, which do not keep it, are not named."""
    reactor = Here()
    module = Leaves(late, daemon)
    outputs = Outputs({"webhook": module}, 1)
    done(outputs.start(reactor))
    if late:
        outputs.deliver(0, some("x"))
    try:
        with capturedLogs() as logged:
            stop = begin(outputs.stop())
            reactor.pump([0.05] * int(GRACE_SECONDS / 0.05 + 2))
            assert stop.called
    finally:
        module.release.set()
        module.thread.join(PATIENCE)
    texts = [event["text"] for event in logged]
    assert texts == ([] if daemon else ["Module webhook has left the thread 'uploader\\\\x0a' running"])


def test_threads_of_others_are_not_blamed_on_a_module() -> None:
    """A thread of the program that embeds netconsd is no module's."""
    leftovers = Leftovers()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, args=(PATIENCE,))
    thread.start()
    texts: list[object] = []
    Deferred.fromCoroutine(leftovers.left({"module": Leaves(False, True)}, Here())).addCallback(texts.append)
    release.set()
    thread.join(PATIENCE)
    assert texts == [[]]
