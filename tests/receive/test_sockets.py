"""The listeners' sockets: both families, one port, errors for the user, and a large receive buffer."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.receive import sockets
from netconsd.receive.sockets import SO_RCVBUFFORCE, bind, destinations, granted_rcvbuf, meminfo, unwrapped
from netconsd.settings import ConfigError, Settings
from tests.support.loopback import needs_ipv6

Bind = Callable[..., list[socket.socket]]

# Seconds to wait for a datagram on the loopback interface.
TIMEOUT = 30.0


@pytest.fixture
def bound() -> Iterator[Bind]:
    """Calls ``bind`` with these settings, by default on a free port; the sockets are closed after the test."""
    made: list[socket.socket] = []

    def bind_them(**settings: Any) -> list[socket.socket]:
        # A small buffer, because each socket of these tests would use 32 MiB otherwise.
        result = bind(Settings(**{"port": 0, "rcvbuf": 65536, **settings}))
        made.extend(result)
        return result

    yield bind_them
    for opened in made:
        opened.close()


def refusal(**settings: Any) -> str:
    """The error text of a failing ``bind``, which leaves no socket open."""
    before = open_files()
    with pytest.raises(ConfigError) as caught:
        bind(Settings(**settings))
    assert open_files() == before
    return str(caught.value)


def open_files() -> int:
    """The number of this process's open descriptors."""
    return len(os.listdir("/proc/self/fd"))


def port_of(listener: socket.socket) -> int:
    """The port of a bound socket."""
    port: int = listener.getsockname()[1]
    return port


def receive(listener: socket.socket, address: str, payload: bytes = b"hello") -> tuple[bytes, str]:
    """Send to this address and the listener's port; return the datagram and the sender's address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(payload, (address, port_of(listener)))
    listener.settimeout(TIMEOUT)
    data, source = listener.recvfrom(65536)
    return data, source[0]


# Families.


@needs_ipv6
def test_without_an_address_both_families_are_received(bound: Bind) -> None:
    """One socket receives IPv6, and IPv4 as mapped addresses."""
    (listener,) = bound()
    assert receive(listener, "127.0.0.1") == (b"hello", "::ffff:127.0.0.1")
    assert receive(listener, "::1") == (b"hello", "::1")


def test_an_ipv4_address(bound: Bind) -> None:
    """With an IPv4 address the socket is an IPv4 socket bound to that address."""
    (listener,) = bound(address="127.0.0.1")
    assert listener.family == socket.AF_INET
    assert listener.getsockname()[0] == "127.0.0.1"
    assert receive(listener, "127.0.0.1") == (b"hello", "127.0.0.1")


@needs_ipv6
def test_an_ipv6_address(bound: Bind) -> None:
    """With an IPv6 address the socket is bound to that address."""
    (listener,) = bound(address="::1")
    assert listener.getsockname()[0] == "::1"
    assert receive(listener, "::1") == (b"hello", "::1")


@needs_ipv6
def test_the_unspecified_addresses(bound: Bind) -> None:
    """``0.0.0.0`` receives all of IPv4; ``::`` receives both families, as without an address."""
    assert receive(bound(address="0.0.0.0")[0], "127.0.0.1") == (b"hello", "127.0.0.1")
    (both,) = bound(address="::")
    assert receive(both, "127.0.0.1")[1] == "::ffff:127.0.0.1"
    assert receive(both, "::1")[1] == "::1"


class NoIPv6(socket.socket):
    """Fails as the kernel does for an IPv6 socket, with the class's errno."""

    refusal = errno.EAFNOSUPPORT

    def __init__(self, family: int = -1, *arguments: Any, **named: Any) -> None:
        if family == socket.AF_INET6:
            raise OSError(self.refusal, os.strerror(self.refusal))
        super().__init__(family, *arguments, **named)


