"""Events of machines' lives, from the messages and reports of one lane (docs/events).

Pure: no I/O, no clock. Nothing in a message raises an exception, and every table is bounded. The memory is about 300
bytes for each sender that :class:`Life` knows; more only for senders with something to remember.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netconsd.crash.announcements import (
    ANNOUNCED_SECONDS,
    ANY,
    BUFFER_START,
    COMMAND_LINE,
    DROPPED,
    ENDS,
    KDUMP_PARAMETER,
    LINUX_VERSION,
    LITERALS,
    LOGGING,
    PANIC,
    PANIC_PARAMETER,
)
from netconsd.crash.arrival import explanation, machine_of
from netconsd.crash.event import Event
from netconsd.crash.losses import LOSSES_LIMIT, Loss
from netconsd.crash.silence import Silence
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram
from netconsd.protocol.plural import plural

if TYPE_CHECKING:
    from netconsd.crash.report import Report
    from netconsd.protocol.message import Message, Source

__all__ = ["GAP_RECORDS", "LITERALS", "SENDERS_LIMIT", "Life", "LifeCounters"]

#: The senders of a worker that are known, and as many whose silence is watched: as --max-sources by default. The daemon
#: passes its worker's share of it.
SENDERS_LIMIT: Final = 200_000
#: A sender that is heard for the first time has just booted if its clock shows no more than this: the script of
#: ``netconsd client`` waits for the network for up to two minutes.
BOOTED_USEC: Final = 120_000_000
#: The begin of a kernel's log says nothing of the present: a module that is loaded sends the whole log. The rest of it
#: arrives within this time, and its last line is of the present.
START_SECONDS: Final = 2.0
#: The starts that wait for it; a further one ends the oldest early.
STARTS_LIMIT: Final = 4096
#: A fatal report that is this much older than the last sign of life was survived; another report needs less.
SURVIVED_SECONDS: Final = 3600.0
LATELY_SECONDS: Final = 300.0
#: A gap of fewer records is not taken for an overrun of the kernel's buffer: ``Watch`` passes messages with at least
#: this many ``missing``. The buffer overran by 15,904 records on a real-time kernel (docs/wire section 10).
GAP_RECORDS: Final = 16
#: A sender with more than one gap in this many messages suppresses records by its log level: its gaps say nothing.
MESSAGES_PER_GAP: Final = 32
#: Before this many messages of a target nothing is known of its log level.
GAP_EVIDENCE: Final = 16
#: What is known of it lasts for this many messages to half as many, so that a changed level is learnt.
GAP_MEMORY: Final = 1024
#: The titles of repeated reports that are counted for one sender; a further one replaces the oldest.
REPEATS_LIMIT: Final = 8
#: A sender's events in the long run: one in this many seconds, and this many at once. A crash loop has two a boot.
EVENT_SECONDS: Final = 10.0
EVENTS_AT_ONCE: Final = 60
#: All senders that are known for less than this time have a bound together, because addresses can be forged: this many
#: events a second, and this many at once, for a fleet that boots after a power failure.
STRANGER_SECONDS: Final = 600.0
STRANGERS_EVENTS_PER_SECOND: Final = 100.0
STRANGERS_EVENTS_AT_ONCE: Final = 10_000
#: Longer texts of the network are cut: COMMAND_LINE_SIZE is at most 4096, a release 64 characters.
COMMAND_LINE_CHARACTERS: Final = 4096
RELEASE_CHARACTERS: Final = 64
#: Releases that senders share as one string; a stranger can send others without end.
RELEASES_LIMIT: Final = 1024
TITLE_CHARACTERS: Final = 120

_MSGID_MASK: Final = 0xFFFFFFFF
INFINITY: Final = float("inf")
_UNPRINTABLE: Final = re.compile(r"[^ -~]+")


@dataclass(slots=True)
class LifeCounters:
    """The counters of one :class:`Life`."""

    #: Events returned.
    events: int = 0
    #: Events not returned because a sender, or all strangers together, had too many. Losses keep their sums.
    withheld: int = 0
    #: Senders forgotten because of a bound: a reboot of one is an event without its reason, its silence is none.
    forgotten: int = 0


class _Past:
    """The events of a sender's present boot that explain later ones; only for senders that had any."""

    __slots__ = ("ended_at", "how", "loss", "panicked", "repeats", "reported_at", "silenced", "title")

    def __init__(self) -> None:
        # The last report that seems to have ended the machine; its words if only the panic's line is known.
        self.title = ""
        self.panicked = False
        self.reported_at = 0.0
        # How the machine said that it goes down.
        self.how = ""
        self.ended_at = 0.0
        # The reports that came again, with their sums.
        self.repeats: dict[str, int] | None = None
        # The sums of losses whose event was withheld.
        self.loss: Loss | None = None
        self.silenced = False


