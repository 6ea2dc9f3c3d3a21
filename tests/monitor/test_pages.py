"""The pages of the HTTP port: made of one snapshot a second, and rendered in a thread, once for all who ask."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from netconsd.monitor.crashes import LastReport
from netconsd.monitor.pages import KEEP_SECONDS, PENDING_LIMIT, Answer, Pages
from netconsd.monitor.request import read
from netconsd.monitor.snapshot import Snapshot
from netconsd.monitor.top_senders import TopList
from netconsd.protocol.counters import SENDER_COUNTERS, SenderCounters
from netconsd.receive.binding import CLOSED
from netconsd.settings import Settings
from tests.support.snapshots import full_snapshot


class Service:
    """Stands for the service: counts its snapshots."""

    settings = Settings()
    receiving = True

    def __init__(self) -> None:
        self.snapshots = 0
        self.last: list[LastReport] = []
        self.top = TopList("lost", tuple(sender(number) for number in range(100)), (1,))

    def snapshot(self) -> Snapshot:
        self.snapshots += 1
        return full_snapshot()

    def last_reports(self) -> list[LastReport]:
        return self.last

    def top_senders(self, by: str) -> Deferred[TopList]:
        return succeed(self.top)


def sender(number: int) -> SenderCounters:
    """The counters of a sender, all of this number."""
    numbers: dict[str, Any] = dict.fromkeys(SENDER_COUNTERS, number)
    return SenderCounters(address="192.0.2.7", port=number, last_seen=0.0, **numbers)


class Bench:
    """The pages, a clock, and threads that run when the test says so."""

    def __init__(self) -> None:
        self.service = Service()
        self.now = 0.0
        self.threads: list[Callable[[], None]] = []
        self.pages = Pages(self.service, self.in_thread, clock=lambda: self.now)

    def in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.threads.append(lambda: done.callback(function()))
        return done

    def ask(self, path: str, accept: str = "") -> list[Answer]:
        """Ask for a page; the list has the answer once it is there."""
        answers: list[Answer] = []
        answer = self.pages.get(read(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}".encode()))
        if isinstance(answer, Deferred):
            answer.addCallback(answers.append)
        else:
            answers.append(answer)
        return answers


def test_one_snapshot_a_second() -> None:
    """However many pages are asked for, at most one snapshot is taken in KEEP_SECONDS."""
    bench = Bench()
    for path in ("/metrics", "/healthz", "/readyz") * 10:
        bench.ask(path)
        while bench.threads:
            bench.threads.pop()()
    assert bench.service.snapshots == 1
    bench.now += KEEP_SECONDS
    bench.ask("/readyz")
    assert bench.service.snapshots == 2


def test_the_metrics_are_rendered_once_for_all() -> None:
    """The metrics are rendered in a thread, one page at a time, once for each format and snapshot."""
    bench = Bench()
    newer = "application/openmetrics-text"
    answers = [bench.ask("/metrics", accept) for accept in ("", newer, "*/*", newer + ";version=1.0.0") * 10]
    assert not any(answers)
    for left in (1, 0):
        assert len(bench.threads) == 1
        bench.threads.pop()()
        assert len(bench.threads) == left
    assert all(answers)
    assert len({answer.body for (answer,) in answers}) == 2
    assert bench.ask("/metrics")[0] is answers[0][0]
    bench.now += KEEP_SECONDS
    assert bench.ask("/metrics") == []
    assert len(bench.threads) == 1


@pytest.mark.parametrize(
    ("accept", "newer"),
    [
        ("", False),
        ("text/plain;version=1.0.0;escaping=values", False),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=1.0.0.7;q=1", False),
        ("application/openmetrics-text;version=no number", False),
        ("application/openmetrics-text;version=0.0.1,application/openmetrics-text; Version=1.0.0;q=0.5", True),
        ("application/openmetrics-text", True),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;q=0.3,*/*;q=0.2",
            True,
        ),
    ],
)
def test_the_formats(accept: str, newer: bool) -> None:
    """Two formats exist, whatever the client accepts."""
    bench = Bench()
    answers = bench.ask("/metrics", accept)
    bench.threads.pop()()
    assert answers[0].content_type.startswith("application/openmetrics-text" if newer else "text/plain; version=0.0.4")


def test_a_list_of_senders_is_rendered_once() -> None:
    """The lines of a list are rendered in a thread, once, whatever the lengths asked for."""
    bench = Bench()
    answers = [bench.ask(f"/senders?by=lost&count={count}") for count in (2, 0, 999)]
    assert len(bench.threads) == 1
    bench.threads.pop()()
    assert bench.threads == []
    lists = [json.loads(answer.body) for (answer,) in answers]
    assert [len(shown["senders"]) for shown in lists] == [2, 0, 100]
    assert (lists[0]["by"], lists[0]["workers_that_did_not_answer"]) == ("lost", [1])
    assert lists[0]["senders"][1]["port"] == 1
    assert lists[0]["senders"][1]["silent_seconds"] > 0


def test_the_pages_being_made_are_bounded() -> None:
    """While PENDING_LIMIT pages are being made, further ones are status 503; other pages, and later ones, are 200."""
    bench = Bench()
    answers = [bench.ask("/metrics") for _ in range(PENDING_LIMIT + 1)]
    assert [answer.status for (answer,) in filter(None, answers)] == [503]
    assert bench.ask("/readyz")[0].status == 200
    bench.threads.pop()()
    assert all(answers)
    assert bench.ask("/metrics")[0].status == 200


def test_the_reasons_of_bad_health() -> None:
    """/readyz has a line for each listener that cannot receive, with the reason; /healthz is 503 if a restart helps:
    for a closed socket, but not for an address that is gone."""
    bench = Bench()
    listener = full_snapshot().listeners[0]
    problems = ["192.0.2.1 is gone", "", CLOSED]
    listeners = tuple(
        replace(listener, number=number, failing=bool(problem), problem=problem)
        for number, problem in enumerate(problems)
    )
    vars(bench.service)["snapshot"] = lambda: Snapshot(listeners)
    (ready,) = bench.ask("/readyz")
    assert ready[:2] == (503, b"listener 0: 192.0.2.1 is gone\nlistener 2: its socket is closed\n")
    (healthy,) = bench.ask("/healthz")
    assert healthy[:2] == (503, b"listener 2: its socket is closed\n")
    vars(bench.service)["receiving"] = False
    assert bench.ask("/readyz")[0][:2] == (503, b"not receiving\n")
    assert bench.ask("/healthz")[0][:2] == (200, b"ok\n")
