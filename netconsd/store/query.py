"""Finds stored messages: the newest or the oldest first, from the segments and the journal, while others write them.

Rules:

1. A message that was appended to the journal before the search begins is found, once, although the compactor may move
   it into a segment, or merge segments, during the search. If a file is gone, the search continues at the time that it
   has reached, with a new list of the files.
2. A segment is skipped, without reading messages, by its times, its senders, and the trigrams of the text; then each
   row group by its senders and trigrams. The columns of the conditions are read first, the others only where a row
   matches and is within the limit. A search from the newest message on reads the newest rows of a segment from its
   index, and the segment only if they do not suffice.
3. Regular expressions are RE2's, so that no pattern takes more than linear time.
4. The messages are in the order of ``received_at``; equal times in the order of the store. To keep that order, matches
   are held while another segment can precede them: at most the matches of segments whose times overlap, and about twice
   the limit.
5. Damaged files, row groups and blocks are named once, counted and passed over. A segment with a damaged index is
   searched without it.
6. A search runs in the caller's thread and stops soon after ``cancelled`` returns true: at the next row group.

Needs pyarrow: the extra ``netconsd[store]``.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from netconsd.store import index, journal, layout, segment, trigrams
from netconsd.store.boots import Boots
from netconsd.store.columns import Columns
from netconsd.store.compactor import BOOTS_SEGMENTS, load_boots
from netconsd.store.index import Index
from netconsd.store.layout import SegmentFile
from netconsd.store.records import Damaged

#: Bytes of the journal that are turned into rows at once: about four times as much memory.
TAIL_BYTES: Final = 40 << 20
#: Rows that are given to the caller at once.
BATCH_ROWS: Final = 1 << 12
#: Lists of files in a row that were out of date before anything was found.
TRIALS: Final = 10
#: Segments of which the footer and the senders are kept for the next search: those of the last messages of a machine.
#: Each takes a millisecond to read. A footer takes some 2 MB.
KEPT_SEGMENTS: Final = 4
#: Bytes of a table of senders that is kept, about 50,000 senders.
KEPT_BYTES: Final = 4 << 20
#: Characters of a regular expression: RE2's memory grows with it.
PATTERN_LIMIT: Final = 4096
#: Seconds: times beyond it are not stored, and not searched for.
TIME_LIMIT: Final = 1e12
#: The least id of a boot; smaller numbers count boots from the last one. Ids are Unix times, or 0 and up for senders
#: without a clock, which `--boot ID` cannot choose.
LEAST_BOOT: Final = 1

Sender = tuple[str, int, int]
_KEYS: Final = ("host", "port", "scope_id")
_IDENTITY: Final = (*_KEYS, "boot", "seq", "number", "received_at")
_RANK: Final = "rank"
#: Later than all times, in microseconds; times before 1970 are not stored.
_ALWAYS: Final = 1 << 62
_OF_SENDERS: Final = (*_KEYS, "userdata", "first_row", "rows", "first_boot", "boot")
_SCHEMA: Final = pa.schema([field.with_nullable(True) for field in segment.SCHEMA])

#: A sender with its port, ``192.0.2.7:6665`` or ``[2001:db8::7]:6665``: no other condition has this form.
_WITH_PORT: Final = re.compile(r"(?:([^:\[\]]+)|\[([^\]]+)\]):\d{1,5}", re.ASCII)


@dataclass(frozen=True)
class Query:
    """The conditions of a search; a message has to meet all. Wrong ones raise ValueError, with the field's name."""

    #: Unix times of receipt in seconds, both inclusive.
    since: float | None = None
    until: float | None = None
    #: One of these: an address; a network; a name or a pattern with ``*``, compared with the address and with the
    #: userdata ``host`` that the sender last had in the segment; or ``KEY=VALUE`` of the message's userdata.
    hosts: tuple[str, ...] = ()
    #: The least severe level. Messages without a level do not match.
    level: int | None = None
    #: Regular expressions (RE2) that the text has to match, or must not match.
    grep: str | None = None
    exclude: str | None = None
    #: None: upper and lower case are alike in an expression without an upper-case letter.
    ignore_case: bool | None = None
    #: 0 for the last boot of each sender, -1 for the one before; a positive number is the id of a boot.
    boot: int | None = None
    #: A release, or the begin of it: ``7.3`` is 7.3, 7.3.4 and 7.3-rc1, not 7.30. Or a pattern with ``*``.
    release: str | None = None
    #: The sequence number.
    seq: int | None = None
    #: The most severe level: messages of a more severe one do not match.
    level_from: int = 0
    #: The caller, such as ``T1`` or ``C0``, or a pattern with ``*``.
    caller: str | None = None

    def __post_init__(self) -> None:
        for name in ("grep", "exclude"):
            pattern = getattr(self, name)
            if pattern is not None:
                if len(pattern) > PATTERN_LIMIT:
                    raise ValueError(f"{name}: the expression is longer than {PATTERN_LIMIT} characters")
                try:
                    pc.match_substring_regex(pa.array([""], pa.string()), pattern)
                except (pa.ArrowInvalid, UnicodeEncodeError) as error:
                    reason = str(error).partition("\n")[0].removeprefix("Invalid regular expression: ")
                    raise ValueError(f"{name}: {pattern} is not a regular expression of RE2: {reason}") from None
        if self.level is not None and not 0 <= self.level <= 7:
            raise ValueError(f"level: {self.level} is not from 0 to 7")
        if self.level_from and (self.level is None or not 0 <= self.level_from <= self.level):
            raise ValueError(f"level_from: {self.level_from} is not from 0 to level")
        for name in ("since", "until"):
            at = getattr(self, name)
            if at is not None and not abs(at) < TIME_LIMIT:
                raise ValueError(f"{name}: {at} is not a Unix time")
        if self.boot is not None and not abs(self.boot) < TIME_LIMIT:
            raise ValueError(f"boot: {self.boot} is not a boot")
        if self.seq is not None and not 0 <= self.seq < 1 << 64:
            raise ValueError(f"seq: {self.seq} is not a sequence number")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise ValueError("until: is before since")
        for host in self.hosts:
            if not host or host.startswith("="):
                raise ValueError(f'hosts: "{host}" is not an address, a network, a name, or KEY=VALUE')
            # As senders of one address are shown; a search for the text would silently find nothing.
            if "=" not in host and (with_port := _WITH_PORT.fullmatch(host)):
                raise ValueError(f"hosts: {host} has a port: write {with_port[1] or with_port[2]}, for all its senders")
            if "/" in host and "=" not in host:
                try:
                    ip_network(host, strict=False)
                except ValueError:
                    raise ValueError(f"hosts: {host} is not a network") from None

    @cached_property
    def selection(self) -> Selection | None:
        """The senders; None for all."""
        return Selection(self.hosts) if self.hosts else None

    @cached_property
    def trigrams(self) -> list[list[list[int]]]:
        """The trigrams that a text must have to match (:func:`netconsd.store.trigrams.windows`)."""
        if self.grep is None:
            return []
        folded = self.ignores_case(self.grep) or "(?" in self.grep
        words = required_words(self.grep, ascii_only=folded)
        return [options for word in words for options in trigrams.windows(word, folded=folded)]

    def ignores_case(self, pattern: str) -> bool:
        """Return whether an expression matches upper and lower case alike."""
        return smart_case(pattern) if self.ignore_case is None else self.ignore_case


