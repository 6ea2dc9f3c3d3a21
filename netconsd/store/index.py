"""The index beside a segment: what a query reads to skip the segment, and numbers that need no messages.

Rules:

1. The file is a line of magic, the length of the head and its CRC-32, the head, and the sections. The head is a JSON
   object; it has the place, the size and the CRC-32 of each section, so that a reader reads only those that it needs.
2. Everything in it follows from the segment, and can be made again from it (:func:`rebuild`), except for the place and
   checksum of the segment's end.
3. The sections (Arrow IPC with zstd, except for the bitmaps)::

       all        the bitmap of the trigrams of all texts (trigrams.py)
       groups     the bitmaps of the row groups, one after the other, compressed with zstd
       hosts      a row for each sender, in the order of the segment: HOSTS
       minutes    the number of messages of each minute and level: MINUTES
       patterns   a row for each form of text: patterns.SCHEMA
       newest     the newest rows with all columns, in the order of the segment: at most NEWEST_ROWS. A search for the
                  last messages needs no others, mostly; they would be in every row group
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from netconsd.store import senders, trigrams
from netconsd.store.cells import at_places
from netconsd.store.layout import source_at
from netconsd.store.patterns import Sums, parts
from netconsd.store.patterns import merged as merged_patterns
from netconsd.store.records import Damaged
from netconsd.store.segment import About, Group, about
from netconsd.store.senders import Senders
from netconsd.store.tallies import NO_LEVEL

#: The version of the file.
INDEX_VERSION: Final = 1
_MAGIC: Final = b"netconsd index 1\n"
# The magic, padded; the length of the head, and its CRC-32.
_HEAD: Final = struct.Struct("<24sII")
#: A head is larger only if it is damaged: it names at most some thousand parts and row groups.
_HEAD_LIMIT: Final = 1 << 22

#: The columns of ``hosts``. ``levels`` has the messages of each level from 0 to 7, and of none; the last five are the
#: state of the sender after the segment (boots.py).
HOSTS: Final = pa.schema(
    [
        pa.field("host", pa.string()),
        pa.field("port", pa.uint16()),
        pa.field("scope_id", pa.uint32()),
        pa.field("first_row", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("first", pa.timestamp("us", tz="UTC")),
        pa.field("last", pa.timestamp("us", tz="UTC")),
        *(pa.field(f"level_{level}", pa.int64()) for level in (*range(8), "none")),
        pa.field("missing", pa.uint64()),
        pa.field("lost", pa.int64()),
        pa.field("likely_lost", pa.uint64()),
        pa.field("limited", pa.int64()),
        pa.field("release", pa.string()),
        pa.field("userdata", pa.string()),
        pa.field("first_boot", pa.int64()),
        pa.field("boots", pa.int64()),
        pa.field("boot", pa.int64()),
        pa.field("received_at", pa.timestamp("us", tz="UTC")),
        pa.field("ts_usec", pa.uint64()),
        pa.field("seq", pa.uint64()),
        pa.field("number", pa.uint32()),
    ]
)
#: Rows of ``newest``: some 100 KB. A search for 100 messages finds them there if one message in 40 matches.
NEWEST_ROWS: Final = 1 << 12
#: Bytes of texts and raw bytes of ``newest``, where messages are long: usual ones have 400 KB.
NEWEST_BYTES: Final = 1 << 20
#: Releases or userdata with which those that no sender has any more are forgotten.
WORDS_LIMIT: Final = 1 << 13
#: The columns of ``minutes``.
MINUTES: Final = pa.schema(
    [
        pa.field("minute", pa.timestamp("s", tz="UTC")),
        pa.field("level", pa.int8()),
        pa.field("count", pa.int64()),
    ]
)


@dataclass(slots=True)
class Section:
    """The place of a section in the file."""

    offset: int
    size: int
    checksum: int


@dataclass(slots=True)
class Index:
    """The head of an index; ``section`` and the functions below read the rest. Any thread."""

    path: Path
    about: About
    #: The rows of each row group.
    groups: list[int]
    #: The times of the earliest and the latest message, in microseconds.
    first: int
    last: int
    #: The size of the segment's file, the offset at which its pages end, and the CRC-32 of the bytes after these.
    size: int
    pages_end: int
    checksum: int
    sections: dict[str, Section] = field(default_factory=dict)
    #: All rows after this time, in microseconds, are in the section ``newest``; None if there is no such section.
    newest_after: int | None = None
    #: The rows of ``hosts``, or the most that they can be: those of the segment.
    senders: int = 0

    @property
    def rows(self) -> int:
        """The rows of the segment."""
        return sum(self.groups)

    def section(self, name: str) -> bytes | None:
        """Read a section; None if the index has none of this name.

        :raises Damaged: if its checksum is wrong.
        :raises OSError: if the file cannot be read.
        """
        place = self.sections.get(name)
        if place is None:
            return None
        with self.path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), place.size, place.offset)
        if len(data) != place.size or zlib.crc32(data) != place.checksum:
            raise Damaged(f'the checksum of the section "{name}" is wrong')
        return data

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Read a section that is a table; None if the index has none of this name.

        :param columns: names of columns of HOSTS, for the section ``hosts``; None for all.
        :raises Damaged: as :meth:`section`.
        :raises OSError: as :meth:`section`.
        """
        data = self.section(name)
        if data is None:
            return None
        included = None if columns is None else [HOSTS.get_field_index(column) for column in columns]
        return pa.ipc.open_stream(data, options=pa.ipc.IpcReadOptions(included_fields=included)).read_all()

    def can_have(self, wanted: Sequence[Sequence[list[int]]]) -> bool:
        """Return whether a text of the segment can have these trigrams (:func:`trigrams.windows`).

        :raises Damaged: as :meth:`section`.
        :raises OSError: as :meth:`section`.
        """
        return not wanted or trigrams.can_have(self._bitmaps("all", 1), wanted)

    def groups_with(self, wanted: Sequence[Sequence[list[int]]]) -> list[int]:
        """Return the numbers of the row groups of which a text can have these trigrams.

        :raises Damaged: as :meth:`section`.
        :raises OSError: as :meth:`section`.
        """
        if not wanted:
            return list(range(len(self.groups)))
        size = trigrams.BITMAP_BYTES
        data = memoryview(self._bitmaps("groups", len(self.groups)))
        return [
            group
            for group in range(len(self.groups))
            if trigrams.can_have(data[group * size : (group + 1) * size], wanted)
        ]

    def _bitmaps(self, name: str, count: int) -> bytes:
        data = self.section(name)
        if data is None:
            raise Damaged(f'it has no section "{name}"')
        if name == "groups":
            try:
                data = pa.decompress(data, trigrams.BITMAP_BYTES * count, codec="zstd", asbytes=True)
            except (pa.ArrowException, OSError) as error:
                raise Damaged(f'the section "{name}" is not as netconsd writes it') from error
        if len(data) != trigrams.BITMAP_BYTES * count:
            raise Damaged(f'the section "{name}" has a wrong size')
        return data