def test_a_kernel_without_ipv6(bound: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel has no IPv6, the socket receives IPv4."""
    monkeypatch.setattr("netconsd.receive.sockets.socket.socket", NoIPv6)
    (listener,) = bound()
    assert listener.getsockname()[0] == "0.0.0.0"
    assert receive(listener, "127.0.0.1") == (b"hello", "127.0.0.1")


def test_any_other_failure_of_ipv6_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a missing family is ignored: without a descriptor, the IPv6 half of a fleet must not be dropped silently."""

    class Exhausted(NoIPv6):
        refusal = errno.EMFILE

    monkeypatch.setattr("netconsd.receive.sockets.socket.socket", Exhausted)
    assert "Too many open files" in refusal(port=0)


# Properties.


@pytest.mark.parametrize("listeners", [1, 3])
def test_sockets_are_non_blocking_and_not_inherited(bound: Bind, listeners: int) -> None:
    """A read never blocks the reactor, and child processes of modules do not inherit the sockets."""
    made = bound(listeners=listeners)
    assert len(made) == listeners
    for listener in made:
        assert listener.type == socket.SOCK_DGRAM
        assert not listener.getblocking()
        assert not listener.get_inheritable()


def test_listeners_share_one_port(bound: Bind) -> None:
    """All listeners have the same port, also if the kernel chose it, and each receives a part of the senders."""
    made = bound(listeners=2, address="127.0.0.1")
    port = port_of(made[0])
    assert [port_of(listener) for listener in made] == [port, port]
    for _ in range(64):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", port))
    counts = [count_waiting(listener) for listener in made]
    # The kernel selects by a hash of the addresses and ports; all go to one socket in 1 of 2**63 runs.
    assert sum(counts) == 64
    assert all(counts)


def count_waiting(listener: socket.socket) -> int:
    """Read all datagrams that wait in the socket; return their number."""
    count = 0
    try:
        while True:
            listener.recv(10)
            count += 1
    except BlockingIOError:
        return count


def test_a_single_listener_does_not_share_its_port(bound: Bind) -> None:
    """One listener has no SO_REUSEPORT, with which another program could receive a part of the messages."""
    (listener,) = bound()
    assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


# Errors.


@pytest.mark.parametrize("theirs", [1, 2])
@pytest.mark.parametrize("ours", [1, 2])
@pytest.mark.parametrize("address", [None, "127.0.0.1"])
def test_a_port_in_use(bound: Bind, theirs: int, ours: int, address: str | None) -> None:
    """A second daemon on the port of a first one fails, even if both have several listeners."""
    port = port_of(bound(listeners=theirs, address=address)[0])
    text = refusal(port=port, listeners=ours, address=address)
    assert text.startswith("port: ")
    assert str(port) in text
    assert "in use" in text


def test_a_port_in_use_by_one_family(bound: Bind) -> None:
    """A port that another program uses for IPv4 is not bound for IPv6 alone."""
    port = port_of(bound(address="127.0.0.1")[0])
    assert f"address any, port {port} is in use" in refusal(port=port)


@pytest.mark.parametrize(
    "address",
    ["203.0.113.1", pytest.param("2001:db8::1", marks=needs_ipv6), pytest.param("fe80::1%nosuch0", marks=needs_ipv6)],
)
def test_an_address_of_another_machine(address: str) -> None:
    """An address that is not one of this machine is an error that names the setting and the address."""
    text = refusal(address=address, port=0)
    assert text.startswith("address: ")
    assert address in text
    assert "not an address of this machine" in text


def test_a_privileged_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that only root may bind is an error that names the privileges."""

    class Unprivileged(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("netconsd.receive.sockets.socket.socket", Unprivileged)
    assert refusal(port=514).startswith("port: address any, port 514 may not be bound by this user")


def test_sockets_are_closed_when_a_later_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the third of four sockets fails, no socket stays open, and the text has the reason."""
    calls: list[int] = []

    def fail_with_the_third(bound: socket.socket, size: int) -> None:
        calls.append(size)
        if len(calls) == 3:
            raise OSError(errno.ENOBUFS, "No buffer space available")

    monkeypatch.setattr(sockets, "_raise_rcvbuf", fail_with_the_third)
    assert "No buffer space available" in refusal(port=0, listeners=4, address="127.0.0.1")
    assert len(calls) == 3


# The receive buffer.


@pytest.mark.parametrize("size", [4096, 100_000])
def test_a_modest_receive_buffer_is_granted(bound: Bind, size: int) -> None:
    """Up to the system's limit, every listener gets the requested size, in the unit of the setting."""
    assert [granted_rcvbuf(listener) for listener in bound(rcvbuf=size, listeners=2)] == [size, size]


def rmem_max() -> int:
    """The system's limit for unprivileged programs."""
    return int(Path("/proc/sys/net/core/rmem_max").read_text())


def may_exceed_the_limit() -> bool:
    """True if this process has CAP_NET_ADMIN."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 65536)
        except PermissionError:
            return False
    return True


@pytest.mark.skipif(not may_exceed_the_limit(), reason="needs CAP_NET_ADMIN")
def test_a_privileged_daemon_gets_more_than_the_limit(bound: Bind) -> None:
    """With CAP_NET_ADMIN the receive buffer has the requested size, beyond net.core.rmem_max."""
    size = rmem_max() + 4096
    (listener,) = bound(rcvbuf=size, address="127.0.0.1")
    assert granted_rcvbuf(listener) == size


def test_an_unprivileged_daemon_gets_the_limit(bound: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without privileges the buffer is raised to net.core.rmem_max, and ``granted_rcvbuf`` returns that size."""

    class Unprivileged(socket.socket):
        def setsockopt(self, *arguments: Any) -> None:
            if arguments[1] == SO_RCVBUFFORCE:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            super().setsockopt(*arguments)

    monkeypatch.setattr("netconsd.receive.sockets.socket.socket", Unprivileged)
    size = rmem_max() + 4096
    (listener,) = bound(rcvbuf=size, address="127.0.0.1")
    assert granted_rcvbuf(listener) == rmem_max()


def test_the_number_of_rcvbufforce() -> None:
    """The number that replaces Python's missing name is SO_RCVBUFFORCE."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        if may_exceed_the_limit():
            probe.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 12345)
            assert granted_rcvbuf(probe) == 12345
        else:
            with pytest.raises(PermissionError):
                probe.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 12345)


def test_meminfo() -> None:
    """``meminfo`` has the bytes used by unread datagrams, twice the requested size, and the number of drops."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        assert meminfo(bound) == (0, 16384, 0)
        for _ in range(100):
            bound.sendto(b"x" * 1000, bound.getsockname())
        info = meminfo(bound)
        assert 0 < info.used <= 2 * info.size
        received = 0
        bound.setblocking(False)
        with suppress(BlockingIOError):
            while bound.recv(2000):
                received += 1
        assert 0 < received == 100 - info.drops


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_a_counter_that_wraps(growth: list[int]) -> None:
    """``unwrapped`` follows a counter of 32 bits through any number of wraps."""
    true = total = 0
    for more in growth:
        true += more
        total = unwrapped(total, true % 2**32)
        assert total == true


@needs_ipv6
def test_destinations(bound: Bind) -> None:
    """A socket of both families has two destinations; sockets that share a port have one."""
    both, four, one = bound(listeners=2), bound(address="0.0.0.0"), bound(address="::1")
    assert destinations(both) == [("0.0.0.0", port_of(both[0])), ("::", port_of(both[0]))]
    assert destinations([*four, *one]) == [("0.0.0.0", port_of(four[0])), ("::1", port_of(one[0]))]
    with closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as six:
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        six.bind(("::", 0))
        assert destinations([six]) == [("::", port_of(six))]