def smart_case(pattern: str) -> bool:
    """Return whether an expression has no upper-case letter, as ripgrep decides; those of escapes such as ``\\S``, of
    flags, and of a group's name are none."""
    return not any(letter.isupper() for letter in _NOT_LETTERS.sub("", pattern))


_NOT_LETTERS: Final = re.compile(
    r"\\(?:[pP]\{[^}]*\}|[pP]?.)|\(\?(?:P?<[^>]*>|[A-Za-z-]*[:)])|\[:\^?[a-z]*:\]", re.DOTALL
)


def required_words(pattern: str, *, ascii_only: bool = False) -> list[str]:
    """Return words that each match of an expression contains, without regard to case; none if unsure.

    :param ascii_only: words end at other characters: in UTF-8, the two cases of a letter can have different lengths.
    """
    words, word = [], ""
    position, end = 0, len(pattern)
    while position < end:
        letter = pattern[position]
        position += 1
        if letter == "|":
            return []
        literal = ""
        if letter == "\\":
            escaped = pattern[position : position + 1]
            position += 1
            if not escaped.isascii() or escaped.isalnum() or not escaped:
                if escaped and escaped in "QpPx01234567":
                    # Quotes, classes and numbers have a syntax of their own.
                    return []
            else:
                literal = escaped
        elif letter == "[":
            position = _class_end(pattern, position)
        elif letter == "(":
            depth = 1
            while position < end and depth:
                inner = pattern[position]
                position += 1
                if inner == "\\":
                    if pattern[position : position + 1] == "Q":
                        return []
                    position += 1
                elif inner == "[":
                    position = _class_end(pattern, position)
                else:
                    depth += {"(": 1, ")": -1}.get(inner, 0)
        elif letter not in ".^$)*?+{}]":
            literal = letter
        following = pattern[position : position + 1]
        if literal and following not in ("*", "?", "{") and (literal.isascii() or not ascii_only):
            word += literal
            if following != "+":
                continue
        words.append(word)
        word = ""
        if letter == "{":
            position = max(position, pattern.find("}", position) + 1)
    return [found for found in [*words, word] if found]


def _class_end(pattern: str, position: int) -> int:
    """Return the position after a class of characters.

    :param position: after its bracket.
    """
    if pattern.startswith("^", position):
        position += 1
    # "]" as the first is one of its characters.
    if pattern.startswith("]", position):
        position += 1
    while position < len(pattern) and pattern[position] != "]":
        if pattern.startswith("[:", position) and (named := pattern.find(":]", position + 2)) >= 0:
            position = named + 2
        else:
            position += 2 if pattern[position] == "\\" else 1
    return position + 1


