"""Finds the form of a text: numbers, addresses, devices and names are replaced, so that texts of one kind are equal.
Hot: once for each stored message. Pure; any bytes.

A *word* is a run of letters, digits, underscores and bytes above ASCII. Rules, by the first that applies:

1. Words and separators stay as they are. A run of spaces, tabs and newlines is one space; none is at the begin or end.
2. ``<MAC>``: 6, 8 or 20 groups of two hexadecimal digits with colons between them, or 14: the head of an Ethernet
   frame, as firewalls log it.
3. ``<IP>``: an IPv4 address; an IPv6 address with eight groups, or with ``::`` and a decimal digit in it.
4. ``<DEV>``: an address of PCI (``0000:00:1f.2``, ``00:1f.2``); a disk (``sda``, ``vdb1``, ``xvdaa``); a name of
   :data:`DEVICES` with its number and what follows in the word (``eth0``, ``nvme0n1p2``, ``enp3s0f1``, ``ttyS0``,
   ``dm-3``), a VLAN or port behind a dot included (``eth0.100``, ``ata3.00``); a name of :data:`RANDOM` with six or
   more hexadecimal digits (``veth12ab34c``, ``enx001122334455``).
5. ``<UUID>``: 8-4-4-4-12 hexadecimal digits.
6. ``<N>``: four or more bytes in hexadecimal with a space between each two (``48 8b <0f> 0b``); a decimal number, with
   what follows behind dots (``12.5``, ``6.1.0``); a hexadecimal number after ``0x``; a word of hexadecimal digits that
   begins with a decimal digit, or has eight digits. Of a word that begins with a digit and is no number, each run of
   digits is one (``512MiB``, ``1024x768``).
7. Of a word that begins with a letter, only these digits are ``<N>``: behind a name of :data:`NUMBERED` (``cpu3``),
   behind the last underscore (``scsi_eh_3``) but not of ``x86_64``, and of a worker pool of the kernel (``/u16``).
   All others belong to a name: ``ext4``, ``r8169``, ``sha256``, ``mlx5_core``.
8. ``<NAME>``: what is between two double quotes, between two single quotes (no apostrophes: a letter is before them),
   or between a backtick and a single quote, up to :data:`NAME_LIMIT` bytes; the quotes stay.
9. Only the first :data:`INPUT_LIMIT` bytes of a text are looked at; the form of a longer one ends with ``…``.

The numbers in brackets, as of processes, are numbers: ``bash[1234]`` is ``bash[<N>]``.
"""

from __future__ import annotations

from array import array

from netconsd.protocol import octets
from netconsd.store import packing

#: Bytes of a text that are looked at: five lines of a terminal. The kernel's own texts of a kind differ before.
INPUT_LIMIT = 512
#: Bytes of a name in quotes: NAME_MAX of linux/limits.h.
NAME_LIMIT = 255
#: Forms of one :class:`Forms`, the one of all others included: with their sums (tallies.py) and examples, 50 MB if all
#: are long. Machines with the usual messages have some thousand.
FORMS_LIMIT = 16384
#: Forms that one sender can add: one that sends random words must not use up the places of the others.
SENDER_FORMS = 4096
#: Number 0 of every :class:`Forms`: the texts whose forms found no place.
OTHERS = b"(others)"