class _Sender:
    """The knowledge of one sender; times are those of ``now``."""

    __slots__ = ("arrival", "gaps", "machine", "offset", "panic", "past", "release", "seen", "sent", "since", "ts_usec")

    def __init__(self, now: float) -> None:
        self.since = now
        # The last message that was passed, and its timestamp.
        self.seen = now
        self.ts_usec = -1
        # The theoretical arrival time of the bound on events (GCRA).
        self.arrival = 0.0
        self.release: str | None = None
        self.machine: str | None = None
        # panic= on the kernel's command line.
        self.panic: int | None = None
        # seq - msgid after the last gap; the msgid from which gaps are counted, -1 for none; and the gaps since.
        self.offset = 0
        self.sent = -1
        self.gaps = 0
        self.past: _Past | None = None


class _Start:
    """A first message that waits for the lines after it; see :data:`START_SECONDS`."""

    __slots__ = ("before", "command_line", "known", "logging", "message", "since", "ts_usec")

    def __init__(self, message: Message, since: float, before: _Sender | None, known: bool) -> None:
        self.message = message
        self.since = since
        # What was known of the sender before this boot; None if nothing.
        self.before = before
        # True if the stream has decided that it is a boot.
        self.known = known
        self.command_line = ""
        self.ts_usec = message.ts_usec
        # The last line of the buffer that says that netconsole started.
        self.logging: Message | None = None


