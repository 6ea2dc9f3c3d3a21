"""At each call of the operating system the daemon is killed, or its disk is full: nothing is doubled, what was written
is there, and what was not is counted. The calls of the compactor are in test_compactor."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest

from modules.store import Store
from netconsd.crashes import Event, Report
from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.findings import EVENTS, REPORTS, Findings, day_files
from netconsd.store.journal import Journal, adopt, parts, read
from netconsd.store.records import Damaged, unpack
from netconsd.testing import extended_message, source
from netconsd.units import Duration
from tests.support.failing_disk import FailingDisk, Killed

FULL = OSError(ENOSPC, "No space left on device")
Scenario = Callable[[Path, Any, "Tally"], None]


class Tally:
    """What was tried, what returned, and what was counted as lost."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.written: list[str] = []
        self.lost = 0


def batch(number: int, size: int = 3) -> list[Message]:
    """Return messages whose texts are unique."""
    return [extended_message(f"batch {number} message {at}", seq=10 * number + at) for at in range(size)]


def put(tally: Tally, texts: list[str], write: Callable[[], object]) -> None:
    """Write something that has these texts."""
    tally.tried += texts
    with suppress(OSError):
        write()
        tally.written += texts


def texts_of(messages: list[Message]) -> list[str]:
    """Return the texts of messages."""
    return [message.text for message in messages]


def journal_of(directory: Path, disk: Any) -> Journal:
    """Return a journal of two workers, with small parts and a bound that is reached."""
    return Journal(
        directory, 2, first_number=1, part_bytes=400, part_seconds=1e9, most_bytes=1800, system=disk, clock=lambda: 0.0
    )


def a_journal(directory: Path, disk: Any, tally: Tally) -> None:
    """Adopt what a killed daemon left, write, sync, close, and write once more."""
    for start in (0, 10):
        adopt(directory, disk)
        journal = journal_of(directory, disk)
        try:
            for number in range(start, start + 5):
                messages = batch(number)
                put(tally, texts_of(messages), lambda: journal.append(number % 2, messages))  # noqa: B023
                with suppress(OSError):
                    journal.sync()
            if start:
                with suppress(OSError):
                    journal.close()
        finally:
            tally.lost += sum(journal.lost)


def in_parts(directory: Path) -> list[str]:
    """Return the texts of a journal; a part is read to its end or to what is not whole."""
    found = []
    for part in parts(directory):
        with suppress(Damaged):
            for _, records, _ in read(part.path):
                found += texts_of(unpack(records))
    return found


def counted(directory: Path, scenario: Scenario) -> int:
    """Return the number of calls without a failure."""
    directory.mkdir()
    disk = FailingDisk()
    scenario(directory, disk, Tally())
    return disk.calls


def test_the_journal_is_killed_at_every_step(tmp_path: Path) -> None:
    """What was appended before the kill is found once, unless the bound removed it and counted it; nothing is found
    twice; the next start adopts everything."""
    calls = counted(tmp_path / "all", a_journal)
    assert calls > 60
    for at in range(calls):
        directory, tally = tmp_path / str(at), Tally()
        directory.mkdir()
        disk = FailingDisk(at, Killed())
        with pytest.raises(Killed):
            a_journal(directory, disk, tally)
        adopt(directory)
        assert not [part for part in parts(directory) if part.is_open], disk.step
        found = Counter(in_parts(directory))
        assert max(found.values(), default=1) == 1, disk.step
        assert set(found) <= set(tally.tried), disk.step
        missing = [text for text in tally.written if text not in found]
        # A part that was removed is counted after its removal.
        assert len(missing) in (tally.lost, tally.lost + 3), disk.step


def test_the_journals_disk_is_full_at_every_step(tmp_path: Path) -> None:
    """Each message is found once, or counted as lost, whatever fails; the journal continues."""
    for at in range(counted(tmp_path / "all", a_journal)):
        directory, tally = tmp_path / str(at), Tally()
        directory.mkdir()
        disk = FailingDisk(at, FULL)
        with suppress(OSError):
            a_journal(directory, disk, tally)
        found = Counter(in_parts(directory))
        assert max(found.values()) == 1, disk.step
        assert len(found) + tally.lost == len(tally.tried), disk.step


