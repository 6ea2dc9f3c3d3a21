"""Messages as lines of a log file: a hot file, because a fleet's messages end up in files.

Most messages are plain: printable ASCII without an escape, with nothing to be marked. Their bytes go into the file as
they came, and one look at all lines of a call finds out whether they may.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import cast

from netconsd.protocol import octets
from netconsd.protocol.message import ExtendedMessage, Message, Source
from netconsd.rendering import LEVEL_COLUMN, marks, printable, uptime

_NEWLINE = 0x0A
_LEVELS = [f"] {LEVEL_COLUMN[level]} ".encode() for level in range(8)]


def log_lines(messages: Iterable[Message]) -> bytes:
    """Return one line per message for a log file, each ended by a newline, in UTF-8::

        2026-11-22T14:04:05.123456Z [   12.345678] warn   [3 lost before] [T123] eth0: link is down

    that is UTC time of receipt, :func:`~netconsd.rendering.uptime`, the level in words in six columns (``-`` if the
    sender did not say), :func:`~netconsd.rendering.marks`, the caller (the task or processor that logged it, where the
    sender says so), and the text, all made :func:`~netconsd.rendering.printable`. A newline within the text is
    ``\\x0a``. May be called in any thread.
    """
    messages = list(messages)
    parts: list[bytes] = []
    # Those of the parts that have to be looked at, and the lines that were: a stranger may well send what takes long.
    texts: list[bytes] = []
    lines: list[bytes] = []
    received_at = float("nan")
    when = b""
    for message in messages:
        end = _plain_end(message)
        if end:
            extended = cast("ExtendedMessage", message)
            text = extended._raw
            part = text[0:end]
            # Messages that were read together were received at the same time.
            if extended._received_at != received_at:
                received_at = extended._received_at
                when = f"{_when(received_at)} [".encode()
            parts.append(when)
            parts.append(octets.seconds(extended._ts_usec))
            parts.append(_LEVELS[extended._prefix & 7])
            parts.append(part)
            texts.append(part)
        else:
            line = _line(message)
            parts.append(line)
            lines.append(line)
    if octets.is_plain(b"".join(texts)):
        return b"".join(parts)
    rendered = iter(lines)
    return b"".join([_line(message) if _plain_end(message) else next(rendered) for message in messages])


def by_file(
    messages: Sequence[Message], names: dict[bytes, str], name_of: Callable[[Source], str]
) -> dict[str, list[Message]]:
    """Sort messages by the file that they go to, each file's in order.

    :param names: the names of files that are known, by :attr:`~netconsd.protocol.message.Source.key`.
    :param name_of: tells the others; asked once per sender.
    """
    groups: dict[str, list[Message]] = {}
    by_source: dict[int, list[Message]] = {}
    for message in messages:
        source = message._source
        # By identity: hashing a source costs more, and the messages keep their sources alive.
        group = by_source.get(id(source))
        if group is None:
            name = names.get(source._key)
            if name is None:
                name = name_of(source)
            group = groups.get(name)
            if group is None:
                group = groups[name] = []
            by_source[id(source)] = group
        group.append(message)
    return groups


def _plain_end(message: Message) -> int:
    """Where the text ends of a message that is the text and nothing else, if that is plain; 0 for others."""
    if not isinstance(message, ExtendedMessage):
        return 0
    extended = message
    if extended._seq_reset or extended._out_of_order or extended._incomplete or extended._replayed:
        return 0
    if extended._lost > 0 or extended._caller is not None:
        return 0
    return octets.find(extended._raw, _NEWLINE, 0) + 1


def _line(message: Message) -> bytes:
    caller = message.caller
    tag = "" if caller is None else f"[{caller}] "
    head = f"{_when(message.received_at)} {uptime(message.ts_usec)} {LEVEL_COLUMN[message.level]}"
    return (printable(f"{head} {marks(message)}{tag}{message.text}") + "\n").encode()


@lru_cache(maxsize=64)
def _when(received_at: float) -> str:
    second, micros = divmod(int(received_at * 1_000_000 + 0.5), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{micros:06d}Z"
