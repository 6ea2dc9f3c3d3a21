"""Both forms of DatagramSender send all datagrams, in order, each from its own address."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from netconsd.build import COMPILED
from netconsd.send.sendmsg import DatagramSender as PlainSender
from tests.support.loopback import needs_ipv6

LOCALHOST = bytes((127, 0, 0, 1))

needs_compiled = pytest.mark.skipif(not COMPILED, reason="this build is plain Python, without the compiled sender")


def compiled_sender() -> Any:
    """The compiled sender."""
    from netconsd.send import _sendmmsg

    return _sendmmsg.DatagramSender


@pytest.fixture(params=[pytest.param("compiled", marks=needs_compiled), "plain"])
def make(request: pytest.FixtureRequest) -> Any:
    """Each of the two classes."""
    return compiled_sender() if request.param == "compiled" else PlainSender


@pytest.fixture
def out() -> Iterator[socket.socket]:
    """A socket to send from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("", 0))
        yield opened


@pytest.fixture
def there() -> Iterator[socket.socket]:
    """A socket to send to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(5)
        yield opened


def port_of(bound: socket.socket) -> int:
    """The port of a socket."""
    return int(bound.getsockname()[1])


def test_each_datagram_comes_from_its_address(make: Any, out: socket.socket, there: socket.socket) -> None:
    """More datagrams than fit into one system call arrive in order, each from its address, all from one port."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there), 0, True)
    datagrams = [b"%d" % number * (number % 7) for number in range(150)]
    sources = [int(IPv4Address("127.64.0.0")) + number * 77 for number in range(150)]
    assert sender.send(datagrams, sources) == 150
    arrived = [there.recvfrom(2000) for _ in range(150)]
    assert [datagram for datagram, _ in arrived] == datagrams
    assert [address for _, address in arrived] == [(str(IPv4Address(source)), port_of(out)) for source in sources]


def test_without_sources(make: Any, out: socket.socket, there: socket.socket) -> None:
    """Without ``with_source``, datagrams have the socket's own address, and the list of sources is ignored."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there))
    assert sender.send([b"a", b"b"], []) == 2
    assert [there.recvfrom(10) for _ in range(2)] == [(text, ("127.0.0.1", port_of(out))) for text in (b"a", b"b")]


@needs_ipv6
def test_ipv6(make: Any) -> None:
    """The destination can be IPv6."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as to,
    ):
        to.bind(("::1", 0))
        to.settimeout(5)
        assert make(here, socket.AF_INET6, bytes(15) + b"\1", port_of(to), 0, False).send([b"six"], [0]) == 1
        assert to.recv(10) == b"six"


def test_start(make: Any, out: socket.socket, there: socket.socket) -> None:
    """Datagrams before ``start`` are not sent; ``start`` may be the end."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there))
    assert sender.send([b"a", b"b", b"c"], [], 2) == 3
    assert sender.send([b"a"], [], 1) == 1
    assert there.recv(10) == b"c"
    there.setblocking(False)
    with pytest.raises(BlockingIOError):
        there.recv(10)


def test_closed_port(make: Any, out: socket.socket) -> None:
    """An ICMP error from a closed port is not raised."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = port_of(unused)
    sender = make(out, socket.AF_INET, LOCALHOST, port)
    for _ in range(3):
        assert sender.send([b"a"] * 3, []) == 3


def test_refused_datagram(make: Any, out: socket.socket, there: socket.socket) -> None:
    """A datagram that the kernel refuses raises its error; those before it are sent."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there))
    with pytest.raises(OSError, match=r".") as raised:
        sender.send([b"a", b"b", bytes(65508), b"c"], [])
    assert (raised.value.errno, raised.value.strerror) == (errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    assert [there.recv(10), there.recv(10)] == [b"a", b"b"]


def test_forged_address(make: Any, out: socket.socket, there: socket.socket) -> None:
    """An address that is not this machine's is an error."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there), 0, True)
    with pytest.raises(OSError, match=r"."):
        sender.send([b"a"], [int(IPv4Address("192.0.2.1"))])


def test_number_of_sources(make: Any, out: socket.socket, there: socket.socket) -> None:
    """A list of sources of another length is refused, and nothing is sent."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there), 0, True)
    with pytest.raises(ValueError, match="not as many sources"):
        sender.send([b"a", b"b"], [1])
    there.setblocking(False)
    with pytest.raises(BlockingIOError):
        there.recv(10)


def test_closed_socket(make: Any, there: socket.socket) -> None:
    """Sending through a closed socket is an error, also when its descriptor belongs to another file."""
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    number = here.fileno()
    sender = make(here, socket.AF_INET, LOCALHOST, port_of(there))
    here.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another:
        assert another.fileno() == number
        with pytest.raises(OSError, match=r".") as raised:
            sender.send([b"a"], [])
    assert raised.value.errno == errno.EBADF


@needs_compiled
def test_compiled_refuses_an_address_of_another_family(out: socket.socket) -> None:
    """An IPv6 address must have 16 bytes."""
    with pytest.raises(ValueError, match="not one of its family"):
        compiled_sender()(out, socket.AF_INET6, LOCALHOST, 1)


class FullSocket:
    """Replaces a socket for the plain sender: accepts ``room`` datagrams, then raises ``error``."""

    def __init__(self, room: int, error: int = errno.ENOBUFS) -> None:
        self.room = room
        self.error = error

    def sendmsg(self, *_: Any) -> None:
        if not self.room:
            raise OSError(self.error, "no room")
        self.room -= 1


def test_plain_full_queue() -> None:
    """A full queue of the interface is not an error: the index of the first datagram not sent is returned."""
    full: Any = FullSocket(2)
    sender = PlainSender(full, socket.AF_INET, LOCALHOST, 1)
    assert sender.send([b"a"] * 5, []) == 2
    full.room = 3
    assert sender.send([b"a"] * 5, [], 2) == 5
    assert full.room == 0