def read(path: Path) -> Index:
    """Read the head of an index.

    :raises Damaged: for a file that is no index of a version that is known here, or is damaged.
    :raises FileNotFoundError: if there is none.
    :raises OSError: if it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        begin = os.pread(file.fileno(), _HEAD.size + (1 << 13), 0)
        if len(begin) < _HEAD.size:
            raise Damaged("it is shorter than its head")
        magic, size, checksum = _HEAD.unpack_from(begin)
        if magic.rstrip(b"\0") != _MAGIC:
            raise Damaged("it is not an index of version 1")
        if size > _HEAD_LIMIT:
            raise Damaged(f"it says that its head has {size} bytes")
        head = begin[_HEAD.size :][:size]
        if len(head) < size:
            head += os.pread(file.fileno(), size - len(head), _HEAD.size + len(head))
    if len(head) < size or zlib.crc32(head) != checksum:
        raise Damaged("the checksum of its head is wrong")
    fields = json.loads(head)
    return Index(
        path,
        about(fields),
        fields["groups"],
        fields["first"],
        fields["last"],
        fields["size"],
        fields["pages_end"],
        fields["checksum"],
        {name: Section(*place) for name, place in fields["sections"].items()},
        fields.get("newest_after") if "newest" in fields["sections"] else None,
        fields.get("senders", sum(fields["groups"])),
    )


def encode(sections: Mapping[str, bytes], head: Mapping[str, Any]) -> bytes:
    """Return an index's file.

    :param head: the fields of the head, without the sections' places.
    """
    places: dict[str, list[int]] = {}
    # The places are in the head, whose length they change: from the end of the head first.
    at = 0
    for name, data in sections.items():
        places[name] = [at, len(data), zlib.crc32(data)]
        at += len(data)
    start = _HEAD.size
    while True:
        moved = {name: [offset + start, size, checksum] for name, (offset, size, checksum) in places.items()}
        text = json.dumps({**head, "sections": moved}, separators=(",", ":")).encode()
        if _HEAD.size + len(text) <= start:
            text = text.ljust(start - _HEAD.size)
            break
        start = _HEAD.size + len(text) + 8
    return b"".join([_HEAD.pack(_MAGIC, len(text), zlib.crc32(text)), text, *sections.values()])


class Summary:
    """Makes the sections of an index from the tables of a segment, in their order. For one thread at a time."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self._bitmaps = Bitmaps()
        self._sums = SenderSums()
        self._patterns = Sums()
        self._hosts: pa.Table | None = None
        self.newest = Newest()

    @property
    def hosts(self) -> pa.Table:
        """The hosts, after the last :meth:`add`."""
        if self._hosts is None:
            self._hosts = self._sums.hosts()
        return self._hosts

    def add(self, rows: pa.Table) -> None:
        """Add a row group of the segment: rows of the schema."""
        if not rows.num_rows:
            return
        self.groups.append(rows.num_rows)
        self._bitmaps.add(rows.column("text"))
        self._sums.add(rows)
        self._patterns.add(rows)
        self.newest.add(rows)

    def add_group(self, group: Group) -> None:
        """Add a row group of the segment, with the same result as :meth:`add`, in half of its time."""
        if not group.table.num_rows:
            return
        self.groups.append(group.table.num_rows)
        self._bitmaps.add_texts(group.texts, group.text_ends)
        self._sums.add_group(group)
        self._patterns.add_group(group)
        self.newest.add(group.table)

    def sections(self) -> dict[str, bytes]:
        """Return the sections, after the last :meth:`add`."""
        return {
            **self.newest.section(),
            **self._bitmaps.sections(),
            "hosts": _ipc(self.hosts),
            "minutes": _ipc(self._sums.minutes()),
            "patterns": _ipc(self._patterns.table()),
        }

    def bounds(self) -> tuple[int, int]:
        """Return the times of the earliest and the latest message, in microseconds."""
        return _bounds(self.hosts)


