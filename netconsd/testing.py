"""Test helpers for output modules and embedding programs: messages, datagrams, crashes, and a module that records all.

The datagrams are built as kernels build them (:mod:`netconsd.protocol.encode`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from zope.interface import implementer

from netconsd.crash.event import Event
from netconsd.crash.report import Report
from netconsd.interfaces import IEventModule, IOutputModule, IReportModule
from netconsd.protocol.decode import decode
from netconsd.protocol.encode import escape, extended, fragments, legacy, octets
from netconsd.protocol.message import MAPPED_IPV4, ExtendedMessage, LegacyMessage, Message, Source
from netconsd.receive.sockets import scope_of

__all__ = [
    "CRASH",
    "Call",
    "RecordingModule",
    "crash_datagrams",
    "crash_report",
    "escape",
    "event",
    "extended",
    "extended_message",
    "fragments",
    "legacy",
    "legacy_message",
    "source",
]


#: The lines of a crash of Linux 6.12, without the registers: an oops that ends a task.
CRASH = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "#PF: supervisor read access in kernel mode",
    "#PF: error_code(0x0000) - not-present page",
    "PGD 0 P4D 0 ",
    "Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI",
    "CPU: 1 UID: 0 PID: 417 Comm: reader Not tainted 6.12.0 #1",
    "Hardware name: Example Corp. Model 7/Board 7, BIOS 1.2 01/02/2026",
    "RIP: 0010:widget_read+0x1c/0x60 [widget]",
    "Call Trace:",
    " <TASK>",
    " ? __die_body.cold+0x19/0x27",
    " ? page_fault_oops+0x15c/0x2e0",
    " widget_ioctl+0x44/0x90 [widget]",
    " vfs_ioctl+0x1f/0x30",
    " __x64_sys_ioctl+0x93/0xd0",
    " do_syscall_64+0x82/0x190",
    " entry_SYSCALL_64_after_hwframe+0x76/0x7e",
    " </TASK>",
    "Modules linked in: widget netconsole",
    "CR2: 0000000000000008",
    "---[ end trace 0000000000000000 ]---",
)


@dataclass(frozen=True)
class Call:
    """One call of a module's ``handle``."""

    worker: int
    #: ``threading.get_ident()`` of the calling thread.
    thread: int
    message: Message


@implementer(IOutputModule, IReportModule, IEventModule)
class RecordingModule:
    """An output module that keeps its messages, reports and events. The workers' threads append to its lists."""

    def __init__(self, *, reports: bool = True, events: bool = True) -> None:
        """:param reports: whether crash reports are taken; ``events`` likewise."""
        self.calls: list[Call] = []
        self.reports: list[Report] = []
        self.events: list[Event] = []
        self.wants_reports = reports
        self.wants_events = events
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

    def handle_report(self, worker: int, report: Report) -> None:
        self.reports.append(report)

    def handle_event(self, worker: int, event: Event) -> None:
        self.events.append(event)

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


def crash_datagrams(
    lines: Sequence[str] = CRASH, *, seq: int = 1000, ts_usec: int = 12_345_678, **fields: Any
) -> list[bytes]:
    """Return the datagrams that a kernel sends for the lines of a crash, 100 us apart, all of one caller.

    :param fields: further parameters of :func:`extended`, such as ``release``.
    """
    shared = {"level": 1, "caller": "T417", **fields}
    return [
        extended(line, seq=seq + index, ts_usec=ts_usec + 100 * index, **shared) for index, line in enumerate(lines)
    ]


def crash_report(
    title: str = "BUG: unable to handle kernel NULL pointer dereference in widget_read",
    *,
    kind: str = "memory-fault",
    severity: str = "degraded",
    address: str = "192.0.2.1",
    port: int = 6665,
    received_at: float = 0.0,
    lines: Sequence[str] = CRASH,
    **fields: Any,
) -> Report:
    """Return a crash report as output modules receive it.

    :param lines: the texts of its messages.
    :param fields: further fields of :class:`netconsd.crashes.Report`.
    """
    messages = [
        extended_message(line, address=address, port=port, received_at=received_at, seq=1000 + index, level=1)
        for index, line in enumerate(lines)
    ]
    shared: dict[str, Any] = {"source": source(address, port), "messages": tuple(messages), **fields}
    return Report(title, kind, severity, received_at=received_at, **shared)


def event(
    kind: str = "rebooted",
    text: str = "rebooted; nothing announced it",
    *,
    address: str = "192.0.2.1",
    port: int = 6665,
    received_at: float = 0.0,
    **details: str | float,
) -> Event:
    """Return an event as output modules receive it, without a message."""
    return Event(kind, source(address, port), received_at, text, None, details)
