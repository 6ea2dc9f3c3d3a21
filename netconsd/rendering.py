"""Messages as lines for people: what the shipped outputs write, for other modules to use.

All that comes from the network is untrusted, down to the release and the caller. What these functions return holds
nothing that a terminal, a log line or a file acts upon; whoever writes ``message.text`` without them has to see to
that by other means.
"""

from __future__ import annotations

from socket import AF_INET6, inet_ntop
from typing import Final

from netconsd.protocol.body import readable
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.translation import Characters

__all__ = ["LEVELS", "LEVEL_COLUMN", "marks", "netconsd_line", "printable", "uptime"]

LEVELS: Final = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
"""The log levels in words, by number: those that ``dmesg --decode`` uses, at most six letters."""

LEVEL_COLUMN: Final[dict[int | None, str]] = {None: "-     ", **dict(enumerate(f"{word:<6}" for word in LEVELS))}
"""The levels in a column of six; ``-`` for a sender that did not say."""


def printable(text: str) -> str:
    """Return the text as one line that holds nothing but printable characters.

    What could move a cursor, change a colour, end a line or turn the direction of writing is shown as an escape,
    ``\\x1b`` or ``\\u202e``: all that :meth:`str.isprintable` refuses, which is control and format characters,
    line and paragraph separators, lone surrogates, spaces other than the common one, and what Unicode has not
    assigned. A tab becomes spaces up to the next eighth column. A backslash stays as it is, so the way back is not
    unique. The result can be encoded in UTF-8, and is at most ten times as long.
    """
    if text.isprintable():
        return text
    text = text.expandtabs()
    return text if text.isprintable() else _VISIBLE.show(text)


def _visible(code: int) -> str:
    character = chr(code)
    if character.isprintable():
        return character
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


_VISIBLE: Final = Characters(_visible)


def uptime(ts_usec: int | None) -> str:
    """Return the time since the sender booted as the kernel prints it, ``[   12.345678]``.

    14 characters, more from the 100,000th second on; ``[           -]`` for a sender that did not say.
    """
    if ts_usec is None:
        return "[           -]"
    if ts_usec < 1_000_000:
        return f"[    0.{ts_usec:06d}]"
    # Half the cost of formatting two numbers.
    digits = str(ts_usec).rjust(11)
    return f"[{digits[:-6]}.{digits[-6:]}]"


def marks(message: Message) -> str:
    """Return what a person should know before reading the text, each part ended by a space; mostly nothing.

    - ``[start]``: the first message of a sender, or the sender restarted: its sequence numbers begin anew;
    - ``[3 lost before]``: that many messages were lost just before this one;
    - ``[again]``: the sender says that it sent this message before;
    - ``[late]``: out of order, it came after its place had been given up;
    - ``[incomplete]``: fragments of it were lost, the text says where.
    """
    if not isinstance(message, ExtendedMessage):
        return ""
    found = "[start] " if message.seq_reset else ""
    if message.lost:
        found += f"[{message.lost} lost before] "
    if message.replayed:
        found += "[again] "
    if message.out_of_order:
        found += "[late] "
    if message.incomplete:
        found += "[incomplete] "
    return found


def netconsd_line(message: Message) -> str:
    """Return the message as the printer of the C netconsd prints it, made :func:`printable`, without a newline.

    The address stands in 40 columns, IPv4 as ``::ffff:192.0.2.7``. An extended message follows as its release,
    sequence number, time since boot in microseconds, facility, level, marks and its text, still escaped; a legacy one
    as the line that came.
    """
    address = inet_ntop(AF_INET6, message.source.packed)
    # The text ends at the first newline; a NUL can stand in its place (docs/wire section 4).
    if not isinstance(message, ExtendedMessage):
        text = readable(message.raw.removesuffix(b"\n").rstrip(b"\0"))
        return printable(f"{address:>40}: {text}")
    text = readable(message.raw.partition(b"\n")[0].rstrip(b"\0"))
    flags = "[CONT] " if message.continuation else ""
    if message.out_of_order:
        flags += "[OOS] "
    if message.seq_reset:
        flags += "[SEQ RESET] "
    return printable(
        f"{address:>40}: {message.release or ''} S{message.seq:06d} T{message.ts_usec:014d}"
        f" F{message.facility}/L{message.level} {flags}{text}"
    )