def hosts_of(rows: pa.Table) -> pa.Table:
    """Return the hosts of sorted rows, in their order: :data:`HOSTS`."""
    sums = SenderSums()
    sums.add(rows)
    return sums.hosts()


def minutes_of(rows: pa.Table) -> pa.Table:
    """Return the messages of each minute and level of sorted rows, sorted: :data:`MINUTES`."""
    sums = SenderSums()
    sums.add(rows)
    return sums.minutes()


class Newest:
    """The newest rows of a segment. For one thread at a time."""

    def __init__(self) -> None:
        self._rows: list[pa.Table] = []
        self._count = 0
        self._bytes = 0
        self._seen = 0
        self._after = -(1 << 63)
        self._made: tuple[pa.Table, int] | None = None

    def add(self, rows: pa.Table) -> None:
        """Add a row group of the segment."""
        self._seen += rows.num_rows
        at = rows.column("received_at").cast(pa.int64())
        newer = pc.indices_nonzero(pc.greater(at, self._after))
        if len(newer) > NEWEST_ROWS:
            # Found by their times alone, as most of the columns are words.
            self._after = max(self._after, _after_newest(at))
            newer = pc.indices_nonzero(pc.greater(at, self._after))
        if len(newer):
            # Without the words of all other rows of the group.
            taken = _compact(_taken(rows, newer), _WORDS_BYTES)
            self._rows.append(taken)
            self._count += len(newer)
            self._bytes += _long_bytes(taken)
        if self._count > 2 * NEWEST_ROWS or self._bytes > 2 * NEWEST_BYTES:
            self._cut()

    def _cut(self) -> None:
        """Leave the newest rows, all of those after a time."""
        joined = pa.concat_tables(self._rows).unify_dictionaries()
        at = joined.column("received_at").cast(pa.int64())
        if joined.num_rows > NEWEST_ROWS:
            self._after = max(self._after, _after_newest(at))
        if self._bytes > NEWEST_BYTES:
            self._after = max(self._after, _after_bytes(joined, at))
        joined = _compact(joined.take(pc.indices_nonzero(pc.greater(at, self._after))), _WORDS_BYTES)
        self._rows, self._count, self._bytes = [joined], joined.num_rows, _long_bytes(joined)

    def table(self) -> tuple[pa.Table, int] | None:
        """Return the newest rows, and the time after which they are all, in microseconds; None if the segment has not
        many more, as two row groups are, or they have all the same time."""
        if self._made is None and self._seen > 8 * NEWEST_ROWS and self._rows:
            self._cut()
            if self._rows[0].num_rows:
                self._made = _compact(self._rows[0]), self._after
        return self._made

    def section(self) -> dict[str, bytes]:
        """Return the section ``newest``, or nothing."""
        found = self.table()
        return {} if found is None else {"newest": _ipc(found[0])}

    def head(self) -> dict[str, int]:
        """Return the field of the head, or nothing."""
        found = self.table()
        return {} if found is None else {"newest_after": found[1]}


