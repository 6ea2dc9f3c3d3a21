"""The listener queues datagrams for their senders' lanes, in batches, with one time stamp per turn of the reactor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from netconsd.protocol.allowlist import AllowList
from netconsd.protocol.message import Source
from netconsd.receive.lanes import Workers
from netconsd.receive.listener import MAX_DATAGRAM, NetconsoleListener
from netconsd.settings import Settings
from netconsd.testing import source

UNUSED_REACTOR: Any = object()


class Lane:
    """Replaces a lane: keeps the queued batches as (senders, datagrams, received_at, now)."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], list[bytes], float, float]] = []

    def put(
        self, senders: list[bytes], datagrams: list[bytes], received_at: float, now: float, complete: float
    ) -> None:
        sources = [Source.from_key(key) for key in senders]
        self.batches.append(([f"{one.address} {one.port}" for one in sources], datagrams, received_at, now))


class Lanes:
    """Replaces workers: two lanes, for even and odd last bytes of the address."""

    def __init__(self) -> None:
        self.lanes = [Lane(), Lane()]
        self.ports: list[Any] = []
        self.complete = 0.0

    def lane_for(self, address: bytes) -> Lane:
        assert len(address) == 16
        return self.lanes[address[-1] % 2]


def connect(listener: Any, transport: Any) -> None:
    """As the reactor's port does at its start."""
    listener.makeConnection(transport)


def disconnect(listener: Any) -> None:
    """As the reactor's port does at its end."""
    listener.doStop()


class Rig:
    """A listener with scripted collaborators; ``clock`` is the reactor's, and one turn is ``clock.advance(0)``."""

    def __init__(self, max_size: int = MAX_DATAGRAM, workers: Any = None, **options: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.unix = 1.5e9
        lanes: Any = Lanes()
        self.even, self.odd = lanes.lanes
        self.listener = NetconsoleListener(
            workers or lanes, clock=self.clock.seconds, wall_clock=lambda: self.unix, **options
        )
        self.transport: Any = SimpleNamespace(reactor=self.clock, maxPacketSize=max_size)
        connect(self.listener, self.transport)

    def receive(self, datagram: bytes, host: str = "192.0.2.2", port: int = 6665) -> None:
        """As the reactor's port does."""
        self.listener.datagramReceived(datagram, (host, port))


def test_a_turn_is_a_batch_per_lane() -> None:
    """The datagrams of one turn of the reactor are queued at its end: in order, one batch per lane, with one time."""
    rig = Rig()
    rig.receive(b"a")
    rig.receive(b"b", "192.0.2.3")
    rig.clock.rightNow += 0.01
    rig.unix += 0.01
    rig.receive(b"c", "192.0.2.4")
    assert rig.even.batches == rig.odd.batches == []
    rig.clock.advance(0)
    assert rig.even.batches == [(["192.0.2.2 6665", "192.0.2.4 6665"], [b"a", b"c"], 1.5e9, 1000.0)]
    assert rig.odd.batches == [(["192.0.2.3 6665"], [b"b"], 1.5e9, 1000.0)]


def test_the_next_turn_has_its_own_time() -> None:
    """Each turn reads both clocks: Unix time for people, monotonic time for deadlines."""
    rig = Rig()
    rig.receive(b"a")
    rig.clock.advance(0)
    rig.clock.advance(5.0)
    rig.unix = 1.4e9
    rig.receive(b"b")
    rig.clock.advance(0)
    assert [batch[1:] for batch in rig.even.batches] == [([b"a"], 1.5e9, 1000.0), ([b"b"], 1.4e9, 1005.0)]


def test_a_turn_schedules_one_call() -> None:
    """One call is scheduled per turn, for any number of datagrams and of full batches."""
    rig = Rig(batch=2)
    for number in range(5):
        rig.receive(b"%d" % number)
    assert len(rig.clock.getDelayedCalls()) == 1
    rig.clock.advance(0)
    assert rig.clock.getDelayedCalls() == []


def test_a_full_batch_does_not_wait_for_the_end_of_the_turn() -> None:
    """A full batch is queued at once; the remaining datagrams are queued at the end of the turn."""
    rig = Rig(batch=2)
    for number in range(5):
        rig.receive(b"%d" % number)
    rig.receive(b"odd", "192.0.2.3")
    assert [batch[1] for batch in rig.even.batches] == [[b"0", b"1"], [b"2", b"3"]]
    assert rig.odd.batches == []
    rig.clock.advance(0)
    assert [batch[1] for batch in rig.even.batches] == [[b"0", b"1"], [b"2", b"3"], [b"4"]]
    assert [batch[1] for batch in rig.odd.batches] == [[b"odd"]]
    assert {batch[2:] for batch in rig.even.batches + rig.odd.batches} == {(1.5e9, 1000.0)}


def test_no_lane_gets_an_empty_batch() -> None:
    """A turn that ends with a full batch queues no empty one."""
    rig = Rig(batch=2)
    rig.receive(b"a")
    rig.receive(b"b")
    rig.clock.advance(0)
    assert len(rig.even.batches) == 1


def test_the_stop_queues_the_last_datagrams() -> None:
    """When the port is closed within a turn, the datagrams received so far are queued once."""
    rig = Rig()
    rig.receive(b"a")
    disconnect(rig.listener)
    assert [batch[1] for batch in rig.even.batches] == [[b"a"]]
    rig.clock.advance(0)
    assert len(rig.even.batches) == 1


def test_call_later() -> None:
    """The listener uses ``call_later`` instead of the reactor's."""
    scheduled: list[Any] = []
    rig = Rig(call_later=lambda delay, function: scheduled.append((delay, function)))
    rig.receive(b"a")
    assert rig.clock.getDelayedCalls() == []
    ((delay, function),) = scheduled
    assert delay == 0
    function()
    assert [batch[1] for batch in rig.even.batches] == [[b"a"]]


# Senders.


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.8", "192.0.2.8"),
        ("::ffff:192.0.2.8", "192.0.2.8"),
        ("2001:db8::8", "2001:db8::8"),
        ("fe80::8%lo", "fe80::8%lo"),
        ("fe80::8%nosuch0", "fe80::8"),
        ("::", "::"),
        ("255.255.255.255", "255.255.255.255"),
    ],
)
def test_senders_by_address_and_port(host: str, address: str) -> None:
    """A sender is its address and port; an IPv4 sender is the same on IPv4 and IPv6 sockets."""
    rig = Rig()
    rig.receive(b"a", host, 65535)
    rig.receive(b"b", host, 0)
    rig.clock.advance(0)
    assert [batch[0] for batch in rig.even.batches + rig.odd.batches] == [[f"{address} 65535", f"{address} 0"]]


