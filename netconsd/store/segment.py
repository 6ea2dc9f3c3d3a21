"""A segment: stored messages as an immutable Parquet file, which docs/store describes for other programs.

Rules:

1. A row is a message, and has every field of it: :func:`messages` returns equal ones, with ``received_at`` to the
   microsecond.
2. The rows are sorted by sender (:attr:`Source.key`), and of a sender in the order of arrival, so that its boots follow
   each other.
3. ``raw`` is null if the bytes follow from the other columns (:func:`_raw`), as for nearly all messages of kernels.
4. Each page has a checksum, which readers of Parquet can verify. What follows the pages has one in the index.
5. The metadata of the file has, under the key ``netconsd``, a JSON object: the version of the schema, the number of the
   segment, the numbers of the parts of the journal from which it was made (``parts``), and the numbers of the segments
   that it replaces (``replaces``). A reader ignores parts and segments that an existing segment names.

Needs pyarrow: the extra ``netconsd[store]``.
"""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from netconsd.protocol.body import Body, escape, parse, readable
from netconsd.protocol.message import (
    ExtendedMessage,
    LegacyDatagram,
    LegacyMessage,
    Message,
    Source,
    source_of,
)
from netconsd.store import records
from netconsd.store.boots import Boots
from netconsd.store.cells import Cells, at_places, either, narrow
from netconsd.store.columns import NONE, Columns, legacy_line
from netconsd.store.layout import source_at
from netconsd.store.records import Damaged

#: The version of the schema. A new column raises it, and is nullable; a reader of this version reads all before it.
SCHEMA_VERSION: Final = 1
OLDEST_VERSION: Final = 0
#: The columns that a version added: null in rows of the versions before it. Version 0 was that of the first builds.
ADDED: Final = MappingProxyType({1: frozenset({"caller_bytes", "release_bytes"})})
#: Rows of a group: what a query reads at least, and so the cost of a query for one sender. Groups four times as large
#: take 0.6 bytes less a message.
GROUP_ROWS: Final = 1 << 14
#: Bytes of texts and raw bytes with which a group ends: the bound of the memory where messages are long. 16,384 usual
#: texts have 1.3 MB.
GROUP_BYTES: Final = 8 << 20
#: zstd's level 3 takes 0.1 us a message more, and at most 2 bytes less.
_LEVEL: Final = 1

#: The marks of a row, in this order: the fields of a message that are true.
MARKS: Final = MappingProxyType(
    {
        "new": records.NEW,
        "boot": records.BOOT,
        "replayed": records.REPLAYED,
        "emergency": records.EMERGENCY,
        "incomplete": records.INCOMPLETE,
        "seq_reset": records.SEQ_RESET,
        "out_of_order": records.OUT_OF_ORDER,
        "continuation": records.CONTINUATION,
    }
)
FORMATS: Final = ("extended", "legacy", "datagram")

#: Tails whose fields are remembered, and their bytes at most: a stranger can invent any number, and each takes four
#: times its bytes.
_KNOWN_TAILS: Final = 1 << 14
_TAIL_BYTES: Final = 256