class SenderSums:
    """The sums of the senders and minutes of sorted rows. For one thread at a time."""

    def __init__(self) -> None:
        self._senders = Senders()
        # Tables, because a stranger can invent senders: as Python's objects the names take 250 bytes more each.
        self._names: list[pa.Table] = []
        self._last: tuple[str, int, int] | None = None
        self._words: dict[str, dict[str, int]] = {"release": {}, "userdata": {}}
        self._most_words = dict.fromkeys(self._words, WORDS_LIMIT)

    def add(self, rows: pa.Table) -> None:
        """Add rows, which continue those before."""
        if not rows.num_rows:
            return
        rows = rows.select([*_KEYS, "received_at", "level", "boot", *_WORDS, "ts_usec", "seq", "number", *_SUMS])
        rows = rows.unify_dictionaries().combine_chunks()
        columns, rare = _numbers(rows, self._words)
        self._add(columns, runs(rows), rare)

    def add_group(self, group: Group) -> None:
        """Add rows, as :meth:`add`."""
        words = []
        for name, known_words in (("release", group.release_words), ("userdata", group.userdata_words)):
            known = self._words[name]
            words.append(array("Q", [known.setdefault(word, len(known)) for word in known_words]))
        columns = [
            *(group.received_at, group.levels, group.boots),
            *(at_places(words[0], group.releases), at_places(words[1], group.userdata)),
            *(group.ts_usec, group.seqs, group.numbers),
            *(group.rare or ()),
        ]
        self._add(columns, group.senders(), group.rare is not None)

    def _add(self, columns: list[array[int]], of: Iterable[tuple[tuple[str, int, int], int, int]], rare: bool) -> None:
        names = []
        for name, first, end in of:
            if name != self._last:
                names.append(name)
                self._last = name
                self._senders.begin()
            self._senders.add(columns, first, end, rare)
        if names:
            self._names.append(_named(names))
        for word, known in self._words.items():
            if len(known) > self._most_words[word]:
                self._forget(word)

    def _forget(self, name: str) -> None:
        """Leave only the words that are the last ones of a sender: a stranger can send another one each time."""
        words, place = self._senders.words, _PLACES[name]
        of_number = list(self._words[name])
        left: dict[str, int] = {}
        for at in range(place, len(words), senders.WORDS):
            if words[at] != senders.NONE:
                words[at] = left.setdefault(of_number[words[at]], len(left))
        self._words[name] = left
        self._most_words[name] = 2 * len(left) + WORDS_LIMIT

    def hosts(self) -> pa.Table:
        """Return a row for each sender, in the order of the segment: :data:`HOSTS`."""
        names = pa.concat_tables(self._names) if self._names else _named([])
        columns = []
        # One after the other, so that few are in memory twice.
        for field_ in HOSTS:
            if field_.name in _KEYS:
                column = names.column(field_.name).combine_chunks()
            elif field_.name == "first_row":
                rows = self._column("rows")
                column = pc.subtract(pc.cumulative_sum(rows), rows)
            else:
                column = self._column(field_.name)
            columns.append(column.cast(field_.type, safe=False))
        return pa.Table.from_arrays(columns, schema=HOSTS)

    def _column(self, name: str) -> pa.Array:
        """Return a column of the hosts."""
        words = self._senders.words[_PLACES[name] :: senders.WORDS]
        column = pa.Array.from_buffers(pa.uint64(), len(words), [None, pa.py_buffer(words)])
        if name in _NULLABLE:
            column = pc.if_else(pc.equal(column, _NONE), pa.scalar(None, pa.uint64()), column)
        if name in _WORDS:
            return pa.array(list(self._words[name]), pa.string()).take(column)
        return column.view(pa.int64()) if pa.types.is_timestamp(HOSTS.field(name).type) else column

    def minutes(self) -> pa.Table:
        """Return the messages of each minute and level, sorted: :data:`MINUTES`."""
        counts = self._senders.counts
        found = [
            (60 * minute, None if level == NO_LEVEL else level, counts[place + level])
            for minute, place in sorted(self._senders.minutes.items())
            for level in range(senders.LEVELS)
            if counts[place + level]
        ]
        columns = list(zip(*found, strict=True)) or [(), (), ()]
        return pa.Table.from_arrays(
            [pa.array(column, field.type) for column, field in zip(columns, MINUTES, strict=True)], schema=MINUTES
        )


