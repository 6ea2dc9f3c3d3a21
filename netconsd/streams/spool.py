"""The records that a stream has to send, and its place in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from netconsd.streams.cursor import Cursor
from netconsd.streams.findingfiles import FindingSource
from netconsd.streams.record import Record

CURSOR: Final = "cursor"
#: Seconds between two syncs of the cursor: a crash of the machine has the records of that time sent again.
SYNC_SECONDS: Final = 1.0


class Source(Protocol):
    """Files with records. For one thread."""

    #: Records that cannot be read: damaged, or removed before they were.
    dropped: int
    #: Whether the last :meth:`read` returned less than it should, and there may be more nevertheless.
    more: bool

    def read(self, most: int) -> list[Record]:
        """Return the next records, at most so many; empty if there are none now.

        :raises OSError: if the files cannot be read.
        """

    def position(self) -> dict[str, Any]:
        """Return the place after the last record of :meth:`read`, as JSON can hold it."""

    def committed(self, position: Mapping[str, Any], records: Sequence[Record]) -> None:
        """Forget what is before a place: those records were delivered.

        :param records: those that were delivered since the call before.
        :raises OSError: if the disk fails.
        """

    def close(self) -> None:
        """Close the files."""


class Spooled(Protocol):
    """The interface of :class:`Spool`, and of the blocks of a journal (:mod:`netconsd.streams.blockspool`)."""

    full: bool

    @property
    def dropped(self) -> int: ...
    def read(self, most: int) -> tuple[list[Record], dict[str, Any]]: ...
    def halves(self, record: Record) -> list[Record]: ...
    def commit(self, position: Mapping[str, Any], records: Sequence[Record]) -> None: ...
    def close(self) -> None: ...


class Spool:
    """The sources of a stream, and its cursor. For one thread."""

    def __init__(
        self,
        directory: Path,
        sources: Mapping[str, Source],
        store: str | None = None,
        wanted: Callable[[list[Record]], list[Record]] = lambda records: records,
        clock: Callable[[], float] = time.monotonic,
        findings: FindingSource | None = None,
    ) -> None:
        """
        :param directory: that of the stream.
        :param sources: in the order in which they are read.
        :param store: the store's directory, which the cursor names: it is no place in another store.
        :param wanted: returns the records that the stream sends.
        :param findings: the one of the sources, if any, whose records wait for older ones of the others: each read is
            sorted by the time of receipt then, except that the messages of a machine stay in their order.
        """
        self._sources = sources
        self._store = store
        self._wanted = wanted
        self._findings = findings
        self._cursor = Cursor(directory / CURSOR)
        self._clock = clock
        self._synced_at = float("-inf")
        #: Whether there may be more than the last :meth:`read` read, wanted or not.
        self.full = False

    @property
    def dropped(self) -> int:
        """Records that could not be read."""
        return sum(source.dropped for source in self._sources.values())

    def read(self, most: int) -> tuple[list[Record], dict[str, Any]]:
        """Return the next records and the place after them. There may be none, and the place a new one nevertheless:
        those that were read are not wanted.

        :raises OSError: if the files cannot be read.
        """
        if self._findings is None or most < 2:
            # One record at a time leaves no room for findings among messages.
            found = self._read_each(most)
        else:
            found = self._read_by_time(most, self._findings)
        position = {name: source.position() for name, source in self._sources.items()}
        return self._wanted(found) if found else found, position

    def _read_each(self, most: int) -> list[Record]:
        found: list[Record] = []
        for source in self._sources.values():
            found += source.read(most - len(found))
            if len(found) >= most:
                break
        self.full = len(found) >= most or any(source.more for source in self._sources.values())
        return found

    def _read_by_time(self, most: int, findings: FindingSource) -> list[Record]:
        # Room for findings among messages that wait.
        messages = most - max(1, most // 4)
        found: list[Record] = []
        for source in self._sources.values():
            if source is not findings:
                found += source.read(messages)
        waiting = len(found) >= messages
        until = max(record.received_at for record in found) if waiting else float("inf")
        found += findings.read(most - len(found), until)
        self.full = waiting or findings.more or len(found) >= most
        return _by_time(found)

    def halves(self, record: Record) -> list[Record]:
        """Return the halves of a refused record; none if it is one thing."""
        return []

    def commit(self, position: Mapping[str, Any], records: Sequence[Record]) -> None:
        """Move the cursor to a place that :meth:`read` returned: everything before was delivered.

        :raises OSError: if the disk fails or is full. The records are sent again after a restart.
        """
        now = self._clock()
        sync = now - self._synced_at >= SYNC_SECONDS
        # The cursor first: what the sources delete is before it.
        self._cursor.save({"store": self._store, **position}, sync=sync)
        if sync:
            self._synced_at = now
        for name, source in self._sources.items():
            source.committed(position[name], records)

    def close(self) -> None:
        """Close the files."""
        for source in self._sources.values():
            source.close()


def _by_time(records: Sequence[Record]) -> list[Record]:
    """Return records in the order of receipt, but the messages of a machine in their own: a record that another one
    overtook, or that was received after the clock was set back, has an earlier time than the one before it."""
    latest: dict[str, float] = {}
    times: list[float] = []
    for record in records:
        time = record.received_at
        if record.kind == "message":
            time = latest[record.address] = max(time, latest.get(record.address, time))
        times.append(time)
    return [records[index] for index in sorted(range(len(records)), key=times.__getitem__)]