#: Names of devices, before their number.
DEVICES = (
    # Networks: the kernel's names, systemd's (systemd.net-naming-scheme(7)), and those of virtual machines.
    *("eth", "en", "eno", "ens", "enp", "enP", "enx", "wl", "wlan", "wlp", "wlo", "wls", "wwan", "wwp", "ib", "ibp"),
    *("bond", "team", "br", "virbr", "docker", "tun", "tap", "veth", "vnet", "vlan", "vxlan", "gre", "sit", "wg"),
    *(
        "ppp",
        "dummy",
        "ifb",
        "macvlan",
        "macvtap",
        "ipvlan",
        "usbnet",
        "phy",
        "can",
        "vcan",
        "hsr",
        "nlmon",
        "vif",
        "vmnet",
    ),
    # Disks and tapes (Documentation/admin-guide/devices.txt).
    *("nvme", "mmcblk", "mmc", "mtd", "mtdblock", "ubi", "ubiblock", "loop", "ram", "zram", "md", "dm", "nbd", "rbd"),
    *("drbd", "bcache", "pmem", "nd", "sr", "sg", "st", "nst", "fd", "cciss"),
    # Terminals.
    *("tty", "ttyS", "ttyUSB", "ttyACM", "ttyAMA", "ttyO", "ttymxc", "hvc", "vport"),
    # Buses and their devices.
    *("usb", "ata", "host", "scsi", "input", "event", "mouse", "js", "hidraw", "video", "card", "hwmon", "rtc"),
    *("spi", "gpiochip", "pci", "mdio", "watchdog", "thermal", "uio", "vfio", "renderD", "fb", "mei", "tpm", "hidg"),
)
#: Names of devices before random hexadecimal digits: pairs of virtual Ethernet, USB adapters, and those of containers.
RANDOM = ("veth", "cali", "tap", "qvo", "qvb", "qbr", "lxc", "enx", "vif")
#: Names of things that are counted and no devices: only the number is replaced.
NUMBERED = (
    *("cpu", "CPU", "vcpu", "core", "node", "Node", "irq", "IRQ", "rx", "tx", "queue", "ring", "port", "lane", "slot"),
    *("zone", "bank", "vf", "VF", "pf", "PF", "pid", "line", "chan", "ch", "channel", "socket", "level", "TxRx"),
)

# The classes of bytes.
_LETTER = 1
_HEX = 2
_DIGIT = 4
_UNDERSCORE = 8
_SPACE = 16
_QUOTE = 32
_WORD = _LETTER | _HEX | _DIGIT | _UNDERSCORE
_HEXADECIMAL = _HEX | _DIGIT
_ALPHA = _LETTER | _HEX


def _class(octet: int) -> int:
    character = chr(octet)
    if octet >= 0x80:
        return _LETTER
    if character in "0123456789":
        return _DIGIT
    if character in "abcdefABCDEF":
        return _HEX
    if character.isalpha():
        return _LETTER
    if character == "_":
        return _UNDERSCORE
    if character in "\"'`":
        return _QUOTE
    return _SPACE if character in " \t\n" else 0


_CLASSES = bytes(map(_class, range(256)))

# A name of up to eight letters as a number, and the kind of the name.
_DEVICE = 1
_NUMBERED = 2
_NAME_BYTES = 8
# A hash table with open addressing: names, and their kinds. A power of two, a quarter full.
_SLOTS = 1024
_SLOTS_MASK = _SLOTS - 1


def _slot(name: int) -> int:
    """The first place of a name."""
    return (name ^ (name >> 7) ^ (name >> 19) ^ (name >> 37)) & _SLOTS_MASK


def _table() -> tuple[array[int], array[int]]:
    names, kinds = array("Q", bytes(8 * _SLOTS)), array("Q", bytes(8 * _SLOTS))
    for kind, words in ((_DEVICE, DEVICES), (_NUMBERED, NUMBERED)):
        for word in words:
            if len(word) > _NAME_BYTES:
                continue
            name = int.from_bytes(word.encode(), "big")
            slot = _slot(name)
            while names[slot] not in (0, name):
                slot = (slot + 1) & _SLOTS_MASK
            names[slot] = name
            kinds[slot] = kinds[slot] or kind
    return names, kinds


_NAMES, _KINDS = _table()
# The room for a form: the longest replacement of each byte, of which every second is a separator, and the last mark.
_ROOM = 8 * INPUT_LIMIT

# A power of two: as many forms as most segments have.
_RECENT = 1 << 15
_RECENT_MASK = _RECENT - 1

_N = b"<N>"
_DEV = b"<DEV>"
_IP = b"<IP>"
_MAC = b"<MAC>"
_UUID = b"<UUID>"
_NAME = b"<NAME>"
_CUT = "…".encode()
_RANDOM = tuple(word.encode() for word in RANDOM)
_RANDOM_FIRSTS = bytes(any(word[0] == octet for word in _RANDOM) for octet in range(256))
# Kinds of structures with colons.
_IS_IP = 1
_IS_MAC = 2
_IS_DEV = 3

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(INPUT_LIMIT=INPUT_LIMIT, NAME_LIMIT=NAME_LIMIT, FORMS_LIMIT=FORMS_LIMIT, SENDER_FORMS=SENDER_FORMS)


def form(text: bytes) -> bytes:
    """Return the form of a text in UTF-8; any bytes. Any thread."""
    room = bytearray(_ROOM)
    return packing.taken(room, _form(text, 0, len(text), room, _CLASSES))