def _named(names: list[tuple[str, int, int]]) -> pa.Table:
    """Return names of senders as a table of the columns _KEYS."""
    columns = list(zip(*names, strict=True)) or [(), (), ()]
    return pa.table(
        [pa.array(column, HOSTS.field(name).type) for name, column in zip(_KEYS, columns, strict=True)], list(_KEYS)
    )


class Bitmaps:
    """The bitmaps of trigrams of the row groups of a segment. For one thread at a time."""

    def __init__(self) -> None:
        self._all = 0
        self._groups: list[bytes] = []

    def add(self, texts: pa.ChunkedArray) -> None:
        """Add the texts of a row group."""
        bitmap = bytearray(trigrams.BITMAP_BYTES)
        for chunk in texts.chunks:
            if len(chunk):
                ends, data = parts(chunk)
                trigrams.add(bitmap, data, ends)
        self._put(bitmap)

    def add_texts(self, texts: bytes, ends: array[int]) -> None:
        """Add the texts of a row group, one after the other, with the begin of the first and the ends of all."""
        bitmap = bytearray(trigrams.BITMAP_BYTES)
        trigrams.add(bitmap, texts, ends)
        self._put(bitmap)

    def _put(self, bitmap: bytearray) -> None:
        self._groups.append(bytes(bitmap))
        self._all |= int.from_bytes(bitmap, "little")

    def sections(self) -> dict[str, bytes]:
        """Return the sections ``all`` and ``groups``."""
        return {
            "all": self._all.to_bytes(trigrams.BITMAP_BYTES, "little"),
            "groups": pa.compress(b"".join(self._groups), codec="zstd", asbytes=True),
        }


