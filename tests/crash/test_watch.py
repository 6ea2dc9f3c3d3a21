"""The watch of one worker: the messages that reach a recogniser, bounds, deadlines, and errors that stay inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from netconsd.crash import life, watch
from netconsd.crash.prefilter import Prefilter
from netconsd.crash.report import Report
from netconsd.crash.watch import Watch
from netconsd.message import LegacyDatagram, Message, Source
from netconsd.protocol.counters import CrashCounters
from netconsd.testing import extended_message

FIRST = "CRASH BEGINS"
END = "CRASH ENDS"
# The silence that closes a report.
SILENCE = 5.0


class ScriptedRecogniser:
    """A report begins with each FIRST, unless one is open, and ends with END or silence."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.taken: list[str] = []
        self.lines: list[Message] = []
        self.before: Sequence[Message] = ()
        self.deadline: float | None = None
        self.repeats = self.abandoned = self.refused = 0
        self.refused_until = 0.0
        self.repeated: list[tuple[str, int]] = []
        self.error: Exception | None = None
        self.silence: float | None = SILENCE

    @property
    def is_open(self) -> bool:
        return bool(self.lines)

    @property
    def open_lines(self) -> int:
        return len(self.lines)

    @property
    def open_bytes(self) -> int:
        return sum(len(message.raw) for message in (*self.lines, *(self.before if self.lines else ())))

    def take(self, message: Message, now: float, before: Callable[[], Sequence[Message]]) -> list[Report]:
        self.taken.append(message.text)
        if self.error is not None:
            raise self.error
        if not self.lines:
            if message.text != FIRST:
                return []
            self.before = before()
        self.lines.append(message)
        self.deadline = None if self.silence is None else now + self.silence
        return self._close(None) if message.text == END else []

    def expire(self, now: float) -> list[Report]:
        return self._close(None) if self.deadline is not None and self.deadline <= now else []

    def finish(self) -> list[Report]:
        return self._close("the input ended")

    def abandon(self, why: str) -> list[Report]:
        self.abandoned += 1
        return self._close(why)

    def take_repeats(self) -> list[tuple[str, int]]:
        return self.repeated

    def _close(self, why: str | None) -> list[Report]:
        lines, self.lines, self.deadline = self.lines, [], None
        return [
            Report("a crash", "bug", "degraded", source=self.source, messages=tuple(lines), incomplete=why,
                   before=tuple(self.before))
        ]  # fmt: skip


class ScriptedLife:
    """Keeps the calls; an event is the text of its message."""

    def __init__(self) -> None:
        self.counters = life.LifeCounters()
        self.calls: list[Any] = []

    def take(self, message: Message, now: float) -> list[Any]:
        self.calls.append(message.text)
        return [f"event of {message.text}"]

    def reported(self, report: Report, now: float) -> list[Any]:
        return [f"reported {report.title}"]

    def repeated(self, source: Source, title: str, count: int, received_at: float, now: float) -> list[Any]:
        return [f"{title} repeated {count}"]

    def sweep(self, heard: Any, now: float, received_at: float) -> list[Any]:
        self.calls.append((now, received_at, list(heard)))
        return []

    def finish(self, now: float) -> list[Any]:
        return ["the end"]


class Bench:
    """A watch, and senders that each have one Source object, as in a table."""

    def __init__(self, *, reports: bool = True, events: bool = False) -> None:
        self.recognisers: dict[str, ScriptedRecogniser] = {}
        self.sources: dict[str, Source] = {}
        self.failures = 0
        self.counters = CrashCounters()
        self.life = ScriptedLife() if events else None
        prefilter = Prefilter([FIRST.encode(), b"OTHER HIT"])
        self.watch = Watch(prefilter, self._make if reports else None, self.life, self.counters, self._failed)

    def _make(self, source: Source) -> ScriptedRecogniser:
        recogniser = self.recognisers[source.address] = ScriptedRecogniser(source)
        return recogniser

    def _failed(self) -> None:
        self.failures += 1

    def message(self, text: str, sender: int = 1, received_at: float = 0.0, **marks: Any) -> Message:
        address = f"10.{sender >> 16}.{sender >> 8 & 255}.{sender & 255}"
        message = extended_message(text, address=address, received_at=received_at, **marks)
        message._source = self.sources.setdefault(address, message.source)
        return message

    def look(self, *texts: str, sender: int = 1, now: float = 0.0) -> list[Any]:
        return self.watch.look([self.message(text, sender, now) for text in texts], now)

    def advance(self, now: float) -> list[Any]:
        return self.watch.advance(now, now + 1000, lambda since: [])


