"""The log at the start, of drops while they happen, and of the totals at the end. Here the texts are tested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from twisted.logger import LogEvent, Logger, LogLevel, capturedLogs, formatEvent

from netconsd.monitor import gil
from netconsd.monitor.log import LIMITED_NAMES, QUIET_SECONDS, SUMS, WITHOUT_LOSS, DropLog, log_end, log_start, totals
from netconsd.monitor.snapshot import WORKER_ROWS, ListenerSnapshot, ModuleSnapshot, Snapshot, WorkerSnapshot
from netconsd.protocol.counters import LISTENER_COUNTERS
from netconsd.settings import Settings
from netconsd.streams.copies import together
from netconsd.testing import source
from tests.support.snapshots import IDLE_LISTENER, IDLE_WORKER, LISTENER, WORKER, histogram

NOTABLE = [row for row in (*LISTENER_COUNTERS, *WORKER_ROWS) if row.notable]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The events logged so far, by an ordinary Python: a free-threaded one also says whether the GIL is on."""
    monkeypatch.setattr(gil, "described", lambda: "")
    with capturedLogs() as captured:
        yield captured


def take_lines(events: list[LogEvent]) -> list[str]:
    """The lines logged since the last call."""
    lines = [formatEvent(event) for event in events]
    events.clear()
    return lines


def start(**settings: Any) -> None:
    """Log the start of a service with a granted buffer of 4096 bytes."""
    options = Settings(**{"rcvbuf": 4096, **settings})
    log_start(Logger("netconsd"), options, "UDP port 6666", 1, ["printer"], 4096, "http://[::1]:9100/metrics")


def test_start_logs_address_modules_and_metrics(events: list[LogEvent]) -> None:
    """The start is one line with the address, the numbers of threads and the modules, and one with the metrics' URL."""
    start(workers=2, allow=("192.0.2.0/24",))
    listens, allowed, metrics = take_lines(events)
    assert listens.endswith(") listens on UDP port 6666; 1 listener, 2 workers, modules: printer")
    assert allowed == "Datagrams are accepted from 192.0.2.0/24 only (--allow)"
    assert metrics == "Metrics are at http://[::1]:9100/metrics"


def test_a_small_receive_buffer_is_a_warning(events: list[LogEvent]) -> None:
    """A buffer that is smaller than --rcvbuf is a warning with the command that raises the kernel's limit."""
    start(rcvbuf=10_000)
    assert events[-1]["log_level"] is LogLevel.warn
    assert "4096 bytes instead of 10000" in take_lines(events)[-1]


def drop_log(by_kernel: tuple[int, ...] = (0, 0), queue_full: tuple[int, ...] = (0, 0)) -> DropLog:
    """The log of two listeners and two workers."""
    return DropLog(Logger("netconsd"), by_kernel, queue_full, (0, 0), (0, 0))


def test_without_drops_nothing_is_logged(events: list[LogEvent]) -> None:
    """Drops before the start, and a service at rest, add no line."""
    drops = drop_log((7, 0), (0, 3))
    for second in range(1000):
        drops.update((7, 0), (0, 3), float(second))
    assert events == []


def test_the_first_drop_is_logged_at_once(events: list[LogEvent]) -> None:
    """The warning has the number, the listener or worker, the reason, and the options to change."""
    drop_log().update((0, 5), (0, 0), 1.0)
    assert {event["log_level"] for event in events} == {LogLevel.warn}
    (line,) = take_lines(events)
    assert line == (
        "Datagrams are being dropped: 5 by the kernel at listener 1, because the receive buffer was full or a checksum "
        "was wrong (see --rcvbuf and --listeners)"
    )
    drop_log((1, 1)).update((3, 2), (4, 9), 1.0)
    (line,) = take_lines(events)
    assert ": 3 by the kernel at listener 0, 1, " in line
    assert line.endswith(
        "; 13 at the full queue of worker 0, 1, because a module is too slow (see --queue, --workers and --rate)"
    )


def test_a_long_overload_is_logged_once_a_minute(events: list[LogEvent]) -> None:
    """Each warning has the drops since the previous one, so the sum of the warnings is the sum of the drops."""
    drops = drop_log()
    for second in range(601):
        drops.update((0, 0), (10 * second, 0), float(second))
    counts = [int(line.split()[4]) for line in take_lines(events)]
    assert counts == [10] + [10 * QUIET_SECONDS] * 9


def test_the_end_of_an_overload_is_logged(events: list[LogEvent]) -> None:
    """After a minute without drops the overload is over, and the next drop is logged at once."""
    drops = drop_log()
    for second in range(5):
        drops.update((second, 0), (0, 0), float(second))
    for second in range(5, 200):
        drops.update((4, 0), (0, 0), float(second))
    first, rest, end = take_lines(events)
    assert "dropped: 1 by" in first
    assert "dropped: 3 by" in rest
    assert end == "No datagram has been dropped for 60 seconds; 4 datagrams were dropped in the 4 seconds before"
    drops.update((5, 0), (0, 0), 200.0)
    (again,) = take_lines(events)
    assert "dropped: 1 by" in again


