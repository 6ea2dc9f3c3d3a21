"""The selftest module: its destinations, its messages and its log."""

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
from tests.support.loggers import ManualReactor, logged
from tests.support.loopback import needs_ipv6
from tests.support.scripted_lane import lane_with, run

Mangle = Callable[[list[bytes]], list[bytes]]


class Daemon:
    """A replacement for the daemon: a socket, and a worker that runs when the test calls :meth:`work`."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind((address, 0))
        own: Any = self.socket.getsockname()
        self.port: int = own[1]
        self.reactor = ManualReactor()

    def started(self, on_failure: Any = "log", **settings: Any) -> Selftest:
        """Return a started module."""
        module = Selftest(on_failure=on_failure, **settings)
        module.reactor = self.reactor
        module.start(1)
        return module

    def work(self, module: Selftest, mangle: Mangle = lambda datagrams: datagrams) -> set[str]:
        """Receive the datagrams, deliver their messages, and run the reactor; return the addresses of the senders."""
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
        self.reactor.run_calls()
        return {address for address, _ in datagrams}


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A daemon that listens on 127.0.0.1."""
    local = Daemon("127.0.0.1")
    yield local
    local.socket.close()


def outcome(test: Deferred[None] | None) -> Any:
    """Return "passed", the text of a failure, or None if the Deferred did not fire."""
    assert test is not None
    results: list[Any] = []
    test.addBoth(results.append)
    if results and isinstance(results[0], Failure):
        return results[0].getErrorMessage()
    return "passed" if results else None


def test_interfaces() -> None:
    """The module provides the interfaces that it declares."""
    module = Selftest(on_failure="log")
    for interface in (IBatchOutputModule, IListening, IReloadable):
        verifyObject(interface, module)


@pytest.mark.parametrize("timeout", [0.0, -1.0, 3601.0, float("nan")])
def test_timeouts_out_of_range(timeout: float) -> None:
    """A timeout out of range is an error that names the setting."""
    with pytest.raises(ValueError, match=r"^timeout: .* is not above 0 and at most 3600 seconds$"):
        Selftest(on_failure="log", timeout=timeout)


def test_pass(daemon: Daemon) -> None:
    """When all messages arrive, one line is logged at once, and no timer is left."""
    module = daemon.started("exit")
    with logged() as texts:
        test = module.listening([("127.0.0.1", daemon.port)])
        assert test is not None and not test.called, "the start waits"
        assert daemon.work(module) == {"127.0.0.1"}
    assert outcome(test) == "passed"
    assert len(texts) == 1
    assert texts[0].startswith("selftest: 4 messages over IPv4 arrived intact in ")
    assert daemon.reactor.getDelayedCalls() == []


@needs_ipv6
def test_both_families() -> None:
    """A daemon that listens on all addresses is tested over IPv4 and IPv6."""
    daemon = Daemon("::")
    module = daemon.started()
    with logged() as texts:
        assert module.listening([("0.0.0.0", daemon.port), ("::", daemon.port)]) is None, "the start does not wait"
        assert daemon.work(module) == {"127.0.0.1", "::1"}
    daemon.socket.close()
    assert texts[0].startswith("selftest: 8 messages over IPv4 and IPv6 arrived intact in ")


def test_several_addresses() -> None:
    """A daemon with several sockets, as from a service manager, is tested over each, and failures name the address."""
    daemon = Daemon("0.0.0.0")
    module = daemon.started()
    with logged() as texts:
        module.listening([("127.0.0.8", daemon.port), ("127.0.0.9", daemon.port)])
        daemon.work(module, lambda datagrams: datagrams[1:])
    daemon.socket.close()
    assert texts == [f"selftest: IPv4 (127.0.0.{host}): the full message did not arrive" for host in (8, 9)]


@pytest.mark.parametrize(
    ("address", "bound"),
    [("0.0.0.0", "0.0.0.0"), ("127.0.0.9", "127.0.0.9"), pytest.param("::1", "::1", marks=needs_ipv6)],
)
def test_an_address(address: str, bound: str) -> None:
    """A daemon that listens on one address, or on one family, is tested on it."""
    daemon = Daemon(bound)
    module = daemon.started()
    with logged() as texts:
        module.listening([(address, daemon.port)])
        daemon.work(module)
    daemon.socket.close()
    assert texts[0].startswith(f"selftest: 4 messages over IPv{6 if ':' in address else 4} arrived intact in ")


