"""Adds up the messages of each form of text: number, times, level, hosts, releases. Hot: once for each stored message.

The hosts of a form are numbers from 0 on, in the order of the rows, which have those of a host one after the other.
"""

from __future__ import annotations

from array import array

from netconsd.protocol import octets

#: Releases of the kernel in one segment, with 0 for none and the last one for all further ones: a place of 8 bytes for
#: each form. A fleet of thousands of machines has some dozen.
RELEASES_LIMIT = 128
#: The level of a message that has none, behind all others.
NO_LEVEL = 8
# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(RELEASES_LIMIT=RELEASES_LIMIT, NO_LEVEL=NO_LEVEL)


class Tallies:
    """The sums of each form, by its number. For one thread at a time."""

    def __init__(self) -> None:
        self.counts = array("Q")
        self.levels = array("Q")
        #: Microseconds.
        self.first = array("Q")
        self.last = array("Q")
        #: ``form * RELEASES_LIMIT + release`` -> messages.
        self.releases = array("Q")
        # The latest host of each form, plus 1.
        self._latest = array("Q")
        # Pairs of form << 32 | host, in the order of the hosts.
        self._pairs = array("Q")
        self._used = 0
        self._forms = 0

    def grow(self, forms: int) -> None:
        """Make room for forms with numbers below this one."""
        more = forms - self._forms
        if more <= 0:
            return
        words = bytes(8 * more)
        for sums in (self.counts, self.last, self._latest):
            sums.frombytes(words)
        self.first.frombytes(b"\xff" * (8 * more))
        self.levels.extend([NO_LEVEL] * more)
        self.releases.frombytes(words * RELEASES_LIMIT)
        self._forms = forms

    def add(
        self, numbers: array[int], host: int, at: int, times: array[int], levels: array[int], releases: array[int]
    ) -> None:
        """Add the rows of a host. All arrays are ``array("Q")``.

        :param numbers: the form of each row, below those of :meth:`grow`.
        :param at: the index of the first of these rows in the other arrays.
        :param levels: up to ``NO_LEVEL``.
        :param releases: below ``RELEASES_LIMIT``.
        :raises IndexError: for values out of these bounds; then the sums are of no use.
        """
        rows = len(numbers)
        if at < 0 or at + rows > len(times) or at + rows > len(levels) or at + rows > len(releases):
            raise IndexError("there are not as many rows")
        pairs, latest = self._pairs, self._latest
        counts, last, first, lowest, by_release = self.counts, self.last, self.first, self.levels, self.releases
        pairs.frombytes(bytes(8 * rows))
        used = self._used
        forms = self._forms
        row = 0
        while row < rows:
            number = octets.stamp_at(numbers, row)
            time = octets.stamp_at(times, at + row)
            level = octets.stamp_at(levels, at + row)
            release = octets.stamp_at(releases, at + row)
            if number >= forms or release >= RELEASES_LIMIT:
                raise IndexError("a form or release without a place")
            octets.put_stamp(counts, number, octets.stamp_at(counts, number) + 1)
            if time < octets.stamp_at(first, number):
                octets.put_stamp(first, number, time)
            if time > octets.stamp_at(last, number):
                octets.put_stamp(last, number, time)
            if level < octets.stamp_at(lowest, number):
                octets.put_stamp(lowest, number, level)
            place = number * RELEASES_LIMIT + release
            octets.put_stamp(by_release, place, octets.stamp_at(by_release, place) + 1)
            if octets.stamp_at(latest, number) != host + 1:
                octets.put_stamp(latest, number, host + 1)
                octets.put_stamp(pairs, used, (number << 32) | host)
                used += 1
            row += 1
        self._used = used
        del pairs[used:]

    def hosts(self, hosts: int) -> list[bytes]:
        """Return the hosts of each form, as docs/store describes them: ``L`` and numbers, or ``B`` and a bit for each.

        :param hosts: the number of all hosts.
        """
        forms, used = self._forms, self._used
        pairs = self._pairs
        begins = array("Q", bytes(8 * (forms + 1)))
        index = 0
        while index < used:
            number = (octets.stamp_at(pairs, index) >> 32) + 1
            octets.put_stamp(begins, number, octets.stamp_at(begins, number) + 1)
            index += 1
        index = 1
        while index <= forms:
            octets.put_stamp(begins, index, octets.stamp_at(begins, index) + octets.stamp_at(begins, index - 1))
            index += 1
        ends = array("Q", begins)
        sorted_hosts = array("Q", bytes(8 * used))
        index = 0
        while index < used:
            pair = octets.stamp_at(pairs, index)
            number = pair >> 32
            place = octets.stamp_at(ends, number)
            octets.put_stamp(ends, number, place + 1)
            octets.put_stamp(sorted_hosts, place, pair & 0xFFFFFFFF)
            index += 1
        return [_packed(sorted_hosts, begins[form], begins[form + 1], hosts) for form in range(forms)]


def _packed(numbers: array[int], first: int, end: int, hosts: int) -> bytes:
    """Return numbers of hosts in the shorter form."""
    size = (hosts + 7) >> 3
    if 4 * (end - first) <= size:
        return b"L" + array("I", numbers[first:end]).tobytes()
    bits = bytearray(size)
    index = first
    while index < end:
        host = octets.stamp_at(numbers, index)
        bits[host >> 3] |= 1 << (host & 7)
        index += 1
    return b"B" + bytes(bits)


class Unions:
    """The hosts of a form in several segments, of which each has numbers of its own. For one thread at a time."""

    def __init__(self, hosts: int) -> None:
        """
        :param hosts: the number of all hosts.
        """
        self._hosts = hosts
        self._bits = bytearray((hosts + 7) >> 3)

    def of(self, parts: list[tuple[bytes, array[int]]]) -> bytes:
        """Return the hosts of all parts, packed as by :meth:`Tallies.hosts`.

        :param parts: packed hosts, and the number here of each host of their segment, an ``array("Q")``.
        """
        few = array("Q")
        many = []
        for packed, places in parts:
            if packed[:1] == b"L":
                few.extend([places[number] for number in array("I", packed[1:])])
            else:
                many.append((packed, places))
        if not many and 4 * len(few) <= len(self._bits):
            return b"L" + array("I", sorted(set(few))).tobytes()
        for packed, places in many:
            self._add(packed, places)
        bits = self._bits
        hosts = self._hosts
        for host in few:
            if host < hosts:
                bits[host >> 3] |= 1 << (host & 7)
        made = self._packed()
        self._bits = bytearray(len(bits))
        return made

    def _add(self, packed: bytes, places: array[int]) -> None:
        """Set the bits of hosts that are packed as bits."""
        bits = self._bits
        count = len(places)
        hosts = self._hosts
        index = 1
        end = len(packed)
        while index < end:
            octet = packed[index]
            number = 8 * (index - 1)
            while octet:
                if octet & 1 and number < count:
                    host = octets.stamp_at(places, number)
                    if host < hosts:
                        bits[host >> 3] |= 1 << (host & 7)
                octet >>= 1
                number += 1
            index += 1

    def _packed(self) -> bytes:
        """Return the hosts whose bits are set in the shorter form."""
        bits = self._bits
        if 4 * int.from_bytes(bits, "little").bit_count() > len(bits):
            return b"B" + bits
        numbers = [8 * index + bit for index, octet in enumerate(bits) if octet for bit in range(8) if octet >> bit & 1]
        return b"L" + array("I", numbers).tobytes()
