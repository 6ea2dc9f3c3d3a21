"""Reverse DNS with verification: a name counts only if it resolves to the address again (RFC 8501 section 4).

The holder of an address controls its PTR record and can claim any name, but does not control the A and AAAA records
of that name. The codec is Twisted's. Twisted's resolver is not used: a cancelled lookup leaves timers behind, each
opened port and each datagram of a stranger is logged, and a truncated answer leaves a TCP connection open.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReadDescriptor
from twisted.names import dns
from zope.interface import implementer

from netconsd.logger.hostnames import DnsName
from netconsd.logger.template import host_name

# Seconds to wait for each server, in the first and in the second round.
ROUNDS: Final = (2.0, 4.0)
# Lookups at a time, each with one socket; further ones are queued. The pending lookups of all workers together
# (hostnames.LOOKUPS_LIMIT each) would need too many descriptors.
AT_A_TIME: Final = 32
# PTR records tried per address. A hostile answer may have hundreds.
NAMES_TRIED: Final = 4
# Bounds of a TTL in seconds. A TTL of 0 would cause a lookup per batch, and one of 2**31 would keep a name for ever.
LEAST_SECONDS: Final = 300.0
MOST_SECONDS: Final = 86400.0
# As in glibc (MAXNS in resolv.h).
MOST_SERVERS: Final = 3
# Without EDNS, which we do not request, an answer has 512 bytes at most (RFC 1035); some servers send more.
MOST_BYTES: Final = 4096

Server = tuple[str, int]


def nameservers(resolv_conf: str) -> list[Server]:
    """Return the servers of the text of a resolv.conf(5); without any, 127.0.0.1."""
    servers = []
    for line in resolv_conf.split("\n"):
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                ip_address(words[1])
            except ValueError:
                continue
            servers.append((words[1], dns.PORT))
    return servers[:MOST_SERVERS] or [("127.0.0.1", dns.PORT)]


class _Unanswered(Exception):
    """No server returned an answer or NXDOMAIN."""


class ReverseDns:
    """Looks up the verified names of addresses. For the reactor's thread."""

    def __init__(self, servers: Sequence[Server], reactor: Any) -> None:
        """
        :param servers: addresses and ports, in the order in which they are queried.
        :param reactor: a reactor with readers and timers.
        """
        #: May be replaced at any time.
        self.servers = servers
        self._reactor = reactor
        self._semaphore = DeferredSemaphore(AT_A_TIME)
        self._lookups: set[Deferred[None]] = set()
        self._stopped = False

    def look_up(self, address: str, answered: Callable[[str, DnsName | None], object]) -> None:
        """Look up the name of an address.

        :param answered: called once with the address and the answer; None if no server answered.
        """
        if self._stopped:
            answered(address, None)
            return
        lookup = self._semaphore.run(lambda: Deferred.fromCoroutine(self._look_up(address, answered)))
        self._lookups.add(lookup)
        lookup.addErrback(lambda failure: failure.trap(CancelledError))
        lookup.addBoth(lambda _: self._lookups.discard(lookup))

    def stop(self) -> None:
        """Cancel all lookups and close their sockets; the answer to later lookups is None."""
        self._stopped = True
        for lookup in list(self._lookups):
            lookup.cancel()

    async def _look_up(self, address: str, answered: Callable[[str, DnsName | None], object]) -> None:
        answer = None
        try:
            answer = await self._verified_name(address)
        except _Unanswered:
            pass
        finally:
            answered(address, answer)

    async def _verified_name(self, address: str) -> DnsName:
        packed = ip_address(address)
        pointers = await self._query(packed.reverse_pointer, dns.PTR)
        for pointer in pointers[:NAMES_TRIED]:
            name = host_name(pointer.payload.name.name.decode("ascii", "replace"))
            if name is None:
                continue
            addresses = await self._query(name, dns.A if packed.version == 4 else dns.AAAA)
            if any(record.payload.address == packed.packed for record in addresses):
                seconds = min([pointer.ttl, *(record.ttl for record in addresses)])
                return DnsName(name, min(max(seconds, LEAST_SECONDS), MOST_SECONDS))
        return DnsName(None, LEAST_SECONDS)

    async def _query(self, name: str, kind: int) -> list[Any]:
        for seconds in ROUNDS:
            for server in self.servers:
                try:
                    message = await self._exchange(server, dns.Query(name.encode(), kind), seconds)
                except OSError:  # including TimeoutError
                    continue
                if message.rCode == dns.ENAME:
                    return []
                if message.rCode == dns.OK:
                    # The records of a truncated answer are enough.
                    return [record for record in message.answers if record.type == kind]
        raise _Unanswered

    async def _exchange(self, server: Server, query: dns.Query, seconds: float) -> dns.Message:
        answer: Deferred[dns.Message] = Deferred()
        exchange = _Exchange(server, query, answer)
        timeout = self._reactor.callLater(seconds, exchange.fail, TimeoutError())
        self._reactor.addReader(exchange)
        try:
            return await answer
        finally:
            if timeout.active():
                timeout.cancel()
            self._reactor.removeReader(exchange)
            exchange.close()


@implementer(IReadDescriptor)
class _Exchange:
    """One query to one server; datagrams that do not answer the query are ignored.

    Not a port of Twisted's, which logs its opening and its closing, per query.
    """

    def __init__(self, server: Server, query: dns.Query, answer: Deferred[dns.Message]) -> None:
        """:raises OSError: if the query cannot be sent."""
        self._query = query
        self._answer = answer
        self._id = secrets.randbits(16)
        message = dns.Message(self._id, recDes=1)
        message.queries = [query]
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            # The kernel chooses a random port, and delivers datagrams of this server only.
            self._socket.connect(server)
            self._socket.send(message.toStr())
        except BaseException:
            self._socket.close()
            raise

    def fail(self, error: Exception) -> None:
        """Fail the query, unless it is answered."""
        if not self._answer.called:
            self._answer.errback(error)

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "netconsd"

    def connectionLost(self, reason: Any) -> None:
        """Called when the reactor drops the reader."""

    def doRead(self) -> None:
        """Read one datagram; raises nothing."""
        try:
            datagram = self._socket.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(error)
            return
        message: Any = dns.Message()
        try:
            message.fromStr(datagram)
        except Exception:
            # The codec raises exceptions of any class. The wait goes on until the answer or the timeout.
            return
        if message.id == self._id and message.answer and message.queries == [self._query] and not self._answer.called:
            self._answer.callback(message)