_WORD: Final = pa.dictionary(pa.int32(), pa.string())
_OCTETS: Final = pa.dictionary(pa.int32(), pa.binary())
#: The columns. docs/store describes each.
SCHEMA: Final = pa.schema(
    [
        pa.field("received_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("host", _WORD, nullable=False),
        pa.field("port", pa.uint16(), nullable=False),
        pa.field("scope_id", pa.uint32(), nullable=False),
        pa.field("boot", pa.int64(), nullable=False),
        pa.field("format", _WORD, nullable=False),
        pa.field("level", pa.int8()),
        pa.field("facility", pa.int16()),
        pa.field("seq", pa.uint64()),
        pa.field("number", pa.uint32()),
        pa.field("ts_usec", pa.uint64()),
        pa.field("caller", _WORD),
        pa.field("text", pa.string(), nullable=False),
        pa.field("marks", _WORD, nullable=False),
        pa.field("missing", pa.uint64(), nullable=False),
        pa.field("lost", pa.int64()),
        pa.field("likely_lost", pa.uint64(), nullable=False),
        pa.field("limited", pa.int64(), nullable=False),
        pa.field("dictionary", _WORD),
        pa.field("userdata", _WORD),
        pa.field("cpu", pa.uint32()),
        pa.field("taskname", _WORD),
        pa.field("release", _WORD),
        pa.field("release_in_header", pa.bool_(), nullable=False),
        pa.field("msgid", pa.uint32()),
        pa.field("raw", pa.binary()),
        pa.field("caller_bytes", _OCTETS),
        pa.field("release_bytes", _OCTETS),
    ]
)
_DICTIONARIES: Final = [field.name for field in SCHEMA if pa.types.is_dictionary(field.type)]
#: The text has Parquet's plain encoding: its lengths between the texts take 0.9 bytes less a message, after zstd, than
#: together (DELTA_LENGTH_BYTE_ARRAY), and less time to write and to read.
_ENCODINGS: Final = dict.fromkeys(("received_at", "seq", "number", "ts_usec", "msgid"), "DELTA_BINARY_PACKED")
#: Columns whose values repeat in most rows. The boots of neighbouring senders are far from each other: as deltas they
#: take 1.4 bytes more a message.
_REPEATED: Final = ("port", "scope_id", "boot", "level", "facility", "missing", "lost", "likely_lost", "limited", "cpu")
#: Columns whose encoding leaves nothing to compress: a call of zstd for each takes longer than the encoding.
_PLAIN: Final = frozenset(
    (
        *("port", "scope_id", "boot", "format", "facility", "number", "marks", "missing", "lost", "likely_lost"),
        *("limited", "cpu", "release_in_header", "msgid"),
    )
)
_COMPRESSED: Final = [name for name in SCHEMA.names if name not in _PLAIN]
#: Columns by which readers skip row groups: the least and the largest value of each group are in the file.
_STATISTICS: Final = ["received_at", "host", "port", "boot", "level", "seq"]


@dataclass(frozen=True, slots=True)
class About:
    """The metadata of a segment (rule 5)."""

    number: int
    parts: tuple[int, ...] = ()
    #: The numbers and generations of segments.
    replaces: tuple[tuple[int, int], ...] = ()
    #: How often its messages were merged: with the number it names the segment.
    generation: int = 0
    version: int = SCHEMA_VERSION

    def fields(self) -> dict[str, Any]:
        """Return the object of the metadata."""
        return {
            "version": self.version,
            "number": self.number,
            "generation": self.generation,
            "parts": list(self.parts),
            "replaces": [list(name) for name in self.replaces],
        }


def about(fields: Mapping[str, Any]) -> About:
    """Return the opposite of :meth:`About.fields`; other fields are ignored.

    :raises Damaged: for a field that is missing or of another type, and for a version that is not known here.
    """
    try:
        version = int(fields["version"])
        if not OLDEST_VERSION <= version <= SCHEMA_VERSION:
            raise Damaged(f"its version is {version}; this netconsd reads {OLDEST_VERSION} to {SCHEMA_VERSION}")
        parts = tuple(int(number) for number in fields["parts"])
        replaces = tuple((int(number), int(generation)) for number, generation in fields["replaces"])
        return About(int(fields["number"]), parts, replaces, int(fields["generation"]), version)
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged("its metadata is not as netconsd writes it") from error


@dataclass(slots=True)
class Group:
    """A row group: its table, and the same as numbers and bytes, from which the index makes its sums without Arrow."""

    table: pa.Table
    #: (host, port, scope_id) of each sender, and the row behind its last one.
    names: list[tuple[str, int, int]]
    ends: array[int]
    #: All texts in UTF-8, one after the other; 0, and the end of each.
    texts: bytes
    text_ends: array[int]
    #: An ``array("Q")`` each; NONE for none, and 8 for no level.
    received_at: array[int]
    levels: array[int]
    boots: array[int]
    ts_usec: array[int]
    seqs: array[int]
    numbers: array[int]
    #: The place of each row's word among the words.
    releases: array[int]
    release_words: list[str]
    userdata: array[int]
    userdata_words: list[str]
    #: missing, lost (0 for unknown), likely_lost and limited; None if no row has one.
    rare: list[array[int]] | None

    def senders(self) -> Iterator[tuple[tuple[str, int, int], int, int]]:
        """Yield (name, first row, end) of each sender: no list, because a stranger can invent senders."""
        first = 0
        for name, end in zip(self.names, self.ends, strict=True):
            yield name, first, end
            first = end


def table(columns: Columns, boots: Boots) -> pa.Table:
    """Return the rows of sorted columns, of which ``boots`` was assigned the boots."""
    return group(columns, boots).table


def group(columns: Columns, boots: Boots) -> Group:
    """Return the rows of sorted columns, of which ``boots`` was assigned the boots."""
    rows = columns.rows
    cells = Cells(columns, boots.number)
    names = [_name(key) for key, _, _ in columns.senders]
    ends = array("Q", [first + count for _, first, count in columns.senders])
    tails = _Tails(columns.tails)
    # The header's release wins, as in ExtendedMessage.release.
    releases, release_words, of_headers = tails.releases, tails.release_words, None
    if columns.releases:
        release_words = dict(release_words)
        of_headers = array(
            "Q", [release_words.setdefault(readable(value), len(release_words)) for value in columns.releases]
        )
    of_rows = at_places(releases, columns.tail)
    in_sysdata = of_rows
    if of_headers is not None:
        of_rows = either(at_places(of_headers, columns.release), of_rows)
    userdata = at_places(tails.userdata, columns.tail)
    caller_words: dict[str, int] = {}
    callers = at_places(
        array("Q", [caller_words.setdefault(readable(value), len(caller_words)) for value in columns.callers]),
        columns.caller,
    )
    rare = _rare(columns) if columns.rare else None
    zeros = pa.py_buffer(bytes(8 * rows))
    if rare is None:
        missing, likely_lost, limited = (
            pa.Array.from_buffers(kind, rows, [None, zeros]) for kind in (pa.uint64(), pa.uint64(), pa.int64())
        )
        lost = _values(pa.int64(), rows, zeros, cells.none_lost, rows - cells.none_lost_rows)
    else:
        missing, likely_lost, limited = (
            pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(rare[place])])
            for kind, place in ((pa.uint64(), 0), (pa.uint64(), 2), (pa.int64(), 3))
        )
        lost = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(rare[1])])
        none_lost = pa.Array.from_buffers(pa.bool_(), rows, [None, pa.py_buffer(cells.none_lost)])
        lost = pc.if_else(pc.or_(none_lost, pc.greater(lost, 0)), lost, pa.scalar(None, pa.int64()))
    texts = bytes(columns.text)
    values: dict[str, pa.Array] = {
        "received_at": _values(SCHEMA.field("received_at").type, rows, columns.received_at),
        "host": _hosts(names, ends),
        "port": _values(pa.uint16(), rows, _repeated("H", [port for _, port, _ in names], ends)),
        "scope_id": _values(pa.uint32(), rows, _repeated("I", [scope for _, _, scope in names], ends)),
        "boot": _values(pa.int64(), rows, boots.boot),
        "format": _by_kind([_format(kind) for kind in cells.kinds], cells.kind),
        "level": _values(pa.int8(), rows, cells.level, cells.prefixed, rows - cells.prefixed_rows),
        "facility": _values(pa.int16(), rows, cells.facility, cells.prefixed, rows - cells.prefixed_rows),
        "seq": _values(pa.uint64(), rows, columns.seq, cells.extended, rows - cells.extended_rows),
        "number": _values(pa.uint32(), rows, cells.number, cells.legacy, cells.extended_rows),
        "ts_usec": _values(pa.uint64(), rows, columns.ts_usec, cells.timed, rows - cells.timed_rows),
        "caller": _words(caller_words, callers),
        "text": pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(cells.text_end), pa.py_buffer(texts)]),
        "marks": _by_kind([marks(kind) for kind in cells.kinds], cells.kind),
        "missing": missing,
        "lost": lost,
        "likely_lost": likely_lost,
        "limited": limited,
        "dictionary": _words(tails.dictionary_words, at_places(tails.dictionary, columns.tail)),
        "userdata": _words(tails.userdata_words, userdata),
        "cpu": _values(pa.uint32(), rows, *narrow(at_places(tails.cpu, columns.tail))),
        "taskname": _words(tails.taskname_words, at_places(tails.taskname, columns.tail)),
        "release": _words(release_words, of_rows),
        "release_in_header": pa.Array.from_buffers(pa.bool_(), rows, [None, pa.py_buffer(cells.in_header)]),
        "msgid": _values(pa.uint32(), rows, cells.msgid, cells.counted, rows - cells.counted_rows),
        "raw": _raws(columns, tails, cells, in_sysdata),
        "caller_bytes": _other_bytes(columns.callers, columns.caller),
        "release_bytes": _other_bytes(columns.releases, columns.release),
    }
    made = pa.Table.from_arrays([values[name] for name in SCHEMA.names], schema=SCHEMA)
    assert made.num_rows == rows
    return Group(
        made,
        names,
        ends,
        texts,
        columns.text_end,
        columns.received_at,
        cells.levels,
        boots.boot,
        columns.ts_usec,
        cells.seqs,
        cells.numbers,
        of_rows,
        list(release_words),
        userdata,
        list(tails.userdata_words),
        rare,
    )


