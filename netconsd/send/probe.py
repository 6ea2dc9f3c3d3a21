"""Known messages, as one sender sends them, and what is wrong with what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from netconsd.protocol.encode import extended, fragments, legacy
from netconsd.protocol.message import Message
from netconsd.rendering import printable

__all__ = ["PREFIX", "KnownMessage", "faults", "is_last", "known_messages"]

#: What the text of each begins with, for people and for patterns.
PREFIX: Final = "netconsd selftest"

# Four fragments, so that some come neither first nor last. Nobody prints userdata.
_LONG: Final = {f"key{number:02d}": chr(ord("a") + number) * 150 for number in range(20)}
# An escape, a character of two bytes, a newline and a backslash: all that is changed on the way and has to come back.
_HARD: Final = "tab\there, \u00e9, \\x41, two\nlines"
# How much of a wrong value is worth reading.
_SHOWN: Final = 60


@dataclass(frozen=True)
class KnownMessage:
    """One message, the datagrams that it travels in, and what it has to say when it comes out."""

    what: str
    datagrams: tuple[bytes, ...]
    fields: Mapping[str, Any]


def known_messages(token: str, ts_usec: int) -> tuple[KnownMessage, ...]:
    """Make the messages of one sender; :func:`is_last` knows the last of them.

    :param token: tells them from those of other runs.
    :param ts_usec: another one for each run: a sender that comes again with the same numbers under the same time would
        be repeating itself.
    """
    full: dict[str, Any] = {
        "seq": 1,
        "ts_usec": ts_usec,
        # Nothing that wakes somebody up.
        "level": 5,
        "facility": 1,
        "release": "6.12.0-selftest",
        "dictionary": {"SUBSYSTEM": "netconsd", "DEVICE": "+netconsd:selftest"},
        "userdata": {"rack": "r17 b", "role": token},
        "cpu": 3,
        "taskname": "selftest 1",
        "msgid": 1,
    }
    long: dict[str, Any] = {"seq": 2, "ts_usec": ts_usec + 2, "level": 6, "userdata": _LONG, "msgid": 2}
    last: dict[str, Any] = {"seq": 3, "ts_usec": ts_usec + 3, "level": 6, "msgid": 3}
    texts = {name: f"{PREFIX} {token} {name}" for name in ("full", "legacy", "fragmented", "last")}
    texts["full"] += f": {_HARD}"
    line = legacy(texts["legacy"], ts_usec=ts_usec + 1, level=5, caller="T123")
    said = {"ts_usec": ts_usec + 1, "level": 5, "facility": 0, "caller": "T123"}
    return (
        KnownMessage(
            "the full message",
            (extended(texts["full"], **full),),
            {"text": texts["full"], "seq_reset": True, "incomplete": False, **full},
        ),
        KnownMessage("the legacy message", (line,), {"text": texts["legacy"], **said}),
        KnownMessage(
            "the fragmented message",
            tuple(fragments(extended(texts["fragmented"], **long))),
            {"text": texts["fragmented"], "incomplete": False, **long},
        ),
        KnownMessage(
            "the last message", (extended(texts["last"], **last),), {"text": texts["last"], "lost": 0, **last}
        ),
    )


def is_last(message: Message, token: str) -> bool:
    """Whether no message of the run comes after it."""
    return message.text.startswith(f"{PREFIX} {token} last")


def faults(sent: Sequence[KnownMessage], got: Sequence[Message], token: str) -> list[str]:
    """Say what is wrong, a line for each thing; nothing if all came out once, in order and intact."""
    found = []
    places = []
    known = 0
    for message in sent:
        begin = f"{PREFIX} {token} {message.what.split()[1]}"
        copies = [number for number, one in enumerate(got) if one.text.startswith(begin)]
        known += len(copies)
        if not copies:
            found.append(f"{message.what} did not arrive")
            continue
        if len(copies) > 1:
            found.append(f"{message.what} arrived {len(copies)} times")
        places.append(copies[0])
        found += _differences(message, got[copies[0]])
    if places != sorted(places):
        found.append("the messages came out of order")
    if known < len(got):
        found.append(f"{len(got) - known} messages came that were not sent")
    return found


def _differences(sent: KnownMessage, got: Message) -> list[str]:
    found = []
    for name, expected in sent.fields.items():
        value = getattr(got, name, None)
        if value != expected:
            found.append(f"{sent.what}: {name} is {_shown(value)} instead of {_shown(expected)}")
    return found


def _shown(value: object) -> str:
    text = printable(repr(dict(value) if isinstance(value, Mapping) else value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
