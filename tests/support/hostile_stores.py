"""Journals of hostile senders, for measuring the compactor: messages that nothing in it has seen before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from netconsd.protocol.message import LegacyMessage, Message, Source
from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message, source

#: Bytes of a part, as the module ``store`` makes them.
PART_BYTES = 8 << 20
_BATCH = 512


def _key(number: int) -> Source:
    return Source(b"\x20\x01\x0d\xb8" + number.to_bytes(12, "big"), 6665)


def _line(number: int, text: bytes, of: Source | None = None) -> LegacyMessage:
    return LegacyMessage(of or source(), 1.5e9 + number / 1e5, text + b"\n")


def _garbage(rng: Random, size: int) -> bytes:
    return rng.randbytes(size).replace(b"\n", b"\x0b")


def _word(rng: Random, letters: int = 12) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=letters))


def _extended(number: int, of: Source | None = None, **fields: object) -> Message:
    text = fields.pop("text", "eth0: link is down")
    made = extended_message(
        text,  # type: ignore[arg-type]
        seq=number,
        ts_usec=number,
        received_at=1.5e9 + number / 1e5,
        **fields,  # type: ignore[arg-type]
    )
    if of is not None:
        made._source = of
    return made


def _short_garbage(rng: Random, number: int) -> Message:
    return _line(number, _garbage(rng, 12))


def _legacy_garbage(rng: Random, number: int) -> Message:
    return _line(number, _garbage(rng, 4000))


def _extended_garbage(rng: Random, number: int) -> Message:
    made = _extended(number)
    made._raw = rng.randbytes(4000)
    return made


def _escapes(rng: Random, number: int) -> Message:
    return _extended(number, text=rng.randbytes(1000))


def _hosts(rng: Random, number: int) -> Message:
    return _extended(number, _key(rng.randrange(100_000)), text=f"eth0: link is down {number}")


def _invented(rng: Random, number: int) -> Message:
    return _extended(number, _key(rng.getrandbits(90)))


def _invented_words(rng: Random, number: int) -> Message:
    return _line(number, _word(rng).encode(), _key(rng.getrandbits(90)))


def _tails(rng: Random, number: int) -> Message:
    return _extended(number, userdata={"id": _word(rng)})


def _long_tails(rng: Random, number: int) -> Message:
    return _extended(number, userdata={_word(rng): _word(rng) for _ in range(30)})


def _names(rng: Random, number: int) -> Message:
    return _extended(number, release=_word(rng), caller=_word(rng), dictionary={"SUBSYSTEM": _word(rng)})


def _words(rng: Random, number: int) -> Message:
    return _extended(number, text=f"{_word(rng)} {_word(rng)}")


def _long_words(rng: Random, number: int) -> Message:
    return _line(number, b" ".join([_word(rng, 4).encode() for _ in range(120)]), _key(number % 1000))


def _boots(rng: Random, number: int) -> Message:
    made = _extended(number, _key(rng.randrange(5000)))
    made._boot = made._new = True
    return made


#: The message with a number, of each kind.
CASES: dict[str, Callable[[Random, int], Message]] = {
    "short garbage": _short_garbage,
    "legacy garbage": _legacy_garbage,
    "extended garbage": _extended_garbage,
    "escapes": _escapes,
    "100,000 hosts": _hosts,
    "invented senders": _invented,
    "invented senders and words": _invented_words,
    "different userdata": _tails,
    "long userdata": _long_tails,
    "different names": _names,
    "random words": _words,
    "long texts of many words": _long_words,
    "boot storm": _boots,
}


def messages(case: str) -> Iterator[list[Message]]:
    """Yield batches of messages without end."""
    rng = Random(13)
    make = CASES[case]
    number = 1
    while True:
        yield [make(rng, number + at) for at in range(_BATCH)]
        number += _BATCH


def fill(directory: Path, case: str, size: int) -> int:
    """Write a journal of about this size; return its number of messages."""
    (directory / layout.JOURNAL).mkdir(parents=True)
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=1, part_bytes=PART_BYTES, part_seconds=1e9, most_bytes=1 << 40
    )
    count = 0
    for batch in messages(case):
        journal.append(0, batch)
        count += len(batch)
        if journal.size() >= size:
            break
    journal.close()
    return count
