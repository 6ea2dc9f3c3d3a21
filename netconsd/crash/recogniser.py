"""Turns the messages of one sender into crash reports. Pure.

A report is open from its first line until its end line, the next report of the same caller, a reset of the stream, or
silence. Until then its lines are collected (:mod:`netconsd.crash.shapes` says which lines belong); at the end they are
named (:mod:`netconsd.crash.titles`). docs/crashes ("One report, and where it ends") is for
users.

1. **Begin.** A first line (:mod:`netconsd.crash.rules`), or a line that precedes one ("cut here"), opens a report,
   except if it belongs to an open one: it follows the first line before any frame, or it is an ending.
2. **Caller.** A line goes to the open report of its caller; without callers, to the one that grew last.
3. **End.** After an end line a report waits :attr:`Limits.linger` for the panic that follows. A panic's end line
   closes at once. Silence of :data:`SILENCE` closes, by arrival and by the sender's clock. Reports are returned in the
   order in which they began.
4. **Repeat.** The same title, or the same kind-free form of the same task, in the same boot is counted and makes no
   report, except if the machine went down with it.
5. **Consequence.** A report of the same task right after another one, or after a fatal one, followed from it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from netconsd.crash import rules, shapes, titles
from netconsd.crash.announcements import ANNOUNCED_SECONDS, announces
from netconsd.crash.lines import Line, caller_of, frames_of, lines_of, pointer_of
from netconsd.crash.report import Report
from netconsd.crash.titles import Hit
from netconsd.protocol.message import ExtendedMessage, Message, Source

#: Seconds without a line of an open report after which it is closed. A panic over a slow console pauses for less; the
#: parts of one stall come within a second.
SILENCE: Final = 5.0
#: Seconds after an end line in which a panic or the repeated registers can follow.
LINGER: Final = 1.0
#: Seconds between two reports of one task for the second to be a consequence of the first.
CONSEQUENCE_SECONDS: Final = 0.5
#: Titles of a boot that are remembered to recognise repeats; the one unused longest is forgotten. Few bugs alternate.
SEEN_LIMIT: Final = 64
#: Lines before the title within which a preface must be followed by one. ``cut here`` is followed by two lines.
PREFACE_LINES: Final = 16
#: A gap by the sender's clock, in microseconds, that separates a first line from another one.
_APART_USEC: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one recogniser. Each is an answer to a stranger who sends first lines, or lines, without end."""

    #: Reports open at once; the one that began first is closed early. Two processors can crash at once, rarely more.
    open_reports: int = 8
    #: Lines of a report that are kept. A stall on a machine with 64 processors has about 50 for each.
    lines: int = 4000
    #: Bytes of a report's messages that are kept: those lines with 128 bytes each.
    bytes: int = 512 * 1024
    #: Lines of a report that are looked at; those over ``lines`` can still be its title or its end, as after an OOM's
    #: table of 10,000 processes. Beyond, the report is closed.
    watched_lines: int = 20_000
    #: Reports opened in a minute by one sender; further first lines are counted as refused. A machine that crashes
    #: reports a few; KFENCE, the most talkative of the recorded ones, 25.
    reports_per_minute: int = 60
    #: Messages of the sender before the report that are kept.
    before: int = 50
    #: Seconds after an end line in which a panic or the repeated registers can follow.
    linger: float = LINGER


#: For files: whoever reads a file wants all of it, and all lines arrive at once. Many logs have whole seconds: a panic
#: can be in the second after that of the end line.
FILE_LIMITS: Final = Limits(reports_per_minute=1_000_000_000, linger=2 * LINGER)

