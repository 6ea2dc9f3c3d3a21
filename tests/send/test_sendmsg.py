"""What sends many datagrams, in both of its forms: all of them, in order, each from its own address."""

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
    """The compiled sender; where the rest is compiled it has to be there."""
    from netconsd.send import _sendmmsg

    return _sendmmsg.DatagramSender


@pytest.fixture(params=[pytest.param("compiled", marks=needs_compiled), "plain"])
def make(request: pytest.FixtureRequest) -> Any:
    """Either sender's class."""
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
    """More datagrams than one system call takes arrive in order, each from its address, all from one port."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there), 0, True)
    datagrams = [b"%d" % number * (number % 7) for number in range(150)]
    sources = [int(IPv4Address("127.64.0.0")) + number * 77 for number in range(150)]
    assert sender.send(datagrams, sources) == 150
    arrived = [there.recvfrom(2000) for _ in range(150)]
    assert [datagram for datagram, _ in arrived] == datagrams
    assert [address for _, address in arrived] == [(str(IPv4Address(each)), port_of(out)) for each in sources]
    assert (sender.datagrams, sender.octets) == (150, sum(map(len, datagrams)))


def test_without_sources_the_socket_has_one(make: Any, out: socket.socket, there: socket.socket) -> None:
    """Where the address is the socket's own, the list of sources is not looked at."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there))
    assert sender.send([b"a", b"b"], []) == 2
    assert [there.recvfrom(10) for _ in range(2)] == [(text, ("127.0.0.1", port_of(out))) for text in (b"a", b"b")]


@needs_ipv6
def test_ipv6(make: Any) -> None:
    """A destination can be IPv6."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as to,
    ):
        to.bind(("::1", 0))
        to.settimeout(5)
        assert make(here, socket.AF_INET6, bytes(15) + b"\1", port_of(to), 0, False).send([b"six"], [0]) == 1
        assert to.recv(10) == b"six"


def test_it_goes_on_where_it_stopped(make: Any, out: socket.socket, there: socket.socket) -> None:
    """What stands before the start is not sent again, and there may be nothing left."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there))
    assert sender.send([b"a", b"b", b"c"], [], 2) == 3
    assert sender.send([b"a"], [], 1) == 1
    assert there.recv(10) == b"c"
    assert sender.datagrams == 1


def test_nobody_listens(make: Any, out: socket.socket) -> None:
    """That nobody listens is no error: netconsole does not hear of it either."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = port_of(unused)
    sender = make(out, socket.AF_INET, LOCALHOST, port)
    for _ in range(3):
        assert sender.send([b"a"] * 3, []) == 3


def test_a_refusal_is_an_error_and_what_went_before_is_counted(
    make: Any, out: socket.socket, there: socket.socket
) -> None:
    """A datagram that the kernel does not take raises its error; those before it went, and are counted."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there))
    with pytest.raises(OSError, match=r".") as raised:
        sender.send([b"a", b"b", bytes(65508), b"c"], [])
    assert (raised.value.errno, raised.value.strerror) == (errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    assert (sender.datagrams, sender.octets) == (2, 2)


def test_a_forged_address_is_an_error(make: Any, out: socket.socket, there: socket.socket) -> None:
    """The kernel does not send from an address that is not this machine's."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there), 0, True)
    with pytest.raises(OSError, match=r"."):
        sender.send([b"a"], [int(IPv4Address("192.0.2.1"))])


def test_as_many_sources_as_datagrams(make: Any, out: socket.socket, there: socket.socket) -> None:
    """A list of another length is refused, and nothing is sent."""
    sender = make(out, socket.AF_INET, LOCALHOST, port_of(there), 0, True)
    with pytest.raises(ValueError, match="not as many sources"):
        sender.send([b"a", b"b"], [1])
    assert sender.datagrams == 0


def test_a_closed_socket(make: Any, there: socket.socket) -> None:
    """Sending through a closed socket is an error, and never goes into another file that has its number now."""
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
    """An address has 4 bytes or 16, as its family says."""
    with pytest.raises(ValueError, match="not one of its family"):
        compiled_sender()(out, socket.AF_INET6, LOCALHOST, 1)


class FullSocket:
    """In place of a socket, for the plain sender: takes so many datagrams, and then has no room."""

    def __init__(self, room: int, error: int = errno.ENOBUFS) -> None:
        self.room = room
        self.error = error

    def sendmsg(self, *_: Any) -> None:
        if not self.room:
            raise OSError(self.error, "no room")
        self.room -= 1


def test_plain_stops_where_there_is_no_room() -> None:
    """A full queue of the interface is no error: the index says how far it came."""
    full: Any = FullSocket(2)
    sender = PlainSender(full, socket.AF_INET, LOCALHOST, 1)
    assert sender.send([b"a"] * 5, []) == 2
    full.room = 3
    assert sender.send([b"a"] * 5, [], 2) == 5
    assert sender.datagrams == 5
