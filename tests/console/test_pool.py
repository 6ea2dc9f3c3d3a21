"""The processes of queries: how many, how long, and what happens to those that nobody waits for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from netconsd.console import limits, process
from netconsd.console.failure import Refused
from netconsd.console.frames import DATA, END, HEAD, SHOWN
from netconsd.console.naming import Naming
from netconsd.console.pool import Pool
from netconsd.names import Names


class FakeProcess:
    """A process that the test plays."""

    def __init__(self, frame: Callable[[bytes, bytes], object], ended: Callable[[], object]) -> None:
        self.frame = frame
        self._ended = ended
        self.requests: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.killed = False

    def request(self, fields: dict[str, Any]) -> None:
        self.requests.append(fields)

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def kill(self) -> None:
        if not self.killed:
            self.killed = True
            self._ended()

    def answer(self) -> None:
        """Answer the query."""
        self.frame(HEAD, json.dumps({"status": 200, "type": "t", "headers": {}}).encode())
        self.frame(DATA, b"x")
        self.frame(END, b"{}")


class Waiting:
    """A client."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def head(self, status: int, kind: str, headers: dict[str, str]) -> None:
        self.got.append(status)

    def data(self, data: bytes) -> None:
        self.got.append(data)

    def note(self, fields: dict[str, Any]) -> None:
        self.got.append(fields)

    def end(self) -> None:
        self.got.append("end")

    def failed(self, error: Refused) -> None:
        self.got.append(error.text)


class Room:
    """A pool whose processes the test plays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.processes: list[FakeProcess] = []
        self.error: OSError | None = None

        def start(reactor: Any, module: str, arguments: Any, frame: Any, ended: Any) -> FakeProcess:
            if self.error is not None:
                raise self.error
            self.processes.append(FakeProcess(frame, ended))
            return self.processes[-1]

        monkeypatch.setattr(process, "start", start)
        self.pool = Pool(self.clock, ["/store", "{}"], Naming(Names(), self.clock.seconds, self.clock.seconds))

    def ask(self, number: int = 0) -> tuple[Any, Waiting]:
        client = Waiting()
        query = self.pool.ask({"query": number}, client)
        self.start()
        return query, client

    def start(self) -> None:
        """Let the processes say that they have started."""
        for each in self.processes:
            if not each.killed:
                each.frame(SHOWN, b'{"addresses": []}')


def killed(one: FakeProcess) -> bool:
    """Return whether a process was killed until now."""
    return one.killed


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """A pool."""
    return Room(monkeypatch)


def test_so_many_processes_at_most(room: Room) -> None:
    """Processes start when they are needed, up to a bound; a further query waits for the next that is free."""
    count = limits.WORKERS + 2
    clients = [room.ask(number)[1] for number in range(count)]
    assert [each.requests for each in room.processes] == [[{"query": number}] for number in range(limits.WORKERS)]
    room.processes[1].answer()
    assert clients[1].got == [200, b"x", "end"]
    assert room.processes[1].requests[-1] == {"query": limits.WORKERS}
    room.processes[1].answer()
    for each in room.processes:
        each.answer()
    assert [each.got[-1] for each in clients] == ["end"] * count
    assert len(room.processes) == limits.WORKERS


def test_one_process_starts_at_a_time(room: Room) -> None:
    """Queries that come together wait for the process that starts, which may answer all; else another one starts."""
    clients = []
    for number in range(3):
        clients.append(Waiting())
        room.pool.ask({"query": number}, clients[-1])
    assert len(room.processes) == 1
    room.processes[0].answer()
    # Its first frame started another.
    assert len(room.processes) == 2
    room.processes[0].answer()
    assert [client.got[-1:] for client in clients] == [["end"], [], ["end"]]
    room.processes[1].kill()
    assert "ended" in clients[1].got[0]
    _, client = room.ask()
    room.processes[0].answer()
    assert client.got[-1] == "end"


def test_searches_leave_a_process_for_others(room: Room) -> None:
    """Quick queries do not wait for slow searches; a further search waits for one of these."""
    for number in range(limits.SCANS + 1):
        room.pool.ask({"query": "messages", "number": number}, Waiting())
        room.start()
    _, client = room.ask()
    room.processes[limits.SCANS].answer()
    assert client.got[-1] == "end"
    assert len(room.processes) == limits.SCANS + 1
    room.processes[0].answer()
    assert room.processes[0].requests[-1] == {"query": "messages", "number": limits.SCANS}


def test_names_are_sent_as_they_change(room: Room, tmp_path: Path) -> None:
    """A process gets the names of the hosts file before its query, then those that have changed; and DNS is asked."""
    path = tmp_path / "hosts"
    path.write_text("192.0.2.7 web01\n192.0.2.8 web02\n")
    names = Names(hosts_file=path)
    names.read()
    room.pool.naming = Naming(names, room.clock.seconds, room.clock.seconds)
    room.ask()
    room.processes[0].answer()
    room.ask()
    first: dict[str, Any] = {"names": {"192.0.2.7": "web01", "192.0.2.8": "web02"}}
    assert room.processes[0].requests == [first, {"query": 0}, {"query": 0}]
    room.processes[0].answer()
    path.write_text("192.0.2.8 db02\n")
    names.read()
    room.pool.naming.changed()
    room.ask()
    assert room.processes[0].requests[3:] == [{"names": {"192.0.2.7": None, "192.0.2.8": "db02"}}, {"query": 0}]


def test_the_queue_has_a_bound(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a query is refused, with the time after which to try again."""
    monkeypatch.setattr(limits, "WAITING", 3)
    for number in range(limits.WORKERS + 3):
        room.ask(number)
    with pytest.raises(Refused) as error:
        room.ask()
    assert (error.value.status, error.value.retry) == (503, 5)


