"""Reverse DNS that can be believed: a name counts only if it leads back to the address (as RFC 8501 section 4 has it).

Whoever holds an address decides what its PTR record says, so he can claim any name; what A or AAAA records of that
name say, he cannot decide. The codec is Twisted's, its resolver is not used: cancelled, it leaves timers behind, it
logs each port that it opens and what strangers send there, and after a truncated answer it keeps a TCP connection.
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

from netconsd.logger.hostnames import Found
from netconsd.logger.template import host_name

__all__ = ["ReverseDns", "nameservers"]

# Seconds that each server has, in the first and in the second round.
ROUNDS: Final = (2.0, 4.0)
# Lookups at a time, each with one socket; the others wait. As many as the workers' questions together
# (hostnames.ASKED_LIMIT each) would be too many descriptors.
AT_A_TIME: Final = 32
# Names tried of an address that has several; a stranger's answer may have hundreds.
NAMES_TRIED: Final = 4
# Seconds that an answer is believed, whatever its TTL: a zero must not make us ask with each batch, nor a stranger's
# two billion make a name eternal.
LEAST_SECONDS: Final = 300.0
MOST_SECONDS: Final = 86400.0
# As glibc (MAXNS in resolv.h).
MOST_SERVERS: Final = 3
# Without EDNS, which we do not ask for, an answer has 512 bytes at most (RFC 1035); some servers send more.
MOST_BYTES: Final = 4096

Server = tuple[str, int]


def nameservers(resolv_conf: str) -> list[Server]:
    """Read the servers from the text of a resolv.conf(5); without any, the machine itself."""
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
    """No server gave an answer that says yes or no."""


class ReverseDns:
    """Finds the names of addresses. For the reactor's thread."""

    def __init__(self, servers: Sequence[Server], reactor: Any) -> None:
        """
        :param servers: addresses and ports; the second is asked if the first does not answer, and so on.
        :param reactor: reads the answers and keeps the time.
        """
        #: May be set to others.
        self.servers = servers
        self._reactor = reactor
        self._semaphore = DeferredSemaphore(AT_A_TIME)
        self._running: set[Deferred[None]] = set()
        self._stopped = False

    def ask(self, address: str, answered: Callable[[str, Found | None], object]) -> None:
        """Find the name of an address.

        :param answered: called with the address and what was found, or None if no server could tell.
        """
        if self._stopped:
            answered(address, None)
            return
        lookup = self._semaphore.run(lambda: Deferred.fromCoroutine(self._look_up(address, answered)))
        self._running.add(lookup)
        lookup.addErrback(lambda failure: failure.trap(CancelledError))
        lookup.addBoth(lambda _: self._running.discard(lookup))

    def stop(self) -> None:
        """Give up all lookups and close their sockets; further questions get None."""
        self._stopped = True
        for lookup in list(self._running):
            lookup.cancel()

    async def _look_up(self, address: str, answered: Callable[[str, Found | None], object]) -> None:
        found = None
        try:
            found = await self.find(address)
        except _Unanswered:
            pass
        finally:
            answered(address, found)

    async def find(self, address: str) -> Found:
        """Return the first name of the address that leads back to it."""
        packed = ip_address(address)
        pointers = await self._query(packed.reverse_pointer, dns.PTR)
        seconds = LEAST_SECONDS
        for pointer in pointers[:NAMES_TRIED]:
            name = host_name(pointer.payload.name.name.decode("ascii", "replace"))
            if name is None:
                continue
            addresses = await self._query(name, dns.A if packed.version == 4 else dns.AAAA)
            if any(record.payload.address == packed.packed for record in addresses):
                seconds = min([pointer.ttl, *(record.ttl for record in addresses)])
                return Found(name, min(max(seconds, LEAST_SECONDS), MOST_SECONDS))
        return Found(None, seconds)

    async def _query(self, name: str, kind: int) -> list[Any]:
        for seconds in ROUNDS:
            for server in self.servers:
                try:
                    message = await self._exchange(server, dns.Query(name.encode(), kind), seconds)
                except OSError:  # TimeoutError is one, too
                    continue
                if message.rCode == dns.ENAME:
                    return []
                if message.rCode == dns.OK:
                    # A truncated answer has what fitted, and more than that nobody needs.
                    return [record for record in message.answers if record.type == kind]
        raise _Unanswered

    async def _exchange(self, server: Server, query: dns.Query, seconds: float) -> dns.Message:
        answer: Deferred[dns.Message] = Deferred()
        exchange = _Exchange(server, query, answer)
        late = self._reactor.callLater(seconds, exchange.fail, TimeoutError())
        self._reactor.addReader(exchange)
        try:
            return await answer
        finally:
            if late.active():
                late.cancel()
            self._reactor.removeReader(exchange)
            exchange.close()


@implementer(IReadDescriptor)
class _Exchange:
    """One question to one server; what is not its answer is left alone.

    Not a port of Twisted's, which logs that it opens and that it closes, for each question.
    """

    def __init__(self, server: Server, query: dns.Query, answer: Deferred[dns.Message]) -> None:
        """:raises OSError: if the question cannot be sent."""
        self._query = query
        self._answer = answer
        self._id = secrets.randbits(16)
        question = dns.Message(self._id, recDes=1)
        question.queries = [query]
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            # The kernel chooses a port at random, and from here on takes nothing from anybody else.
            self._socket.connect(server)
            self._socket.send(question.toStr())
        except BaseException:
            self._socket.close()
            raise

    def fail(self, error: Exception) -> None:
        """End it, if it has not ended."""
        if not self._answer.called:
            self._answer.errback(error)

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "netconsd"

    def connectionLost(self, reason: Any) -> None:
        """Called when the reactor lets go of it."""

    def doRead(self) -> None:
        """Take one datagram; raises nothing."""
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
            # The codec raises whatever comes to its mind. A forger guesses on; the answer, or the time limit, ends it.
            return
        if message.id == self._id and message.answer and message.queries == [self._query] and not self._answer.called:
            self._answer.callback(message)
