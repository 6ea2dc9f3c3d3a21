"""What came in, what became of it, what went out: plain counters.

Each counter has exactly one thread that adds to it (a worker's, or the reactor's); any thread may read. A reader sees
counters that are a moment apart; they are exact once the workers are idle or stopped, and then, per worker:

    datagrams = whole + fragments + legacy + duplicates + empty
    messages  = whole + reassembled + lines
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass(slots=True)
class Tally:
    """What one worker counts. (The queue in front of it is counted by :class:`QueueTally`.)"""

    #: Datagrams that the worker took from its queue, and their bytes.
    datagrams: int = 0
    octets: int = 0

    # What became of each datagram; exactly one of these.
    #: An extended message in one piece.
    whole: int = 0
    #: A piece of an extended message that filled an open place.
    fragments: int = 0
    #: Legacy text.
    legacy: int = 0
    #: An exact repeat of something that is there already: dropped.
    duplicates: int = 0
    #: A datagram without a byte: dropped.
    empty: int = 0

    # What the messages handed out came from; held messages are not counted yet.
    messages: int = 0
    #: Lines of legacy text.
    lines: int = 0
    #: Extended messages that were put together from fragments; those with holes are in ``incomplete``, too.
    reassembled: int = 0

    # What the messages say.
    #: Messages with holes, because fragments did not come in time.
    incomplete: int = 0
    #: Reassemblies given up because the same message had come complete by another way.
    superseded: int = 0
    #: Extended headers that contradict themselves; they are in ``legacy``, too.
    malformed: int = 0
    #: Messages that came after their place had been given up.
    late: int = 0
    #: Messages where a sender's counting started anew, each sender's first included.
    resets: int = 0
    #: Messages that the sender marked as sent before.
    replayed: int = 0
    #: Sequence numbers not seen: suppressed by the sender, or lost (and late ones are not subtracted).
    missing: int = 0
    #: Messages lost between sender and us by msgid (late ones are not subtracted).
    lost: int = 0
    #: Times that a bound on held bytes or messages, and not time, ended the wait.
    crowded: int = 0

    # The table of senders.
    sources_made: int = 0
    #: Forgotten after the time of ``--gc``.
    sources_aged: int = 0
    #: Forgotten because ``--max-sources`` was reached.
    sources_evicted: int = 0


@dataclass(slots=True)
class QueueTally:
    """What the reactor's thread counts of the queue of one worker."""

    #: Datagrams put into the queue, and those that found it full and were dropped.
    queued: int = 0
    shed: int = 0


@dataclass(slots=True)
class ListenerTally:
    """What the reactor's thread counts of one listener."""

    #: Datagrams received, and their bytes.
    datagrams: int = 0
    octets: int = 0
    #: Datagrams that filled the receive buffer to the last byte, so that more of them may have been cut off.
    truncated: int = 0
    #: Datagrams from an address that cannot be read; dropped.
    refused: int = 0
    #: Reads that failed with an error of the system.
    read_errors: int = 0


@dataclass(slots=True)
class ModuleTally:
    """What one worker counts of one output module."""

    #: Messages handed to the module.
    messages: int = 0
    #: Calls that raised an exception.
    errors: int = 0


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum, counter by counter."""
    result = Tally()
    for tally in tallies:
        for field in fields(Tally):
            setattr(result, field.name, getattr(result, field.name) + getattr(tally, field.name))
    return result
