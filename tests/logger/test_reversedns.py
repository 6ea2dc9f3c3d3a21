"""Reverse DNS: verified names, forged answers and silent servers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.names import dns

from netconsd.logger import reversedns
from netconsd.logger.hostnames import DnsName
from netconsd.logger.reversedns import ReverseDns, nameservers
from tests.support.loopback import needs_ipv6
from tests.support.nameserver import NameServer, ReadingReactor, nameserver

A = "192.0.2.7"
REVERSE = "7.2.0.192.in-addr.arpa"


@pytest.fixture
def server() -> Iterator[NameServer]:
    """A server with the name web1.example for A."""
    with nameserver() as running:
        running.records = {
            REVERSE: [("PTR", "web1.example", 3600)],
            "web1.example": [("A", "192.0.2.6", 7200), ("A", A, 7200)],
        }
        yield running


class Lookup:
    """A lookup whose queries a test answers one by one."""

    def __init__(self, *servers: NameServer) -> None:
        self.reactor = ReadingReactor()
        self.answers: list[tuple[str, DnsName | None]] = []
        self.dns = ReverseDns([server.address for server in servers], self.reactor)

    def begin(self, address: str = A) -> None:
        self.dns.look_up(address, lambda *answer: self.answers.append(answer))

    def answer(self, server: NameServer, address: str = A) -> DnsName | None:
        """Look up the address, let the server answer all queries, and return the answer."""
        self.begin(address)
        while server.answer():
            self.reactor.read()
        self.is_clean()
        ((looked_up, answer),) = self.answers
        assert looked_up == address
        return answer

    def is_clean(self) -> None:
        """Assert that no socket and no timer is left."""
        assert self.reactor.readers == []
        assert self.reactor.getDelayedCalls() == []


def test_a_verified_name(server: NameServer) -> None:
    """A name is valid if one of its addresses is the address that was looked up, for the shortest TTL."""
    assert Lookup(server).answer(server) == DnsName("web1.example", 3600)


@needs_ipv6
def test_ipv6() -> None:
    """Senders and servers may have IPv6 addresses."""
    with nameserver("::1") as server:
        server.records = {
            "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": [("PTR", "six.example", 600)],
            "six.example": [("AAAA", "2001:db8::7", 600)],
        }
        assert Lookup(server).answer(server, "2001:db8::7") == DnsName("six.example", 600)


def test_delegated_reverse_zone(server: NameServer) -> None:
    """A PTR record behind a CNAME, as providers delegate parts of a network (RFC 2317), is found."""
    server.records[REVERSE].insert(0, ("CNAME", "7.0/25.2.0.192.in-addr.arpa", 60))
    assert Lookup(server).answer(server) == DnsName("web1.example", 3600)


def test_the_name_of_another_host(server: NameServer) -> None:
    """An address whose PTR record claims the name of another host has no name."""
    server.records["web1.example"] = [("A", "192.0.2.6", 7200)]
    assert Lookup(server).answer(server) == DnsName(None, 300)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "192.0.2.9", "a/b.example", "\x1b[31m.example", ".hidden", "web1.example.1", "x" * 63]
)
def test_unsafe_names(server: NameServer, name: str) -> None:
    """A name with other characters than letters, digits, hyphens and underscores, or a numeric end, is ignored."""
    longest = name if name != "x" * 63 else ".".join([name] * 3)
    server.records = {REVERSE: [("PTR", longest, 3600)], longest: [("A", A, 3600)]}
    assert Lookup(server).answer(server) == DnsName(None, 300)
    assert server.queried == [REVERSE], "the name is not queried"


def test_several_names(server: NameServer) -> None:
    """The first verified name is used; of hundreds of names in an answer, four are queried."""
    unverified = [("PTR", f"other{number}.example", 3600) for number in range(100)]
    server.records[REVERSE] = [*unverified[:3], ("PTR", "WEB1.example", 3600)]
    assert Lookup(server).answer(server) == DnsName("web1.example", 3600)
    server.queried.clear()
    server.records[REVERSE] = unverified
    assert Lookup(server).answer(server) == DnsName(None, 300)
    assert server.queried == [REVERSE, "other0.example", "other1.example", "other2.example", "other3.example"]


@pytest.mark.parametrize(("ttl", "seconds"), [(0, 300), (2**31 - 1, 86400)])
def test_the_ttl_is_bounded(server: NameServer, ttl: int, seconds: float) -> None:
    """An answer is valid for at least five minutes and at most a day, for any TTL."""
    server.records = {REVERSE: [("PTR", "web1.example", ttl)], "web1.example": [("A", A, ttl)]}
    assert Lookup(server).answer(server) == DnsName("web1.example", seconds)


def test_no_name(server: NameServer) -> None:
    """The answer "no name" is valid for five minutes."""
    server.records = {}
    assert Lookup(server).answer(server) == DnsName(None, 300)


def test_a_server_that_fails(server: NameServer) -> None:
    """SERVFAIL is no answer, which differs from "no name"; the next server is queried."""
    server.rcode = dns.ESERVER
    assert Lookup(server).answer(server) is None
    assert server.queried == [REVERSE] * 2
    with nameserver() as other:
        other.records = dict(server.records)
        lookup = Lookup(server, other)
        lookup.begin()
        while server.answer() + other.answer():
            lookup.reactor.read()
        assert lookup.answers == [(A, DnsName("web1.example", 3600))]


def test_silence(server: NameServer) -> None:
    """A silent server is queried twice; after six seconds there is no answer, no socket and no timer."""
    lookup = Lookup(server)
    lookup.begin()
    lookup.reactor.advance(2.0)
    lookup.reactor.advance(3.9)
    assert lookup.answers == []
    lookup.reactor.advance(0.1)
    assert lookup.answers == [(A, None)]
    assert len(server.queries()) == 2
    lookup.is_clean()


def test_no_server() -> None:
    """Without a listening server, the lookup ends at once without an answer."""
    with nameserver() as stopped:
        pass
    lookup = Lookup(stopped)
    lookup.begin()
    lookup.reactor.read()
    lookup.reactor.read()
    assert lookup.answers == [(A, None)]
    lookup.is_clean()


def test_datagrams_that_do_not_answer_the_query(server: NameServer) -> None:
    """Answers with another id or to another query, queries, and garbage are ignored."""
    lookup = Lookup(server)
    lookup.begin()
    ((query, sender),) = server.queries()
    answer = server.reply(query)
    for change in ("id", "answer", "queries"):
        other = server.reply(query)
        setattr(other, change, {"id": answer.id ^ 1, "answer": 0, "queries": [dns.Query(b"x", dns.PTR)]}[change])
        server.send(other.toStr(), sender)
    for garbage in (b"", b"x", answer.toStr()[:20], answer.toStr()[:12] + b"\xc0\x0c" * 300):
        server.send(garbage, sender)
    for _ in range(7):
        lookup.reactor.read()
    assert lookup.answers == []
    assert server.queries() == [], "the first query is still pending"
    server.send(answer.toStr(), sender)
    lookup.reactor.read()
    server.answer()
    lookup.reactor.read()
    assert lookup.answers == [(A, DnsName("web1.example", 3600))]


def test_forged_answers(server: NameServer) -> None:
    """An answer from another address or port is not received."""
    lookup = Lookup(server)
    lookup.begin()
    ((query, sender),) = server.queries()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
        attacker.sendto(server.reply(query).toStr(), sender)
    lookup.reactor.read()
    assert server.queries() == []
    assert lookup.answers == []
    lookup.dns.stop()


def test_sockets_are_bounded(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 32 lookups run at a time, with one socket each; the others are queued."""
    assert reversedns.AT_A_TIME == 32
    monkeypatch.setattr(reversedns, "AT_A_TIME", 3)
    server.records = {}
    lookup = Lookup(server)
    for host in range(10):
        lookup.begin(f"10.0.0.{host}")
    assert len(lookup.reactor.readers) == 3
    while server.answer():
        lookup.reactor.read()
        assert len(lookup.reactor.readers) <= 3
    assert sorted(address for address, _ in lookup.answers) == [f"10.0.0.{host}" for host in range(10)]
    lookup.is_clean()


