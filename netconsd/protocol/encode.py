"""Builds datagrams as kernels do (docs/wire sections 2 to 5), for tests and for the tools that send datagrams."""

from __future__ import annotations

from collections.abc import Mapping

from netconsd.protocol.body import escape

__all__ = ["CHUNK", "escape", "extended", "fragments", "legacy", "octets"]

# MAX_PRINT_CHUNK of the kernel's netconsole.
CHUNK = 1000


def legacy(
    text: str | bytes,
    *,
    ts_usec: int | None = None,
    level: int | None = None,
    facility: int = 0,
    caller: str | None = None,
) -> bytes:
    """Return a legacy datagram with one record; each line of ``text`` has the prefix, as from a kernel."""
    prefix = b""
    if level is not None:
        prefix += b"<%d>" % (facility << 3 | level)
    if ts_usec is not None:
        prefix += b"[%5d.%06d]" % divmod(ts_usec, 1_000_000)
    if caller is not None:
        prefix += b"[%6s]" % caller.encode()
    if ts_usec is not None or caller is not None:
        prefix += b" "
    return b"".join(prefix + line + b"\n" for line in octets(text).split(b"\n"))


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
    """Return an extended datagram of any length; :func:`fragments` splits it as a kernel does.

    :param release: the release in the header (``netconsole=+r...``); ``sysrelease`` is the one in the body.
    """
    header = f"{facility << 3 | level},{seq},{ts_usec},{flag}"
    if release is not None:
        header = f"{release},{header}"
    if caller is not None:
        header += f",caller={caller}"
    body = escape(octets(text)) + b"\n"
    for key, value in (dictionary or {}).items():
        body += b" %b=%b\n" % (escape(octets(key)), escape(octets(value)))
    for key, value in (userdata or {}).items():
        body += b" %b=%b\n" % (octets(key), octets(value))
    sysdata = {"cpu": cpu, "taskname": taskname, "release": sysrelease, "msgid": msgid}
    for key, datum in sysdata.items():
        if datum is not None:
            body += b" %b=%b\n" % (key.encode(), octets(str(datum)))
    return header.encode() + b";" + body


def fragments(datagram: bytes, size: int = CHUNK) -> list[bytes]:
    """Split an extended datagram into fragments of at most ``size`` bytes. A datagram that fits is returned alone.

    :raises ValueError: for a longer datagram without a header, or if the header leaves no room for the body.
    """
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
            raise ValueError(f"no room for a body in {size} bytes after a header of {len(head)}")
        pieces.append(head + body[offset : offset + room])
        offset += room
    return pieces


def octets(text: str | bytes) -> bytes:
    """Return a text in UTF-8, and bytes unchanged."""
    return text.encode() if isinstance(text, str) else text
