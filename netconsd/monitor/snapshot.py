"""All counters of a service at one time, as values, and a check of their sums.

A snapshot is taken in the reactor's thread while the workers count. The listeners' counters are exact. Each counter of
a worker is a value that it had, but two counters may be some messages apart; they are exact once the worker is idle or
stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic

from netconsd.interfaces import IExportsMetrics, ModuleMetric
from netconsd.monitor.crashes import CrashSnapshot
from netconsd.outputs.runner import RunningModule
from netconsd.protocol.counters import (
    ACK_COUNTERS,
    COUNTERS,
    CRASH_COUNTERS,
    QUEUE_COUNTERS,
    WORKER_COUNTERS,
    AckCounters,
    Counter,
    CrashCounters,
    inconsistencies,
    sum_mismatch,
)
from netconsd.receive.histogram import Histogram
from netconsd.receive.lanes import Lane
from netconsd.receive.reader import BatchReader
from netconsd.streams.copies import Summary

#: The counters of a :class:`WorkerSnapshot`: those of the worker, of its queue, of its acknowledgements, and of its
#: crash reports and events.
WORKER_ROWS = (
    *WORKER_COUNTERS,
    *QUEUE_COUNTERS,
    *(counter._replace(name=f"acks_{counter.name}") for counter in ACK_COUNTERS),
    *(counter._replace(name=f"crash_{counter.name}") for counter in CRASH_COUNTERS),
)
#: The counters of a :class:`ModuleSnapshot`.
MODULE_COUNTERS = (
    Counter("messages", "Messages handed to the module.", "module_messages"),
    Counter("batches", "Batches handed to the module.", "module_batches"),
    Counter("seconds", "Seconds from each call to its return, waiting included.", "module_seconds"),
    Counter("errors", "Calls that raised an exception.", "module_errors"),
    Counter(
        "dropped_queue_full",
        "Messages dropped because the queue of the module was full.",
        "module_dropped_queue_full_messages",
    ),
    Counter(
        "dropped_at_stop",
        "Messages that the module had in its queue or in hand when the stop gave it up.",
        "module_dropped_at_stop_messages",
    ),
    Counter("lost", "Messages that the module could not write or send, if it counts them.", "module_lost_messages"),
    Counter(
        "unknown_losses",
        "Failures that lost an unknown number of the module's messages.",
        "module_unknown_losses",
    ),
    Counter("reports", "Crash reports handed to the module.", "module_reports"),
    Counter("events", "Events handed to the module.", "module_events"),
    Counter(
        "dropped_findings",
        "Crash reports and events that the module did not get: its queue was full, or a stop gave it up.",
        "module_dropped_findings",
    ),
)


@dataclass(frozen=True, slots=True)
class ListenerSnapshot:
    """A listener."""

    number: int
    #: The counters of :class:`~netconsd.protocol.counters.ListenerCounters`, by name; None if unknown.
    counters: Mapping[str, int | None]
    #: Datagrams per read.
    sizes: Histogram
    #: Bytes of the receive buffer in use, and its size, as the kernel counts them: with its overhead. None if unknown.
    buffer_used: int | None
    buffer_size: int | None
    #: Whether the last read failed, or the socket cannot receive.
    failing: bool = False
    #: The reason why the socket cannot receive; empty if it can.
    problem: str = ""


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """A worker and its queue."""

    number: int
    #: Whether its thread runs.
    alive: bool
    #: The counters of :class:`~netconsd.protocol.counters.WorkerCounters` and
    #: :class:`~netconsd.protocol.counters.QueueCounters`, by name, and of
    #: :class:`~netconsd.protocol.counters.AckCounters` as ``acks_sent`` and so on, and of
    #: :class:`~netconsd.protocol.counters.CrashCounters` as ``crash_lines`` and so on.
    counters: dict[str, int]
    #: Places of the queue in use; a datagram uses one per KiB.
    places: int
    #: Senders in the table.
    senders: int
    #: Seconds from receipt to the call of the modules.
    delays: Histogram
    #: Incomplete messages and unfinished lines, counted when a stop gives the worker up.
    given_up: int = 0
    #: Senders with an open crash report.
    open_reports: int = 0

    @property
    def queued(self) -> int:
        """Datagrams in the queue that the worker has not processed."""
        return max(0, self.counters["queued"] - self.counters["datagrams"] - self.counters["dropped_error"])

    @property
    def held(self) -> int:
        """Messages held until the records before them arrive; approximate while the worker is busy."""
        decoded = self.counters["records"] + self.counters["reassembled"] + self.counters["lines"]
        return max(0, decoded - self.counters["messages"])

    @property
    def dropped_at_stop(self) -> int:
        """Queued datagrams, held messages and parts of messages of a worker that is alive after the stop.

        A module has not returned.
        """
        return self.queued + self.held + self.given_up if self.alive else 0

    @property
    def reports_at_stop(self) -> int:
        """Senders whose open crash report no module got, of a worker that is alive after the stop."""
        return self.open_reports if self.alive else 0

    def inconsistencies(self) -> Iterator[str]:
        """The sums that do not hold for a worker that has delivered everything, a line for each."""
        counters = self.counters | {"senders": self.senders}
        yield from inconsistencies(counters)
        yield from sum_mismatch("queued", counters, ("datagrams", "dropped_error"))
        yield from sum_mismatch("senders_new", counters, ("senders_expired", "senders_evicted", "senders"))
        if self.places:
            yield f"{self.places} places of its queue are in use"


@dataclass(frozen=True, slots=True)
class ModuleSnapshot:
    """The counters of one module in one worker (:data:`MODULE_COUNTERS`)."""

    name: str
    worker: int
    #: Whether it takes legacy text by the datagram.
    takes_datagrams: bool
    messages: int
    errors: int
    batches: int
    seconds: float
    #: Seconds spent in the current batch; 0 when idle.
    busy_seconds: float
    #: By the module's own count (:class:`netconsd.ICountsLosses`); None if that failed.
    lost: int | None = 0
    #: Failures that lost an unknown number of messages each (:class:`netconsd.ICountsUnknownLosses`); None as above.
    unknown_losses: int | None = 0
    dropped_queue_full: int = 0
    dropped_at_stop: int = 0
    #: Messages in the module's queue and in hand; approximate while it works.
    waiting: int = 0
    #: Seconds for which the module has had messages and made no progress, exact to the second; 0 without messages.
    silent_seconds: float = 0.0
    #: Whether it takes messages.
    takes_messages: bool = True
    #: Crash reports and events that it got, and those that it did not get.
    reports: int = 0
    events: int = 0
    dropped_findings: int = 0


@dataclass(frozen=True, slots=True)
class OwnSnapshot:
    """The numbers of a module's own (:class:`netconsd.interfaces.IExportsMetrics`)."""

    name: str
    metrics: tuple[ModuleMetric, ...] = ()
    #: The reasons for which the module does not work.
    faults: tuple[str, ...] = ()


