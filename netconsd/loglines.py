"""Messages as lines of a log file: a hot file, because a fleet's messages end up in files.

Most messages are plain: printable ASCII without an escape, with nothing to be marked. Their bytes go into the file as
they came, and one look at all lines of a call finds out whether they may.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache

from netconsd.message import ExtendedMessage, Message
from netconsd.rendering import LEVEL_COLUMN, marks, printable, uptime

# What may stand in a line as it is. No backslash: in what a kernel sends, it begins an escape.
_PLAIN = bytes(octet for octet in range(0x20, 0x7F) if octet != 0x5C) + b"\n"
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
    lines: list[bytes] = []
    received_at = float("nan")
    when = b""
    for message in messages:
        if isinstance(message, ExtendedMessage) and not _has_marks(message):
            extended = message
            raw = extended._raw
            end = raw.find(b"\n") + 1
            if end:
                # Messages that were read together were received at the same time.
                if extended._received_at != received_at:
                    received_at = extended._received_at
                    when = f"{_when(received_at)} [".encode()
                ts_usec = extended._ts_usec
                level = _LEVELS[extended._prefix & 7]
                lines.append(b"%b%5d.%06d%b%b" % (when, ts_usec // 1000000, ts_usec % 1000000, level, raw[:end]))
                continue
        lines.append(_line(message))
    joined = b"".join(lines)
    if not joined.translate(None, _PLAIN):
        return joined
    return b"".join([_line(message) for message in messages])


def _has_marks(message: ExtendedMessage) -> bool:
    """Whether something stands between level and text."""
    if message._seq_reset or message._out_of_order or message._incomplete or message._replayed:
        return True
    return message._lost > 0 or message._caller is not None


def _line(message: Message) -> bytes:
    caller = message.caller
    tag = "" if caller is None else f"[{caller}] "
    head = f"{_when(message.received_at)} {uptime(message.ts_usec)} {LEVEL_COLUMN[message.level]}"
    return (printable(f"{head} {marks(message)}{tag}{message.text}") + "\n").encode()


@lru_cache(maxsize=64)
def _when(received_at: float) -> str:
    second, micros = divmod(int(received_at * 1_000_000 + 0.5), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{micros:06d}Z"
