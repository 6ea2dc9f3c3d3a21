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

from netconsd.store import trigrams
from netconsd.store.layout import source_at
from netconsd.store.patterns import Sums
from netconsd.store.records import Damaged
from netconsd.store.segment import GROUP_ROWS, About, about

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
        self._all = bytearray(trigrams.BITMAP_BYTES)
        self._bitmaps: list[bytes] = []
        self._hosts: list[pa.Table] = []
        self._minutes: list[pa.Table] = []
        self._patterns = Sums()
        self._newest: list[pa.Table] = []
        self._newest_rows = 0
        self._newest_after = -(1 << 63)

    def add(self, rows: pa.Table) -> None:
        """Add rows of the schema: whole row groups, except for the last of the segment."""
        for start in range(0, rows.num_rows, GROUP_ROWS):
            group = rows.slice(start, GROUP_ROWS)
            self.groups.append(group.num_rows)
            bitmap = bytearray(trigrams.BITMAP_BYTES)
            for chunk in group.column("text").chunks:
                if len(chunk):
                    _, offsets, data = chunk.buffers()
                    ends = array("i")
                    ends.frombytes(offsets.slice(4 * chunk.offset, 4 * (len(chunk) + 1)))
                    start_at = ends[0]
                    text = b"" if data is None else data.slice(start_at, ends[-1] - start_at).to_pybytes()
                    if start_at:
                        ends = array("i", [end - start_at for end in ends])
                    trigrams.add(bitmap, text, ends)
            self._bitmaps.append(bytes(bitmap))
            both = int.from_bytes(self._all, "little") | int.from_bytes(bitmap, "little")
            self._all = bytearray(both.to_bytes(trigrams.BITMAP_BYTES, "little"))
        self._hosts.append(hosts_of(rows))
        self._minutes.append(minutes_of(rows))
        self._patterns.add(rows)
        self._add_newest(rows)

    def _add_newest(self, rows: pa.Table) -> None:
        at = rows.column("received_at").cast(pa.int64())
        newer = pc.indices_nonzero(pc.greater(at, self._newest_after))
        if len(newer) > NEWEST_ROWS:
            # Found by their times alone, as most of the columns are words.
            self._newest_after = max(self._newest_after, _after_newest(at))
            newer = pc.indices_nonzero(pc.greater(at, self._newest_after))
        if len(newer):
            self._newest.append(rows.take(newer))
            self._newest_rows += len(newer)
        if self._newest_rows > 2 * NEWEST_ROWS:
            self._cut_newest()

    def _cut_newest(self) -> None:
        """Leave the newest rows, all of those after a time."""
        joined = pa.concat_tables(self._newest).unify_dictionaries()
        at = joined.column("received_at").cast(pa.int64())
        if joined.num_rows > NEWEST_ROWS:
            self._newest_after = max(self._newest_after, _after_newest(at))
        joined = joined.take(pc.indices_nonzero(pc.greater(at, self._newest_after)))
        self._newest, self._newest_rows = [joined], joined.num_rows

    def newest(self) -> tuple[pa.Table, int] | None:
        """Return the newest rows, and the time after which they are all, in microseconds; None if a row group has not
        many more, or they have all the same time."""
        if sum(self.groups) <= 2 * GROUP_ROWS or not self._newest:
            return None
        self._cut_newest()
        rows = self._newest[0]
        return (_compact(rows), self._newest_after) if rows.num_rows else None

    def sections(self) -> dict[str, bytes]:
        """Return the sections, after the last :meth:`add`."""
        newest = self.newest()
        return {
            **({} if newest is None else {"newest": _ipc(newest[0])}),
            "all": bytes(self._all),
            "groups": pa.compress(b"".join(self._bitmaps), codec="zstd", asbytes=True),
            "hosts": _ipc(merged_hosts(self._hosts, sequential=True)),
            "minutes": _ipc(merged_minutes(self._minutes)),
            "patterns": _ipc(self._patterns.table()),
        }

    def bounds(self) -> tuple[int, int]:
        """Return the times of the earliest and the latest message, in microseconds."""
        first = min(pc.min(table.column("first")).cast(pa.int64()).as_py() for table in self._hosts)
        last = max(pc.max(table.column("last")).cast(pa.int64()).as_py() for table in self._hosts)
        return first, last