def some_findings(directory: Path, disk: Any, tally: Tally) -> None:
    """Write lines of three days, sync, and begin again in a day that there is."""
    for start in (0, 10):
        findings = Findings(directory, 1, system=disk)
        try:
            for number in range(start, start + 4):
                kind, line = (REPORTS, EVENTS)[number % 2], f'{{"number":{number}}}'
                put(tally, [line], lambda: findings.append(0, kind, 86400.0 * (number % 3), line.encode()))  # noqa: B023
                with suppress(OSError):
                    findings.sync()
            with suppress(OSError):
                findings.close()
        finally:
            tally.lost += sum(findings.lost)


def whole_lines(directory: Path) -> list[str]:
    """Return the lines of findings that are JSON, as a reader does."""
    files = [path for kind in (REPORTS, EVENTS) for path in day_files(directory, kind)]
    lines = [line for path in files for line in path.read_text().split("\n")]
    return [line for line in lines if line.startswith("{") and line.endswith("}")]


@pytest.mark.parametrize("failure", [Killed(), FULL], ids=["killed", "full"])
def test_findings_fail_at_every_step(tmp_path: Path, failure: BaseException) -> None:
    """Each report and event that was written is a whole line, once; on a full disk the others are counted; a torn line
    spoils no other."""
    for at in range(counted(tmp_path / "all", some_findings)):
        directory, tally = tmp_path / str(at), Tally()
        directory.mkdir()
        disk = FailingDisk(at, failure)
        with suppress(Killed):
            some_findings(directory, disk, tally)
        if isinstance(failure, Killed):
            after = Findings(directory, 1)
            for kind in (REPORTS, EVENTS):
                for day in range(3):
                    after.append(0, kind, 86400.0 * day, b'{"after":1}')
            after.close()
        found = [line for line in whole_lines(directory) if "after" not in line]
        assert len(found) == len(set(found)), disk.step
        assert set(tally.written) <= set(found) <= set(tally.tried), disk.step
        if failure is FULL:
            assert len(found) + tally.lost == len(tally.tried), disk.step


REPORT = Report("BUG: x", "bug", "degraded", source=source(), messages=tuple(batch(1)), received_at=1.0)
EVENT = Event("lost", source(), 1.0, "2 messages were lost", batch(1)[0], {"count": 2})


class NoThread:
    """Replaces a thread: does nothing. The test calls what the thread does."""

    def __init__(self, **_: object) -> None: ...

    def start(self) -> None: ...

    def join(self, timeout: float) -> None: ...


def a_module(directory: Path, disk: Any, tally: Tally) -> None:
    """Start the module, write messages, a report and an event, sync, stop, and start and stop it again."""
    for start in (0, 10):
        module = Store(directory=directory, segment_age=Duration(1))
        module.system, module.thread = disk, NoThread
        module.start(1)
        assert module._lock is not None
        try:
            for number in range(start, start + 2):
                messages = batch(number)
                tally.tried += texts_of(messages)
                module.handle_batch(0, messages)
                tally.written += texts_of(messages)
                module.handle_report(0, REPORT)
                module.handle_event(0, EVENT)
                module._sync_once()
            module.finish()
        finally:
            tally.lost += module.lost(0)
            if module._lock is not None:
                # As the end of the process does.
                os.close(module._lock._fd)


@pytest.mark.parametrize("failure", [Killed(), FULL], ids=["killed", "full"])
@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_the_module_fails_at_every_step(tmp_path: Path, failure: BaseException, stride: int) -> None:
    """The start, each message, report and event, the sync and the stop: a full disk raises nothing but a start that is
    refused in words, and costs what is counted; a kill costs at most the call in which it was. The next start works."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
    for at in range(0, counted(tmp_path / "all", a_module), stride):
        directory, tally = tmp_path / str(at), Tally()
        directory.mkdir()
        disk = FailingDisk(at, failure)
        with suppress(Killed):
            started = False
            with suppress(RuntimeError):
                a_module(directory, disk, tally)
                started = True
            # Only what was left open has to be renamed at the start.
            assert started or disk.names[at] == "rename", disk.step
        again = Store(directory=directory)
        again.thread = NoThread
        again.start(1)
        again.finish()
        found = in_parts(directory / layout.JOURNAL)
        assert len(found) == len(set(found)), disk.step
        if isinstance(failure, Killed):
            assert set(tally.written) <= set(found) <= set(tally.tried), disk.step
        else:
            # Of the two starts 4 reports and 4 events.
            lost_findings = 8 - len(whole_lines(directory)) if started else 0
            assert len(found) + tally.lost - lost_findings == len(tally.tried), disk.step