# The ends of a report that has begun: kernel/panic.c, kernel/{hung_task,watchdog}.c, mm/kasan, arch/*/kernel/traps.c.
_ENDINGS: Final = (
    # kernel/exit.c make_task_dead, arch/*/kernel/{traps,dumpstack}.c
    *("Fatal exception", "Oops: Fatal exception", "BRK handler: Fatal exception", "BUG: Fatal exception", "Oops - BUG"),
    *("Attempted to kill the idle task", "Aiee, killing interrupt handler", "stack guard page", "Unhandled exception"),
    *("kernel stack overflow", "Kernel stack overflow", "Asynchronous SError", "panic_on_oops", "Bad mode"),
    # kernel/panic.c check_panic_on_warn, mm/kasan, mm/kmsan, mm/kfence, kernel/kcsan, lib/ubsan.c
    *(
        "panic_on_warn",
        "kernel: panic_on_warn",
        "KASAN: panic_on_warn",
        "UBSAN: panic_on_warn",
        "KFENCE: panic_on_warn",
    ),
    *("KCSAN: panic_on_warn", "KMSAN: panic_on_warn", "kasan.fault=panic", "kmsan.panic set"),
    # kernel/hung_task.c, kernel/watchdog*.c, kernel/rcu/tree_stall.h, mm/oom_kill.c
    *(
        "hung_task: blocked tasks",
        "softlockup: hung tasks",
        "Hard LOCKUP",
        "Watchdog detected hard LOCKUP",
        "RCU Stall",
    ),
    *("System is deadlocked on memory", "Out of memory", "out of memory"),
    # arch/x86/kernel/cpu/mce/core.c, drivers/acpi/apei/ghes.c, arch/x86/kernel/nmi.c
    *(
        "Fatal hardware error",
        "Fatal machine check",
        "Fatal local machine check",
        "Machine check",
        "NMI: Not continuing",
    ),
    *("Timeout: Not all CPUs entered", "panic_on_io_nmi"),
)
_PANIC_ENDS: Final = ("---[ end Kernel panic", "Rebooting in ")
# An ending that can also stand alone: it belongs to an open report of the same caller that has not ended yet.
_INIT: Final = "Attempted to kill init!"
# First lines that are followed by another one of the same report, before any frame.
_FOLLOWED: Final = frozenset(("list", "usercopy", "stack-overflow", "double-fault", "kernel-bug"))
# First lines that are also the message of a WARN, which kernels to 4.13 and armhf print after its first line.
_MESSAGES: Final = frozenset(("list", "usercopy", "netdev-watchdog"))
# Several lines of these are one report.
_GROUPED: Final = frozenset(("machine-check", "cper", "edac", "pcie", "disk", "ata", "nvme", "double-fault"))
# With kdump the kernel that dumps takes over: nothing follows (arch/x86/kernel/dumpstack.c oops_end).
_KDUMP: Final = "Kdump: loaded"


class _Open:
    """A report that has begun."""

    __slots__ = (
        *(
            "before",
            "before_bytes",
            "bytes",
            "callers",
            "ended",
            "fatal",
            "first_line",
            "frames",
            "hits",
            "last_line",
            "last_now",
        ),
        *("last_usec", "lines", "messages", "missing", "nmi", "number", "oom", "panicked", "preface", "previous"),
        *("started", "watched", "why"),
    )

    def __init__(self, caller: str, now: float, usec: int | None, line: int | None) -> None:
        self.callers = {caller}
        self.hits: list[Hit] = []
        self.lines: list[Line] = []
        self.messages: list[Message] = []
        self.before: tuple[Message, ...] = ()
        self.before_bytes = 0
        self.bytes = 0
        self.watched = 0
        self.frames = 0
        self.missing = 0
        self.number = 0
        self.started = now
        self.last_now = now
        self.last_usec = usec
        self.first_line = line
        self.last_line = line
        self.ended = False
        self.panicked = False
        self.fatal = False
        self.preface = True
        self.oom = False
        self.nmi = False
        self.why: str | None = None
        # The report before this one, with the times of its last line.
        self.previous: tuple[Report | None, int | None, float] = None, None, 0.0

    def rule(self) -> rules.Rule | None:
        """The rule that gives the title, as far as known."""
        return next((hit.rule for hit in self.hits if not hit.rule.weak), self.hits[0].rule if self.hits else None)

    def deadline(self, linger: float) -> float:
        return self.last_now + (linger if self.ended else SILENCE)


