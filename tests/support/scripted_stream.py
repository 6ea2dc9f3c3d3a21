"""A sink with a server in memory, a clock that waits move, and journals, for tests of streams."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.protocol.message import Message
from netconsd.store.journal import Journal
from netconsd.streams.cursor import Cursor
from netconsd.streams.deadletters import FILE, DeadLetters
from netconsd.streams.delivery import Counts, Delivery, Limits
from netconsd.streams.journalspool import JOURNAL, JournalSource
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, Sink, TryLater
from netconsd.streams.spool import CURSOR, Spool
from netconsd.testing import extended_message


def messages(count: int, *, first: int = 1, address: str = "192.0.2.1", received_at: float = 1000.0) -> list[Message]:
    """Return messages of one sender, a millisecond apart."""
    return [
        extended_message(
            f"line {seq}", seq=seq, ts_usec=1000 * seq, address=address, received_at=received_at + seq / 1e3
        )
        for seq in range(first, first + count)
    ]


class Server:
    """The records that a server has, in the order of their arrival, and its answers."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        #: Records that it has on disk: those that a kill leaves.
        self.on_disk = 0
        self.batches: list[list[str]] = []
        #: Called with the records of each batch: raises, or returns the answer.
        self.answer: Callable[[list[Record]], Answer | None] = lambda records: None
        self.killed = 0

    def kill(self) -> None:
        """Lose what is not on disk."""
        self.killed += 1
        del self.ids[self.on_disk :]

    @property
    def twice(self) -> list[str]:
        """The identities that it has more than once."""
        return [name for name, count in Counter(self.ids).items() if count > 1]


class ScriptedSink(Sink):
    """Sends to a :class:`Server`."""

    def __init__(self, server: Server, *, settle: float = 0.0, tells_stored: bool = False) -> None:
        self.server = server
        self.settle = settle
        self.tells_stored = tells_stored
        self.kills_seen = 0

    def encode(self, record: Record) -> bytes:
        if "unencodable" in record.text:
            raise ValueError("it cannot be encoded")
        return record.text.encode()

    def send(self, batch: Sequence[Encoded]) -> Answer:
        records = [each.record for each in batch]
        self.server.batches.append([record.id for record in records])
        answer = self.server.answer(records) or Answer("fine")
        self.server.ids += [
            record.id
            for place, record in enumerate(records)
            if place not in answer.refused and place not in answer.later
        ]
        return answer

    def survived(self) -> bool:
        seen, self.kills_seen = self.kills_seen, self.server.killed
        return seen == self.kills_seen

    def kept(self) -> bool:
        self.server.on_disk = len(self.server.ids)
        return self.survived()

    def stored(self, batch: Sequence[Encoded]) -> frozenset[int]:
        has = set(self.server.ids) if self.tells_stored else set()
        return frozenset([place for place, each in enumerate(batch) if each.record.id in has])


class Rig:
    """A stream with a journal in a directory, whose time is moved by its waits only."""

    def __init__(self, directory: Path, sink: Sink, limits: Limits | None = None, **options: Any) -> None:
        self.directory = directory
        (directory / JOURNAL).mkdir(exist_ok=True)
        self.sink = sink
        self.time = 0.0
        self.waits: list[float] = []
        self.warnings: list[str] = []
        self.limits = limits or Limits()
        self.options = options
        self.journal = Journal(
            directory / JOURNAL, 2, first_number=1, part_bytes=8 << 20, part_seconds=1e9, most_bytes=1 << 30
        )
        self.dead_bytes = options.pop("dead_bytes", 1 << 20)
        #: Called before each wait, with its number; returns whether the stream shall stop.
        self.on_wait: Callable[[int], bool] = lambda number: self.is_idle()
        #: Returns the records that are sent.
        self.wanted: Callable[[list[Record]], list[Record]] = lambda records: records
        self.counts = Counts()

    def is_idle(self) -> bool:
        """Return whether everything was delivered."""
        return self.delivery.counts.oldest is None and self.delivery._failing_since is None

    def append(self, worker: int, these: Iterable[Message]) -> None:
        """Append messages to the journal."""
        self.journal.append(worker, list(these))

    def source(self) -> JournalSource:
        """Return the journal's reader, from the cursor on."""
        position = (Cursor(self.directory / CURSOR).load() or {}).get("messages")
        return JournalSource(self.directory, position, warn=self.warnings.append)

    def run(self) -> Counts:
        """Run a stream until it has nothing to do, as a process would, and return its counts."""
        spool = Spool(self.directory, {"messages": self.source()}, wanted=self.wanted, clock=lambda: self.time)
        dead = DeadLetters(self.directory / FILE, self.dead_bytes)
        waits = 0

        def wait(seconds: float) -> bool:
            nonlocal waits
            waits += 1
            stop = self.on_wait(waits)
            self.waits.append(seconds)
            self.time += seconds
            return stop

        self.delivery = Delivery(
            self.sink, spool, dead, self.limits, clock=lambda: self.time, wall=lambda: 5000.0 + self.time, wait=wait,
            warn=self.warnings.append, **{"jitter": lambda: 0.0, **self.options},
        )  # fmt: skip
        self.delivery.run()
        self.counts = self.delivery.counts
        return self.counts

    def dead(self) -> list[dict[str, Any]]:
        """Return the dead letters."""
        path = self.directory / FILE
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def made(name: str, place: Path, /, **settings: object) -> Any:
    """Return a shipped module with settings, not started."""
    typed = {key: ModuleSetting(value, key, place) for key, value in settings.items()}
    return load([name], {name: typed}).loaded[0].module


def encoded(sink: Sink, record: Record) -> Encoded:
    """Return a record with its bytes."""
    return Encoded(record, sink.encode(record))


def refuse(*texts: str) -> Callable[[list[Record]], Answer | None]:
    """Return an answer that refuses a whole batch that has one of these texts."""

    def answer(records: list[Record]) -> Answer | None:
        if any(record.text in texts for record in records):
            raise Refused("400 Bad Request")
        return None

    return answer


def away(times: int, retry_after: float | None = None) -> Callable[[list[Record]], Answer | None]:
    """Return an answer of a server that is away so many times."""
    left = [times]

    def answer(records: list[Record]) -> Answer | None:
        if left[0]:
            left[0] -= 1
            raise TryLater("503 Service Unavailable", retry_after)
        return None

    return answer