class Forms:
    """The forms of many texts, each with a number. For one thread at a time."""

    def __init__(self, limit: int = FORMS_LIMIT, sender_limit: int = SENDER_FORMS) -> None:
        """
        :param limit: the most forms, the one of all others included.
        :param sender_limit: the most forms that are added between two calls of :meth:`next_sender`.
        """
        self._room = bytearray(_ROOM)
        self._numbers: dict[bytes, int] = {}
        # The latest forms by a sum of their bytes: most are found without making an object.
        self._recent: list[bytes | None] = [None] * _RECENT
        self._recent_numbers = array("Q", bytes(8 * _RECENT))
        self._limit = limit
        self._sender_limit = sender_limit
        self._left = sender_limit
        #: The forms by number, and the index of the first text of each.
        self.forms: list[bytes] = [OTHERS]
        self.firsts: list[int] = [-1]
        #: Texts that were numbered.
        self.count = 0

    def next_sender(self) -> None:
        """Begin with the texts of another sender: it can add as many forms as each."""
        self._left = self._sender_limit

    def number(self, texts: bytes, ends: array[int], first: int, end: int) -> array[int]:
        """Return the numbers of the forms of texts, as an ``array("Q")``; 0 for those without a place.

        :param texts: the texts one after the other.
        :param ends: ``array("Q")``: the begin of the first text, then the end of each. Within the bounds of ``texts``.
        :param first: the texts from this one up to ``end`` are looked at.
        :raises IndexError: if there are not as many.
        """
        if not 0 <= first <= end < len(ends):
            raise IndexError("there are not as many texts")
        size = octets.stamp_at(ends, end)
        if not 0 <= size <= len(texts):
            raise IndexError("the texts end before")
        numbers = array("Q", bytes(8 * (end - first)))
        room = self._room
        known = self._numbers
        index = first
        while index < end:
            begin = octets.stamp_at(ends, index)
            size = _form(texts, begin, octets.stamp_at(ends, index + 1), room, _CLASSES)
            slot = packing.sum_slot(room, size) & _RECENT_MASK
            latest = self._recent[slot]
            if latest is not None and packing.is_begin(latest, room, size):
                number = octets.stamp_at(self._recent_numbers, slot)
            else:
                key = packing.taken(room, size)
                found = known.get(key)
                if found is None:
                    found = self._add(key)
                number = found
                # One without a place can get one from another sender.
                if number:
                    self._recent[slot] = key
                    octets.put_stamp(self._recent_numbers, slot, number)
            octets.put_stamp(numbers, index - first, number)
            self.count += 1
            index += 1
        return numbers

    def _add(self, key: bytes) -> int:
        """Return the number of a new form: 0 if there is no place."""
        if self._left <= 0 or len(self.forms) >= self._limit:
            if self.firsts[0] < 0:
                self.firsts[0] = self.count
            return 0
        self._left -= 1
        self._numbers[key] = len(self.forms)
        self.forms.append(key)
        self.firsts.append(self.count)
        return len(self.forms) - 1


