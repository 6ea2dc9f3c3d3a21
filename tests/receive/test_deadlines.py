"""A pause of the receiver does not look like loss: a deadline waits for everything that was received before it."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from netconsd.protocol.message import ExtendedMessage
from netconsd.receive.lanes import GRACE_SECONDS, MARK_SECONDS, Lane, Workers
from netconsd.receive.listener import FULL_SECONDS, NetconsoleListener
from netconsd.receive.reader import FAILING_SECONDS, FAILURE_PAUSE, LEAST_CHARGE, BatchReader, Receiver
from netconsd.receive.recvfrom import Receiver as PlainReceiver
from netconsd.receive.sockets import MemInfo
from netconsd.settings import Settings
from netconsd.testing import extended, fragments
from tests.support.loopback import send
from tests.support.scripted_lane import ALICE, BOB, PATIENCE, Delivered, SameThread, Scripted, put, records, run

REORDER = 0.2
PARTS = fragments(extended("x" * 1500, seq=7), 1000)


class Reactor(Clock):
    """A reactor in the test's thread: a lane's call is made at once, timers when the test advances the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.advance(1000.0)
        self.readers: list[object] = []

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:  # noqa: N802
        function(*arguments)

    def addReader(self, reader: object) -> None:  # noqa: N802
        self.readers.append(reader)

    def removeReader(self, reader: object) -> None:  # noqa: N802
        self.readers = [one for one in self.readers if one is not reader]


class Queue(Scripted):
    """The queue of the lane under test; an empty queue is ``queue.Empty``, with the clock moved by the timeout."""

    def __init__(self, reactor: Reactor) -> None:
        super().__init__()
        self._reactor = reactor

    def get(self, timeout: float | None) -> Any:
        if not self.items:
            assert timeout is not None, "the lane would wait without a limit"
            self._reactor.advance(timeout)
            self.items.append(self.NOTHING)
            timeout = 0.0
        return super().get(timeout)


