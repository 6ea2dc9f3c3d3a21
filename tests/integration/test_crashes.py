"""Crashes through real sockets into modules: whole, with losses, beside other modules, and at the stop."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import threads
from zope.interface import implementer

from netconsd.crashes import Report
from netconsd.interfaces import IReportModule
from netconsd.testing import CRASH, RecordingModule, crash_datagrams, extended
from tests.integration.rig import running
from tests.support.loopback import Arrivals

# Recordings of real kernels, which are not part of the repository.
CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
TITLE = "BUG: unable to handle kernel NULL pointer dereference in widget_read"


def send(port: int, datagrams: Iterable[bytes], sender: socket.socket | None = None) -> None:
    """Send datagrams from one socket."""
    if sender is not None:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port))
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        send(port, datagrams, one)


@implementer(IReportModule)
class OnlyReports:
    """A module that takes no messages."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.threads: set[int] = set()

    def start(self, worker_count: int) -> None:
        pass

    def handle_report(self, worker: int, report: Report) -> None:
        self.threads.add(threading.get_ident())
        self.reports.append(report)

    def stop(self) -> None:
        pass


@pytest_twisted.ensureDeferred
async def test_a_crash_arrives_at_two_modules() -> None:
    """Both get one report, with the messages that one of them got, and the chatter before; the metrics count it."""
    messages, reports = Arrivals(), OnlyReports()
    chatter = [extended(f"chatter {number}", seq=number, ts_usec=number) for number in range(990, 1000)]
    async with running({"messages": messages, "reports": reports}, workers=1) as service:
        send(service.port, [*chatter, *crash_datagrams()])
        await messages.number(len(chatter) + len(CRASH))
    (report,) = reports.reports
    assert messages.reports == [report]
    assert report.title == TITLE
    assert (report.kind, report.severity, report.fatal, report.incomplete) == ("memory-fault", "degraded", False, None)
    assert [message.text for message in report.messages] == list(CRASH)
    assert all(any(one is other for other in messages.messages) for one in report.messages)
    assert [message.text for message in report.before] == [f"chatter {number}" for number in range(990, 1000)]
    assert [event.kind for event in messages.events] != []
    snapshot = service.snapshot()
    assert snapshot.crashes.reports == {("memory-fault", "degraded"): 1}
    assert (snapshot.crashes.new_titles, snapshot.crashes.fatal) == (1, 0)
    assert snapshot.total("crash_reports") == 1
    assert snapshot.inconsistencies() == []


@pytest_twisted.ensureDeferred
async def test_a_module_for_reports_only_in_the_worker() -> None:
    """A single module that takes no messages is called in the worker's thread; the stop delivers the open report."""
    module = OnlyReports()
    async with running({"reports": module}, workers=1) as service:
        send(service.port, crash_datagrams()[:12])
    (report,) = module.reports
    assert report.incomplete is not None
    assert len(module.threads) == 1
    assert service.snapshot().inconsistencies() == []


@pytest_twisted.ensureDeferred
async def test_nobody_wants_reports() -> None:
    """Then no worker has a watch, and nothing is counted."""
    module = Arrivals()
    module.wants_reports = module.wants_events = False
    async with running({"m": module}) as service:
        assert all(lane.watch is None for lane in service.lanes)
        send(service.port, crash_datagrams())
        await module.number(len(CRASH))
    assert service.snapshot().total("crash_lines") == 0
    assert (module.reports, module.events) == ([], [])


@pytest.mark.parametrize("lost", [[0], [4], [12, 13], [20]], ids=str)
@pytest_twisted.ensureDeferred
async def test_a_crash_with_losses(lost: list[int]) -> None:
    """Whatever line is lost, there is one report, of lines that were received."""
    module = RecordingModule()
    datagrams = [datagram for number, datagram in enumerate(crash_datagrams()) if number not in lost]
    async with running({"m": module}, workers=1, reorder=0.01) as service:
        send(service.port, datagrams)
    (report,) = module.reports
    assert {message.text for message in report.messages} <= {text for i, text in enumerate(CRASH) if i not in lost}
    assert report.kind == "memory-fault"


def titles() -> dict[str, list[tuple[str, str]]]:
    """The expected titles of each capture, each with its note; none for a capture without a crash."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for line in (CAPTURES / "titles.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, number, title, _, _, _, role, _, note = line.split("\t")
            rows.setdefault(name, [])
            if number != "0" and role != "repeat":
                rows[name].append((title, note))
    return rows


def recording(name: str) -> list[bytes]:
    """The datagrams of a capture."""
    lines = (CAPTURES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["data"].encode("latin-1") for line in lines]


@pytest.mark.slow
@pytest.mark.skipif(not CAPTURES.exists(), reason="the recordings are not here")
@pytest_twisted.ensureDeferred
async def test_the_captures_through_sockets() -> None:
    """Each capture, sent by a socket of its own, gives a report for each crash of its own row, with the right title."""
    module = RecordingModule()
    expected = {name: rows for name, rows in titles().items() if not name.endswith("-reboot")}
    ports: dict[int, str] = {}
    senders: list[Any] = []
    async with running({"m": module}, rcvbuf=32 * 1024 * 1024) as service:
        for name in expected:
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sender.bind(("127.0.0.1", 0))
            ports[sender.getsockname()[1]] = name
            senders.append(sender)
            await threads.deferToThread(send, service.port, recording(name), sender)
    for sender in senders:
        sender.close()
    found: dict[str, list[Report]] = {name: [] for name in expected}
    for report in module.reports:
        assert report.source is not None
        found[ports[report.source.port]].append(report)
    snapshot = service.snapshot()
    assert snapshot.total("dropped_by_kernel") == snapshot.total("crash_skipped") == 0
    assert snapshot.total("crash_errors") == 0
    wrong = {}
    for name, rows in expected.items():
        certain = [title for title, note in rows if "no report" not in note and "role repeat" not in note]
        got = [report.title for report in found[name]]
        if len(got) < len(certain) or len(got) > len(rows):
            wrong[name] = got
        if any(title not in got and not _has_alternative(title, rows, got) for title in certain):
            wrong[name] = got
    assert wrong == {}


def _has_alternative(title: str, rows: list[tuple[str, str]], got: list[str]) -> bool:
    notes = [note for other, note in rows if other == title and note.startswith("alt:")]
    return any(part.strip() in "\n".join(got) for note in notes for part in note[4:].partition(" ## ")[0].split("|"))