def test_an_address_with_flow_and_scope() -> None:
    """An IPv6 socket address with four parts is accepted."""
    rig = Rig()
    rig.listener.datagramReceived(b"a", ("fe80::8", 6665, 0, 2))  # type: ignore[arg-type]
    rig.clock.advance(0)
    assert rig.even.batches[0][0] == ["fe80::8 6665"]


@given(st.ip_addresses(), st.lists(st.integers(0, 65535), min_size=1, max_size=20), st.integers(1, 64))
def test_all_ports_of_an_address_go_through_one_lane(address: Any, ports: list[int], count: int) -> None:
    """All ports of an address use the lane that ``lane_for`` returns."""
    workers = Workers(lambda worker, messages: None, Settings(workers=count), reactor=UNUSED_REACTOR)
    rig = Rig(workers=workers)
    for port in ports:
        rig.receive(b"x", str(address), port)
    rig.clock.advance(0)
    expected = workers.lane_for(source(str(address)).packed)
    assert [lane for lane in workers.lanes if lane.queue_counters.queued] == [expected]
    assert expected.queue_counters.queued == len(ports)


@pytest.mark.parametrize(
    "host", ["", "localhost", "192.0.2", "192.0.2.256", "192.0.2.1.5", "::zz", "1::2::3", "/run/x"]
)
def test_a_bad_address_is_dropped(host: str) -> None:
    """A datagram whose address cannot be parsed is counted and dropped, and the next one is received."""
    rig = Rig()
    rig.receive(b"bad", host)
    rig.receive(b"good")
    rig.clock.advance(0)
    assert rig.listener.counters.dropped_bad_address == 1
    assert rig.listener.counters.datagrams == 2
    assert [batch[1] for batch in rig.even.batches] == [[b"good"]]
    assert rig.odd.batches == []