def shown(found: list[Any]) -> list[str]:
    """The titles of reports, and scripted events."""
    return [item.title if isinstance(item, Report) else item for item in found]


def texts(report: Report) -> list[str]:
    """The texts of a report's messages."""
    return [message.text for message in report.messages]


def test_ordinary_messages_reach_no_recogniser() -> None:
    """Without a hit nothing is found, no recogniser is made, and no deadline is set."""
    bench = Bench()
    assert bench.look("one", "two") == []
    assert bench.recognisers == {}
    assert bench.watch.next_deadline() == float("inf")
    assert bench.counters == CrashCounters()


def test_a_report_gets_the_messages_of_its_sender_until_its_end() -> None:
    """From the hit on all messages of the sender are taken, those of others are not; afterwards only hits are."""
    bench = Bench()
    a, b = 1, 2
    messages = [bench.message(text, sender) for text, sender in (("x", a), (FIRST, a), ("y", b), ("z", a), (END, a))]
    (report,) = bench.watch.look(messages, 0.0)
    assert texts(report) == [FIRST, "z", END]
    assert bench.look("later", "OTHER HIT") == []
    (recogniser,) = bench.recognisers.values()
    assert recogniser.taken == [FIRST, "z", END, "OTHER HIT"]
    assert (bench.counters.lines, bench.counters.reports, bench.watch.open_reports) == (4, 1, 0)


def test_messages_are_not_copied() -> None:
    """A report has the messages themselves."""
    bench = Bench()
    messages = [bench.message(FIRST), bench.message(END)]
    (report,) = bench.watch.look(list(messages), 0.0)
    assert all(one is other for one, other in zip(report.messages, messages, strict=True))


def test_a_datagram_of_legacy_text_is_ignored() -> None:
    """Its lines are looked at instead."""
    bench = Bench(events=True)
    source = bench.message("x").source
    assert bench.watch.look([LegacyDatagram(source, 0.0, FIRST.encode())], 0.0) == []
    assert bench.recognisers == {}
    assert bench.life is not None
    assert bench.life.calls == []


def test_before() -> None:
    """A report has the sender's last 50 messages of the last minute, in order, and nobody else's."""
    bench = Bench()
    bench.look("an hour ago", now=-3600.0)
    for number in range(60):
        bench.look(f"mine {number}", now=float(number))
        bench.look(f"other {number}", sender=2, now=float(number))
    (report,) = bench.look(FIRST, END, now=60.0)
    assert [message.text for message in report.before] == [f"mine {number}" for number in range(10, 60)]
    (report,) = bench.look(FIRST, END, sender=2, now=100.0)
    assert [message.text for message in report.before] == [f"other {number}" for number in range(40, 60)]


def test_the_ring_is_bounded() -> None:
    """Messages before the last RING_MESSAGES of the worker are forgotten."""
    bench = Bench()
    bench.look("forgotten", "remembered")
    others = [bench.message("other", sender=2)] * (watch.RING_MESSAGES - 1)
    bench.watch.look(others, 0.0)
    (report,) = bench.look(FIRST, END)
    assert [message.text for message in report.before] == ["remembered"]


