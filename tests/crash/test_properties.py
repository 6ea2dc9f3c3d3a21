"""Any messages in any order: nothing raises, no bound is exceeded, and a report has received messages only."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.crash import lines, rules
from netconsd.crash.recogniser import PREFACE_LINES, SEEN_LIMIT, Limits, Recogniser
from netconsd.crash.report import KINDS, SEVERITIES, Report
from netconsd.crash.titles import TITLE_LIMIT
from netconsd.protocol.message import Message
from netconsd.testing import extended_message, legacy_message, source
from tests.support.crash_corpus import cases
from tests.support.crash_lines import OOPS, WARN, console_lines, titles

#: Lines that make a recogniser do something: of examples, first lines, ends, and noise.
LINES = sorted(
    {
        *OOPS.splitlines(),
        *WARN.splitlines(),
        *(head for rule in rules.RULES for head in rule.heads),
        *(literal.decode() for literal in rules.LITERALS),
        *("Kernel panic - not syncing: Fatal exception", "---[ end Kernel panic", "Rebooting in 5 seconds..", ""),
        *("Sending NMI from CPU 0 to CPUs 1:", "NMI backtrace for cpu 1", "Linux version 7.3.4", "=" * 60),
        *("sh invoked oom-killer: gfp_mask=0x1", "Out of memory: Killed process 1 (sh)", "Allocated by task 1:"),
        *("INFO: task sh:1 blocked for more than 120 seconds.", "task:sh state:D", "\x1b[31mred\x1b[0m", "\0\xff"),
        *("BUG: KASAN: use-after-free in f+0x1/0x2", "Read of size 8 at addr ffff by task sh/1", " ? f+0x1/0x2"),
        *("WARNING: possible circular locking dependency detected", "sh/1 is trying to acquire lock:", "-> #1 (&a){}:"),
    }
)
LIMITS = Limits(open_reports=3, lines=20, bytes=4000, watched_lines=60, reports_per_minute=30)
line = st.one_of(
    st.sampled_from(LINES),
    st.builds(
        "{}{}".format,
        st.sampled_from(["<4>[   12.345678] ", "[    5.000001][  T12] ", "x login: "]),
        st.sampled_from(LINES),
    ),
    st.builds("{}\n{}".format, st.sampled_from(LINES), st.sampled_from(LINES)),
    st.text(max_size=60),
)
message = st.one_of(
    st.builds(legacy_message, line),
    st.builds(
        extended_message,
        line,
        seq=st.integers(0, 1 << 63),
        ts_usec=st.integers(0, 1 << 63),
        caller=st.sampled_from([None, "T1", "T2", "C0"]),
        boot=st.sampled_from([False] * 20 + [True]),
        seq_reset=st.sampled_from([False] * 20 + [True]),
        replayed=st.sampled_from([False] * 9 + [True]),
        missing=st.integers(0, 3),
    ),
)


def check(recogniser: Recogniser, reports: Sequence[Report], received: set[int]) -> None:
    """The promises about reports and bounds."""
    assert recogniser.open_lines <= LIMITS.open_reports * (LIMITS.lines + PREFACE_LINES)
    assert len(recogniser.take_repeats()) <= SEEN_LIMIT
    assert (recogniser.deadline is not None) is recogniser.is_open
    for report in reports:
        assert report.kind in KINDS
        assert report.severity in SEVERITIES
        assert report.title.isascii()
        assert report.title.isprintable()
        assert 0 < len(report.title) <= TITLE_LIMIT
        assert report.fatal is (report.severity == "dead")
        assert 0 < len(report.messages) <= LIMITS.lines
        assert received.issuperset(map(id, report.messages))
        assert Report.from_fields(report.fields(), report.messages, report.before) == report


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(message, st.floats(0.0, 3.0)), max_size=80))
def test_anything(steps: list[tuple[Message, float]]) -> None:
    """Any messages at any times: nothing raises, bounds hold, and no message is in two reports."""
    recogniser = Recogniser(source(), limits=LIMITS)
    received: set[int] = set()
    kept: list[int] = []
    now = 0.0
    everything = []
    for one, pause in steps:
        now += pause
        # The same object can be drawn twice: a message is received once.
        if id(one) in received:
            continue
        received.add(id(one))
        reports = [*recogniser.expire(now), *recogniser.take(one, now, lambda: ())]
        check(recogniser, reports, received)
        everything += reports
    everything += recogniser.finish()
    check(recogniser, everything, received)
    assert not recogniser.is_open
    for report in everything:
        # A message of several lines can be in several reports.
        kept += [id(one) for one in report.messages if len(lines.lines_of(one)) < 2]
    assert len(kept) == len(set(kept))


@given(st.text(max_size=200) | line)
def test_any_line(text: str) -> None:
    """Each reader of a line takes any text."""
    for one in (legacy_message(text), extended_message(text)):
        for part in lines.lines_of(one):
            assert part.text
            assert len(part.text) <= lines.LINE_LIMIT
            rules.find(part.text)
            lines.pointer_of(part.text)
            for frame in lines.frames_of(part.text):
                assert frame.name
                assert lines.plain_name(frame.name)


def test_a_line_of_a_megabyte() -> None:
    """A long line, and a message of many lines, cost as much as the lines that are looked at."""
    for text in ("BUG: " + "x" * 1_000_000, "a\n" * 100_000, "[" * 1_000_000, "+0x" * 300_000, "<4>" * 100_000):
        assert sum(len(part.text) for part in lines.lines_of(legacy_message(text))) <= (
            lines.LINE_LIMIT * lines.LINES_OF_A_MESSAGE_LIMIT
        )
        assert titles([legacy_message(text)]) == []


CASES = [case for case in cases() if case.title != "-"]


@pytest.mark.parametrize("case", CASES[::4], ids=[case.name for case in CASES[::4]])
def test_whole_or_line_by_line(case: object) -> None:
    """The lines of a log in one message or in one message each give the same titles."""
    text = [one.removesuffix("\n") for one in case.lines()]  # type: ignore[attr-defined]
    whole = [
        legacy_message("\n".join(text[index : index + lines.LINES_OF_A_MESSAGE_LIMIT]))
        for index in range(0, len(text), lines.LINES_OF_A_MESSAGE_LIMIT)
    ]
    assert titles(whole) == titles(console_lines("\n".join(text)))