def make(summary: Summary, about: About, size: int, pages_end: int, checksum: int) -> bytes:
    """Return an index's file for a segment of which all rows were added to the summary."""
    first, last = summary.bounds()
    newest = summary.newest()
    head = {
        **({} if newest is None else {"newest_after": newest[1]}),
        **about.fields(),
        "groups": summary.groups,
        "first": first,
        "last": last,
        "size": size,
        "pages_end": pages_end,
        "checksum": checksum,
    }
    return encode(summary.sections(), head)


_KEYS: Final = ("host", "port", "scope_id")
_WORDS: Final = ("host", "release", "userdata")
_SUMS: Final = ("missing", "lost", "likely_lost", "limited")
#: What is known of a sender last; null where it was never said.
_LAST: Final = ("release", "userdata", "boot", "received_at", "ts_usec", "seq", "number")


def hosts_of(rows: pa.Table) -> pa.Table:
    """Return the hosts of sorted rows, in their order."""
    plain = rows.select([*_KEYS, "received_at", "level", *_SUMS, *(name for name in _LAST if name != "received_at")])
    # Numbers in place of words: groups have no "last" of a dictionary.
    words: dict[str, pa.Array] = {}
    for name in _WORDS:
        column = plain.column(name).unify_dictionaries()
        words[name] = column.chunk(0).dictionary if column.num_chunks else pa.array([], pa.string())
        indices = pa.chunked_array([chunk.indices for chunk in column.chunks], pa.int32())
        plain = plain.set_column(plain.schema.get_field_index(name), name, indices)
    levels = pc.fill_null(plain.column("level"), 8)
    plain = plain.append_column("is", pa.repeat(pa.scalar(1, pa.int64()), rows.num_rows))
    for level in range(9):
        plain = plain.append_column(f"is_{level}", pc.equal(levels, pa.scalar(level, pa.int8())).cast(pa.int8()))
    grouped = plain.group_by(list(_KEYS), use_threads=False).aggregate(
        [
            ("is", "sum"),
            ("received_at", "min"),
            ("received_at", "max"),
            *((f"is_{level}", "sum") for level in range(9)),
            *((name, "sum") for name in _SUMS),
            ("boot", "first"),
            ("boot", "count_distinct"),
            *((name, "last") for name in _LAST),
        ]
    )
    names = {
        "rows": "is_sum",
        "first": "received_at_min",
        "last": "received_at_max",
        **{f"level_{level}": f"is_{level}_sum" for level in range(8)},
        "level_none": "is_8_sum",
        **{name: f"{name}_sum" for name in _SUMS},
        "first_boot": "boot_first",
        "boots": "boot_count_distinct",
        **{name: f"{name}_last" for name in _LAST},
    }
    rows_of = grouped.column("is_sum")
    columns = {name: grouped.column(names.get(name, name)) for name in HOSTS.names if name != "first_row"}
    columns["first_row"] = pc.subtract(pc.cumulative_sum(rows_of), rows_of)
    for name in _WORDS:
        columns[name] = words[name].take(columns[name].combine_chunks())
    return pa.Table.from_arrays([columns[name].cast(HOSTS.field(name).type) for name in HOSTS.names], schema=HOSTS)


def merged_hosts(tables: Iterable[pa.Table], *, sequential: bool = False) -> pa.Table:
    """Return one row for each sender of hosts tables, the oldest first.

    :param sequential: the tables are of rows that follow each other in one segment, so that only the last sender of a
        table can be in the next one; the order stays, and ``first_row`` is that in the segment. Otherwise ``first_row``
        has no meaning.
    """
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


def minutes_of(rows: pa.Table) -> pa.Table:
    """Return the messages of each minute and level."""
    at = rows.column("received_at").cast(pa.int64())
    minute = pc.floor(pc.divide(at.cast(pa.float64()), 60e6)).cast(pa.int64())
    table = pa.table({"minute": pc.multiply(minute, 60), "level": rows.column("level")})
    grouped = table.group_by(["minute", "level"], use_threads=False).aggregate([([], "count_all")])
    return pa.Table.from_arrays(
        [
            grouped.column("minute").cast(MINUTES.field("minute").type),
            grouped.column("level"),
            grouped.column("count_all"),
        ],
        schema=MINUTES,
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
    times = pa.table({"at": at})
    place = pc.select_k_unstable(times, NEWEST_ROWS + 1, [("at", "descending")])[NEWEST_ROWS]
    return int(at[place.as_py()].as_py())


def _compact(rows: pa.Table) -> pa.Table:
    """Return rows with dictionaries of their own words only."""
    for number, field_ in enumerate(rows.schema):
        if pa.types.is_dictionary(field_.type):
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
