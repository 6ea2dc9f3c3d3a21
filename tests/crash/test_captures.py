"""Crashes of real kernels: the datagrams of recordings through a sender's stream give the reports of the table.

tests/data/crash_captures.json has excerpts. The whole recordings are beside the repository, where the developers keep
them (``../shared/captures``); without them their test is skipped.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from netconsd.crash.recogniser import Recogniser
from netconsd.crash.report import Report
from netconsd.crash.rules import LITERALS
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.table import SourceTable
from netconsd.testing import source
from tests.support.crash_lines import console_lines, titles

EXCERPTS = json.loads((Path(__file__).parents[1] / "data" / "crash_captures.json").read_text())
CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"


@dataclass
class Row:
    """A row of titles.tsv: one expected report, with the answers that are equally right."""

    titles: set[str]
    functions: set[str]
    kind: str
    fatal: set[str]
    roles: set[str]
    first_seq: str

    @classmethod
    def parse(cls, line: str) -> Row | None:
        """Return the row of a line; None for one that says that nothing is reported."""
        _, number, title, function, kind, fatal, role, first_seq, *note = line.split("\t")
        if number == "0":
            return None
        row = cls({title}, {function}, kind, {fatal}, {role}, first_seq)
        said = note[0] if note else ""
        if not said.startswith("alt:"):
            return row
        for other in said.removeprefix("alt:").partition(" ## ")[0].split(" | "):
            word = other.strip()
            if word.startswith("role "):
                row.roles.add(word.removeprefix("role "))
            elif word.startswith("fatal "):
                row.fatal.add(word.removeprefix("fatal "))
            elif word == "- (no report)":
                row.roles.add("none")
            elif word.startswith("- (title "):
                row.titles.add(word.partition('"')[2].partition('"')[0])
                row.functions.add("-")
            elif " " in word:
                row.titles.add(word)
                row.functions.add(word.rpartition(" in ")[2])
            else:
                row.functions.add(word)
                row.titles.add(title.replace(f" in {function}", f" in {word}" if word != "-" else ""))
        return row

    def differences(self, report: Report) -> list[str]:
        """What is not right in a report."""
        found = []
        if report.title not in self.titles:
            found.append(f"title {report.title!r} instead of {self.titles}")
        if (report.function or "-") not in self.functions:
            found.append(f"function {report.function} instead of {self.functions}")
        if report.kind != self.kind:
            found.append(f"kind {report.kind} instead of {self.kind}")
        if ("yes" if report.fatal else "no") not in self.fatal:
            found.append(f"fatal {report.fatal}")
        if ("first" if report.consequence_of is None else "consequence") not in self.roles:
            found.append(f"a consequence of {report.consequence_of} instead of {self.roles}")
        first = report.messages[0]
        if isinstance(first, ExtendedMessage) and str(first.seq) != self.first_seq:
            found.append(f"from {first.seq} instead of {self.first_seq}")
        return found


def play(datagrams: Iterable[tuple[float, str]]) -> list[tuple[Message, float]]:
    """The messages of a recording, each with the time of its delivery."""
    table = SourceTable(WorkerCounters(), limit=9, reorder_time=0.2, gc_interval=60.0, age=3600.0)
    out: list[tuple[Message, float]] = []
    now = 0.0
    for arrival, data in datagrams:
        now = 1000.0 + arrival
        while table.next_deadline() < now:
            deadline = table.next_deadline()
            out += [(message, deadline) for message in table.advance(deadline)]
        out += [(message, now) for message in table.feed([source().key], [data.encode("latin-1")], now, now)]
    return out + [(message, now) for message in table.flush()]


def reports_of(datagrams: Iterable[tuple[float, str]]) -> tuple[list[Report], int]:
    """The reports of a recording, by the way of a lane: only messages that the prefilter finds begin one."""
    recogniser = Recogniser()
    ring: deque[Message] = deque(maxlen=50)
    reports: list[Report] = []
    received: set[int] = set()
    for message, now in play(datagrams):
        reports += recogniser.expire(now)
        wanted = recogniser.is_open or message.new or any(literal in message.raw for literal in LITERALS)
        if wanted or (isinstance(message, ExtendedMessage) and message.boot):
            reports += recogniser.take(message, now, lambda: tuple(ring))
        ring.append(message)
        received.add(id(message))
    reports += recogniser.finish()
    kept = [id(message) for report in reports for message in report.messages]
    assert len(kept) == len(set(kept)), "a message is in one report"
    assert received.issuperset(kept), "a report's messages are messages that were received"
    return reports, recogniser.repeats


def check(lines: Iterable[str], datagrams: Iterable[tuple[float, str]]) -> None:
    """Compare the reports of a recording with its rows."""
    rows = [row for row in map(Row.parse, lines) if row is not None]
    reports, repeats = reports_of(datagrams)
    expected = [row for row in rows if row.roles != {"repeat"}]
    wrong = []
    for report in reports:
        while expected and expected[0].roles & {"repeat", "none"} and report.title not in expected[0].titles:
            expected.pop(0)
        assert expected, f"{report.title} was not expected"
        wrong += [f"{report.title}: {text}" for text in expected.pop(0).differences(report)]
    assert wrong == []
    assert [row.titles for row in expected if not row.roles & {"repeat", "none"}] == []
    certain = sum(row.roles == {"repeat"} for row in rows)
    assert certain <= repeats <= sum("repeat" in row.roles for row in rows)


@pytest.mark.parametrize("name", EXCERPTS)
def test_an_excerpt(name: str) -> None:
    """A crash of a real kernel is the report that was decided by reading."""
    check(EXCERPTS[name]["rows"], [(arrival, data) for arrival, data in EXCERPTS[name]["datagrams"]])


def _rows() -> dict[str, list[str]]:
    rows: dict[str, list[str]] = defaultdict(list)
    if CAPTURES.is_dir():
        for line in (CAPTURES / "titles.tsv").read_text().splitlines():
            if not line.startswith("#"):
                rows[line.partition("\t")[0]].append(line)
    return rows


ROWS = _rows()


@pytest.mark.skipif(not ROWS, reason="the recordings are not beside the repository")
@pytest.mark.parametrize("name", ROWS)
def test_a_recording(name: str) -> None:
    """As before, with all recordings, those without a crash included."""
    objects = map(json.loads, (CAPTURES / f"{name}.jsonl").read_text().splitlines())
    check(ROWS[name], [(one["t"], one["data"]) for one in objects])


@pytest.mark.skipif(not ROWS, reason="the recordings are not beside the repository")
@pytest.mark.parametrize("name", ROWS)
def test_the_text_of_a_report(name: str) -> None:
    """A report's own text, fed again as console text, gives the same title."""
    objects = map(json.loads, (CAPTURES / f"{name}.jsonl").read_text().splitlines())
    reports, _ = reports_of([(one["t"], one["data"]) for one in objects])
    for report in reports:
        if report.kind != "reboot":
            assert titles(console_lines(report.text()))[:1] == [report.title]