def marks(flags: int) -> str:
    """Return the words of a record's flags: ``new,boot``; empty for most messages."""
    return ",".join([word for word, flag in MARKS.items() if flags & flag])


def _format(flags: int) -> str:
    if flags & records.EXTENDED:
        return "extended"
    return "datagram" if flags & records.DATAGRAM else "legacy"


def _values(
    kind: pa.DataType, rows: int, values: array[int] | pa.Buffer, bits: bytearray | None = None, none: int = 0
) -> pa.Array:
    """Return the values of a buffer.

    :param bits: of the rows that have a value; not looked at if ``none``, the number of the others, is 0.
    """
    valid = pa.py_buffer(bits) if none and bits is not None else None
    return pa.Array.from_buffers(kind, rows, [valid, pa.py_buffer(values)], none)


def _words(words: Iterable[str], places: array[int], kind: pa.DataType = _WORD) -> pa.Array:
    """Return the word at each place, as a dictionary."""
    return _dictionary(pa.array(list(words), kind.value_type), *narrow(places))


def _by_kind(words: list[str], kinds: array[int]) -> pa.Array:
    """Return the word of each row's kind, as a dictionary; words can be equal."""
    numbers, places = _places(words)
    return _words(places, at_places(numbers, kinds))


def _dictionary(words: pa.Array, indices: array[int], bits: bytearray | None = None, none: int = 0) -> pa.Array:
    # Each index is one of a word.
    found = _values(pa.int32(), len(indices), indices, bits, none)
    return pa.DictionaryArray.from_arrays(found, words, safe=False)


