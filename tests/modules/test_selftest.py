"""The selftest module: where it sends to, what it keeps, and what it says."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from modules.selftest import Selftest
from netconsd.interfaces import IBatchOutputModule, IListening, IReloadable
from netconsd.testing import extended_message, source
from tests.support.loggers import Turns, said
from tests.support.loopback import needs_ipv6
from tests.support.scripted_lane import lane_with, run

Mangle = Callable[[list[bytes]], list[bytes]]


class Daemon:
    """Stands for the daemon: a socket, and a worker that a test lets work."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind((address, 0))
        own: Any = self.socket.getsockname()
        self.port: int = own[1]
        self.reactor = Turns()

    def started(self, on_failure: Any = "log", **settings: Any) -> Selftest:
        """A module that is started."""
        module = Selftest(on_failure=on_failure, **settings)
        module.reactor = self.reactor
        module.start(1)
        return module

    def work(self, module: Selftest, mangle: Mangle = lambda datagrams: datagrams) -> set[str]:
        """Receive what was sent, hand out what is in it, and take a turn; returns who sent."""
        datagrams: dict[tuple[str, int], list[bytes]] = {}
        while True:
            try:
                datagram, (address, port, *_) = self.socket.recvfrom(65536)
            except BlockingIOError:
                break
            parsed: Any = ip_address(address)
            datagrams.setdefault((str(getattr(parsed, "ipv4_mapped", None) or parsed), port), []).append(datagram)
        lane = lane_with(module.handle_batch)
        for (address, port), sent in datagrams.items():
            mangled = mangle(sent)
            lane.put([source(address, port).key] * len(mangled), mangled, 0.0, 0.0)
        run(lane)
        self.reactor.turn()
        return {address for address, _ in datagrams}


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A daemon that listens on 127.0.0.1."""
    made = Daemon("127.0.0.1")
    yield made
    made.socket.close()


def outcome(tested: Deferred[None] | None) -> Any:
    """What a Deferred fired with; None if it did not, or a text for a failure."""
    assert tested is not None
    results: list[Any] = []
    tested.addBoth(results.append)
    if results and isinstance(results[0], Failure):
        return results[0].getErrorMessage()
    return "passed" if results else None


def test_interfaces() -> None:
    """The module keeps the contracts that it names."""
    module = Selftest(on_failure="log")
    for interface in (IBatchOutputModule, IListening, IReloadable):
        verifyObject(interface, module)


@pytest.mark.parametrize("timeout", [0.0, -1.0, 3601.0, float("nan")])
def test_timeouts_that_cannot_be(timeout: float) -> None:
    """A time out of range is refused by name."""
    with pytest.raises(ValueError, match=r"^timeout: .* is not above 0 and at most 3600 seconds$"):
        Selftest(on_failure="log", timeout=timeout)


def test_all_is_well(daemon: Daemon) -> None:
    """When all came through, one line says so, at once, and nothing is left behind."""
    module = daemon.started("exit")
    with said() as words:
        tested = module.listening([("127.0.0.1", daemon.port)])
        assert tested is not None and not tested.called, "the start waits"
        assert daemon.work(module) == {"127.0.0.1"}
    assert outcome(tested) == "passed"
    assert len(words) == 1
    assert words[0].startswith("selftest: 4 messages over IPv4 came through intact in ")
    assert daemon.reactor.getDelayedCalls() == []


@needs_ipv6
def test_both_families() -> None:
    """A daemon that listens on all addresses is tested over IPv4 and IPv6."""
    daemon = Daemon("::")
    module = daemon.started()
    with said() as words:
        assert module.listening([("0.0.0.0", daemon.port), ("::", daemon.port)]) is None, "the start does not wait"
        assert daemon.work(module) == {"127.0.0.1", "::1"}
    daemon.socket.close()
    assert words[0].startswith("selftest: 8 messages over IPv4 and IPv6 came through intact in ")


def test_several_addresses() -> None:
    """A daemon with several sockets, as a service manager may pass them, is tested over each of them, by name."""
    daemon = Daemon("0.0.0.0")
    module = daemon.started()
    with said() as words:
        module.listening([("127.0.0.8", daemon.port), ("127.0.0.9", daemon.port)])
        daemon.work(module, lambda datagrams: datagrams[1:])
    daemon.socket.close()
    assert words == [f"selftest: IPv4 (127.0.0.{host}): the full message did not arrive" for host in (8, 9)]


@pytest.mark.parametrize(
    ("address", "bound"),
    [("0.0.0.0", "0.0.0.0"), ("127.0.0.9", "127.0.0.9"), pytest.param("::1", "::1", marks=needs_ipv6)],
)
def test_an_address(address: str, bound: str) -> None:
    """A daemon that listens on one address, or on one family, is tested there."""
    daemon = Daemon(bound)
    module = daemon.started()
    with said() as words:
        module.listening([(address, daemon.port)])
        daemon.work(module)
    daemon.socket.close()
    assert words[0].startswith(f"selftest: 4 messages over IPv{6 if ':' in address else 4} came through intact in ")


def test_a_machine_without_ipv6(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no IPv6, it is not tested, which is said and is no failure."""
    make = socket.socket

    def only_ipv4(family: int, *arguments: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return make(family, *arguments)

    module = daemon.started()
    monkeypatch.setattr(socket, "socket", only_ipv4)
    with said() as words:
        module.listening([("0.0.0.0", daemon.port), ("::", daemon.port)])
        daemon.work(module)
    assert words[0].startswith("selftest: 4 messages over IPv4 came through intact in ")
    assert words[0].endswith("; not over IPv6, which this machine does not have")


def test_what_is_wrong(daemon: Daemon) -> None:
    """For each thing that is wrong there is a line; with ``exit``, the start fails with all of them."""
    module = daemon.started("exit")
    with said() as words:
        tested = module.listening([("127.0.0.1", daemon.port)])
        daemon.work(module, lambda datagrams: [d.replace(b"cpu=3", b"cpu=4") for d in datagrams if b"legacy" not in d])
    assert words == [
        "selftest: IPv4: the full message: cpu is 4 instead of 3",
        "selftest: IPv4: the legacy message did not arrive",
    ]
    assert outcome(tested) == "; ".join(word.removeprefix("selftest: ") for word in words)


def test_what_does_not_come(daemon: Daemon) -> None:
    """What has not come when the time is over is missing; what comes then is passed over."""
    module = daemon.started("exit", timeout=7.0)
    with said() as words:
        tested = module.listening([("127.0.0.1", daemon.port)])
        daemon.reactor.advance(6.9)
        assert tested is not None and not tested.called
        daemon.reactor.advance(0.1)
        daemon.work(module)
    assert len(words) == 4
    assert outcome(tested).endswith("IPv4: the last message did not arrive")


def test_nobody_listens(daemon: Daemon) -> None:
    """A port that nobody listens on is said."""
    daemon.socket.close()
    module = daemon.started(timeout=1.0)
    with said() as words:
        module.listening([("127.0.0.1", daemon.port)])
        daemon.reactor.advance(1.0)
    assert any("cannot be sent: Connection refused" in word for word in words)
    assert "selftest: IPv4: the full message did not arrive" in words


def test_an_address_that_cannot_be_reached(daemon: Daemon) -> None:
    """When nothing can be sent at all, that ends the test at once."""
    module = daemon.started("exit")
    with said() as words:
        tested = module.listening([("255.255.255.255", daemon.port)])
    assert words == ["selftest: IPv4: cannot send to 255.255.255.255: Permission denied"]
    assert outcome(tested) == words[0].removeprefix("selftest: ")
    assert daemon.reactor.getDelayedCalls() == []


def test_forgers(daemon: Daemon) -> None:
    """Messages from any other address or port do not count, whatever they say."""
    module = daemon.started()
    with said() as words:
        module.listening([("127.0.0.1", daemon.port)])
        module.handle_batch(0, [extended_message("netconsd selftest 0 full", address="127.0.0.1", port=9)])
        daemon.work(module)
    assert words[0].startswith("selftest: 4 messages over IPv4 came through intact")


def test_on_demand(daemon: Daemon) -> None:
    """A reload tests again, with other messages; a failure then ends nothing."""
    module = daemon.started("exit")
    module.listening([("127.0.0.1", daemon.port)])
    daemon.work(module)
    with said() as words:
        module.reload()
        daemon.work(module)
        module.reload()
        daemon.work(module, lambda datagrams: datagrams[1:])
    assert len(words) == 2
    assert words[0].startswith("selftest: 4 messages")
    assert words[1] == "selftest: IPv4: the full message did not arrive"


def test_one_at_a_time(daemon: Daemon) -> None:
    """A reload during a test starts no other one."""
    module = daemon.started()
    with said() as words:
        module.listening([("127.0.0.1", daemon.port)])
        module.reload()
        daemon.work(module)
    assert len(words) == 1


def test_stop_during_a_test(daemon: Daemon) -> None:
    """A stop ends a test: no socket and no timer is left."""
    module = daemon.started()
    module.listening([("127.0.0.1", daemon.port)])
    module.stop()
    assert daemon.reactor.getDelayedCalls() == []
    with said() as words:
        daemon.work(module)
    assert words == []


def test_two_workers_at_the_end(daemon: Daemon) -> None:
    """When the last messages come to two workers at once, so that both say that it is over, it is over once."""
    module = daemon.started("exit")
    tested = module.listening([("127.0.0.1", daemon.port)])
    handle = module.handle_batch
    module.handle_batch = lambda worker, messages: [handle(0, messages), handle(1, messages[-1:])]  # type: ignore[method-assign, assignment]
    with said() as words:
        daemon.work(module)
    assert outcome(tested) == "IPv4: the last message arrived 2 times"
    assert len(words) == 1
