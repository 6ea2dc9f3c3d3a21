"""The reader: at once at rest, in pauses under load, deaf never, and nothing uncounted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from netconsd.protocol.allowlist import EVERYONE
from netconsd.receive.reader import BATCHES, FAILURE_PAUSE, FINAL_READS, LEAST_CHARGE, BatchReader, Receiver
from netconsd.receive.recvfrom import Receiver as PlainReceiver
from netconsd.receive.sockets import MemInfo, meminfo
from tests.support.loopback import needs_ipv6, send

PAUSE = 0.001


class Reactor(Clock):
    """A reactor whose time is moved by hand, and the readers it has."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[object] = []
        self.advance(1000.0)

    def addReader(self, reader: object) -> None:  # noqa: N802
        if reader not in self.readers:
            self.readers.append(reader)

    def removeReader(self, reader: object) -> None:  # noqa: N802
        if reader in self.readers:
            self.readers.remove(reader)


class ScriptedReceiver:
    """In place of a receiver: each read finds as many datagrams as the script says, or raises; then there is nothing.

    Datagrams are numbered, and go to the two lanes by turns.
    """

    slots = 8
    large = False

    def __init__(self, script: list[int | Exception]) -> None:
        self.script = script
        self.reads = 0
        self.number = 0
        self.octets = 0
        self.truncated = 0
        self.dropped_bad_address = 0
        self.dropped_not_allowed = 0
        self.dropped_no_memory = 0
        self.dropped_bytes = 0

    @property
    def datagrams(self) -> int:
        return self.number + self.dropped_bad_address + self.dropped_not_allowed + self.dropped_no_memory

    def receive(self) -> list[tuple[list[bytes], list[bytes]]]:
        self.reads += 1
        step = self.script.pop(0) if self.script else 0
        if isinstance(step, Exception):
            raise step
        by_lane: list[tuple[list[bytes], list[bytes]]] = [([], []), ([], [])]
        for _ in range(step):
            senders, datagrams = by_lane[self.number % 2]
            senders.append(b"sender")
            datagrams.append(b"%d" % self.number)
            self.number += 1
            self.octets += 10
        return by_lane


