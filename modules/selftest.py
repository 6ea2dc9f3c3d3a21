"""Sends known messages to the daemon's own port, and logs whether all of them reach the modules intact.

At the start, and on SIGHUP. The messages pass the kernel's buffer, a worker and its table of senders, as those of any
machine do. Other modules also receive them.
"""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from time import monotonic
from typing import Any, Final, Literal

from twisted.internet.defer import Deferred
from twisted.logger import Logger as Log
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule, IListening, IReloadable
from netconsd.message import Message, Source
from netconsd.protocol.message import MAPPED_IPV4
from netconsd.send.probe import ProbeMessage, discrepancies, is_last, probe_messages

# The errors of a machine without IPv6, or with IPv6 disabled.
NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENETUNREACH)
# The destination that reaches a daemon on all addresses of a family.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}

log = Log("netconsd.selftest")


@implementer(IBatchOutputModule, IListening, IReloadable)
class Selftest:
    """Compares the messages of its own sockets with those sent. While no test runs, a batch costs one comparison."""

    def __init__(self, *, on_failure: Literal["log", "exit"], timeout: float = 5.0) -> None:
        """
        :param on_failure: the effect of a failure at the start: ``exit`` ends the daemon with status 1, and the start
            waits for the test; ``log`` only logs the failure.
        :param timeout: seconds until missing messages are a failure.
        :raises ValueError: if ``timeout`` is not above 0 and at most an hour.
        """
        if not 0 < timeout <= 3600:
            raise ValueError(f"timeout: {timeout:g} is not above 0 and at most 3600 seconds")
        self._exit = on_failure == "exit"
        self._timeout = timeout
        self._addresses: Sequence[tuple[str, int]] = ()
        self._run: _Run | None = None
        #: Twisted's reactor by default; set at the start.
        self.reactor: Any = None

    def start(self, worker_count: int) -> None:
        """Start nothing: the port is not open yet."""
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor

    def listening(self, addresses: Sequence[tuple[str, int]]) -> Deferred[None] | None:
        """Start a test.

        :returns: with ``exit``, a Deferred that fails with RuntimeError if the test fails.
        """
        self._addresses = addresses
        test = self._test()
        return test.addCallback(_raise) if self._exit else None

    def reload(self) -> None:
        """Start another test, unless one is running; a failure is only logged."""
        if self._run is None:
            self._test()

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Keep the messages of the running test."""
        run = self._run
        if run is not None and run.take(messages):
            self.reactor.callFromThread(self._end, run)

    def stop(self) -> None:
        """End a running test; its missing messages are a failure."""
        if self._run is not None:
            self._end(self._run)

    def _test(self) -> Deferred[list[str]]:
        self._run = run = _Run(self._addresses)
        run.timeout = self.reactor.callLater(self._timeout, self._end, run)
        # Only now, because workers may receive the first message at once.
        run.send()
        if not run.trials:
            self._end(run)
        return run.done

    def _end(self, run: _Run) -> None:
        if run is not self._run:
            return
        self._run = None
        if run.timeout.active():
            run.timeout.cancel()
        failures = run.end()
        for failure in failures:
            log.error("selftest: {failure}", failure=failure)
        if not failures:
            log.info("selftest: {summary}", summary=run.summary())
        run.done.callback(failures)


def _raise(failures: list[str]) -> None:
    if failures:
        raise RuntimeError("; ".join(failures))


class _Trial:
    """The messages of one socket. The worker's thread writes ``received`` and ``ended``, the reactor's reads both."""

    def __init__(self, family: str, sender: socket.socket) -> None:
        self.family = family
        self.sender = sender
        # Messages of other senders do not count: the kernel gives this port to no other socket.
        own: Any = sender.getsockname()
        packed = ip_address(own[0].partition("%")[0]).packed
        self.key = Source(packed if len(packed) == 16 else MAPPED_IPV4 + packed, *own[1::2]).key
        self.received: list[Message] = []
        self.ended = False


class _Run:
    """One test over all addresses."""

    def __init__(self, addresses: Sequence[tuple[str, int]]) -> None:
        self.done: Deferred[list[str]] = Deferred()
        self.timeout: Any = None
        self.trials: dict[bytes, _Trial] = {}
        self._token = secrets.token_hex(4)
        self._begin = monotonic()
        self._sent: tuple[ProbeMessage, ...] = probe_messages(self._token, int(self._begin * 1_000_000))
        self._failures: list[str] = []
        self._notes: list[str] = []
        for address, port in addresses:
            target = _LOOPBACK.get(address, address)
            family = _family(target, [listened for listened, _ in addresses])
            try:
                trial = _Trial(family, _connected(target, port))
            except OSError as error:
                if error.errno in NO_FAMILY and address == "::" and len(addresses) > 1:
                    self._notes.append(f"{family} was not tested, because this machine does not have it")
                else:
                    self._failures.append(f"{family}: cannot send to {target}: {error.strerror}")
            else:
                self.trials[trial.key] = trial

    def send(self) -> None:
        """Send all messages from each socket."""
        for trial in self.trials.values():
            for message in self._sent:
                for datagram in message.datagrams:
                    try:
                        trial.sender.send(datagram)
                    except OSError as error:
                        # ECONNREFUSED: no socket listens; the kernel reports it for the previous datagram.
                        self._failures.append(f"{trial.family}: {message.name} cannot be sent: {error.strerror}")

    def take(self, messages: Sequence[Message]) -> bool:
        """Keep the messages of this test; return whether the last one of each socket arrived. A worker's thread."""
        last = False
        for message in messages:
            trial = self.trials.get(message.source.key)
            if trial is not None:
                trial.received.append(message)
                if is_last(message, self._token):
                    trial.ended = last = True
        return last and all(trial.ended for trial in self.trials.values())

    def end(self) -> list[str]:
        """Close the sockets and return the failures, one text each."""
        self.took = monotonic() - self._begin
        for trial in self.trials.values():
            trial.sender.close()
            self._failures += [
                f"{trial.family}: {fault}" for fault in discrepancies(self._sent, trial.received, self._token)
            ]
        return self._failures

    def summary(self) -> str:
        """Return the log line of a test that passed."""
        families = " and ".join(trial.family for trial in self.trials.values())
        count = len(self._sent) * len(self.trials)
        notes = "".join(f"; {note}" for note in self._notes)
        return f"{count} messages over {families} arrived intact in {self.took * 1000:.0f} ms{notes}"


def _family(target: str, addresses: Sequence[str]) -> str:
    """Return ``IPv4`` or ``IPv6``, with the address if several addresses are of that family."""
    version = 6 if ":" in target else 4
    is_only = sum((":" in address) == (version == 6) for address in addresses) == 1
    return f"IPv{version}" if is_only else f"IPv{version} ({target})"


def _connected(target: str, port: int) -> socket.socket:
    family, kind, _, _, destination = socket.getaddrinfo(
        target, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
    )[0]
    sender = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sender.connect(destination)
    except BaseException:
        sender.close()
        raise
    return sender