class Rig:
    """Workers with one lane, whose turns the test makes, and sockets that the test sends to."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, sockets: int = 1, receiver: Any = Receiver, **settings: Any
    ) -> None:
        self.reactor = Reactor()
        self.queue = Queue(self.reactor)
        self.delivered = Delivered()
        monkeypatch.setattr("netconsd.receive.lanes.SimpleQueue", lambda: self.queue)
        # The lanes of workers have no argument for the clock.
        real = Lane
        monkeypatch.setattr(
            "netconsd.receive.lanes.Lane",
            lambda *a, **k: real(*a, **k, clock=self.reactor.seconds, thread=SameThread),
        )
        self.workers = Workers(
            self.delivered,
            Settings(workers=1, reorder=REORDER, **{"gc_interval": 0.0} | settings),
            reactor=self.reactor,  # type: ignore[arg-type]
        )
        (self.lane,) = self.workers.lanes
        self.readers = [self._listen(receiver) for _ in range(sockets)]
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def _listen(self, receiver: Any) -> BatchReader:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.setblocking(False)
        bound.bind(("127.0.0.1", 0))
        reader = BatchReader(
            bound, self.workers, batch=4, pause=0.0, reactor=self.reactor, receiver=receiver,
            clock=self.reactor.seconds, wall_clock=lambda: 1.5e9,
        )  # fmt: skip
        reader.startListening()
        return reader

    def close(self) -> None:
        self.sender.close()
        self.workers.stop()
        for reader in self.readers:
            reader.stopListening()
        assert self.reactor.getDelayedCalls() == []

    def send(self, *datagrams: bytes, to: int = 0) -> None:
        """Send datagrams of one sender to a socket, which nobody reads yet."""
        for datagram in datagrams:
            self.sender.sendto(datagram, ("127.0.0.1", self.readers[to].getHost().port))

    def turns(self) -> None:
        """Let the lane process everything in its queue."""
        while self.queue.items:
            self.lane._turn()

    @property
    def messages(self) -> list[tuple[int, bool]]:
        """Length of the text and mark of each delivered record."""
        return [
            (len(message.text), message.incomplete)
            for message in self.delivered.messages
            if isinstance(message, ExtendedMessage)
        ]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    """``make(...)`` returns a rig, which is closed after the test."""
    rigs: list[Rig] = []

    def one(**options: Any) -> Rig:
        rigs.append(Rig(monkeypatch, **options))
        return rigs[-1]

    yield one
    for rig in rigs:
        rig.close()


@pytest.mark.parametrize("receiver", [Receiver, PlainReceiver], ids=["default", "plain"])
def test_a_pause_between_the_parts_of_a_message(make: Any, receiver: Any) -> None:
    """A message whose rest waits in the socket at its deadline is delivered once and complete.

    Without a mark it was delivered twice with a part missing, although no datagram was dropped.
    """
    rig = make(receiver=receiver)
    rig.send(PARTS[0])
    rig.readers[0].doRead()
    rig.turns()
    # The process is stopped; the kernel receives the rest.
    rig.send(*PARTS[1:])
    rig.reactor.advance(10.0)
    # The lane wakes up before the reactor.
    rig.lane._turn()
    rig.turns()
    assert rig.messages == [(1500, False)]
    assert rig.lane.counters.incomplete == 0


def test_a_pause_before_a_missing_record(make: Any) -> None:
    """A record that waits in the socket at the deadline of the record behind the gap is not missing."""
    rig = make()
    rig.send(*records([1, 3]))
    rig.readers[0].doRead()
    rig.turns()
    rig.send(*records([2]))
    rig.reactor.advance(10.0)
    rig.lane._turn()
    rig.turns()
    assert rig.delivered.texts == ["1", "2", "3"]
    assert rig.lane.counters.missing == 0


def test_a_read_that_does_not_empty_the_socket_expires_nothing(make: Any) -> None:
    """After a pause, the first of several reads does not end a wait for a record that a later read has."""
    rig = make()
    rig.send(*records([1, 3]))
    rig.readers[0].doRead()
    rig.turns()
    slots = rig.readers[0]._receiver.slots
    rig.send(*[extended("busy", seq=number + 10) for number in range(slots)], *records([2]))
    rig.reactor.advance(10.0)
    rig.readers[0].doRead()
    rig.turns()
    assert rig.delivered.texts == ["1"]
    rig.readers[0].doRead()
    rig.turns()
    assert rig.delivered.texts[:3] == ["1", "2", "3"]


def test_each_of_several_sockets_is_read_before_a_deadline_expires(make: Any) -> None:
    """A batch of one socket does not end a wait for a record that another socket has."""
    rig = make(sockets=2)
    rig.send(*records([1, 3]))
    rig.readers[0].doRead()
    rig.turns()
    rig.send(*records([2]), to=1)
    rig.reactor.advance(10.0)
    for _ in range(2):
        rig.send(b"busy\n")
        rig.readers[0].doRead()
        rig.turns()
    rig.lane._turn()
    rig.turns()
    assert [text for text in rig.delivered.texts if text != "busy"] == ["1", "2", "3"]
    assert rig.lane.counters.missing == 0


def test_a_deadline_counts_from_the_end_of_the_read(make: Any) -> None:
    """A process that is stopped between its look at the clock and the read does not shorten a wait."""
    rig = make()
    reader = rig.readers[0]
    real = reader._receiver

    def receive() -> Any:
        rig.reactor.advance(10.0)
        return real.receive()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return receive if name == "receive" else getattr(real, name)

    rig.send(PARTS[0])
    reader._receiver = Slow()
    reader.doRead()
    reader._receiver = real
    rig.turns()
    assert rig.lane._table.next_deadline() == rig.reactor.seconds() + REORDER


def test_a_deadline_without_traffic(make: Any) -> None:
    """With an empty socket, a record behind a gap is delivered soon after its deadline, after one empty read."""
    rig = make()
    rig.send(*records([1, 3]))
    rig.readers[0].doRead()
    rig.turns()
    begin = rig.reactor.seconds()
    rig.lane._turn()
    rig.turns()
    assert rig.delivered.texts == ["1", "3"]
    assert rig.reactor.seconds() - begin == pytest.approx(REORDER + GRACE_SECONDS)


def test_silent_senders_are_forgotten_by_marks(make: Any) -> None:
    """A sender whose datagram waits in the socket when its age is reached is not forgotten."""
    rig = make(gc_interval=10.0, gc_age=30.0)
    rig.send(b"line\n")
    rig.readers[0].doRead()
    rig.turns()
    rig.send(b"line\n")
    rig.reactor.advance(1000.0)
    rig.lane._turn()
    rig.turns()
    assert rig.lane.counters.senders_expired == 0
    assert rig.lane.senders == rig.lane.counters.senders_new == 1
    for _ in range(5):
        rig.lane._turn()
        rig.turns()
    assert rig.lane.counters.senders_expired == 1


def test_one_mark_is_under_way_at_a_time(make: Any) -> None:
    """A lane that waits for a mark sleeps without a limit, and does not ask again."""
    rig = make()
    rig.send(*records([1, 3]))
    rig.readers[0].doRead()
    rig.turns()
    calls: list[Any] = []
    rig.reactor.callFromThread = lambda *call: calls.append(call)
    rig.lane._turn()
    assert len(calls) == 1
    rig.lane.put([BOB], records([5]), 0.0, rig.reactor.seconds(), complete=0.0)
    rig.lane._turn()
    assert (len(calls), rig.lane._timeout()) == (1, None)
    function, *arguments = calls.pop()
    function(*arguments)
    rig.turns()
    assert rig.delivered.texts == ["1", "5", "3"]


def test_a_full_queue_accepts_a_mark(make: Any) -> None:
    """A deadline expires although the queue drops datagrams."""
    rig = make(queue=1)
    rig.send(*records([1]))
    rig.readers[0].doRead()
    rig.turns()
    rig.send(*records([3]))
    rig.readers[0].doRead()
    rig.turns()
    rig.reactor.advance(1.0)
    rig.lane._turn()
    put(rig.lane, *records([4, 5]), now=rig.reactor.seconds())
    rig.turns()
    assert rig.lane.queue_counters.dropped_queue_full == 1
    assert rig.delivered.texts == ["1", "3", "4"]


def test_a_flood_does_not_hold_messages_for_ever(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although a socket is never empty, a deadline expires once the datagrams before it have been read."""
    rig = make()
    reader = rig.readers[0]
    slots = reader._receiver.slots
    monkeypatch.setattr("netconsd.receive.reader.meminfo", lambda bound: MemInfo(3 * slots * LEAST_CHARGE, 2**26, 0))
    begin = reader.complete
    seen = []
    for _ in range(10):
        rig.send(*[b""] * slots)
        rig.reactor.advance(1.0)
        assert reader.read(rig.reactor.seconds()) == slots
        seen.append(reader.complete)
    # 3 * slots + 1 datagrams are before the time of the look: the fourth read after it reaches them.
    assert seen == [begin] * 4 + [1001.0] * 4 + [1005.0] * 2


