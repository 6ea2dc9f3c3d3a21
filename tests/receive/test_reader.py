"""The reader reads at once at rest and in pauses under load, survives failures, and counts every datagram."""

from __future__ import annotations

import socket
from collections.abc import Iterator
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
    """A reactor with a clock that the test advances, and a list of its readers."""

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
    """Replaces a receiver: each read returns the number of datagrams in the script, or raises; then reads are empty.

    Datagrams are numbered and alternate between the two lanes.
    """

    slots = 8
    large = False

    def __init__(self, script: list[int | Exception]) -> None:
        self.script = script
        self.reads = 0
        self.number = 0
        self.received_bytes = 0
        self.truncated = 0
        self.dropped_bad_address = 0
        self.dropped_not_allowed = 0
        self.dropped_read_error = 0
        self.dropped_bytes = 0

    @property
    def datagrams(self) -> int:
        return self.number + self.dropped_bad_address + self.dropped_not_allowed + self.dropped_read_error

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
            self.received_bytes += 10
        return by_lane


class Lane:
    """Replaces a lane: keeps the queued batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[bytes], list[bytes], float, float]] = []
        #: The time up to which each batch is complete.
        self.complete: list[float] = []

    def put(
        self,
        senders: list[bytes],
        datagrams: list[bytes],
        received_at: float,
        now: float,
        large: bool,
        complete: float,
    ) -> None:
        self.batches.append((senders, datagrams, received_at, now))
        self.complete.append(complete)


class Workers:
    """Replaces the workers of a single port."""

    def __init__(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.ports: list[Any] = []

    @property
    def complete(self) -> float:
        return min((port.complete for port in self.ports), default=float("-inf"))


class Rig:
    """A reader with scripted collaborators, on a real socket without traffic."""

    def __init__(self, *script: int | Exception, pause: float = PAUSE, address: str = "127.0.0.1") -> None:
        self.reactor = Reactor()
        self.lanes = [Lane(), Lane()]
        self.unix = 1.5e9
        self.receiver = ScriptedReceiver(list(script))
        self.made_with: tuple[Any, ...] = ()
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((address, 0))
        workers: Any = Workers(self.lanes)
        self.reader = BatchReader(
            self.socket, workers, batch=3, pause=pause, reactor=self.reactor, receiver=self._make,
            clock=self.reactor.seconds, wall_clock=lambda: self.unix,
        )  # fmt: skip

    def _make(self, *arguments: Any) -> ScriptedReceiver:
        self.made_with = arguments
        return self.receiver

    @property
    def at_rest(self) -> bool:
        """True if the reactor would call the reader as soon as a datagram arrives."""
        return self.reactor.readers == [self.reader] and not self.reactor.getDelayedCalls()

    @property
    def pausing(self) -> bool:
        """True if the reader is in a pause."""
        return not self.reactor.readers and len(self.reactor.getDelayedCalls()) == 1

    def counted(self, *names: str) -> tuple[int, ...]:
        """The counters of the reader with these names."""
        return tuple(getattr(self.reader.counters, name) for name in names)

    def wake(self) -> None:
        """As the reactor does when the socket is readable."""
        assert self.reactor.readers == [self.reader]
        self.reader.doRead()


@pytest.fixture
def make_rig(request: pytest.FixtureRequest) -> Iterator[Any]:
    """``make_rig(*script, ...)`` returns a listening rig, which is closed after the test."""
    rigs: list[Rig] = []

    def make(*script: int | Exception, **options: Any) -> Rig:
        rigs.append(Rig(*script, **options))
        rigs[-1].reader.startListening()
        return rigs[-1]

    yield make
    for opened in rigs:
        opened.reader.stopListening()


# Interfaces.


def test_interfaces(make_rig: Any) -> None:
    """The reader provides ``IReadDescriptor`` and ``IListeningPort``."""
    reader = make_rig().reader
    assert verifyObject(IReadDescriptor, reader)
    assert verifyObject(IListeningPort, reader)
    assert reader.logPrefix() == "netconsd"


def test_the_arguments_of_the_receiver(make_rig: Any) -> None:
    """The receiver is called with the socket, the batch, BATCHES, the number of lanes, and the allowed addresses."""
    rig = make_rig()
    assert rig.made_with == (rig.socket, 3, BATCHES, 2, EVERYONE)
    assert rig.reader.fileno() == rig.socket.fileno() >= 0


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_the_host_is_the_address_of_the_socket(make_rig: Any, address: str) -> None:
    """``getHost`` returns the socket's address and the port that the kernel chose, for either family."""
    rig = make_rig(address=address)
    port = rig.socket.getsockname()[1]
    kind = IPv6Address if ":" in address else IPv4Address
    assert rig.reader.getHost() == kind("UDP", address, port)