def test_the_bytes_of_the_ring_are_bounded() -> None:
    """Large messages push out the ones before them."""
    bench = Bench()
    bench.look("forgotten")
    size = 100_000
    large = [bench.message("x" * size, sender=2)] * (watch.RING_BYTES // size + 1)
    bench.watch.look(large, 0.0)
    bench.look("remembered")
    (report,) = bench.look(FIRST, END)
    assert [message.text for message in report.before] == ["remembered"]
    (report,) = bench.look(FIRST, END, sender=2)
    assert report.before


def test_a_report_expires_at_its_deadline() -> None:
    """The next deadline is that of the earliest report, and no report closes before it."""
    bench = Bench()
    bench.look(FIRST, sender=1, now=10.0)
    bench.look(FIRST, sender=2, now=12.0)
    assert bench.watch.next_deadline() == 10.0 + SILENCE
    assert bench.advance(14.9) == []
    (report,) = bench.advance(15.0)
    assert report.source is bench.message("x", 1).source
    assert bench.watch.next_deadline() == 12.0 + SILENCE
    (report,) = bench.advance(17.0)
    assert bench.watch.next_deadline() == float("inf")


def test_a_line_moves_the_deadline() -> None:
    """A look at the old deadline finds nothing, and sets the new one."""
    bench = Bench()
    bench.look(FIRST, now=10.0)
    bench.look("more", now=14.0)
    assert bench.advance(15.0) == []
    assert bench.watch.next_deadline() == 14.0 + SILENCE


def test_a_recogniser_without_a_deadline_waits_no_longer_than_the_bound() -> None:
    """A report whose recogniser does not say how long it waits is closed after WAIT_SECONDS."""
    bench = Bench()
    bench.look("OTHER HIT")
    (recogniser,) = bench.recognisers.values()
    recogniser.silence = None
    bench.look(FIRST)
    assert bench.watch.next_deadline() == watch.WAIT_SECONDS
    (report,) = bench.advance(watch.WAIT_SECONDS)
    assert report.incomplete == "nothing further arrived"


def test_the_end_closes_open_reports() -> None:
    """``finish`` returns them, and nothing is open afterwards."""
    bench = Bench()
    bench.look(FIRST, "more")
    (report,) = bench.watch.finish(0.0)
    assert texts(report) == [FIRST, "more"]
    assert (bench.watch.open_reports, bench.watch.next_deadline()) == (0, float("inf"))
    assert bench.watch.finish(0.0) == []


def test_a_boot_ends_a_report_but_a_first_message_begins_nothing() -> None:
    """A boot reaches the recogniser of its sender, a new one if needed; ``new`` only one that exists."""
    bench = Bench()
    bench.watch.look([bench.message("a", 1, new=True)], 0.0)
    assert bench.recognisers == {}
    bench.watch.look([bench.message("b", 1, boot=True)], 0.0)
    (recogniser,) = bench.recognisers.values()
    bench.watch.look([bench.message("c", 1, new=True)], 0.0)
    assert recogniser.taken == ["b", "c"]


# Bounds.


def test_open_senders_are_bounded() -> None:
    """One more than OPEN_SENDERS_LIMIT closes the oldest report as incomplete."""
    bench = Bench()
    for sender in range(watch.OPEN_SENDERS_LIMIT):
        assert bench.look(FIRST, sender=sender, now=float(sender)) == []
    (report,) = bench.look(FIRST, sender=watch.OPEN_SENDERS_LIMIT, now=float(watch.OPEN_SENDERS_LIMIT))
    assert report.source is bench.message("x", 0).source
    assert report.incomplete
    assert (bench.watch.open_reports, bench.counters.abandoned) == (watch.OPEN_SENDERS_LIMIT, 1)


def test_open_lines_are_bounded() -> None:
    """The oldest open report is closed when all together have more than OPEN_LINES_LIMIT lines."""
    bench = Bench()
    part = 2048
    found: list[Any] = []
    senders = watch.OPEN_LINES_LIMIT // part
    for sender in range(senders):
        found += bench.look(FIRST, *["more"] * (part - 1), sender=sender, now=sender * 100.0)
    assert found == []
    (report,) = bench.look(FIRST, sender=senders, now=senders * 100.0)
    assert len(report.messages) == part
    assert bench.watch.open_reports == senders


def test_open_bytes_are_bounded() -> None:
    """The messages before a report count as well: each report keeps up to 50 of them in memory."""
    bench = Bench()
    large = "x" * 100_000
    found: list[Any] = []
    sender = 0
    while not found and sender < 1000:
        sender += 1
        messages = [bench.message(large, sender, float(sender))] * 50
        found += bench.watch.look([*messages, bench.message(FIRST, sender, float(sender))], float(sender))
    expected = watch.OPEN_BYTES_LIMIT // (50 * 100_000)
    assert expected <= sender <= expected + 2
    assert found[0].incomplete


def test_open_bytes_are_bounded_beside_chatter() -> None:
    """Messages that belong to no report change nothing of what the real recognisers hold, and of its bound."""
    made = watch.watches(True, False, lambda: None, 1000)()
    first = "BUG: unable to handle page fault for address: 0000000000000000"
    held: list[Any] = []
    now = 0.0
    sender = 0
    while not held and sender < 200:
        sender += 1
        for text in (first, *["x" * 60_000, "chatter"] * 8):
            now += 0.001
            caller = "T2" if text == "chatter" else "T1"
            held += made.look([extended_message(text, address=f"10.0.0.{sender}", seq=1, caller=caller)], now)
    expected = watch.OPEN_BYTES_LIMIT // (8 * 60_000)
    assert expected - 1 <= sender <= expected + 2


def test_remembered_senders_are_bounded() -> None:
    """The sender unused longest is forgotten: its next hit gets a new recogniser."""
    bench = Bench()
    bench.look(FIRST, END, sender=0)
    first = bench.recognisers["10.0.0.0"]
    for sender in range(1, watch.SENDERS_LIMIT + 1):
        bench.look("OTHER HIT", sender=sender, now=sender * 1.0)
    bench.look("OTHER HIT", sender=0, now=1e6)
    assert bench.recognisers["10.0.0.0"] is not first


def test_a_sender_has_an_allowance_of_lines() -> None:
    """After 4096 lines a sender's report is closed, and its lines are skipped for a while; others are read."""
    bench = Bench()
    lines = int(watch.SENDER_BURST_SECONDS * watch.SENDER_LINES_PER_SECOND)
    found = bench.look(FIRST, *["more"] * (lines + 100))
    (report,) = found
    assert lines - 1 <= len(report.messages) <= lines + 1
    assert "more lines" in str(report.incomplete)
    bench.look(FIRST, FIRST)
    assert bench.counters.skipped >= 3
    (other,) = bench.look(FIRST, END, sender=2)
    assert other.incomplete is None
    assert bench.look(FIRST, END, now=watch.SKIP_SECONDS - 1) == []
    (again,) = bench.look(FIRST, END, now=watch.SKIP_SECONDS + 1)
    assert texts(again) == [FIRST, END]


def test_new_reports_leave_half_of_the_allowance_to_open_ones() -> None:
    """A flood of first lines from any addresses ends in skips, and an open report goes on."""
    bench = Bench()
    bench.look(FIRST, sender=0)
    allowed = int(watch.LINES_PER_SECOND * watch.BURST_SECONDS / 2)
    flood = [bench.message("OTHER HIT", sender=1 + number % 5000) for number in range(allowed + 5000)]
    bench.watch.look(flood, 0.0)
    assert bench.counters.lines <= allowed + 1
    assert bench.counters.skipped >= 5000 - 16
    (report,) = bench.look("more", END, sender=0)
    assert texts(report) == [FIRST, "more", END]


def test_the_refusal_of_a_recogniser_is_respected() -> None:
    """While a recogniser refuses reports, it is not asked."""
    bench = Bench()
    bench.look("OTHER HIT")
    (recogniser,) = bench.recognisers.values()
    recogniser.refused_until = 60.0
    bench.look("OTHER HIT", now=1.0)
    bench.look("OTHER HIT", now=2.0)
    assert len(recogniser.taken) == 2
    bench.watch.look([bench.message("boot", boot=True)], 3.0)
    assert recogniser.taken[-1] == "boot"


# Errors.


def test_an_error_costs_no_message_and_is_reported_once() -> None:
    """The sender starts again with a new recogniser; the first exception only is reported, all are counted."""
    bench = Bench()
    bench.look("OTHER HIT")
    broken = bench.recognisers["10.0.0.1"]
    broken.error = ValueError("a bug")
    (report,) = bench.look(FIRST, FIRST, "more", END)
    assert texts(report) == [FIRST, "more", END]
    assert bench.recognisers["10.0.0.1"] is not broken
    bench.recognisers["10.0.0.1"].error = ValueError("another bug")
    bench.look("OTHER HIT")
    assert (bench.counters.errors, bench.failures) == (2, 1)


@pytest.mark.parametrize("method", ["expire", "finish", "abandon"])
def test_errors_at_the_end_of_a_report(method: str) -> None:
    """An exception while a report is closed leaves nothing open."""
    bench = Bench()
    bench.look(FIRST)

    def fail(*arguments: Any) -> list[Report]:
        raise RuntimeError("a bug")

    (recogniser,) = bench.recognisers.values()
    setattr(recogniser, method, fail)
    if method == "expire":
        bench.advance(SILENCE)
    elif method == "finish":
        bench.watch.finish(0.0)
    else:
        bench.look(*["more"] * 5000)
    assert bench.watch.open_reports == 0
    assert bench.counters.errors == 1


# Events.


def test_the_life_gets_hits_and_marked_messages() -> None:
    """Each message with a mark of a boot or a loss, and each hit; ordinary ones cost nothing."""
    bench = Bench(reports=False, events=True)
    assert bench.life is not None
    marks: list[dict[str, Any]] = [{"new": True}, {"boot": True}, {"lost": 2}, {"likely_lost": 1}, {"missing": 16}]
    messages = [bench.message(str(mark), **mark) for mark in marks]
    others = [bench.message("plain"), bench.message("few", missing=15), bench.message("none", lost=0)]
    found = bench.watch.look([*others, *messages, bench.message("OTHER HIT")], 0.0)
    assert bench.life.calls == [*(str(mark) for mark in marks), "OTHER HIT"]
    assert len(found) == bench.counters.events == 6


def test_the_gap_is_that_of_the_life() -> None:
    """Both have the number of missing records from which on a gap is an event."""
    assert watch.GAP_RECORDS == life.GAP_RECORDS


def test_events_follow_reports() -> None:
    """The event that a report explains comes after it."""
    bench = Bench(events=True)
    found = bench.look(FIRST, END)
    assert shown(found) == [f"event of {FIRST}", "a crash", "reported a crash"]
    assert bench.watch.finish(0.0) == ["the end"]


def test_repeats_are_events() -> None:
    """A recogniser's repeats are counted, and told to the life."""
    bench = Bench(events=True)
    bench.look("OTHER HIT")
    (recogniser,) = bench.recognisers.values()
    recogniser.repeats, recogniser.repeated = 3, [("a crash", 3)]
    assert bench.look("OTHER HIT")[0] == "a crash repeated 3"
    assert bench.counters.repeats == 3


def test_events_have_an_allowance() -> None:
    """A flood of new senders does not reach the life without end."""
    bench = Bench(reports=False, events=True)
    allowed = int(watch.EVENTS_PER_SECOND * watch.EVENTS_BURST_SECONDS)
    bench.watch.look([bench.message("x", new=True)] * (allowed + 100), 0.0)
    assert bench.life is not None
    assert abs(len(bench.life.calls) - allowed) <= 1
    assert bench.counters.skipped + len(bench.life.calls) == allowed + 100


def test_sweeps() -> None:
    """The life is asked every SWEEP_SECONDS, and looks at the senders heard since the last time at longer intervals."""
    bench = Bench(reports=False, events=True)
    assert bench.life is not None
    asked: list[float] = []

    def heard(since: float) -> list[Any]:
        asked.append(since)
        return [("sender", 1.0, 7)]

    bench.look("x", now=10.0)
    now = bench.watch.next_deadline()
    assert now == 10.0 + watch.SWEEP_SECONDS
    while now < 50.0:
        bench.watch.advance(now, now + 1000, heard)
        now = bench.watch.next_deadline()
    assert bench.life.calls[0] == (12.0, 1012.0, [("sender", 1.0, 7)])
    assert bench.life.calls[1] == (14.0, 1014.0, [])
    assert asked == [-float("inf"), 12.0, 42.0][: len(asked)]
    assert len(asked) == 2


def test_an_error_of_the_life_is_counted() -> None:
    """It affects neither messages nor reports."""
    bench = Bench(events=True)
    assert bench.life is not None

    def fail(message: Message, now: float) -> list[Any]:
        raise KeyError("a bug")

    bench.life.take = fail  # type: ignore[method-assign]
    found = bench.look(FIRST, END)
    assert shown(found) == ["a crash", "reported a crash"]
    assert (bench.counters.errors, bench.failures) == (1, 1)


def test_the_end_counts_the_last_events_of_the_life() -> None:
    """Events that the life withholds, and senders that it forgets, at the end itself are counted as well."""
    bench = Bench(events=True)
    scripted = bench.life
    assert scripted is not None

    def finish(now: float) -> list[Any]:
        scripted.counters.withheld, scripted.counters.forgotten = 3, 2
        return []

    scripted.finish = finish  # type: ignore[method-assign]
    bench.watch.finish(0.0)
    assert (bench.counters.withheld, bench.counters.forgotten) == (3, 2)


def test_a_message_beyond_both_allowances_is_skipped_once() -> None:
    """A message that neither the recogniser nor the life reads is one of ``skipped``; one that either reads is too."""
    bench = Bench(events=True)
    assert bench.life is not None
    number = int(watch.LINES_PER_SECOND * watch.BURST_SECONDS)
    messages = [bench.message("OTHER HIT", sender=1 + each % 5000, lost=1) for each in range(number)]
    bench.watch.look(messages, 0.0)
    both = number - max(bench.counters.lines, len(bench.life.calls))
    either = number - min(bench.counters.lines, len(bench.life.calls))
    assert 0 < both < either
    assert bench.counters.skipped == either


def test_a_message_that_a_recogniser_refuses_is_skipped_once() -> None:
    """Also if the allowance of the life is used up."""
    bench = Bench(events=True)
    bench.look("OTHER HIT")
    (recogniser,) = bench.recognisers.values()
    bench.watch.look([bench.message("x", sender=2, new=True)] * 10_000, 0.0)
    skipped = bench.counters.skipped
    assert skipped
    recogniser.refused = 1
    bench.look("OTHER HIT")
    assert recogniser.taken == ["OTHER HIT"] * 2
    assert bench.counters.skipped == skipped + 1