def test_failing_reads_do_not_hold_messages_for_ever(make: Any) -> None:
    """A socket that cannot be read delays a deadline, for FAILING_SECONDS at most."""
    rig = make()
    reader = rig.readers[0]
    rig.send(*records([1, 3]))
    reader.doRead()
    rig.turns()
    real = reader._receiver

    def fail() -> None:
        raise OSError(12, "no memory")

    reader._receiver = SimpleNamespace(
        **{name: getattr(real, name) for name in dir(real) if not name.startswith("_")} | {"receive": fail}
    )
    with capturedLogs():
        rig.lane._turn()
        begin = rig.reactor.seconds()
        reader.doRead()
        while not rig.queue.items:
            assert rig.delivered.texts == ["1"]
            assert rig.reactor.seconds() - begin < FAILING_SECONDS + 2 * FAILURE_PAUSE
            rig.reactor.advance(MARK_SECONDS)
    rig.turns()
    assert rig.reactor.seconds() - begin >= FAILING_SECONDS - FAILURE_PAUSE
    assert rig.delivered.texts == ["1", "3"]


def test_an_error_behind_read_datagrams_does_not_make_a_socket_empty(make: Any) -> None:
    """A read that leaves slots empty may have met an error: only the next read confirms that the socket was empty."""
    rig = make()
    reader = rig.readers[0]
    real = reader._receiver
    rig.send(b"line\n")
    reader.read(1000.0)
    assert reader.complete == float("-inf")

    def fail() -> None:
        raise OSError(12, "no memory")

    reader._receiver = SimpleNamespace(
        **{name: getattr(real, name) for name in dir(real) if not name.startswith("_")} | {"receive": fail}
    )
    with capturedLogs():
        reader.read(1001.0)
    assert reader.complete == float("-inf")
    reader._receiver = real
    rig.send(b"line\n")
    reader.read(1002.0)
    assert reader.complete == float("-inf")
    reader.read(1003.0)
    assert reader.complete == 1003.0