def test_no_socket_can_be_opened(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without free descriptors a lookup has no answer; the next lookup is not affected."""
    lookup = Lookup(server)

    def fail(*arguments: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as context:
        context.setattr(socket, "socket", fail)
        lookup.begin()
    assert lookup.answers.pop() == (A, None)
    assert lookup.answer(server) == DnsName("web1.example", 3600)


def test_stop(server: NameServer) -> None:
    """A stop closes all sockets and timers at once; later lookups have no answer."""
    lookup = Lookup(server)
    for host in range(40):
        lookup.begin(f"10.0.0.{host}")
    lookup.dns.stop()
    lookup.is_clean()
    lookup.answers.clear()
    lookup.begin()
    assert lookup.answers == [(A, None)]
    lookup.is_clean()


def test_nameservers_of_the_system() -> None:
    """The servers are the first three of resolv.conf, or 127.0.0.1 without any, as in glibc."""
    text = "# x\nsearch example\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver\nnameserver x\n"
    assert nameservers(text) == [("192.0.2.1", 53), ("fe80::1%eth0", 53)]
    assert nameservers(text + "nameserver 192.0.2.3\nnameserver 192.0.2.4\n")[2:] == [("192.0.2.3", 53)]
    assert nameservers("") == [("127.0.0.1", 53)]
