"""Test helpers for output modules and embedding programs: messages, datagrams, and a module that records its calls.

The datagrams are built as kernels build them (:mod:`netconsd.protocol.encode`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from zope.interface import implementer

from netconsd.interfaces import IOutputModule
from netconsd.protocol.decode import decode
from netconsd.protocol.encode import escape, extended, fragments, legacy, octets
from netconsd.protocol.message import MAPPED_IPV4, ExtendedMessage, LegacyMessage, Message, Source
from netconsd.receive.sockets import scope_of

__all__ = [
    "Call",
    "RecordingModule",
    "escape",
    "extended",
    "extended_message",
    "fragments",
    "legacy",
    "legacy_message",
    "source",
]


@dataclass(frozen=True)
class Call:
    """One call of a module's ``handle``."""

    worker: int
    #: ``threading.get_ident()`` of the calling thread.
    thread: int
    message: Message


@implementer(IOutputModule)
class RecordingModule:
    """An output module that keeps its messages. The workers' threads append to its lists."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        #: The argument of ``start``; None before the start.
        self.worker_count: int | None = None
        self.stopped = False

    @property
    def messages(self) -> list[Message]:
        """The messages of all calls until now."""
        return [call.message for call in self.calls]

    def start(self, worker_count: int) -> None:
        self.worker_count = worker_count

    def handle(self, worker: int, message: Message) -> None:
        self.calls.append(Call(worker, threading.get_ident(), message))

    def stop(self) -> None:
        self.stopped = True


def source(address: str = "192.0.2.1", port: int = 6665) -> Source:
    """Return a sender; a link-local address may have an interface, by name or number: ``fe80::1%eth0``."""
    packed = ip_address(address.partition("%")[0]).packed
    return Source(packed if len(packed) == 16 else MAPPED_IPV4 + packed, port, scope_of(address))


def extended_message(
    text: str | bytes,
    *,
    address: str = "192.0.2.1",
    port: int = 6665,
    received_at: float = 0.0,
    seq_reset: bool = False,
    out_of_order: bool = False,
    incomplete: bool = False,
    replayed: bool = False,
    emergency: bool = False,
    missing: int = 0,
    lost: int | None = None,
    likely_lost: int = 0,
    new: bool = False,
    boot: bool = False,
    limited: int = 0,
    **fields: Any,
) -> ExtendedMessage:
    """Return a message as output modules receive it.

    :param fields: the parameters of :func:`extended`; the named parameters are the marks of the message.
    """
    message = decode(extended(text, **fields), source(address, port), received_at)
    assert isinstance(message, ExtendedMessage)
    message._seq_reset = seq_reset
    message._out_of_order = out_of_order
    message._incomplete = incomplete
    message._replayed = replayed
    message._emergency = emergency
    message._missing = missing
    message._lost = -1 if lost is None else lost
    message._likely_lost = likely_lost
    message._new = new
    message._boot = boot
    message._limited = limited
    return message


def legacy_message(
    line: str | bytes, *, address: str = "192.0.2.1", port: int = 6665, received_at: float = 0.0
) -> LegacyMessage:
    """Return a message as output modules receive it, from a line with or without its newline."""
    return LegacyMessage(source(address, port), received_at, octets(line).removesuffix(b"\n") + b"\n")
