"""Sends known messages to the daemon's own port, and says whether they come through every stage intact.

At the start, and on SIGHUP. The messages go through the kernel's buffer, a worker and its table of senders, like those
of any machine; other modules get them, too.
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
from netconsd.protocol.message import MAPPED_IPV4, Message, Source
from netconsd.send.probe import ProbeMessage, discrepancies, is_last, probe_messages

# A machine without IPv6, or with all of it switched off.
NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENETUNREACH)
# Where to send, to reach a daemon that listens on all of a family.
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}

log = Log("netconsd.selftest")


@implementer(IBatchOutputModule, IListening, IReloadable)
class Selftest:
    """Keeps only what its own sockets sent; of any other message it costs a look at whether a test is under way."""

    def __init__(self, *, on_failure: Literal["log", "exit"], timeout: float = 5.0) -> None:
        """
        :param on_failure: what a failure of the test at the start does: ``exit`` ends the daemon with status 1, and
            what waits for its start waits for the test; ``log`` is content to say it.
        :param timeout: seconds that the messages have.
        :raises ValueError: if ``timeout`` is not above 0 and at most an hour.
        """
        if not 0 < timeout <= 3600:
            raise ValueError(f"timeout: {timeout:g} is not above 0 and at most 3600 seconds")
        self._exit = on_failure == "exit"
        self._timeout = timeout
        self._addresses: Sequence[tuple[str, int]] = ()
        self._run: _Run | None = None
        #: By default the installed one, from the start on.
        self.reactor: Any = None

    def start(self, worker_count: int) -> None:
        """Nothing: there is no port yet."""
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor

    def listening(self, addresses: Sequence[tuple[str, int]]) -> Deferred[None] | None:
        """Test.

        :returns: with ``exit``, a Deferred that fails with RuntimeError if the test does.
        """
        self._addresses = addresses
        tested = self._test()
        return tested.addCallback(_raise) if self._exit else None

    def reload(self) -> None:
        """Test again, unless a test is under way; a failure ends nothing."""
        if self._run is None:
            self._test()

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Keep the messages of the test that is under way."""
        run = self._run
        if run is not None and run.take(messages):
            self.reactor.callFromThread(self._end, run)

    def stop(self) -> None:
        """End a test that is under way; what is missing did not come."""
        if self._run is not None:
            self._end(self._run)

    def _test(self) -> Deferred[list[str]]:
        self._run = run = _Run(self._addresses)
        run.late = self.reactor.callLater(self._timeout, self._end, run)
        # Known before the first one is sent, as workers may have it at once.
        run.send()
        if not run.trials:
            self._end(run)
        return run.done

    def _end(self, run: _Run) -> None:
        if run is not self._run:
            return
        self._run = None
        if run.late.active():
            run.late.cancel()
        found = run.end()
        for fault in found:
            log.error("selftest: {fault}", fault=fault)
        if not found:
            log.info("selftest: {words}", words=run.words())
        run.done.callback(found)


def _raise(found: list[str]) -> None:
    if found:
        raise RuntimeError("; ".join(found))


class _Trial:
    """The messages of one socket. The worker's thread adds to ``got`` and sets ``ended``, the reactor's reads them."""

    def __init__(self, family: str, sender: socket.socket) -> None:
        self.family = family
        self.sender = sender
        # Only what comes from here counts: the socket is connected, and the kernel gives its port to nobody else.
        own: Any = sender.getsockname()
        packed = ip_address(own[0].partition("%")[0]).packed
        self.key = Source(packed if len(packed) == 16 else MAPPED_IPV4 + packed, own[1]).key
        self.got: list[Message] = []
        self.ended = False


class _Run:
    """One test."""

    def __init__(self, addresses: Sequence[tuple[str, int]]) -> None:
        self.done: Deferred[list[str]] = Deferred()
        self.late: Any = None
        self.trials: dict[bytes, _Trial] = {}
        self._token = secrets.token_hex(4)
        self._begin = monotonic()
        self._sent: tuple[ProbeMessage, ...] = probe_messages(self._token, int(self._begin * 1_000_000))
        self._faults: list[str] = []
        self._notes: list[str] = []
        for address, port in addresses:
            target = _EVERYWHERE.get(address, address)
            family = _family(target, [other for other, _ in addresses])
            try:
                trial = _Trial(family, _connected(target, port))
            except OSError as error:
                if error.errno in NO_FAMILY and address == "::" and len(addresses) > 1:
                    self._notes.append(f"not over {family}, which this machine does not have")
                else:
                    self._faults.append(f"{family}: cannot send to {target}: {error.strerror}")
            else:
                self.trials[trial.key] = trial

    def send(self) -> None:
        for trial in self.trials.values():
            for message in self._sent:
                for datagram in message.datagrams:
                    try:
                        trial.sender.send(datagram)
                    except OSError as error:
                        # Refused: nobody listens; that is said for the message that was sent before this one.
                        self._faults.append(f"{trial.family}: {message.name} cannot be sent: {error.strerror}")

    def take(self, messages: Sequence[Message]) -> bool:
        """Keep what is ours, in a worker's thread; tell whether nothing more is to come."""
        last = False
        for message in messages:
            trial = self.trials.get(message.source.key)
            if trial is not None:
                trial.got.append(message)
                if is_last(message, self._token):
                    trial.ended = last = True
        return last and all(trial.ended for trial in self.trials.values())

    def end(self) -> list[str]:
        """Close the sockets and say what is wrong."""
        self.took = monotonic() - self._begin
        for trial in self.trials.values():
            trial.sender.close()
            self._faults += [f"{trial.family}: {fault}" for fault in discrepancies(self._sent, trial.got, self._token)]
        return self._faults

    def words(self) -> str:
        """What there is to say if nothing is wrong."""
        families = " and ".join(trial.family for trial in self.trials.values())
        count = len(self._sent) * len(self.trials)
        notes = "".join(f"; {note}" for note in self._notes)
        return f"{count} messages over {families} came through intact in {self.took * 1000:.0f} ms{notes}"


def _family(target: str, all_of_them: Sequence[str]) -> str:
    """What to call a destination: the address as well where there are several of a family."""
    version = 6 if ":" in target else 4
    alone = sum((":" in other) == (version == 6) for other in all_of_them) == 1
    return f"IPv{version}" if alone else f"IPv{version} ({target})"


def _connected(target: str, port: int) -> socket.socket:
    family, kind, _, _, where = socket.getaddrinfo(target, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
    sender = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sender.connect(where)
    except BaseException:
        sender.close()
        raise
    return sender
