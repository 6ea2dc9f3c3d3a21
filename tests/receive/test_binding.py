"""Sockets whose address or interface went away: the reason is reported, and a socket that can be bound again is."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Self

import pytest
from twisted.logger import capturedLogs, formatEvent

from netconsd.receive.binding import CLOSED, Binding
from netconsd.receive.reader import BatchReader
from netconsd.receive.sockets import MemInfo, granted_rcvbuf
from netconsd.settings import Settings


class Machine:
    """The addresses of a machine, and the numbers of its interfaces by name."""

    def __init__(self) -> None:
        self.addresses = {"192.0.2.1", "fe80::1"}
        self.interfaces = {"eth0": 3}
        #: The error of each bind.
        self.refusal = 0
        self.bound: list[Any] = []

    def socket(self, family: int, kind: int) -> Socket:
        assert kind & socket.SOCK_CLOEXEC
        return Socket(self, family)

    def number(self, name: str) -> int:
        if name not in self.interfaces:
            raise OSError(errno.ENODEV, "no interface with this name")
        return self.interfaces[name]


class Socket:
    """A socket of a machine, with a real descriptor."""

    def __init__(self, machine: Machine, family: int, address: Any = None, interface: int = 0) -> None:
        self.family = family
        self._machine = machine
        self._address = address
        self._interface = interface
        self._real = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def close(self) -> None:
        self._real.close()

    def fileno(self) -> int:
        return self._real.fileno()

    def getsockname(self) -> Any:
        return self._machine.bound[-1] if self._machine.bound else self._address

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if option != socket.SO_BINDTODEVICE:
            return 65536
        names = [name for name, number in self._machine.interfaces.items() if number == self._interface]
        if self._interface and not names:
            raise OSError(errno.ENODEV, "No such device")
        return (names[0].encode() + b"\0") if names else b""

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if option == socket.SO_BINDTODEVICE:
            self._interface = self._machine.number(value.rstrip(b"\0").decode())

    def bind(self, address: Any) -> None:
        if self._machine.refusal:
            raise OSError(self._machine.refusal, "refused")
        if address[0] not in self._machine.addresses:
            raise OSError(errno.EADDRNOTAVAIL, "not available")
        if address[1]:
            self._machine.bound.append(address)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with one interface."""
    made = Machine()
    monkeypatch.setattr("netconsd.receive.binding.socket.if_nametoindex", made.number)
    return made


def test_an_address_that_goes_and_comes_back(machine: Machine) -> None:
    """A socket with an address cannot receive while the machine does not have it; the same socket receives again."""
    with Socket(machine, socket.AF_INET, ("192.0.2.1", 1514)) as bound:
        watched = Binding(bound, machine.socket)
        assert watched.check() == ("", False)
        machine.addresses.clear()
        assert watched.check() == ("192.0.2.1 is no address of this machine at present (ip address shows them)", False)
        machine.addresses.add("192.0.2.1")
        assert watched.check() == ("", False)
        assert machine.bound == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_all_addresses(machine: Machine, host: str) -> None:
    """A socket without an address can always receive."""
    with Socket(machine, socket.AF_INET6, (host, 1514, 0, 0)) as bound:
        assert Binding(bound, machine.socket).check() == ("", False)


def test_nothing_is_known(machine: Machine) -> None:
    """If the machine cannot be asked, because it has no more descriptors for example, there is no problem."""
    with Socket(machine, socket.AF_INET, ("192.0.2.1", 1514)) as bound:
        watched = Binding(bound, machine.socket)
        machine.refusal = errno.EMFILE
        assert watched.check() == ("", False)


