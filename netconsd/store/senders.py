"""Adds up the messages of each sender, and of each minute, of a segment. Hot: once for each stored message.

Rules:

1. The rows of a sender follow each other, in the order of arrival; its boots do as well (segment.py, rule 2).
2. A number of a row that is missing is :data:`NONE`. The latest one of a sender counts, which need not be of its last
   row.
"""

from __future__ import annotations

from array import array

from netconsd.protocol import octets
from netconsd.store import packing

#: A number that a row does not have.
NONE = (1 << 64) - 1
#: The levels of messages, and the one of those that have none.
LEVELS = 9
#: The places of a sender's numbers.
ROWS = 0
FIRST = 1
LAST = 2
LEVEL = 3
MISSING = 12
LOST = 13
LIKELY_LOST = 14
LIMITED = 15
FIRST_BOOT = 16
BOOTS = 17
BOOT = 18
RECEIVED_AT = 19
RELEASE = 20
USERDATA = 21
TS_USEC = 22
SEQ = 23
NUMBER = 24
#: The numbers of a sender.
WORDS = 25
_MINUTE = 60_000_000
# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(NONE=NONE, LEVELS=LEVELS, ROWS=ROWS, FIRST=FIRST, LAST=LAST, LEVEL=LEVEL, MISSING=MISSING, LOST=LOST)
globals().update(LIKELY_LOST=LIKELY_LOST, LIMITED=LIMITED, FIRST_BOOT=FIRST_BOOT, BOOTS=BOOTS, BOOT=BOOT)
globals().update(RECEIVED_AT=RECEIVED_AT, RELEASE=RELEASE, USERDATA=USERDATA, TS_USEC=TS_USEC, SEQ=SEQ, NUMBER=NUMBER)
globals().update(WORDS=WORDS)


class Senders:
    """The sums of the senders of a segment, in its order. For one thread at a time."""

    def __init__(self) -> None:
        #: :data:`WORDS` numbers of each sender.
        self.words = array("Q")
        #: Minutes since 1970 -> the index of the minute's first number in ``counts``.
        self.minutes: dict[int, int] = {}
        #: :data:`LEVELS` numbers of messages for each minute.
        self.counts = array("Q")
        self._sender = -1
        self._minute = 0
        self._place = -1

    def begin(self) -> None:
        """Begin with the rows of another sender."""
        self._sender += 1
        words = self.words
        words.frombytes(bytes(8 * WORDS))
        at = WORDS * self._sender
        for place in (RELEASE, USERDATA, TS_USEC, SEQ, NUMBER):
            words[at + place] = NONE

    def add(self, columns: list[array[int]], first: int, end: int, rare: bool) -> None:
        """Add rows of the sender that was begun.

        :param columns: received_at, level (8 for none), boot, release, userdata, ts_usec, seq, number; and missing,
            lost, likely_lost, limited. Each an ``array("Q")``, signed numbers in two's complement.
        :param first: the rows from this one up to ``end``.
        :param rare: whether the last four are there.
        :raises IndexError: if there are not as many rows, or for a level above 8; then the sums are of no use.
        """
        for column in columns:
            if not 0 <= first <= end <= len(column):
                raise IndexError("there are not as many rows")
        if self._sender < 0:
            raise IndexError("no sender was begun")
        received_at, levels, boots, releases, userdata, ts_usec, seqs, numbers = columns[:8]
        words, counts = self.words, self.counts
        at = WORDS * self._sender
        known = octets.stamp_at(words, at + ROWS) > 0
        boot = octets.stamp_at(words, at + BOOT)
        earliest = packing.i64_of(words, at + FIRST)
        latest = packing.i64_of(words, at + LAST)
        row = first
        while row < end:
            time = packing.i64_of(received_at, row)
            if not known:
                earliest = latest = time
            elif time < earliest:
                earliest = time
            elif time > latest:
                latest = time
            number = octets.stamp_at(boots, row)
            if not known:
                octets.put_stamp(words, at + FIRST_BOOT, number)
            if not known or number != boot:
                octets.put_stamp(words, at + BOOTS, octets.stamp_at(words, at + BOOTS) + 1)
                boot = number
            known = True
            level = octets.stamp_at(levels, row)
            if level >= LEVELS:
                raise IndexError("a level without a place")
            octets.put_stamp(words, at + LEVEL + level, octets.stamp_at(words, at + LEVEL + level) + 1)
            minute = time // _MINUTE
            if minute != self._minute or self._place < 0:
                self._find(minute)
            place = self._place + level
            octets.put_stamp(counts, place, octets.stamp_at(counts, place) + 1)
            number = octets.stamp_at(releases, row)
            if number != NONE:
                octets.put_stamp(words, at + RELEASE, number)
            number = octets.stamp_at(userdata, row)
            if number != NONE:
                octets.put_stamp(words, at + USERDATA, number)
            number = octets.stamp_at(ts_usec, row)
            if number != NONE:
                octets.put_stamp(words, at + TS_USEC, number)
            number = octets.stamp_at(seqs, row)
            if number != NONE:
                octets.put_stamp(words, at + SEQ, number)
            number = octets.stamp_at(numbers, row)
            if number != NONE:
                octets.put_stamp(words, at + NUMBER, number)
            row += 1
        if first < end:
            octets.put_stamp(words, at + RECEIVED_AT, octets.stamp_at(received_at, end - 1))
        octets.put_stamp(words, at + ROWS, octets.stamp_at(words, at + ROWS) + (end - first))
        octets.put_stamp(words, at + BOOT, boot)
        packing.put_i64(words, at + FIRST, earliest)
        packing.put_i64(words, at + LAST, latest)
        if rare:
            for index in range(4):
                total = octets.stamp_at(words, at + MISSING + index)
                column = columns[8 + index]
                row = first
                while row < end:
                    total = packing.sum_of(total, octets.stamp_at(column, row))
                    row += 1
                octets.put_stamp(words, at + MISSING + index, total)

    def _find(self, minute: int) -> None:
        """Make a minute the one whose messages are counted."""
        found = self.minutes.get(minute)
        if found is None:
            found = len(self.counts)
            self.counts.frombytes(bytes(8 * LEVELS))
            self.minutes[minute] = found
        self._place = found
        self._minute = minute
