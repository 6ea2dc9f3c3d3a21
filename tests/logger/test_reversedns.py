"""Reverse DNS: which names are believed, and what strangers, liars and silence do."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.names import dns

from netconsd.logger import reversedns
from netconsd.logger.hostnames import Found
from netconsd.logger.reversedns import ReverseDns, nameservers
from tests.support.loopback import needs_ipv6
from tests.support.nameserver import NameServer, Readers, nameserver

A = "192.0.2.7"
REVERSE = "7.2.0.192.in-addr.arpa"


@pytest.fixture
def server() -> Iterator[NameServer]:
    """A server that knows A by the name web1.example."""
    with nameserver() as found:
        found.records = {
            REVERSE: [("PTR", "web1.example", 3600)],
            "web1.example": [("A", "192.0.2.6", 7200), ("A", A, 7200)],
        }
        yield found


class Lookup:
    """A lookup of an address that a test leads through its questions."""

    def __init__(self, *servers: NameServer) -> None:
        self.reactor = Readers()
        self.answers: list[tuple[str, Found | None]] = []
        self.dns = ReverseDns([server.address for server in servers], self.reactor)

    def ask(self, address: str = A) -> None:
        self.dns.ask(address, lambda *answer: self.answers.append(answer))

    def found(self, server: NameServer, address: str = A) -> Found | None:
        """Ask, and let the server answer as long as there are questions."""
        self.ask(address)
        while server.answer():
            self.reactor.read()
        self.is_clean()
        ((asked, found),) = self.answers
        assert asked == address
        return found

    def is_clean(self) -> None:
        """No socket and no timer is left."""
        assert self.reactor.readers == []
        assert self.reactor.getDelayedCalls() == []


def test_a_name_that_leads_back(server: NameServer) -> None:
    """A name counts if one of its addresses is the one asked for; the shortest TTL tells for how long."""
    assert Lookup(server).found(server) == Found("web1.example", 3600)


@needs_ipv6
def test_ipv6() -> None:
    """Senders and servers may have IPv6 addresses."""
    with nameserver("::1") as server:
        server.records = {
            "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": [("PTR", "six.example", 600)],
            "six.example": [("AAAA", "2001:db8::7", 600)],
        }
        assert Lookup(server).found(server, "2001:db8::7") == Found("six.example", 600)


def test_delegated_reverse_zone(server: NameServer) -> None:
    """A PTR record behind a CNAME, as providers delegate parts of a network (RFC 2317), is found."""
    server.records[REVERSE].insert(0, ("CNAME", "7.0/25.2.0.192.in-addr.arpa", 60))
    assert Lookup(server).found(server) == Found("web1.example", 3600)


def test_a_name_of_somebody_else(server: NameServer) -> None:
    """Whoever claims the name of another machine has no name."""
    server.records["web1.example"] = [("A", "192.0.2.6", 7200)]
    assert Lookup(server).found(server) == Found(None, 300)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "192.0.2.9", "a/b.example", "\x1b[31m.example", ".hidden", "web1.example.1", "x" * 63]
)
def test_names_that_cannot_stand_in_a_file_name(server: NameServer, name: str) -> None:
    """A name with anything but letters, digits, hyphens and underscores, or that looks like an address, is none."""
    longest = name if name != "x" * 63 else ".".join([name] * 3)
    server.records = {REVERSE: [("PTR", longest, 3600)], longest: [("A", A, 3600)]}
    assert Lookup(server).found(server) == Found(None, 300)
    assert server.asked == [REVERSE], "it was not even asked for"


def test_several_names(server: NameServer) -> None:
    """The first name that leads back counts, and a stranger's hundreds of names make us ask for four."""
    liars = [("PTR", f"liar{number}.example", 3600) for number in range(100)]
    server.records[REVERSE] = [*liars[:3], ("PTR", "WEB1.example", 3600)]
    assert Lookup(server).found(server) == Found("web1.example", 3600)
    server.asked.clear()
    server.records[REVERSE] = liars
    assert Lookup(server).found(server) == Found(None, 300)
    assert server.asked == [REVERSE, "liar0.example", "liar1.example", "liar2.example", "liar3.example"]


@pytest.mark.parametrize(("ttl", "seconds"), [(0, 300), (2**31 - 1, 86400)])
def test_the_ttl_is_bounded(server: NameServer, ttl: int, seconds: float) -> None:
    """A TTL of zero does not make us ask all the time, and no name is believed for more than a day."""
    server.records = {REVERSE: [("PTR", "web1.example", ttl)], "web1.example": [("A", A, ttl)]}
    assert Lookup(server).found(server) == Found("web1.example", seconds)


def test_no_name(server: NameServer) -> None:
    """An address without a name has none for five minutes."""
    server.records = {}
    assert Lookup(server).found(server) == Found(None, 300)


