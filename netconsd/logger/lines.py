"""Messages as lines of a log file: a hot file, because every message that the logger writes is rendered here.

Most messages are plain: printable ASCII without an escape, and nothing to mark. Their bytes are written as received.
A printable text in other characters is decoded, and costs twice as much; everything else, many times as much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

from netconsd.protocol import octets
from netconsd.protocol.message import ExtendedMessage, Message, Source
from netconsd.rendering import LEVEL_COLUMN, Field, fields_text, is_blank, marks, place, printable, uptime, zone

_LEVELS = [f"] {LEVEL_COLUMN[level]} ".encode() for level in range(8)]


class LineForm:
    """The settings of the lines of a log. Immutable; any thread."""

    def __init__(
        self,
        fields: Collection[Field] = (),
        *,
        local: bool = False,
        sender: bool = False,
        sender_of: Callable[[Message], str] = lambda message: place(message.source),
    ) -> None:
        """
        :param fields: the fields at the end of each line (:func:`~netconsd.rendering.fields_text`); none by default.
        :param local: local time with its offset, instead of UTC.
        :param sender: the sender in each line; by default only where several senders have one address.
        :param sender_of: returns the sender for people, printable and without a space.
        """
        self.fields = fields
        self.local = local
        self.sender = sender
        self.sender_of = sender_of
        #: Whether no line can be written as received.
        self.detailed = bool(fields or local or sender)


_DEFAULT = LineForm()


def log_lines(messages: Sequence[Message], form: LineForm = _DEFAULT) -> bytes:
    """Return one line per message for a log file, each ended by a newline, in UTF-8::

        2026-11-22T14:04:05.123456Z [   12.345678] warn   [3 lost] [T123] eth0: link is down

    The parts are the UTC time of receipt, :func:`~netconsd.rendering.uptime`, the level in six columns (``-`` if
    unknown), :func:`~netconsd.rendering.marks`, the caller (the task or processor that logged the message, if known),
    and the text. All is :func:`~netconsd.rendering.printable`; a newline within the text is ``\\x0a``. Where several
    senders have one address, the sender is between time and uptime. A blank continuation
    (:func:`~netconsd.rendering.is_blank`) has no line. Any thread.
    """
    return b"".join(rendered(messages, form))


def rendered(messages: Sequence[Message], form: LineForm) -> list[bytes]:
    """Return the lines of :func:`log_lines`."""
    parts: list[bytes] = []
    received_at = float("nan")
    when = b""
    detailed = form.detailed
    source: Source | None = None
    labelled = detailed
    for message in messages:
        end = 0
        # The messages of a sender mostly follow each other.
        if message._source is not source:
            source = message._source
            labelled = detailed or bool(getattr(source, "shared", False))
        if not labelled and isinstance(message, ExtendedMessage):
            extended = message
            if not (
                extended._new
                or extended._boot
                or extended._limited
                or extended._out_of_order
                or extended._incomplete
                or extended._replayed
                or extended._continuation
                or extended._lost > 0
                or extended._likely_lost
                or (extended._caller is not None and not octets.is_plain(extended._caller))
            ):
                # Per message, so that one text that is not plain leaves the other messages of the batch fast.
                text = extended._raw
                end = octets.plain_line(text)
                if end and octets.stray_at(text, end) >= 0:
                    end = 0
                if not end:
                    shown = extended.text
                    if shown.isprintable():
                        text = shown.encode() + b"\n"
                        end = len(text)
        if end:
            # Messages that were read together were received at the same time.
            if extended._received_at != received_at:
                received_at = extended._received_at
                when = f"{_when(received_at, False)} [".encode()
            parts.append(
                octets.log_line(when, extended._ts_usec, _LEVELS[extended._prefix & 7], extended._caller, text, end)
            )
        else:
            line = _line(message, form)
            if line:
                parts.append(line)
    return parts


def by_file(
    messages: Sequence[Message], file_names: dict[bytes, str], file_name_of: Callable[[Message], str]
) -> dict[str, list[Message]]:
    """Group messages by the name of their file, in order within each group.

    :param file_names: the known names, by :attr:`~netconsd.protocol.message.Source.key`.
    :param file_name_of: returns the name for another sender, given its first message; called once per sender.
    """
    groups: dict[str, list[Message]] = {}
    by_key: dict[bytes, list[Message]] = {}
    for message in messages:
        key = message._source._key
        group = by_key.get(key)
        if group is None:
            name = file_names.get(key)
            if name is None:
                name = file_name_of(message)
            group = groups.get(name)
            if group is None:
                group = groups[name] = []
            by_key[key] = group
        group.append(message)
    return groups


def _line(message: Message, form: LineForm) -> bytes:
    if is_blank(message):
        return b""
    caller = message.caller
    tag = "" if caller is None else f"[{caller}] "
    head = _when(message.received_at, form.local)
    if form.sender or getattr(message.source, "shared", False):
        head = f"{head} {form.sender_of(message)}"
    head = f"{head} {uptime(message.ts_usec)} {LEVEL_COLUMN[message.level]}"
    line = printable(f"{head} {marks(message)}{tag}{message.text}")
    if form.fields:
        line += fields_text(message, form.fields)
    return (line + "\n").encode()


@lru_cache(maxsize=64)
def _when(received_at: float, local: bool) -> str:
    second, micros = divmod(int(received_at * 1_000_000 + 0.5), 1_000_000)
    parts = time.localtime(second) if local else time.gmtime(second)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', parts)}.{micros:06d}{zone(parts) if local else 'Z'}"