def test_a_read_is_a_batch_per_lane(make_rig: Any) -> None:
    """The datagrams of one read are one batch per lane, in order, with one time of each clock; no batch is empty."""
    rig = make_rig(5, 1)
    rig.wake()
    even, odd = rig.lanes
    assert even.batches == [([b"sender"] * 3, [b"0", b"2", b"4"], 1.5e9, 1000.0)]
    assert odd.batches == [([b"sender"] * 2, [b"1", b"3"], 1.5e9, 1000.0)]
    rig.unix = 1.4e9
    rig.reactor.advance(PAUSE)
    assert odd.batches[1:] == [([b"sender"], [b"5"], 1.4e9, 1000.0 + PAUSE)]
    assert len(even.batches) == 1


# Pauses.


def test_at_rest_a_datagram_is_read_at_once(make_rig: Any) -> None:
    """Datagrams that arrive one at a time, further apart than the pause, never cause a pause."""
    rig = make_rig(1, 1, 1)
    for _ in range(3):
        rig.wake()
        assert rig.at_rest
        rig.reactor.advance(2 * PAUSE)
    assert rig.reader.counters.datagrams == 3


def test_several_datagrams_in_a_read_are_load(make_rig: Any) -> None:
    """After a read of several datagrams, the next read is a pause later, and the reactor does not poll the socket."""
    rig = make_rig(2, 0)
    rig.wake()
    assert rig.pausing
    rig.reactor.advance(0.9 * PAUSE)
    assert rig.pausing
    assert rig.receiver.reads == 1
    rig.reactor.advance(0.2 * PAUSE)
    assert rig.receiver.reads == 2


def test_datagrams_within_a_pause_are_load(make_rig: Any) -> None:
    """Datagrams that arrive one at a time within a pause of each other cause a pause."""
    rig = make_rig(1, 1)
    rig.wake()
    rig.reactor.advance(0.5 * PAUSE)
    rig.wake()
    assert rig.pausing


def test_lasting_load_is_read_once_per_pause(make_rig: Any) -> None:
    """While each read returns several datagrams, there is one read per pause, and no polling in between."""
    rig = make_rig(*[4] * 10)
    rig.wake()
    for number in range(1, 10):
        assert rig.pausing
        rig.reactor.advance(PAUSE)
        assert rig.receiver.reads == number + 1
    assert rig.reader.counters.datagrams == 40


@pytest.mark.parametrize("count", [0, 1])
def test_rest_after_load(make_rig: Any, count: int) -> None:
    """When a pause ends with no datagram or one, the reader is at rest again."""
    rig = make_rig(4, count)
    rig.wake()
    rig.reactor.advance(PAUSE * 1.5)
    assert rig.at_rest
    assert rig.reader.counters.datagrams == 4 + count


def test_without_a_pause_it_never_waits(make_rig: Any) -> None:
    """With a pause of 0 the reactor always polls the socket."""
    rig = make_rig(4, 4, 1, pause=0.0)
    for _ in range(3):
        rig.wake()
        assert rig.at_rest


def test_full_slots_cause_no_pause(make_rig: Any) -> None:
    """After a read that filled all slots the reactor polls the socket at once, because more datagrams wait."""
    rig = make_rig(ScriptedReceiver.slots, ScriptedReceiver.slots, ScriptedReceiver.slots - 1)
    rig.wake()
    assert rig.at_rest
    rig.wake()
    assert rig.at_rest
    rig.wake()
    assert rig.pausing


# Failures.


def test_a_failure_does_not_end_the_reading(make_rig: Any) -> None:
    """A failure does not reach the reactor, which would drop the port; the next read works."""
    rig = make_rig(OSError(12, "no memory"), 1)
    with capturedLogs():
        rig.wake()
    assert rig.reader.counters.read_errors == 1
    assert rig.reader.failing
    assert rig.pausing
    rig.reactor.advance(FAILURE_PAUSE)
    assert rig.reader.counters.datagrams == 1
    assert not rig.reader.failing
    assert rig.at_rest


def test_failures_are_logged_at_powers_of_two(make_rig: Any) -> None:
    """Every failure is counted; the 1st, 2nd, 4th, 8th and so on are logged with the exception."""
    rig = make_rig(*(OSError(12, "no memory") for _ in range(20)))
    with capturedLogs() as events:
        for _ in range(20):
            assert rig.reader.read(0.0) == 0
    assert rig.reader.counters.read_errors == 20
    assert [event["number"] for event in events] == [1, 2, 4, 8, 16]
    assert {event["log_level"] for event in events} == {LogLevel.critical}
    assert "16" in formatEvent(events[-1])
    assert "no memory" in str(events[0]["log_failure"].value)


