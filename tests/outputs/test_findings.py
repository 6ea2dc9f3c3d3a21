"""Crash reports and events on their way to modules: behind the messages, counted, and at no cost for others."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface import implementer

from netconsd.crashes import Event, Report
from netconsd.interfaces import IBatchOutputModule, IEventModule, IOutputModule, IReportModule
from netconsd.message import Message
from netconsd.outputs.queues import ModuleQueue, places_of
from netconsd.outputs.runner import RunningModule
from netconsd.testing import extended_message, source

REPORT = Report("a crash", "bug", "degraded")
EVENT = Event("booted", source(), 0.0, "booted")


@implementer(IReportModule)
class OnlyReports:
    """A module of its own."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def start(self, worker_count: int) -> None:
        pass

    def handle_report(self, worker: int, report: Report) -> None:
        self.seen.append(report.title)

    def stop(self) -> None:
        pass


@implementer(IOutputModule, IEventModule)
class MessagesAndEvents:
    """Both in one list."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def start(self, worker_count: int) -> None:
        pass

    def handle(self, worker: int, message: Message) -> None:
        self.seen.append(message.text)

    def handle_event(self, worker: int, event: Event) -> None:
        self.seen.append(event.kind)

    def stop(self) -> None:
        pass


def running(module: Any) -> RunningModule:
    """The module in one worker; its errors are counted only."""
    return RunningModule("m", module, 1, lambda *arguments: None)


class NoThread:
    """The test makes the turns."""

    def __init__(self, **arguments: Any) -> None:
        pass


def queue_of(output: RunningModule, limit: int = 100) -> ModuleQueue:
    """The queue of the module, whose turns the test makes."""
    queue = ModuleQueue(output, 0, limit, thread=NoThread, sleep=lambda seconds: None)
    output.queues.append(queue)
    return queue


@pytest.mark.parametrize(
    ("module", "takes"),
    [(OnlyReports(), (False, True, False)), (MessagesAndEvents(), (True, False, True))],
    ids=["only reports", "messages and events"],
)
def test_what_a_module_takes(module: Any, takes: tuple[bool, bool, bool]) -> None:
    """Its interfaces say it."""
    output = running(module)
    assert (output.takes_messages, output.takes_reports, output.takes_events) == takes
    assert output.wanted([REPORT, EVENT]) == ([REPORT] if takes[1] else [EVENT])


def test_a_setting_of_a_module_turns_reports_off() -> None:
    """With ``wants_reports = False`` a module takes none."""
    module = OnlyReports()
    module.wants_reports = False  # type: ignore[attr-defined]
    assert not running(module).takes_reports


def test_an_exception_is_counted() -> None:
    """The next report is handed over as well."""
    module = OnlyReports()
    output = running(module)

    def fail(worker: int, report: Report) -> None:
        raise SystemExit("of the module")

    module.handle_report = fail  # type: ignore[method-assign]
    output.publish(0, [REPORT, REPORT])
    counters = output.counters[0]
    assert (counters.reports, counters.errors, counters.called_at) == (2, 2, 0.0)


def test_a_queue_keeps_the_order() -> None:
    """A report comes behind the messages before it, and before those after it."""
    module = MessagesAndEvents()
    output = running(module)
    queue = queue_of(output)
    queue.put([extended_message("one")], 1)
    queue.put([extended_message("two")], 1)
    queue.put_found([EVENT])
    queue.put([extended_message("three")], 1)
    queue.stop()
    assert output.waiting_findings(0) == 1
    while queue._turn():
        pass
    assert module.seen == ["one", "two", "booted", "three"]
    assert (queue.backlog, output.waiting_findings(0), output.counters[0].events) == (0, 0, 1)


def test_a_full_queue_drops_and_counts() -> None:
    """A report takes the places of the bytes of its messages, those before it included; an empty queue takes any."""
    large = extended_message("x" * 10_000)
    report = Report("a crash", "bug", "degraded", messages=(large,), before=(large, large))
    assert places_of(report) == 1 + 30_003 // 1024
    assert places_of(EVENT) == 1
    output = running(OnlyReports())
    queue = queue_of(output, limit=20)
    queue.put_found([report, report, REPORT])
    counters = output.counters[0]
    assert (counters.queued_findings, counters.dropped_findings) == (1, 2)
    queue._turn()
    queue.put_found([REPORT])
    assert counters.queued_findings == 2


def test_a_hang_in_a_report_is_seen_and_given_up() -> None:
    """Reports that wait are work; what is left at the stop is counted."""
    output = running(OnlyReports())
    queue = queue_of(output)
    queue.put_found([REPORT, REPORT])
    assert output.silent_seconds(0, 0.0) == 0.0
    assert output.silent_seconds(0, 30.0) == 30.0
    output.give_up(0)
    assert output.counters[0].findings_at_stop == 2
    queue._turn()
    assert output.counters[0].reports == 0


def test_progress_counts_reports() -> None:
    """The stop waits for a module that only takes reports, as long as it takes them."""
    output = running(OnlyReports())
    before = output.progress(0)
    output.publish(0, [REPORT])
    assert output.progress(0) == before + 1


def test_interfaces_of_both_kinds() -> None:
    """Reports and events may stand beside a message interface, and the file is loaded with all of them."""
    from pathlib import Path

    from netconsd.outputs.modulefile import import_file, make, outputs_in

    shipped = Path(__file__).parents[2] / "modules/printer.py"
    (found,) = outputs_in(import_file(shipped), shipped)
    assert set(found.interfaces) == {IBatchOutputModule, IReportModule, IEventModule}
    assert make(found, {}) is not None