def _hosts(names: list[tuple[str, int, int]], ends: array[int]) -> pa.Array:
    """Return the host of each row, as a dictionary."""
    words: dict[str, int] = {}
    places = [words.setdefault(host, len(words)) for host, _, _ in names]
    return _dictionary(pa.array(list(words), pa.string()), _repeated("I", places, ends))


def _repeated(code: str, values: Iterable[int], ends: array[int]) -> array[int]:
    """Return each value up to its end."""
    found = array(code)
    for value, end in zip(values, ends, strict=True):
        found.extend(array(code, (value,)) * (end - len(found)))
    return found


def _other_bytes(values: Mapping[bytes, int], places: array[int]) -> pa.Array:
    """Return bytes that are not the UTF-8 of their text, and null for others."""
    others = [value for value in values if readable(value).encode() != value]
    if not others:
        return pa.nulls(len(places), _OCTETS)
    numbers = array("Q", [NONE]) * len(values)
    for number, value in enumerate(others):
        numbers[values[value]] = number
    return _dictionary(pa.array(others, pa.binary()), *narrow(at_places(numbers, places)))


@lru_cache(maxsize=16384)
def _name(key: bytes) -> tuple[str, int, int]:
    """Return address, port and scope of a sender: of a fleet, the same ones in each segment. One takes 500 bytes."""
    source = source_of(key)
    return source.address, source.port, source.scope