@given(st.lists(st.one_of(st.text(), st.text("0123456789abcdef:.%\0", max_size=12), st.ip_addresses().map(str))))
def test_any_host_is_counted(hosts: list[str]) -> None:
    """No host raises, and every datagram is queued or dropped."""
    rig = Rig()
    for host in hosts:
        rig.receive(b"x", host)
    rig.clock.advance(0)
    queued = sum(len(batch[1]) for batch in rig.even.batches + rig.odd.batches)
    assert rig.listener.counters.datagrams == len(hosts) == rig.listener.counters.dropped_bad_address + queued


def test_strangers_are_counted_and_dropped() -> None:
    """A datagram from outside of the allowed networks is counted and dropped."""
    rig = Rig(allowed=AllowList(["192.0.2.2"]))
    for host in ("192.0.2.2", "192.0.2.4", "2001:db8::1"):
        rig.receive(b"x", host)
    rig.clock.advance(0)
    assert (rig.listener.counters.datagrams, rig.listener.counters.dropped_not_allowed) == (3, 2)
    assert rig.even.batches == [(["192.0.2.2 6665"], [b"x"], 1.5e9, 1000.0)]


# Counters.


def test_datagrams_and_bytes_are_counted() -> None:
    """Every received datagram and byte is counted, the empty datagram included."""
    rig = Rig()
    for datagram in (b"", b"abc", b"x" * 65507):
        rig.receive(datagram)
    assert (rig.listener.counters.datagrams, rig.listener.counters.bytes) == (3, 65510)
    assert rig.listener.counters.truncated == 0


# The size of datagrams.


def test_a_small_packet_size_is_logged() -> None:
    """A ``maxPacketSize`` below the largest datagram is logged with the right value."""
    with capturedLogs() as events:
        Rig(max_size=8192)
    (event,) = [event for event in events if event["log_level"] is LogLevel.warn]
    assert "8192" in formatEvent(event)
    assert f"maxPacketSize={MAX_DATAGRAM}" in formatEvent(event)


def test_a_sufficient_packet_size_is_not_logged() -> None:
    """A sufficient ``maxPacketSize`` logs nothing."""
    with capturedLogs() as events:
        Rig(max_size=MAX_DATAGRAM)
    assert events == []


def test_datagrams_that_may_be_truncated_are_counted() -> None:
    """A datagram of ``maxPacketSize`` bytes may have been truncated: it is queued and counted."""
    with capturedLogs():
        rig = Rig(max_size=100)
    for size in (99, 100):
        rig.receive(b"x" * size)
    rig.clock.advance(0)
    assert rig.listener.counters.truncated == 1
    assert [len(datagram) for datagram in rig.even.batches[0][1]] == [99, 100]


def test_a_transport_without_a_packet_size() -> None:
    """With a transport other than Twisted's own port, no datagram counts as truncated."""
    rig = Rig()
    del rig.transport.maxPacketSize
    listener = NetconsoleListener(Lanes())  # type: ignore[arg-type]
    with capturedLogs() as events:
        connect(listener, rig.transport)
    assert events == []
    listener.datagramReceived(b"x" * 65507, ("192.0.2.2", 6665))
    assert listener.counters.truncated == 0


def test_a_batch_that_cannot_be_queued_is_counted() -> None:
    """If a lane's ``put`` raises, its datagrams are counted as dropped and logged; the other lane gets its batch."""
    rig = Rig()

    def fail(*arguments: object, complete: float) -> None:
        raise MemoryError("no room")

    rig.even.put = fail
    rig.receive(b"for the even one")
    rig.receive(b"for the odd one", "192.0.2.3")
    with capturedLogs() as events:
        rig.clock.advance(0)
    assert [str(event["log_failure"].value) for event in events] == ["no room"]
    counters = rig.listener.counters
    assert (counters.datagrams, counters.dropped_read_error, counters.dropped_bytes) == (2, 1, 16)
    assert [batch[1] for batch in rig.odd.batches] == [[b"for the odd one"]]
