"""The corpus of console logs in tests/data/crashes, and how well the recogniser does on it.

``python -m tests.support.crash_corpus`` prints the score and the wrong cases. ``--half 0`` and ``--half 1`` take one
half of the cases, so that rules that were written for one half can be judged by the other.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netconsd.crash.recogniser import Recogniser
from netconsd.crash.report import Report
from netconsd.testing import legacy_message, source

CORPUS: Final = Path(__file__).parent.parent / "data" / "crashes"
#: The title of a log in which nothing crashed.
NOTHING: Final = "-"
#: The part of the lines that :func:`without_some` drops.
LOST: Final = 0.05
#: How often each case is tried with lost lines and with chatter.
RUNS: Final = 4
#: The part of the lines after which :func:`with_chatter` adds one.
CHATTER: Final = 0.15

# A syslog daemon's prefix, which netconsole does not send.
_SYSLOG = re.compile(r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} \S+ kernel: ")
_STAMP = re.compile(r"(\[ *[0-9]+\.[0-9]+\])(\[ *[TC][0-9]+\])?")
_CHATTER = (
    "device bridge_slave_0 entered promiscuous mode",
    'audit: type=1400 audit(1600000000.123:77): avc:  denied  { read } for  pid=311 comm="sshd" name="x"',
    "IPv6: ADDRCONF(NETDEV_CHANGE): veth1: link becomes ready",
    "loop0: detected capacity change from 0 to 8226",
    "netlink: 4 bytes leftover after parsing attributes in process `syz-executor.2'.",
    "usb 1-1: new high-speed USB device number 7 using dummy_hcd",
    "EXT4-fs (loop1): mounted filesystem without journal. Opts: ,errors=continue",
    "8021q: adding VLAN 0 to HW filter on device bond0",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One log and what is expected of it."""

    name: str
    #: The title, or :data:`NOTHING`.
    title: str
    kind: str
    #: Titles that are equally right.
    alternatives: tuple[str, ...]
    architecture: str
    version: str
    #: Where the log and its title come from.
    origin: str

    @property
    def half(self) -> int:
        """0 or 1, by the name."""
        return hashlib.sha256(self.name.encode()).digest()[0] & 1

    @property
    def titles(self) -> tuple[str, ...]:
        """All titles that are right."""
        return (self.title, *self.alternatives)

    def lines(self) -> list[str]:
        """Return the log, a message a line."""
        return [_SYSLOG.sub("", line) for line in (CORPUS / f"{self.name}.txt").read_text().splitlines()]


def cases() -> list[Case]:
    """Return the cases of the index."""
    rows = [line.split("\t") for line in (CORPUS / "index.tsv").read_text().splitlines() if not line.startswith("#")]
    return [
        Case(name, title, kind, tuple(filter(None, alternatives.split(" | "))), architecture, version, origin)
        for name, title, kind, alternatives, architecture, version, origin in rows
    ]


def recognise(lines: Sequence[str]) -> list[Report]:
    """Return the reports of the lines, which one sender sent a millisecond apart."""
    recogniser = Recogniser(source())
    found: list[Report] = []
    for number, line in enumerate(lines):
        now = 1_700_000_000 + number / 1000
        found += recogniser.take(legacy_message(line, received_at=now), now)
    return [*found, *recogniser.finish()]


def without_some(lines: Sequence[str], seed: str) -> list[str]:
    """Return the lines without a random part of them (:data:`LOST`); the same ones for the same seed."""
    chance = random.Random(seed)
    return [line for line in lines if chance.random() >= LOST]


def with_chatter(lines: Sequence[str], seed: str) -> list[str]:
    """Return the lines with other tasks' lines between them, each with the caller of its own if the log has callers."""
    chance = random.Random(seed)
    mixed = []
    for line in lines:
        mixed.append(line)
        match = _STAMP.match(line)
        if match is not None and chance.random() < CHATTER:
            stamp, caller = match.groups()
            mixed.append(f"{stamp}{'[T31337]' if caller else ''} {chance.choice(_CHATTER)}")
    return mixed


def words(title: str) -> str:
    """Return the part of a title that says what happened, without the function."""
    return title.partition(" in ")[0]


@dataclass(slots=True)
class Score:
    """Counts of cases; :meth:`text` shows them."""

    crashes: int = 0
    detected: int = 0
    words: int = 0
    kinds: int = 0
    titles: int = 0
    quiet: int = 0
    false_alarms: int = 0
    lossy: int = 0
    lossy_titles: int = 0
    noisy_titles: int = 0

    def text(self) -> str:
        """Return the score for people."""

        def part(count: int, total: int) -> str:
            return f"{count:4} of {total:4}  {100 * count / max(1, total):6.2f} %"

        return "\n".join(
            (
                f"detected                {part(self.detected, self.crashes)}",
                f"words before ' in '     {part(self.words, self.crashes)}",
                f"kind                    {part(self.kinds, self.crashes)}",
                f"whole title             {part(self.titles, self.crashes)}",
                f"title, 5 % lines lost   {part(self.lossy_titles, self.lossy)}",
                f"title, with chatter     {part(self.noisy_titles, self.lossy)}",
                f"false alarms            {part(self.false_alarms, self.quiet)}",
            )
        )


def judge(
    chosen: Sequence[Case], score: Score, *, runs: int = RUNS, chatter: bool = True
) -> Iterator[tuple[Case, str]]:
    """Run the cases, add them to the score, and yield the wrong ones, each with what is wrong.

    :param runs: how often each case is tried with lost lines and with chatter.
    :param chatter: false leaves out those with chatter.
    """
    for case in chosen:
        lines = case.lines()
        reports = recognise(lines)
        if case.title == NOTHING:
            score.quiet += 1
            if reports:
                score.false_alarms += 1
                yield case, f"false alarm: {reports[0].title}"
            continue
        score.crashes += 1
        title = reports[0].title if reports else ""
        score.detected += bool(reports)
        score.words += words(title) in {words(right) for right in case.titles}
        score.titles += title in case.titles
        score.kinds += bool(reports) and reports[0].kind == case.kind
        if title not in case.titles:
            yield case, f"title: {title or 'no report'}"
        elif reports[0].kind != case.kind:
            yield case, f"kind: {reports[0].kind}"
        for run in range(runs):
            score.lossy += 1
            lossy = recognise(without_some(lines, f"{case.name} {run}"))
            score.lossy_titles += bool(lossy) and lossy[0].title in case.titles
            if chatter:
                noisy = recognise(with_chatter(lines, f"{case.name} {run}"))
                score.noisy_titles += bool(noisy) and noisy[0].title in case.titles


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the score and the wrong cases."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.crash_corpus", description=__doc__)
    parser.add_argument("--half", type=int, choices=(0, 1), help="only this half of the cases")
    parser.add_argument("--quiet", action="store_true", help="print the score only")
    chosen = parser.parse_args(arguments)
    score = Score()
    wrong = list(judge([case for case in cases() if chosen.half in (None, case.half)], score))
    if not chosen.quiet:
        for case, what in wrong:
            print(f"{case.name} ({case.version}): {what}\n    right: {' | '.join(case.titles)}, kind {case.kind}")
    print(score.text())


if __name__ == "__main__":
    main()