class Selection:
    """The senders that a query chooses."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        self._addresses: set[str] = set()
        names = []
        #: From keys of userdata to patterns of values.
        self.userdata: list[tuple[str, re.Pattern[str]]] = []
        for host in hosts:
            key, equals, value = host.partition("=")
            if equals:
                self.userdata.append((key, re.compile(translate(value))))
                continue
            try:
                address = ip_address(host)
            except ValueError:
                if "/" in host:
                    self._networks.append(ip_network(host, strict=False))
                else:
                    names.append(translate(host.lower()))
            else:
                self._addresses.add(str(getattr(address, "ipv4_mapped", None) or address))
        self._names = re.compile("|".join(names)) if names else None
        #: Whether a sender can be chosen by its userdata.
        self.named = bool(names)
        #: The addresses, if nothing else is chosen, and no link-local one, which stands for those of all interfaces.
        self.exact: list[str] = []
        if not (self._networks or names or self.userdata or any(a.startswith("fe80:") for a in self._addresses)):
            self.exact = sorted(self._addresses)

    def has(self, address: str, userdata: str | None) -> bool:
        """Return whether a sender is chosen, whatever the userdata of a message are.

        :param userdata: the JSON object that the sender last sent.
        """
        if address in self._addresses:
            return True
        plain = address.partition("%")[0]
        if plain in self._addresses:
            return True
        if self._networks and any(ip_address(plain) in network for network in self._networks):
            return True
        if self._names is None:
            return False
        name = str(json.loads(userdata).get("host", "")) if userdata else ""
        return bool(self._names.fullmatch(address) or (name and self._names.fullmatch(name.lower())))

    def has_userdata(self, userdata: str) -> bool:
        """Return whether a message with these userdata, a JSON object, is chosen."""
        found = json.loads(userdata)
        return any(key in found and pattern.fullmatch(str(found[key])) for key, pattern in self.userdata)


def release_pattern(release: str) -> re.Pattern[str]:
    """Return the expression for a release (:attr:`Query.release`)."""
    if "*" in release:
        return re.compile(translate(release))
    return re.compile(re.escape(release) + r"(?:[^0-9].*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a search."""

    #: Segments that were searched or skipped, of all that there are.
    done: int
    total: int
    #: The Unix time to which everything was searched.
    reached: float


def _ignore(*_: object) -> None:
    """Do nothing."""


def _never() -> bool:
    return False


_Value = TypeVar("_Value")


class Files:
    """The files of a store, with the heads of their indexes, which are read once. For one thread at a time."""

    def __init__(self, directory: Path, damaged: Callable[[str, int], object] = _ignore) -> None:
        """
        :param damaged: called with a text and the number of messages, 0 if unknown, for each damage, once.
        """
        self.directory = directory
        self.damaged = damaged
        self._indexes: dict[Path, Index] = {}
        self._named: set[str] = set()
        # By the path of the segment, and of the index; those used last are at the end.
        self._footers: dict[Path, pq.FileMetaData] = {}
        self._senders: dict[Path, pa.Table] = {}

    def name(self, text: str, messages: int = 0) -> None:
        """Report a damage, if it was not reported before."""
        if text not in self._named:
            self._named.add(text)
            self.damaged(text, messages)

    def open(self, file: SegmentFile) -> pq.ParquetFile:
        """Open a segment.

        :raises Damaged: as :func:`netconsd.store.segment.open_segment`.
        :raises OSError: as that.
        """
        opened, _ = segment.open_segment(file.path, self._footers.get(file.path))
        _keep(self._footers, file.path, opened.metadata)
        return opened

    def senders(self, head: Index) -> pa.Table:
        """Return the columns :data:`_OF_SENDERS` of the senders of a segment.

        :raises Damaged: as :meth:`netconsd.store.index.Index.section`.
        :raises OSError: as that.
        """
        known = self._senders.get(head.path)
        if known is None:
            known = _section(head, "hosts", _OF_SENDERS)
        if known.nbytes <= KEPT_BYTES:
            _keep(self._senders, head.path, known)
        return known

    def name_index(self, head: Index, error: Damaged, done: str) -> None:
        """Report a section that is damaged, and read the index again the next time.

        :param done: what is done with the segment without it.
        """
        self.name(f"{head.path}: {error}; the segment is {done} without it")
        self.forget(head.path)

    def forget(self, path: Path | None = None) -> None:
        """Read the index with this path again the next time, as the compactor makes a damaged one again; or all."""
        if path is None:
            self._indexes.clear()
            self._senders.clear()
            self._footers.clear()
        else:
            self._indexes.pop(path, None)
            self._senders.pop(path, None)

    def lists(self) -> tuple[list[tuple[SegmentFile, Index | None]], list[journal.Part]]:
        """Return the segments that count, each with its index or None, and the parts that are in none of them.

        :raises FileNotFoundError: if the directory is no store, or a segment is gone again.
        :raises OSError: if it cannot be read.
        """
        # The journal first: a part that becomes a segment meanwhile is in both lists, and the segment names it.
        parts = journal.parts(self.directory / layout.JOURNAL)
        found: list[tuple[SegmentFile, Index | None]] = []
        known: dict[Path, Index] = {}
        replaced: set[tuple[int, int]] = set()
        done: set[int] = set()
        for file in layout.segment_files(self.directory):
            head = self._indexes.get(file.index)
            about = None
            if head is None:
                try:
                    head = index.read(file.index)
                except (Damaged, FileNotFoundError, KeyError, TypeError, ValueError) as error:
                    if isinstance(error, FileNotFoundError):
                        file.path.stat()
                        error = Damaged("is missing")
                    self.name(f"{file.index}: {error}; the segment is searched without it")
                    about = self._about(file)
                    if about is None:
                        continue
            if head is not None:
                about, known[file.index] = head.about, head
            assert about is not None
            found.append((file, head))
            replaced.update(about.replaces)
            done.update(about.parts)
        self._indexes = known
        return (
            [(file, head) for file, head in found if file.name not in replaced],
            [part for part in parts if part.number not in done],
        )

    def _about(self, file: SegmentFile) -> segment.About | None:
        try:
            opened, about = segment.open_segment(file.path)
        except Damaged as error:
            self.name(f"{file.path}: {error}; its messages are not found")
            return None
        with opened:
            return about

    def tail(
        self, segments: Iterable[tuple[SegmentFile, Index | None]], parts: Sequence[journal.Part]
    ) -> Iterator[pa.Table]:
        """Yield the rows of the journal: sorted tables with all columns, the oldest first, with the boots
        that they will have in a segment.

        :raises FileNotFoundError: if a part is gone.
        """
        boots: Boots | None = None
        columns, size = Columns(), 0
        for part in parts:
            for records, messages in self._blocks(part):
                try:
                    columns.add(records)
                except Damaged as error:
                    self.name(f"{part.path}: {error}", messages)
                    continue
                size += len(records)
                if size >= TAIL_BYTES:
                    boots = boots or self.boots(segments)
                    yield rows_of(columns, boots)
                    columns, size = Columns(), 0
        if columns.rows:
            yield rows_of(columns, boots or self.boots(segments))

    def _blocks(self, part: journal.Part) -> Iterator[tuple[bytes, int]]:
        path = part.path
        if part.is_open and not path.exists():
            path = path.with_name(path.name.removesuffix(journal.OPEN_SUFFIX))
        try:
            for _, records, messages in journal.read(
                path, damaged=lambda text, messages: self.name(f"{path}: {text}", messages)
            ):
                yield records, messages
        except Damaged as error:
            self.name(f"{path}: {error}; what follows in it is not found")

    def boots(self, segments: Iterable[tuple[SegmentFile, Index | None]]) -> Boots:
        """Return the boots of the senders after the last segment.

        :raises FileNotFoundError: if a segment is gone.
        """
        boots = Boots()
        newer = load_boots(self.directory, boots)
        later = [(file.name, head) for file, head in segments if newer(file.number) and head is not None]
        # As many as the compactor looks at, so that the ids are the same.
        for _, head in sorted(later, key=lambda item: item[0])[-BOOTS_SEGMENTS:]:
            try:
                hosts = head.table("hosts")
            except Damaged as error:
                self.name(f"{head.path}: {error}")
                continue
            if hosts is not None:
                boots.update(index.states(hosts))
        return boots