def test_a_reader_in_its_pause_is_not_read(make: Any) -> None:
    """A mark waits for the end of a reader's pause, which is short."""
    rig = make()
    reader = rig.readers[0]
    reader._pause = 0.01
    rig.send(*records([1, 3]))
    reader.doRead()
    rig.turns()
    assert reader._resumption is not None
    reads = reader.counters.datagrams
    rig.send(*records([2]))
    reader.catch_up(rig.reactor.seconds())
    assert reader.counters.datagrams == reads
    rig.reactor.advance(0.01)
    assert reader.counters.datagrams == reads + 1


def test_without_ports_a_deadline_expires_soon_after_its_time(make: Any) -> None:
    """A program that queues datagrams itself gets its held messages soon after their deadline."""
    rig = make(sockets=0)
    put(rig.lane, *records([1, 3]), now=1000.0)
    put(rig.lane, *records([1]), sender=BOB, now=1000.0)
    rig.turns()
    rig.lane._turn()
    rig.turns()
    assert rig.delivered.texts == ["1", "1", "3"]
    assert rig.reactor.seconds() == pytest.approx(1000.0 + REORDER + GRACE_SECONDS)


def test_under_load_batches_expire_deadlines_without_a_mark(make: Any) -> None:
    """A mark wakes up both threads: a lane asks for none while a batch each pause expires its deadlines."""
    rig = make(sockets=0)
    pause = Settings().pause
    put(rig.lane, *records([1, 3]), now=1000.0)
    rig.turns()
    while rig.delivered.texts[-1] != "3":
        timeout = rig.lane._timeout()
        assert timeout > pause, "the lane would wake up before the next batch"
        rig.reactor.advance(pause)
        now = rig.reactor.seconds()
        # Complete up to the read before it.
        rig.lane.put([ALICE], records([1]), 0.0, now, complete=now - pause)
        rig.turns()
    assert rig.reactor.seconds() - 1000.0 == pytest.approx(REORDER, abs=2.5 * pause)


def test_a_failing_look_is_repeated(make: Any) -> None:
    """An exception in a port is logged, and the lane gets its mark later."""
    rig = make(sockets=0)
    put(rig.lane, *records([1, 3]), now=1000.0)
    rig.turns()

    def fail(wanted: float) -> None:
        raise MemoryError

    rig.workers.ports.append(SimpleNamespace(complete=0.0, catch_up=fail))
    with capturedLogs() as events:
        rig.lane._turn()
    assert [event["log_failure"].type for event in events] == [MemoryError]
    rig.workers.ports.clear()
    rig.reactor.advance(MARK_SECONDS)
    rig.turns()
    assert rig.delivered.texts == ["1", "3"]


def test_the_stop_needs_no_mark(make: Any) -> None:
    """A lane that waits for a mark at the stop delivers everything and ends; no timer is left."""
    rig = make(sockets=0)
    rig.workers.ports.append(SimpleNamespace(complete=0.0, catch_up=lambda wanted: None))
    put(rig.lane, *records([1, 3]), now=1000.0)
    rig.turns()
    rig.lane._turn()
    assert len(rig.reactor.getDelayedCalls()) == 1
    rig.workers.stop()
    assert rig.reactor.getDelayedCalls() == []
    rig.workers._mark(rig.lane, 0.0)
    assert rig.reactor.getDelayedCalls() == []
    while rig.lane._turn():
        pass
    assert rig.delivered.texts == ["1", "3"]


# The listener of embedding programs.


class Transport:
    """Replaces the reactor's port; ``handle`` is its socket."""

    def __init__(self, reactor: Reactor, handle: Any) -> None:
        self.reactor = reactor
        self.maxPacketSize = 65536
        if handle is not None:
            self.getHandle = lambda: handle