class Lane:
    """In place of a lane: keeps what is put in."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[bytes], list[bytes], float, float]] = []

    def put(self, senders: list[bytes], datagrams: list[bytes], received_at: float, now: float, large: bool) -> None:
        self.batches.append((senders, datagrams, received_at, now))


class Rig:
    """A reader with scripted collaborators, on a real socket that nobody sends to."""

    def __init__(self, *script: int | Exception, pause: float = PAUSE, address: str = "127.0.0.1") -> None:
        self.reactor = Reactor()
        self.lanes = [Lane(), Lane()]
        self.unix = 1.5e9
        self.receiver = ScriptedReceiver(list(script))
        self.made_with: tuple[Any, ...] = ()
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((address, 0))
        workers: Any = SimpleNamespace(lanes=self.lanes)
        self.reader = BatchReader(
            self.socket, workers, batch=3, pause=pause, reactor=self.reactor, receiver=self._make,
            clock=self.reactor.seconds, wall_clock=lambda: self.unix,
        )  # fmt: skip

    def _make(self, *arguments: Any) -> ScriptedReceiver:
        self.made_with = arguments
        return self.receiver

    @property
    def at_rest(self) -> bool:
        """Whether the reactor would tell the reader at once that there is something to read."""
        return self.reactor.readers == [self.reader] and not self.reactor.getDelayedCalls()

    @property
    def pausing(self) -> bool:
        """Whether the reader waits for the end of a pause."""
        return not self.reactor.readers and len(self.reactor.getDelayedCalls()) == 1

    def wake(self) -> None:
        """As the reactor does when there is something to read."""
        assert self.reactor.readers == [self.reader]
        self.reader.doRead()


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Any]:
    """``rig(*script, ...)`` makes a rig that listens; it is closed at the end."""
    made: list[Rig] = []

    def make(*script: int | Exception, **options: Any) -> Rig:
        made.append(Rig(*script, **options))
        made[-1].reader.startListening()
        return made[-1]

    yield make
    for each in made:
        each.reader.stopListening()


# What the reactor and the lanes see.


def test_interfaces(rig: Any) -> None:
    """It is what a reactor reads, and a port that can be stopped."""
    reader = rig().reader
    assert verifyObject(IReadDescriptor, reader)
    assert verifyObject(IListeningPort, reader)
    assert reader.logPrefix() == "netconsd"


def test_the_receiver_is_made_for_the_socket_and_the_lanes(rig: Any) -> None:
    """The receiver gets the socket, the size of a batch, how many of them, the number of lanes, and who is allowed."""
    each = rig()
    assert each.made_with == (each.socket, 3, BATCHES, 2, EVERYONE)
    assert each.reader.fileno() == each.socket.fileno() >= 0


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_the_host_is_where_the_socket_is_bound(rig: Any, address: str) -> None:
    """``getHost`` has the address and the port that the kernel chose, for either family."""
    each = rig(address=address)
    port = each.socket.getsockname()[1]
    kind = IPv6Address if ":" in address else IPv4Address
    assert each.reader.getHost() == kind("UDP", address, port)


def test_a_read_is_a_batch_per_lane(rig: Any) -> None:
    """What one read found goes to each lane in order, together, with one time of each clock; none gets nothing."""
    each = rig(5, 1)
    each.wake()
    even, odd = each.lanes
    assert even.batches == [([b"sender"] * 3, [b"0", b"2", b"4"], 1.5e9, 1000.0)]
    assert odd.batches == [([b"sender"] * 2, [b"1", b"3"], 1.5e9, 1000.0)]
    each.unix = 1.4e9
    each.reactor.advance(PAUSE)
    assert odd.batches[1:] == [([b"sender"], [b"5"], 1.4e9, 1000.0 + PAUSE)]
    assert len(even.batches) == 1


# Pauses.


def test_at_rest_a_datagram_is_read_at_once(rig: Any) -> None:
    """Datagrams that come one at a time, further apart than the pause, never make the reader wait."""
    each = rig(1, 1, 1)
    for _ in range(3):
        each.wake()
        assert each.at_rest
        each.reactor.advance(2 * PAUSE)
    assert each.reader.counters.datagrams == 3


def test_several_at_once_are_load(rig: Any) -> None:
    """When one read finds several, the next one is a pause later; until then the reactor leaves the socket alone."""
    each = rig(2, 0)
    each.wake()
    assert each.pausing
    each.reactor.advance(0.9 * PAUSE)
    assert each.pausing
    assert each.receiver.reads == 1
    each.reactor.advance(0.2 * PAUSE)
    assert each.receiver.reads == 2


def test_one_soon_after_another_is_load(rig: Any) -> None:
    """Datagrams that come one at a time but within a pause of each other make it wait, too."""
    each = rig(1, 1)
    each.wake()
    each.reactor.advance(0.5 * PAUSE)
    each.wake()
    assert each.pausing


def test_load_that_lasts_is_read_once_per_pause(rig: Any) -> None:
    """As long as each read finds several, there is one read per pause, and the reactor is not asked in between."""
    each = rig(*[4] * 10)
    each.wake()
    for number in range(1, 10):
        assert each.pausing
        each.reactor.advance(PAUSE)
        assert each.receiver.reads == number + 1
    assert each.reader.counters.datagrams == 40


@pytest.mark.parametrize("found", [0, 1])
def test_rest_comes_back(rig: Any, found: int) -> None:
    """When a pause ends with nothing or one datagram, the reader is at rest again."""
    each = rig(4, found)
    each.wake()
    each.reactor.advance(PAUSE * 1.5)
    assert each.at_rest
    assert each.reader.counters.datagrams == 4 + found


def test_without_a_pause_it_never_waits(rig: Any) -> None:
    """A pause of 0 is none: the reactor says when to read, always."""
    each = rig(4, 4, 1, pause=0.0)
    for _ in range(3):
        each.wake()
        assert each.at_rest


def test_full_slots_are_no_time_to_wait(rig: Any) -> None:
    """When a read filled all slots there is more in the socket, and the reactor goes on at once."""
    each = rig(ScriptedReceiver.slots, ScriptedReceiver.slots, ScriptedReceiver.slots - 1)
    each.wake()
    assert each.at_rest
    each.wake()
    assert each.at_rest
    each.wake()
    assert each.pausing


# Failures.


def test_a_failure_does_not_end_the_reading(rig: Any) -> None:
    """What the system answers is not raised to the reactor, which would drop the port; the next read goes on."""
    each = rig(OSError(12, "no memory"), 1)
    with capturedLogs():
        each.wake()
    assert each.reader.counters.read_errors == 1
    assert each.reader.failing
    assert each.pausing
    each.reactor.advance(FAILURE_PAUSE)
    assert each.reader.counters.datagrams == 1
    assert not each.reader.failing
    assert each.at_rest


def test_failures_are_logged_ever_more_rarely(rig: Any) -> None:
    """Every failure is counted; the 1st, 2nd, 4th, 8th and so on are logged, with what the system said."""
    each = rig(*(OSError(12, "no memory") for _ in range(20)))
    with capturedLogs() as events:
        for _ in range(20):
            assert each.reader.read(0.0) == 0
    assert each.reader.counters.read_errors == 20
    assert [event["number"] for event in events] == [1, 2, 4, 8, 16]
    assert {event["log_level"] for event in events} == {LogLevel.critical}
    assert "16" in formatEvent(events[-1])
    assert "no memory" in str(events[0]["log_failure"].value)


@pytest.mark.parametrize("error", [OSError(12, "no memory"), OSError(105, "no room"), RuntimeError("a bug")], ids=repr)
@pytest.mark.parametrize("pause", [0.0, PAUSE, 0.1])
def test_a_socket_that_always_fails_is_not_read_all_the_time(rig: Any, error: Exception, pause: float) -> None:
    """Whatever the error and the pause, it is tried a hundred times per second; then it goes on."""
    each = rig(*[error] * 100, 1, pause=pause)
    with capturedLogs():
        each.wake()
        for count in range(1, 100):
            assert each.pausing
            assert each.reader.counters.read_errors == count
            each.reactor.advance(FAILURE_PAUSE)
    each.reactor.advance(FAILURE_PAUSE)
    assert each.reader.counters.datagrams == 1
    assert each.at_rest


def test_a_lane_that_fails_does_not_make_us_deaf(rig: Any) -> None:
    """Whatever a lane raises when it is given something is counted and logged; the other lane gets its part."""
    each = rig(4, 2)

    def fail(*arguments: object) -> None:
        raise MemoryError

    each.lanes[0].put = fail
    with capturedLogs() as events:
        assert each.reader.read(0.0) == 4
    assert "Reading failed" in formatEvent(events[0])
    counters = each.reader.counters
    assert (counters.datagrams, counters.dropped_no_memory, counters.dropped_bytes, counters.read_errors) == (
        4,
        2,
        2,
        1,
    )
    assert [len(datagrams) for _, datagrams, _, _ in each.lanes[1].batches] == [2]


def test_what_a_receiver_discards_is_counted_and_told(rig: Any) -> None:
    """What there was no memory for is in the counters, and the log says why; then the reader goes on."""
    each = rig(MemoryError("no room"), 1)
    each.receiver.dropped_no_memory, each.receiver.dropped_bytes = 3, 70
    with capturedLogs() as events:
        each.wake()
    assert each.pausing
    counters = each.reader.counters
    assert (counters.datagrams, counters.dropped_no_memory, counters.dropped_bytes, counters.read_errors) == (
        3,
        3,
        70,
        1,
    )
    assert [str(event["log_failure"].value) for event in events] == ["no room"]
    each.reactor.advance(FAILURE_PAUSE)
    assert (counters.datagrams, counters.dropped_no_memory, counters.read_errors) == (4, 3, 1)


# Counters.


def test_counters(rig: Any) -> None:
    """Datagrams are counted with those that were dropped; bytes, cut and dropped ones as the receiver says."""
    each = rig(3, 1)
    each.receiver.dropped_bad_address = 2
    each.receiver.truncated = 1
    assert each.reader.read(0.0) == 5
    each.receiver.dropped_bad_address = 3
    each.receiver.dropped_not_allowed = 4
    assert each.reader.read(0.0) == 6
    counters = each.reader.counters
    assert (
        counters.datagrams,
        counters.octets,
        counters.dropped_bad_address,
        counters.dropped_not_allowed,
        counters.truncated,
    ) == (
        11,
        40,
        3,
        4,
        1,
    )
    given = sum(len(batch[1]) for lane in each.lanes for batch in lane.batches)
    assert counters.datagrams == counters.dropped_bad_address + counters.dropped_not_allowed + given


@pytest.mark.parametrize("receiver", [Receiver, PlainReceiver])
def test_what_the_kernel_dropped_is_counted_at_the_stop(receiver: Any) -> None:
    """Of what was sent to a socket with too small a buffer, all is counted: as received or as dropped."""
    reactor = Reactor()
    lanes = [Lane()]
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    bound.bind(("127.0.0.1", 0))
    workers: Any = SimpleNamespace(lanes=lanes)
    reader = BatchReader(bound, workers, batch=512, pause=PAUSE, reactor=reactor, receiver=receiver)
    reader.startListening()
    send(bound.getsockname()[1], *[b"x" * 900] * 50)
    reader.drain()
    reader.stopListening()
    assert reader.counters.dropped_by_kernel > 0
    assert reader.counters.datagrams > 0
    assert reader.counters.datagrams + reader.counters.dropped_by_kernel == 50
    assert reader.counters.octets == 900 * reader.counters.datagrams


def test_what_the_kernel_dropped_is_seen_while_it_runs(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look brings the drops up to date, beyond the 32 bits of the kernel's counter, and what waits unread."""
    each = rig()
    readings = iter([MemInfo(700, 4096, 2**32 - 2), MemInfo(0, 4096, 3)])
    monkeypatch.setattr("netconsd.receive.reader.meminfo", lambda bound: next(readings))
    each.reader.look()
    assert (each.reader.counters.dropped_by_kernel, each.reader.buffer_used, each.reader.buffer_size) == (
        2**32 - 2,
        700,
        4096,
    )
    each.reader.look()
    assert (each.reader.counters.dropped_by_kernel, each.reader.buffer_used) == (2**32 + 3, 0)
    monkeypatch.undo()