def _form(data: bytes, at: int, end: int, out: bytearray, classes: bytes) -> int:
    """Write the form of a part of the data, and return its length."""
    used = 0
    # One more than the longest of a character: what is cut ends with whole ones.
    cut = end - at > INPUT_LIMIT
    if cut:
        end = at + INPUT_LIMIT
        while end > at and data[end] & 0xC0 == 0x80:
            end -= 1
    begin_of_text = at
    spaced = True
    while at < end:
        octet = data[at]
        kind = classes[octet]
        if kind & _WORD:
            spaced = False
            begin = at
            written = used
            mask = 0
            while kind & _WORD:
                mask |= kind
                out[used] = octet
                used += 1
                at += 1
                if at == end:
                    break
                octet = data[at]
                kind = classes[octet]
            if mask & _DIGIT == 0 and mask != _HEX:
                # Most words.
                if at - begin <= 5:
                    if _is_disk(data, begin, at):
                        used = _put(out, written, _DEV, 5)
                        continue
                    if at - begin == 2 and at + 1 < end and octet == 0x2D and _is_dm(data, begin, classes):
                        at += 1
                        while at < end and classes[data[at]] & _DIGIT:
                            at += 1
                        used = _put(out, written, _DEV, 5)
                elif _RANDOM_FIRSTS[data[begin]] and _is_random(data, begin, at, classes):
                    used = _put(out, written, _DEV, 5)
                continue
            if mask & _LETTER == 0 and mask & _UNDERSCORE == 0:
                # Hexadecimal digits alone.
                if at < end and octet == 0x3A and at - begin <= 8:
                    found = _colons(data, begin, end, classes)
                    if found:
                        at = found >> 2
                        used = _put_structure(out, written, found & 3)
                        continue
                if at - begin == 2 and octet == 0x20 and at < end:
                    after = _dump(data, begin, end, classes)
                    if after:
                        at = after
                        used = _put(out, written, _N, 3)
                        continue
                if at - begin == 8 and octet == 0x2D and at < end and _is_uuid(data, begin, end, classes):
                    at = begin + 36
                    used = _put(out, written, _UUID, 6)
                    continue
                if mask == _DIGIT:
                    groups = 1
                    longest = at - begin
                    while at + 1 < end and data[at] == 0x2E and classes[data[at + 1]] & _DIGIT:
                        at += 1
                        size = at
                        while at < end and classes[data[at]] & _DIGIT:
                            at += 1
                        groups += 1
                        if at - size > longest:
                            longest = at - size
                    used = _put(out, written, _IP, 4) if groups == 4 and longest <= 3 else _put(out, written, _N, 3)
                elif at - begin >= 8 or classes[data[begin]] & _DIGIT:
                    used = _put(out, written, _N, 3)
                continue
            if classes[data[begin]] & _DIGIT:
                if _is_prefixed(data, begin, at, classes):
                    used = _put(out, written, _N, 3)
                else:
                    used = _put_runs(out, written, data, begin, at, classes)
                continue
            # A letter or an underscore, later a digit.
            size = _name(data, begin, at, classes)
            if size > 0:
                after = at
                while after + 1 < end and data[after] == 0x2E and classes[data[after + 1]] & _DIGIT:
                    after += 1
                    while after < end and classes[data[after]] & _DIGIT:
                        after += 1
                if after < end and classes[data[after]] & _WORD:
                    after = at
                at = after
                used = _put(out, written, _DEV, 5)
            elif size < 0:
                used = _put(out, written - size, _N, 3)
            elif _RANDOM_FIRSTS[data[begin]] and _is_random(data, begin, at, classes):
                used = _put(out, written, _DEV, 5)
            elif begin > begin_of_text and _is_pool(data, begin, at, classes):
                used = _put(out, written + 1, _N, 3)
        elif kind & _SPACE:
            if not spaced:
                out[used] = 0x20
                used += 1
                spaced = True
            at += 1
        elif kind & _QUOTE:
            spaced = False
            after = _quoted(data, begin_of_text, at, end, classes)
            out[used] = octet
            used += 1
            at += 1
            if after:
                used = _put(out, used, _NAME, 6)
                out[used] = data[after]
                used += 1
                at = after + 1
        else:
            spaced = False
            if (
                octet == 0x3A
                and at + 1 < end
                and data[at + 1] == 0x3A
                and not _follows(data, begin_of_text, at, classes)
            ):
                # "::1"
                found = _colons(data, at, end, classes)
                if found:
                    at = found >> 2
                    used = _put_structure(out, used, found & 3)
                    continue
            out[used] = octet
            used += 1
            at += 1
    if spaced and used:
        used -= 1
    if cut:
        used = _put(out, used, _CUT, 3)
    return used


def _put(out: bytearray, at: int, octets: bytes, size: int) -> int:
    """Write bytes, and return the position after them."""
    for index in range(size):
        out[at + index] = octets[index]
    return at + size


def _put_structure(out: bytearray, at: int, kind: int) -> int:
    if kind == _IS_IP:
        return _put(out, at, _IP, 4)
    if kind == _IS_MAC:
        return _put(out, at, _MAC, 5)
    return _put(out, at, _DEV, 5)


def _put_runs(out: bytearray, used: int, data: bytes, at: int, end: int, classes: bytes) -> int:
    """Write a word with its runs of digits replaced."""
    while at < end:
        if classes[data[at]] & _DIGIT:
            used = _put(out, used, _N, 3)
            while at < end and classes[data[at]] & _DIGIT:
                at += 1
        else:
            out[used] = data[at]
            used += 1
            at += 1
    return used


def _only_digits(data: bytes, at: int, end: int, classes: bytes) -> bool:
    """Return whether there are decimal digits and nothing else."""
    if at >= end:
        return False
    while at < end:
        if not classes[data[at]] & _DIGIT:
            return False
        at += 1
    return True


