"""Messages as lines of a log file: a hot file, because every message that the logger writes is rendered here.

Most messages are plain: printable ASCII without an escape, and nothing to mark. Their bytes are written as received.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache

from netconsd.protocol import octets
from netconsd.protocol.message import ExtendedMessage, Message, Source
from netconsd.rendering import LEVEL_COLUMN, marks, printable, uptime

_LEVELS = [f"] {LEVEL_COLUMN[level]} ".encode() for level in range(8)]


def log_lines(messages: Sequence[Message]) -> bytes:
    """Return one line per message for a log file, each ended by a newline, in UTF-8::

        2026-11-22T14:04:05.123456Z [   12.345678] warn   [3 lost before] [T123] eth0: link is down

    The parts are the UTC time of receipt, :func:`~netconsd.rendering.uptime`, the level in six columns (``-`` if
    unknown), :func:`~netconsd.rendering.marks`, the caller (the task or processor that logged the message, if known),
    and the text. All is :func:`~netconsd.rendering.printable`; a newline within the text is ``\\x0a``. Any thread.
    """
    parts: list[bytes] = []
    received_at = float("nan")
    when = b""
    for message in messages:
        end = 0
        if isinstance(message, ExtendedMessage):
            extended = message
            if not (
                extended._seq_reset
                or extended._out_of_order
                or extended._incomplete
                or extended._replayed
                or extended._lost > 0
                or extended._caller is not None
            ):
                # Per message, so that one text that is not plain leaves the other messages of the batch fast.
                end = octets.plain_line(extended._raw)
                if end and octets.stray_at(extended._raw, end) >= 0:
                    end = 0
        if end:
            # Messages that were read together were received at the same time.
            if extended._received_at != received_at:
                received_at = extended._received_at
                when = f"{_when(received_at)} [".encode()
            text = extended._raw
            parts.append(when)
            parts.append(octets.seconds(extended._ts_usec))
            parts.append(_LEVELS[extended._prefix & 7])
            parts.append(text[0:end])
        else:
            parts.append(_line(message))
    return b"".join(parts)


def by_file(
    messages: Sequence[Message], file_names: dict[bytes, str], file_name_of: Callable[[Source], str]
) -> dict[str, list[Message]]:
    """Group messages by the name of their file, in order within each group.

    :param file_names: the known names, by :attr:`~netconsd.protocol.message.Source.key`.
    :param file_name_of: returns the name of another sender; called once per sender.
    """
    groups: dict[str, list[Message]] = {}
    by_source: dict[int, list[Message]] = {}
    for message in messages:
        source = message._source
        # By identity: hashing a source costs more, and the messages keep their sources alive.
        group = by_source.get(id(source))
        if group is None:
            name = file_names.get(source._key)
            if name is None:
                name = file_name_of(source)
            group = groups.get(name)
            if group is None:
                group = groups[name] = []
            by_source[id(source)] = group
        group.append(message)
    return groups


def _line(message: Message) -> bytes:
    caller = message.caller
    tag = "" if caller is None else f"[{caller}] "
    head = f"{_when(message.received_at)} {uptime(message.ts_usec)} {LEVEL_COLUMN[message.level]}"
    return (printable(f"{head} {marks(message)}{tag}{message.text}") + "\n").encode()


@lru_cache(maxsize=64)
def _when(received_at: float) -> str:
    second, micros = divmod(int(received_at * 1_000_000 + 0.5), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{micros:06d}Z"
