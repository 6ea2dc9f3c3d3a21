"""A stream as a module: its journal, its process, its counters; the example of docs/streams."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs

from netconsd.crashes import Event
from netconsd.names import Names
from netconsd.outputs.checks import send_tests
from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.store.journal import parts
from netconsd.streams.deadletters import FILE
from netconsd.streams.journalspool import JOURNAL
from netconsd.streams.module import Stream
from netconsd.testing import crash_report, event, extended_message
from tests.support.failing_disk import FailingDisk
from tests.support.http_server import Answers, Request, serving
from tests.support.scripted_lane import PATIENCE
from tests.support.scripted_stream import messages
from tests.support.servers import until

EXAMPLE = Path(__file__).parents[2] / "docs/examples/collector.py"


class Collector:
    """The server of the example."""

    def __init__(self, http: Answers) -> None:
        self.http = http
        self.lines: list[dict[str, Any]] = []
        self.refuses: Callable[[dict[str, Any]], bool] = lambda line: False
        self.status = 200
        self.headers: dict[str, str] = {}
        self.changed = threading.Condition()
        http.answer = self.answer

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Take the lines that are not refused."""
        lines = [json.loads(line) for line in request.body.splitlines()]
        with self.changed:
            self.changed.notify_all()
            if self.status != 200:
                return self.status, self.headers, b"not now"
            refused = {place: "bad" for place, line in enumerate(lines) if self.refuses(line)}
            self.lines += [line for place, line in enumerate(lines) if place not in refused]
        return 200, {}, json.dumps({"refused": refused}).encode()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until a request has made a condition true."""
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A running server."""
    with serving() as http:
        yield Collector(http)


@pytest.fixture
def made(tmp_path: Path, collector: Collector) -> Callable[..., Any]:
    """Return a function that returns a module of the example, not started."""

    def make(**settings: object) -> Any:
        values = {
            "url": collector.http.url, "directory": str(tmp_path / "stream"), "batch_seconds": "0.02s", **settings,
        }  # fmt: skip
        typed = {name: ModuleSetting(value, f"collector.{name}", tmp_path) for name, value in values.items()}
        return load([EXAMPLE], {"collector": typed}).loaded[0].module

    return make


