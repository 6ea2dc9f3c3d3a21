"""The corpus of public console logs: each log has its title, and the part with lost lines is as good as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from netconsd.crash import functions
from netconsd.crash.report import Frame
from tests.support.crash_corpus import CORPUS, NOTHING, Case, Score, cases, judge, recognise, with_chatter

CASES = cases()
#: Logs with another title than they should have, with the reason.
MISSES = {
    "bug-dccp": "no rule for any line that begins with BUG: the prefilter has no word for it",
    "hung-btrfs": "btrfs_lock_extent_bits waits for others, but names with lock in them can be the culprit",
    "warn-trace-hardirqs-on": "named in 2022 for a tracing hook, which is machinery",
}
#: The least part of the titles that are right when 5 % of the lines are lost; measured: 0.93.
LOSSY_TITLES = 0.90


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_log(case: Case) -> None:
    """The first report of a log has its title and kind; a log in which nothing crashed has no report."""
    reports = recognise(case.lines())
    if case.name in MISSES:
        assert not reports or reports[0].title not in case.titles, "right now: remove it from MISSES"
    elif case.title == NOTHING:
        assert [report.title for report in reports] == []
    else:
        assert [report.title for report in reports[:1] if report.title not in case.titles] == []
        assert reports[0].kind == case.kind


def test_chatter() -> None:
    """Other tasks' lines between those of a crash change neither its title nor the number of reports."""
    wrong = []
    for case in CASES:
        lines = case.lines()
        titles = [report.title for report in recognise(lines)]
        if [report.title for report in recognise(with_chatter(lines, case.name))] != titles:
            wrong.append(case.name)
    assert wrong == []


def test_lost_lines() -> None:
    """With one line in twenty lost, most titles are still right."""
    score = Score()
    list(judge(CASES, score, runs=1, chatter=False))
    assert score.lossy_titles >= LOSSY_TITLES * score.lossy


def test_the_index() -> None:
    """Each log is in the index, and each row has a log."""
    assert {path.stem for path in CORPUS.glob("*.txt")} - {"named"} == {case.name for case in CASES}
    assert len({case.name for case in CASES}) == len(CASES)
    assert MISSES.keys() <= {case.name for case in CASES}


NAMED = [
    (kind, name)
    for line in Path(CORPUS / "named.txt").read_text().splitlines()
    if not line.startswith("#")
    for kind, names in [line.split(": ")]
    for name in names.split()
]
WAYS: dict[str, Callable[[Sequence[Frame]], Frame | None]] = {
    "hung": functions.waiting,
    "atomic": functions.atomic,
    "preemptible": functions.atomic,
    "leak": functions.leaking,
    "locking": functions.locking,
    "page": functions.paging,
}


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in NAMED}))
def test_names_of_public_reports(kind: str) -> None:
    """Functions that public reports name are no machinery for reports of their kind."""
    names = [name for other, name in NAMED if other == kind]
    if kind == "lock":
        assert [name for name in names if functions.takes_lock(name)] == []
        return
    way = WAYS.get(kind, functions.guilty)
    wrong = [
        name
        for name in names
        if (frame := way([Frame(name, 1, 2), Frame("caller", 1, 2)])) is None or frame.name != name
    ]
    assert wrong == []
