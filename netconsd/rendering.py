"""Renders messages as lines for people. The shipped outputs use these functions, and other modules can.

All data from the network is untrusted, even the release and the caller. The lines of these functions contain no
control characters, so that they are safe for terminals, logs and files. ``message.text`` itself can contain any
character.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from socket import AF_INET6, inet_ntop
from typing import Final, Literal

from netconsd.protocol.body import readable, stray_lines
from netconsd.protocol.message import ExtendedMessage, Message, Source
from netconsd.protocol.translation import Characters

__all__ = [
    "FIELDS",
    "LEVELS",
    "LEVEL_COLUMN",
    "Field",
    "fields_text",
    "is_blank",
    "marks",
    "netconsd_line",
    "place",
    "printable",
    "uptime",
    "zone",
]

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


def place(source: Source, name: str | None = None) -> str:
    """Return the address of a sender, with its port where several senders have this address.

    ``192.0.2.7``, ``192.0.2.7:6665``, ``[fe80::1%eth0]:6665``; printable, without a space.

    :param name: shown instead of the address.
    """
    address = name or source.address
    if not getattr(source, "shared", False):
        return address
    return f"[{address}]:{source.port}" if ":" in address else f"{address}:{source.port}"


def zone(local: time.struct_time) -> str:
    """Return the offset of a local time from UTC, as in RFC 3339: ``+01:00``."""
    minutes = local.tm_gmtoff // 60
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def marks(message: Message) -> str:
    """Return the marks of a message, each followed by a space, in this order; empty for most messages.

    - ``[new]``: the first message of a sender since netconsd started or forgot the sender;
    - ``[boot]``: the first message after a reboot;
    - ``[again]``: sent a second time;
    - ``[3 lost]``: 3 messages were lost just before this one, by msgid; ``[3 missing]``: probably, by seq. Never both,
      and neither if nothing is known to be lost;
    - ``[202 over --rate]``: 202 datagrams of the sender were dropped just before this message;
    - ``[late]``: out of order, later messages were delivered before it;
    - ``[incomplete]``: fragments were lost; the text shows the places;
    - ``[cont]``: the record continues an earlier record, or claims to (docs/logger). It is never joined to another.
    """
    shown = "[new] " if message.new else ""
    if message.boot:
        shown += "[boot] "
    if not isinstance(message, ExtendedMessage):
        return f"{shown}[{message.limited} over --rate] " if message.limited else shown
    if message.replayed:
        shown += "[again] "
    if message.lost:
        shown += f"[{message.lost} lost] "
    elif message.lost is None and message.likely_lost:
        shown += f"[{message.likely_lost} missing] "
    if message.limited:
        shown += f"[{message.limited} over --rate] "
    if message.out_of_order:
        shown += "[late] "
    if message.incomplete:
        shown += "[incomplete] "
    if message.continuation:
        shown += "[cont] "
    return shown


def is_blank(message: Message) -> bool:
    """Return True for a continuation of blanks only that has no other mark: its line would show nothing.

    Kernels end a list of modules with a record of a single space.
    """
    return (
        isinstance(message, ExtendedMessage)
        and message.continuation
        and (not message.text or message.text.isspace())
        and marks(message) == "[cont] "
    )


Field = Literal["seq", "msgid", "facility", "cpu", "task", "release", "dictionary", "userdata", "all"]
"""The fields that the settings ``fields`` of printer and logger add to a line."""

FIELDS: Final[tuple[Field, ...]] = ("seq", "msgid", "facility", "cpu", "task", "release", "dictionary", "userdata")
"""Each :data:`Field` except ``all``, in the order in which a line has them."""

# Values that need no quotes.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/+@%-]+")


def fields_text(message: Message, fields: Collection[Field]) -> str:
    """Return the fields of a message for the end of its line: `` {cpu=5 task=kworker/5:1H role=web}``.

    A field that was not sent is left out; without any, the result is `` {}``. It is one printable line. Values other
    than letters, digits and ``_.:/+@%-`` are in double quotes, and contain no brace. Therefore the last `` {`` of a
    line begins the fields, whatever the text before them is.
    """
    wanted = FIELDS if "all" in fields else [field for field in FIELDS if field in fields]
    items: list[tuple[str, object]] = []
    for field in wanted:
        if field == "facility":
            items.append((field, message.facility))
        elif isinstance(message, ExtendedMessage):
            if field == "dictionary":
                items += message.dictionary.items()
            elif field == "userdata":
                items += message.userdata.items()
            else:
                items.append((field, message.taskname if field == "task" else getattr(message, field)))
    return f" {{{' '.join([f'{_quoted(key)}={_quoted(str(item))}' for key, item in items if item is not None])}}}"


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    shown = printable(text).replace('"', '\\"').replace("{", "\\x7b").replace("}", "\\x7d")
    return f'"{shown}"'


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
