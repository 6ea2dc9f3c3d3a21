"""Queues the entries of files for lanes, in the time of the files (netconsd.cli.replay).

Rules:

1. A datagram goes through the lane of its sender, as when it was received. A line of a log is a datagram of legacy
   text, unless it looks like a record. A message that the file has with all its fields is delivered as it is.
2. ``received_at`` is the time of the entry. A recording whose times begin with 0 begins when its file was last written.
   An entry without a time has the time of the entry before, and the first one that of the file.
3. The lanes' monotonic time follows the entries', and never goes back. A file begins at the time at which the one
   before ended.
4. A host of which a line has only a name gets an address for documentation (2001:db8::/32), made from the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from zlib import crc32

from netconsd.cli.crashfeed import source_of_host
from netconsd.protocol.message import LegacyMessage, Source, without_scope
from netconsd.read.entries import Datagram, Line, Whole
from netconsd.read.objects import UNKNOWN_SENDER
from netconsd.receive.lanes import Lane

#: Names of hosts that are remembered, with an address each; beyond, an address is shown. Also the senders of messages
#: that are remembered; beyond, all are learned again.
NAMES_LIMIT: Final = 65536
# Unix times begin here, in 1973; a recording's seconds end before.
_UNIX: Final = 1e8
# As the decoder sees a record: a prefix, a number, a time and so on, and a text.
_RECORD: Final = re.compile(rb"[^ ;]{0,80}[0-9]+,[0-9]+,[0-9]+,[^;]*;")


class Times:
    """The times of the entries of one file after the other."""

    def __init__(self) -> None:
        #: The monotonic time of the last entry; 0 before the first.
        self.now = 0.0
        self._received_at = 0.0
        self._written = 0.0
        self._offset: float | None = None

    def begin(self, written: float) -> None:
        """Begin with a file that was last written at this Unix time."""
        self._received_at = self._written = written
        self._offset = None

    def at(self, time: float | None) -> tuple[float, float]:
        """Return ``received_at`` and the monotonic time of an entry."""
        received_at = self._received_at
        if time is not None:
            received_at = time if time >= _UNIX else self._written + time
        if self._offset is None:
            self._offset = self.now - received_at
        self.now = max(self.now, received_at + self._offset)
        self._received_at = received_at
        return received_at, self.now


class Feed:
    """Queues entries for lanes. For the producer's thread."""

    def __init__(self, lanes: Sequence[Lane], name: Callable[[str, str], object] = lambda address, name: None) -> None:
        """
        :param lanes: a sender's lane is chosen as by :class:`netconsd.receive.lanes.Workers`.
        :param name: called with the address and the name of a host of which a line has only the name.
        """
        self.times = Times()
        #: The entries by kind.
        self.datagrams = 0
        self.lines = 0
        self.messages = 0
        self._lanes = lanes
        self._name = name
        self._hosts: dict[str | None, Source] = {}
        # One object for each sender, as a table has: messages before a crash report are found by it.
        self._sources: dict[bytes, Source] = {}
        # For each lane, datagrams with the same time: (received_at, now, senders, datagrams).
        self._pending: dict[Lane, tuple[float, float, list[bytes], list[bytes]]] = {}

    @property
    def entries(self) -> int:
        """The number of entries that were queued."""
        return self.datagrams + self.lines + self.messages

    def begin(self, written: float) -> None:
        """Begin with a file that was last written at this Unix time."""
        self.times.begin(written)

    def time_of(self, entry: Line | Whole | Datagram) -> float:
        """Return the monotonic time of the next entry, before it is queued."""
        return self.times.at(entry.message.received_at if isinstance(entry, Whole) else entry.time)[1]

    def put(self, entries: Iterable[Line | Whole | Datagram]) -> None:
        """Queue entries of the file in their order. The caller waits for room in the queues before."""
        for entry in entries:
            if isinstance(entry, Datagram):
                self.datagrams += 1
                received_at, now = self.times.at(entry.time)
                self._put(entry.key, entry.data, received_at, now)
            elif isinstance(entry, Line):
                self.lines += 1
                self._line(entry)
            else:
                self.messages += 1
                _, now = self.times.at(entry.message.received_at)
                key = entry.message.source.key
                lane = self._lane(key)
                self._flush(lane)
                entry.message._source = self._same(key, entry.message.source)
                lane.put_messages([entry.message], now)
        for lane in list(self._pending):
            self._flush(lane)

    def _same(self, key: bytes, source: Source) -> Source:
        known = self._sources.get(key)
        if known is None:
            if len(self._sources) >= NAMES_LIMIT:
                self._sources.clear()
            known = self._sources[key] = source
        return known

    def _line(self, line: Line) -> None:
        source = self._hosts.get(line.host) or self._source(line.host)
        received_at, now = self.times.at(line.time)
        if _RECORD.match(line.text):
            lane = self._lane(source.key)
            self._flush(lane)
            lane.put_messages([LegacyMessage(source, received_at, line.text + b"\n")], now)
        else:
            self._put(source.key, line.text + b"\n", received_at, now)

    def _source(self, host: str | None) -> Source:
        source = Source.from_key(UNKNOWN_SENDER) if host is None else source_of_host(host)
        if len(self._hosts) < NAMES_LIMIT:
            self._hosts[host] = source
            if host is not None and source.address != host.partition("%")[0]:
                self._name(source.address, host)
        return source

    def _put(self, key: bytes, data: bytes, received_at: float, now: float) -> None:
        lane = self._lane(key)
        pending = self._pending.get(lane)
        if pending is not None and pending[0] != received_at:
            self._flush(lane)
            pending = None
        if pending is None:
            pending = self._pending[lane] = (received_at, now, [], [])
        pending[2].append(key)
        pending[3].append(data)

    def _flush(self, lane: Lane) -> None:
        pending = self._pending.pop(lane, None)
        if pending is not None:
            received_at, now, senders, datagrams = pending
            lane.put(senders, datagrams, received_at, now)

    def _lane(self, key: bytes) -> Lane:
        return self._lanes[crc32(without_scope(key[:16])) % len(self._lanes)]
