"""The queue of one module in one worker: order, bounds, drops, and no wait for anybody."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from netconsd.outputs.places import PLACE_BYTES, places
from netconsd.outputs.queues import BUSY_MESSAGES, MERGED_MESSAGES, PAUSE_SECONDS, ModuleQueue
from netconsd.protocol.counters import ModuleCounters
from netconsd.protocol.message import Message
from netconsd.testing import extended_message, legacy_message
from tests.support.outputs import NoThread, some


class Taken:
    """A module that keeps the texts of each batch, and calls a function with each."""

    name = "module"

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.counters = [ModuleCounters()]
        self.batches: list[list[str]] = []
        self._then = then

    def handle(self, worker: int, messages: list[Message]) -> None:
        self.batches.append([message.text for message in messages])
        self.counters[0].messages += len(messages)
        self._then()

    def publish(self, worker: int, found: list[Any]) -> None:
        self.batches.append([item.title for item in found])
        self.counters[0].reports += len(found)


def queue_of(taken: Taken, limit: int = 1000, sleep: Callable[[float], object] = lambda seconds: None) -> ModuleQueue:
    """A queue whose turns the test makes."""
    return ModuleQueue(taken, 0, limit, thread=NoThread, sleep=sleep)


def put(queue: ModuleQueue, *texts: str) -> None:
    """Put one batch."""
    messages = some(*texts)
    queue.put(messages, places(messages))


def test_messages_stay_in_order_and_batches_that_wait_are_merged() -> None:
    """A turn hands over all that waits, in order, as one list."""
    taken = Taken()
    queue = queue_of(taken)
    put(queue, "a", "b")
    put(queue, "c")
    assert queue._turn()
    put(queue, "d")
    assert queue._turn()
    assert taken.batches == [["a", "b", "c"], ["d"]]
    assert queue.backlog == 0


def test_a_turn_is_bounded() -> None:
    """No batch is added to one of MERGED_MESSAGES or more, so that the progress of a slow module stays visible."""
    taken = Taken()
    queue = queue_of(taken, 10 * MERGED_MESSAGES)
    for _ in range(3):
        put(queue, *["x"] * MERGED_MESSAGES)
    assert queue._turn()
    assert [len(batch) for batch in taken.batches] == [MERGED_MESSAGES]


def test_a_full_queue_drops_its_newest_messages_and_counts_them() -> None:
    """Beyond the limit the newest messages of a batch are dropped; those in hand take their places until the return."""
    inside: list[int] = []
    taken = Taken(lambda: inside.append(queue.backlog))
    queue = queue_of(taken, 4)
    put(queue, "a", "b", "c")
    put(queue, "d", "e")
    put(queue, "f")
    counters = taken.counters[0]
    assert (counters.queued, counters.dropped_queue_full, queue.backlog) == (4, 2, 4)
    assert queue._turn()
    assert taken.batches == [["a", "b", "c", "d"]]
    assert (inside, queue.backlog) == ([4], 0)
    put(queue, "g")
    assert queue._turn()
    assert taken.batches[1:] == [["g"]]


def test_large_messages_take_more_places() -> None:
    """The bound is on memory as well: a message takes one more place for each KiB of its bytes."""
    large = legacy_message("x" * (3 * PLACE_BYTES))
    assert places([large, legacy_message("small")]) == 5
    taken = Taken()
    queue = queue_of(taken, 8)
    for _ in range(3):
        queue.put([large], 4)
    assert (taken.counters[0].queued, taken.counters[0].dropped_queue_full) == (2, 1)


def test_an_empty_queue_accepts_any_batch() -> None:
    """A module without a backlog loses nothing of a burst that is larger than its queue."""
    taken = Taken()
    queue = queue_of(taken, 1)
    put(queue, *"abcdef")
    assert queue._turn()
    assert taken.batches == [list("abcdef")]
    assert taken.counters[0].dropped_queue_full == 0


def test_the_list_of_the_worker_is_not_kept() -> None:
    """The worker's list is neither changed nor handed over, because a module may change its own."""
    taken = Taken()
    queue = queue_of(taken)
    messages = some("a")
    queue.put(messages, 1)
    messages.clear()
    assert queue._turn()
    assert taken.batches == [["a"]]


def test_memory_that_is_short_is_counted() -> None:
    """If there is no memory for a batch, the messages are dropped and counted, and the worker continues."""

    class Full:
        def put(self, item: object) -> None:
            raise MemoryError

    taken = Taken()
    queue = queue_of(taken)
    vars(queue)["_queue"] = Full()
    put(queue, "a", "b")
    assert (taken.counters[0].queued, taken.counters[0].dropped_queue_full, queue.backlog) == (0, 2, 0)


@pytest.mark.parametrize("error", [IndexError("a bug"), SystemExit(1), MemoryError()], ids=repr)
def test_an_exception_does_not_end_the_thread(error: BaseException) -> None:
    """A bug is logged, the places are released, and the next messages are handed over."""
    errors = [error]

    def fail() -> None:
        if errors:
            raise errors.pop()

    taken = Taken(fail)
    queue = queue_of(taken)
    put(queue, "a")
    assert queue._turn()
    put(queue, "b")
    assert queue._turn()
    assert taken.batches == [["a"], ["b"]]
    assert queue.backlog == 0


def test_the_stop_comes_after_everything() -> None:
    """The thread ends after all messages that were put before the stop, merged batches included."""
    taken = Taken()
    queue = queue_of(taken)
    put(queue, "a")
    put(queue, "b")
    queue.stop()
    ended: list[str] = []
    queue.running = True
    queue._run(lambda: ended.append("ended"))
    assert taken.batches == [["a", "b"]]
    assert ended == ["ended"]
    assert not queue.running


def test_under_load_the_thread_pauses_only_when_it_has_caught_up() -> None:
    """After a large turn it waits a moment, so that it is not woken for each batch; not after a small one, nor while
    messages wait."""
    pauses: list[float] = []
    more = [False]
    queue: ModuleQueue

    def then() -> None:
        if more[0]:
            put(queue, "more")

    queue = queue_of(Taken(then), sleep=pauses.append)
    put(queue, *["x"] * (BUSY_MESSAGES - 1))
    queue._turn()
    assert pauses == []
    put(queue, *["x"] * BUSY_MESSAGES)
    queue._turn()
    assert pauses == [PAUSE_SECONDS]
    more[0] = True
    put(queue, *["x"] * BUSY_MESSAGES)
    queue._turn()
    assert pauses == [PAUSE_SECONDS]


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="memory is that of CPython")
def test_the_memory_of_a_place() -> None:
    """A place costs at most 1.5 KiB (docs/security), whatever the size of the messages."""
    for size in (1, 900, 5000):
        tracemalloc.start()
        try:
            kept: list[Any] = []
            taken = 0
            before = tracemalloc.get_traced_memory()[0]
            for seq in range(100):
                batch: list[Message] = [extended_message("x" * size, seq=seq)]
                kept.append((batch, places(batch)))
                taken += places(batch)
            used = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert used / taken < 1536, size