def test_a_server_that_fails(server: NameServer) -> None:
    """A server that says that it failed knows nothing, which is not the same as no name; the next one is asked."""
    server.rcode = dns.ESERVER
    assert Lookup(server).found(server) is None
    assert server.asked == [REVERSE] * 2
    with nameserver() as other:
        other.records = dict(server.records)
        lookup = Lookup(server, other)
        lookup.ask()
        while server.answer() + other.answer():
            lookup.reactor.read()
        assert lookup.answers == [(A, Found("web1.example", 3600))]


def test_silence(server: NameServer) -> None:
    """A server that says nothing is asked twice; after six seconds nobody knows, and nothing is left behind."""
    lookup = Lookup(server)
    lookup.ask()
    lookup.reactor.advance(2.0)
    lookup.reactor.advance(3.9)
    assert lookup.answers == []
    lookup.reactor.advance(0.1)
    assert lookup.answers == [(A, None)]
    assert len(server.questions()) == 2
    lookup.is_clean()


def test_no_server() -> None:
    """Where no server listens, nobody knows, at once."""
    with nameserver() as gone:
        pass
    lookup = Lookup(gone)
    lookup.ask()
    lookup.reactor.read()
    lookup.reactor.read()
    assert lookup.answers == [(A, None)]
    lookup.is_clean()


def test_what_is_not_the_answer(server: NameServer) -> None:
    """Answers with another number or to another question, questions, and garbage are passed over."""
    lookup = Lookup(server)
    lookup.ask()
    ((question, sender),) = server.questions()
    right = server.reply(question)
    for change in ("id", "answer", "queries"):
        wrong = server.reply(question)
        setattr(wrong, change, {"id": right.id ^ 1, "answer": 0, "queries": [dns.Query(b"x", dns.PTR)]}[change])
        server.send(wrong.toStr(), sender)
    for garbage in (b"", b"x", right.toStr()[:20], right.toStr()[:12] + b"\xc0\x0c" * 300):
        server.send(garbage, sender)
    for _ in range(7):
        lookup.reactor.read()
    assert lookup.answers == []
    assert server.questions() == [], "it is still waiting for the first answer"
    server.send(right.toStr(), sender)
    lookup.reactor.read()
    server.answer()
    lookup.reactor.read()
    assert lookup.answers == [(A, Found("web1.example", 3600))]


def test_answers_of_strangers(server: NameServer) -> None:
    """An answer from another address or port does not even reach us."""
    lookup = Lookup(server)
    lookup.ask()
    ((question, sender),) = server.questions()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(server.reply(question).toStr(), sender)
    lookup.reactor.read()
    assert server.questions() == []
    assert lookup.answers == []
    lookup.dns.stop()


def test_as_many_at_a_time(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are asked for, so many sockets are open; the others come when they are closed."""
    assert reversedns.AT_A_TIME == 32
    monkeypatch.setattr(reversedns, "AT_A_TIME", 3)
    server.records = {}
    lookup = Lookup(server)
    for host in range(10):
        lookup.ask(f"10.0.0.{host}")
    assert len(lookup.reactor.readers) == 3
    while server.answer():
        lookup.reactor.read()
        assert len(lookup.reactor.readers) <= 3
    assert sorted(address for address, _ in lookup.answers) == [f"10.0.0.{host}" for host in range(10)]
    lookup.is_clean()


def test_no_socket_can_be_opened(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the process has no descriptors left, nobody knows, and the next question is asked as ever."""
    lookup = Lookup(server)

    def none(*arguments: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as context:
        context.setattr(socket, "socket", none)
        lookup.ask()
    assert lookup.answers.pop() == (A, None)
    assert lookup.found(server) == Found("web1.example", 3600)


def test_stop(server: NameServer) -> None:
    """A stop closes all sockets and timers at once; whoever asks then hears that nobody knows."""
    lookup = Lookup(server)
    for host in range(40):
        lookup.ask(f"10.0.0.{host}")
    lookup.dns.stop()
    lookup.is_clean()
    lookup.answers.clear()
    lookup.ask()
    assert lookup.answers == [(A, None)]
    lookup.is_clean()


def test_find_alone(server: NameServer) -> None:
    """``find`` is for programs that wait."""
    lookup = Lookup(server)
    found: Deferred[Found] = Deferred.fromCoroutine(lookup.dns.find(A))
    server.answer()
    lookup.reactor.read()
    server.answer()
    lookup.reactor.read()
    assert found.result == Found("web1.example", 3600)


def test_nameservers_of_the_system() -> None:
    """The first three servers of a resolv.conf; the machine itself if there is none, as in glibc."""
    text = "# x\nsearch example\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver\nnameserver what\n"
    assert nameservers(text) == [("192.0.2.1", 53), ("fe80::1%eth0", 53)]
    assert nameservers(text + "nameserver 192.0.2.3\nnameserver 192.0.2.4\n")[2:] == [("192.0.2.3", 53)]
    assert nameservers("") == [("127.0.0.1", 53)]
