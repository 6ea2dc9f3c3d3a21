"""What came in, what became of it, what went out: plain counters.

Each counter has exactly one thread that adds to it (a worker's, or the reactor's); any thread may read, and sees a
value that it had, with and without Python's global lock. Two counters are read a moment apart; they are exact once the
workers are idle or stopped. What adds up then, :meth:`netconsd.monitor.snapshot.Snapshot.inconsistencies` checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields


class WorkerCounters:
    """What one worker counts. (The queue in front of it is counted by :class:`QueueCounters`.)"""

    __slots__ = (
        "datagrams",
        "dropped_duplicate",
        "dropped_empty",
        "dropped_error",
        "dropped_error_bytes",
        "dropped_over_rate",
        "dropped_superseded",
        "fragments",
        "incomplete",
        "late",
        "legacy",
        "lines",
        "lost",
        "malformed",
        "messages",
        "missing",
        "octets",
        "reassembled",
        "released_early",
        "replayed",
        "resets",
        "senders_evicted",
        "senders_expired",
        "senders_new",
        "whole",
    )

    def __init__(self) -> None:
        #: Datagrams that the worker took from its queue, and their bytes.
        self.datagrams = 0
        self.octets = 0

        # What became of each datagram; exactly one of these.
        #: An extended message in one piece.
        self.whole = 0
        #: A piece of an extended message that filled an open place.
        self.fragments = 0
        #: Legacy text.
        self.legacy = 0
        #: An exact repeat of something that is there already: dropped.
        self.dropped_duplicate = 0
        #: A datagram without a byte: dropped.
        self.dropped_empty = 0
        #: More than the rate that a sender may have: dropped.
        self.dropped_over_rate = 0

        #: Datagrams of a batch that was given up because of an exception, which the log has: not looked at to the end;
        #: and their bytes.
        self.dropped_error = 0
        self.dropped_error_bytes = 0

        # What the messages handed out came from; held messages are not counted yet.
        self.messages = 0
        #: Lines of legacy text.
        self.lines = 0
        #: Extended messages that were put together from fragments; those with holes are in ``incomplete``, too.
        self.reassembled = 0

        # What the messages say.
        #: Messages with holes, because fragments did not come in time.
        self.incomplete = 0
        #: Reassemblies given up because the same message had come complete by another way.
        self.dropped_superseded = 0
        #: Extended headers that contradict themselves; they are in ``legacy``, too.
        self.malformed = 0
        #: Messages that came after their place had been given up.
        self.late = 0
        #: Messages where a sender's counting started anew, each sender's first included.
        self.resets = 0
        #: Messages that the sender marked as sent before.
        self.replayed = 0
        #: Sequence numbers not seen: suppressed by the sender, or lost (and late ones are not subtracted).
        self.missing = 0
        #: Messages lost between sender and us by msgid (late ones are not subtracted).
        self.lost = 0
        #: Times that a bound on held bytes or messages, and not time, ended the wait.
        self.released_early = 0

        # The table of senders.
        self.senders_new = 0
        #: Forgotten after the time of ``--gc``.
        self.senders_expired = 0
        #: Forgotten because ``--max-sources`` was reached.
        self.senders_evicted = 0


@dataclass(slots=True)
class QueueCounters:
    """What the reactor's thread counts of the queue of one worker."""

    #: Datagrams put into the queue; those that found it full and were dropped, and their bytes.
    queued: int = 0
    dropped_queue_full: int = 0
    dropped_queue_full_bytes: int = 0


@dataclass(slots=True)
class AckCounters:
    """What one worker counts of the acknowledgements that it sends."""

    #: Acknowledgements sent; those that the system refused to send; those not tried because too many were under way.
    sent: int = 0
    failed: int = 0
    dropped: int = 0


@dataclass(slots=True)
class ListenerCounters:
    """What the reactor's thread counts of one listener."""

    #: Datagrams received, and their bytes: counted where they are read, before anything else becomes of them.
    datagrams: int = 0
    octets: int = 0
    #: Datagrams that the kernel dropped, as of the last look at it: the socket's receive buffer was full, or a checksum
    #: was wrong.
    dropped_by_kernel: int = 0
    #: Datagrams that filled the receive buffer to the last byte, so that more of them may have been cut off.
    truncated: int = 0
    #: Datagrams from an address that cannot be read; dropped.
    dropped_bad_address: int = 0
    #: Datagrams from an address that is not allowed; dropped.
    dropped_not_allowed: int = 0
    #: Datagrams that were read and then dropped because of an exception, which is in the log.
    dropped_read_error: int = 0
    #: Bytes of those refused, denied or discarded.
    dropped_bytes: int = 0
    #: Times that reading failed, with an error of the system or for want of memory.
    read_errors: int = 0


@dataclass(slots=True)
class ModuleCounters:
    """What one worker counts of one output module."""

    #: Messages handed to the module.
    messages: int = 0
    #: Calls that raised an exception.
    errors: int = 0
    #: Batches handed to the module, and the seconds that it took for them: from call to return, waiting included.
    batches: int = 0
    seconds: float = 0.0
    #: Monotonic time at which the module was given the batch that it has now; 0 if it has none.
    called_at: float = 0.0


@dataclass(slots=True, frozen=True)
class SenderCounters:
    """What is counted of one sender, since it was last new to its worker: the counters of :class:`WorkerCounters`."""

    address: str
    port: int
    datagrams: int
    octets: int
    messages: int
    whole: int
    fragments: int
    legacy: int
    dropped_duplicate: int
    dropped_empty: int
    dropped_over_rate: int
    lines: int
    reassembled: int
    missing: int
    lost: int
    late: int
    incomplete: int
    dropped_superseded: int
    malformed: int
    resets: int
    replayed: int
    released_early: int
    #: Monotonic time of its last datagram.
    last_seen: float


#: What is counted of a sender, and what senders can be ranked by.
SENDER_COUNTERS = tuple(
    field.name for field in fields(SenderCounters) if field.name not in ("address", "port", "last_seen")
)


#: What becomes of a datagram that a worker has looked at: one of these.
DATAGRAM_OUTCOMES = ("whole", "fragments", "legacy", "dropped_duplicate", "dropped_empty", "dropped_over_rate")
#: What a message was made of: one of these.
MESSAGE_KINDS = ("whole", "reassembled", "lines")
#: The names of the counters of a :class:`WorkerCounters`.
COUNTERS = WorkerCounters.__slots__


def total(counters: Iterable[WorkerCounters]) -> dict[str, int]:
    """The sums of many, by the names of the counters."""
    counters = list(counters)
    return {name: sum(getattr(counters, name) for counters in counters) for name in COUNTERS}


def inconsistencies(counters: Mapping[str, int]) -> list[str]:
    """What does not add up in the counters of a :class:`WorkerCounters`, once its streams hold nothing."""
    return sum_mismatch("datagrams", counters, DATAGRAM_OUTCOMES) + sum_mismatch("messages", counters, MESSAGE_KINDS)


def sum_mismatch(name: str, counters: Mapping[str, int], parts: Sequence[str]) -> list[str]:
    """A line that says so if a counter is not the sum of others."""
    others = sum(counters[part] for part in parts)
    return [] if counters[name] == others else [f"{name} {counters[name]} is not {' + '.join(parts)} {others}"]