def runs(rows: pa.Table) -> list[tuple[tuple[str, int, int], int, int]]:
    """Return each sender of sorted rows, of one chunk: ((host, port, scope_id), first row, end)."""
    hosts, ports, scopes = (rows.column(name).chunk(0) for name in _KEYS)
    changed = pc.or_(
        pc.or_(_changed(hosts.indices), _changed(ports)),
        _changed(scopes),
    )
    begins = [0, *pc.add(pc.indices_nonzero(changed), pa.scalar(1, pa.uint64())).to_pylist()]
    taken = pa.array(begins)
    names = zip(*(column.take(taken).to_pylist() for column in (hosts, ports, scopes)), strict=True)
    return list(zip(names, begins, [*begins[1:], rows.num_rows], strict=True))


def _changed(column: pa.Array) -> pa.Array:
    return pc.not_equal(column[1:], column[:-1])


def _numbers(rows: pa.Table, words: dict[str, dict[str, int]]) -> tuple[list[array[int]], bool]:
    """Return the columns for :meth:`Senders.add`, and whether the rare ones are among them."""
    columns = [
        rows.column("received_at").cast(pa.int64()),
        rows.column("level").fill_null(_NO_LEVEL),
        rows.column("boot"),
        *(_word_numbers(rows.column(name).chunk(0), known) for name, known in words.items()),
        *(rows.column(name).cast(pa.uint64()).fill_null(_NONE) for name in ("ts_usec", "seq", "number")),
    ]
    sums = [rows.column(name) for name in _SUMS]
    rare = any(pc.any(pc.not_equal(column, pa.scalar(0, column.type))).as_py() for column in sums)
    if rare:
        sums = [column.fill_null(pa.scalar(0, column.type)) for column in sums]
    return [_array(column) for column in (*columns, *(sums if rare else ()))], rare


class Merged:
    """Makes the sections of a merged segment from those of the segments: as :class:`Summary` from the rows, at less
    cost. The patterns are in another order, and those beyond the bounds of one segment can differ. For one thread at a
    time."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        """
        :param indexes: of the segments, the oldest first.
        :raises Damaged: if one cannot be read.
        :raises OSError: as Damaged.
        """
        self.groups: list[int] = []
        self._bitmaps = Bitmaps()
        self.newest = Newest()
        tables = {name: [_table(index, name) for index in indexes] for name in ("hosts", "minutes", "patterns")}
        #: The hosts of each segment.
        self.hosts_of = tables["hosts"]
        #: The hosts of all, in the order of the merged segment.
        self.hosts = _by_key(merged_hosts(tables["hosts"]))
        self._minutes = merged_minutes(tables["minutes"])
        self._patterns = merged_patterns(tables["patterns"])

    def add(self, rows: pa.Table) -> None:
        """Add a row group of the merged segment."""
        if rows.num_rows:
            self.groups.append(rows.num_rows)
            self._bitmaps.add(rows.column("text"))
            self.newest.add(rows)

    def sections(self) -> dict[str, bytes]:
        """Return the sections, after the last :meth:`add`."""
        return {
            **self.newest.section(),
            **self._bitmaps.sections(),
            "hosts": _ipc(self.hosts),
            "minutes": _ipc(self._minutes),
            "patterns": _ipc(self._patterns),
        }

    def bounds(self) -> tuple[int, int]:
        """Return the times of the earliest and the latest message, in microseconds."""
        return _bounds(self.hosts)


def _table(index: Index, name: str) -> pa.Table:
    found = index.table(name)
    if found is None:
        raise Damaged(f'it has no section "{name}"')
    return found


def _bounds(hosts: pa.Table) -> tuple[int, int]:
    first, last = (pc.min(hosts.column("first")), pc.max(hosts.column("last")))
    return first.cast(pa.int64()).as_py(), last.cast(pa.int64()).as_py()


def _by_key(hosts: pa.Table) -> pa.Table:
    """Return hosts in the order of a segment, with their first rows in it."""
    keys = [source_at(*names).key for names in zip(*(hosts.column(name).to_pylist() for name in _KEYS), strict=True)]
    found = hosts.take(pa.array(sorted(range(len(keys)), key=keys.__getitem__), pa.int64()))
    rows = found.column("rows")
    first_row = pc.subtract(pc.cumulative_sum(rows), rows)
    return found.set_column(found.schema.get_field_index("first_row"), HOSTS.field("first_row"), first_row)


def make(made: Summary | Merged, about: About, size: int, pages_end: int, checksum: int) -> bytes:
    """Return an index's file for a segment of which all row groups were added."""
    first, last = made.bounds()
    head = {
        **made.newest.head(),
        **about.fields(),
        "groups": made.groups,
        "first": first,
        "last": last,
        "size": size,
        "pages_end": pages_end,
        "checksum": checksum,
        "senders": made.hosts.num_rows,
    }
    return encode(made.sections(), head)


