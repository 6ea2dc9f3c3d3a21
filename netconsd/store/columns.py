"""Turns the records of a journal into sorted columns, for Parquet. Hot: once for each stored message.

Rules:

1. The rows are sorted by sender, and of a sender in the order of the records; the caller adds the parts in order.
2. Columns of numbers are arrays of the machine's own type; columns of repeated bytes (caller, release, tail) are tables
   of the different values, and an index for each row, all bits set for none.
3. The tail of an extended message is what follows the line of its text, without the line of the msgid. Few different
   ones occur; as many as rows can. If the text is plain, the bytes of the message are the text, a newline, the tail,
   and the line of the msgid, if there is one. The bytes of all other rows, and of all legacy rows, are in ``raws``.
4. The caller bounds the records that are added: they are kept, and take 24 bytes more each. The columns are of a part
   of the rows at a time, which the caller bounds as well.
"""

from __future__ import annotations

from array import array

from netconsd.protocol import octets
from netconsd.protocol.body import escape, text_of
from netconsd.protocol.message import datagram_text, legacy_fields
from netconsd.store import packing
from netconsd.store.records import CALLER, DATAGRAM, EXTENDED, RARE, RELEASE, Damaged

_U32_MASK = 0xFFFFFFFF
_NEWLINE = ord("\n")
#: Values become Python's objects, JSON, and dictionaries of Arrow and Parquet.
VALUE_COST = 8
_VALUE_COST = VALUE_COST
# Rows: far enough for the memory, and near enough that the cache still has them.
_AHEAD = 8
#: For a row without a number, in the columns ``prefix``, ``ts_usec``, ``msgid``, ``caller``, ``release`` and ``tail``.
NONE = (1 << 64) - 1
# Values whose number is found at once: callers, releases and tails of a row group, and the senders of a fleet.
_SLOTS = 256
_SENDER_SLOTS = 1 << 16
# Compiled, this is a C variable, which is an attribute of the module only if put there.
globals().update(NONE=NONE)


class _Numbers:
    """Gives each different value a number, in the order of the first ones. For one thread at a time."""

    def __init__(self, slots: int) -> None:
        """
        :param slots: a power of two: of as many values a number is found without making an object of the bytes.
        """
        #: Value -> number.
        self.table: dict[bytes, int] = {}
        #: Bytes of all values.
        self.size = 0
        self._mask = slots - 1
        self._values: list[bytes | None] = [None] * slots
        self._numbers = array("Q", bytes(8 * slots))

    def number(self, records: bytes, at: int, size: int) -> int:
        """Return the number of a part of the records."""
        slot = packing.slot_of(records, at, size) & self._mask
        known = self._values[slot]
        if known is not None and packing.is_part(known, records, at, size):
            return octets.stamp_at(self._numbers, slot)
        value = records[at : at + size]
        number = self.number_of(value)
        self._values[slot] = value
        octets.put_stamp(self._numbers, slot, number)
        return number

    def number_of(self, value: bytes) -> int:
        """Return the number of a value."""
        found = self.table.get(value)
        if found is None:
            found = len(self.table)
            self.table[value] = found
            self.size += len(value)
        index: int = found  # compiled, the conversion to a C number
        return index

    def cut(self, count: int) -> None:
        """Forget all values but the first ones."""
        while len(self.table) > count:
            value, _ = self.table.popitem()
            self.size -= len(value)
        self._values = [None] * (self._mask + 1)


