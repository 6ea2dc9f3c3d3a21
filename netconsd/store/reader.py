"""Reads a store from a program: ``netconsd.store.Store``. The daemon may write the store meanwhile.

::

    from netconsd.store import Store

    for stored in Store("/var/lib/netconsd/store").messages(grep="Out of memory", limit=100):
        print(stored.id, stored.message.source.address, stored.message.text)
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from netconsd.crash.event import Event
from netconsd.crash.report import Report
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.store import findings, index, layout, segment
from netconsd.store.patterns import Pattern, Sums, patterns
from netconsd.store.query import Files, Progress, Query, Search, Selection
from netconsd.store.records import Damaged

_ID: Final = re.compile(r"([^/\s]+)/(?:(\d{1,12})/(\d{1,20})|@(-?\d{1,17})/(\d{1,10}))", re.ASCII)


def _ignore(*_: object) -> None:
    """Do nothing."""


def _never() -> bool:
    return False


_Used = TypeVar("_Used")


@dataclass(frozen=True, slots=True)
class Span:
    """A section of an index, or the same of a part of the journal, and the times of its messages."""

    #: Of the earliest and the latest message: Unix times in seconds.
    first: float
    last: float
    table: pa.Table


@dataclass(frozen=True, slots=True)
class Stored:
    """A message with its place in the store."""

    message: Message
    #: The id of the sender's boot: about the Unix time in seconds at which it began.
    boot: int
    #: Counts the sender's legacy messages with the same time; None for an extended message.
    number: int | None

    @property
    def id(self) -> str:
        """The identity: ``HOST/BOOT/SEQ``, or ``HOST/@MICROSECONDS/NUMBER`` for a legacy message, which has no seq.

        It stays the same for as long as the message is stored (:meth:`Store.message`).
        """
        message = self.message
        host = message.source.address
        seq = getattr(message, "seq", None)
        if seq is not None:
            return f"{host}/{self.boot}/{seq}"
        return f"{host}/@{round(message.received_at * 1e6)}/{self.number}"


@dataclass(frozen=True, slots=True)
class Host:
    """A sender and its messages in the store."""

    address: str
    port: int
    #: Of the earliest and the latest message: Unix times in seconds.
    first: float
    last: float
    messages: int
    #: The messages of each level from 0 to 7, then those without a level.
    levels: tuple[int, ...]
    boots: int
    #: The id of the last boot.
    boot: int
    #: Messages that were lost on the way, by msgid; those that are probably lost, by seq; datagrams over ``--rate``.
    lost: int
    likely_lost: int
    limited: int
    #: The last ones that it sent; None and empty for none.
    release: str | None
    userdata: str

    def fields(self) -> dict[str, Any]:
        """Return everything as JSON can hold it, the userdata as an object."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "levels": list(self.levels),
            "userdata": json.loads(self.userdata or "{}"),
        }


@dataclass(frozen=True, slots=True)
class Context:
    """A message with its neighbours, in the order of the store."""

    before: tuple[Stored, ...]
    message: Stored
    after: tuple[Stored, ...]