#: A number that is missing.
_NO_LEVEL: Final = pa.scalar(NO_LEVEL, pa.int8())
_NONE: Final = pa.scalar(senders.NONE, pa.uint64())
_KEYS: Final = ("host", "port", "scope_id")
#: The columns whose values can be long.
_LONG: Final = ("text", "raw")
_WORDS: Final = ("release", "userdata")
_SUMS: Final = ("missing", "lost", "likely_lost", "limited")
#: What is known of a sender last; null where it was never said.
_LAST: Final = ("release", "userdata", "boot", "received_at", "ts_usec", "seq", "number")
_NULLABLE: Final = ("release", "userdata", "ts_usec", "seq", "number")
#: The places of the numbers of a sender (senders.py).
_PLACES: Final[dict[str, int]] = {
    "rows": senders.ROWS,
    "first": senders.FIRST,
    "last": senders.LAST,
    **{f"level_{level}": senders.LEVEL + level for level in range(NO_LEVEL)},
    "level_none": senders.LEVEL + NO_LEVEL,
    **{name: senders.MISSING + at for at, name in enumerate(_SUMS)},
    "first_boot": senders.FIRST_BOOT,
    "boots": senders.BOOTS,
    "boot": senders.BOOT,
    "received_at": senders.RECEIVED_AT,
    "release": senders.RELEASE,
    "userdata": senders.USERDATA,
    "ts_usec": senders.TS_USEC,
    "seq": senders.SEQ,
    "number": senders.NUMBER,
}


def _word_numbers(column: pa.Array, known: dict[str, int]) -> pa.Array:
    """Return the numbers of the words of a dictionary's rows; ``NONE`` for null."""
    numbers = [
        senders.NONE if word is None else known.setdefault(word, len(known)) for word in column.dictionary.to_pylist()
    ]
    return pa.array([*numbers, senders.NONE], pa.uint64()).take(
        column.indices.fill_null(pa.scalar(len(numbers), pa.int32()))
    )


def _array(numbers: pa.Array | pa.ChunkedArray) -> array[int]:
    """Return numbers of one chunk without null as an ``array("Q")``."""
    found = numbers.chunk(0) if isinstance(numbers, pa.ChunkedArray) else numbers
    if found.type.bit_width != 64:
        found = found.cast(pa.int64())
    words = array("Q")
    words.frombytes(memoryview(found.buffers()[1])[8 * found.offset : 8 * (found.offset + len(found))])
    return words


def merged_hosts(tables: Iterable[pa.Table]) -> pa.Table:
    """Return one row for each sender of hosts tables, the oldest first. ``first_row`` has no meaning."""
    found = list(tables)
    if len(found) == 1:
        return found[0]
    joined = pa.concat_tables(found)
    summed = ["rows", *(name for name in HOSTS.names if name.startswith("level_")), *_SUMS, "boots"]
    # A boot that is in two tables is counted once.
    grouped = joined.group_by(list(_KEYS), use_threads=False).aggregate(
        [
            *((name, "sum") for name in summed),
            ("first", "min"),
            ("last", "max"),
            ("first_boot", "first"),
            ("boot", "list"),
            ("first_boot", "list"),
            *((name, "last") for name in _LAST),
        ]
    )
    again = [
        sum(a == b for a, b in zip(lasts, firsts[1:], strict=False)) if len(lasts) > 1 else 0
        for lasts, firsts in zip(
            grouped.column("boot_list").to_pylist(), grouped.column("first_boot_list").to_pylist(), strict=True
        )
    ]
    columns: dict[str, Any] = {
        **{name: grouped.column(name) for name in _KEYS},
        **{name: grouped.column(f"{name}_sum") for name in summed},
        **{name: grouped.column(f"{name}_last") for name in _LAST},
        "first": grouped.column("first_min"),
        "last": grouped.column("last_max"),
        "first_boot": grouped.column("first_boot_first"),
        "boots": pc.subtract(grouped.column("boots_sum"), pa.array(again, pa.int64())),
    }
    rows_of = columns["rows"]
    columns["first_row"] = pc.subtract(pc.cumulative_sum(rows_of), rows_of)
    return pa.Table.from_arrays(
        [columns[name].cast(HOSTS.field(name).type) for name in HOSTS.names],
        schema=HOSTS,
    )