@pytest.fixture
def started(made: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a started module; it is stopped after the test."""
    modules: list[Any] = []

    def start(use_names: Names | None = None, **settings: object) -> Any:
        module = made(**settings)
        if use_names is not None:
            module.use_names(use_names)
        module.start(2)
        modules.append(module)
        return module

    yield start
    for module in modules:
        module.finish()


def numbers(module: Any) -> dict[str, float]:
    """Return the metrics of the module."""
    return {metric.name.removeprefix("stream_"): metric.value for metric in module.metrics()}


def test_records_of_all_kinds_arrive(collector: Collector, started: Callable[..., Any]) -> None:
    """Messages, reports and events arrive with their fields; the process has the settings of the module."""
    module = started(token="secret")
    module.handle_batch(0, [extended_message("one", seq=1, received_at=1e9, userdata={"host": "web01"}, lost=3)])
    module.handle_report(1, crash_report(received_at=1e9))
    module.handle_event(1, event(received_at=1e9, how="crash"))
    collector.wait(lambda: len(collector.lines) == 3)
    module.finish()
    lines = {line["kind"]: line for line in collector.lines}
    assert lines["message"] == {
        "id": "192.0.2.1/999999999/1", "kind": "message", "host": "192.0.2.1", "level": "info", "severity": 6,
        "text": "one", "name": "web01", "boot": 999999999, "port": 6665, "facility": 0, "ts_usec": 1_000_000,
        "format": "extended", "seq": 1, "lost": 3, "userdata.host": "web01", "at": "2001-09-09T01:46:40Z",
    }  # fmt: skip
    assert lines["report"]["lines"].startswith("BUG: kernel NULL pointer dereference")
    assert (lines["report"]["report"], lines["report"]["level"]) == ("memory-fault", "err")
    assert (lines["event"]["event"], lines["event"]["details.how"]) == ("rebooted", "crash")
    assert {request.headers["Authorization"] for request in collector.http.requests} == {"Bearer secret"}
    found = numbers(module)
    assert (found["queued_records"], found["sent_records"], found["lag_seconds"]) == (3, 3, 0)
    assert module.faults() == []


def test_refused_records_are_dead_letters(tmp_path: Path, collector: Collector, started: Callable[..., Any]) -> None:
    """An error for every 50th record: the records there and the dead letters are all."""
    collector.refuses = lambda line: line["seq"] % 50 == 0
    module = started()
    module.handle_batch(0, messages(500))
    collector.wait(lambda: len(collector.lines) == 490)
    module.finish()
    dead = [json.loads(line) for line in (tmp_path / "stream" / FILE).read_bytes().splitlines()]
    assert sorted([*(line["id"] for line in collector.lines), *(letter["id"] for letter in dead)]) == sorted(
        f"192.0.2.1/1000/{seq}" for seq in range(1, 501)
    )
    found = numbers(module)
    assert (found["sent_records"], found["refused_records"], found["dead_records"]) == (490, 10, 10)
    assert "the server refuses records" in module.faults()[0]


def test_a_server_that_is_away(tmp_path: Path, collector: Collector, started: Callable[..., Any]) -> None:
    """Records wait in the journal, also over a restart of the daemon; then they arrive once and the parts are gone."""
    collector.status, collector.headers = 503, {"Retry-After": "0"}
    module = started()
    module.handle_batch(0, messages(100))
    collector.wait(lambda: len(collector.http.requests) > 0)
    module.finish()
    assert numbers(module)["sent_records"] == 0
    collector.status = 200
    module = started()
    module.handle_batch(1, messages(100, address="192.0.2.2"))
    collector.wait(lambda: len(collector.lines) == 200)
    module.finish()
    assert [line["seq"] for line in collector.lines if line["host"] == "192.0.2.1"] == list(range(1, 101))
    assert numbers(module)["sent_records"] == 200


def test_messages_that_come_before_the_process(collector: Collector, started: Callable[..., Any]) -> None:
    """After a start, messages come while the stream's process still begins: its places are of the journal before, which
    was delivered and deleted, and are not taken for places in the new one."""
    given = messages(40)
    module = started()
    module.handle_batch(0, given[:20])
    collector.wait(lambda: len(collector.lines) == 20)
    module.finish()
    module = started()
    module.handle_batch(0, given[20:])
    until(lambda: len(collector.lines) == 40, "the other messages")
    assert [line["seq"] for line in collector.lines] == list(range(1, 41))


def test_the_process_is_killed(collector: Collector, started: Callable[..., Any]) -> None:
    """A process that is killed is started again, and continues at the cursor."""
    module = started()
    module.handle_batch(0, messages(100))
    collector.wait(lambda: len(collector.lines) >= 100)
    os.kill(module._process.pid, signal.SIGKILL)
    module.handle_batch(0, messages(100, first=101))
    collector.wait(lambda: collector.lines[-1]["seq"] == 200)
    module.finish()
    # At least once: what was under way at the kill is there twice.
    assert {line["seq"] for line in collector.lines} == set(range(1, 201))
    assert numbers(module)["process_restarts"] == 1


def test_a_reload_reads_the_names_again(collector: Collector, started: Callable[..., Any], tmp_path: Path) -> None:
    """After SIGHUP, records have the names of the changed file; nothing is lost, sent twice, or a fault."""
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.1 old\n")
    module = started(use_names=Names(hosts_file=hosts))
    module.handle_batch(0, messages(10))
    collector.wait(lambda: len(collector.lines) == 10)
    hosts.write_text("192.0.2.1 new\n")
    before = module._process.pid
    module.reload()
    module.handle_batch(0, messages(10, first=11))
    until(lambda: module._process is not None and module._process.pid != before, "another process")
    module.handle_batch(0, messages(10, first=21))
    collector.wait(lambda: len(collector.lines) == 30)
    module.finish()
    assert [line["seq"] for line in collector.lines] == list(range(1, 31))
    assert (collector.lines[0]["name"], collector.lines[-1]["name"]) == ("old", "new")
    assert (numbers(module)["sent_records"], numbers(module)["process_restarts"]) == (30, 0)


def test_only_what_is_wanted_is_kept(collector: Collector, started: Callable[..., Any]) -> None:
    """Level, hosts and patterns select messages, hosts also reports and events, by names as well."""
    module = started(level="warn", hosts=["web*", "192.0.2.9"], drop="noise")
    module.use_names(Names())
    host = {"host": "web01"}
    module.handle_batch(
        0, [
            extended_message("yes", seq=1, level=3, userdata=host),
            extended_message("noise", seq=2, level=3, userdata=host),
            extended_message("quiet", seq=3, level=6, userdata=host),
            extended_message("other", seq=4, level=3, address="192.0.2.3"),
        ],
    )  # fmt: skip
    module.handle_event(0, event(address="192.0.2.9"))
    module.handle_event(0, event(address="192.0.2.3"))
    collector.wait(lambda: len(collector.lines) == 2)
    module.finish()
    assert sorted(line["text"] for line in collector.lines) == ["rebooted; nothing announced it", "yes"]
    assert numbers(module)["queued_records"] == 2


def test_only_crashes(made: Callable[..., Any]) -> None:
    """With kinds = ["reports"], neither events nor messages are taken."""
    module = made(kinds=["reports"])
    assert (module.wants_reports, module.wants_events) == (True, False)
    assert not module._takes_messages


def test_a_full_disk(collector: Collector, made: Callable[..., Any]) -> None:
    """Records that the disk of the spool has no room for are counted, and a fault says so; later ones arrive."""
    module = made()
    disk = FailingDisk()
    module.system = disk
    module.start(1)
    try:
        disk.failure, disk.at = OSError(errno.ENOSPC, "No space left on device"), disk.calls + 2
        module.handle_batch(0, messages(10))
        assert module.faults() == [f"cannot write the files in {module._directory}: No space left on device"]
        module.handle_batch(0, messages(5, first=11))
        collector.wait(lambda: len(collector.lines) == 5)
    finally:
        module.finish()
    found = numbers(module)
    assert (found["queued_records"], found["sent_records"], found["dropped_records"]) == (15, 5, 10)
    assert module.lost(0) == 10


def test_a_full_spool_drops_the_oldest(collector: Collector, started: Callable[..., Any], tmp_path: Path) -> None:
    """Beyond ``spool_size``, the oldest messages are dropped; those there and those dropped are all."""
    collector.status = 503
    module = started(spool_size="32M")
    long = "x" * 60_000
    # The process has read one message, and reads no other before that one is delivered.
    module.handle_batch(0, [extended_message(long, seq=0)])
    collector.wait(lambda: collector.http.requests != [])
    for first in range(1, 1001, 50):
        module.handle_batch(0, [extended_message(long, seq=seq) for seq in range(first, first + 50)])
    assert sum(part.path.stat().st_size for part in parts(tmp_path / "stream" / JOURNAL)) < 48 << 20
    collector.status = 200
    collector.wait(lambda: bool(collector.lines) and collector.lines[-1]["seq"] == 1000)
    module.finish()
    found = numbers(module)
    there = [line["seq"] for line in collector.lines]
    assert there == sorted(set(there))
    assert found["dropped_records"] > 0
    assert len(there) + found["dropped_records"] == found["queued_records"] == 1001


def test_removed_messages_that_had_been_sent_are_not_dropped(made: Callable[..., Any]) -> None:
    """Of a part that the full journal removed, the messages that the process had sent are not counted as dropped."""
    module = made()
    module._lost = [30, 5]
    module._heard('{"spared": 20, "dropped": 1}')
    assert numbers(module)["dropped_records"] == 16


def test_reports_and_events_are_bounded(collector: Collector, started: Callable[..., Any]) -> None:
    """Beyond their share of the spool, events are dropped and counted, and a fault says so."""
    collector.status = 503
    module = started(spool_size="32M")
    for _ in range(9):
        module.handle_event(0, Event("lost", event().source, 0.0, "x" * (1 << 20)))
    module._sync_once()
    module.handle_event(0, event())
    assert numbers(module)["dropped_records"] == 1
    assert "further ones are dropped" in module.faults()[-1]


def test_a_test_record(collector: Collector, made: Callable[..., Any], tmp_path: Path) -> None:
    """``send_test`` delivers one record and returns the answer, and leaves nothing behind."""
    module = made()
    assert module.send_test() == "200 OK"
    assert [line["text"] for line in collector.lines] == ["netconsd check --send: a test record"]
    assert not (tmp_path / "stream").exists()


@pytest.mark.parametrize(("status", "text"), [(401, "401 Unauthorized: not now"), (400, "400 Bad Request: not now")])
def test_a_test_record_that_is_not_delivered(collector: Collector, tmp_path: Path, status: int, text: str) -> None:
    """The check has the server's answer."""
    collector.status = status
    values = {"url": ModuleSetting(collector.http.url, "x", tmp_path)}
    answers, failures = send_tests(load([EXAMPLE], {"collector": values}).loaded)
    assert answers == []
    assert failures[0].startswith("module collector: the test record was not delivered")
    assert failures[0].endswith(text)


@pytest.mark.parametrize(
    "settings",
    [
        {"kinds": []},
        {"spool_size": "1M"},
        {"batch_records": 0},
        {"batch_bytes": "1G"},
        {"batch_seconds": "2m"},
        {"hosts": ["a b"]},
        {"keep": "("},
        {"url": "ftp://x"},
        {"url": "http://127.0.0.1:x"},
    ],
)
def test_wrong_settings_are_named(made: Callable[..., Any], settings: dict[str, object]) -> None:
    """A setting out of range stops the start, with its name."""
    with pytest.raises(ModuleError, match=f"collector.{next(iter(settings))}: "):
        made(**settings)


def test_a_private_name_of_the_stream() -> None:
    """A sink that has a method or an attribute by a name of the stream's own does not start."""
    with pytest.raises(TypeError, match=r"Method\._sync: Stream has this name"):
        type("Method", (Stream,), {"_sync": lambda self: None})

    class Attribute(Stream):
        def __init__(self) -> None:
            super().__init__()
            self._lost = [7]

    with pytest.raises(TypeError, match=r"Attribute\._lost: Stream has this name"):
        Attribute()


def test_a_warning_of_the_process(made: Callable[..., Any]) -> None:
    """Lines of the process are logged without control characters; a trace keeps its lines."""
    with capturedLogs() as logged:
        made()._heard(json.dumps({"warn": "Traceback:\n  \x1b[2J"}))
    assert [each["text"] for each in logged] == ["Traceback:\n  \\x1b[2J"]


def test_the_check(tmp_path: Path) -> None:
    """``check`` names each file and directory that cannot be used."""
    (tmp_path / "file").write_text("")
    values = {
        "host": "127.0.0.1", "transport": "tls",
        "ca_file": str(tmp_path / "none"), "directory": str(tmp_path / "file/x"),
    }  # fmt: skip
    typed = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
    module = load(["syslog"], {"syslog": typed}).loaded[0].module
    with pytest.raises(ExceptionGroup) as raised:
        module.check()
    assert sorted(str(error).partition(":")[0] for error in raised.value.exceptions) == ["ca_file", "directory"]


def test_it_starts_only_if_named() -> None:
    """A directory with a stream starts nothing."""
    assert "collector" not in [each.name for each in load([EXAMPLE.parent], {}, errors=[]).loaded]


def test_two_streams_in_one_directory_are_refused(started: Callable[..., Any]) -> None:
    """The second is refused with the process of the first."""
    started()
    with pytest.raises(RuntimeError, match=f"^directory: .*process {os.getpid()}"):
        started()
