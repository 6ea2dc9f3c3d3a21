"""Watches all messages of one worker for crashes and for events of machines' lives. Hot: sees every message.

An ordinary message costs the prefilter's look at its bytes, and a place in the ring. Only a message that the prefilter
finds, that has a mark, or whose sender has an open report is given to that sender's recogniser, or to the life of the
worker's machines.

**Work is bounded, not only memory.** A line costs a recogniser ten times as much as a message costs otherwise, and a
stranger can send first lines of crashes at full speed, with any sender's address. Each sender and each worker
therefore has an allowance of lines (:data:`LINES_PER_SECOND` and so on). Lines beyond it are delivered as all messages
are, and not recognised; ``crash_skipped`` counts them. A new report needs half of the worker's allowance, so that the
reports that are open have the other half.

**Errors stay here.** An exception of a recogniser, which would be a bug, is counted and costs no message: its sender
starts again with a new recogniser.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from netconsd.crash.prefilter import Prefilter
from netconsd.crash.report import Report
from netconsd.protocol import memory
from netconsd.protocol.counters import CrashCounters
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, Message, Source

NEVER = float("inf")

# The messages of all senders of a worker that are remembered for `Report.before`: the last minute of a hundred senders
# with a message a second each. They take 4 MB.
RING_MESSAGES = 8192
# The places from the one that is filled to the one whose message is asked for: it is in the cache when it is forgotten.
# Its bytes follow at half of that.
_AHEAD = 12
# Their bytes: messages can have 128 KiB each.
RING_BYTES = 8 * 1024 * 1024
# The messages before a report (Report.before), and the seconds in which they arrived.
BEFORE_MESSAGES = 50
BEFORE_SECONDS = 60.0

# The senders whose recognisers are remembered, so that a crash that comes again in the same boot is a repeat. The one
# unused longest is forgotten. Anyone can send first lines of crashes with any number of addresses.
SENDERS_LIMIT = 4096
# Senders with an open report, the lines of these reports, and their bytes with those of the messages before. Beyond,
# the oldest are closed as incomplete. A power failure can crash a fleet at once: 1024 crashes of 64 lines.
OPEN_SENDERS_LIMIT = 1024
OPEN_LINES_LIMIT = 65_536
OPEN_BYTES_LIMIT = 32 * 1024 * 1024

# Lines of a worker that recognisers get each second in the long run, and seconds of them at once: 65,536 lines are 300
# crashes of 200 lines. At 10 us a line, a flood of forged crashes costs 4 % of a processor.
LINES_PER_SECOND = 4000.0
BURST_SECONDS = 16.384
# The same for one sender: 4096 lines at once, as many as the backtraces of 100 processors, and 6.8 a second
# (CRASH_DATAGRAMS of netconsd.protocol.table).
SENDER_LINES_PER_SECOND = 4096.0 / 600.0
SENDER_BURST_SECONDS = 600.0
# After a sender has used up its allowance, its lines are skipped for this time. Without it, each line of the allowance
# would begin and end a report of its own.
SKIP_SECONDS = 30.0
# The messages before a report are searched in the ring when it begins, which costs as much as some lines.
BEGIN_LINES = 16.0
# Marked messages that the life of the machines gets each second in the long run, and seconds of them at once: a flood
# of forged senders has a mark on each message. 8192 at once take 40 ms.
EVENTS_PER_SECOND = 2000.0
EVENTS_BURST_SECONDS = 4.096

# The longest time in seconds that a report is open without a further line. A recogniser says less; this bounds what a
# defect of one can cost.
WAIT_SECONDS = 600.0
# Seconds between two looks for expired reports at least: a look visits all open reports.
LOOK_SECONDS = 0.1
# Seconds between two looks at what waits for further messages (START_SECONDS of netconsd.crash.life).
SWEEP_SECONDS = 2.0
# Seconds between two looks for silence at the senders that were heard in the meantime: 0.7 us for each.
SILENCE_SECONDS = 30.0
# As --max-sources by default.
LIFE_SENDERS_LIMIT = 200_000
# A gap of fewer records is no event (netconsd.crash.life has the same number).
GAP_RECORDS = 16

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(
    NEVER=NEVER,
    BEGIN_LINES=BEGIN_LINES,
    RING_MESSAGES=RING_MESSAGES,
    RING_BYTES=RING_BYTES,
    BEFORE_MESSAGES=BEFORE_MESSAGES,
    BEFORE_SECONDS=BEFORE_SECONDS,
    SENDERS_LIMIT=SENDERS_LIMIT,
    OPEN_SENDERS_LIMIT=OPEN_SENDERS_LIMIT,
    OPEN_LINES_LIMIT=OPEN_LINES_LIMIT,
    OPEN_BYTES_LIMIT=OPEN_BYTES_LIMIT,
    LINES_PER_SECOND=LINES_PER_SECOND,
    BURST_SECONDS=BURST_SECONDS,
    SENDER_LINES_PER_SECOND=SENDER_LINES_PER_SECOND,
    SENDER_BURST_SECONDS=SENDER_BURST_SECONDS,
    EVENTS_PER_SECOND=EVENTS_PER_SECOND,
    EVENTS_BURST_SECONDS=EVENTS_BURST_SECONDS,
    WAIT_SECONDS=WAIT_SECONDS,
    SKIP_SECONDS=SKIP_SECONDS,
    LOOK_SECONDS=LOOK_SECONDS,
    SWEEP_SECONDS=SWEEP_SECONDS,
    SILENCE_SECONDS=SILENCE_SECONDS,
    GAP_RECORDS=GAP_RECORDS,
)

#: Returns the senders heard since a monotonic time, each with that of its last datagram and the number of its messages.
Heard = Callable[[float], Iterable[tuple[Source, float, int]]]


def watches(
    reports: bool, events: bool, failed: Callable[[], object], senders: int = LIFE_SENDERS_LIMIT
) -> Callable[[], Watch]:
    """Return a function that makes the watch of a worker.

    :param reports: whether crash reports are wanted; ``events`` likewise.
    :param failed: called in the handler of an exception, the first time only for each watch.
    :param senders: the greatest number of senders of a worker whose events are found with their reasons.
    """
    # Imported here: compiling the rules takes time, which nobody spends who wants neither.
    from netconsd.crash import life, rules
    from netconsd.crash.recogniser import Recogniser

    prefilter = Prefilter([*(rules.LITERALS if reports else ()), *(life.LITERALS if events else ())])
    return lambda: Watch(
        prefilter,
        Recogniser if reports else None,
        life.Life(limit=senders) if events else None,
        CrashCounters(),
        failed,
    )


class Sender:
    """The recogniser of one sender, and what it uses of the bounds."""

    def __init__(self, source: Source, recogniser: Any) -> None:
        self.source = source
        self.key = source.key
        self.recogniser = recogniser
        # Of its open reports.
        self.lines = 0
        self.bytes = 0
        self.deadline = NEVER
        # Theoretical arrival time of the next line (GCRA, as SourceTable._is_over_rate), and the end of a skip.
        self.arrival = 0.0
        self.skipped_until = 0.0
        # The recogniser's counts at the last look.
        self.repeats = 0
        self.abandoned = 0
        self.refused = 0


class Watch:
    """Finds the crash reports and events in the messages of one worker, in its thread.

    Nothing raises. The methods return what was found, in order: :class:`~netconsd.crash.report.Report` and
    :class:`~netconsd.crash.event.Event` objects, which belong behind the messages of the call.
    """

    def __init__(
        self,
        prefilter: Prefilter,
        recogniser: Callable[[Source], Any] | None,
        life: Any | None,
        counters: CrashCounters,
        failed: Callable[[], object],
    ) -> None:
        """
        :param recogniser: makes the recogniser of a sender; None if nobody wants reports.
        :param life: finds the events; None if nobody wants them.
        :param failed: called in the handler of an exception, the first time only.
        """
        self._prefilter = prefilter
        self._make = recogniser
        self._life = life
        self.counters = counters
        self._failed = failed
        self._has_failed = False
        self._recognises = recogniser is not None
        # The last messages and their senders, in order from `_next` on; None before the ring is full. Two lists, so
        # that a search touches the messages of one sender only.
        self._ring: list[Message | None] = [None] * RING_MESSAGES if recogniser is not None else []
        self._ring_sources: list[Source | None] = list(self._ring)  # type: ignore[arg-type]
        self._next = 0
        self._first = 0
        self._ring_bytes = 0
        # The message in hand, for `before`.
        self._current: Message | None = None
        # True if `skipped` has counted the message in hand: both allowances can be used up.
        self._is_skipped = False
        # By Source.key, in the order of use.
        self._senders: OrderedDict[bytes, Sender] = OrderedDict()
        # Those of them with an open report, in the order of its begin.
        self._open: dict[bytes, Sender] = {}
        self._open_lines = 0
        self._open_bytes = 0
        self._arrival = 0.0
        self._life_arrival = 0.0
        # The earliest deadline of an open report, or earlier.
        self._deadline = NEVER
        # The next call of the life's sweep; NEVER before the first message. The last look for silence.
        self._next_sweep = NEVER
        self._silence_at = -NEVER
        # A batch can be read later than the time of the mark behind it, and recognisers take times in order.
        self._now = 0.0

    @property
    def open_reports(self) -> int:
        """Senders that have an open report; any thread."""
        return len(self._open)

    def look(self, messages: list[Message], now: float) -> list[Any]:
        """Look at messages that are about to be delivered. Most calls return an empty list.

        :param messages: in order per sender; not changed, and not kept as a list.
        :param now: the monotonic time at which they were received.
        """
        found: list[Any] = []
        try:
            self._now = max(self._now, now)
            self._look(messages, self._now, found)
        except Exception:
            self._fail()
        return found

    def advance(self, now: float, received_at: float, heard: Heard) -> list[Any]:
        """Close the reports whose time is over; look for silent senders if that is due.

        :param now: everything received before this monotonic time was looked at.
        :param received_at: the Unix time of ``now``.
        """
        found: list[Any] = []
        try:
            if now >= self._deadline:
                # First, so that an error makes no lane try again at once.
                self._deadline = now + LOOK_SECONDS
                self._now = max(self._now, now)
                self._expire(self._now, found)
            if now >= self._next_sweep:
                self._next_sweep = now + SWEEP_SECONDS
                self._sweep(now, received_at, heard, found)
        except Exception:
            self._fail()
        return found

    def next_deadline(self) -> float:
        """The latest monotonic time for the next call of :meth:`advance`; infinity if none is needed."""
        return min(self._deadline, self._next_sweep)

    def finish(self, now: float) -> list[Any]:
        """Close all open reports: the end of the input."""
        found: list[Any] = []
        for sender in list(self._open.values()):
            try:
                self._found(sender.recogniser.finish(), now, found)
            except Exception:
                self._fail()
            self._close(sender)
        self._deadline = self._next_sweep = NEVER
        if self._life is not None:
            try:
                self._add_events(self._life.finish(now), found)
            except Exception:
                self._fail()
            self._count_life()
        return found

    def abandon(self, whose: Callable[[Source], bool], why: str) -> list[Any]:
        """Close the open reports of some senders, as incomplete: another process continues with them.

        :param whose: whether a sender is one of them.
        :param why: the reason in words, for :attr:`netconsd.crash.report.Report.incomplete`.
        """
        found: list[Any] = []
        try:
            for sender in [sender for sender in self._senders.values() if whose(sender.source)]:
                if sender.key in self._open:
                    self._abandon(sender, why, self._now, found)
                # It knows what the machine has said so far, which another process continues.
                self._forget(sender)
        except Exception:
            self._fail()
        return found

    def _look(self, messages: list[Message], now: float, found: list[Any]) -> None:
        prefilter = self._prefilter
        if self._life is not None and self._next_sweep == NEVER:
            self._next_sweep = now + SWEEP_SECONDS
        for message in messages:
            raw = message._raw
            size = len(raw)
            hit = prefilter.find(raw, 0, size) >= 0
            self._is_skipped = False
            if self._recognises:
                if (hit or self._open or message._boot or message._new) and not self._recognise(
                    message, hit, now, found
                ):
                    # A sender that sends crashes without end leaves the allowance of events to others.
                    hit = False
                if type(message) is not LegacyDatagram:
                    self._remember(message, size)
            if self._life is not None and (hit or message._new or message._boot or _is_marked(message)):
                self._tell(message, now, found)

    def _remember(self, message: Message, size: int) -> None:
        """Put a message into the ring, in the place of the oldest ones."""
        index = self._next
        memory.fetch(self._ring, index + _AHEAD, index + _AHEAD // 2)
        oldest = self._ring[index]
        if oldest is not None:
            self._ring_bytes -= len(oldest._raw)
            self._first = index + 1 if index + 1 < RING_MESSAGES else 0
        self._ring[index] = message
        self._ring_sources[index] = message._source
        self._ring_bytes += size
        self._next = index + 1 if index + 1 < RING_MESSAGES else 0
        if self._ring_bytes > RING_BYTES:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        while self._ring_bytes > RING_BYTES:
            oldest = self._ring[self._first]
            if oldest is not None:
                self._ring_bytes -= len(oldest._raw)
            self._ring[self._first] = self._ring_sources[self._first] = None
            self._first = self._first + 1 if self._first + 1 < RING_MESSAGES else 0

    def _before(self) -> Sequence[Message]:
        """The last messages of the sender of the message in hand, for a report that begins with it."""
        self._arrival += (BEGIN_LINES - 1.0) / LINES_PER_SECOND
        current = self._current
        if current is None:
            return ()
        source = current._source
        earliest = current._received_at - BEFORE_SECONDS
        before: list[Message] = []
        index = self._next
        for _ in range(RING_MESSAGES):
            index = index - 1 if index else RING_MESSAGES - 1
            # A table has one object for each sender.
            if self._ring_sources[index] is not source:
                if self._ring_sources[index] is None:
                    break
                continue
            message = self._ring[index]
            if message is None or message._received_at < earliest:
                break
            before.append(message)
            if len(before) == BEFORE_MESSAGES:
                break
        before.reverse()
        return tuple(before)

    def _recognise(self, message: Message, hit: bool, now: float, found: list[Any]) -> bool:
        """Give a message to the recogniser of its sender, if that needs it; False if an allowance is used up."""
        if type(message) is LegacyDatagram:
            return True
        source = message._source
        sender = self._open.get(source._key)
        if sender is None:
            # A new recogniser has nothing that ends with the first message of a forgotten sender.
            if not (hit or message._boot or message._new):
                return True
            sender = self._senders.get(source._key)
            if sender is None and not (hit or message._boot):
                return True
        if not self._is_allowed(sender, message._boot, now):
            self.counters.skipped += 1
            self._is_skipped = True
            if sender is not None and sender.key in self._open:
                self._abandon(sender, "the sender sent more lines than netconsd reads at once", now, found)
            return False
        if sender is None:
            sender = self._add(source)
        self._feed(sender, message, now, found)
        return True

    def _is_allowed(self, sender: Sender | None, boot: bool, now: float) -> bool:
        """Charge a line to the allowances of the sender and the worker; False without a charge if one is used up.

        A boot ends what is open, and the memory of repeats: the sender's allowance is not asked.
        """
        arrival = max(self._arrival, now) + 1.0 / LINES_PER_SECOND
        begins = sender is None or sender.deadline == NEVER
        if arrival - now > (BURST_SECONDS / 2.0 if begins else BURST_SECONDS):
            return False
        if sender is not None and not boot:
            if now < sender.skipped_until:
                return False
            own = max(sender.arrival, now) + 1.0 / SENDER_LINES_PER_SECOND
            if own - now > SENDER_BURST_SECONDS:
                sender.skipped_until = now + SKIP_SECONDS
                return False
            sender.arrival = own
        self._arrival = arrival
        return True

    def _add(self, source: Source) -> Sender:
        assert self._make is not None, "called only where reports are wanted"
        while len(self._senders) >= SENDERS_LIMIT:
            key, oldest = self._senders.popitem(last=False)
            # A flood of first lines ends no open report. There are fewer open ones than remembered ones.
            if key in self._open:
                self._senders[key] = oldest
        sender = Sender(source, self._make(source))
        self._senders[sender.key] = sender
        return sender

    def _feed(self, sender: Sender, message: Message, now: float, found: list[Any]) -> None:
        recogniser = sender.recogniser
        self.counters.lines += 1
        self._current = message
        try:
            reports = recogniser.take(message, now, self._before)
            if reports:
                self._found(reports, now, found)
            is_open = recogniser.is_open
            lines, size = recogniser.open_lines, recogniser.open_bytes
            deadline = recogniser.deadline
            repeats = recogniser.repeats
            self._count(sender)
        except Exception:
            self._fail()
            self._forget(sender)
            return
        finally:
            self._current = None
        if repeats != sender.repeats:
            self.counters.repeats += repeats - sender.repeats
            sender.repeats = repeats
            self._tell_repeats(sender, message, now, found)
        if not is_open:
            # The recogniser refuses further reports until then.
            sender.skipped_until = recogniser.refused_until
            if sender.lines or sender.deadline != NEVER:
                self._close(sender)
            return
        if sender.key not in self._open:
            self._open[sender.key] = sender
            self._senders.move_to_end(sender.key)
        self._charge(sender, lines, size)
        sender.deadline = now + WAIT_SECONDS if deadline is None else min(deadline, now + WAIT_SECONDS)
        if sender.deadline < self._deadline:
            self._deadline = sender.deadline
        while (
            self._open_lines > OPEN_LINES_LIMIT
            or self._open_bytes > OPEN_BYTES_LIMIT
            or len(self._open) > OPEN_SENDERS_LIMIT
        ):
            self._abandon(next(iter(self._open.values())), "netconsd had too many open reports at once", now, found)

    def _charge(self, sender: Sender, lines: int, size: int) -> None:
        """Note what a sender uses of the bounds."""
        self._open_lines += lines - sender.lines
        self._open_bytes += size - sender.bytes
        sender.lines = lines
        sender.bytes = size

    def _found(self, reports: Sequence[Report], now: float, found: list[Any]) -> None:
        for report in reports:
            found.append(report)
            self.counters.reports += 1
            if self._life is not None:
                self._add_events(self._life.reported(report, now), found)

    def _count(self, sender: Sender) -> None:
        """Add what a recogniser has counted since the last call; an early end and a refusal are rare."""
        recogniser = sender.recogniser
        if recogniser.abandoned != sender.abandoned:
            self.counters.abandoned += recogniser.abandoned - sender.abandoned
            sender.abandoned = recogniser.abandoned
        if recogniser.refused != sender.refused:
            self.counters.skipped += recogniser.refused - sender.refused
            sender.refused = recogniser.refused
            self._is_skipped = True

    def _tell_repeats(self, sender: Sender, message: Message, now: float, found: list[Any]) -> None:
        if self._life is None:
            return
        try:
            for title, count in sender.recogniser.take_repeats():
                events = self._life.repeated(sender.source, title, count, message.received_at, now)
                self._add_events(events, found)
        except Exception:
            self._fail()

    def _add_events(self, events: Sequence[Any], found: list[Any]) -> None:
        if events:
            self.counters.events += len(events)
            found += events

    def _abandon(self, sender: Sender, why: str, now: float, found: list[Any]) -> None:
        """Close the open reports of a sender early."""
        try:
            self._found(sender.recogniser.abandon(why), now, found)
            self._count(sender)
        except Exception:
            self._fail()
        self._close(sender)

    def _close(self, sender: Sender) -> None:
        """Give back what a sender used of the bounds."""
        self._open.pop(sender.key, None)
        self._open_lines -= sender.lines
        self._open_bytes -= sender.bytes
        sender.lines = sender.bytes = 0
        sender.deadline = NEVER

    def _forget(self, sender: Sender) -> None:
        self._close(sender)
        self._senders.pop(sender.key, None)

    def _expire(self, now: float, found: list[Any]) -> None:
        earliest = NEVER
        for sender in list(self._open.values()):
            if sender.deadline <= now:
                self._expire_sender(sender, now, found)
            if sender.deadline < earliest:
                earliest = sender.deadline
        self._deadline = max(earliest, now + LOOK_SECONDS)

    def _expire_sender(self, sender: Sender, now: float, found: list[Any]) -> None:
        try:
            self._found(sender.recogniser.expire(now), now, found)
            if sender.recogniser.is_open:
                deadline = sender.recogniser.deadline
                if deadline is not None and deadline > now:
                    self._charge(sender, sender.recogniser.open_lines, sender.recogniser.open_bytes)
                    sender.deadline = min(deadline, now + WAIT_SECONDS)
                else:
                    self._abandon(sender, "nothing further arrived", now, found)
                return
        except Exception:
            self._fail()
            self._forget(sender)
            return
        self._close(sender)

    def _tell(self, message: Message, now: float, found: list[Any]) -> None:
        """Give a message to the life of the machines, if the allowance lasts."""
        if type(message) is LegacyDatagram:
            return
        arrival = max(self._life_arrival, now) + 1.0 / EVENTS_PER_SECOND
        if arrival - now > EVENTS_BURST_SECONDS:
            if not self._is_skipped:
                self.counters.skipped += 1
            return
        self._life_arrival = arrival
        assert self._life is not None, "the caller has looked"
        try:
            self._add_events(self._life.take(message, now), found)
        except Exception:
            self._fail()

    def _sweep(self, now: float, received_at: float, heard: Heard, found: list[Any]) -> None:
        assert self._life is not None, "without it, no sweep is due"
        senders: Iterable[tuple[Source, float, int]] = ()
        if now - self._silence_at >= SILENCE_SECONDS:
            senders = heard(self._silence_at)
            self._silence_at = now
        self._add_events(self._life.sweep(senders, now, received_at), found)
        self._count_life()

    def _count_life(self) -> None:
        assert self._life is not None, "its callers have looked"
        self.counters.withheld = self._life.counters.withheld
        self.counters.forgotten = self._life.counters.forgotten

    def _fail(self) -> None:
        """Count the exception that is being handled; report the first one."""
        self.counters.errors += 1
        if not self._has_failed:
            self._has_failed = True
            self._failed()


def _is_marked(message: Message) -> bool:
    """True if messages were lost just before this one, or may have been."""
    if type(message) is not ExtendedMessage:
        return False
    extended = message
    return extended._lost > 0 or extended._likely_lost > 0 or extended._missing >= GAP_RECORDS