def test_rare_drops_do_not_fill_the_log(events: list[LogEvent]) -> None:
    """There is at most one line a minute, however often an overload begins and ends."""
    drops = drop_log()
    for second in range(3600):
        drops.update((second // 7, 0), (0, second // 11), float(second))
    assert len(events) <= 3600 / QUIET_SECONDS


def test_strangers_are_logged_independently(events: list[LogEvent]) -> None:
    """Datagrams of senders outside of --allow are logged at once, although an overload was logged just before."""
    drops = drop_log()
    drops.update((1, 0), (0, 0), 0.0, (0, 0), (0, 0))
    drops.update((1, 0), (0, 0), 1.0, (0, 7), (0, 0))
    for second in range(2, 70):
        drops.update((1, 0), (0, 0), float(second), (0, 7), (0, 0))
    _, strangers, end, quiet = take_lines(events)
    assert strangers == "Datagrams are being dropped: 7 at listener 1, because their senders are not in --allow"
    assert end == "No datagram has been dropped for 60 seconds; 1 datagram was dropped in the 1 second before"
    assert quiet.startswith("No datagram has been dropped because of --allow for 60 seconds; 7 datagrams were dropped")


def limit(drops: DropLog, over_rate: tuple[int, int], now: float, *addresses: str, count: int | None = None) -> None:
    """Update a log with drops over --rate by these senders."""
    sources = [source(address) for address in addresses]
    drops.update((0, 0), (0, 0), now, (0, 0), over_rate, sources, len(sources) if count is None else count)


def test_limited_senders_are_logged_at_once(events: list[LogEvent]) -> None:
    """The first drop over --rate is a warning with the number and the sender."""
    limit(drop_log(), (0, 202), 1.0, "192.0.2.7")
    assert {event["log_level"] for event in events} == {LogLevel.warn}
    (line,) = take_lines(events)
    assert line == (
        "Datagrams are being dropped: 202 over --rate at worker 1, of 192.0.2.7 port 6665 (raise --rate, or mend the "
        "sender)"
    )


def test_thousands_of_limited_senders_do_not_fill_the_log(events: list[LogEvent]) -> None:
    """There is one line a minute, with the latest LIMITED_NAMES senders and the number of the others."""
    drops = drop_log()
    for second in range(121):
        limit(drops, (10 * second, 0), float(second), *(f"192.0.2.{n}" for n in range(6)), count=1000)
    for second in range(121, 260):
        limit(drops, (1200, 0), float(second))
    first, second_line, third, end = take_lines(events)
    assert "10 over --rate at worker 0, of 192.0.2.2 port 6665, 192.0.2.3" in first
    assert first.count("port") == second_line.count("port") == LIMITED_NAMES
    # The first line was logged at the second look, the next one after QUIET_SECONDS.
    assert f"and {2 * 1000 - LIMITED_NAMES} other senders (raise" in first
    assert f"and {60 * 1000 - LIMITED_NAMES} other senders (raise" in second_line
    assert "590 over" in third or "600 over" in third
    assert end.startswith("No datagram has been over --rate for 60 seconds; 1200 datagrams were dropped in the ")


def module(worker: int, messages: int, errors: int = 0) -> ModuleSnapshot:
    """A module's counters in one worker."""
    return ModuleSnapshot("printer", worker, False, messages, errors, 2, 0.25, 0.0)


def test_totals_name_every_counter() -> None:
    """Every counter that is not 0 is in the line of its listener or worker, and every notable sum has its own line."""
    snapshot = Snapshot(
        (ListenerSnapshot(0, LISTENER, histogram(), 0, 0),),
        (WorkerSnapshot(0, True, WORKER, 0, 0, histogram()), WorkerSnapshot(1, True, IDLE_WORKER, 0, 0, histogram())),
        (module(0, 3), module(1, 4, errors=1)),
    )
    listener, worker, idle, printer, total, *notable = totals(snapshot)
    assert listener.startswith("Listener 0: 100 datagrams; bytes 101, dropped_by_kernel 102, ")
    assert worker.startswith(f"Worker 0: {WORKER['messages']} messages from {WORKER['senders_new']} senders; ")
    assert idle == "Worker 1: 0 messages from 0 senders"
    assert printer == "Module printer: 7 messages in 4 batches, 0.500 seconds; errors 1"
    assert total == (
        f"Total: 100 datagrams received, {WORKER['messages']} messages from {WORKER['senders_new']} senders "
        "(addresses with their ports)"
    )
    for name, count in LISTENER.items():
        assert f"{name} {count}" in listener or name == "datagrams"
    for name, count in WORKER.items():
        assert f"{name} {count}" in worker or name in ("messages", "senders_new")
    # The numbers leave a part of the queue of worker 0, which is alive.
    names = [*(row.name for row in NOTABLE), "dropped_at_stop"]
    assert [line.rpartition(" ")[2] for line in notable] == [f"({name})" for name in names]
    assert notable[0].startswith("102 datagrams dropped by the kernel: ")


def lines_of(counters: dict[str, int], errors: int = 0, **listener: int | None) -> list[str]:
    """Return the heads of the totals of a listener, a worker and a module with these counters beside those that are 0;
    of a notable counter the name."""
    workers = WorkerSnapshot(0, False, IDLE_WORKER | counters, 0, 0, histogram())
    snapshot = Snapshot(
        (ListenerSnapshot(0, IDLE_LISTENER | listener, histogram(), 0, 0),), (workers,), (module(0, 3, errors),)
    )
    return [line.partition(":")[0] if ": " in line else line.rpartition(" ")[2] for line in totals(snapshot)]


PARTS = ["Listener 0", "Worker 0", "Module printer", "Total"]


def test_the_totals_of_a_processor() -> None:
    """A processor has no datagrams and no senders: its messages are those that it handed on."""
    worker = WorkerSnapshot(0, True, {**IDLE_WORKER, "messages": 7}, 0, 0, histogram())
    assert list(totals(Snapshot(workers=(worker,), copies=together([])))) == ["Total: 7 messages"]


def test_the_totals_are_one_line_if_nothing_was_lost() -> None:
    """Without a loss the totals are the line of the sums, and the notable counters that are no loss; otherwise each
    listener, worker and module has a line as well."""
    quiet = list(totals(Snapshot((ListenerSnapshot(0, IDLE_LISTENER, histogram(), 0, 0),), ())))
    assert quiet == ["Total: 0 datagrams received, 0 messages from 0 senders"]
    assert lines_of({"messages": 9, "datagrams": 9, "senders_new": 1}) == ["Total"]
    assert lines_of({"senders_expired": 1, "acks_sent": 2}) == ["Total", "(senders_expired)", "(acks_sent)"]
    for row in NOTABLE:
        if row.name in IDLE_WORKER and row.name not in WITHOUT_LOSS:
            assert lines_of({row.name: 1})[:4] == PARTS
    assert lines_of({}, errors=1) == PARTS
    assert lines_of({}, dropped_not_allowed=1) == [*PARTS, "(dropped_not_allowed)"]
    assert lines_of({}, dropped_by_kernel=None) == [*PARTS, "(dropped_by_kernel)"]


def test_notable_counters_of_one_are_in_the_singular() -> None:
    """The help of a notable counter reads as a line in the singular and in the plural."""
    ones = dict.fromkeys(IDLE_WORKER, 1)
    lines = list(totals(Snapshot((), (WorkerSnapshot(0, False, ones, 0, 0, histogram()),))))
    assert lines[1] == "Total: 0 datagrams received, 1 message from 1 sender"
    assert "1 datagram dropped because the sender sent more than --rate allows (dropped_over_rate)" in lines
    twos = dict.fromkeys(IDLE_WORKER, 2)
    lines = list(totals(Snapshot((), (WorkerSnapshot(0, False, twos, 0, 0, histogram()),))))
    assert "2 datagrams dropped because the sender sent more than --rate allows (dropped_over_rate)" in lines


@pytest.mark.parametrize("row", [*NOTABLE, *SUMS], ids=lambda row: str(row.name))
def test_the_help_of_a_notable_counter_begins_with_its_noun(row: Any) -> None:
    """The first word that ends in s is the noun in the plural, because a line about one has it without the s."""
    nouns = "datagrams|messages|records|lines|reads|headers|numbers|senders|failures|acknowledgements|"
    nouns += "reports|events|exceptions"
    first = next(word.strip(",:;.").lower() for word in row.help.split() if word.strip(",:;.").endswith("s"))
    assert first in nouns.split("|")
    assert row.help.endswith(".")


def test_losses_of_modules_and_of_unfinished_workers() -> None:
    """The messages that modules lost, and those and the open crash reports of a worker that the stop did not end, are
    notable as well."""
    counters = IDLE_WORKER | {"queued": 9, "datagrams": 4, "records": 4, "messages": 3}
    snapshot = Snapshot(
        (),
        (
            WorkerSnapshot(0, True, counters, 5, 0, histogram(), open_reports=7),
            WorkerSnapshot(1, False, counters, 5, 0, histogram(), open_reports=7),
        ),
        (replace(module(0, 3), lost=2), replace(module(1, 3), lost=1)),
    )
    lines = list(totals(snapshot))
    assert lines[2] == "Module printer: 6 messages in 4 batches, 0.500 seconds; lost 3"
    assert [line.split(" ")[0] + line.rpartition(" ")[2] for line in lines[4:]] == [
        "6(dropped_at_stop)",
        "7(reports_at_stop)",
        "3(lost_by_modules)",
    ]


def test_inconsistent_counters_are_errors(events: list[LogEvent]) -> None:
    """A datagram without an outcome is an error in the log, after the totals."""
    counters = IDLE_LISTENER | {"datagrams": 1}
    log_end(Logger("netconsd"), Snapshot((ListenerSnapshot(0, counters, histogram(), 0, 0),), ()))
    assert events[-1]["log_level"] is LogLevel.error
    assert take_lines(events)[-1].startswith("The counters are inconsistent, which is a defect of netconsd; ")
