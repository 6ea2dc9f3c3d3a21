"""Finds messages as they are written to a store: what follows a search, without a seam.

Rules:

1. Every message that is appended to the journal after :class:`Follow` was made is found, once. Its parts of the journal
   stay open, so that they can be read after the compactor has removed them.
2. A search that begins after :class:`Follow` was made has all earlier messages, and may have some later ones:
   :meth:`Follow.known` names these, so that they are not found again.
3. A part that was written and removed between two calls of :meth:`Follow.poll`, as while the process was stopped, is
   found by a search in the segments; the last :data:`KNOWN_LIMIT` messages are not found again.

Needs pyarrow: the extra ``netconsd[store]``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from netconsd.store import journal, layout
from netconsd.store.columns import Columns
from netconsd.store.query import TAIL_BYTES, Files, Query, Search, identities, in_order, rows_of
from netconsd.store.records import Damaged

#: Identities of messages that are remembered, some 30 MB: those of a minute at 1500 messages a second.
KNOWN_LIMIT: Final = 100_000
#: A search for messages that were missed begins so many seconds before the last look at the segments: a message can
#: wait this long for its order, in queues, and for the clock.
SLACK: Final = 60.0

#: Numbers of parts that may still appear: a few, as a worker makes its part at once.
ABSENT_LIMIT: Final = 64


@dataclass(slots=True)
class _Open:
    fd: int
    name: str
    at: int = 0


class Follow:
    """The new messages of a store. For one thread at a time; close it after use."""

    def __init__(self, files: Files, query: Query, clock: Callable[[], float]) -> None:
        """
        :param query: its ``boot`` is ignored, as new messages are of the last boot.
        :raises OSError: if the store cannot be read.
        """
        self._files = files
        self._query = replace(query, boot=None)
        self._search = Search(files, self._query)
        self._clock = clock
        self._journal = files.directory / layout.JOURNAL
        self._known: dict[tuple[Any, ...], None] = {}
        # The keys of messages that poll() returned, which are looked at only if a search can find them again: as Python
        # objects, they would cost more than all else.
        self._returned: deque[pa.Table] = deque()
        self._returned_rows = 0
        self._open: dict[int, _Open] = {}
        self._highest = 0
        self._absent: set[int] = set()
        self._changed_at = -1
        self._in_segments = 0
        # When the segments were listed last, so that a part that appeared and went is in them.
        self._looked_at = self._next_look = clock()
        for trial in range(_TRIALS):
            try:
                segments, parts = files.lists()
                self._boots = files.boots(segments)
                self._highest = max((file.number for file, _ in segments), default=0)
                for part in parts:
                    self._take(part, must=True)
                break
            except FileNotFoundError:
                # The compactor has removed a file that was listed.
                self.close()
                if trial == _TRIALS - 1:
                    raise
        # Read what is there, so that the boots of the new messages are right.
        self._read(lambda rows: None)

    def known(self, rows: pa.Table) -> None:
        """Remember messages that a search has found."""
        for identity in identities(rows):
            self._known[identity] = None
        while len(self._known) > KNOWN_LIMIT:
            del self._known[next(iter(self._known))]

    def poll(self) -> pa.Table | None:
        """Return the matching rows that were written since the last call, in the order of time; None for none.

        :raises OSError: if the store cannot be read.
        """
        found: list[pa.Table] = []

        def add(rows: pa.Table) -> None:
            matching = self._search.matches(rows)
            if matching is not None:
                found.append(matching)

        listed = journal.parts(self._journal)
        missed = self._was_moved()
        for part in listed:
            if part.number > self._highest:
                # A worker can have a number before its part exists.
                self._absent.update(range(max(self._highest + 1, part.number - ABSENT_LIMIT), part.number))
                missed = missed or part.number > self._highest + 1
            elif part.number not in self._absent:
                continue
            self._absent.discard(part.number)
            missed = not self._take(part) or missed
            self._highest = max(self._highest, part.number)
        if missed:
            since = max(self._looked_at - SLACK, self._query.since or 0.0)
            found += Search(self._files, replace(self._query, since=since), newest_first=False)
        self._read(add)
        left = {part.number for part in listed if part.is_open}
        for number in [number for number in self._open if number not in left]:
            # Closed or removed before it was read: nothing follows.
            os.close(self._open.pop(number).fd)
        return self._new(in_order(found), missed) if found else None

    def _new(self, rows: pa.Table, missed: bool) -> pa.Table | None:
        """Return the rows that were not found before.

        :param missed: a search has found some of them. A block of the journal is read once.
        """
        if missed or self._known:
            returned = {name for table in self._returned for name in identities(table)} if missed else set()
            new: dict[tuple[Any, ...], int] = {}
            for row, name in enumerate(identities(rows)):
                if name not in self._known and name not in returned:
                    new.setdefault(name, row)
            if not new:
                return None
            rows = rows.take(pa.array(list(new.values()), pa.int64()))
        self._returned.append(rows.select(_IDENTITY))
        self._returned_rows += rows.num_rows
        while self._returned_rows > KNOWN_LIMIT and len(self._returned) > 1:
            self._returned_rows -= self._returned.popleft().num_rows
        return rows

    def _was_moved(self) -> bool:
        """Return whether a segment has messages of a part that was not seen; called after the parts were listed."""
        changed_at = os.stat(self._journal).st_mtime_ns
        if changed_at == self._changed_at:
            return False
        self._changed_at = changed_at
        self._looked_at, self._next_look = self._next_look, self._clock()
        newest = max((file.number for file in layout.segment_files(self._files.directory)), default=0)
        moved = newest > self._in_segments and newest > self._highest
        self._in_segments = newest
        return moved

    def _take(self, part: journal.Part, *, must: bool = False) -> bool:
        """Open a part; return false if it is gone."""
        for path in (part.path, part.path.with_name(part.path.name.removesuffix(journal.OPEN_SUFFIX))):
            with suppress(FileNotFoundError):
                self._open[part.number] = _Open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), str(path))
                self._highest = max(self._highest, part.number)
                return True
        if must:
            raise FileNotFoundError(2, os.strerror(2), str(part.path))
        return False

    def _read(self, add: Callable[[pa.Table], object]) -> None:
        """Give the rows of the blocks that were not read before."""
        columns, size = Columns(), 0
        for number in sorted(self._open):
            for records in self._blocks(self._open[number]):
                with suppress(Damaged):
                    columns.add(records)
                    size += len(records)
                if size >= TAIL_BYTES:
                    add(rows_of(columns, self._boots))
                    columns, size = Columns(), 0
        if columns.rows:
            add(rows_of(columns, self._boots))

    def _blocks(self, part: _Open) -> Iterable[bytes]:
        def damaged(text: str, messages: int) -> None:
            self._files.name(f"{part.name}: {text}", messages)

        try:
            # By its descriptor, as the file can be removed or renamed.
            path = Path(f"/proc/self/fd/{part.fd}")
            for position, records, _ in journal.read(path, part.at, damaged=damaged):
                part.at = position
                yield records
        except Damaged as error:
            damaged(f"{error}; what follows in it is not found", 0)

    def close(self) -> None:
        """Close the files."""
        while self._open:
            os.close(self._open.popitem()[1].fd)


_TRIALS: Final = 10
_IDENTITY: Final = ["host", "port", "scope_id", "boot", "seq", "number", "received_at"]
