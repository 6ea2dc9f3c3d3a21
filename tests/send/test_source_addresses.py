"""Source addresses that any user may use, forged ones, and invalid ones."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address

import pytest

from netconsd.send.packets import udp_packet
from netconsd.send.source_addresses import LOOPBACK_BITS, SOURCE_PORT, AddressError, Target, open_source_addresses
from tests.support.loopback import needs_ipv6


def may_forge() -> bool:
    """True if this process may open raw sockets."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).close()
    except OSError:
        return False
    return True


needs_root = pytest.mark.skipif(not may_forge(), reason="forging addresses needs root (CAP_NET_RAW)")


class Here:
    """A receiver on the loopback interface."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.settimeout(5)
        self.target = Target(address, self.socket.getsockname()[1])

    def arrivals(self, source: str | None, bits: int, senders: list[int]) -> list[tuple[str, int, bytes]]:
        """The source address, port and text of the datagrams that arrive when each sender sends its number."""
        with closing(open_source_addresses(self.target, source, bits)) as addresses:
            packets, sources = addresses.packets(senders, [b"%d" % sender for sender in senders])
            assert addresses.sender.send(packets, sources, 0) == len(senders)
        arrived = [self.socket.recvfrom(100) for _ in senders]
        return [(address[0], address[1], text) for text, address in arrived]


@pytest.fixture
def here() -> Iterator[Here]:
    """A receiver at 127.0.0.1."""
    receiver = Here("127.0.0.1")
    yield receiver
    receiver.socket.close()


@pytest.fixture
def here6() -> Iterator[Here]:
    """A receiver at ::1."""
    receiver = Here("::1")
    yield receiver
    receiver.socket.close()


def test_loopback_addresses(here: Here) -> None:
    """To the loopback any user sends from 2^bits addresses, all with one port, so that each is one sender."""
    last = (1 << LOOPBACK_BITS) - 1
    arrived = here.arrivals(None, LOOPBACK_BITS, [0, 1, 258, last, 1])
    assert [(address, text) for address, _, text in arrived] == [
        *(("127.64.0.0", b"0"), ("127.64.0.1", b"1"), ("127.64.1.2", b"258")),
        *(("127.127.255.255", b"%d" % last), ("127.64.0.1", b"1")),
    ]
    assert len({port for _, port, _ in arrived}) == 1


def test_bits_of_a_given_address(here: Here) -> None:
    """The low bits of the given address vary, as with the C daemon's generator; the others do not."""
    arrived = here.arrivals("127.3.2.5", 3, [0, 1, 7])
    assert [address for address, _, _ in arrived] == ["127.3.2.5", "127.3.2.4", "127.3.2.2"]


def test_one_address(here: Here) -> None:
    """With 0 bits, all datagrams have the given address, or the one that the kernel chooses."""
    assert [address for address, _, _ in here.arrivals("127.0.0.9", 0, [0, 0])] == ["127.0.0.9"] * 2
    assert [address for address, _, _ in here.arrivals(None, 0, [0])] == ["127.0.0.1"]


@needs_ipv6
def test_one_address_of_ipv6(here6: Here) -> None:
    """With 0 bits, IPv6 needs no root."""
    assert here6.arrivals(None, 0, [0])[0][0] == here6.arrivals("::1", 0, [0])[0][0] == "::1"


@needs_root
def test_forged_ipv4(here: Here) -> None:
    """Root can forge any IPv4 address."""
    assert here.arrivals("192.0.2.0", 8, [0, 1, 255]) == [
        (f"192.0.2.{number}", SOURCE_PORT, b"%d" % number) for number in (0, 1, 255)
    ]
    assert here.arrivals("198.51.100.7", 0, [0]) == [("198.51.100.7", SOURCE_PORT, b"0")]


@needs_root
@needs_ipv6
def test_forged_ipv6(here6: Here) -> None:
    """Root can forge any IPv6 address, with up to 56 varying bits."""
    senders = [0, 1, 0xFFFF, (1 << 56) - 1]
    expected = ["2001:db8::", "2001:db8::1", "2001:db8::ffff", "2001:db8::ff:ffff:ffff:ffff"]
    assert [address for address, _, _ in here6.arrivals("2001:db8::", 56, senders)] == expected


@needs_root
@needs_ipv6
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_kernel_verifies_checksums(address: str) -> None:
    """The kernel drops a packet with a wrong checksum, so the checksums of arriving packets are correct."""
    receiver = Here(address)
    family, there = receiver.socket.family, ip_address(address).packed
    wrong = bytearray(udp_packet(there, there, SOURCE_PORT, receiver.target.port, b"wrong"))
    wrong[-6] ^= 1
    right = udp_packet(there, there, SOURCE_PORT, receiver.target.port, b"right")
    with receiver.socket, socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in (bytes(wrong), right):
            raw.sendto(packet, (address, 0))
        assert receiver.socket.recv(100) == b"right"


@pytest.mark.parametrize(
    ("destination", "source", "bits", "error"),
    [
        ("localhost", None, 0, "-d localhost: not an IPv4 or IPv6 address"),
        ("127.0.0.1", "here", 0, "-s here: not an IPv4 or IPv6 address"),
        ("::1", "127.0.0.1", 0, "-s 127.0.0.1 and -d ::1 are not of one family"),
        ("127.0.0.1", "::1", 4, "-s ::1 and -d 127.0.0.1 are not of one family"),
        ("192.0.2.1", None, 33, "-o 33: the address has only 32 bits"),
        ("127.0.0.1", None, 23, "-o 23: varying 23 bits of 127.64.0.0 leaves 127.0.0.0/8"),
        ("127.0.0.1", "127.255.255.1", 8, "-o 8: varying 8 bits of 127.255.255.1"),
        ("fe80::1%nowhere0", None, 0, "-d fe80::1%nowhere0: there is no interface 'nowhere0'"),
    ],
)
def test_invalid_addresses(destination: str, source: str | None, bits: int, error: str) -> None:
    """Addresses that do not fit together are an error of one line that names the option, and leave no socket open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(AddressError) as raised:
        open_source_addresses(Target(destination, 1514), source, bits)
    assert str(raised.value).startswith(error)
    assert "\n" not in str(raised.value)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("source", "bits", "named"), [("192.0.2.5", 0, "-s 192.0.2.5"), ("192.0.2.5", 4, "-o 4")])
def test_forging_without_root(source: str, bits: int, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to forge addresses, the error names the option and the alternatives."""

    class NoRaw(socket.socket):
        def __init__(self, *arguments: int) -> None:
            if socket.IPPROTO_RAW in arguments:
                raise PermissionError
            super().__init__(*arguments)

    monkeypatch.setattr("socket.socket", NoRaw)
    with pytest.raises(AddressError) as raised:
        open_source_addresses(Target("127.0.0.1", 1514), source, bits)
    assert str(raised.value).startswith(f"{named}: only root (CAP_NET_RAW) may send from addresses that are not")


@needs_ipv6
def test_interface_of_a_link_local_address() -> None:
    """The interface after the % can be a name or a number."""
    assert Target("fe80::1%lo", 1).scope == socket.if_nametoindex("lo")
    assert Target("fe80::1%7", 1).scope == 7
    assert Target("fe80::1", 1).scope == 0