@pytest.mark.parametrize("error", [OSError(12, "no memory"), OSError(105, "no room"), RuntimeError("a bug")], ids=repr)
@pytest.mark.parametrize("pause", [0.0, PAUSE, 0.1])
def test_failing_reads_are_retried_a_hundred_times_per_second(make_rig: Any, error: Exception, pause: float) -> None:
    """With any error and any pause, a failing read is retried a hundred times per second until it works."""
    rig = make_rig(*[error] * 100, 1, pause=pause)
    with capturedLogs():
        rig.wake()
        for count in range(1, 100):
            assert rig.pausing
            assert rig.reader.counters.read_errors == count
            rig.reactor.advance(FAILURE_PAUSE)
    rig.reactor.advance(FAILURE_PAUSE)
    assert rig.reader.counters.datagrams == 1
    assert rig.at_rest


def test_a_batch_that_cannot_be_queued_is_counted(make_rig: Any) -> None:
    """If a lane's ``put`` raises, its datagrams are counted as dropped and logged; the other lane gets its batch."""
    rig = make_rig(4, 2)

    def fail(*arguments: object) -> None:
        raise MemoryError

    rig.lanes[0].put = fail
    with capturedLogs() as events:
        assert rig.reader.read(0.0) == 4
    assert "log_failure" in events[0]
    names = ("datagrams", "dropped_read_error", "dropped_bytes", "read_errors")
    assert rig.counted(*names) == (4, 2, 2, 1)
    assert [len(datagrams) for _, datagrams, _, _ in rig.lanes[1].batches] == [2]


def test_datagrams_dropped_by_the_receiver_are_counted(make_rig: Any) -> None:
    """Datagrams dropped for lack of memory are counted, the exception is logged, and the next read works."""
    rig = make_rig(MemoryError("no room"), 1)
    rig.receiver.dropped_read_error, rig.receiver.dropped_bytes = 3, 70
    with capturedLogs() as events:
        rig.wake()
    assert rig.pausing
    names = ("datagrams", "dropped_read_error", "dropped_bytes", "read_errors")
    assert rig.counted(*names) == (3, 3, 70, 1)
    assert [str(event["log_failure"].value) for event in events] == ["no room"]
    rig.reactor.advance(FAILURE_PAUSE)
    assert rig.counted(*names) == (4, 3, 70, 1)


# Counters.


def test_counters(make_rig: Any) -> None:
    """``datagrams`` includes dropped ones; the other counters are those of the receiver."""
    rig = make_rig(3, 1)
    rig.receiver.dropped_bad_address = 2
    rig.receiver.truncated = 1
    assert rig.reader.read(0.0) == 5
    rig.receiver.dropped_bad_address = 3
    rig.receiver.dropped_not_allowed = 4
    assert rig.reader.read(0.0) == 6
    counters = rig.reader.counters
    names = ("datagrams", "bytes", "dropped_bad_address", "dropped_not_allowed", "truncated")
    assert rig.counted(*names) == (11, 40, 3, 4, 1)
    queued = sum(len(batch[1]) for lane in rig.lanes for batch in lane.batches)
    assert counters.datagrams == counters.dropped_bad_address + counters.dropped_not_allowed + queued


@pytest.mark.parametrize("receiver", [Receiver, PlainReceiver])
def test_drops_by_the_kernel_are_counted_at_the_stop(receiver: Any) -> None:
    """Every datagram sent to a socket with a small buffer is counted as received or as dropped by the kernel."""
    reactor = Reactor()
    lanes = [Lane()]
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    bound.bind(("127.0.0.1", 0))
    workers: Any = Workers(lanes)
    reader = BatchReader(bound, workers, batch=512, pause=PAUSE, reactor=reactor, receiver=receiver)
    reader.startListening()
    send(bound.getsockname()[1], *[b"x" * 900] * 50)
    reader.drain()
    reader.stopListening()
    assert reader.counters.dropped_by_kernel
    assert reader.counters.datagrams > 0
    assert reader.counters.datagrams + reader.counters.dropped_by_kernel == 50
    assert reader.counters.bytes == 900 * reader.counters.datagrams