def _rare(columns: Columns) -> list[array[int]]:
    """Return missing, lost (0 for unknown), likely_lost and limited of each row, signed numbers in two's complement."""
    numbers = [array("Q", bytes(8 * columns.rows)) for _ in range(4)]
    for row, (missing, lost, likely_lost, limited) in columns.rare.items():
        for column, value in zip(numbers, (missing, max(0, lost), likely_lost, limited), strict=True):
            column[row] = value & NONE
    return numbers


class _Tails:
    """The fields of each different tail (columns.py, rule 3), by its index: places of words, NONE for none."""

    def __init__(self, tails: Mapping[bytes, int]) -> None:
        fields = [_known_tail(tail) if len(tail) <= _TAIL_BYTES else _tail(tail) for tail in tails]
        dictionaries, userdata, cpus, tasknames, releases, plain = zip(*fields, strict=True) if fields else ((),) * 6
        self.dictionary, self.dictionary_words = _places(dictionaries)
        self.userdata, self.userdata_words = _places(userdata)
        self.taskname, self.taskname_words = _places(tasknames)
        self.releases, self.release_words = _places(releases)
        self.cpu = array("Q", [NONE if cpu is None else cpu & 0xFFFFFFFF for cpu in cpus])
        #: Whether the bytes follow from the fields, for each and for all.
        self.plain = plain
        self.all_plain = all(plain)


def _places(values: Sequence[str | None]) -> tuple[array[int], dict[str, int]]:
    """Return the place of each value among the different ones, and these with their places."""
    words: dict[str, int] = {}
    return array("Q", [NONE if value is None else words.setdefault(value, len(words)) for value in values]), words


def _tail(tail: bytes) -> tuple[str | None, str | None, int | None, str | None, str | None, bool]:
    """Return the dictionary, userdata, cpu, taskname and release of a tail, and whether its bytes follow from them."""
    body = parse(b"\n" + tail)
    fields = _object(body.dictionary), _object(body.userdata), body.cpu, body.taskname, body.release
    return *fields, _lines(body) == tail


#: Of a fleet, the same ones in each row group and segment.
_known_tail: Final = lru_cache(maxsize=_KNOWN_TAILS)(_tail)


def _object(values: Mapping[str, str]) -> str | None:
    return json.dumps(dict(values), ensure_ascii=False, separators=(",", ":")) if values else None


def _lines(body: Body) -> bytes:
    """Return what follows the line of the text, as a kernel writes it, up to the msgid."""
    found = [b" %b=%b\n" % (escape(key.encode()), escape(value.encode())) for key, value in body.dictionary.items()]
    lines = [f" {key}={value}\n" for key, value in body.userdata.items()]
    if body.cpu is not None:
        lines.append(f" cpu={body.cpu}\n")
    if body.taskname is not None:
        lines.append(f" taskname={body.taskname}\n")
    if body.release is not None:
        lines.append(f" release={body.release}\n")
    return b"".join([*found, "".join(lines).encode()])