def listener_of(rig: Rig, handle: Any) -> NetconsoleListener:
    """A listener that has started on a port with this socket."""
    listener = NetconsoleListener(rig.workers, clock=rig.reactor.seconds, wall_clock=lambda: 1.5e9)
    transport: Any = Transport(rig.reactor, handle)
    listener.makeConnection(transport)
    return listener


def test_a_listener_waits_for_its_socket(make: Any) -> None:
    """A deadline expires after the reactor's port has emptied the socket and the listener has queued everything."""
    rig = make(sockets=0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        listener = listener_of(rig, bound)
        for record in records([1, 3]):
            listener.datagramReceived(record, ("192.0.2.1", 6665))
        listener.flush()
        rig.turns()
        send(bound.getsockname()[1], b"x")
        rig.reactor.advance(REORDER + 0.1)
        rig.lane._turn()
        assert rig.queue.items == []
        bound.recv(10)
        listener.datagramReceived(records([2])[0], ("192.0.2.1", 6665))
        rig.reactor.advance(MARK_SECONDS)
        rig.turns()
        assert rig.delivered.texts == ["1", "2", "3"]
        listener.doStop()  # type: ignore[no-untyped-call]
    assert rig.workers.ports == []


@pytest.mark.parametrize("handle", [None, object()])
def test_a_listener_whose_socket_is_unknown_waits_for_a_turn(make: Any, handle: Any) -> None:
    """With a transport without a pollable socket, a deadline expires after another turn of the reactor."""
    rig = make(sockets=0)
    listener = listener_of(rig, handle)
    listener.catch_up(1000.0)
    assert listener.complete == float("-inf")
    rig.reactor.advance(MARK_SECONDS)
    listener.catch_up(1000.0)
    assert listener.complete == rig.reactor.seconds()


def test_a_listener_whose_socket_is_never_empty(make: Any) -> None:
    """A flood, or a port that the program has paused, delays a deadline for FULL_SECONDS at most."""
    rig = make(sockets=0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        listener = listener_of(rig, bound)
        send(bound.getsockname()[1], b"x")
        listener.catch_up(1000.0)
        rig.reactor.advance(FULL_SECONDS * 0.9)
        listener.catch_up(1000.0)
        assert listener.complete == float("-inf")
        rig.reactor.advance(FULL_SECONDS * 0.2)
        listener.catch_up(1000.0)
        assert listener.complete == rig.reactor.seconds()


# A real thread.


def test_a_mark_comes_from_the_thread_of_the_reactor() -> None:
    """A lane asks in its thread; the ports are read in the thread that calls ``callFromThread``'s function."""
    calls: queue.Queue[tuple[Any, ...]] = queue.Queue()
    threads: list[int] = []
    delivered = Delivered()
    reactor: Any = SimpleNamespace(callFromThread=lambda *call: calls.put(call))
    workers = Workers(delivered, Settings(workers=1, reorder=0.001), reactor=reactor)
    port: Any = SimpleNamespace(complete=float("inf"), catch_up=lambda wanted: threads.append(threading.get_ident()))
    workers.ports.append(port)
    workers.start()
    workers.lanes[0].put([ALICE] * 2, records([1, 3]), 0.0, 0.0, complete=-1.0)
    function, *arguments = calls.get(timeout=PATIENCE)
    function(*arguments)
    assert threads == [threading.get_ident()]
    stopped = workers.stop()
    while not stopped.called:
        function, *arguments = calls.get(timeout=PATIENCE)
        function(*arguments)
    assert delivered.texts == ["1", "3"]


def test_run_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane without anybody to ask expires a deadline when its queue is empty."""
    script = Scripted()
    monkeypatch.setattr("netconsd.receive.lanes.SimpleQueue", lambda: script)
    delivered = Delivered()
    settings = Settings(workers=1, reorder=REORDER, gc_interval=0.0)
    lane = Lane(0, delivered, settings, clock=lambda: script.now, thread=SameThread)
    put(lane, *records([1, 3]))
    script.items.append(Scripted.NOTHING)
    run(lane)
    assert delivered.sizes == [1, 1]
