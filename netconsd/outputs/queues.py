"""The queue and the thread of one module in one worker, if there is more than one module.

The worker's thread puts batches, and never waits: a module that is slow or hangs delays neither the worker nor another
module. A full queue drops its newest messages, and counts them for its module.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

from twisted.logger import Logger

from netconsd.protocol.counters import ModuleCounters
from netconsd.protocol.message import Message
from netconsd.protocol.placesize import places_of

# Batches that wait are handed over together, since a call costs a module more than a message. The bound keeps the
# progress of a slow module visible: at a millisecond per message this is a second.
MERGED_MESSAGES = 1024
# Waking a thread for a batch costs more than queueing it. So after a turn with this many messages, which shows load, a
# thread that has caught up waits a moment for more of them; at rest it takes a message at once. With batches of 300
# messages every 2 ms a second module costs 0.12 us per message with a pause of 10 ms, and 0.5 us without a pause.
BUSY_MESSAGES = 64
PAUSE_SECONDS = 0.01


class Takes(Protocol):
    """The part of a module (:class:`netconsd.outputs.runner.RunningModule`) that its queues use."""

    name: str
    counters: list[ModuleCounters]

    def handle(self, worker: int, messages: list[Message]) -> None:
        """Hand messages to the module."""

    def publish(self, worker: int, found: list[Any]) -> None:
        """Hand crash reports and events to the module."""


class _Found(NamedTuple):
    """Crash reports and events, between the messages of a queue."""

    items: list[Any]
    taken: int


class _Mark(NamedTuple):
    """The end of what was put before."""

    reached: Callable[[], object]


class ModuleQueue:
    """The messages of one worker that wait for one module, and the thread that hands them over, in order."""

    def __init__(
        self,
        output: Takes,
        worker: int,
        limit: int,
        *,
        thread: Callable[..., Any] = threading.Thread,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """:param limit: places; a message takes one, and one more for each KiB of its bytes."""
        self.output = output
        self.worker = worker
        #: Whether the thread runs.
        self.running = False
        self._limit = limit
        self._make_thread = thread
        self._sleep = sleep
        self._queue: SimpleQueue[tuple[list[Message], int] | _Found | _Mark | None] = SimpleQueue()
        # Taken from the queue, and not yet part of a batch.
        self._next: tuple[list[Message], int] | _Found | None = None
        # Those that were reached within the batch in hand.
        self._marks: list[_Mark] = []
        self._counters = output.counters[worker]
        # Places taken and released since the start: the worker's thread writes the first, this queue's the second.
        self._places_put = 0
        self._places_done = 0
        self._log = Logger("netconsd")

    @property
    def backlog(self) -> int:
        """The number of taken places, those of the messages in hand included."""
        return max(0, self._places_put - self._places_done)

    def put(self, messages: list[Message], taken: int) -> None:
        """Queue messages, in the worker's thread. Without room the newest ones are dropped and counted.

        An empty queue accepts any number: what a worker delivers at once is bounded, and a module without a backlog
        must not lose a burst that is larger than the queue.

        :param messages: not changed, and not kept: a module may change its list.
        :param taken: :func:`~netconsd.outputs.places.places` of the messages.
        """
        counters = self._counters
        backlog = self.backlog
        count = keep = len(messages)
        if backlog and taken > self._limit - backlog:
            keep, taken = _fitting(messages, self._limit - backlog)
        if keep:
            try:
                self._queue.put((messages[:keep], taken))
            except MemoryError:
                # Whoever took the memory: this module did not get the messages, and its count says so.
                keep = taken = 0
        counters.queued += keep
        counters.dropped_queue_full += count - keep
        self._places_put += taken

    def put_found(self, found: list[Any]) -> None:
        """Queue crash reports and events behind the messages, in the worker's thread; as :meth:`put`."""
        counters = self._counters
        for item in found:
            taken = places_of_finding(item)
            backlog = self.backlog
            if backlog and taken > self._limit - backlog:
                counters.dropped_findings += 1
                continue
            try:
                self._queue.put(_Found([item], taken))
            except MemoryError:
                counters.dropped_findings += 1
                continue
            counters.queued_findings += 1
            self._places_put += taken

    def put_mark(self, reached: Callable[[], object]) -> None:
        """Have a function called, in the queue's thread, when the module has returned from everything that was put
        before; never if the module hangs. It takes no place, and may not raise."""
        self._queue.put(_Mark(reached))

    def start(self, finished: Callable[[], object]) -> None:
        """Start the thread.

        :param finished: called in that thread, as its last action.
        :raises RuntimeError: if the system cannot start a thread.
        """
        # The crash output of Python 3.14 and `top -H` show the name; the kernel keeps 15 bytes of it.
        thread = self._make_thread(
            target=self._run, args=(finished,), name=f"{self.output.name}-{self.worker}", daemon=True
        )
        self.running = True
        try:
            thread.start()
        except RuntimeError:
            self.running = False
            raise

    def stop(self) -> None:
        """End the thread after all earlier messages."""
        self._queue.put(None)

    def _run(self, finished: Callable[[], object]) -> None:
        try:
            while self._turn():
                pass
        finally:
            self.running = False
            finished()

    def _turn(self) -> bool:
        """Hand over what waits, up to :data:`MERGED_MESSAGES`; return ``False`` after the stop."""
        taken = handed = 0
        stopping = False
        try:
            entry = self._next or self._queue.get()
            self._next = None
            if entry is None:
                return False
            if isinstance(entry, _Mark):
                self._marks.append(entry)
                return True
            if isinstance(entry, _Found):
                taken = entry.taken
                self.output.publish(self.worker, entry.items)
                return True
            messages, taken = entry
            # This thread is the only one that takes, so what is there stays.
            while len(messages) < MERGED_MESSAGES and not self._queue.empty():
                entry = self._queue.get()
                if entry is None:
                    stopping = True
                    break
                if isinstance(entry, _Mark):
                    self._marks.append(entry)
                    continue
                if isinstance(entry, _Found):
                    self._next = entry
                    break
                try:
                    messages += entry[0]
                except MemoryError:
                    self._next = entry
                    break
                taken += entry[1]
            handed = len(messages)
            self.output.handle(self.worker, messages)
        except BaseException:
            # No module can raise here (the runner catches it). But a failed allocation, or a bug of netconsd, must not
            # end the delivery to a module.
            self._log.failure(
                "The queue of module {name} in worker {worker} failed; it continues with the next messages",
                name=self.output.name,
                worker=self.worker,
            )
        finally:
            self._places_done += taken
            if self._marks:
                marks, self._marks = self._marks, []
                for mark in marks:
                    mark.reached()
        if not stopping and handed >= BUSY_MESSAGES and self._next is None and self._queue.empty():
            self._sleep(PAUSE_SECONDS)
        return not stopping


def _fitting(messages: list[Message], room: int) -> tuple[int, int]:
    """Return how many of the messages, from the first on, have room, and their places."""
    taken = 0
    for keep, message in enumerate(messages):
        needed = places_of(len(message.raw))
        if taken + needed > room:
            return keep, taken
        taken += needed
    return len(messages), taken


def places_of_finding(found: Any) -> int:
    """Return the places of a crash report with its messages, or of an event: as of one message of their bytes."""
    messages = (*getattr(found, "messages", ()), *getattr(found, "before", ()))
    return places_of(sum(len(message.raw) for message in messages))