#: The name of a processor's broker among the modules with numbers of their own.
BROKER = "process"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters of all listeners, workers and modules."""

    listeners: tuple[ListenerSnapshot, ...] = ()
    workers: tuple[WorkerSnapshot, ...] = ()
    modules: tuple[ModuleSnapshot, ...] = ()
    crashes: CrashSnapshot = field(default_factory=CrashSnapshot)
    #: Of the modules that have numbers of their own.
    own: tuple[OwnSnapshot, ...] = ()
    #: Of the receivers whose messages a processor merges; None in a receiver.
    copies: Summary | None = None

    @property
    def received(self) -> int:
        """Datagrams that the listeners received."""
        return sum(listener.counters["datagrams"] or 0 for listener in self.listeners)

    def total(self, name: str) -> int:
        """The sum of a counter that either listeners or workers have, as far as it is known."""
        counters: list[Mapping[str, int | None]] = [listener.counters for listener in self.listeners]
        counters += [worker.counters for worker in self.workers]
        return sum(part.get(name) or 0 for part in counters)

    def inconsistencies(self) -> list[str]:
        """The sums that do not hold, a line for each; none once everything was delivered, whatever happened before.

        Call it when no worker has anything to do. A worker that the stop did not end, because a module does not return,
        is left out.
        """
        parts = ("dropped_bad_address", "dropped_not_allowed", "dropped_read_error", "queued", "dropped_queue_full")
        received = {"received": self.received} | {part: self.total(part) for part in parts}
        lines = sum_mismatch("received", received, parts)
        idle = [worker for worker in self.workers if not self._is_busy(worker)]
        if len(idle) == len(self.workers):
            lines += self._byte_mismatch()
        for worker in idle:
            lines += [f"worker {worker.number}: {text}" for text in worker.inconsistencies()]
            for module in self._modules_of(worker):
                expected = worker.counters["messages"]
                if not module.takes_messages:
                    expected = 0
                elif module.takes_datagrams:
                    expected = sum(worker.counters[kind] for kind in ("records", "reassembled", "legacy", "taken"))
                # Whether a module has processed the messages of a call that did not return is not known.
                accounted = module.messages + module.dropped_queue_full
                if not module.dropped_at_stop and accounted != expected:
                    lines.append(
                        f"worker {worker.number}, module {module.name}: {module.messages} messages of {expected}"
                    )
        return lines

    def _modules_of(self, worker: WorkerSnapshot) -> list[ModuleSnapshot]:
        return [module for module in self.modules if module.worker == worker.number]

    def _is_busy(self, worker: WorkerSnapshot) -> bool:
        busy = any(module.busy_seconds or module.waiting for module in self._modules_of(worker))
        return worker.alive and bool(worker.places or busy)

    def _byte_mismatch(self) -> list[str]:
        dropped = ("dropped_bytes", "dropped_queue_full_bytes", "dropped_error_bytes")
        sizes = {part: self.total(part) for part in dropped}
        sizes["bytes received"] = sum(listener.counters["bytes"] or 0 for listener in self.listeners)
        sizes["bytes processed"] = sum(worker.counters["bytes"] for worker in self.workers)
        return sum_mismatch("bytes received", sizes, (*dropped, "bytes processed"))


def take(
    readers: Sequence[BatchReader],
    lanes: Sequence[Lane],
    outputs: Sequence[RunningModule],
    now: float | None = None,
    *,
    crashes: CrashSnapshot | None = None,
) -> Snapshot:
    """Read all counters, in the reactor's thread.

    :param now: monotonic seconds.
    """
    return Snapshot(
        tuple(_listener(number, reader) for number, reader in enumerate(readers)),
        tuple(_worker(lane) for lane in lanes),
        tuple(_modules(outputs, monotonic() if now is None else now)),
        crashes or CrashSnapshot(),
        tuple(
            OwnSnapshot(output.name, output.metrics(), output.faults())
            for output in outputs
            if IExportsMetrics.providedBy(output.module)
        ),
    )


def _listener(number: int, reader: BatchReader) -> ListenerSnapshot:
    reader.look()
    return ListenerSnapshot(
        number,
        asdict(reader.counters),
        reader.sizes.copy(),
        reader.buffer_used,
        reader.buffer_size,
        reader.failing or bool(reader.problem),
        reader.problem,
    )


def _worker(lane: Lane) -> WorkerSnapshot:
    acks = AckCounters() if lane.acks is None else lane.acks.counters
    counters = {name: getattr(lane.counters, name) for name in COUNTERS} | asdict(lane.queue_counters)
    counters |= {f"acks_{name}": count for name, count in asdict(acks).items()}
    found = CrashCounters() if lane.watch is None else lane.watch.counters
    counters |= {f"crash_{name}": count for name, count in asdict(found).items()}
    return WorkerSnapshot(
        lane.number,
        lane.running,
        counters,
        lane.backlog,
        lane.senders,
        lane.delays.copy(),
        lane.given_up,
        0 if lane.watch is None else lane.watch.open_reports,
    )


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
                unknown_losses=output.unknown_losses(worker),
                dropped_queue_full=counters.dropped_queue_full,
                dropped_at_stop=counters.dropped_at_stop,
                waiting=output.waiting(worker),
                silent_seconds=output.silent_seconds(worker, now),
                takes_messages=output.takes_messages,
                reports=counters.reports,
                events=counters.events,
                dropped_findings=counters.dropped_findings + counters.findings_at_stop,
            )
