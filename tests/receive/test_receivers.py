"""Both receivers return whole datagrams, in order, sorted by the lane of their sender's address."""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from netconsd.protocol.allowlist import AllowList
from netconsd.protocol.placesize import PLACE_BYTES
from netconsd.receive.lanes import Workers
from netconsd.receive.recvfrom import ADDRESSES_LIMIT
from netconsd.receive.recvfrom import Receiver as PlainReceiver
from netconsd.settings import Settings
from netconsd.testing import source
from tests.support.loopback import needs_ipv6
from tests.support.receivers import Socket, compiled_receiver, key_of, needs_compiled, together

# The largest payloads of UDP over IPv4 and IPv6: 65,535 bytes minus the headers.
LARGEST_IPV4 = 65507
LARGEST_IPV6 = 65527
# Python 3.11 has no name for it (ip(7)).
IP_PKTINFO = 8

# Senders.


@pytest.mark.parametrize(
    ("bound", "to"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        pytest.param("::1", "::1", marks=needs_ipv6),
        pytest.param("::", "::1", marks=needs_ipv6),
        pytest.param("::", "127.0.0.1", marks=needs_ipv6),
    ],
)
def test_the_key_is_the_address_and_the_port(make: Any, bound: str, to: str) -> None:
    """A sender's key is its ``in6_addr`` and port; an IPv4 sender has the same key on IPv4 and IPv6 sockets."""
    here = Socket(bound, to=to)
    try:
        sender = here.sender()
        sender.send(b"x")
        assert together(make(here.bound, 4, 1, 1).receive()) == [(key_of(sender), b"x")]
    finally:
        here.close()


@pytest.mark.parametrize("lanes", [1, 2, 3, 7, 64])
def test_the_lane_is_that_of_the_workers(make: Any, here: Socket, lanes: int) -> None:
    """A sender's lane is that of ``Workers.lane_for``: the CRC of its address, without its port."""
    workers = Workers(lambda worker, messages: None, Settings(workers=lanes), reactor=object())  # type: ignore[arg-type]
    senders = [here.sender(f"127.0.0.{number}") for number in range(1, 20) for _ in range(2)]
    for sender in senders:
        sender.send(b"x")
    by_lane = make(here.bound, 64, 1, lanes).receive()
    assert len(by_lane) == lanes
    seen = {key: number for number, (keys, _) in enumerate(by_lane) for key in keys}
    assert seen == {key_of(sender): crc32(key_of(sender)[:16]) % lanes for sender in senders}
    assert seen == {key: workers.lane_for(key[:16]).number for key in seen}


def test_two_ports_of_an_address_are_two_senders(make: Any, here: Socket) -> None:
    """Senders with one address and two ports have two keys, also when their keys are cached."""
    one, other = here.sender(), here.sender()
    receiver = make(here.bound, 8, 1, 2)
    for _ in range(3):
        one.send(b"one")
        other.send(b"other")
        assert together(receiver.receive()) == [(key_of(one), b"one"), (key_of(other), b"other")]


# Whole, in order.