def rows_of(columns: Columns, boots: Boots) -> pa.Table:
    """Sort columns, and return their rows with all columns; the boots are advanced."""
    columns.sort()
    boots.assign(columns)
    # As from a segment: read_group makes every column nullable.
    return pa.Table.from_arrays(segment.table(columns, boots).columns, schema=_SCHEMA)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A segment, or the rows of it in a time, in microseconds."""

    file: SegmentFile
    head: Index | None
    first: int
    last: int
    #: Whether they are in the index.
    in_index: bool = False


class _Group:
    """The columns of a row group, each read once."""

    def __init__(self, file: pq.ParquetFile, number: int) -> None:
        self._file = file
        self._number = number
        self._columns: dict[str, pa.ChunkedArray] = {}

    def read(self, names: Sequence[str]) -> pa.Table:
        """Return columns.

        :raises Damaged: if one cannot be read.
        """
        new = [name for name in names if name not in self._columns]
        if new:
            self._columns.update(zip(new, segment.read_group(self._file, self._number, new).columns, strict=True))
        return pa.Table.from_arrays(
            [self._columns[name] for name in names], schema=pa.schema([_SCHEMA.field(name) for name in names])
        )


class _Best:
    """The time beyond which no match is within the limit."""

    def __init__(self, newest_first: bool, limit: int | None) -> None:
        """
        :param limit: None for no limit.
        """
        self._newest_first = newest_first
        self._limit = limit
        self._times: list[pa.ChunkedArray] = []
        self._count = 0
        self._last: int | None = None

    def add(self, at: pa.ChunkedArray) -> None:
        """Add the times of matches."""
        if not self._limit:
            return
        self._times.append(at.cast(pa.int64()))
        self._count += len(at)
        if self._count >= self._limit:
            times = pa.concat_arrays([chunk for each in self._times for chunk in each.chunks])
            order = "descending" if self._newest_first else "ascending"
            best = times.take(pc.select_k_unstable(times, self._limit, [("", order)]))
            self._times, self._count = [pa.chunked_array([best])], len(best)
            self._last = best[-1].as_py()

    def within(self, first: int, last: int) -> tuple[int, int]:
        """Return the times that are within the limit and these, in microseconds, both inclusive."""
        if self._last is None:
            return first, last
        return (max(first, self._last), last) if self._newest_first else (first, min(last, self._last))


class Search:
    """One search; iterate over it once. For one thread."""

    def __init__(
        self,
        files: Files,
        query: Query,
        *,
        newest_first: bool = True,
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        progress: Callable[[Progress], object] = _ignore,
        cancelled: Callable[[], bool] = _never,
    ) -> None:
        """
        :param limit: the most messages that are found.
        :param columns: those that are wanted, besides those of the identity; None for all.
        :param progress: called after each segment.
        :param cancelled: the search ends when it returns true; what was found before is given.
        """
        self._files = files
        self._query = query
        self._newest_first = newest_first
        self._left = limit
        wanted = {*_IDENTITY, *(segment.SCHEMA.names if columns is None else columns)}
        self._columns = [name for name in segment.SCHEMA.names if name in wanted]
        self._progress = progress
        self._cancelled = cancelled
        # The time that was reached, in microseconds, and the messages of that time that were given.
        self._at: int | None = None
        self._given: set[tuple[Any, ...]] = set()
        self._boots: dict[Sender, int] = {}

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield tables of at most :data:`BATCH_ROWS` rows with the columns, in the order of the schema.

        :raises OSError: if the store cannot be read.
        """
        trials = 0
        while self._left is None or self._left > 0:
            before = self._at
            try:
                yield from self._walk()
                return
            except FileNotFoundError:
                trials = trials + 1 if self._at == before else 0
                if trials > 1:
                    self._files.forget()
                if trials == TRIALS or not (self._files.directory / layout.JOURNAL).is_dir():
                    raise

    def _walk(self) -> Iterator[pa.Table]:
        query = self._query
        segments, parts = self._files.lists()
        if query.boot is not None and query.boot < LEAST_BOOT:
            self._boots = self._nth_boots(segments, parts, -query.boot)
        pending: list[pa.Table] = []
        highest = max((file.number for file, _ in segments), default=0)
        for table in self._files.tail(segments, parts):
            if self._cancelled():
                break
            highest += 1
            self._hold(pending, self.matches(table), highest)
        units = [unit for file, head in segments for unit in self._units(file, head)]
        units.sort(
            key=lambda unit: (unit.last if self._newest_first else unit.first, unit.file.name),
            reverse=self._newest_first,
        )
        done = 0
        for unit in units:
            if self._cancelled():
                break
            # Everything beyond the time of this segment was found.
            yield from self._release(pending, unit.last if self._newest_first else unit.first)
            if self._left is not None and self._left <= 0:
                return
            if self._in_range(unit.first, unit.last):
                self._hold(pending, self._of_unit(unit, pending), unit.file.number)
            if not unit.in_index:
                done += 1
                if unit.head is not None:
                    reached = unit.first if self._newest_first else unit.last
                    self._progress(Progress(done, len(segments), reached / 1e6))
        yield from self._release(pending, None)

    def _units(self, file: SegmentFile, head: Index | None) -> Iterator[_Unit]:
        """Yield a segment, or its newest rows and the others."""
        if head is None:
            # Of an unknown time: searched at once.
            yield _Unit(file, None, -_ALWAYS, _ALWAYS)
            return
        after = head.newest_after
        selection = self._query.selection
        # The newest rows are of many senders: few of one. A sender's name can be in the others.
        if after is None or not self._newest_first or (selection is not None and (selection.exact or selection.named)):
            yield _Unit(file, head, head.first, head.last)
            return
        yield _Unit(file, head, after + 1, head.last, in_index=True)
        yield _Unit(file, head, head.first, after)

    def _of_unit(self, unit: _Unit, pending: list[pa.Table]) -> pa.Table | None:
        if unit.head is None:
            return self._without_index(unit.file)
        if unit.in_index:
            try:
                rows = segment.with_all_columns(_section(unit.head, "newest"), segment.SCHEMA.names)
            except Damaged as error:
                self._files.name_index(unit.head, error, "searched")
            else:
                return self.matches(rows)
        return self._of_segment(unit.file, unit.head, unit.first, unit.last, pending)

    def _range(self) -> tuple[int, int]:
        """Return the times that are still to be searched, in microseconds."""
        query = self._query
        first = -_ALWAYS if query.since is None else round(query.since * 1e6)
        last = _ALWAYS if query.until is None else round(query.until * 1e6)
        if self._at is not None:
            first, last = (first, min(last, self._at)) if self._newest_first else (max(first, self._at), last)
        return first, last

    def _in_range(self, first: int, last: int) -> bool:
        since, until = self._range()
        return first <= until and last >= since

    def _hold(self, pending: list[pa.Table], found: pa.Table | None, rank: int) -> None:
        """Add matches to those that are held, sorted by time, no more than the limit of them."""
        if found is None or not found.num_rows:
            return
        pending.append(found.append_column(_RANK, pa.repeat(pa.scalar(rank, pa.int64()), found.num_rows)))
        if self._left is not None and sum(table.num_rows for table in pending) > 2 * self._left + BATCH_ROWS:
            table = _sorted(pending)
            # Those that were given before (rule 1) may be among them.
            most = self._left + len(self._given)
            start = max(0, table.num_rows - most) if self._newest_first else 0
            pending[:] = [table.slice(start, most)]

    def _release(self, pending: list[pa.Table], frontier: int | None) -> Iterator[pa.Table]:
        """Yield the held matches that no other segment can precede; the others stay."""
        if not pending:
            return
        if frontier is not None and not any(self._beyond(table, frontier) for table in pending):
            return
        table = _sorted(pending)
        count = table.num_rows if frontier is None else self._beyond(table, frontier)
        rest = table.num_rows - count
        if self._newest_first:
            out, left = table.slice(rest), table.slice(0, rest)
            out = out.take(pa.array(range(count - 1, -1, -1), pa.int64()))
        else:
            out, left = table.slice(0, count), table.slice(count)
        pending[:] = [left] if rest else []
        out = self._without_given(out.drop_columns([_RANK]))
        for start in range(0, out.num_rows, BATCH_ROWS):
            batch = out.slice(start, BATCH_ROWS if self._left is None else min(BATCH_ROWS, self._left))
            if not batch.num_rows:
                return
            if self._left is not None:
                self._left -= batch.num_rows
            self._remember(batch)
            yield batch

    def _beyond(self, table: pa.Table, frontier: int) -> int:
        at = table.column("received_at").cast(pa.int64())
        compare = pc.greater if self._newest_first else pc.less
        return int(pc.sum(compare(at, _int(frontier))).as_py() or 0)

    def _remember(self, batch: pa.Table) -> None:
        at = batch.column("received_at").cast(pa.int64())
        last = at[len(at) - 1].as_py()
        if last != self._at:
            self._given.clear()
            self._at = last
        same = batch.filter(pc.equal(at, _int(last)))
        self._given.update(identities(same))

    def _without_given(self, rows: pa.Table) -> pa.Table:
        if self._at is None or not self._given:
            return rows
        same = pc.equal(rows.column("received_at").cast(pa.int64()), _int(self._at))
        if not pc.any(same).as_py():
            return rows
        numbers = pc.indices_nonzero(same).to_pylist()
        gone = {
            number
            for number, identity in zip(numbers, identities(rows.filter(same)), strict=True)
            if identity in self._given
        }
        return rows.take(pa.array([row for row in range(rows.num_rows) if row not in gone], pa.int64()))

    def matches(self, table: pa.Table, first: int = -_ALWAYS, last: int = _ALWAYS) -> pa.Table | None:
        """Return the matching rows of a table with all columns; None if there are none.

        :param first: the earliest time, in microseconds; ``last`` is the latest.
        """
        indices = self.indices(table, lambda: index.hosts_of(table), first, last)
        return None if indices is None else _plain(table.select(self._columns)).take(indices)

    def indices(
        self, table: pa.Table, hosts: Callable[[], pa.Table], first: int = -_ALWAYS, last: int = _ALWAYS
    ) -> pa.Array | None:
        """Return the numbers of the rows that :meth:`matches` returns, in their order; None if there are none.

        :param hosts: returns :func:`netconsd.store.index.hosts_of` of the table, which searches can share; it is fast
            for a table that is sorted by sender.
        """
        return self._matching(table.select, 0, table.num_rows, self._senders(hosts), first, last)

    def _senders(self, hosts: Callable[[], pa.Table]) -> list[tuple[Sender, str | None, int, int]] | None:
        """Return (sender, userdata, first row, rows) of senders, if the query asks for senders: at least of those that
        it chooses."""
        if self._query.selection is None and not self._boots:
            return None
        table = hosts().select(_OF_SENDERS)
        selection, boot = self._query.selection, self._query.boot
        if selection is not None and selection.exact:
            # 5000 senders as Python objects take 10 ms.
            table = table.filter(pc.is_in(table.column("host"), pa.array(selection.exact, pa.string())))
        if boot is not None and boot >= LEAST_BOOT:
            boots = pc.and_(
                pc.less_equal(table.column("first_boot"), _int(boot)),
                pc.greater_equal(table.column("boot"), _int(boot)),
            )
            table = table.filter(boots)
        columns = [table.column(name).to_pylist() for name in (*_KEYS, "userdata", "first_row", "rows")]
        return [
            ((host, port, scope), userdata, first, rows)
            for host, port, scope, userdata, first, rows in zip(*columns, strict=True)
        ]

    def _of_segment(
        self, file: SegmentFile, head: Index, first: int, last: int, pending: Sequence[pa.Table]
    ) -> pa.Table | None:
        """Return the matching rows of a segment in a time, at least those within the limit. A damaged row group is
        named."""
        query = self._query
        try:
            if not head.can_have(query.trigrams):
                return None
            groups = head.groups_with(query.trigrams)
            senders = self._senders(lambda: self._files.senders(head))
        except Damaged as error:
            self._files.name_index(head, error, "searched")
            return self._without_index(file, first, last)
        if senders is not None and not self._may_have(senders):
            return None
        try:
            opened = self._files.open(file)
        except Damaged as error:
            self._files.name(f"{file.path}: {error}; its messages are not found", head.rows)
            return None
        starts = list(accumulate(head.groups, initial=0))
        best = _Best(self._newest_first, None if self._left is None else self._left + len(self._given))
        for table in pending:
            best.add(table.column("received_at"))
        found: list[tuple[int, pa.Array, pa.ChunkedArray]] = []
        tables = []
        with opened:
            for group in groups:
                if self._cancelled():
                    break
                columns = _Group(opened, group)
                try:
                    low, high = best.within(first, last)
                    indices = self._matching(columns.read, starts[group], head.groups[group], senders, low, high)
                    if indices is None:
                        continue
                    if self._left is None:
                        tables.append(_plain(columns.read(self._columns)).take(indices))
                        continue
                    at = columns.read(["received_at"]).column("received_at").take(indices)
                    best.add(at)
                    found.append((group, indices, at))
                except Damaged as error:
                    self._files.name(f"{file.path}: {error}; its messages are not found", head.groups[group])
            low, high = best.within(first, last)
            for group, indices, at in found:
                times = at.cast(pa.int64())
                indices = indices.filter(_between(times, low, high).combine_chunks())
                try:
                    if len(indices):
                        tables.append(_plain(_Group(opened, group).read(self._columns)).take(indices))
                except Damaged as error:
                    self._files.name(f"{file.path}: {error}; its messages are not found", head.groups[group])
        return pa.concat_tables(tables) if tables else None

    def _without_index(self, file: SegmentFile, first: int = -_ALWAYS, last: int = _ALWAYS) -> pa.Table | None:
        found = []
        try:
            opened = self._files.open(file)
        except Damaged as error:
            self._files.name(f"{file.path}: {error}; its messages are not found")
            return None
        with opened:
            for group in range(opened.num_row_groups):
                if self._cancelled():
                    break
                try:
                    rows = self.matches(segment.read_group(opened, group), first, last)
                except Damaged as error:
                    count = opened.metadata.row_group(group).num_rows
                    self._files.name(f"{file.path}: {error}; its messages are not found", count)
                    continue
                if rows is not None:
                    found.append(rows)
        return pa.concat_tables(found) if found else None

    def _may_have(self, senders: Iterable[tuple[Sender, str | None, int, int]]) -> bool:
        selection = self._query.selection
        if selection is None or selection.userdata:
            return True
        return any(selection.has(sender[0], userdata) for sender, userdata, _, _ in senders)

    def _matching(
        self,
        read: Callable[[Sequence[str]], pa.Table],
        start: int,
        count: int,
        senders: list[tuple[Sender, str | None, int, int]] | None,
        first: int,
        last: int,
    ) -> pa.Array | None:
        """Return the numbers of the rows that match; None if there are none.

        :param read: returns columns of these rows.
        :param start: the number of the first of these rows in the segment; ``senders`` count from its begin.
        :param first: the earliest time, in microseconds; ``last`` is the latest.
        :raises Damaged: if a column cannot be read.
        """
        query, selection = self._query, self._query.selection
        mask: Any = None
        if senders is not None:
            runs = [
                (sender, userdata, max(row, start), min(row + rows, start + count))
                for sender, userdata, row, rows in senders
                if row < start + count and row + rows > start
            ]
            if selection is not None:
                chosen = [(selection.has(sender[0], userdata), row, end) for sender, userdata, row, end in runs]
                if not selection.userdata and not any(has for has, _, _ in chosen):
                    return None
                mask = _repeated(chosen, start, count, False, pa.bool_())
                if selection.userdata:
                    column = read(["userdata"]).column("userdata")
                    mask = pc.or_(mask, _by_word(column, selection.has_userdata))
            if self._boots:
                of_runs = [(self._boots.get(sender, -1), row, end) for sender, _, row, end in runs]
                wanted = _repeated(of_runs, start, count, -1, pa.int64())
                mask = _and(mask, pc.equal(read(["boot"]).column("boot").combine_chunks(), wanted))
        since, until = self._range()
        first, last = max(first, since), min(last, until)
        if first > -_ALWAYS or last < _ALWAYS:
            at = read(["received_at"]).column("received_at").cast(pa.int64())
            mask = _and(mask, _between(at, first, last))
        if query.level is not None:
            levels = read(["level"]).column("level")
            mask = _and(mask, pc.less_equal(levels, pa.scalar(query.level, pa.int8())))
            if query.level_from:
                mask = _and(mask, pc.greater_equal(levels, pa.scalar(query.level_from, pa.int8())))
        if query.seq is not None:
            mask = _and(mask, pc.equal(read(["seq"]).column("seq"), pa.scalar(query.seq, pa.uint64())))
        if query.boot is not None and query.boot >= LEAST_BOOT:
            mask = _and(mask, pc.equal(read(["boot"]).column("boot"), _int(query.boot)))
        if query.release is not None:
            pattern = release_pattern(query.release)
            releases = read(["release"]).column("release")
            mask = _and(mask, _by_word(releases, lambda word: bool(pattern.fullmatch(word))))
        if query.caller is not None:
            callers = re.compile(translate(query.caller))
            mask = _and(mask, _by_word(read(["caller"]).column("caller"), lambda word: bool(callers.fullmatch(word))))
        if query.grep is not None or query.exclude is not None:
            if mask is not None and not pc.any(mask).as_py():
                return None
            text = read(["text"]).column("text")
            if query.grep is not None:
                found = pc.match_substring_regex(text, query.grep, ignore_case=query.ignores_case(query.grep))
                mask = _and(mask, found)
            if query.exclude is not None:
                found = pc.match_substring_regex(text, query.exclude, ignore_case=query.ignores_case(query.exclude))
                mask = _and(mask, pc.invert(found))
        if mask is None:
            return pa.array(range(count), pa.int64())
        mask = pc.fill_null(mask, _FALSE)
        indices = pc.indices_nonzero(mask)
        return indices if len(indices) else None

    def _nth_boots(
        self,
        segments: Sequence[tuple[SegmentFile, Index | None]],
        parts: Sequence[journal.Part],
        back: int,
    ) -> dict[Sender, int]:
        """Return the id of a boot of each sender: the last one, or so many before; senders with fewer have none."""
        known: dict[Sender, set[int]] = {}
        for table in self._files.tail(segments, parts):
            _add_boots(known, table)
        for file, head in segments:
            try:
                hosts = None if head is None else head.table("hosts")
            except Damaged as error:
                assert head is not None
                self._files.name_index(head, error, "searched")
                hosts = None
            if hosts is None or (back and pc.any(pc.greater(hosts.column("boots"), _int(2))).as_py()):
                # The index has the first and the last boot of each sender only.
                self._read_boots(file, known)
            if hosts is not None:
                for host in hosts.select([*_KEYS, "first_boot", "boot"]).to_pylist():
                    sender = host["host"], host["port"], host["scope_id"]
                    known.setdefault(sender, set()).update((host["first_boot"], host["boot"]))
        return {sender: sorted(boots)[-1 - back] for sender, boots in known.items() if len(boots) > back} or {
            ("", 0, 0): -1
        }

    def _read_boots(self, file: SegmentFile, known: dict[Sender, set[int]]) -> None:
        try:
            opened = self._files.open(file)
            with opened:
                for group in range(opened.num_row_groups):
                    _add_boots(known, segment.read_group(opened, group, [*_KEYS, "boot"]))
        except Damaged as error:
            self._files.name(f"{file.path}: {error}; its messages are not found")