class Recogniser:
    """Recognises the reports of one sender. For one thread at a time; nothing raises."""

    def __init__(self, source: Source | None = None, *, limits: Limits = Limits()) -> None:
        """
        :param source: the sender, for the reports; by default that of the first message.
        :param limits: the bounds.
        """
        self._source = source
        self._limits = limits
        self._open: list[_Open] = []
        # Finished reports that began after an open one, with the numbers of their begin, because reports are in that
        # order, and with their bytes.
        self._held: list[tuple[int, Report, int]] = []
        self._number = 0
        # True if a report of this message has ended.
        self._ended = False
        # No open report is due before this time.
        self._due = 0.0
        # The report that the last message went to.
        self._grew: _Open | None = None
        self._seen: OrderedDict[str, tuple[str, bool]] = OrderedDict()
        self._repeated: dict[str, int] = {}
        self._minute = -1
        self._begun = 0
        self._last: Report | None = None
        self._last_usec: int | None = None
        self._last_at = 0.0
        self._announced_at: float | None = None
        self._oopsed = False
        #: Reports that came again in the same boot, and were counted.
        self.repeats = 0
        #: First lines that opened no report, because of ``reports_per_minute``.
        self.refused = 0
        #: Reports closed early, because of a bound.
        self.abandoned = 0
        #: Lines that were looked at while a report was open, or to open one.
        self.recognised_lines = 0
        #: Until this time first lines are refused, so that nobody need call :meth:`take` while no report is open.
        self.refused_until = 0.0

    @property
    def is_open(self) -> bool:
        """True while a report is open: then :meth:`take` must be called with each message."""
        return bool(self._open)

    @property
    def deadline(self) -> float | None:
        """The time at which :meth:`expire` returns the next report at the latest; None if no report is open."""
        return min([one.deadline(self._limits.linger) for one in self._open]) if self._open else None

    @property
    def open_lines(self) -> int:
        """The number of kept lines of open reports, and of messages of those that wait for an earlier one."""
        return sum([len(one.lines) for one in self._open]) + sum([len(held.messages) for _, held, _ in self._held])

    @property
    def open_bytes(self) -> int:
        """The bytes of the messages of these reports, and of those before them."""
        return sum([one.bytes + one.before_bytes for one in self._open]) + sum([size for _, _, size in self._held])

    def take(
        self,
        message: Message,
        now: float,
        before: Callable[[], Sequence[Message]] = tuple,
        line: int | None = None,
    ) -> Sequence[Report]:
        """Take the sender's next message, and return the reports that are finished.

        Need not be called for messages without a literal of :data:`netconsd.crash.rules.LITERALS` while
        :attr:`is_open` is false and the message is neither ``boot`` nor ``new``.

        :param now: the time; must not go back.
        :param before: returns the sender's last messages before this one, oldest first; called if a report begins.
        :param line: the number of the message's line in a file; None for a received message.
        """
        out: list[Report] = []
        if self._open and now >= self._due:
            out += self.expire(now)
        if now < self.refused_until and not message.boot and not self._is_awaited(message):
            self.refused += 1
            return out
        if self._source is None:
            self._source = message.source
        if isinstance(message, ExtendedMessage) and message.replayed and self._open:
            # The buffer again, by panic_print: no line of it is new. The panic goes on after it.
            for report in self._open:
                report.last_now = now
            return out
        if message.boot:
            out += self._booted(message, now, before, line)
        elif isinstance(message, ExtendedMessage) and message.seq_reset and not message.new and self._open:
            out += self._close_all("the stream was reset")
        owner: _Open | None = None
        lines = lines_of(message)
        for one in lines:
            self.recognised_lines += 1
            found = self._line(one, message, now, before, line, out)
            if found is not None and found is not owner:
                owner = found
                if not owner.messages or owner.messages[-1] is not message:
                    self._keep(owner, message, line)
        if owner is None and self._open:
            owner = self._attached(message, lines)
            if owner is not None:
                self._keep(owner, message, line)
        self._grew = owner
        if self._ended:
            self._ended = False
            for report in [each for each in self._open if each.panicked and each.ended]:
                self._finish(report, out)
        return out

    def expire(self, now: float) -> Sequence[Report]:
        """Return the reports whose silence has lasted long enough."""
        out: list[Report] = []
        if now < self._due:
            return out
        for report in [one for one in self._open if one.deadline(self._limits.linger) <= now]:
            self._finish(report, out)
        self._due = self.deadline or 0.0
        return out

    def finish(self) -> Sequence[Report]:
        """Return the open reports, as the input has ended."""
        return self._close_all("the input ended")

    def abandon(self, why: str) -> Sequence[Report]:
        """Return the open reports, closed early because of a bound over all senders; they are incomplete.

        :param why: the reason in words, for :attr:`netconsd.crash.report.Report.incomplete`.
        """
        self.abandoned += len(self._open)
        for report in self._open:
            report.why = why
        return self._close_all(why)

    def take_repeats(self) -> list[tuple[str, int]]:
        """Return the titles that came again after their report was returned, with how often; cleared by the call.

        At most :data:`SEEN_LIMIT`.
        """
        repeated = list(self._repeated.items())
        self._repeated.clear()
        return repeated

    def _is_awaited(self, message: Message) -> bool:
        """True if a message can belong to an open report: while first lines are refused, others are not looked at."""
        if not self._open:
            return False
        caller = caller_of(message)
        return not caller or any(caller in one.callers for one in self._open)

    # A line.

    def _attached(self, message: Message, lines: Sequence[Line]) -> _Open | None:
        """The report of a record whose text does not tell: an empty one (KFENCE), or a continuation of its last one."""
        last = self._grew
        if last is None or last not in self._open or last.ended:
            return None
        if not lines or (isinstance(message, ExtendedMessage) and message.continuation):
            caller = caller_of(message)
            return last if not caller or caller in last.callers else None
        return None

    def _line(
        self,
        line: Line,
        message: Message,
        now: float,
        before: Callable[[], Sequence[Message]],
        number: int | None,
        out: list[Report],
    ) -> _Open | None:
        """Give a line to its report; return the report, or None if it belongs to none."""
        text = line.text
        if self._open and line.ts_usec is not None:
            self._expire_by_clock(line.ts_usec, out)
        owner = self._route(line) if self._open else None
        if owner is not None and (frames_of(text) or pointer_of(text) is not None):
            owner.frames += 1
            return self._append(owner, line, now, None)
        if text.startswith("[ ") and text.endswith("]"):
            # lockdep to 4.10: "[ INFO: possible circular locking dependency detected ]".
            text = text[2:-1].rstrip()
            line = Line(text, line.caller, line.ts_usec)
        if not text:
            return None
        found = rules.find(text)
        if found is not None:
            return self._hit(found[0], found[1], line, owner, now, message, before, number, out)
        if text.startswith(rules.PREFACES) or rules.OOM in text:
            return self._preface(line, owner, now, message, before, number, out)
        if owner is None:
            if self._open and text.startswith(_PANIC_ENDS):
                owner = self._open[-1]
            else:
                self._outside(text, line, message, now, before, number, out)
                return None
        if text.startswith(titles.END_TRACE):
            self._end(owner, now)
        elif text.startswith(_PANIC_ENDS):
            self._end(owner, now)
            owner.panicked = owner.fatal = True
        elif not shapes.belongs(
            text, line.caller != "" or self._is_message(owner), owner.frames > 0, owner.ended, owner.preface
        ):
            return None
        if text.startswith("Sending NMI"):
            owner.nmi = True
        return self._append(owner, line, now, None)

    @staticmethod
    def _is_message(owner: _Open) -> bool:
        """True right after a WARN's first line, which its message can follow (armhf)."""
        return bool(owner.hits) and owner.hits[-1].rule.name == "warning" and len(owner.lines) - owner.hits[-1].at <= 2

    def _route(self, line: Line) -> _Open | None:
        """The open report that a line can belong to."""
        last = max(self._open, key=lambda one: one.last_now) if len(self._open) > 1 else self._open[0]
        if not line.caller:
            return last
        for report in reversed(self._open):
            if line.caller in report.callers:
                return report
        for report in reversed(self._open):
            if "" in report.callers:
                return report
            if report.nmi and shapes.OTHER_PROCESSOR.match(line.text) is not None:
                report.callers.add(line.caller)
                return report
        # A task can go on on another processor ("0/sh", "1/sh"), and the machine check is logged by any.
        _, slash, task = line.caller.partition("/")
        same = [one for one in self._open if slash and any(other.partition("/")[2] == task for other in one.callers)]
        if len(same) == 1:
            return same[0]
        for report in self._open:
            rule = report.rule()
            if rule is not None and rule.name in _GROUPED and line.text.startswith(rule.heads):
                return report
            if report.oom and shapes.OF_OOM.match(line.text) is not None:
                return report
        return None

    def _append(self, owner: _Open, line: Line, now: float, hit: tuple[rules.Rule, object] | None) -> _Open:
        owner.watched += 1
        owner.last_now = now
        if line.ts_usec is not None and (owner.last_usec is None or line.ts_usec > owner.last_usec):
            owner.last_usec = line.ts_usec
        limits = self._limits
        if len(owner.lines) < limits.lines and owner.bytes < limits.bytes:
            owner.lines.append(line)
        else:
            owner.why = f"it has more than {limits.lines} lines, or {limits.bytes >> 10} KiB"
            if hit is not None and len(owner.lines) < limits.lines + PREFACE_LINES:
                owner.lines.append(line)
            if owner.watched > limits.watched_lines:
                self._end(owner, now)
                owner.panicked = True
                self.abandoned += 1
        return owner

    def _end(self, owner: _Open, now: float) -> None:
        """An end line came: the report waits only for a panic."""
        owner.ended = True
        self._due = min(self._due, now + self._limits.linger)
        self._ended = True

    def _keep(self, owner: _Open, message: Message, number: int | None) -> None:
        """Keep a message of a report."""
        if len(owner.messages) < self._limits.lines and owner.bytes < self._limits.bytes:
            owner.messages.append(message)
            owner.bytes += len(message.raw)
        if number is not None:
            owner.last_line = number
        if len(owner.messages) > 1 and isinstance(message, ExtendedMessage):
            lost = message.lost
            owner.missing += message.missing if lost is None else lost
            if message.incomplete:
                owner.missing += 1

    def _hit(
        self,
        rule: rules.Rule,
        match: object,
        line: Line,
        owner: _Open | None,
        now: float,
        message: Message,
        before: Callable[[], Sequence[Message]],
        number: int | None,
        out: list[Report],
    ) -> _Open | None:
        if rule.name == "panic":
            ending = self._ends(line.text, owner)
            if ending is not None:
                ending.fatal = True
                ending.ended = False
                ending.preface = False
                return self._append(ending, line, now, None)
        if owner is not None and self._continues(owner, rule, line, now):
            owner.hits.append(Hit(len(owner.lines), rule, match))  # type: ignore[arg-type]
            owner.preface = False
            if rule.name == "panic":
                owner.fatal = True
            return self._append(owner, line, now, (rule, match))
        if owner is not None:
            self._finish(owner, out)
        report = self._begin(line, now, message, before, number, out)
        if report is None:
            return None
        report.preface = False
        report.hits.append(Hit(0, rule, match))  # type: ignore[arg-type]
        report.fatal = rule.name == "panic"
        return self._append(report, line, now, (rule, match))

    def _ends(self, text: str, owner: _Open | None) -> _Open | None:
        """The report that a panic ends; None for a panic that is a report of its own."""
        what = text.partition(": ")[2]
        if owner is None and self._open and what.startswith(_ENDINGS):
            owner = max(self._open, key=lambda one: one.last_now)
        if owner is None or not owner.hits or (owner.hits[0].rule.name == "panic"):
            return None
        if what.startswith(_ENDINGS) or (what.startswith(_INIT) and not owner.ended):
            return owner
        return None

    def _continues(self, owner: _Open, rule: rules.Rule, line: Line, now: float) -> bool:
        """True if a first line belongs to a report that has begun."""
        if owner.oom and not any(hit.rule.kind == "oom" for hit in owner.hits):
            return rule.kind in ("oom", "panic")
        if owner.ended:
            return False
        if line.ts_usec is not None and owner.last_usec is not None and line.ts_usec - owner.last_usec > _APART_USEC:
            return False
        if rule.weak:
            return owner.rule() is not rule or owner.frames == 0
        if not owner.hits:
            return owner.frames == 0
        known = owner.rule()
        if known is rule:
            return rule.name in _GROUPED
        if owner.frames:
            return False
        if known is not None and known.name == "warning":
            return rule.name in _MESSAGES
        return known is None or known.weak or known.name in _FOLLOWED

    def _preface(
        self,
        line: Line,
        owner: _Open | None,
        now: float,
        message: Message,
        before: Callable[[], Sequence[Message]],
        number: int | None,
        out: list[Report],
    ) -> _Open | None:
        oom = rules.OOM in line.text
        if owner is not None:
            known = owner.rule()
            if line.text[0] == "=":
                if owner.preface and not owner.oom:
                    self._drop(owner, out)
                elif owner.frames and not owner.ended and known is not None and known.kind in shapes.RULED:
                    self._end(owner, now)
                    return self._append(owner, line, now, None)
                elif not owner.frames and not owner.ended:
                    return self._append(owner, line, now, None)
                elif not owner.ended:
                    self._finish(owner, out)
            elif (
                not oom
                and not owner.frames
                and not owner.ended
                and (known is None or known.name in _FOLLOWED or known.weak)
            ):
                return self._append(owner, line, now, None)
            if owner in self._open:
                self._finish(owner, out)
        report = self._begin(line, now, message, before, number, out)
        if report is None:
            return None
        report.oom = oom
        return self._append(report, line, now, None)

    def _begin(
        self,
        line: Line,
        now: float,
        message: Message,
        before: Callable[[], Sequence[Message]],
        number: int | None,
        out: list[Report],
    ) -> _Open | None:
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._begun = minute, 0
        if self._begun >= self._limits.reports_per_minute:
            self.refused += 1
            self.refused_until = (minute + 1) * 60.0
            return None
        self._begun += 1
        while len(self._open) >= self._limits.open_reports:
            oldest = self._open[0]
            oldest.why = f"{self._limits.open_reports} newer reports of the sender have begun"
            self.abandoned += 1
            self._finish(oldest, out)
        report = _Open(line.caller, now, line.ts_usec, number)
        self._due = min(self._due, now + SILENCE) if self._open else now + SILENCE
        report.number = self._number
        self._number += 1
        report.previous = self._last, self._last_usec, self._last_at
        report.before = tuple(before())[-self._limits.before :]
        report.before_bytes = sum([len(one.raw) for one in report.before])
        self._open.append(report)
        return report

    # The end of a report.

    def _expire_by_clock(self, usec: int, out: list[Report]) -> None:
        for report in list(self._open):
            if report.last_usec is not None and usec - report.last_usec > SILENCE * 1e6:
                self._finish(report, out)

    def _close_all(self, why: str) -> list[Report]:
        out: list[Report] = []
        for report in list(self._open):
            if not report.ended and report.why is None and not self._is_whole(report):
                report.why = why
            self._finish(report, out)
        return out

    @staticmethod
    def _is_whole(report: _Open) -> bool:
        """True if a report has its head and a stack up to its end, so that its function cannot become another one."""
        rule = report.rule()
        if rule is None or rule.short:
            return rule is not None
        return report.frames > 0 and any(shapes.BOTTOM.match(line.text) is not None for line in report.lines)

    def _finish(self, report: _Open, out: list[Report]) -> None:
        """Close a report, and add it to the finished ones unless it is none, or a repeat."""
        if report in self._open:
            self._open.remove(report)
        if not report.lines or not report.messages:
            self._release(out)
            return
        finding = titles.analyse(report.lines, report.hits, report.ended or report.fatal)
        if finding is None:
            self._release(out)
            return
        incomplete = report.why
        if incomplete is None and report.missing:
            plural = "message is" if report.missing == 1 else "messages are"
            incomplete = f"{report.missing} {plural} missing"
        rule = report.rule()
        if incomplete is None and not (rule is not None and rule.name == "panic" and self._oopsed):
            incomplete = finding.incomplete
        first = report.messages[0]
        usec = report.lines[0].ts_usec
        fatal = report.fatal or (
            not report.ended
            and finding.kind in shapes.OOPSES
            and finding.incomplete is None
            and any(_KDUMP in line.text for line in report.lines)
        )
        if (finding.tainted is not None and "D" in finding.tainted) or finding.kind in shapes.OOPSES:
            self._oopsed = True
        known = self._repeat_of(finding)
        if known is not None and (self._seen[known][1] or not fatal):
            self.repeats += 1
            # A buffer that is sent again repeats the report's lines, not the fault.
            is_replayed = isinstance(first, ExtendedMessage) and first.replayed
            if not is_replayed and not self._repeat_held(known):
                self._repeated[known] = self._repeated.get(known, 0) + 1
            self._seen.move_to_end(known)
            self._remember_last(None, report)
            self._release(out)
            return
        consequence = self._consequence(finding, report, usec)
        made = Report(
            title=finding.title,
            kind=finding.kind,
            severity="dead" if fatal else finding.severity if finding.severity != "dead" else "degraded",
            function=finding.function,
            module=finding.module,
            alternatives=finding.alternatives,
            fingerprint=titles.fingerprint(finding.title),
            source=self._source,
            release=(first.release if isinstance(first, ExtendedMessage) else None) or finding.release,
            machine=finding.machine,
            cpu=finding.cpu,
            pid=finding.pid,
            comm=finding.comm,
            tainted=finding.tainted,
            frames=finding.frames,
            messages=tuple(report.messages),
            before=report.before,
            received_at=first.received_at,
            ts_usec=usec,
            fatal=fatal,
            consequence_of=consequence,
            incomplete=incomplete,
            first_line=report.first_line,
            last_line=report.last_line,
        )
        self._remember(finding, fatal)
        self._remember_last(made, report)
        self._held.append((report.number, made, report.bytes + report.before_bytes))
        self._release(out)

    def _drop(self, report: _Open, out: list[Report]) -> None:
        """Forget what turned out to be no report."""
        self._open.remove(report)
        self._release(out)

    def _release(self, out: list[Report]) -> None:
        """Return the finished reports that began before all open ones, in the order of their begin."""
        first = min([one.number for one in self._open], default=self._number)
        if len(self._held) > self._limits.open_reports:
            first = self._number
        self._held.sort(key=_number_of)
        while self._held and self._held[0][0] < first:
            out.append(self._held.pop(0)[1])

    def _repeat_of(self, finding: titles.Finding) -> str | None:
        for key in (finding.title, _free_key(finding)):
            if key is not None and key in self._seen:
                return self._seen[key][0] if self._seen[key][0] in self._seen else key
        return None

    def _repeat_held(self, title: str) -> bool:
        """Count a repeat in its report, if that is not returned yet."""
        for index, (number, held, size) in enumerate(self._held):
            if held.title == title:
                self._held[index] = number, replace(held, repeats=held.repeats + 1), size
                return True
        return False

    def _remember(self, finding: titles.Finding, fatal: bool) -> None:
        for key in (_free_key(finding), finding.title):
            if key is not None:
                self._seen[key] = finding.title, fatal
                self._seen.move_to_end(key)
        while len(self._seen) > SEEN_LIMIT:
            self._seen.popitem(last=False)
        if len(self._repeated) > SEEN_LIMIT:
            self._repeated.clear()

    def _remember_last(self, made: Report | None, report: _Open) -> None:
        if made is not None:
            self._last = made
        self._last_usec = report.last_usec
        self._last_at = report.last_now

    def _consequence(self, finding: titles.Finding, report: _Open, usec: int | None) -> str | None:
        last, last_usec, last_at = report.previous
        if last is None:
            return None
        if last.fatal:
            return last.title
        if finding.kind in shapes.CHECKERS or finding.pid is None or finding.pid != last.pid:
            return None
        if finding.pid == 0 and finding.cpu != last.cpu:
            return None
        if usec is not None and last_usec is not None:
            near = usec - last_usec <= CONSEQUENCE_SECONDS * 1e6
        else:
            near = report.started - last_at <= CONSEQUENCE_SECONDS
        return last.title if near else None

    # Boots.

    def _outside(
        self,
        text: str,
        line: Line,
        message: Message,
        now: float,
        before: Callable[[], Sequence[Message]],
        number: int | None,
        out: list[Report],
    ) -> None:
        """A line of no report: an announcement of a reboot, or the first line of a boot in a file."""
        if announces(text):
            self._announced_at = now
        elif text.startswith("Linux version ") and not isinstance(message, ExtendedMessage) and not message.boot:
            out += self._booted(message, now, before, number)

    def _booted(
        self, message: Message, now: float, before: Callable[[], Sequence[Message]], number: int | None
    ) -> list[Report]:
        """The machine booted again: what is open went down with it, and nobody may have announced the boot."""
        had_open = bool(self._open)
        for report in self._open:
            rule = report.rule()
            if rule is not None and (rule.kind in shapes.OOPSES or rule.kind == "panic"):
                report.fatal = True
        out = self._close_all("the machine booted again")
        down = had_open or (self._last is not None and self._last.fatal)
        announced = self._announced_at is not None and now - self._announced_at <= ANNOUNCED_SECONDS
        earlier = tuple(before())[-self._limits.before :] if not down and not announced else ()
        was_up = any((one.ts_usec or 0) > (message.ts_usec or 0) for one in earlier)
        self._seen.clear()
        self._last = None
        self._announced_at = None
        self._oopsed = False
        if was_up:
            title = "unexpected kernel reboot"
            out.append(
                Report(
                    title=title,
                    kind="reboot",
                    severity="dead",
                    fingerprint=titles.fingerprint(title),
                    source=self._source,
                    release=message.release if isinstance(message, ExtendedMessage) else None,
                    messages=(message,),
                    before=earlier,
                    received_at=message.received_at,
                    ts_usec=message.ts_usec,
                    fatal=True,
                    first_line=number,
                    last_line=number,
                )
            )
        return out


def _number_of(held: tuple[int, Report, int]) -> int:
    return held[0]


def _free_key(finding: titles.Finding) -> str | None:
    """The kind-free form of a task: a stall that RCU and the watchdog both report is one."""
    if not finding.free_form or finding.function is None or finding.pid is None:
        return None
    return f"{finding.free_form} in {finding.function} of {finding.pid}"