def _raws(columns: Columns, tails: _Tails, cells: Cells, in_sysdata: array[int]) -> pa.Array:
    """Return the bytes of the rows of which they do not follow from the other columns.

    :param in_sysdata: the release of each row in the sysdata.
    """
    raws: dict[int, bytes] = dict(columns.raws)
    # Seldom: lines that no kernel writes, or a release both in the header and in the sysdata.
    if not tails.all_plain or (columns.releases and tails.release_words):
        values = list(columns.tails)
        for row, tail in enumerate(columns.tail):
            if tail == NONE or row in raws:
                continue
            if not tails.plain[tail] or (columns.release[row] != NONE and in_sysdata[row] != NONE):
                raws[row] = _extended_bytes(columns, row, values)
    if not raws:
        return pa.nulls(columns.rows, pa.binary())
    places = array("Q", [NONE]) * columns.rows
    for place, row in enumerate(raws):
        places[row] = place
    return pa.array(raws.values(), pa.binary()).take(_values(pa.int32(), columns.rows, *narrow(places)))


def _extended_bytes(columns: Columns, row: int, tails: list[bytes]) -> bytes:
    text = escape(bytes(columns.text[columns.text_end[row] : columns.text_end[row + 1]]))
    msgid = columns.msgid[row]
    line = b"" if msgid == NONE else b" msgid=%d\n" % msgid
    return b"%b\n%b%b" % (text, tails[columns.tail[row]], line)


def messages(rows: pa.Table) -> list[Message]:
    """Return the messages of rows, in their order; the table has all columns (rule 1). Any thread."""
    columns = [_list_of(rows.column(name)) for name in _READ]
    sources: dict[tuple[str, int, int], Source] = {}
    return [_message(sources, *fields) for fields in zip(*columns, strict=True)]


