"""Renders messages as lines for people. The shipped outputs use these functions, and other modules can.

All data from the network is untrusted, even the release and the caller. The lines of these functions contain no
control characters, so that they are safe for terminals, logs and files. ``message.text`` itself can contain any
character.
"""

from __future__ import annotations

from socket import AF_INET6, inet_ntop
from typing import Final

from netconsd.protocol.body import readable, stray_lines
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.translation import Characters

__all__ = ["LEVELS", "LEVEL_COLUMN", "marks", "netconsd_line", "printable", "uptime"]

LEVELS: Final = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
"""The names of the log levels, by number, as in ``dmesg --decode``; at most six letters."""

LEVEL_COLUMN: Final[dict[int | None, str]] = {None: "-     ", **dict(enumerate(f"{word:<6}" for word in LEVELS))}
"""The names of the levels, padded to six characters; ``-`` for no level."""


def printable(text: str) -> str:
    """Return the text as one line of printable characters.

    Characters that can move a cursor, change a colour, end a line or change the direction of text become escapes,
    ``\\x1b`` or ``\\u202e``. These are the characters that :meth:`str.isprintable` rejects: control and format
    characters, line and paragraph separators, lone surrogates, spaces other than U+0020, and unassigned characters. A
    tab becomes spaces up to the next eighth column. A backslash stays, so that the text cannot be restored from the
    line. The line can be encoded in UTF-8, and has at most ten times the text's length.
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
    """Format the time since the sender booted like the kernel, ``[   12.345678]``, or ``[           -]`` for none.

    The result has 14 characters, and more from the 100,000th second on.
    """
    if ts_usec is None:
        return "[           -]"
    if ts_usec < 1_000_000:
        return f"[    0.{ts_usec:06d}]"
    # Half the cost of formatting two numbers.
    digits = str(ts_usec).rjust(11)
    return f"[{digits[:-6]}.{digits[-6:]}]"


def marks(message: Message) -> str:
    """Return the marks of a message, each followed by a space; empty for most messages.

    - ``[start]``: the sender's first message, or its first after a restart: the sequence starts again;
    - ``[3 lost before]``: 3 messages were lost just before this one;
    - ``[again]``: the sender marked the message as sent before;
    - ``[late]``: out of order, later messages were delivered before it;
    - ``[incomplete]``: fragments were lost; the text shows the places.
    """
    if not isinstance(message, ExtendedMessage):
        return ""
    shown = "[start] " if message.seq_reset else ""
    if message.lost:
        shown += f"[{message.lost} lost before] "
    if message.replayed:
        shown += "[again] "
    if message.out_of_order:
        shown += "[late] "
    if message.incomplete:
        shown += "[incomplete] "
    return shown


def netconsd_line(message: Message) -> str:
    """Return the line that the printer of the C netconsd prints, made :func:`printable`, without a newline.

    The address has 40 columns, with IPv4 as ``::ffff:192.0.2.7``. For an extended message, the release, sequence
    number, time since boot in microseconds, facility, level, marks and the text, still escaped, follow; for a legacy
    message, the received line.
    """
    address = inet_ntop(AF_INET6, message.source.packed)
    # The text ends at the first newline, or at a NUL in its place (docs/wire section 4).
    if not isinstance(message, ExtendedMessage):
        text = readable(message.raw.removesuffix(b"\n").rstrip(b"\0").removesuffix(b"\r"))
        return printable(f"{address:>40}: {text}")
    first = message.raw.partition(b"\n")[0].rstrip(b"\0").removesuffix(b"\r")
    text = readable(b"\n".join([first, *stray_lines(message.raw)]))
    flags = "[CONT] " if message.continuation else ""
    if message.out_of_order:
        flags += "[OOS] "
    if message.seq_reset:
        flags += "[SEQ RESET] "
    return printable(
        f"{address:>40}: {message.release or ''} S{message.seq:06d} T{message.ts_usec:014d}"
        f" F{message.facility}/L{message.level} {flags}{text}"
    )
