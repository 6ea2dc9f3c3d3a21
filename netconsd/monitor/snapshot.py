"""All counters of a service at one time, as values, and whether they add up.

Taken in the reactor's thread, while the workers go on counting. What the reactor's thread counts itself is exact; of
what a worker counts, each number is one that it had, but two of them may be some messages apart. All are exact once
that worker is idle, as after a stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from time import monotonic

from netconsd.outputs.runner import RunningModule
from netconsd.protocol.counters import COUNTERS, AckCounters, inconsistencies, sum_mismatch
from netconsd.receive.histogram import Histogram
from netconsd.receive.lanes import Lane
from netconsd.receive.reader import BatchReader

__all__ = ["ListenerSnapshot", "ModuleSnapshot", "Snapshot", "WorkerSnapshot", "take"]


@dataclass(frozen=True, slots=True)
class ListenerSnapshot:
    """A listener."""

    number: int
    #: Those of :class:`~netconsd.protocol.counters.ListenerCounters`, by name.
    counters: dict[str, int]
    #: Datagrams per read.
    sizes: Histogram
    #: Bytes of the receive buffer that are taken, and how many there are, in the kernel's terms.
    buffer_used: int
    buffer_size: int
    #: Whether the last try to read failed.
    failing: bool = False


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """A worker and its queue."""

    number: int
    #: Whether its thread is there.
    alive: bool
    #: Those of :class:`~netconsd.protocol.counters.WorkerCounters` and
    #: :class:`~netconsd.protocol.counters.QueueCounters`, by name, and those of
    #: :class:`~netconsd.protocol.counters.AckCounters` as ``acks_sent`` and so on.
    counters: dict[str, int]
    #: Places of the queue that are taken.
    places: int
    #: Senders that are remembered.
    senders: int
    #: Seconds from receipt to the modules.
    delays: Histogram

    @property
    def queued(self) -> int:
        """Datagrams in the queue that the worker has not looked at."""
        return max(0, self.counters["queued"] - self.counters["datagrams"] - self.counters["dropped_error"])

    @property
    def dropped_at_stop(self) -> int:
        """Datagrams in the queue, and messages that wait, of a worker that has not come to its end at the stop."""
        return self.queued + self.held if self.alive else 0

    @property
    def held(self) -> int:
        """Messages that wait for what comes before them; roughly, while the worker works."""
        made = self.counters["whole"] + self.counters["reassembled"] + self.counters["lines"]
        return max(0, made - self.counters["messages"])

    def inconsistencies(self) -> Iterator[str]:
        """What does not add up, of a worker that has delivered everything."""
        counters = self.counters | {"senders": self.senders}
        yield from inconsistencies(counters)
        yield from sum_mismatch("queued", counters, ("datagrams", "dropped_error"))
        yield from sum_mismatch("senders_new", counters, ("senders_expired", "senders_evicted", "senders"))
        if self.places:
            yield f"{self.places} places of its queue are taken"


@dataclass(frozen=True, slots=True)
class ModuleSnapshot:
    """A module, as one worker calls it."""

    name: str
    worker: int
    #: Whether it takes legacy text by the datagram.
    takes_datagrams: bool
    messages: int
    errors: int
    batches: int
    #: How long it took for them.
    seconds: float
    #: Since when it has had the batch that it has now; 0 if it has none.
    busy_seconds: float
    #: Messages that it says it has lost (:class:`netconsd.ICountsLosses`).
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of them."""

    listeners: tuple[ListenerSnapshot, ...] = ()
    workers: tuple[WorkerSnapshot, ...] = ()
    modules: tuple[ModuleSnapshot, ...] = ()

    @property
    def received(self) -> int:
        """Datagrams that the listeners received."""
        return sum(listener.counters["datagrams"] for listener in self.listeners)

    def total(self, name: str) -> int:
        """The sum of a counter that either listeners or workers have."""
        counters = [listener.counters for listener in self.listeners] + [worker.counters for worker in self.workers]
        return sum(each.get(name, 0) for each in counters)

    def inconsistencies(self) -> list[str]:
        """What does not add up, each as a line; nothing after everything was delivered, whatever happened.

        Not to be asked of a worker that still has something to do; one that did not end at the stop, because a module
        does not return, is left out.
        """
        parts = ("dropped_bad_address", "dropped_not_allowed", "dropped_read_error", "queued", "dropped_queue_full")
        found = sum_mismatch(
            "received", {"received": self.received} | {part: self.total(part) for part in parts}, parts
        )
        idle = [worker for worker in self.workers if not self._is_busy(worker)]
        if len(idle) == len(self.workers):
            found += self._octets_that_differ()
        for worker in idle:
            found += [f"worker {worker.number}: {text}" for text in worker.inconsistencies()]
            for module in self._modules_of(worker):
                due = _due(worker, module)
                if module.messages != due:
                    found.append(f"worker {worker.number}, module {module.name}: {module.messages} messages of {due}")
        return found

    def _modules_of(self, worker: WorkerSnapshot) -> list[ModuleSnapshot]:
        return [module for module in self.modules if module.worker == worker.number]

    def _is_busy(self, worker: WorkerSnapshot) -> bool:
        return worker.alive and bool(worker.places or any(each.busy_seconds for each in self._modules_of(worker)))

    def _octets_that_differ(self) -> list[str]:
        taken = sum(worker.counters["octets"] for worker in self.workers)
        parts = ("dropped_bytes", "dropped_queue_full_bytes", "dropped_error_bytes")
        counters = {"octets received": sum(listener.counters["octets"] for listener in self.listeners)}
        counters |= {part: self.total(part) for part in parts} | {"octets taken": taken}
        return sum_mismatch("octets received", counters, (*parts, "octets taken"))


def take(
    readers: Sequence[BatchReader],
    lanes: Sequence[Lane],
    outputs: Sequence[RunningModule],
    now: float | None = None,
) -> Snapshot:
    """Read all counters; in the reactor's thread.

    :param now: monotonic seconds.
    """
    return Snapshot(
        tuple(_listener(number, reader) for number, reader in enumerate(readers)),
        tuple(_worker(lane) for lane in lanes),
        tuple(_modules(outputs, monotonic() if now is None else now)),
    )


def _listener(number: int, reader: BatchReader) -> ListenerSnapshot:
    reader.look()
    return ListenerSnapshot(
        number, asdict(reader.counters), reader.sizes.copy(), reader.buffer_used, reader.buffer_size, reader.failing
    )


def _worker(lane: Lane) -> WorkerSnapshot:
    acks = AckCounters() if lane.acks is None else lane.acks.counters
    counters = {name: getattr(lane.counters, name) for name in COUNTERS} | asdict(lane.queue_counters)
    counters |= {f"acks_{name}": count for name, count in asdict(acks).items()}
    return WorkerSnapshot(lane.number, lane.running, counters, lane.backlog, lane.senders, lane.delays.copy())


def _modules(outputs: Sequence[RunningModule], now: float) -> Iterator[ModuleSnapshot]:
    for output in outputs:
        for worker, counters in enumerate(output.counters):
            called_at = counters.called_at
            yield ModuleSnapshot(
                name=output.name,
                worker=worker,
                takes_datagrams=output.takes_datagrams,
                messages=counters.messages,
                errors=counters.errors,
                batches=counters.batches,
                seconds=counters.seconds,
                busy_seconds=max(0.0, now - called_at) if called_at else 0.0,
                lost=output.lost(worker),
            )


def _due(worker: WorkerSnapshot, module: ModuleSnapshot) -> int:
    got = worker.counters
    return got["whole"] + got["reassembled"] + got["legacy"] if module.takes_datagrams else got["messages"]
