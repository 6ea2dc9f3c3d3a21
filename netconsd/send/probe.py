"""The messages of a self-test, as one sender sends them, and a comparison with the messages that were delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from netconsd.protocol.encode import extended, fragments, legacy
from netconsd.protocol.message import Message
from netconsd.protocol.plural import plural
from netconsd.rendering import printable

#: The first words of each text, for people and for patterns.
PREFIX: Final = "netconsd selftest"

# Four fragments, so that some are neither the first nor the last. No module prints userdata.
_LONG_USERDATA: Final = {f"key{number:02d}": chr(ord("a") + number) * 150 for number in range(20)}
# An escape, a character of two bytes, a newline and a backslash: everything that is escaped on the wire.
_ESCAPED_TEXT: Final = "tab\there, \u00e9, \\x41, two\nlines"
# Characters of a wrong value that are shown.
_SHOWN: Final = 60


@dataclass(frozen=True)
class ProbeMessage:
    """One message: its datagrams, and the attributes that the delivered message must have."""

    name: str
    datagrams: tuple[bytes, ...]
    fields: Mapping[str, Any]


def probe_messages(token: str, ts_usec: int) -> tuple[ProbeMessage, ...]:
    """Build the messages of one sender. :func:`is_last` recognises the last one.

    :param token: distinguishes this run's messages from those of other runs.
    :param ts_usec: must differ between runs, or a receiver drops the second run's messages as duplicates.
    """
    full: dict[str, Any] = {
        "seq": 1,
        "ts_usec": ts_usec,
        # A level that sets off no alarm.
        "level": 5,
        "facility": 1,
        "release": "6.12.0-selftest",
        "dictionary": {"SUBSYSTEM": "netconsd", "DEVICE": "+netconsd:selftest"},
        "userdata": {"rack": "r17 b", "role": token},
        "cpu": 3,
        "taskname": "selftest 1",
        "msgid": 1,
    }
    long: dict[str, Any] = {"seq": 2, "ts_usec": ts_usec + 2, "level": 6, "userdata": _LONG_USERDATA, "msgid": 2}
    last: dict[str, Any] = {"seq": 3, "ts_usec": ts_usec + 3, "level": 6, "msgid": 3}
    texts = {name: f"{PREFIX} {token} {name}" for name in ("full", "legacy", "fragmented", "last")}
    texts["full"] += f": {_ESCAPED_TEXT}"
    line = legacy(texts["legacy"], ts_usec=ts_usec + 1, level=5, caller="T123")
    line_fields = {"ts_usec": ts_usec + 1, "level": 5, "facility": 0, "caller": "T123"}
    return (
        ProbeMessage(
            "the full message",
            (extended(texts["full"], **full),),
            {"text": texts["full"], "seq_reset": True, "incomplete": False, **full},
        ),
        ProbeMessage("the legacy message", (line,), {"text": texts["legacy"], **line_fields}),
        ProbeMessage(
            "the fragmented message",
            tuple(fragments(extended(texts["fragmented"], **long))),
            {"text": texts["fragmented"], "incomplete": False, **long},
        ),
        ProbeMessage(
            "the last message", (extended(texts["last"], **last),), {"text": texts["last"], "lost": 0, **last}
        ),
    )


def is_last(message: Message, token: str) -> bool:
    """True if the message is the last one of the run."""
    return message.text.startswith(f"{PREFIX} {token} last")


def discrepancies(sent: Sequence[ProbeMessage], delivered: Sequence[Message], token: str) -> list[str]:
    """Compare the delivered messages with the sent ones; return one line per difference, in words for the user.

    The list is empty if every message was delivered once, in order and intact.
    """
    lines = []
    positions = []
    recognised = 0
    for message in sent:
        start = f"{PREFIX} {token} {message.name.split()[1]}"
        copies = [number for number, candidate in enumerate(delivered) if candidate.text.startswith(start)]
        recognised += len(copies)
        if not copies:
            lines.append(f"{message.name} did not arrive")
            continue
        if len(copies) > 1:
            lines.append(f"{message.name} arrived {len(copies)} times")
        positions.append(copies[0])
        lines += _wrong_fields(message, delivered[copies[0]])
    if positions != sorted(positions):
        lines.append("the messages arrived out of order")
    unknown = len(delivered) - recognised
    if unknown:
        lines.append(f"{plural(unknown, 'message')} arrived that the self-test did not send")
    return lines


def _wrong_fields(sent: ProbeMessage, delivered: Message) -> list[str]:
    lines = []
    for name, expected in sent.fields.items():
        value = getattr(delivered, name, None)
        if value != expected:
            lines.append(f"{sent.name}: {name} is {_shown(value)} instead of {_shown(expected)}")
    return lines


def _shown(value: object) -> str:
    text = printable(repr(dict(value) if isinstance(value, Mapping) else value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