def test_drops_by_the_kernel_are_counted_while_the_reader_runs(make_rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``look`` updates the use of the buffer and the drops, beyond the 32 bits of the kernel's counter."""
    rig = make_rig()
    readings = iter([MemInfo(700, 4096, 2**32 - 2), MemInfo(0, 4096, 3)])
    monkeypatch.setattr("netconsd.receive.reader.meminfo", lambda bound: next(readings))
    rig.reader.look()
    assert (rig.reader.counters.dropped_by_kernel, rig.reader.buffer_used) == (2**32 - 2, 700)
    assert rig.reader.buffer_size == 4096
    rig.reader.look()
    assert (rig.reader.counters.dropped_by_kernel, rig.reader.buffer_used) == (2**32 + 3, 0)
    monkeypatch.undo()


def test_sizes_of_reads(make_rig: Any) -> None:
    """``sizes`` has the datagrams of each read, dropped ones included, without empty reads."""
    rig = make_rig(3, 0, 1)
    rig.receiver.dropped_bad_address = 2
    for _ in range(3):
        rig.reader.read(0.0)
    assert (sum(rig.reader.sizes.counts), rig.reader.sizes.sum) == (2, rig.reader.counters.datagrams)
    assert rig.reader.sizes.sum == 6


# The stop.


def buffer_with(octets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every socket report this many used bytes."""
    monkeypatch.setattr("netconsd.receive.reader.meminfo", lambda bound: MemInfo(octets, 2**26, 0))


def test_drain_reads_until_the_socket_is_empty(make_rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``drain`` reads all waiting datagrams without pauses, and ends after two reads that leave slots empty."""
    buffer_with(2**20, monkeypatch)
    rig = make_rig(8, 8, 3, 1, 5)
    rig.reader.drain()
    assert rig.reader.counters.datagrams == 20
    assert rig.receiver.reads == 4


def test_drain_ends_although_the_socket_is_never_empty(make_rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender faster than the reader cannot delay the stop: ``drain`` reads at most what the buffer can hold."""
    slots = ScriptedReceiver.slots
    for octets, reads in ((0, 1), (10 * slots * LEAST_CHARGE, 11)):
        buffer_with(octets, monkeypatch)
        rig = make_rig(*[slots] * (2 * FINAL_READS))
        rig.reader.drain()
        assert rig.receiver.reads == reads
    buffer_with(2**40, monkeypatch)
    rig = make_rig(*[slots] * (2 * FINAL_READS))
    rig.reader.drain()
    assert rig.receiver.reads == FINAL_READS


@pytest.mark.parametrize("size", [0, 1, 100, 1000, 60_000])
def test_a_datagram_uses_more_than_the_least_charge(size: int) -> None:
    """The kernel charges more than LEAST_CHARGE for each datagram in a socket, so that ``drain`` reads all of them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        bound.bind(("127.0.0.1", 0))
        send(bound.getsockname()[1], *[b"x" * size] * 3)
        assert meminfo(bound).used > 3 * max(LEAST_CHARGE, size)


def test_drain_continues_after_a_failure(make_rig: Any) -> None:
    """``drain`` reads on after a failure; a read that always fails does not delay the stop."""
    # A receiver returns the datagrams before an error first, and the next read raises the error.
    rig = make_rig(OSError(12, "no memory"), 3, OSError(105, "no room"), 2, 0, 7)
    with capturedLogs():
        rig.reader.drain()
    assert (rig.reader.counters.datagrams, rig.reader.counters.read_errors) == (5, 2)
    rig = make_rig(*[OSError(12, "no memory")] * (2 * FINAL_READS))
    with capturedLogs():
        rig.reader.drain()
    assert rig.receiver.reads == FINAL_READS


@pytest.mark.parametrize("script", [(), (4,)])
def test_stop(make_rig: Any, script: tuple[int, ...]) -> None:
    """At rest and in a pause, a stop leaves no reader, no timer and no open socket; a second stop has no effect."""
    rig = make_rig(*script)
    rig.wake()
    done: list[object] = []
    for _ in range(2):
        rig.reader.stopListening().addCallback(done.append)
        assert rig.reactor.readers == []
        assert rig.reactor.getDelayedCalls() == []
        assert rig.reader.fileno() == rig.socket.fileno() == -1
    assert done == [None, None]
    reads = rig.receiver.reads
    rig.reactor.advance(1.0)
    assert rig.receiver.reads == reads


def test_the_end_of_the_reactor(make_rig: Any) -> None:
    """When the reactor disconnects its readers, the socket is closed, also in a pause."""
    rig = make_rig(4)
    rig.wake()
    rig.reader.connectionLost(Failure(ConnectionDone()))
    assert rig.reader.fileno() == -1
    assert rig.reactor.getDelayedCalls() == []
