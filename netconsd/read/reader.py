"""The entries of a file of any kind that is read here; the kind is recognised by the content, not by the name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Final, cast

from netconsd.protocol.plural import plural
from netconsd.read import journal, objects, packets, pstore, records
from netconsd.read.blocks import BLOCK, Lines
from netconsd.read.compressed import UnreadableError, kind_of, opened
from netconsd.read.console import further_lines, kernel_lines
from netconsd.read.entries import Datagram, Line, Whole

#: Any entry of a file.
Entry = Line | Whole | Datagram
#: Searches for something: ``find(data, start, end)`` returns the lowest index of it, or -1.
Find = Callable[[bytes, int, int], int]

# A compressed file in a compressed file, and not for ever.
_NESTED: Final = 3
#: Parts of a dump can come from several files. The number of an entry of part P is ``P << PART_BITS`` and its line.
PART_BITS: Final = 40


class Reader:
    """Iterates over the entries of one file, in order; None means that there are none at present. For one thread.

    While :attr:`every` is False, lines in which nothing is found are passed over. Set it between two entries.
    """

    def __init__(
        self, read: Callable[[int], bytes | None], find: Find | None = None, find_json: Find | None = None, *, year: int
    ) -> None:
        """
        :param read: returns at most so many bytes of text; ``b""`` at the end; None if there are none at present.
        :param find: searches a line of text, see :class:`~netconsd.read.blocks.Lines`; without it every line is read.
        :param find_json: the same for JSON, where it also has to find :data:`netconsd.read.objects.ALWAYS`.
        :param year: the year of times that have none.
        """
        self._read = read
        self._find = find
        self._find_json = find_json
        self._year = year
        self._lines: Lines | None = None
        self._every = find is None
        # The last line that continued no other one, and its last entry; the number of the last line.
        self._before: tuple[bytes, Entry | None] = b"", None
        self._number = 0
        #: Lines that were read and have no entry: they are empty, or not of a kernel.
        self.passed_over = 0

    def faults(self) -> list[str]:
        """Return nothing: text has no faults that are counted."""
        return []

    @property
    def every(self) -> bool:
        """True if every entry is returned; False if only those in which something is found are."""
        return self._every

    @every.setter
    def every(self, every: bool) -> None:
        self._every = every
        if self._lines is not None:
            self._lines.every = every or self._find is None

    def __iter__(self) -> Iterator[Entry | None]:
        head: bytes | None
        while (head := self._read(BLOCK)) is None:
            yield None
        find = self._find_json if objects.object_at(head) >= 0 else self._find
        self._lines = lines = Lines(_with_head(head, self._read), find)
        self.every = self._every
        while True:
            line = lines.next()
            if line is None:
                if lines.ended:
                    return
                yield None
            else:
                entries: Sequence[Entry] | None = self._continued(line, lines.number)
                if entries is None:
                    entries = list(_entries(line, lines.number, self._year))
                    self._before = line, entries[-1] if entries else None
                    self.passed_over += not entries
                self._number = lines.number
                yield from entries

    def _continued(self, line: bytes, number: int) -> list[Line] | None:
        before, last = self._before
        if not isinstance(last, Line) or number != self._number + 1:
            return None
        if not line:
            # An empty line ends an event of Server-Sent Events.
            return [] if before.startswith(b"data: {") else None
        return further_lines(line, number, before, last)

    def before(self, host: str | None = None) -> Iterator[Entry]:
        """The entries before the line of the last one, the latest first, as far as the text is still in memory.

        :param host: leave out lines without this name: they are not even parsed.
        """
        lines = self._lines
        if lines is not None:
            number = lines.number
            name = (host or "").encode()
            for line in lines.before():
                number -= 1
                if name not in line:
                    continue
                yield from reversed(list(_entries(line, number, self._year)))


class Kept:
    """Iterates over entries like a :class:`Reader`; all of them are returned."""

    def __init__(self, entries: Iterator[Entry] | None = None) -> None:
        self._entries = iter(()) if entries is None else entries
        self.every = True
        self._left = packets.Left()

    def read_packets(self, file: BinaryIO, head: bytes) -> None:
        """Return the datagrams of a capture, whose first bytes were read, from now on."""
        self._entries = packets.datagrams(file, head, self._left)

    @property
    def passed_over(self) -> int:
        """Packets that are no datagrams of UDP, copies of others, or parts of datagrams that are not whole."""
        return self._left.other + self._left.fragments

    def faults(self) -> list[str]:
        """Return the faults of the capture that concern its user, as messages that the name of the file begins."""
        found = []
        if self._left.cut:
            found.append(
                f"{plural(self._left.cut, 'datagram')} cut by the capture; tcpdump -s 0 captures whole packets"
            )
        if self._left.fragments:
            count = plural(self._left.fragments, "fragment")
            found.append(f"{count} of datagrams that are not whole; a filter by port captures only the first of them")
        return found

    def __iter__(self) -> Iterator[Entry | None]:
        return iter(self._entries)

    def before(self, host: str | None = None) -> Iterator[Entry]:
        """Nothing: the caller has had all entries."""
        return iter(())


def reader_of(
    file: BinaryIO,
    find: Find | None = None,
    find_json: Find | None = None,
    *,
    year: int,
    datagrams: bool = False,
    nested: int = 0,
) -> Reader | Kept:
    """Return the reader for a file, which is at its begin.

    :param datagrams: records in a text are datagrams; otherwise lines, each with its number in the file.
    :raises UnreadableError: for a known format that is not read, and for one whose library is not installed.
    :raises OSError: if it cannot be read.
    """
    head = _head(file)
    kind = kind_of(head)
    read = _with_head(head, file.read)
    if kind is not None and nested < _NESTED:
        inner = opened(kind, cast(BinaryIO, _Headed(head, file)))
        return reader_of(inner, find, find_json, year=year, datagrams=datagrams, nested=nested + 1)
    if head.startswith((*packets.PCAP, packets.PCAPNG)):
        if head.startswith(packets.PCAPNG):
            packets.require()
        kept = Kept()
        kept.read_packets(file, head)
        return kept
    if parts := parts_of(file, head):
        return Kept(dump_entries(parts, year))
    if head.lstrip().startswith(b"{") and b'"dmesg"' in head[:64]:
        return Kept(_dmesg_lines(read, year) if b"\n" in head[:64] else _dmesg(read, year))
    for is_form, entries in (
        (journal.is_export, journal.exported),
        (journal.is_verbose, journal.verbose),
        (journal.is_pretty, journal.pretty),
    ):
        if is_form(head):
            return Kept(entries(read))
    if datagrams and records.is_records(head):
        return Kept(records.records(read))
    return Reader(read, find, find_json, year=year)


def parts_of(file: BinaryIO, head: bytes) -> list[pstore.Part]:
    """Return the parts of a dump of pstore, compressed or not; none for another file, of which no more is read."""
    if pstore.is_pstore(head):
        return pstore.parts(_all(_with_head(head, file.read), pstore.DUMP_LIMIT))
    # A compressed record is small, and binary.
    if len(head) < BLOCK and b"\n" not in head[:1] and any(octet < 9 or octet > 126 for octet in head[:64]):
        text = pstore.inflated(head)
        if text is not None:
            return pstore.parts(text) or [pstore.Part("Unknown", 0, 1, 0, text)]
    return []


def dump_entries(parts: list[pstore.Part], year: int) -> Iterator[Line | Whole | Datagram]:
    """Yield the entries of parts in this order, each with the index of its part (:data:`PART_BITS`)."""
    for index, part in enumerate(parts):
        for number, line in enumerate(part.text.split(b"\n"), 1 + part.line + (index << PART_BITS)):
            if line:
                yield from kernel_lines(line, number, year)


def _entries(line: bytes, number: int, year: int) -> Iterator[Entry]:
    if objects.object_at(line) >= 0:
        return objects.entries(line, number, year)
    return kernel_lines(line, number, year)


def _dmesg_lines(read: Callable[[int], bytes | None], year: int) -> Iterator[Entry]:
    """Yield the entries of ``dmesg --json``, which has a line for each field; a cut file is read up to the cut."""
    record: dict[str, object] = {}
    lines = Lines(read)
    begin = 0
    while (line := lines.next()) is not None:
        if line.endswith(b"{"):
            begin, record = lines.number, {}
        name, _, value = line.strip().removesuffix(b",").partition(b":")
        found = objects.dmesg_field(name.strip(b' "'), value.strip())
        if found is not None:
            record[found[0]] = found[1]
            if found[0] == "msg":
                yield objects.dmesg_line(record, begin)


def _dmesg(read: Callable[[int], bytes | None], year: int) -> Iterator[Entry]:
    """Yield the entries of ``dmesg --json`` that another program wrote in one line.

    :raises UnreadableError: for more than :data:`netconsd.read.pstore.DUMP_LIMIT` bytes.
    """
    data = _all(read, pstore.DUMP_LIMIT + 1)
    if len(data) > pstore.DUMP_LIMIT:
        raise UnreadableError("is JSON of dmesg with more than 16 MiB: save it as dmesg --json prints it")
    text = data.decode(errors="replace")
    decoder = json.JSONDecoder()
    at = text.find("[") + 1
    number = 1 + text.count("\n", 0, at)
    while (begin := text.find("{", at)) > 0:
        try:
            found, end = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            return
        number += text.count("\n", at, end)
        at = end
        yield from objects.entries(json.dumps(found).encode(), number, year)


def _head(file: BinaryIO) -> bytes:
    """Return the begin of a file: a block, or less if there is no more at present."""
    head = file.read(BLOCK)
    while 0 < len(head) < 64 and (more := file.read(BLOCK)):
        head += more
    return head or b""


def _with_head(head: bytes, read: Callable[[int], bytes | None]) -> Callable[[int], bytes | None]:
    """Return a function that reads the head first."""
    rest = head

    def headed(size: int) -> bytes | None:
        nonlocal rest
        if rest:
            block, rest = rest[:size], rest[size:]
            return block
        return read(size)

    return headed


class _Headed:
    """A file of which the begin was already read."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._read = _with_head(head, file.read)

    def read(self, size: int = -1) -> bytes:
        return _all(self._read, 1 << 62) if size < 0 else self._read(size) or b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def _all(read: Callable[[int], bytes | None], limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size < limit and (part := read(min(BLOCK, limit - size))):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