def test_sizes_of_reads(rig: Any) -> None:
    """How many datagrams a read found is kept, refused ones included, of reads that found any."""
    each = rig(3, 0, 1)
    each.receiver.dropped_bad_address = 2
    for _ in range(3):
        each.reader.read(0.0)
    assert (each.reader.sizes.count, each.reader.sizes.sum) == (2, each.reader.counters.datagrams)
    assert each.reader.sizes.sum == 6


# The end.


def buffer_with(octets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel say that so much waits in every socket."""
    monkeypatch.setattr("netconsd.receive.reader.meminfo", lambda bound: MemInfo(octets, 2**26, 0))


def test_drain_reads_until_the_socket_is_empty(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end everything that is there is read, without pauses; when slots stay empty, so did the socket, and what
    comes after that comes too late."""
    buffer_with(2**20, monkeypatch)
    each = rig(8, 8, 3, 1, 5)
    each.reader.drain()
    assert each.reader.counters.datagrams == 20
    assert each.receiver.reads == 4


def test_drain_ends_though_there_is_always_more(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that is faster than we are cannot hold up the end: as many datagrams are read as can have been there,
    and no more, so that those find room in the queues."""
    slots = ScriptedReceiver.slots
    for octets, reads in ((0, 1), (10 * slots * LEAST_CHARGE, 11)):
        buffer_with(octets, monkeypatch)
        each = rig(*[slots] * (2 * FINAL_READS))
        each.reader.drain()
        assert each.receiver.reads == reads
    buffer_with(2**40, monkeypatch)
    each = rig(*[slots] * (2 * FINAL_READS))
    each.reader.drain()
    assert each.receiver.reads == FINAL_READS


@pytest.mark.parametrize("size", [0, 1, 100, 1000, 60_000])
def test_a_datagram_takes_more_than_the_least_charge(size: int) -> None:
    """The kernel charges more for each datagram in a socket than is reckoned, so that none is left out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        bound.bind(("127.0.0.1", 0))
        send(bound.getsockname()[1], *[b"x" * size] * 3)
        assert meminfo(bound).used > 3 * max(LEAST_CHARGE, size)


def test_drain_goes_on_after_a_failure(rig: Any) -> None:
    """What a failure left in the socket is read all the same; one that always fails cannot hold up the end."""
    # What came before an error is returned first, and the error is told by the next read.
    each = rig(OSError(12, "no memory"), 3, OSError(105, "no room"), 2, 0, 7)
    with capturedLogs():
        each.reader.drain()
    assert (each.reader.counters.datagrams, each.reader.counters.read_errors) == (5, 2)
    each = rig(*[OSError(12, "no memory")] * (2 * FINAL_READS))
    with capturedLogs():
        each.reader.drain()
    assert each.receiver.reads == FINAL_READS


@pytest.mark.parametrize("script", [(), (4,)])
def test_stop(rig: Any, script: tuple[int, ...]) -> None:
    """At rest and in a pause, a stop leaves no reader, no timer and no open socket; a second one changes nothing."""
    each = rig(*script)
    each.wake()
    done: list[object] = []
    for _ in range(2):
        each.reader.stopListening().addCallback(done.append)
        assert each.reactor.readers == []
        assert each.reactor.getDelayedCalls() == []
        assert each.reader.fileno() == each.socket.fileno() == -1
    assert done == [None, None]
    reads = each.receiver.reads
    each.reactor.advance(1.0)
    assert each.receiver.reads == reads


def test_the_reactor_ends(rig: Any) -> None:
    """When the reactor gives up its readers, the socket is closed, also in a pause."""
    each = rig(4)
    each.wake()
    each.reader.connectionLost(Failure(ConnectionDone()))
    assert each.reader.fileno() == -1
    assert each.reactor.getDelayedCalls() == []
