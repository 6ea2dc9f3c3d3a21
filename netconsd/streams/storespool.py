"""Reads the messages of a store for a stream: those that are new, and after an outage those that were missed.

Rules:

1. New messages are followed in the store's journal (:mod:`netconsd.store.follow`), so that each is found once.
2. After a start, and if the stream did not read for :data:`ROUND_SECONDS`, messages are searched from the cursor's time
   on, the oldest first, a table at a time: memory does not grow with the outage. A search that took longer than that is
   followed by another one.
3. A message can be in the store later than one that was received after it. A search therefore begins
   :data:`SLACK` seconds before the cursor, and passes over the identities of the last messages that were read
   (:class:`netconsd.streams.cursor.Recent`). A message that waited longer for its order and for queues, while the
   stream did not follow, is not sent.
4. Without a cursor, the stream begins with the messages since the start of the daemon, and by rule 3 with those of the
   minute before: the process starts later than the daemon, which receives meanwhile.

Needs pyarrow: the extra ``netconsd[store]``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from netconsd.protocol.message import Message
from netconsd.store.follow import SLACK, Follow
from netconsd.store.query import Files, Query, Search
from netconsd.store.reader import stored
from netconsd.streams.cursor import Recent
from netconsd.streams.record import Record

RECENT: Final = "recent"
#: The messages of so many seconds are in memory at once while the store is followed.
ROUND_SECONDS: Final = 30.0
#: Rows that become Python's objects at once: a row of a table takes a fifth of the memory.
ROWS: Final = 2048


class StoreSource:
    """The messages of a store. For one thread."""

    def __init__(
        self,
        store: Path,
        directory: Path,
        position: Mapping[str, Any],
        name_of: Callable[[Message], str] = lambda message: "",
        warn: Callable[[str], object] = lambda text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param store: the store's directory.
        :param directory: that of the stream.
        :param position: of the cursor, or ``{"time": SECONDS}``, the Unix time at which the stream begins.
        :raises OSError: if a file cannot be read.
        """
        self._name_of = name_of
        self._warn = warn
        self._clock = clock
        self.dropped = 0
        self.more = False
        self._recent = Recent(directory / RECENT)
        self._files = Files(store, self._damaged)
        self._time: float = position["time"]
        # Rows that were found, and the records of the first ones.
        self._pieces: deque[pa.Table] = deque()
        self._rest: deque[Record] = deque()
        self._tables = self._followed()

    def _damaged(self, text: str, messages: int) -> None:
        self._warn(text)
        self.dropped += messages

    def read(self, most: int) -> list[Record]:
        """As :meth:`netconsd.streams.spool.Source.read`."""
        found: list[Record] = []
        while len(found) < most:
            if not self._rest and self._pieces:
                self._rest.extend(self._records(self._pieces.popleft()))
                continue
            if not self._rest:
                try:
                    table = next(self._tables)
                except (OSError, StopIteration):
                    # A generator that raised is at its end.
                    self._tables = self._followed()
                    raise
                if table is None:
                    break
                self._pieces.extend([table.slice(start, ROWS) for start in range(0, table.num_rows, ROWS)])
                continue
            record = self._rest.popleft()
            self._time = max(self._time, record.received_at)
            found.append(record)
        return found

    def _records(self, table: pa.Table) -> Iterator[Record]:
        for each in stored(table):
            name = each.id
            if name not in self._recent:
                self._recent.add((name,))
                yield Record(each.message, name, each.boot, self._name_of(each.message))

    def _followed(self) -> Iterator[pa.Table | None]:
        """Yield tables of messages, None if there are none now; without an end."""
        while True:
            follow = Follow(self._files, Query(), self._clock)
            try:
                at = self._clock()
                # The messages that both find are among the last identities.
                yield from Search(self._files, Query(since=max(0.0, self._time - SLACK)), newest_first=False)
                # A clock that is set back begins a new round as well.
                while 0 <= self._clock() - at < ROUND_SECONDS:
                    at = self._clock()
                    yield follow.poll()
            finally:
                follow.close()

    def position(self) -> dict[str, Any]:
        """As :meth:`netconsd.streams.spool.Source.position`."""
        return {"time": self._time}

    def committed(self, position: Mapping[str, Any], records: Sequence[Record]) -> None:
        """As :meth:`netconsd.streams.spool.Source.committed`."""
        if records:
            self._recent.save([record.id for record in records])

    def close(self) -> None:
        """As :meth:`netconsd.streams.spool.Source.close`."""
        self._tables.close()  # type: ignore[attr-defined]
