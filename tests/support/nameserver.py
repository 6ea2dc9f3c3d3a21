"""A DNS server on the loopback interface that a test scripts, and a reactor that a test turns."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from twisted.names import dns

from tests.support.loggers import Turns

# A record of a script: the kind, what it says, and its TTL.
Record = tuple[str, str, int]


class Readers(Turns):
    """Has readers, too."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.remove(reader)

    def read(self) -> None:
        """Let each reader read once."""
        for reader in list(self.readers):
            reader.doRead()


class NameServer:
    """Answers questions by a table, when it is told to."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        own: Any = bound.getsockname()
        self.address: tuple[str, int] = own[:2]
        self.records: dict[str, list[Record]] = {}
        self.rcode: int = dns.OK
        self.asked: list[str] = []

    def questions(self) -> list[tuple[Any, Any]]:
        """The questions that have come, each with where from."""
        found: list[tuple[Any, Any]] = []
        while True:
            try:
                datagram, sender = self._socket.recvfrom(4096)
            except BlockingIOError:
                return found
            message: Any = dns.Message()
            message.fromStr(datagram)
            self.asked.append(str(message.queries[0].name))
            found.append((message, sender))

    def answer(self) -> int:
        """Answer the questions that have come; return how many there were."""
        questions = self.questions()
        for question, sender in questions:
            self._socket.sendto(self.reply(question).toStr(), sender)
        return len(questions)

    def send(self, datagram: bytes, to: Any) -> None:
        self._socket.sendto(datagram, to)

    def reply(self, question: Any) -> Any:
        """The answer to a question, by the table; what is not in it does not exist."""
        name = str(question.queries[0].name)
        message: Any = dns.Message(question.id, answer=1, rCode=self.rcode)
        message.queries = question.queries
        found = self.records.get(name, [])
        if not found and self.rcode == dns.OK:
            message.rCode = dns.ENAME
        message.answers = [_header(name, *record) for record in found]
        return message


def _header(name: str, kind: str, value: str, ttl: int) -> Any:
    make: dict[str, tuple[int, Any]] = {
        "A": (dns.A, dns.Record_A),
        "AAAA": (dns.AAAA, dns.Record_AAAA),
        "PTR": (dns.PTR, dns.Record_PTR),
        "CNAME": (dns.CNAME, dns.Record_CNAME),
    }
    number, record = make[kind]
    # As bytes, a name may be anything.
    said = value if kind in ("A", "AAAA") else value.encode()
    return dns.RRHeader(name.encode(), number, ttl=ttl, payload=record(said, ttl))


@contextmanager
def nameserver(address: str = "127.0.0.1") -> Iterator[NameServer]:
    """A server on a free port."""
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bound:
        bound.bind((address, 0))
        yield NameServer(bound)