class Life:
    """All senders of one lane. Not thread-safe.

    ``now`` is the monotonic time of the lane in seconds, as that of the streams; ``received_at`` is Unix time.
    """

    def __init__(self, *, limit: int = SENDERS_LIMIT) -> None:
        """
        :param limit: the greatest number of senders that are known, and of those whose silence is watched.
        """
        self.counters = LifeCounters()
        self._limit = max(1, limit)
        # In the order of the last message that was passed.
        self._senders: OrderedDict[bytes, _Sender] = OrderedDict()
        self._silence = Silence(limit)
        self._starts: OrderedDict[bytes, _Start] = OrderedDict()
        self._losses: OrderedDict[bytes, Loss] = OrderedDict()
        self._strangers = 0.0
        # One string for each release of a fleet.
        self._releases: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._senders)

    # The parts of a lane call these.

    def take(self, message: Message, now: float) -> list[Event]:
        """Return the events that a message shows.

        To be called for each message that the prefilter finds (:data:`LITERALS`), and for each that is ``new`` or
        ``boot``, or has ``lost``, ``likely_lost``, or :data:`GAP_RECORDS` ``missing``. The reports that end with the
        message are passed to :meth:`reported` before.
        """
        out: list[Event] = []
        if isinstance(message, LegacyDatagram):
            # Its lines are passed as well.
            return out
        key = message.source.key
        start = self._starts.get(key)
        if start is not None and (message.boot or now - start.since >= START_SECONDS):
            self._finish_start(key, now, out)
            start = None
        loss = self._losses.get(key)
        if loss is not None and (message.boot or loss.is_over(now)):
            self._finish_loss(key, now, out)
        sender = self._senders.get(key)
        if message.boot or message.new:
            sender = self._begin(message, sender, now, out)
            start = self._starts.get(key)
        elif sender is None:
            sender = self._add(message, now)
        else:
            self._senders.move_to_end(key)
        self._note_losses(message, sender, now, out)
        self._read(message, sender, start, now, out)
        sender.seen = now
        if message.ts_usec is not None and not _is_replayed(message):
            sender.ts_usec = message.ts_usec
        return out

    def reported(self, report: Report, now: float) -> list[Event]:
        """Note a report, so that a reboot is explained by the crash before it; returns no event today.

        The report's first line was passed to :meth:`take`.
        """
        sender = None if report.source is None else self._senders.get(report.source.key)
        # "unexpected kernel reboot" is a report of the reboot itself: no crash before it.
        if sender is None or report.kind == "reboot":
            return []
        if report.release is not None:
            sender.release = self._release(report.release)
        past = _past_of(sender)
        # A report that is not fatal does not replace one that is, and a consequence does not replace its cause.
        if (report.fatal or not past.panicked) and (report.consequence_of is None or not past.title):
            past.title = _clean(report.title, TITLE_CHARACTERS)
            past.reported_at = now
        past.panicked = past.panicked or report.fatal
        return []

    def repeated(self, source: Source, title: str, count: int, received_at: float, now: float) -> list[Event]:
        """Return an event if a report's repeats reach 1, 10, 100, 1,000, ...: each kernel bug makes few of them.

        :param count: how often it was repeated since the last call.
        """
        out: list[Event] = []
        sender = self._senders.get(source.key)
        if sender is None:
            sender = self._new_sender(source.key, now)
        past = _past_of(sender)
        repeats = past.repeats = past.repeats or {}
        title = _clean(title, TITLE_CHARACTERS)
        before = repeats.pop(title, 0)
        repeats[title] = total = before + max(count, 0)
        if len(repeats) > REPEATS_LIMIT:
            del repeats[next(iter(repeats))]
        if len(str(total)) > len(str(before)) or (total and not before):
            details: dict[str, str | int | float] = {"title": title, "repeats": total}
            text = f"{title}: came again {plural(total, 'time')} since the boot"
            self._emit(Event("repeated", source, received_at, text, None, details), sender, now, out)
        return out

    def sweep(self, heard: Iterable[tuple[Source, float, int]], now: float, received_at: float) -> list[Event]:
        """Return the events that no message shows: silence, its end, and what waited for further messages.

        To be called every few seconds. A sender that was heard has to be in ``heard`` within 5 minutes, in slices if
        they are many: about 1 µs for each.

        :param heard: sender, when its last message arrived (the clock of ``now``), and the number of its messages.
        :param received_at: the Unix time of ``now``.
        """
        out: list[Event] = []
        silence = self._silence
        silence.look(now)
        before = silence.evicted
        for source, at, messages in heard:
            lasted = silence.hear(source, at, messages)
            if lasted is not None:
                self._heard_again(source, lasted, None, received_at - (now - at), now, out)
        self.counters.forgotten += silence.evicted - before
        for source, lasted, usual in silence.due(now):
            self._silent(source, lasted, usual, received_at, now, out)
        while self._starts:
            key, start = next(iter(self._starts.items()))
            if now - start.since < START_SECONDS:
                break
            self._finish_start(key, now, out)
        for key in [key for key, loss in self._losses.items() if loss.is_over(now)]:
            self._finish_loss(key, now, out)
        return out

    def finish(self, now: float) -> list[Event]:
        """Return the events that wait for further messages: at the end of the input."""
        out: list[Event] = []
        for key in list(self._starts):
            self._finish_start(key, now, out)
        for key in list(self._losses):
            self._finish_loss(key, now, out)
        return out

    # Boots.

    def _begin(self, message: Message, before: _Sender | None, now: float, out: list[Event]) -> _Sender:
        """Process the first message of a boot, or of a sender that netconsd has just begun to hear."""
        is_start = BUFFER_START.match(message.text) is not None
        if not message.boot and before is not None and not is_start and not _is_later_boot(message.ts_usec, before):
            # netconsd had forgotten the sender because it was silent; it goes on.
            self._senders.move_to_end(message.source.key)
            return before
        if before is not None:
            lasted = self._silence.restart(message.source, now)
            if lasted is not None:
                self._heard_again(message.source, lasted, message, message.received_at, now, out)
        sender = self._new_sender(message.source.key, now, before)
        self._note_message(sender, message)
        start = _Start(message, now, before, message.boot)
        if is_start:
            if len(self._starts) >= STARTS_LIMIT:
                self._finish_start(next(iter(self._starts)), now, out)
            self._starts[message.source.key] = start
        else:
            self._started(start, sender, now, out)
        return sender

    def _finish_start(self, key: bytes, now: float, out: list[Event]) -> None:
        start = self._starts.pop(key)
        sender = self._senders.get(key)
        if sender is None:
            sender = self._new_sender(key, now)
        self._started(start, sender, now, out)
        if start.logging is not None:
            self._logging(start.logging, sender, now, out)

    def _started(self, start: _Start, sender: _Sender, now: float, out: list[Event]) -> None:
        """Return the event of a boot, once its first lines are known."""
        message = start.message
        details: dict[str, str | int | float] = {}
        if sender.release is not None:
            details["release"] = sender.release
        if start.command_line:
            details["command_line"] = start.command_line
        if start.ts_usec is not None:
            details["uptime"] = round(start.ts_usec / 1e6, 3)
        before = start.before
        if start.known or (before is not None and _is_later_boot(start.ts_usec, before)):
            text = _reboot(start, sender, details)
            if before is not None and before.release and sender.release and before.release != sender.release:
                details["release_before"] = before.release
                text += f"; the kernel was {before.release} and is {sender.release}"
            self._emit(Event("rebooted", message.source, message.received_at, text, message, details), sender, now, out)
        elif before is None and (start.ts_usec is None or start.ts_usec <= BOOTED_USEC):
            # Without a timestamp, only the kernel's first line says so.
            if start.ts_usec is None and BUFFER_START.match(message.text) is None:
                return
            text = "booted" if sender.release is None else f"booted kernel {sender.release}"
            self._emit(Event("booted", message.source, message.received_at, text, message, details), sender, now, out)
        elif before is not None:
            # The same boot: the module was loaded again.
            sender.past = before.past

    # Lines.

    def _read(self, message: Message, sender: _Sender, start: _Start | None, now: float, out: list[Event]) -> None:
        text = message.text
        is_replayed = _is_replayed(message)
        if start is not None and not is_replayed and message.ts_usec is not None:
            start.ts_usec = max(start.ts_usec or 0, message.ts_usec)
        if ANY.match(text) is None:
            return
        if start is not None and not is_replayed:
            self._read_start(text, start, sender)
        by_kernel = message.facility in (None, 0)
        if by_kernel:
            panic = PANIC.match(text)
            if panic is not None:
                past = _past_of(sender)
                if not past.panicked:
                    # Until the report arrives, which may have another title, or if none does.
                    past.title = _clean(f"kernel panic: {panic[1]}", TITLE_CHARACTERS)
                    past.panicked = True
                    past.reported_at = now
                return
        if is_replayed:
            return
        if by_kernel and LOGGING.match(text):
            if start is None:
                self._logging(message, sender, now, out)
            else:
                start.logging = message
            return
        dropped = DROPPED.match(text)
        if dropped is not None:
            self._loss(message, now, out).by_kernel += int(dropped[1])
        for row in ENDS:
            if (by_kernel or not row.by_kernel) and row.pattern.match(text):
                past = _past_of(sender)
                # The first line says most: "Reached target Reboot" is followed by "systemd-shutdown[1]: Syncing ...".
                if not past.how or past.how == "orderly":
                    past.how = row.how
                past.ended_at = now
                break

    def _read_start(self, text: str, start: _Start, sender: _Sender) -> None:
        """Read the first lines of a kernel's log."""
        version = LINUX_VERSION.match(text)
        if version is not None:
            sender.release = self._release(version[1])
            sender.machine = machine_of(text) or sender.machine
        command_line = COMMAND_LINE.match(text)
        if command_line is not None:
            start.command_line = _clean(command_line[1].strip(), COMMAND_LINE_CHARACTERS)
            found = PANIC_PARAMETER.findall(start.command_line)
            # Without the parameter, /etc/sysctl.d may still set it.
            sender.panic = int(found[-1]) if found else None

    def _logging(self, message: Message, sender: _Sender, now: float, out: list[Event]) -> None:
        found = LOGGING.match(message.text)
        assert found is not None, "its caller matched it"
        what, interface, reason = found.groups()
        details: dict[str, str | int | float] = {}
        text = f"netconsole {what} sending" if what != "resumed" else "netconsole sends again"
        if interface:
            details["interface"] = interface = _clean(interface, 15)
            text += f" through the interface {interface}"
        if reason:
            details["reason"] = reason = _clean(reason, 64)
            text += f" as it {reason}"
        kind = f"logging-{what}"
        self._emit(Event(kind, message.source, message.received_at, text, message, details), sender, now, out)

    # Losses.

    def _note_losses(self, message: Message, sender: _Sender, now: float, out: list[Event]) -> None:
        if isinstance(message, ExtendedMessage):
            if message.lost:
                self._loss(message, now, out).by_msgid += message.lost
            elif message.likely_lost:
                self._loss(message, now, out).by_seq += message.likely_lost
            elif message.missing >= GAP_RECORDS and message.msgid is not None and _is_rare_gap(message, sender):
                self._loss(message, now, out).unsent += message.missing
        if message.limited:
            self._loss(message, now, out).limited += message.limited

    def _loss(self, message: Message, now: float, out: list[Event]) -> Loss:
        """The open burst of a sender."""
        key = message.source.key
        loss = self._losses.get(key)
        if loss is None:
            if len(self._losses) >= LOSSES_LIMIT:
                self._finish_loss(next(iter(self._losses)), now, out)
            loss = self._losses[key] = Loss(message, now)
        loss.until = now
        return loss

    def _finish_loss(self, key: bytes, now: float, out: list[Event]) -> None:
        loss = self._losses.pop(key)
        sender = self._senders.get(key)
        if sender is None:
            sender = self._new_sender(key, now)
        past = sender.past
        if past is not None and past.loss is not None:
            loss.add(past.loss)
            past.loss = None
        message = loss.first
        event = Event("lost", message.source, message.received_at, loss.text(), message, loss.details())
        if not self._emit(event, sender, now, out):
            _past_of(sender).loss = loss

    # Silence.

    def _silent(
        self, source: Source, lasted: float, usual: float, received_at: float, now: float, out: list[Event]
    ) -> None:
        sender = self._senders.get(source.key)
        past = None if sender is None else sender.past
        if past is not None and past.how == "power-off":
            # It said that it switches itself off.
            return
        details: dict[str, str | int | float] = {"seconds": round(lasted), "usual": round(usual)}
        text = f"silent for {duration(lasted)}; usually for at most {duration(usual)}"
        if past is not None and past.panicked:
            details["title"] = past.title
            text += f"; before that: {past.title}"
        elif past is not None and past.how:
            details["how"] = past.how
            text += "; it had announced a reboot"
        if sender is None:
            sender = self._new_sender(source.key, now)
        _past_of(sender).silenced = True
        self._emit(Event("silent", source, received_at, text, None, details), sender, now, out)

    def _heard_again(
        self, source: Source, lasted: float, message: Message | None, received_at: float, now: float, out: list[Event]
    ) -> None:
        sender = self._senders.get(source.key)
        if sender is None or sender.past is None or not sender.past.silenced:
            return
        sender.past.silenced = False
        text = f"sends again after {duration(lasted)} of silence"
        details: dict[str, str | int | float] = {"seconds": round(lasted)}
        self._emit(Event("heard-again", source, received_at, text, message, details), sender, now, out)

    # The table, and the bound on events.

    def _add(self, message: Message, now: float) -> _Sender:
        sender = self._new_sender(message.source.key, now)
        self._note_message(sender, message)
        return sender

    def _new_sender(self, key: bytes, now: float, before: _Sender | None = None) -> _Sender:
        """Add a sender, or the new boot of one."""
        if before is None and len(self._senders) >= self._limit:
            self._senders.popitem(last=False)
            self.counters.forgotten += 1
        sender = self._senders[key] = _Sender(now)
        if before is not None:
            self._senders.move_to_end(key)
            sender.since = before.since
            sender.arrival = before.arrival
            # The next kernel is mostly the same one, on the same machine.
            sender.machine = before.machine
        return sender

    def _note_message(self, sender: _Sender, message: Message) -> None:
        if isinstance(message, ExtendedMessage):
            release = message.release
            if release:
                sender.release = self._release(release)
            if message.msgid is not None:
                sender.offset = (message.seq - message.msgid) & _MSGID_MASK
                sender.sent = message.msgid

    def _release(self, text: str) -> str:
        """The text of the network, cleaned; shared by the senders."""
        release = _clean(text, RELEASE_CHARACTERS)
        if len(self._releases) >= RELEASES_LIMIT:
            self._releases.clear()
        return self._releases.setdefault(release, release)

    def _emit(self, event: Event, sender: _Sender, now: float, out: list[Event]) -> bool:
        """Append an event, unless the sender or all strangers together have too many."""
        arrival = max(sender.arrival, now) + EVENT_SECONDS
        allowed = arrival - now <= EVENTS_AT_ONCE * EVENT_SECONDS
        if allowed and now - sender.since < STRANGER_SECONDS:
            strangers = max(self._strangers, now) + 1 / STRANGERS_EVENTS_PER_SECOND
            allowed = strangers - now <= STRANGERS_EVENTS_AT_ONCE / STRANGERS_EVENTS_PER_SECOND
            if allowed:
                self._strangers = strangers
        if not allowed:
            self.counters.withheld += 1
            return False
        sender.arrival = arrival
        self.counters.events += 1
        out.append(event)
        return True