def test_a_machine_without_ipv6(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without IPv6, IPv6 is not tested; the log says so, and the test passes."""
    make = socket.socket

    def only_ipv4(family: int, *arguments: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return make(family, *arguments)

    module = daemon.started()
    monkeypatch.setattr(socket, "socket", only_ipv4)
    with logged() as texts:
        module.listening([("0.0.0.0", daemon.port), ("::", daemon.port)])
        daemon.work(module)
    assert texts[0].startswith("selftest: 4 messages over IPv4 arrived intact in ")
    assert texts[0].endswith("; IPv6 was not tested, because this machine does not have it")


def test_failure(daemon: Daemon) -> None:
    """Each difference is one log line; with ``exit``, the start fails with all of them."""
    module = daemon.started("exit")
    with logged() as texts:
        test = module.listening([("127.0.0.1", daemon.port)])
        daemon.work(module, lambda datagrams: [d.replace(b"cpu=3", b"cpu=4") for d in datagrams if b"legacy" not in d])
    assert texts == [
        "selftest: IPv4: the full message: cpu is 4 instead of 3",
        "selftest: IPv4: the legacy message did not arrive",
    ]
    assert outcome(test) == "; ".join(text.removeprefix("selftest: ") for text in texts)


def test_timeout(daemon: Daemon) -> None:
    """Messages that have not arrived at the timeout are missing; later arrivals are ignored."""
    module = daemon.started("exit", timeout=7.0)
    with logged() as texts:
        test = module.listening([("127.0.0.1", daemon.port)])
        daemon.reactor.advance(6.9)
        assert test is not None and not test.called
        daemon.reactor.advance(0.1)
        daemon.work(module)
    assert len(texts) == 4
    assert outcome(test).endswith("IPv4: the last message did not arrive")


def test_a_closed_port(daemon: Daemon) -> None:
    """A port without a socket is logged."""
    daemon.socket.close()
    module = daemon.started(timeout=1.0)
    with logged() as texts:
        module.listening([("127.0.0.1", daemon.port)])
        daemon.reactor.advance(1.0)
    assert any("cannot be sent: Connection refused" in text for text in texts)
    assert "selftest: IPv4: the full message did not arrive" in texts


def test_an_unreachable_address(daemon: Daemon) -> None:
    """When no message can be sent, the test ends at once."""
    module = daemon.started("exit")
    with logged() as texts:
        test = module.listening([("255.255.255.255", daemon.port)])
    assert texts == ["selftest: IPv4: cannot send to 255.255.255.255: Permission denied"]
    assert outcome(test) == texts[0].removeprefix("selftest: ")
    assert daemon.reactor.getDelayedCalls() == []


def test_forged_messages(daemon: Daemon) -> None:
    """Messages from another address or port are ignored."""
    module = daemon.started()
    with logged() as texts:
        module.listening([("127.0.0.1", daemon.port)])
        module.handle_batch(0, [extended_message("netconsd selftest 0 full", address="127.0.0.1", port=9)])
        daemon.work(module)
    assert texts[0].startswith("selftest: 4 messages over IPv4 arrived intact")


def test_reload(daemon: Daemon) -> None:
    """A reload tests again, with other messages; a failure is only logged."""
    module = daemon.started("exit")
    module.listening([("127.0.0.1", daemon.port)])
    daemon.work(module)
    with logged() as texts:
        module.reload()
        daemon.work(module)
        module.reload()
        daemon.work(module, lambda datagrams: datagrams[1:])
    assert len(texts) == 2
    assert texts[0].startswith("selftest: 4 messages")
    assert texts[1] == "selftest: IPv4: the full message did not arrive"


def test_one_at_a_time(daemon: Daemon) -> None:
    """A reload during a test starts no second test."""
    module = daemon.started()
    with logged() as texts:
        module.listening([("127.0.0.1", daemon.port)])
        module.reload()
        daemon.work(module)
    assert len(texts) == 1


def test_stop_during_a_test(daemon: Daemon) -> None:
    """A stop ends a test and leaves no socket and no timer."""
    module = daemon.started()
    module.listening([("127.0.0.1", daemon.port)])
    module.stop()
    assert daemon.reactor.getDelayedCalls() == []
    with logged() as texts:
        daemon.work(module)
    assert texts == []


def test_two_workers_with_the_last_message(daemon: Daemon) -> None:
    """When two workers receive last messages at once, so that both report the end, the test ends once."""
    module = daemon.started("exit")
    test = module.listening([("127.0.0.1", daemon.port)])
    handle = module.handle_batch
    module.handle_batch = lambda worker, messages: [handle(0, messages), handle(1, messages[-1:])]  # type: ignore[method-assign, assignment]
    with logged() as texts:
        daemon.work(module)
    assert outcome(test) == "IPv4: the last message arrived 2 times"
    assert len(texts) == 1