def _is_dm(data: bytes, begin: int, classes: bytes) -> bool:
    """Return whether the four bytes from here on begin with ``dm-`` and a digit."""
    return data[begin] == 0x64 and data[begin + 1] == 0x6D and bool(classes[data[begin + 3]] & _DIGIT)


def _is_pool(data: bytes, begin: int, end: int, classes: bytes) -> bool:
    """Return whether a word is ``u`` and a number, as in ``kworker/u16:3``; there is a byte before it."""
    return data[begin] == 0x75 and data[begin - 1] == 0x2F and _only_digits(data, begin + 1, end, classes)


def _follows(data: bytes, begin: int, at: int, classes: bytes) -> bool:
    """Return whether there is a word just before a position."""
    return at > begin and bool(classes[data[at - 1]] & _WORD)


def _is_prefixed(data: bytes, begin: int, end: int, classes: bytes) -> bool:
    """Return whether a word is ``0x`` and hexadecimal digits."""
    if end - begin < 3 or data[begin] != 0x30 or data[begin + 1] | 0x20 != 0x78:
        return False
    begin += 2
    while begin < end:
        if not classes[data[begin]] & _HEXADECIMAL:
            return False
        begin += 1
    return True


def _is_disk(data: bytes, begin: int, end: int) -> bool:
    """Return whether letters are a disk: sda to sddz (not sdhc, sdio and sdma), as much of vd and xvd, hda to hdh."""
    if data[begin] == 0x78:
        begin += 1
    size = end - begin
    if (size != 3 and size != 4) or data[begin + 1] != 0x64:
        return False
    first = data[begin]
    if first != 0x73 and first != 0x76 and first != 0x68:
        return False
    letter = data[begin + 2]
    if size == 3:
        return 0x61 <= letter <= (0x68 if first == 0x68 else 0x7A)
    return first != 0x68 and 0x61 <= letter <= 0x64 and 0x61 <= data[begin + 3] <= 0x7A


def _is_random(data: bytes, begin: int, end: int, classes: bytes) -> bool:
    """Return whether a word is a name of ``RANDOM`` and at least six hexadecimal digits."""
    if end - begin < 9:
        return False
    at = end
    while at > begin and classes[data[at - 1]] & _HEXADECIMAL:
        at -= 1
    for name in _RANDOM:
        size = len(name)
        if end - begin - size >= 6 and at - begin <= size and _begins(data, begin, name, size):
            return True
    return False


def _begins(data: bytes, at: int, name: bytes, size: int) -> bool:
    index = 0
    while index < size and data[at + index] == name[index]:
        index += 1
    return index == size


def _name(data: bytes, begin: int, end: int, classes: bytes) -> int:
    """Look at a word that begins with a letter or underscore and has digits.

    Returns 1 for a device, minus the length of what stays before a number at the end, or 0 for another word.
    """
    at = begin
    name = 0
    while classes[data[at]] & _ALPHA and at - begin < _NAME_BYTES:
        name = (name << 8) | data[at]
        at += 1
    letters = at
    if classes[data[at]] & _DIGIT:
        kind = _kind(name)
        if not kind and _is_disk(data, begin, at):
            kind = _DEVICE
        if kind == _NUMBERED:
            return begin - at if _only_digits(data, at, end, classes) else 0
        if kind == _DEVICE and not (name == 0x6D64 and end == at + 1 and data[at] == 0x35):
            # Groups of digits with up to four letters between them. Not "md5", and not "md5sum".
            while at < end:
                while at < end and classes[data[at]] & _DIGIT:
                    at += 1
                letters = at
                while at < end and classes[data[at]] & _ALPHA and at - letters < 5:
                    at += 1
                if at == letters:
                    break
                if at - letters > 4 or at == end or not classes[data[at]] & _DIGIT:
                    return 0
            return 1 if at == end else 0
    # The digits after the last underscore.
    at = end
    while classes[data[at - 1]] & _DIGIT and at > begin + 1:
        at -= 1
    if at < end and data[at - 1] == 0x5F and at - 1 > begin:
        if data[begin] == 0x78 and data[begin + 1] == 0x38:
            return 0
        return begin - at
    return 0


def _kind(name: int) -> int:
    """Return the kind of a name; 0 for an unknown one."""
    slot = (name ^ (name >> 7) ^ (name >> 19) ^ (name >> 37)) & _SLOTS_MASK
    while True:
        known = octets.stamp_at(_NAMES, slot)
        if known == name:
            return octets.stamp_at(_KINDS, slot)
        if known == 0:
            return 0
        slot = (slot + 1) & _SLOTS_MASK