def _add_boots(known: dict[Sender, set[int]], rows: pa.Table) -> None:
    grouped = _plain(rows.select([*_KEYS, "boot"]), decode=True).group_by([*_KEYS, "boot"]).aggregate([])
    for host, port, scope, boot in zip(*(grouped.column(name).to_pylist() for name in (*_KEYS, "boot")), strict=True):
        known.setdefault((host, port, scope), set()).add(boot)


def _keep(kept: dict[Path, _Value], path: Path, value: _Value) -> None:
    """Put a value at the end, and drop the first one if there are more than :data:`KEPT_SEGMENTS`."""
    kept.pop(path, None)
    kept[path] = value
    if len(kept) > KEPT_SEGMENTS:
        del kept[next(iter(kept))]


def _section(head: Index, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    table = head.table(name, columns)
    if table is None:
        raise Damaged(f'it has no section "{name}"')
    return table


def _plain(table: pa.Table, *, decode: bool = False) -> pa.Table:
    """Return a table whose columns of words have one dictionary each, or none."""
    if not decode:
        return table.unify_dictionaries()
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(field.type.value_type))
    return table


def _sorted(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows in the order of their times, then of the store."""
    joined = pa.concat_tables(tables).unify_dictionaries()
    keys = [("received_at", "ascending"), (_RANK, "ascending")]
    return joined.take(pc.sort_indices(joined.select(["received_at", _RANK]), sort_keys=keys))


def in_order(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of tables with all columns in the order of time."""
    joined = pa.concat_tables(tables).unify_dictionaries()
    return joined.take(pc.sort_indices(joined.select(["received_at"]), sort_keys=[("received_at", "ascending")]))


def identities(rows: pa.Table) -> list[tuple[Any, ...]]:
    """Return the identity of each row."""
    columns = [rows.column(name) for name in _IDENTITY]
    # A time as a datetime takes a microsecond.
    columns[-1] = columns[-1].cast(pa.int64())
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def _int(number: int) -> pa.Scalar:
    """Return a number for a comparison. Where Arrow has to find the type of a Python object, it looks for the package
    dateutil first, which takes 0.2 ms each time if it is not installed."""
    return pa.scalar(number, pa.int64())


_FALSE: Final = pa.scalar(False, pa.bool_())


def _between(times: pa.ChunkedArray, first: int, last: int) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(times, _int(first)), pc.less_equal(times, _int(last)))


def _and(mask: Any, condition: Any) -> Any:
    return condition if mask is None else pc.and_(mask, condition)


def _by_word(column: pa.ChunkedArray, has: Callable[[str], bool]) -> pa.ChunkedArray:
    """Return a condition on a column of words: each different word is looked at once."""
    chunks = [
        pa.array([word is not None and has(word) for word in chunk.dictionary.to_pylist()], pa.bool_()).take(
            chunk.indices
        )
        for chunk in column.chunks
    ]
    return pc.fill_null(pa.chunked_array(chunks, pa.bool_()), _FALSE)


def _repeated(runs: Sequence[tuple[Any, int, int]], start: int, count: int, other: Any, kind: pa.DataType) -> pa.Array:
    """Return an array for rows.

    :param runs: (value, first row, end); ascending.
    :param start: the first row.
    :param other: the value of the rows that are in no run.
    """
    values: list[Any] = []
    ends = array("i")
    at = start
    for value, first, end in runs:
        if first > at:
            values.append(other)
            ends.append(first - start)
        values.append(value)
        ends.append(end - start)
        at = end
    if at < start + count:
        values.append(other)
        ends.append(count)
    return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values, kind)))
