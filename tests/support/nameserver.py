"""A scripted DNS server on the loopback interface, and a reactor that a test drives."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from twisted.names import dns

from tests.support.loggers import ManualReactor

# A record of a script: its kind, value and TTL.
Record = tuple[str, str, int]


class ReadingReactor(ManualReactor):
    """A manual reactor with readers, which a test runs."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.remove(reader)

    def read(self) -> None:
        """Run each reader once."""
        for reader in list(self.readers):
            reader.doRead()


class NameServer:
    """Answers queries from a table when the test calls :meth:`answer`."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        own: Any = bound.getsockname()
        self.address: tuple[str, int] = own[:2]
        self.records: dict[str, list[Record]] = {}
        self.rcode: int = dns.OK
        #: The names of all queries so far.
        self.queried: list[str] = []

    def queries(self) -> list[tuple[Any, Any]]:
        """Return the queries that arrived, each with its sender."""
        queries: list[tuple[Any, Any]] = []
        while True:
            try:
                datagram, sender = self._socket.recvfrom(4096)
            except BlockingIOError:
                return queries
            message: Any = dns.Message()
            message.fromStr(datagram)
            self.queried.append(str(message.queries[0].name))
            queries.append((message, sender))

    def answer(self) -> int:
        """Answer the queries that arrived; return their number."""
        queries = self.queries()
        for query, sender in queries:
            self._socket.sendto(self.reply(query).toStr(), sender)
        return len(queries)

    def send(self, datagram: bytes, to: Any) -> None:
        self._socket.sendto(datagram, to)

    def reply(self, query: Any) -> Any:
        """Return the answer to a query; a name that is not in the table does not exist."""
        name = str(query.queries[0].name)
        message: Any = dns.Message(query.id, answer=1, rCode=self.rcode)
        message.queries = query.queries
        records = self.records.get(name, [])
        if not records and self.rcode == dns.OK:
            message.rCode = dns.ENAME
        message.answers = [_header(name, *record) for record in records]
        return message


def _header(name: str, kind: str, value: str, ttl: int) -> Any:
    kinds: dict[str, tuple[int, Any]] = {
        "A": (dns.A, dns.Record_A),
        "AAAA": (dns.AAAA, dns.Record_AAAA),
        "PTR": (dns.PTR, dns.Record_PTR),
        "CNAME": (dns.CNAME, dns.Record_CNAME),
    }
    number, record = kinds[kind]
    # As bytes, a name may have any characters.
    payload = value if kind in ("A", "AAAA") else value.encode()
    return dns.RRHeader(name.encode(), number, ttl=ttl, payload=record(payload, ttl))


@contextmanager
def nameserver(address: str = "127.0.0.1") -> Iterator[NameServer]:
    """Yield a server on a free port."""
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bound:
        bound.bind((address, 0))
        yield NameServer(bound)