def _colons(data: bytes, at: int, end: int, classes: bytes) -> int:
    """Return the end and kind of a structure with colons, as ``end * 4 + kind``; 0 for none."""
    groups = 0
    pairs = 0
    first = 0
    longest = 0
    doubled = False
    digit = False
    last_decimal = False
    if data[at] == 0x3A:
        doubled = True
        at += 2
    while groups < 20:
        start = at
        last_decimal = True
        while at < end and classes[data[at]] & _HEXADECIMAL:
            if classes[data[at]] & _DIGIT:
                digit = True
            else:
                last_decimal = False
            at += 1
        size = at - start
        if at < end and classes[data[at]] & _WORD:
            return 0
        if size == 0:
            break
        groups += 1
        if groups == 1:
            first = size
        if size == 2:
            pairs += 1
        if size > longest:
            longest = size
        if at + 1 >= end or data[at] != 0x3A:
            break
        if data[at + 1] == 0x3A and not doubled:
            doubled = True
            at += 2
        elif classes[data[at + 1]] & _HEXADECIMAL:
            at += 1
        else:
            break
    if not doubled and pairs == groups and (groups == 6 or groups == 8 or groups == 14 or groups == 20):
        return at * 4 + _IS_MAC
    if longest <= 4 and digit and ((doubled and 1 <= groups <= 7) or (not doubled and groups == 8)):
        if last_decimal:
            at = _dotted(data, at, end, classes)
        return at * 4 + _IS_IP
    if not doubled and at + 1 < end and data[at] == 0x2E and 0x30 <= data[at + 1] <= 0x37:
        if at + 2 < end and classes[data[at + 2]] & _WORD:
            return 0
        if (groups == 3 and 4 <= first <= 8 and pairs == 2) or (groups == 2 and pairs == 2):
            return (at + 2) * 4 + _IS_DEV
    return 0


def _dotted(data: bytes, at: int, end: int, classes: bytes) -> int:
    """Return the position after three more groups of an IPv4 address, or ``at``."""
    after = at
    for _ in range(3):
        if after + 1 >= end or data[after] != 0x2E or not classes[data[after + 1]] & _DIGIT:
            return at
        after += 1
        while after < end and classes[data[after]] & _DIGIT:
            after += 1
    return after


def _is_uuid(data: bytes, begin: int, end: int, classes: bytes) -> bool:
    """Return whether the 36 bytes from here on are a UUID."""
    if end - begin < 36 or (end - begin > 36 and classes[data[begin + 36]] & _WORD):
        return False
    for index in range(36):
        if index == 8 or index == 13 or index == 18 or index == 23:
            if data[begin + index] != 0x2D:
                return False
        elif not classes[data[begin + index]] & _HEXADECIMAL:
            return False
    return True


def _dump(data: bytes, at: int, end: int, classes: bytes) -> int:
    """Return the position after four or more bytes in hexadecimal with spaces between them; 0 for fewer."""
    groups = 0
    after = at
    while True:
        opened = at < end and (data[at] == 0x3C or data[at] == 0x28)
        if opened:
            at += 1
        if end - at < 2 or not classes[data[at]] & _HEXADECIMAL or not classes[data[at + 1]] & _HEXADECIMAL:
            break
        at += 2
        if opened:
            if at == end or (data[at] != 0x3E and data[at] != 0x29):
                break
            at += 1
        if at < end and classes[data[at]] & _WORD:
            break
        groups += 1
        after = at
        if at == end or data[at] != 0x20:
            break
        at += 1
    return after if groups >= 4 else 0


def _quoted(data: bytes, begin: int, at: int, end: int, classes: bytes) -> int:
    """Return the position of the quote that ends a name; 0 if there is none."""
    quote = data[at]
    closing = 0x27 if quote == 0x60 else quote
    if closing == 0x27 and _follows(data, begin, at, classes):
        return 0
    after = at + 1
    if end - after > NAME_LIMIT:
        end = after + NAME_LIMIT + 1
    while after < end:
        if data[after] == closing:
            if closing == 0x27 and after + 1 < end and classes[data[after + 1]] & _WORD:
                after += 1
                continue
            return after if after > at + 1 else 0
        after += 1
    return 0