def duration(seconds: float) -> str:
    """Return a length of time as people say it: ``45 seconds``, ``15 minutes``, ``3 hours``, ``2 days``."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return plural(int(seconds // size), unit)
    return plural(max(0, int(seconds)), "second")


def _past_of(sender: _Sender) -> _Past:
    if sender.past is None:
        sender.past = _Past()
    return sender.past


def _is_replayed(message: Message) -> bool:
    return isinstance(message, ExtendedMessage) and message.replayed


def _is_later_boot(ts_usec: int | None, before: _Sender) -> bool:
    """True if a timestamp shows another boot than the messages before.

    A clock that is behind does. An estimate of the time of boot does not, because the kernel's clock stops while the
    machine sleeps.
    """
    return ts_usec is not None and ts_usec < before.ts_usec


def _is_rare_gap(message: ExtendedMessage, sender: _Sender) -> bool:
    """True if the sender had few gaps before this one: it does not suppress records by its log level."""
    msgid = message.msgid
    if msgid is None:
        return False
    offset = (message.seq - msgid) & _MSGID_MASK
    sent = (msgid - sender.sent) & _MSGID_MASK
    if sender.sent < 0 or sent > _MSGID_MASK // 2:
        # The first gap, or the target was made again.
        sender.offset, sender.sent, sender.gaps = offset, msgid, 1
        return False
    # Gaps that were too small to be passed.
    small = (offset - message.missing - sender.offset) & _MSGID_MASK
    gaps = sender.gaps + -(-min(small, GAP_MEMORY * GAP_RECORDS) // (GAP_RECORDS - 1))
    sender.offset = offset
    sender.gaps = gaps + 1
    if sent >= GAP_MEMORY:
        sender.gaps //= 2
        sender.sent = (msgid - GAP_MEMORY // 2) & _MSGID_MASK
    return sent >= GAP_EVIDENCE and gaps * MESSAGES_PER_GAP <= sent


def _reboot(start: _Start, sender: _Sender, details: dict[str, str | int | float]) -> str:
    """Say how a machine was rebooted; put the words for programs into the details."""
    before = start.before
    if before is None:
        details["how"] = "unknown"
        return "rebooted; nothing is known of the time before"
    past = before.past
    since_report = INFINITY if past is None or not past.title else before.seen - past.reported_at
    if past is not None and past.panicked and since_report < SURVIVED_SECONDS:
        details["how"] = "crash"
        details["title"] = past.title
        return f"rebooted after a crash: {past.title}"
    if past is not None and past.how and start.since - past.ended_at <= ANNOUNCED_SECONDS:
        details["how"] = past.how
        return f"rebooted: {_HOW[past.how]}"
    if KDUMP_PARAMETER.search(start.command_line):
        details["how"] = "kdump"
        text = "rebooted into the kernel for kdump: the kernel before it crashed"
        if past is None or since_report >= LATELY_SECONDS:
            return text
        details["title"] = past.title
        return f"{text}: {past.title}"
    details["how"] = "unannounced"
    if past is not None and since_report < LATELY_SECONDS:
        details["title"] = past.title
        return f"rebooted; nothing announced it; the last report before it: {past.title}"
    panic = sender.panic if before.panic is None else before.panic
    reason = explanation(before.release or sender.release, before.machine or sender.machine, panic)
    if not reason:
        return "rebooted; nothing announced it, and nothing of a crash arrived"
    details["reason"] = reason
    return f"rebooted; nothing of a crash arrived, and {reason}"


_HOW: Final = {
    "restart": "it had announced a restart",
    "power-off": "it had announced that it switches itself off",
    "kexec": "it had announced that it starts another kernel by kexec",
    "sysrq": "it was reset by sysrq",
    "protection": "it had announced a shutdown to protect the hardware",
    "orderly": "user space had announced an orderly shutdown",
}


def _clean(text: str, characters: int) -> str:
    """Return a text of the network as printable ASCII, cut to a length."""
    return _UNPRINTABLE.sub("?", text[:characters])
