"""Counters: one table of their names and meanings, and one class for each thing that is counted.

A row of the table is read by the log's totals, the metrics, the figures of single senders and docs/counters. To add a
counter, add a row and the attribute of the class (for a worker also in the .pxd), and count. A counter ``per_sender``
is also an attribute of :class:`SenderCounters` and of the stream or its rare counters.

Each counter has exactly one thread that adds to it (a worker's, or the reactor's). Any thread may read it, and reads a
value that it had, with and without Python's global lock; :class:`WorkerCounters` alone are read from a copy that the
worker makes. Two counters are read a moment apart; they are exact once the workers are idle or stopped.
:meth:`netconsd.monitor.snapshot.Snapshot.inconsistencies` checks the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: The greatest value of a counter that wraps. Plain Python computes with it what C does by itself.
U64 = 2**64 - 1


class Counter(NamedTuple):
    """A row of the table."""

    #: The attribute's name.
    name: str
    #: A sentence for people; also the help text of the metric.
    help: str
    #: The metric, without ``netconsd_`` and ``_total``.
    metric: str
    #: Counted for each sender as well (:class:`SenderCounters`).
    per_sender: bool = False
    #: Logged at the end in a line of its own, if it is not 0.
    notable: bool = False


#: The counters of one listener, added to by the reactor's thread.
LISTENER_COUNTERS = (
    Counter("datagrams", "Datagrams received.", "received_datagrams"),
    Counter("bytes", "Bytes in the datagrams received.", "received_bytes"),
    Counter(
        "dropped_by_kernel",
        "Datagrams dropped by the kernel: the receive buffer was full, or a checksum was wrong.",
        "dropped_by_kernel_datagrams",
        notable=True,
    ),
    Counter(
        "truncated",
        "Datagrams that filled the slot of the read to the last byte, so that the rest may have been cut off.",
        "truncated_datagrams",
        notable=True,
    ),
    Counter(
        "dropped_bad_address",
        "Datagrams dropped because the sender's address cannot be read.",
        "dropped_bad_address_datagrams",
        notable=True,
    ),
    Counter(
        "dropped_not_allowed",
        "Datagrams dropped because the sender's address is not in --allow.",
        "dropped_not_allowed_datagrams",
        notable=True,
    ),
    Counter(
        "dropped_read_error",
        "Datagrams dropped after the read because of an exception, which is in the log.",
        "dropped_read_error_datagrams",
        notable=True,
    ),
    Counter("dropped_bytes", "Bytes in the datagrams that the listener dropped.", "dropped_bytes"),
    Counter("read_errors", "Failed reads of the socket; the reason is in the log.", "read_errors", notable=True),
)

#: The counters of the queue of one worker, added to by the reactor's thread.
QUEUE_COUNTERS = (
    Counter("queued", "Datagrams put into the queue of a worker.", "queued_datagrams"),
    Counter(
        "dropped_queue_full",
        "Datagrams dropped because the queue of the worker was full.",
        "dropped_queue_full_datagrams",
        notable=True,
    ),
    Counter(
        "dropped_queue_full_bytes",
        "Bytes in the datagrams dropped because the queue was full.",
        "dropped_queue_full_bytes",
    ),
)

#: The counters of one worker.
WORKER_COUNTERS = (
    Counter("datagrams", "Datagrams that a worker took from its queue.", "worker_datagrams", per_sender=True),
    Counter("bytes", "Bytes in the datagrams that a worker took from its queue.", "worker_bytes", per_sender=True),
    # The outcome of a datagram: exactly one of these (DATAGRAM_OUTCOMES).
    Counter("whole", "Datagrams of extended records in one piece, usually one record.", "whole_datagrams"),
    Counter(
        "continued",
        "Datagrams that continued the record with which the datagram before ended.",
        "continued_datagrams",
    ),
    Counter("fragments", "Datagrams that were a new part of an extended message.", "fragment_datagrams"),
    Counter("legacy", "Datagrams of legacy text.", "legacy_datagrams"),
    Counter(
        "dropped_duplicate",
        "Datagrams dropped because the record or fragment was received before.",
        "dropped_duplicate_datagrams",
        per_sender=True,
        notable=True,
    ),
    Counter("dropped_empty", "Empty datagrams dropped.", "dropped_empty_datagrams", notable=True),
    Counter(
        "dropped_over_rate",
        "Datagrams dropped because the sender sent more than --rate allows.",
        "dropped_over_rate_datagrams",
        per_sender=True,
        notable=True,
    ),
    Counter(
        "accepted_over_rate",
        "Datagrams over --rate that were accepted because the sender seems to crash.",
        "accepted_over_rate_datagrams",
    ),
    # Not counted in `datagrams`.
    Counter(
        "dropped_error",
        "Datagrams dropped because of an exception, which is in the log.",
        "dropped_error_datagrams",
        notable=True,
    ),
    Counter("dropped_error_bytes", "Bytes in the datagrams dropped because of an exception.", "dropped_error_bytes"),
    # The kind of a message: exactly one of `records`, `reassembled`, `lines` and `taken` (MESSAGE_KINDS).
    Counter("messages", "Messages delivered to the modules.", "messages", per_sender=True),
    Counter("records", "Messages that were an extended record without fragments.", "records"),
    Counter("lines", "Messages that were a line of legacy text.", "legacy_lines"),
    Counter("reassembled", "Messages put together from fragments.", "reassembled_messages"),
    Counter("taken", "Messages that another netconsd had decoded: taken out of a broker.", "taken_messages"),
    Counter(
        "incomplete",
        "Messages delivered with holes, because fragments did not arrive in time.",
        "incomplete_messages",
        per_sender=True,
        notable=True,
    ),
    Counter(
        "dropped_superseded",
        "Incomplete messages dropped because the same record arrived complete.",
        "dropped_superseded_messages",
        notable=True,
    ),
    Counter(
        "dropped_records",
        "Records dropped because they were received before, from datagrams with further content.",
        "dropped_duplicate_records",
        notable=True,
    ),
    Counter(
        "stray_lines",
        "Lines after the text of an extended message that are neither a record nor key=value; they are in the text.",
        "stray_lines",
        notable=True,
    ),
    Counter(
        "malformed",
        "Extended headers with a contradiction; the datagram was read as legacy text.",
        "malformed_headers",
        notable=True,
    ),
    Counter(
        "late",
        "Messages delivered out of order, after the time of --reorder.",
        "late_messages",
        per_sender=True,
        notable=True,
    ),
    Counter(
        "resets",
        "Messages with which the numbering of a sender started again: its first one, a boot, or a buffer sent again.",
        "sender_resets",
        per_sender=True,
    ),
    Counter("boots", "Reboots of senders.", "sender_boots", per_sender=True),
    Counter("replays", "Buffers that a sender sent again.", "sender_replays", per_sender=True),
    Counter(
        "replayed",
        "Messages of a buffer that was sent again, or that the sender marked as sent before.",
        "replayed_messages",
        notable=True,
    ),
    Counter(
        "missing",
        "Sequence numbers not seen: suppressed by the sender, or lost.",
        "missing_messages",
        per_sender=True,
        notable=True,
    ),
    Counter(
        "likely_lost",
        "Sequence numbers not seen of senders without msgid that usually have no gaps: probably lost.",
        "likely_lost_messages",
        per_sender=True,
        notable=True,
    ),
    Counter(
        "lost",
        "Messages lost between the sender and netconsd, by msgid.",
        "lost_messages",
        per_sender=True,
        notable=True,
    ),
    Counter(
        "released_early",
        "Held messages delivered early because a bound on held messages was reached.",
        "released_early_messages",
        notable=True,
    ),
    Counter("senders_new", "Senders added to the table.", "senders_new"),
    Counter("senders_limited", "Times that a sender began to exceed --rate.", "senders_limited"),
    Counter("senders_expired", "Senders forgotten after the time of --gc.", "senders_expired", notable=True),
    Counter("senders_evicted", "Senders forgotten because --max-sources was reached.", "senders_evicted", notable=True),
)

#: The counters of one worker's acknowledgements; in snapshots the names begin with ``acks_``.
ACK_COUNTERS = (
    Counter("sent", "Acknowledgements sent.", "acks_sent", notable=True),
    Counter("failed", "Acknowledgements that the system refused to send.", "acks_failed", notable=True),
    Counter(
        "dropped",
        "Acknowledgements dropped: too many were due, or the address had sent too few bytes.",
        "acks_dropped",
        notable=True,
    ),
)

#: The counters of one worker's crash reports and events; in snapshots the names begin with ``crash_``.
CRASH_COUNTERS = (
    Counter(
        "lines", "Messages read for crash reports: those of open reports, and those that can begin one.", "crash_lines"
    ),
    Counter(
        "skipped",
        "Messages not read for crash reports or events, because their sender or worker had too many at once.",
        "crash_skipped_messages",
        notable=True,
    ),
    Counter("reports", "Crash reports finished.", "crash_finished_reports"),
    Counter(
        "abandoned",
        "Crash reports closed early as incomplete, because a bound on open reports was reached.",
        "crash_abandoned_reports",
        notable=True,
    ),
    Counter("repeats", "Crashes that came again in the same boot, and are no report of their own.", "crash_repeats"),
    Counter("events", "Events of machines found.", "crash_events"),
    Counter(
        "withheld",
        "Events not passed on, because their sender, or all new senders together, had too many.",
        "crash_withheld_events",
        notable=True,
    ),
    Counter(
        "forgotten",
        "Senders whose past or usual silence was forgotten because a bound was reached; events lack it then.",
        "crash_forgotten_senders",
        notable=True,
    ),
    Counter(
        "errors",
        "Exceptions while crashes or events were looked for, which are a defect; the first one is in the log.",
        "crash_errors",
        notable=True,
    ),
)

#: The counters of one receiver whose messages a processor takes out of a broker
#: (:class:`netconsd.streams.copies.Heard`).
RECEIVER_COUNTERS = (
    Counter("messages", "Messages of the receiver, second copies included.", "receiver_messages"),
    Counter("copies", "Messages dropped because another receiver had the same.", "receiver_copies"),
    Counter(
        "missed",
        "Messages that another receiver had, and this one not within one to two minutes.",
        "receiver_missed_messages",
    ),
    Counter("late", "Missed messages that came after that.", "receiver_late_messages"),
    Counter(
        "completed",
        "Whole messages that came after an incomplete one of another receiver was handed on, so that there are two.",
        "receiver_completed_messages",
    ),
)

#: The names of the counters of a :class:`WorkerCounters`.
COUNTERS = tuple(counter.name for counter in WORKER_COUNTERS)
#: The names of the counters of a single sender, by which senders can be ranked.
SENDER_COUNTERS = tuple(counter.name for counter in WORKER_COUNTERS if counter.per_sender)
#: The outcomes of a datagram that a worker processed; each datagram is counted in one.
DATAGRAM_OUTCOMES = (
    *("whole", "continued", "fragments", "legacy"),
    *("dropped_duplicate", "dropped_empty", "dropped_over_rate"),
)
#: The kinds of messages; each message is counted in one.
MESSAGE_KINDS = ("records", "reassembled", "lines", "taken")


class WorkerCounters:
    """The counters of one worker, in the order of :data:`WORKER_COUNTERS`, all 0.

    For one thread. Others read a :meth:`copy` that this thread has made, because compiled attributes are C variables
    that nothing protects if there is no GIL.

    ``missing``, ``likely_lost`` and ``lost`` wrap at 2^64 (:data:`U64`): one forged record can add 2^64 - 1 to them.
    The others count datagrams, bytes or lines, and take years to reach 2^63.
    """

    __slots__ = (*COUNTERS, "unfinished")

    def __init__(self) -> None:
        self.datagrams = 0
        self.bytes = 0
        self.whole = 0
        self.continued = 0
        self.fragments = 0
        self.legacy = 0
        self.dropped_duplicate = 0
        self.dropped_empty = 0
        self.dropped_over_rate = 0
        self.accepted_over_rate = 0
        self.dropped_error = 0
        self.dropped_error_bytes = 0
        self.messages = 0
        self.records = 0
        self.lines = 0
        self.reassembled = 0
        self.taken = 0
        self.incomplete = 0
        self.dropped_superseded = 0
        self.dropped_records = 0
        self.stray_lines = 0
        self.malformed = 0
        self.late = 0
        self.resets = 0
        self.boots = 0
        self.replays = 0
        self.replayed = 0
        self.missing = 0
        self.likely_lost = 0
        self.lost = 0
        self.released_early = 0
        self.senders_new = 0
        self.senders_limited = 0
        self.senders_expired = 0
        self.senders_evicted = 0
        #: No counter: the messages of which a part has arrived, in reassembly, or as a line without its end.
        self.unfinished = 0

    def copy(self) -> WorkerCounters:
        """Return counters with the present values, which do not change."""
        other = WorkerCounters.__new__(WorkerCounters)
        other.datagrams = self.datagrams
        other.bytes = self.bytes
        other.whole = self.whole
        other.continued = self.continued
        other.fragments = self.fragments
        other.legacy = self.legacy
        other.dropped_duplicate = self.dropped_duplicate
        other.dropped_empty = self.dropped_empty
        other.dropped_over_rate = self.dropped_over_rate
        other.accepted_over_rate = self.accepted_over_rate
        other.dropped_error = self.dropped_error
        other.dropped_error_bytes = self.dropped_error_bytes
        other.messages = self.messages
        other.records = self.records
        other.lines = self.lines
        other.taken = self.taken
        other.reassembled = self.reassembled
        other.incomplete = self.incomplete
        other.dropped_superseded = self.dropped_superseded
        other.dropped_records = self.dropped_records
        other.stray_lines = self.stray_lines
        other.malformed = self.malformed
        other.late = self.late
        other.resets = self.resets
        other.boots = self.boots
        other.replays = self.replays
        other.replayed = self.replayed
        other.missing = self.missing
        other.likely_lost = self.likely_lost
        other.lost = self.lost
        other.released_early = self.released_early
        other.senders_new = self.senders_new
        other.senders_limited = self.senders_limited
        other.senders_expired = self.senders_expired
        other.senders_evicted = self.senders_evicted
        other.unfinished = self.unfinished
        return other


@dataclass(slots=True)
class QueueCounters:
    """The counters of :data:`QUEUE_COUNTERS`."""

    queued: int = 0
    dropped_queue_full: int = 0
    dropped_queue_full_bytes: int = 0


@dataclass(slots=True)
class AckCounters:
    """The counters of :data:`ACK_COUNTERS`."""

    sent: int = 0
    failed: int = 0
    dropped: int = 0


@dataclass(slots=True)
class CrashCounters:
    """The counters of :data:`CRASH_COUNTERS`."""

    lines: int = 0
    skipped: int = 0
    reports: int = 0
    abandoned: int = 0
    repeats: int = 0
    events: int = 0
    withheld: int = 0
    forgotten: int = 0
    errors: int = 0


@dataclass(slots=True)
class ListenerCounters:
    """The counters of :data:`LISTENER_COUNTERS`."""

    datagrams: int = 0
    bytes: int = 0
    #: None if the system does not say.
    dropped_by_kernel: int | None = 0
    truncated: int = 0
    dropped_bad_address: int = 0
    dropped_not_allowed: int = 0
    dropped_read_error: int = 0
    dropped_bytes: int = 0
    read_errors: int = 0


@dataclass(slots=True)
class ModuleCounters:
    """The counters of one output module in one worker."""

    #: Messages handed to the module.
    messages: int = 0
    #: Calls that raised an exception.
    errors: int = 0
    #: Batches handed to the module, and the seconds from call to return, waiting included.
    batches: int = 0
    seconds: float = 0.0
    #: Monotonic time of the call that the module is in; 0 if it is in none.
    called_at: float = 0.0
    #: Messages put into the module's queue, and dropped because that was full; added to by the worker's thread. A
    #: single module has no queue.
    queued: int = 0
    dropped_queue_full: int = 0
    #: Messages in its queue and in hand when the stop gave it up; written by the reactor's thread.
    dropped_at_stop: int = 0
    #: Crash reports and events handed to the module.
    reports: int = 0
    events: int = 0
    #: Reports and events put into the module's queue, and dropped because that was full; added to by the worker's
    #: thread.
    queued_findings: int = 0
    dropped_findings: int = 0
    #: Reports and events in its queue and in hand when the stop gave it up; written by the reactor's thread.
    findings_at_stop: int = 0


@dataclass(slots=True, frozen=True)
class SenderCounters:
    """The counters of one sender since the worker added it to its table: those with ``per_sender``."""

    address: str
    port: int
    datagrams: int
    bytes: int
    dropped_duplicate: int
    dropped_over_rate: int
    messages: int
    incomplete: int
    late: int
    resets: int
    boots: int
    replays: int
    missing: int
    likely_lost: int
    lost: int
    #: Monotonic time of its last datagram.
    last_seen: float
    #: Its name (:class:`netconsd.names.Names`); empty if none is known.
    name: str = ""


def total(counters: Iterable[WorkerCounters]) -> dict[str, int]:
    """The sums over several workers, by the names of the counters."""
    counters = list(counters)
    return {name: sum(getattr(worker, name) for worker in counters) for name in COUNTERS}


def inconsistencies(counters: Mapping[str, int]) -> list[str]:
    """One line for each sum of a :class:`WorkerCounters` that does not hold; to be called when nothing is held."""
    return sum_mismatch("datagrams", counters, DATAGRAM_OUTCOMES) + sum_mismatch("messages", counters, MESSAGE_KINDS)


def sum_mismatch(name: str, counters: Mapping[str, int], parts: Sequence[str]) -> list[str]:
    """One line if a counter is not the sum of its parts, else none."""
    expected = sum(counters[part] for part in parts)
    return [] if counters[name] == expected else [f"{name} {counters[name]} is not {' + '.join(parts)} {expected}"]