class Columns:
    """The sorted columns of the records that were added: add all, then :meth:`order` and :meth:`fill`, or :meth:`sort`.
    For one thread at a time."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._where = array("Q")  # block << 32 | position, by arrival
        self._who = array("Q")  # sender, by arrival
        self._senders = _Numbers(_SENDER_SLOTS)
        #: Rows of each sender, by its number in the order of arrival.
        self._counts = array("Q")
        #: Rows: of all records that were added, and after :meth:`order` of the last :meth:`fill`.
        self.rows = 0
        #: The earliest time of receipt, in microseconds since 1970.
        self.earliest = (1 << 63) - 1

    def add(self, records: bytes, start: int = 0, end: int = -1) -> None:
        """Add the records of a block: all of the bytes, or those between two positions.

        :raises Damaged: if a record contradicts itself; the block is not added.
        :raises IndexError: if there are not as many bytes.
        """
        if end < 0:
            end = len(records)
        if not 0 <= start <= end <= len(records):
            raise IndexError("there are not as many bytes")
        at = start
        count = 0
        while at < end:
            if end - at < 64:
                raise Damaged(f"a record of {end - at} bytes is shorter than its head")
            size = packing.u32_at(records, at)
            flags = packing.u16_at(records, at + 4)
            least = 64 + packing.u16_at(records, at + 34) + packing.u16_at(records, at + 36)
            if flags & RARE:
                least += 32
            if size < least or size > end - at:
                raise Damaged(f"a record says that it has {size} bytes")
            at += size
            count += 1
        row = self.rows
        if row + count > len(self._where):
            # Longer by an eighth, so that they are seldom copied.
            room = bytes(8 * max(count, len(self._where) >> 3))
            self._where.frombytes(room)
            self._who.frombytes(room)
        where, who, counts = self._where, self._who, self._counts
        # Mostly the next block of the same part of a journal.
        if not self._blocks or self._blocks[-1] is not records:
            self._blocks.append(records)
        block = (len(self._blocks) - 1) << 32
        senders = self._senders
        earliest = self.earliest
        sender = 0
        at = before = start
        while at < end:
            time = packing.micros_at(records, at + 8)
            if time < earliest:
                earliest = time
            # Senders send several messages at a time.
            if at == start or not packing.is_same(records, at + 16, before + 16, 18):
                sender = senders.number(records, at + 16, 18)
                if sender == len(counts):
                    counts.append(0)
            before = at
            octets.put_stamp(counts, sender, octets.stamp_at(counts, sender) + 1)
            octets.put_stamp(where, row, block | at)
            octets.put_stamp(who, row, sender)
            row += 1
            at += packing.u32_at(records, at)
        self.rows = row
        self.earliest = earliest

    @property
    def blocks(self) -> list[bytes]:
        """The bytes with the records that were added, until they are sorted."""
        return self._blocks

    def mark(self) -> tuple[int, int, int, int]:
        """Return the state to which :meth:`cut` returns; before :meth:`order`."""
        return self.rows, len(self._counts), len(self._blocks), self.earliest

    def cut(self, mark: tuple[int, int, int, int]) -> None:
        """Remove the records that were added since :meth:`mark`; before :meth:`order`."""
        rows, senders, blocks, earliest = mark
        for sender in self._who[rows : self.rows]:
            self._counts[sender] -= 1
        del self._counts[senders:], self._blocks[blocks:]
        self._senders.cut(senders)
        self.rows = rows
        self.earliest = earliest

    @property
    def sender_count(self) -> int:
        """The different senders of the records that were added."""
        return len(self._counts)

    def sort(self) -> None:
        """Sort the rows and fill the columns with all of them, once, after the last ``add``."""
        self.order()
        self.fill(self._left, 1 << 62)

    def order(self) -> None:
        """Sort the rows, once, after the last ``add``."""
        numbers = self._senders.table
        keys = sorted(numbers)
        ranks = array("Q", bytes(8 * len(keys)))
        firsts = array("Q", bytes(8 * len(keys)))
        first = 0
        # The rows of each sender, by key; the sender of the next row, and its rows before that.
        self._keys = keys
        self._sizes = array("Q", bytes(8 * len(keys)))
        self._sender = 0
        self._done = 0
        for rank, key in enumerate(keys):
            number = numbers[key]
            ranks[number] = rank
            firsts[rank] = first
            self._sizes[rank] = self._counts[number]
            first += self._counts[number]
        order = array("Q", bytes(8 * self.rows))
        where, who = self._where, self._who
        index = 0
        while index < self.rows:
            sender = octets.stamp_at(who, index)
            row = octets.stamp_at(firsts, octets.stamp_at(ranks, sender))
            octets.put_stamp(order, row, octets.stamp_at(where, index))
            octets.put_stamp(firsts, octets.stamp_at(ranks, sender), row + 1)
            index += 1
        self._where = self._who = array("Q")
        self._senders = _Numbers(1)
        self._order = order
        self._next = 0
        self._left = self.rows

    def fill(self, most_rows: int, most_bytes: int) -> bool:
        """Fill the columns with the next rows, after :meth:`order`; return false if all were.

        :param most_rows: the most rows.
        :param most_bytes: bytes of text and ``raws`` with which no further row is added. A byte of a different caller,
            release or tail counts as :data:`VALUE_COST`.
        """
        rows = min(most_rows, self._left)
        words = bytes(8 * rows)
        #: Microseconds since 1970.
        self.received_at = array("Q", words)
        self.flags = array("Q", words)
        self.prefix = array("Q", words)
        self.seq = array("Q", words)
        self.ts_usec = array("Q", words)
        self.msgid = array("Q", words)
        #: Indices into the tables; -1 for none.
        self.caller = array("Q", words)
        self.release = array("Q", words)
        self.tail = array("Q", words)
        #: 0, and the end of each row's text.
        self.text_end = array("Q", words + bytes(8))
        #: All texts, in UTF-8, one after the other.
        self.text = bytearray(96 * rows + 4096)
        #: Row -> bytes, where they do not follow from the other columns.
        self.raws: dict[int, bytes] = {}
        #: Row -> (missing, lost, likely_lost, limited), where one is not 0 (lost: -1 for unknown or 0).
        self.rare: dict[int, tuple[int, int, int, int]] = {}
        self._callers = _Numbers(_SLOTS)
        self._releases = _Numbers(_SLOTS)
        self._tails = _Numbers(_SLOTS)
        self.callers = self._callers.table
        self.releases = self._releases.table
        self.tails = self._tails.table
        self._raw_bytes = 0
        order, blocks = self._order, self._blocks
        used = 0
        row = 0
        start = self._next
        last = len(order) - 1
        callers, releases, tails = self._callers, self._releases, self._tails
        while (
            row < rows
            and used + self._raw_bytes + _VALUE_COST * (callers.size + releases.size + tails.size) < most_bytes
        ):
            # The records lie far from each other: the memory is asked for the ones that are needed soon.
            packing.prefetch(blocks, octets.stamp_at(order, min(start + row + _AHEAD, last)))
            place = octets.stamp_at(order, start + row)
            used = self._put(row, blocks[place >> 32], place & _U32_MASK, used)
            row += 1
        del self.text[used:]
        if row < rows:
            for column in (self.received_at, self.flags, self.prefix, self.seq, self.ts_usec, self.msgid):
                del column[row:]
            for column in (self.caller, self.release, self.tail):
                del column[row:]
            del self.text_end[row + 1 :]
        self.rows = row
        self._next += row
        self._left -= row
        if not self._left:
            # Before the caller makes the index.
            self._order = array("Q")
            self._blocks = []
        self._fill_senders(row)
        return row > 0

    def _fill_senders(self, rows: int) -> None:
        #: (key, first row, rows) of each sender, sorted by key.
        self.senders: list[tuple[bytes, int, int]] = []
        first = 0
        while first < rows:
            count = min(self._sizes[self._sender] - self._done, rows - first)
            self.senders.append((self._keys[self._sender], first, count))
            first += count
            self._done += count
            if self._done == self._sizes[self._sender]:
                self._sender += 1
                self._done = 0

    def _put(self, row: int, records: bytes, at: int, used: int) -> int:
        """Fill a row, and return the end of its text."""
        size = packing.u32_at(records, at)
        flags = packing.u16_at(records, at + 4)
        octets.put_stamp(self.received_at, row, packing.micros_at(records, at + 8))
        octets.put_stamp(self.flags, row, flags)
        octets.put_stamp(self.prefix, row, packing.u16_at(records, at + 6))
        octets.put_stamp(self.seq, row, packing.u64_at(records, at + 40))
        octets.put_stamp(self.ts_usec, row, packing.u64_at(records, at + 48))
        octets.put_stamp(self.msgid, row, packing.u64_at(records, at + 56))
        msgid = packing.i64_at(records, at + 56)
        caller_size = packing.u16_at(records, at + 34)
        release_size = packing.u16_at(records, at + 36)
        end = at + size
        at += 64
        if flags & RARE:
            self.rare[row] = (
                packing.u64_at(records, at),
                packing.i64_at(records, at + 8),
                packing.u64_at(records, at + 16),
                packing.i64_at(records, at + 24),
            )
            at += 32
        caller = release = tail = NONE
        if flags & CALLER:
            caller = self._callers.number(records, at, caller_size)
            at += caller_size
        if flags & RELEASE:
            release = self._releases.number(records, at, release_size)
            at += release_size
        octets.put_stamp(self.caller, row, caller)
        octets.put_stamp(self.release, row, release)
        if used + 4 * size > len(self.text):
            self.text.extend(bytes(4 * size + len(self.text) // 2))
        length = packing.plain_text(records, at, end)
        text_at = ts_usec = 0
        if length and not flags & (EXTENDED | DATAGRAM) and at + length + 1 == end:
            text_at, ts_usec = packing.timed_text(records, at, end - 1)
        if length and flags & EXTENDED:
            tail_at = at + length + 1
            tail_end = packing.tail_end(records, tail_at, end, msgid)
            tail = self._tails.number(records, tail_at, tail_end - tail_at)
            used = packing.put_part(self.text, used, records, at, length)
            if tail_end == end and msgid >= 0:
                self._keep(row, records[at:end])
        elif text_at:
            # Most legacy lines; a tenth of the time of the others.
            octets.put_stamp(self.prefix, row, NONE)
            octets.put_stamp(self.ts_usec, row, ts_usec)
            used = packing.put_part(self.text, used, records, text_at, end - 1 - text_at)
        else:
            raw = records[at:end]
            text = self._other(row, flags, raw) if not flags & EXTENDED else text_of(raw).encode()
            used = packing.put_bytes(self.text, used, text)
            if flags & EXTENDED:
                tail_at = octets.find(raw, _NEWLINE, 0) + 1
                line = escape(text)
                if tail_at == 0 or tail_at != len(line) + 1 or not octets.begins_with(raw, line, 0):
                    self._keep(row, raw)
                tail_at = at + tail_at if tail_at else end
                tail_end = packing.tail_end(records, tail_at, end, msgid)
                tail = self._tails.number(records, tail_at, tail_end - tail_at)
                if tail_end == end and msgid >= 0:
                    self._keep(row, raw)
        octets.put_stamp(self.tail, row, tail)
        octets.put_stamp(self.text_end, row + 1, used)
        return used

    def _keep(self, row: int, raw: bytes) -> None:
        """Keep the bytes of a row that do not follow from its other columns."""
        if row not in self.raws:
            self.raws[row] = raw
            self._raw_bytes += len(raw)

    def _other(self, row: int, flags: int, raw: bytes) -> bytes:
        """Fill the columns of a legacy line and return its text in UTF-8: rare, except for legacy senders."""
        if flags & DATAGRAM:
            octets.put_stamp(self.prefix, row, NONE)
            octets.put_stamp(self.ts_usec, row, NONE)
            self._keep(row, raw)
            return datagram_text(raw).encode()
        prefix, ts_usec, caller, shown = legacy_fields(raw)
        text = shown.encode()
        octets.put_stamp(self.prefix, row, NONE if prefix is None else prefix)
        octets.put_stamp(self.ts_usec, row, NONE if ts_usec is None or ts_usec >= NONE else ts_usec)
        if caller is not None:
            octets.put_stamp(self.caller, row, self._callers.number_of(caller.encode()))
        if len(raw) <= len(text) or raw != legacy_line(prefix, ts_usec, caller, text):
            self._keep(row, raw)
        return text


def legacy_line(prefix: int | None, ts_usec: int | None, caller: str | None, text: bytes) -> bytes:
    """Return the line of a legacy message, as a kernel writes it (docs/wire section 2). Any thread."""
    line = b"" if prefix is None else b"<%d>" % prefix
    if ts_usec is not None:
        line += b"[%b]" % octets.seconds(ts_usec)
    if caller is not None:
        line += b"[%6b]" % caller.encode()
    space = b"" if ts_usec is None and caller is None else b" "
    return b"%b%b%b\n" % (line, space, text)