def _list_of(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column: of words, and of times in microseconds, in a third of the time of to_pylist."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    if not pa.types.is_dictionary(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    found: list[Any] = []
    for chunk in column.chunks:
        if len(chunk.dictionary) > len(chunk):
            # Some rows of a large table keep all of its words.
            found += chunk.to_pylist()
            continue
        words = chunk.dictionary.to_pylist()
        # The last one is null's.
        words.append(None)
        found += [words[index] for index in chunk.indices.fill_null(len(words) - 1).to_pylist()]
    return found


_READ: Final = (
    *("received_at", "host", "port", "scope_id", "format", "level", "facility", "seq", "ts_usec", "caller", "text"),
    *("marks", "missing", "lost", "likely_lost", "limited", "dictionary", "userdata", "cpu", "taskname", "release"),
    *("release_in_header", "msgid", "raw", "caller_bytes", "release_bytes"),
)


def _message(  # one argument for each column
    sources: dict[tuple[str, int, int], Source],
    received_at: int,
    host: str,
    port: int,
    scope: int,
    format: str,
    level: int | None,
    facility: int | None,
    seq: int,
    ts_usec: int | None,
    caller: str | None,
    text: str,
    words: str,
    missing: int,
    lost: int | None,
    likely_lost: int,
    limited: int,
    dictionary: str | None,
    userdata: str | None,
    cpu: int | None,
    taskname: str | None,
    release: str | None,
    in_header: bool,
    msgid: int | None,
    raw: bytes | None,
    caller_bytes: bytes | None,
    release_bytes: bytes | None,
) -> Message:
    source = sources.get((host, port, scope))
    if source is None:
        source = sources[host, port, scope] = source_at(host, port, scope)
    at = received_at / 1_000_000
    flags = _flags(words)
    if format != "extended":
        if raw is None:
            prefix = None if level is None or facility is None else facility * 8 + level
            raw = legacy_line(prefix, ts_usec, caller, text.encode())
        message = (LegacyDatagram if format == "datagram" else LegacyMessage)(source, at, raw)
        message._new = bool(flags & records.NEW)
        message._boot = bool(flags & records.BOOT)
        message._limited = limited
        return message
    if raw is None:
        lines = _lines_of(dictionary, userdata, cpu, taskname, None if in_header else release)
        raw = b"%b\n%b%b" % (escape(text.encode()), lines, b"" if msgid is None else b" msgid=%d\n" % msgid)
    if caller is not None and caller_bytes is None:
        caller_bytes = caller.encode()
    if in_header and release is not None and release_bytes is None:
        release_bytes = release.encode()
    assert level is not None and facility is not None, "extended messages have both"
    return ExtendedMessage(
        source,
        at,
        raw,
        facility * 8 + level,
        seq,
        NONE if ts_usec is None else ts_usec,
        bool(flags & records.CONTINUATION),
        caller_bytes,
        release_bytes,
        -1 if msgid is None else msgid,
        bool(flags & records.REPLAYED),
        bool(flags & records.EMERGENCY),
        bool(flags & records.INCOMPLETE),
        bool(flags & records.SEQ_RESET),
        bool(flags & records.OUT_OF_ORDER),
        missing or 0,
        -1 if lost is None else lost,
        bool(flags & records.NEW),
        bool(flags & records.BOOT),
        limited or 0,
        likely_lost or 0,
    )


@lru_cache(maxsize=256)
def _flags(words: str) -> int:
    found = 0
    for word in words.split(","):
        found |= MARKS.get(word, 0)
    return found


@lru_cache(maxsize=2048)
def _lines_of(
    dictionary: str | None, userdata: str | None, cpu: int | None, taskname: str | None, release: str | None
) -> bytes:
    return _lines(
        Body(json.loads(dictionary or "{}"), json.loads(userdata or "{}"), cpu, taskname, release),
    )


def encode(rows: Iterable[pa.Table], about: About) -> tuple[pa.Buffer, int, int]:
    """Return a segment's file, the offset at which its pages end, and the CRC-32 of what follows them (rule 4).

    :param rows: sorted tables of the schema, each of whole row groups.
    """
    sink = pa.BufferOutputStream()
    write(sink, rows, about)
    data = sink.getvalue()
    return data, *end_of(data)


def write(sink: Any, rows: Iterable[pa.Table], about: About) -> None:
    """Write a segment's file.

    :param sink: a file of pyarrow, or an object with the methods of a file.
    :param rows: as for :func:`encode`; each is written before the next one is asked for.
    """
    schema = SCHEMA.with_metadata({b"netconsd": json.dumps(about.fields()).encode()})
    with pq.ParquetWriter(
        sink,
        schema,
        compression={name: "none" if name in _PLAIN else "zstd" for name in SCHEMA.names},
        compression_level=dict.fromkeys(_COMPRESSED, _LEVEL),
        use_dictionary=[*_DICTIONARIES, *_REPEATED],
        column_encoding=_ENCODINGS,
        write_statistics=_STATISTICS,
        write_page_checksum=True,
        write_page_index=True,
        data_page_size=1 << 20,
    ) as writer:
        for part in rows:
            writer.write_table(pa.Table.from_arrays(part.columns, schema=schema), row_group_size=GROUP_ROWS)
            # Not kept while the next one is made.
            del part


def end_of(data: pa.Buffer | bytes | memoryview) -> tuple[int, int]:
    """Return the offset at which the pages of a segment's file end, and the CRC-32 of what follows them.

    :raises Damaged: if its end cannot be read.
    """
    try:
        end = _pages_end(pq.read_metadata(pa.BufferReader(data)))
    except (pa.ArrowException, OSError) as error:
        raise Damaged(f"it is not readable as Parquet: {_first_line(error)}") from error
    return end, zlib.crc32(memoryview(data)[end:])


def end_of_file(path: str) -> tuple[int, int, int]:
    """Return the size of a segment's file, and as :func:`end_of`.

    :raises Damaged: if its end cannot be read.
    :raises OSError: if it cannot be read.
    """
    with pa.memory_map(path) as file:
        data = file.read_buffer()
        return data.size, *end_of(data)


def _pages_end(metadata: pq.FileMetaData) -> int:
    end = 4
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            start = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset is not None:
                start = min(start, column.dictionary_page_offset)
            end = max(end, start + column.total_compressed_size)
    return end


def open_segment(path: Path, footer: pq.FileMetaData | None = None) -> tuple[pq.ParquetFile, About]:
    """Open a segment for reading with checksums: its file, and what its metadata says.

    :param footer: its ``metadata`` when it was opened before, which takes a millisecond to read.
    :raises Damaged: for a file that is no segment, or whose end is damaged so that it cannot be read.
    :raises FileNotFoundError: if it was removed.
    :raises OSError: if it cannot be read.
    """
    try:
        file = pq.ParquetFile(path, metadata=footer, page_checksum_verification=True, memory_map=False)
    except pa.ArrowException as error:
        raise Damaged(f"it is not readable as Parquet: {_first_line(error)}") from error
    try:
        fields = json.loads((file.schema_arrow.metadata or {})[b"netconsd"])
        return file, about(fields)
    except (KeyError, ValueError, TypeError) as error:
        file.close()
        raise Damaged("it is not a segment of netconsd") from error
    except Damaged:
        file.close()
        raise


def check_end(path: Path, pages_end: int, checksum: int, size: int) -> None:
    """Compare the size of a segment and what follows its pages with the numbers in its index.

    :raises Damaged: if they differ.
    :raises OSError: if it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(pages_end)
        found = file.read()
    if pages_end + len(found) != size or zlib.crc32(found) != checksum:
        raise Damaged("the checksum of its end is wrong")


def _check_missing(file: pq.ParquetFile, missing: set[str]) -> None:
    """Check that the version of a file did not have these columns.

    :raises Damaged: if it had one.
    """
    version = about(json.loads(file.schema_arrow.metadata[b"netconsd"])).version
    later = {name for added, names in ADDED.items() if added > version for name in names}
    if not missing <= later:
        names = ", ".join(f'"{name}"' for name in sorted(missing - later))
        raise Damaged(f"version {version} has the columns {names}, which are missing")


def read_group(file: pq.ParquetFile, group: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a row group: the columns with these names, or all of the schema. Columns that the version of the file did
    not have are null.

    :raises Damaged: if a checksum is wrong, or the pages contradict themselves.
    :raises OSError: if the file cannot be read.
    """
    names = list(SCHEMA.names if columns is None else columns)
    try:
        read = file.read_row_group(group, columns=names, use_threads=False)
        # The heads of pages have no checksum: a damaged one can give a dictionary without entries, or rows without a
        # value.
        if len(read.column_names) < len(names):
            _check_missing(file, set(names) - set(read.column_names))
        for name in read.column_names:
            column = read.column(name)
            if pa.types.is_dictionary(column.type):
                column.validate(full=True)
            if column.null_count and not SCHEMA.field(name).nullable:
                raise Damaged(f'row group {group}: the column "{name}" has rows without a value')
    except pa.ArrowException as error:
        raise Damaged(f"row group {group}: {_first_line(error)}") from error
    except OSError as error:
        # pyarrow reports a wrong checksum as an OSError, without a number.
        if error.errno is None:
            raise Damaged(f"row group {group}: {_first_line(error)}") from error
        raise
    return with_all_columns(read, names)


def with_all_columns(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return the columns with these names, each of its type in the schema and nullable; those that are missing are
    null."""
    schema = pa.schema([SCHEMA.field(name).with_nullable(True) for name in names])
    found = set(rows.column_names)
    columns = []
    for field in schema:
        if field.name not in found:
            columns.append(pa.nulls(rows.num_rows, field.type))
        else:
            column = rows.column(field.name)
            columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
