"""What authors of modules and embedding programs need in their tests: a module that records, datagrams, messages.

The datagrams are built as kernels build them (docs/wire sections 2 to 5), so that a test can say what a machine logged
and see what an output makes of it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from zope.interface import implementer

from netconsd.interfaces import IOutputModule
from netconsd.message import MAPPED_IPV4, ExtendedMessage, LegacyMessage, Message, Source
from netconsd.wire import decode

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

# MAX_PRINT_CHUNK of the kernel's netconsole.
CHUNK = 1000


@dataclass(frozen=True)
class Call:
    """One call of ``handle``."""

    worker: int
    #: ``threading.get_ident()`` of the thread that called.
    thread: int
    message: Message


@implementer(IOutputModule)
class RecordingModule:
    """An output module that keeps what it gets. Lists are appended to by the workers' threads."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        #: What ``start`` was called with; None before.
        self.worker_count: int | None = None
        self.stopped = False

    @property
    def messages(self) -> list[Message]:
        """The messages of all calls so far."""
        return [call.message for call in self.calls]

    def start(self, worker_count: int) -> None:
        self.worker_count = worker_count

    def handle(self, worker: int, message: Message) -> None:
        self.calls.append(Call(worker, threading.get_ident(), message))

    def stop(self) -> None:
        self.stopped = True


def source(address: str = "192.0.2.1", port: int = 6665) -> Source:
    """A sender."""
    packed = ip_address(address).packed
    return Source(packed if len(packed) == 16 else MAPPED_IPV4 + packed, port)


def legacy(
    text: str | bytes,
    *,
    ts_usec: int | None = None,
    level: int | None = None,
    facility: int = 0,
    caller: str | None = None,
) -> bytes:
    """A legacy datagram with one record; each line of ``text`` has the prefix, as from a kernel."""
    prefix = b""
    if level is not None:
        prefix += b"<%d>" % (facility << 3 | level)
    if ts_usec is not None:
        prefix += b"[%5d.%06d]" % divmod(ts_usec, 1_000_000)
    if caller is not None:
        prefix += b"[%6s]" % caller.encode()
    if ts_usec is not None or caller is not None:
        prefix += b" "
    return b"".join(prefix + line + b"\n" for line in _octets(text).split(b"\n"))


def extended(
    text: str | bytes,
    *,
    seq: int = 1,
    ts_usec: int = 1_000_000,
    level: int = 6,
    facility: int = 0,
    flag: str = "-",
    release: str | None = None,
    caller: str | None = None,
    dictionary: Mapping[str, str] | None = None,
    userdata: Mapping[str, str] | None = None,
    cpu: int | None = None,
    taskname: str | None = None,
    sysrelease: str | None = None,
    msgid: int | None = None,
) -> bytes:
    """An extended datagram; :func:`fragments` cuts it as a kernel does, if it is too long for one.

    :param release: the release in the header (``netconsole=+r...``); ``sysrelease`` is the one in the body.
    """
    header = f"{facility << 3 | level},{seq},{ts_usec},{flag}"
    if release is not None:
        header = f"{release},{header}"
    if caller is not None:
        header += f",caller={caller}"
    body = escape(_octets(text)) + b"\n"
    for key, value in (dictionary or {}).items():
        body += b" %b=%b\n" % (escape(_octets(key)), escape(_octets(value)))
    for key, value in (userdata or {}).items():
        body += b" %b=%b\n" % (_octets(key), _octets(value))
    sysdata = {"cpu": cpu, "taskname": taskname, "release": sysrelease, "msgid": msgid}
    for key, given in sysdata.items():
        if given is not None:
            body += b" %b=%b\n" % (key.encode(), _octets(str(given)))
    return header.encode() + b";" + body


def fragments(datagram: bytes, size: int = CHUNK) -> list[bytes]:
    """The datagrams of at most ``size`` bytes that an extended one is sent as; itself alone if it fits."""
    if len(datagram) <= size:
        return [datagram]
    header, semicolon, body = datagram.partition(b";")
    if not semicolon:
        raise ValueError("not an extended datagram: it has no header")
    pieces = []
    offset = 0
    while offset < len(body):
        head = b"%b,ncfrag=%d/%d;" % (header, offset, len(body))
        room = size - len(head)
        if room < 1:
            raise ValueError(f"no room for a body in {size} bytes behind a header of {len(head)}")
        pieces.append(head + body[offset : offset + room])
        offset += room
    return pieces


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
    **fields: Any,
) -> ExtendedMessage:
    """A message as modules get it; ``fields`` are those of :func:`extended`."""
    message = decode(extended(text, **fields), source(address, port), received_at)
    assert isinstance(message, ExtendedMessage)
    _, state = message.__reduce__()
    marks = replayed, emergency, incomplete, seq_reset, out_of_order, missing, -1 if lost is None else lost
    state = (*state[: -len(marks)], *marks)
    return ExtendedMessage(*state)


def legacy_message(
    line: str | bytes, *, address: str = "192.0.2.1", port: int = 6665, received_at: float = 0.0
) -> LegacyMessage:
    """A message as modules get it, from a line with or without its newline."""
    return LegacyMessage(source(address, port), received_at, _octets(line).removesuffix(b"\n") + b"\n")


def escape(data: bytes) -> bytes:
    """Escape as the kernel does: below 0x20, from 0x7f up, and the backslash."""
    return b"".join(
        b"\\x%02x" % octet if octet < 0x20 or octet >= 0x7F or octet == 0x5C else bytes((octet,)) for octet in data
    )


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