def test_idle_processes_end(room: Room) -> None:
    """A process without a query ends after some minutes, also one that was started in advance."""
    room.pool.warm()
    room.pool.warm()
    assert len(room.processes) == 1
    room.clock.advance(limits.IDLE_SECONDS - 1)
    room.ask()
    room.processes[0].answer()
    room.clock.advance(limits.IDLE_SECONDS - 1)
    assert not killed(room.processes[0])
    room.clock.advance(1)
    assert killed(room.processes[0])
    assert room.clock.getDelayedCalls() == []


def test_a_cancelled_query(room: Room) -> None:
    """A query that nobody waits for is asked to end, then killed; one that ends in time leaves its process."""
    query, client = room.ask()
    query.cancel()
    assert room.processes[0].requests[-1] == {"cancel": True}
    room.processes[0].answer()
    assert client.got == []
    room.clock.advance(limits.CANCEL_SECONDS)
    assert not killed(room.processes[0])
    query, _ = room.ask()
    query.cancel()
    room.clock.advance(limits.CANCEL_SECONDS)
    assert killed(room.processes[0])
    room.ask()
    assert len(room.processes) == 2


def test_a_query_that_waits_is_cancelled(room: Room) -> None:
    """A query that has no process yet never gets one."""
    for number in range(limits.WORKERS):
        room.ask(number)
    query, _ = room.ask(9)
    query.cancel()
    room.processes[0].answer()
    assert room.processes[0].requests == [{"query": 0}]


def test_a_long_query_is_killed(room: Room) -> None:
    """A query has its time; then its client learns what to change, and the next query has a new process."""
    _, client = room.ask()
    room.clock.advance(limits.QUERY_SECONDS)
    assert killed(room.processes[0])
    assert "choose a shorter time" in client.got[0]
    _, client = room.ask()
    room.processes[1].answer()
    assert client.got[-1] == "end"


def test_a_client_that_takes_nothing(room: Room) -> None:
    """A query whose client takes nothing for a time is killed: it keeps a process from others."""
    query, client = room.ask()
    query.pause()
    room.clock.advance(limits.STALLED_SECONDS / 2)
    query.resume()
    room.clock.advance(limits.STALLED_SECONDS / 2 - 1)
    assert not killed(room.processes[0])
    query.pause()
    room.clock.advance(limits.STALLED_SECONDS)
    assert killed(room.processes[0])
    assert client.got == ["the client takes nothing"]
    assert room.processes[0].calls == ["pause", "resume", "pause"]


def test_a_client_that_pauses_at_the_last_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and the end are read at once, and the client pauses at the data: the process is read for the next query."""
    transport: Any = StringTransport()

    def start(reactor: Any, module: str, arguments: Any, frame: Any, ended: Any) -> process.Process:
        made = process.Process(frame, ended)
        made.makeConnection(transport)
        transport.protocol = made
        return made

    def frames(*pieces: bytes) -> bytes:
        return b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)

    class Pausing(Waiting):
        def data(self, data: bytes) -> None:
            super().data(data)
            query.pause()

    monkeypatch.setattr(process, "start", start)
    pool = Pool(Clock(), ["/store", "{}"], Naming(Names(), lambda: 0.0, lambda: 0.0))
    client = Pausing()
    query = pool.ask({"query": 0}, client)
    transport.protocol.dataReceived(frames(DATA + b"x", END + b"{}"))
    assert client.got == [b"x", "end"]
    query.resume()
    assert transport.producerState == "producing"


def test_a_client_that_pauses_before_its_query_has_a_process(room: Room) -> None:
    """A query that was paused while it waited begins paused, and has the same time as any other that takes nothing."""
    for number in range(limits.WORKERS):
        room.ask(number)
    query, client = room.ask(9)
    query.pause()
    room.processes[0].answer()
    assert room.processes[0].calls[-1] == "pause"
    room.clock.advance(limits.STALLED_SECONDS)
    assert client.got == ["the client takes nothing"]


def test_a_process_that_ends(room: Room) -> None:
    """A process that ends by itself fails its query only."""
    _, first = room.ask()
    _, second = room.ask()
    _, third = room.ask()
    room.processes[0].kill()
    assert "ended" in first.got[0]
    assert second.got == []
    room.processes[2].answer()
    assert third.got[-1] == "end"


def test_no_more_processes(room: Room) -> None:
    """If the machine has no more processes, queries fail with the reason."""
    room.error = OSError(11, "Resource temporarily unavailable")
    query, client = room.ask()
    # Not before the caller has the query.
    assert (query.worker, client.got) == (None, [])
    room.clock.advance(0)
    assert "Resource temporarily unavailable" in client.got[0]
    room.error = None
    _, client = room.ask()
    room.processes[0].answer()
    assert client.got[-1] == "end"


def test_the_end(room: Room) -> None:
    """At the end all processes end, and no query is left without an answer."""
    clients = [room.ask(number)[1] for number in range(4)]
    room.pool.close()
    assert all(each.killed for each in room.processes)
    assert all(len(each.got) == 1 for each in clients)
    with pytest.raises(Refused):
        room.ask()
    assert room.clock.getDelayedCalls() == []