@pytest.mark.parametrize(
    ("family", "before", "after"),
    [
        (socket.AF_INET6, ("fe80::1", 1514, 0, 3), ("fe80::1", 1514, 0, 5)),
        (socket.AF_INET, ("192.0.2.1", 1514), ("192.0.2.1", 1514)),
    ],
    ids=["link-local", "bound to a device"],
)
def test_an_interface_that_is_created_again(machine: Machine, family: int, before: Any, after: Any) -> None:
    """A socket with an interface is bound again, under its descriptor, once an interface of that name exists; until
    then the reason is reported."""
    with Socket(machine, family, before, interface=3) as bound:
        watched = Binding(bound, machine.socket)
        assert watched.check() == ("", False)
        descriptor, old = bound.fileno(), os.fstat(bound.fileno()).st_ino
        machine.interfaces.clear()
        assert watched.is_lost
        assert watched.check() == ("interface eth0 is gone", False)
        machine.interfaces["eth0"] = 5
        machine.refusal = errno.EACCES
        assert watched.check() == (
            "interface eth0 was created again, and the socket cannot be bound to it: Permission denied",
            False,
        )
        assert os.fstat(descriptor).st_ino == old
        machine.refusal = 0
        assert watched.check() == ("", True)
        assert machine.bound == [after]
        assert bound.fileno() == descriptor
        assert os.fstat(descriptor).st_ino != old
        assert not os.get_inheritable(descriptor)


def test_the_options_of_a_socket() -> None:
    """A socket that replaces another one has its options, as far as this user may set them."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as old, socket.socket(old.family, socket.SOCK_DGRAM) as new:
        old.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        old.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        old.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 40_000)
        Binding(old)._prepare(new, old)
        assert new.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert new.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
        assert granted_rcvbuf(new) == granted_rcvbuf(old)


# The reader.


class Lanes:
    """Workers with a lane that gets nothing."""

    lanes = (None,)

    def __init__(self) -> None:
        self.ports: list[object] = []


class Reactor:
    """Notes whether a reader is watched."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def addReader(self, reader: object) -> None:  # noqa: N802
        self.calls.append("add")

    def removeReader(self, reader: object) -> None:  # noqa: N802
        self.calls.append("remove")


class Scripted:
    """A binding whose results the test sets."""

    def __init__(self) -> None:
        self.is_lost = False
        self.result = "", False

    def check(self) -> tuple[str, bool]:
        return self.result


@pytest.fixture
def reader() -> Iterator[BatchReader]:
    """A reader of a socket on 127.0.0.1, with a scripted binding."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with closing(bound):
        bound.bind(("127.0.0.1", 0))
        workers: Any = Lanes()
        made = BatchReader(bound, workers, batch=Settings().batch, pause=0.0, reactor=Reactor())
        made.startListening()
        yield made


def test_a_reader_reports_its_problem_once(reader: BatchReader) -> None:
    """A problem and its end are logged once each, and are attributes for the snapshot."""
    script: Any = Scripted()
    vars(reader)["_binding"] = script
    lines = []
    for problem in ("", "p", "p", "q", "", ""):
        script.result = problem, False
        with capturedLogs() as events:
            assert not reader.check(3)
        assert reader.problem == problem
        lines.append([formatEvent(event) for event in events])
    assert lines == [
        [],
        ["Listener 3 cannot receive: p"],
        [],
        ["Listener 3 cannot receive: q"],
        ["Listener 3 can receive again"],
        [],
    ]


def test_a_reader_is_bound_again(reader: BatchReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reactor forgets the old socket before it is replaced, and watches the new one; the drops of both add up."""
    drops = [5]
    monkeypatch.setattr("netconsd.receive.reader.meminfo", lambda bound: MemInfo(0, 0, drops[-1]))
    script: Any = Scripted()
    vars(reader)["_binding"] = script
    script.is_lost, script.result = True, ("", True)
    with capturedLogs() as events:
        assert reader.check(0)
    assert [formatEvent(event) for event in events] == ["Listener 0 can receive again"]
    calls: Any = vars(reader)["_reactor"]
    assert calls.calls == ["add", "remove", "add"]
    for reading, total in ((0, 5), (2, 7), (3, 8)):
        drops.append(reading)
        reader.look()
        assert reader.counters.dropped_by_kernel == total


def test_a_socket_that_the_reactor_closed(reader: BatchReader) -> None:
    """If the reactor drops the socket, because it was shut down for example, the problem is reported."""
    reader.connectionLost(None)  # type: ignore[arg-type]
    with capturedLogs() as events:
        reader.check(0)
    assert reader.problem == CLOSED
    assert len(events) == 1