@pytest.mark.parametrize("size", [0, 1, 2, 1022, 1023, 1024, 1025, 1026, 2047, 2048, 2049, 9000, 65506, LARGEST_IPV4])
def test_datagrams_of_every_size_are_whole(make: Any, here: Socket, size: int) -> None:
    """A datagram of any size from 0 to the largest of UDP is returned unchanged, twice through the same slot."""
    receiver = make(here.bound, 1, 1, 1)
    sender = here.sender()
    for step in (7, 11):
        datagram = bytes((index * step + index // 251) & 0xFF for index in range(size))
        sender.send(datagram)
        assert together(receiver.receive()) == [(key_of(sender), datagram)]
        assert receiver.large == (size >= PLACE_BYTES)
    assert (receiver.received_bytes, receiver.truncated, receiver.dropped_bad_address) == (2 * size, 0, 0)


@needs_ipv6
def test_the_largest_datagram_of_ipv6_is_whole(make: Any) -> None:
    """The largest UDP datagram over IPv6 has 20 bytes more than over IPv4 and is returned whole."""
    here = Socket("::1")
    try:
        here.sender().send(bytes(LARGEST_IPV6))
        receiver = make(here.bound, 2, 1, 1)
        assert [len(datagram) for _, datagram in together(receiver.receive())] == [LARGEST_IPV6]
        assert receiver.truncated == 0
    finally:
        here.close()


def test_a_large_datagram_does_not_touch_its_neighbours(make: Any, here: Socket) -> None:
    """Large and small datagrams in adjacent slots do not mix, and no bytes of a slot's previous datagram remain."""
    receiver = make(here.bound, 4, 2, 1)
    sender = here.sender()
    for turn in range(3):
        sent = [bytes([65 + turn]) * size for size in (3000, 1, 1024, 5000, 0, 1025)]
        for datagram in sent:
            sender.send(datagram)
        assert [datagram for _, datagram in together(receiver.receive())] == sent


def test_senders_that_alternate_stay_in_order(make: Any, here: Socket) -> None:
    """The datagrams of senders that alternate are returned in the order of arrival, in each lane."""
    senders = [here.sender(f"127.0.0.{number}") for number in range(1, 6)]
    sent = [(sender, b"%d" % number) for number in range(30) for sender in senders[: 1 + number % 5]]
    for sender, datagram in sent:
        sender.send(datagram)
    by_lane = make(here.bound, 16, 8, 3).receive()
    for number, (keys, datagrams) in enumerate(by_lane):
        expected = [(key_of(sender), datagram) for sender, datagram in sent if crc32(key_of(sender)[:16]) % 3 == number]
        assert list(zip(keys, datagrams, strict=True)) == expected


# How many at a time.


@pytest.mark.parametrize(("batch", "batches"), [(1, 1), (1, 5), (5, 1), (2, 3), (3, 2)])
def test_more_than_there_are_slots(make: Any, here: Socket, batch: int, batches: int) -> None:
    """A call reads at most ``batch * batches`` datagrams, empty ones included; the next call continues to the end."""
    receiver = make(here.bound, batch, batches, 2)
    assert receiver.slots == batch * batches
    sender = here.sender()
    sent = [b"%d" % number if number % 2 else b"" for number in range(13)]
    for datagram in sent:
        sender.send(datagram)
    received: list[bytes] = []
    sizes: list[int] = []
    while not sizes or sizes[-1]:
        part = [datagram for _, datagram in together(receiver.receive())]
        sizes.append(len(part))
        received += part
    assert received == sent
    full, rest = divmod(13, batch * batches)
    assert sizes == [batch * batches] * full + ([rest] if rest else []) + [0]


def test_nothing_to_read(make: Any, here: Socket) -> None:
    """With an empty socket a call returns at once with new, empty lists for each lane."""
    receiver = make(here.bound, 4, 2, 3)
    first = receiver.receive()
    assert first == [([], [])] * 3
    for senders, datagrams in first:
        senders.append(b"theirs")
        datagrams.append(b"theirs")
    assert receiver.receive() == [([], [])] * 3
    assert (receiver.received_bytes, receiver.truncated, receiver.dropped_bad_address) == (0, 0, 0)


def test_lists_belong_to_the_caller(make: Any, here: Socket) -> None:
    """The next call does not change the lists of an earlier one."""
    receiver = make(here.bound, 2, 1, 1)
    sender = here.sender()
    sender.send(b"first" * 300)
    first = receiver.receive()
    sender.send(b"other" * 300)
    receiver.receive()
    assert together(first) == [(key_of(sender), b"first" * 300)]


# Counters and failures.


def test_a_closed_socket_is_an_error(make: Any) -> None:
    """Reading a closed socket raises OSError, whether it was closed before or after the receiver was created."""
    here = Socket()
    receiver = make(here.bound, 4, 2, 1)
    here.close()
    for one in (receiver, make(here.bound, 4, 2, 1)):
        with pytest.raises(OSError, match=r".") as raised:
            one.receive()
        assert raised.value.errno == errno.EBADF


@needs_compiled
@pytest.mark.parametrize(("batch", "batches", "lanes"), [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_numbers_below_one_are_an_error(here: Socket, batch: int, batches: int, lanes: int) -> None:
    """The compiled receiver allocates its slots at the start and refuses a number of 0 or less."""
    with pytest.raises(ValueError, match="at least 1"):
        compiled_receiver()(here.bound, batch, batches, lanes)


@needs_compiled
def test_compiled_drops_other_families() -> None:
    """A datagram from neither an IPv4 nor an IPv6 address is counted and dropped."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        receiver = compiled_receiver()(ours, 4, 1, 2)
        theirs.send(b"abc")
        theirs.send(b"de")
        assert receiver.receive() == [([], []), ([], [])]
        assert (receiver.dropped_bad_address, receiver.received_bytes) == (2, 5)


class ScriptedSocket:
    """In place of a socket, for the plain receiver: each ``recvfrom`` is the next item of a list."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)

    def recvfrom(self, size: int) -> Any:
        assert size > LARGEST_IPV6
        item = self.items.pop(0) if self.items else BlockingIOError()
        if isinstance(item, Exception):
            raise item
        return item


def test_plain_drops_an_address_that_cannot_be_parsed() -> None:
    """A datagram whose address cannot be parsed is counted and dropped; the next one is received."""
    scripted: Any = ScriptedSocket((b"abc", ("nowhere", 1)), (b"de", ("192.0.2.1", 2)), (b"f", ("::zz", 1, 0, 0)))
    receiver = PlainReceiver(scripted, 8, 1, 1)
    assert together(receiver.receive()) == [(source("192.0.2.1", 2).key, b"de")]
    assert (receiver.dropped_bad_address, receiver.received_bytes) == (2, 6)


def test_plain_returns_the_datagrams_before_a_failure() -> None:
    """A failure after the first datagram drops none and is raised by the next call; one before it is raised at once."""
    scripted: Any = ScriptedSocket((b"a", ("192.0.2.1", 2)), OSError(errno.ENOMEM, "no memory"))
    receiver = PlainReceiver(scripted, 8, 1, 1)
    assert [datagram for _, datagram in together(receiver.receive())] == [b"a"]
    assert receiver.received_bytes == 1
    with pytest.raises(OSError, match="no memory"):
        receiver.receive()
    assert together(receiver.receive()) == []
    scripted.items.append(OSError(errno.ENOBUFS, "no room"))
    with pytest.raises(OSError, match="no room"):
        receiver.receive()
    assert (receiver.datagrams, receiver.dropped_read_error) == (1, 0)


def test_plain_caches_a_bounded_number_of_addresses() -> None:
    """The plain receiver's cache of addresses is bounded for any number of strangers, and every key is right."""
    rounds = 2 * ADDRESSES_LIMIT + 100
    scripted: Any = ScriptedSocket(
        *((b"%d" % port, (f"192.0.2.{port >> 16}", port & 0xFFFF)) for port in range(60000, 60000 + rounds))
    )
    receiver = PlainReceiver(scripted, rounds, 1, 1)
    received = together(receiver.receive())
    assert received == [
        (source(f"192.0.2.{port >> 16}", port & 0xFFFF).key, b"%d" % port) for port in range(60000, 60000 + rounds)
    ]
    assert len(receiver._addresses) <= ADDRESSES_LIMIT


# The list of allowed addresses.


def test_strangers_are_counted_and_dropped(make: Any, here: Socket) -> None:
    """Datagrams from addresses outside of the allowed networks are counted and dropped."""
    receiver = make(here.bound, 8, 2, 1, AllowList(["127.0.0.2", "127.0.1.0/24"]))
    for address in ("127.0.0.2", "127.0.0.3", "127.0.1.9", "127.0.2.1", "127.0.0.3"):
        here.sender(address).send(address.encode())
    ((_, datagrams),) = receiver.receive()
    assert datagrams == [b"127.0.0.2", b"127.0.1.9"]
    assert (receiver.dropped_not_allowed, receiver.dropped_bad_address, receiver.received_bytes) == (3, 0, 5 * 9)


def test_strangers_evict_no_allowed_sender(make: Any, here: Socket) -> None:
    """An allowed sender's key stays in the cache, the same object, for any number of strangers."""
    receiver = make(here.bound, 512, 8, 1, AllowList(["127.0.0.2"]))
    sender = here.sender("127.0.0.2")
    sender.send(b"before")
    ((before, _),) = receiver.receive()
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with stranger:
        for number in range(20_000):
            control = struct.pack("i4s4s", 0, (0x7F400000 + number).to_bytes(4, "big"), bytes(4))
            stranger.sendmsg([b"x"], [(socket.IPPROTO_IP, IP_PKTINFO, control)], 0, here.bound.getsockname())
            if number % 100 == 99:
                receiver.receive()
    sender.send(b"after")
    ((after, _),) = receiver.receive()
    assert receiver.dropped_not_allowed == 20_000
    assert after[0] is before[0]


@needs_ipv6
def test_a_network_of_ipv6_has_no_ipv4(make: Any) -> None:
    """On a socket of both families, IPv4 networks allow only IPv4, and IPv6 networks only IPv6."""
    for networks, taken in ((["::/0"], [b"six"]), (["0.0.0.0/0"], [b"four"]), (["::ffff:127.0.0.0/104"], [b"four"])):
        both = Socket("::", to="127.0.0.1")
        try:
            receiver = make(both.bound, 8, 2, 1, AllowList(networks))
            both.sender().send(b"four")
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
                six.sendto(b"six", ("::1", both.bound.getsockname()[1]))
            ((_, datagrams),) = receiver.receive()
            assert datagrams == taken
        finally:
            both.close()


def resident() -> int:
    """The resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@needs_compiled
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="the address sanitizer keeps freed memory")
def test_the_memory_of_large_datagrams_is_returned(here: Socket) -> None:
    """Large datagrams now and then, each in another slot, do not make the receiver keep the memory of all slots."""
    receiver = compiled_receiver()(here.bound, 64, 8, 1)
    sender = here.sender()
    before = resident()
    for small in range(150):
        for _ in range(small):
            sender.send(b"x")
        sender.send(b"x" * 60_000)
        ((_, datagrams),) = receiver.receive()
        assert len(datagrams[-1]) == 60_000
    # 150 slots would use 9 MB; an eighth of the 512 slots use 4 MB.
    assert resident() - before < 6_000_000


def test_another_list(make: Any, here: Socket) -> None:
    """After a change of the list, a sender that was allowed is dropped, and one that was not is accepted."""
    first, second = here.sender("127.0.0.1"), here.sender("127.0.0.2")
    receiver = make(here.bound, 8, 1, 1, AllowList(["127.0.0.1"]))
    for allowed, expected in ((["127.0.0.1"], first), (["127.0.0.2"], second), ([], None)):
        receiver.allow(AllowList(allowed))
        first.send(b"x")
        second.send(b"x")
        keys = [key for key, _ in together(receiver.receive())]
        assert keys == ([key_of(first), key_of(second)] if expected is None else [key_of(expected)])