class Store:
    """The messages, reports and events of a store, for reading. For one thread at a time."""

    def __init__(self, directory: str | os.PathLike[str], *, damaged: Callable[[str, int], object] = _ignore) -> None:
        """
        :param directory: that of the module ``store``.
        :param damaged: called once for each damage that is found, with a text that names the file, and the number of
            messages that cannot be read, 0 if unknown. They are passed over.
        :raises FileNotFoundError: if it is no store.
        :raises PermissionError: if this user cannot read it.
        """
        self.directory = Path(directory)
        os.listdir(self.directory / layout.JOURNAL)
        self._files = Files(self.directory, damaged)

    def messages(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        hosts: Sequence[str] = (),
        level: int | None = None,
        grep: str | None = None,
        exclude: str | None = None,
        ignore_case: bool | None = None,
        boot: int | None = None,
        release: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        progress: Callable[[Progress], object] = _ignore,
        cancelled: Callable[[], bool] = _never,
    ) -> Iterator[Stored]:
        """Find messages, the oldest first. The arguments are those of :class:`netconsd.store.query.Query`.

        The first ones are yielded before the search ends, except if ``limit`` is given without ``newest_first``.

        :param limit: the most messages: the newest ones.
        :param progress: called after each segment.
        :param cancelled: the search ends soon after it returns true; what was found before is given.
        :raises ValueError: if an argument is wrong; the text begins with its name.
        :raises OSError: if a file cannot be read.
        """
        query = Query(since, until, tuple(hosts), level, grep, exclude, ignore_case, boot, release)
        if limit is not None and limit < 0:
            raise ValueError(f"limit: {limit} is negative")
        return self._found(query, newest_first=newest_first, limit=limit, progress=progress, cancelled=cancelled)

    def _found(
        self, query: Query, *, newest_first: bool, limit: int | None, progress: Any = _ignore, cancelled: Any = _never
    ) -> Iterator[Stored]:
        if limit is None or newest_first:
            tables = iter(
                self._search(query, newest_first=newest_first, limit=limit, progress=progress, cancelled=cancelled)
            )
            for table in tables:
                yield from stored(table)
            return
        found = [
            each
            for table in self._search(query, newest_first=True, limit=limit, progress=progress, cancelled=cancelled)
            for each in stored(table)
        ]
        yield from reversed(found)

    def _search(self, query: Query, **options: Any) -> Search:
        return Search(self._files, query, **options)

    def message(self, identity: str) -> Stored | None:
        """Return the message with an identity (:attr:`Stored.id`); None if it is not stored, or not any more.

        :raises ValueError: if the text is no identity.
        :raises OSError: if a file cannot be read.
        """
        match = _ID.fullmatch(identity)
        if match is None:
            raise ValueError(f"identity: {identity} is not HOST/BOOT/SEQ or HOST/@MICROSECONDS/NUMBER")
        host, _, seq, at, _ = match.groups()
        if seq is not None:
            query = Query(hosts=(host,), seq=min(int(seq), (1 << 64) - 1))
        else:
            query = Query(since=int(at) / 1e6, until=int(at) / 1e6, hosts=(host,))
        for found in self._found(query, newest_first=True, limit=None):
            if found.id == identity:
                return found
        return None

    def context(self, identity: str, *, before: int = 10, after: int = 10, all_hosts: bool = False) -> Context | None:
        """Return a message and those before and after it; None if it is not stored, or not any more.

        :param before: at most so many earlier messages; fewer if there are no more.
        :param after: at most so many later ones.
        :param all_hosts: of all hosts; otherwise of the address of the message.
        :raises ValueError: if an argument is wrong; the text begins with its name.
        :raises OSError: if a file cannot be read.
        """
        for name, count in (("before", before), ("after", after)):
            if count < 0:
                raise ValueError(f"{name}: {count} is negative")
        found = self.message(identity)
        if found is None:
            return None
        earlier = self._beside(found, before, newest_first=True, all_hosts=all_hosts)
        later = self._beside(found, after, newest_first=False, all_hosts=all_hosts)
        return Context(tuple(reversed(earlier)), found, tuple(later))

    def _beside(self, message: Stored, count: int, *, newest_first: bool, all_hosts: bool) -> list[Stored]:
        """Return the messages that follow a message in a direction, the nearest first."""
        if not count:
            return []
        at = message.message.received_at
        query = Query(
            None if newest_first else at,
            at if newest_first else None,
            () if all_hosts else (message.message.source.address,),
        )
        # Messages of the same time can be on the other side: a few, except where a test or a replay made them.
        limit = count + _SAME_TIME
        while True:
            found = [
                each for table in self._search(query, newest_first=newest_first, limit=limit) for each in stored(table)
            ]
            place = next((place for place, each in enumerate(found) if each == message), limit)
            if place + count < limit or len(found) < limit:
                return found[place + 1 : place + 1 + count]
            limit *= 4

    def hosts(self, *, since: float | None = None, until: float | None = None, hosts: Sequence[str] = ()) -> list[Host]:
        """Return the senders in the order of their addresses, with the numbers of their messages.

        Only the indexes are read. The numbers are of whole segments: with ``since`` or ``until``, of those that have a
        message in that time.

        :param hosts: as for :meth:`messages`; ``KEY=VALUE`` is compared with the last userdata.
        :raises ValueError: if an argument is wrong.
        :raises OSError: if a file cannot be read.
        """
        Query(since, until, tuple(hosts))
        chosen = Selection(hosts) if hosts else None
        merged = self._of_indexes("hosts", index.hosts_of, since, until, partial(_merged, index.merged_hosts))
        found = []
        for row in [] if merged is None else merged.to_pylist():
            userdata = row["userdata"] or ""
            if chosen is not None and not (
                chosen.has(row["host"], userdata) or (userdata and chosen.has_userdata(userdata))
            ):
                continue
            first, last = row["first"].timestamp(), row["last"].timestamp()
            if (since is not None and last < since) or (until is not None and first > until):
                continue
            found.append(
                Host(
                    row["host"],
                    row["port"],
                    first,
                    last,
                    row["rows"],
                    tuple(row[f"level_{level}"] for level in (*range(8), "none")),
                    row["boots"],
                    row["boot"],
                    row["lost"],
                    row["likely_lost"],
                    row["limited"],
                    row["release"],
                    userdata,
                )
            )
        return sorted(found, key=lambda host: layout.source_at(host.address, host.port, 0).key)

    def counts(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        hosts: Sequence[str] = (),
        level: int | None = None,
        grep: str | None = None,
        exclude: str | None = None,
        ignore_case: bool | None = None,
        boot: int | None = None,
        release: str | None = None,
        progress: Callable[[Progress], object] = _ignore,
        cancelled: Callable[[], bool] = _never,
    ) -> list[tuple[int, int | None, int]]:
        """Return (minute, level, number of messages) in the order of time. The arguments are those of :meth:`messages`.

        The minute is a Unix time; the level is None for messages without one.

        Only the indexes are read if there is no condition but time and level; the time then means whole minutes.

        :raises ValueError: if an argument is wrong.
        :raises OSError: if a file cannot be read.
        """
        query = Query(since, until, tuple(hosts), level, grep, exclude, ignore_case, boot, release)
        if query == Query(since, until, level=level, ignore_case=ignore_case):
            begin = None if since is None else since // 60 * 60
            end = None if until is None else until // 60 * 60 + 60
            merged = self._of_indexes("minutes", index.minutes_of, begin, end, partial(_merged, index.merged_minutes))
            if level is not None and merged is not None:
                merged = merged.filter(pc.less_equal(merged.column("level"), level))
        else:
            search = self._search(query, columns=("level",), progress=progress, cancelled=cancelled)
            merged = _merged(index.merged_minutes, (_span(rows, _minutes_of) for rows in search))
        if merged is None:
            return []
        minutes = merged.column("minute").cast(pa.int64())
        if since is not None:
            merged = merged.filter(pc.greater_equal(minutes, int(since // 60) * 60))
            minutes = merged.column("minute").cast(pa.int64())
        if until is not None:
            merged = merged.filter(pc.less_equal(minutes, int(until // 60) * 60))
        columns = [merged.column("minute").cast(pa.int64()), merged.column("level"), merged.column("count")]
        return list(zip(*(column.to_pylist() for column in columns), strict=True))

    def patterns(
        self, *, since: float | None = None, until: float | None = None, hosts: Sequence[str] = ()
    ) -> list[Pattern]:
        """Return the messages by the form of their texts, the most frequent form first.

        Only the indexes are read. The numbers are of whole segments: with ``since`` or ``until``, of those that have a
        message in that time; forms without a message in that time are left out if their times say so.

        :param hosts: as for :meth:`hosts`: forms that one of these hosts sent. The numbers are those of all hosts.
        :raises ValueError: if an argument is wrong.
        :raises OSError: if a file cannot be read.
        """
        Query(since, until, tuple(hosts))

        def together(spans: Iterator[Span]) -> list[Pattern]:
            return list(patterns(span.table for span in spans).values())

        found = self._of_indexes("patterns", _patterns_of, since, until, together)
        chosen = {host.address for host in self.hosts(hosts=hosts)} if hosts else None
        kept = [
            pattern
            for pattern in found
            if (since is None or pattern.last >= since)
            and (until is None or pattern.first <= until)
            and (chosen is None or not chosen.isdisjoint(pattern.hosts))
        ]
        return sorted(kept, key=lambda pattern: (-pattern.count, pattern.form))

    def pattern_spans(self) -> list[Span]:
        """Return the patterns of each segment and of the journal, the oldest first (netconsd.store.patterns).

        :raises OSError: if a file cannot be read.
        """
        return self._of_indexes("patterns", _patterns_of, None, None, list)

    def _of_indexes(
        self,
        section: str,
        made: Callable[[pa.Table], pa.Table],
        since: float | None,
        until: float | None,
        use: Callable[[Iterator[Span]], _Used],
    ) -> _Used:
        """Return what ``use`` makes of a section of each index in a time, the oldest first, and the same of the
        journal."""
        for trial in range(_TRIALS):
            try:
                return use(self._of_files(section, made, since, until))
            except FileNotFoundError:
                # The compactor has removed a file that was listed; its messages are in another one.
                if trial == _TRIALS - 1 or not (self.directory / layout.JOURNAL).is_dir():
                    raise
                if trial:
                    self._files.forget()
        raise AssertionError

    def _of_files(
        self, section: str, made: Callable[[pa.Table], pa.Table], since: float | None, until: float | None
    ) -> Iterator[Span]:
        segments, parts = self._files.lists()
        for file, head in segments:
            if head is not None and (
                (since is not None and head.last < since * 1e6) or (until is not None and head.first > until * 1e6)
            ):
                continue
            try:
                table = None if head is None else head.table(section)
            except Damaged as error:
                assert head is not None
                self._files.name_index(head, error, "read")
                table = None
            if head is not None and table is not None:
                yield Span(head.first / 1e6, head.last / 1e6, table)
            elif (rows := self._rows(file.path)) is not None:
                yield _span(rows, made)
        for rows in self._files.tail(segments, parts):
            yield _span(rows, made)

    def _rows(self, path: Path) -> pa.Table | None:
        try:
            opened, _ = segment.open_segment(path)
            with opened:
                groups = [segment.read_group(opened, group) for group in range(opened.num_row_groups)]
        except Damaged as error:
            self._files.name(f"{path}: {error}; its messages are not counted")
            return None
        return pa.concat_tables(groups) if groups else None

    def reports(
        self, *, since: float | None = None, until: float | None = None, hosts: Sequence[str] = ()
    ) -> Iterator[Report]:
        """Return the crash reports, with their messages, the oldest first. Lines that are damaged are passed over.

        :param hosts: as for :meth:`messages`; userdata are those of the report's messages.
        :raises ValueError: if an argument is wrong.
        :raises OSError: if a file cannot be read.
        """
        return self._findings(findings.REPORTS, findings.report_of, since, until, hosts)

    def events(
        self, *, since: float | None = None, until: float | None = None, hosts: Sequence[str] = ()
    ) -> Iterator[Event]:
        """Return the events of machines, as :meth:`reports`. An event without a message has no userdata."""
        return self._findings(findings.EVENTS, findings.event_of, since, until, hosts)

    def _findings(
        self,
        kind: str,
        of: Callable[[bytes], Any],
        since: float | None,
        until: float | None,
        hosts: Sequence[str],
    ) -> Iterator[Any]:
        Query(since, until, tuple(hosts))
        return self._read_findings(kind, of, since, until, Selection(hosts) if hosts else None)

    def _read_findings(
        self,
        kind: str,
        of: Callable[[bytes], Any],
        since: float | None,
        until: float | None,
        chosen: Selection | None,
    ) -> Iterator[Any]:
        for path in findings.day_files(self.directory, kind):
            if (since is not None and path.stem < findings.day_of(since)) or (
                until is not None and path.stem > findings.day_of(until)
            ):
                continue
            try:
                file = path.open("rb")
            except FileNotFoundError:  # too old, and deleted
                continue
            found = []
            with file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        break  # being written
                    try:
                        found.append(of(line))
                    except ValueError as error:
                        if line.strip():
                            self._files.name(f"{path}: line {number}: {error}")
            # A file has the order of writing, of several workers.
            for finding in sorted(found, key=lambda finding: float(finding.received_at)):
                if (
                    (since is None or finding.received_at >= since)
                    and (until is None or finding.received_at <= until)
                    and (chosen is None or _has(chosen, finding))
                ):
                    yield finding


def _has(chosen: Selection, finding: Report | Event) -> bool:
    """Return whether the machine of a report or an event is chosen, by its address or the userdata of a message."""
    address = finding.source.address if finding.source is not None else ""
    if address and chosen.has(address, None):
        return True
    if not (chosen.named or chosen.userdata):
        return False
    if isinstance(finding, Report):
        messages: Sequence[Message | None] = (*finding.before, *finding.messages)
    else:
        messages = (finding.message,)
    sent = {json.dumps(dict(message.userdata)) for message in messages if isinstance(message, ExtendedMessage)}
    return any(chosen.has(address, userdata) or chosen.has_userdata(userdata) for userdata in sent)


_TRIALS: Final = 10
#: Messages of one microsecond that a context expects.
_SAME_TIME: Final = 64


#: Tables of hosts or minutes that are in memory at once: those of a thousand segments of a large fleet have gigabytes.
_TOGETHER: Final = 16


def _merged(merge: Callable[[list[pa.Table]], pa.Table], spans: Iterable[Span]) -> pa.Table | None:
    """Return the sums of tables, the oldest first; None if there are none."""
    tables: list[pa.Table] = []
    for span in spans:
        tables.append(span.table)
        if len(tables) >= _TOGETHER:
            tables = [merge(tables)]
    return merge(tables) if tables else None


def _span(rows: pa.Table, made: Callable[[pa.Table], pa.Table]) -> Span:
    at = rows.column("received_at").cast(pa.int64())
    return Span(pc.min(at).as_py() / 1e6, pc.max(at).as_py() / 1e6, made(rows))


def _minutes_of(rows: pa.Table) -> pa.Table:
    """Return the messages of each minute and level, of rows in any order."""
    minutes = pc.floor_temporal(rows.column("received_at"), unit="minute").cast(index.MINUTES.field("minute").type)
    grouped = pa.table({"minute": minutes, "level": rows.column("level")}).group_by(["minute", "level"])
    counted = grouped.aggregate([([], "count_all")])
    return pa.Table.from_arrays(
        [counted.column(name) for name in ("minute", "level", "count_all")], schema=index.MINUTES
    )


def _patterns_of(rows: pa.Table) -> pa.Table:
    sums = Sums()
    sums.add(rows)
    return sums.table()


def stored(rows: pa.Table) -> Iterator[Stored]:
    """Yield the messages of rows with all columns."""
    boots, numbers = rows.column("boot").to_pylist(), rows.column("number").to_pylist()
    for message, boot, number in zip(segment.messages(rows), boots, numbers, strict=True):
        yield Stored(message, boot, number)