def merged_minutes(tables: Iterable[pa.Table]) -> pa.Table:
    """Return the sums of tables of minutes, sorted by minute and level."""
    joined = pa.concat_tables(tables)
    grouped = joined.group_by(["minute", "level"], use_threads=False).aggregate([("count", "sum")])
    found = pa.Table.from_arrays(
        [grouped.column("minute"), grouped.column("level"), grouped.column("count_sum")], schema=MINUTES
    )
    return found.sort_by([("minute", "ascending"), ("level", "ascending")])


def _after_newest(at: pa.ChunkedArray) -> int:
    """Return the latest time after which there are at most NEWEST_ROWS of these times, which are more."""
    times = at.combine_chunks()
    place = len(times) - NEWEST_ROWS - 1
    return int(times[pc.partition_nth_indices(times, pivot=place)[place].as_py()].as_py())


def _taken(rows: pa.Table, places: pa.Array) -> pa.Table:
    """Return the rows at these places: of one batch, as a row group is, in half the time of the table's."""
    batches = rows.to_batches()
    return pa.Table.from_batches([batches[0].take(places)]) if len(batches) == 1 else rows.take(places)


def _after_bytes(rows: pa.Table, at: pa.ChunkedArray) -> int:
    """Return the latest time after which these rows have at most NEWEST_BYTES; all of them have more."""
    order = pc.sort_indices(at, sort_keys=[("", "descending")])
    sizes = [pc.binary_length(rows.column(name)).fill_null(0) for name in _LONG]
    total = pc.cumulative_sum(pc.add(*sizes).cast(pa.int64()).take(order))
    place = pc.sum(pc.less_equal(total, NEWEST_BYTES)).as_py() or 0
    # The time of the first row that is too much; the rows of the same time as well.
    return int(at[order[min(place, len(order) - 1)].as_py()].as_py())


def _long_bytes(rows: pa.Table) -> int:
    return sum(pc.sum(pc.binary_length(rows.column(name))).as_py() or 0 for name in _LONG)


#: A dictionary of fewer bytes is left as it is, for a while.
_WORDS_BYTES: Final = 1 << 14


def _compact(rows: pa.Table, most_bytes: int = 0) -> pa.Table:
    """Return rows with dictionaries of their own words only, except for those of fewer bytes than ``most_bytes``."""
    for number, field_ in enumerate(rows.schema):
        if pa.types.is_dictionary(field_.type):
            if all(chunk.dictionary.nbytes < most_bytes for chunk in rows.column(number).chunks):
                continue
            column = rows.column(number).cast(field_.type.value_type).combine_chunks().dictionary_encode()
            rows = rows.set_column(number, field_, column)
    return rows


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def states(hosts: pa.Table) -> list[tuple[bytes, tuple[int, int, int, int, int]]]:
    """Return the states of the senders after a segment, for :meth:`Boots.update`."""
    columns = [
        *(hosts.column(name).to_pylist() for name in _KEYS),
        hosts.column("boot").to_pylist(),
        hosts.column("received_at").cast(pa.int64()).to_pylist(),
        *(hosts.column(name).to_pylist() for name in ("ts_usec", "seq", "number")),
    ]
    return [
        (source_at(host, port, scope).key, (boot, at, ts or 0, seq or 0, number or 0))
        for host, port, scope, boot, at, ts, seq, number in zip(*columns, strict=True)
    ]
