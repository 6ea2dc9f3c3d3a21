"""The patterns of a segment: its messages by the form of their texts (normalise.py). A section of the index.

A pattern has the number of its messages, the machines and kernels that sent them, and when: enough to see what is new.
At most :data:`~netconsd.store.normalise.FORMS_LIMIT` patterns are in a segment, and
:data:`~netconsd.store.normalise.SENDER_FORMS` from one host; further messages are in the pattern ``(others)``.

Needs pyarrow: the extra ``netconsd[store]``.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from netconsd.store.cells import at_places
from netconsd.store.normalise import FORMS_LIMIT, OTHERS, Forms
from netconsd.store.tallies import NO_LEVEL, RELEASES_LIMIT, Tallies, Unions

if TYPE_CHECKING:
    from netconsd.store.segment import Group

#: Characters of an example: five lines of a terminal.
EXAMPLE_LIMIT: Final = 512
#: Rows that are looked at together: their texts are copied.
_ROWS: Final = 1 << 16

#: The release of messages with a release that found no place (tallies.py).
OTHER_RELEASES: Final = "(others)"
_MAP: Final = pa.map_(pa.string(), pa.int64())
#: The columns of the section. docs/store describes each.
SCHEMA: Final = pa.schema(
    [
        pa.field("form", pa.string(), nullable=False),
        # The most severe one; null if no message has one.
        pa.field("level", pa.int8()),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("first", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("last", pa.timestamp("us", tz="UTC"), nullable=False),
        # Numbers of addresses in the metadata "hosts", a JSON array: "L" and 32-bit numbers in the machine's order, or
        # "B" and a bit for each, the lowest first.
        pa.field("hosts", pa.binary(), nullable=False),
        # The messages of each release; those without one are in `count` only.
        pa.field("releases", _MAP, nullable=False),
        # The first text.
        pa.field("example", pa.string(), nullable=False),
    ]
)
_HOSTS: Final = b"hosts"
_NO_LEVEL: Final = pa.scalar(NO_LEVEL, pa.int8())


class Sums:
    """Adds up the patterns of a segment. For one thread at a time."""

    def __init__(self) -> None:
        self._forms, self._tallies = Forms(), Tallies()
        self._examples: list[str] = []
        # As Arrow's strings, because a stranger can invent hosts; their number, and the last one.
        self._hosts: list[Any] = []
        self._host_count = 0
        self._host: str | None = None
        self._releases: dict[str, int] = {}

    def add(self, rows: Any) -> None:
        """Add rows, which continue those before: the rows of a host one after the other.

        :param rows: a table with the columns ``host``, ``received_at``, ``level``, ``release`` and ``text`` of a
            segment.
        """
        for batch in rows.select(["host", "received_at", "level", "release", "text"]).to_batches(max_chunksize=_ROWS):
            if batch.num_rows:
                self._add(batch)

    def table(self) -> Any:
        """Return a row for each pattern, with the columns :data:`SCHEMA`, in the order of their first rows."""
        forms, tallies = self._forms, self._tallies
        known = [number for number, count in enumerate(tallies.counts) if count]
        packed = tallies.hosts(self._host_count)
        hosts = [host for some in self._hosts for host in some.to_pylist()]
        names = [*self._releases, OTHER_RELEASES][: RELEASES_LIMIT - 1]
        levels = [tallies.levels[number] for number in known]
        columns: list[list[Any]] = [
            [forms.forms[number].decode(errors="replace") for number in known],
            [None if level == NO_LEVEL else level for level in levels],
            [tallies.counts[number] for number in known],
            [tallies.first[number] for number in known],
            [tallies.last[number] for number in known],
            [packed[number] for number in known],
            [_releases(tallies.releases, number, names) for number in known],
            [self._examples[number] for number in known],
        ]
        return pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)],
            schema=SCHEMA.with_metadata({_HOSTS: json.dumps(hosts)}),
        )

    def _add(self, batch: Any) -> None:
        ends, data = parts(batch.column("text"))
        times = _words(batch.column("received_at").cast(pa.int64()))
        levels = _words(batch.column("level").fill_null(_NO_LEVEL))
        of_rows = _words(_release_numbers(batch.column("release"), self._releases))
        found = batch.column("host")
        runs = pc.run_end_encode(found.indices if pa.types.is_dictionary(found.type) else found)
        names = found.dictionary.take(runs.values) if pa.types.is_dictionary(found.type) else runs.values
        run_ends = runs.run_ends.to_pylist()
        hosts = zip(names.to_pylist(), [0, *run_ends], run_ends, strict=False)
        self._add_rows(data, ends, hosts, times, levels, of_rows)

    def add_group(self, group: Group) -> None:
        """Add rows, as :meth:`add`."""
        numbers = array("Q", _numbers_of(group.release_words, self._releases))
        of_rows = at_places(numbers, group.releases, 0)
        hosts = ((name[0], first, end) for name, first, end in group.senders())
        self._add_rows(group.texts, group.text_ends, hosts, group.received_at, group.levels, of_rows)

    def _add_rows(
        self,
        texts: bytes,
        ends: array[int],
        runs: Iterable[tuple[str, int, int]],
        times: array[int],
        levels: array[int],
        releases: array[int],
    ) -> None:
        """
        :param runs: (host, first row, end), the runs of a host one after the other.
        """
        forms, tallies = self._forms, self._tallies
        hosts = []
        before = forms.count
        for host, first, end in runs:
            if host != self._host:
                forms.next_sender()
                hosts.append(host)
                self._host = host
                self._host_count += 1
            numbers = forms.number(texts, ends, first, end)
            tallies.grow(len(forms.forms))
            tallies.add(numbers, self._host_count - 1, first, times, levels, releases)
        if hosts:
            self._hosts.append(pa.array(hosts, pa.string()))
        # Number 0 can get its first text later than others.
        if not self._examples:
            self._examples.append("")
        if forms.firsts[0] >= before and not self._examples[0]:
            self._examples[0] = _example(texts, ends, forms.firsts[0] - before)
        for number in range(len(self._examples), len(forms.forms)):
            self._examples.append(_example(texts, ends, forms.firsts[number] - before))


def _example(texts: bytes, ends: array[int], row: int) -> str:
    # A character has at most four bytes.
    return texts[ends[row] : min(ends[row + 1], ends[row] + 4 * EXAMPLE_LIMIT)].decode(errors="ignore")[:EXAMPLE_LIMIT]


@dataclass(slots=True)
class Pattern:
    """The messages of one form in any number of segments."""

    form: str
    #: The most severe level, or None if no message has one.
    level: int | None
    count: int
    #: Unix times in seconds.
    first: float
    last: float
    #: The earliest text.
    example: str
    #: Addresses.
    hosts: set[str]
    #: The messages of each release; those without one are in ``count`` only.
    releases: dict[str, int]


def patterns(sections: Iterable[Any]) -> dict[str, Pattern]:
    """Return the patterns of the sections of several segments by form, in the order in which they are found."""
    found: dict[str, Pattern] = {}
    for table in sections:
        hosts = json.loads(table.schema.metadata[_HOSTS])
        for row in table.cast(SCHEMA).to_pylist():
            first, last = row["first"].timestamp(), row["last"].timestamp()
            pattern = found.get(row["form"])
            if pattern is None:
                pattern = found[row["form"]] = Pattern(
                    row["form"], row["level"], 0, first, last, row["example"], set(), {}
                )
            pattern.count += row["count"]
            if row["level"] is not None:
                pattern.level = row["level"] if pattern.level is None else min(pattern.level, row["level"])
            if first < pattern.first:
                pattern.first, pattern.example = first, row["example"]
            pattern.last = max(pattern.last, last)
            pattern.hosts.update(hosts[number] for number in host_numbers(row["hosts"]))
            for release, count in row["releases"]:
                pattern.releases[release] = pattern.releases.get(release, 0) + count
    return found


def merged(sections: Sequence[Any]) -> Any:
    """Return the section of a merged segment from those of the segments, the oldest first. The forms beyond the limit,
    which are the last ones, are in the pattern ``(others)``."""
    names: dict[str, int] = {}
    hosts = [array("Q", _numbers(json.loads(section.schema.metadata[_HOSTS]), names)) for section in sections]
    joined = pa.concat_tables([section.cast(SCHEMA).replace_schema_metadata(None) for section in sections])
    if not joined.num_rows:
        return pa.table(
            [pa.array([], field.type) for field in SCHEMA], schema=SCHEMA.with_metadata({_HOSTS: json.dumps([])})
        )
    forms = joined.column("form").combine_chunks().dictionary_encode()
    words = forms.dictionary.to_pylist()
    group = forms.indices.to_pylist()
    if len(words) > FORMS_LIMIT:
        others = OTHERS.decode()
        kept = [others, *[word for word in words if word != others][: FORMS_LIMIT - 1]]
        places = {word: number for number, word in enumerate(kept)}
        group = [places.get(words[number], 0) for number in group]
        words = kept
    plain = pa.table(
        {
            "group": pa.array(group, pa.int32()),
            **{name: joined.column(name) for name in ("level", "count", "first", "last", "example")},
        }
    )
    sums = plain.group_by("group", use_threads=False).aggregate(
        [("level", "min"), ("count", "sum"), ("first", "min"), ("last", "max"), ("example", "first")]
    )
    order = {number: at for at, number in enumerate(sums.column("group").to_pylist())}
    packed: list[list[tuple[bytes, array[int]]]] = [[] for _ in order]
    row = 0
    for section, places_of in zip(sections, hosts, strict=True):
        for found in section.column("hosts").to_pylist():
            packed[order[group[row]]].append((found, places_of))
            row += 1
    unions = Unions(len(names))
    return pa.table(
        [
            pa.array([words[number] for number in order], pa.string()),
            sums.column("level_min"),
            sums.column("count_sum"),
            sums.column("first_min"),
            sums.column("last_max"),
            pa.array([unions.of(parts) for parts in packed], pa.binary()),
            _merged_releases(joined.column("releases").combine_chunks(), group, order),
            sums.column("example_first"),
        ],
        schema=SCHEMA.with_metadata({_HOSTS: json.dumps(list(names))}),
    )


def _numbers(words: list[str], known: dict[str, int]) -> list[int]:
    return [known.setdefault(word, len(known)) for word in words]


def _merged_releases(releases: Any, group: list[int], order: dict[int, int]) -> Any:
    """Return the sums of the releases of each form."""
    found: list[dict[str, int]] = [{} for _ in order]
    # Most forms have the same few releases, so that this is a loop over some numbers of each form.
    ends = releases.offsets.to_pylist()
    keys, counts = releases.keys.to_pylist(), releases.items.to_pylist()
    for number, first, end in zip(group, ends, ends[1:], strict=False):
        sums = found[order[number]]
        for at in range(first, end):
            if len(sums) < RELEASES_LIMIT - 2 or keys[at] in sums:
                sums[keys[at]] = sums.get(keys[at], 0) + counts[at]
            else:
                sums[OTHER_RELEASES] = sums.get(OTHER_RELEASES, 0) + counts[at]
    return pa.array([list(sums.items()) for sums in found], _MAP)


def host_numbers(packed: bytes) -> list[int]:
    """Return the numbers of the hosts of a row."""
    if packed[:1] == b"L":
        return list(array("I", packed[1:]))
    return [8 * index + bit for index, octet in enumerate(packed[1:]) if octet for bit in range(8) if octet >> bit & 1]


def _release_numbers(column: Any, releases: dict[str, int]) -> Any:
    """Return the number of the release of each row: 0 for none."""
    column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    numbers = [*_numbers_of(column.dictionary.to_pylist(), releases), 0]
    places = column.indices.fill_null(pa.scalar(len(numbers) - 1, pa.int32()))
    return pa.array(numbers, pa.uint64()).take(places)


def _numbers_of(words: Iterable[str], releases: dict[str, int]) -> list[int]:
    """Return the number of each release."""
    numbers = []
    for release in words:
        # Not one that no row has, as in a batch of a larger table.
        number = releases.get(release)
        if number is None:
            number = min(len(releases) + 1, RELEASES_LIMIT - 1)
            if number < RELEASES_LIMIT - 1:
                releases[release] = number
        numbers.append(number)
    return numbers


def _releases(counts: array[int], number: int, names: list[str]) -> list[tuple[str, int]]:
    """Return the messages of a form by release."""
    begin = number * RELEASES_LIMIT
    return [
        (names[index - 1], count)
        for index, count in enumerate(counts[begin : begin + len(names) + 1])
        if index and count
    ]


def parts(texts: Any) -> tuple[array[int], bytes]:
    """Return the ends and the bytes of an array of texts."""
    _, offsets, data = texts.buffers()
    words = pa.Array.from_buffers(pa.int32(), len(texts) + 1, [None, offsets], offset=texts.offset)
    begin = words[0].as_py()
    octets = b"" if data is None else data.slice(begin, words[-1].as_py() - begin).to_pybytes()
    return _words(pc.subtract(words, begin)), octets


def _words(numbers: Any) -> array[int]:
    """Return an array of numbers without null as an ``array("Q")``."""
    numbers = numbers.cast(pa.uint64())
    words = array("Q")
    words.frombytes(memoryview(numbers.buffers()[1])[8 * numbers.offset : 8 * (numbers.offset + len(numbers))])
    return words
