"""Captures of packets: pcap files, as of tcpdump, and pcapng files, as of Wireshark.

A pcap file is a head and packets (draft-ietf-opsawg-pcap), and needs no library. pcapng is read with python-pcapng
(``netconsd[pcap]``), which of three libraries is the only one that reads several interfaces and sections rightly
(findings/pcapng-second-interface.sh); the offset of times is added here.
"""

from __future__ import annotations

import re
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from netconsd.protocol.message import MAPPED_IPV4
from netconsd.read.compressed import UnreadableError
from netconsd.read.entries import Datagram

# Magic numbers: the byte order, and the units of a second's fraction.
_ORDERS: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
}
PCAP: Final = tuple(_ORDERS)
PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
#: Bytes that a block or packet may have: libpcap's own limit of a packet is 256 KiB.
BLOCK_LIMIT: Final = 1 << 24
# Protocols (IEEE 802 numbers, IANA).
_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_VLANS: Final = (0x8100, 0x88A8, 0x9100)
_PPPOE: Final = 0x8864
_PPP: Final = {b"\x00\x21": _IPV4, b"\x00\x57": _IPV6}
_UDP: Final = 17
_EXTENSIONS: Final = (0, 43, 60)
_FRAGMENT: Final = 44
#: IP packets of which fragments are kept; the oldest one makes room. A sender's fragments follow each other at once.
FRAGMENTED_LIMIT: Final = 64
#: Fragments of an IP packet, and their bytes: 64 KiB in packets of 576 bytes are 120, and a capture can have them in
#: two sizes. A packet with more is dropped: it would fill the memory.
PARTS_LIMIT: Final = 256
PARTS_BYTES: Final = 2 << 16
#: Datagrams of the last second that are compared with further ones, and senders whose acknowledgements are known.
RECENT_LIMIT: Final = 65536
_SECOND: Final = 1.0
# An answer of netconsd --acks (WIRE.md, section 7).
_ACKNOWLEDGEMENT = re.compile(rb"ncrx[0-9]{1,20}(?: [0-9]{1,20})*")


@dataclass(slots=True)
class Left:
    """Packets that were not returned, and datagrams that are not whole, counted."""

    #: Packets that are no datagrams of UDP, second copies of a packet, and acknowledgements of netconsd.
    other: int = 0
    #: Fragments of datagrams that the capture does not have whole.
    fragments: int = 0
    #: Datagrams that were returned, but of which the capture has only the begin (``tcpdump -s``).
    cut: int = 0


class _Packet(NamedTuple):
    """A UDP datagram of a capture."""

    source: bytes
    destination: bytes
    #: The number of the IP packet; 0 if it has none.
    number: int
    data: bytes
    cut: bool


class BadCaptureError(UnreadableError):
    """The capture is damaged, or of a kind that is not read; the text says which."""


class _Bounded:
    """The file of a capture: a length that the file states makes no larger read."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self._file = file
        self._head = head
        self._position = 0

    def read(self, size: int) -> bytes:
        if not 0 <= size <= BLOCK_LIMIT:
            raise BadCaptureError(f"is a damaged capture: a block of {size} bytes")
        data, self._head = self._head[:size], self._head[size:]
        while len(data) < size and (more := self._file.read(size - len(data))):
            data += more
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position


def require() -> None:
    """Check that the library for pcapng is installed.

    :raises UnreadableError: if it is not; the text says how to install it.
    """
    try:
        import pcapng  # noqa: F401
    except ImportError:
        raise UnreadableError('is a capture of packets (pcapng): install "netconsd[pcap]" to read it') from None


def datagrams(file: BinaryIO, head: bytes = b"", left: Left | None = None) -> Iterator[Datagram]:
    """Yield the UDP datagrams of a capture over IPv4 and IPv6, with VLAN tags or not, in the order of the file.

    Fragments of IP are put together. A packet that was captured on several interfaces (``tcpdump -i any`` on a machine
    with a bridge, a bond or a VLAN) is one datagram. Acknowledgements of netconsd are left out. A capture that ends
    within a packet is read up to there. Packets without a time (pcapng's Simple Packet Blocks) have that of the packet
    before them.

    :param head: at least the first four bytes, which were already read from the file.
    :param left: counts the rest.
    :raises ModuleNotFoundError: for pcapng, without the package python-pcapng.
    :raises BadCaptureError: for a capture that is damaged, or has only packets of links that are not read; what was
        before has been yielded.
    """
    left = Left() if left is None else left
    source = _Bounded(file, head)
    number = read = 0
    other = -1
    fragments = _Fragments(left)
    copies = _Copies()
    senders: OrderedDict[bytes, None] = OrderedDict()
    several = head.startswith(PCAPNG)
    for link, interface, time, packet in _pcapng(source) if several else _pcap(source):
        number += 1
        if link not in _LINKS:
            other = link
            left.other += 1
            continue
        read += 1
        found = _udp(link, packet, fragments)
        if found is None:
            continue
        copied = False
        if link == _COOKED2:
            copied = copies.has(found, interface << 32 | int.from_bytes(packet[4:8], "big"), time)
        elif several or link == _COOKED:
            # Linux cooked v1 does not say on which interface.
            copied = copies.has(found, None if link == _COOKED else interface << 32, time)
        if copied or (found.destination in senders and _ACKNOWLEDGEMENT.fullmatch(found.data) is not None):
            left.other += 1
            continue
        senders[found.source] = None
        senders.move_to_end(found.source)
        if len(senders) > RECENT_LIMIT:
            senders.popitem(last=False)
        data = found.data
        if found.cut:
            left.cut += 1
            if b",ncfrag=" not in data[:128]:
                # Nothing continues it.
                data += b"\n"
        yield Datagram(number, time, found.source, data)
    fragments.end()
    if other >= 0 and not read:
        raise BadCaptureError(
            f"is a capture of link type {other}: only Ethernet, Linux cooked, loopback and raw IP are read"
        )


class _Copies:
    """Recognises a packet that was captured on several interfaces. For one thread."""

    def __init__(self) -> None:
        # How often a packet was captured in the last second, by interface.
        self._recent: OrderedDict[int, tuple[float, dict[int | None, int]]] = OrderedDict()

    def has(self, packet: _Packet, interface: int | None, time: float) -> bool:
        """Return whether this is a copy of a packet of another interface.

        A sender can send the same text again: the second packet of an interface is a copy if another interface had two.
        """
        recent = self._recent
        while recent and (len(recent) > RECENT_LIMIT or time - next(iter(recent.values()))[0] > _SECOND):
            recent.popitem(last=False)
        # A hash of 64 bits, with a secret: a packet has up to 64 KiB.
        known = recent.get(hash(packet))
        if known is None:
            recent[hash(packet)] = time, {interface: 1}
            return False
        counts = known[1]
        if interface is None:
            return packet.number != 0
        before = max(counts.values())
        counts[interface] = counts.get(interface, 0) + 1
        return counts[interface] <= before


@dataclass(slots=True)
class _Parts:
    """Fragments of an IP packet."""

    parts: dict[int, bytes] = field(default_factory=dict)
    size: int | None = None
    cut: bool = False


class _Fragments:
    """Puts the fragments of IP packets together. For one thread."""

    def __init__(self, left: Left) -> None:
        self.left = left
        self._packets: OrderedDict[tuple[bytes, int], _Parts] = OrderedDict()

    def whole(
        self, key: tuple[bytes, int], offset: int, data: bytes, last: bool, cut: bool
    ) -> tuple[bytes, bool] | None:
        """Return the data of a packet that is complete with this fragment, and whether a part of it is cut."""
        packet = self._packets.setdefault(key, _Parts())
        packet.parts[offset] = data
        packet.cut |= cut
        if last:
            packet.size = offset + len(data)
        if len(self._packets) > FRAGMENTED_LIMIT:
            self._drop(self._packets.popitem(last=False)[1])
        if len(packet.parts) > PARTS_LIMIT or sum(map(len, packet.parts.values())) > PARTS_BYTES:
            if self._packets.pop(key, None) is not None:
                self._drop(packet)
            return None
        if packet.size is None:
            return None
        whole: list[bytes] = []
        have = 0
        for at in sorted(packet.parts):
            if at > have:
                return None
            whole.append(packet.parts[at][have - at :])
            have += len(whole[-1])
        self._packets.pop(key, None)
        return b"".join(whole)[: packet.size], packet.cut

    def end(self) -> None:
        """Count the fragments of packets that are not complete."""
        for packet in self._packets.values():
            self._drop(packet)

    def _drop(self, packet: _Parts) -> None:
        self.left.fragments += len(packet.parts)


def _pcap(source: _Bounded) -> Iterator[tuple[int, int, float, bytes]]:
    """Yield (link type, interface, time, packet)."""
    head = source.read(24)
    order, unit = _ORDERS[head[:4]]
    if len(head) < 24:
        return
    # The upper half has the length of checksums at the end of frames, which are padding here.
    link = struct.unpack(f"{order}I", head[20:])[0] & 0xFFFF
    while len(record := source.read(16)) == 16:
        seconds, fraction, length, _ = struct.unpack(f"{order}IIII", record)
        packet = source.read(length)
        if len(packet) < length:
            # tcpdump was killed.
            return
        yield link, 0, seconds + fraction * unit, packet


def _pcapng(source: _Bounded) -> Iterator[tuple[int, int, float, bytes]]:
    """Yield (link type, interface, time, packet)."""
    import pcapng
    from pcapng.blocks import EnhancedPacket, ObsoletePacket, SimplePacket
    from pcapng.exceptions import StreamEmpty, TruncatedFile

    number = 0
    time = 0.0
    try:
        # An unknown attribute of an unknown block raises RecursionError: the type is asked first.
        for block in pcapng.FileScanner(source):
            if not isinstance(block, (EnhancedPacket, ObsoletePacket, SimplePacket)):
                continue
            number += 1
            interface = block.interface
            if not isinstance(block, SimplePacket):
                time = block.timestamp + interface.options.get("if_tsoffset", 0)
            number_of_interface = 0 if isinstance(block, SimplePacket) else block.interface_id
            yield interface.link_type, number_of_interface, float(time), block.packet_data
    except (BadCaptureError, GeneratorExit):
        raise
    except (StreamEmpty, TruncatedFile):
        # Wireshark was killed.
        return
    except Exception as error:
        # The library raises nearly anything for damaged files.
        raise BadCaptureError(f"is a capture that is damaged after packet {number}: {type(error).__name__}") from error


def _udp(link: int, packet: bytes, fragments: _Fragments) -> _Packet | None:
    """Return the datagram of a packet, or None for another packet, which is counted."""
    protocol, at = _LINKS[link](packet)
    while protocol in _VLANS and len(packet) >= at + 4:
        protocol, at = int.from_bytes(packet[at + 2 : at + 4], "big"), at + 4
    if protocol == _PPPOE:
        protocol, at = _PPP.get(packet[at + 6 : at + 8], 0), at + 8
    number = offset = 0
    last = True
    if protocol == _IPV4 and len(packet) >= at + 20:
        length = (packet[at] & 15) * 4
        following = packet[at + 9] if packet[at] >> 4 == 4 and length >= 20 else -1
        end = at + int.from_bytes(packet[at + 2 : at + 4], "big")
        if end == at:
            # A packet that the sending machine captured before it was cut into segments.
            end = len(packet)
        number = int.from_bytes(packet[at + 4 : at + 6], "big")
        part = int.from_bytes(packet[at + 6 : at + 8], "big")
        last, offset = not part & 0x2000, (part & 0x1FFF) * 8
        addresses = MAPPED_IPV4 + packet[at + 12 : at + 16], MAPPED_IPV4 + packet[at + 16 : at + 20]
        at += length
    elif protocol == _IPV6 and len(packet) >= at + 40:
        following, end = packet[at + 6], at + 40 + int.from_bytes(packet[at + 4 : at + 6], "big")
        addresses, at = (packet[at + 8 : at + 24], packet[at + 24 : at + 40]), at + 40
        while following in (*_EXTENSIONS, _FRAGMENT) and len(packet) >= at + 8:
            if following == _FRAGMENT:
                number, part = (
                    int.from_bytes(packet[at + 4 : at + 8], "big"),
                    int.from_bytes(packet[at + 2 : at + 4], "big"),
                )
                last, offset, following, at = not part & 1, part & 0xFFF8, packet[at], at + 8
            else:
                following, at = packet[at], at + 8 * (packet[at + 1] + 1)
    else:
        following, end, addresses = -1, 0, (b"", b"")
    if following != _UDP:
        fragments.left.other += 1
        return None
    # Ethernet pads short packets; a capture can cut long ones.
    data, cut = packet[at:end], len(packet) < end
    if offset or not last:
        whole = fragments.whole((b"".join(addresses), number), offset, data, last, cut)
        if whole is None:
            return None
        data, cut = whole
    if len(data) < 8:
        fragments.left.other += 1
        return None
    size = int.from_bytes(data[4:6], "big")
    return _Packet(addresses[0] + data[:2], addresses[1] + data[2:4], number, data[8:size], cut or len(data) < size)


def _ethernet(packet: bytes) -> tuple[int, int]:
    return int.from_bytes(packet[12:14], "big"), 14


def _cooked(packet: bytes) -> tuple[int, int]:
    return int.from_bytes(packet[14:16], "big"), 16


def _cooked2(packet: bytes) -> tuple[int, int]:
    return int.from_bytes(packet[:2], "big"), 20


def _raw(packet: bytes) -> tuple[int, int]:
    return (_IPV6 if packet[:1] >= b"\x60" else _IPV4), 0


def _loopback(packet: bytes) -> tuple[int, int]:
    return (_IPV6 if packet[4:5] >= b"\x60" else _IPV4), 4


_COOKED: Final = 113
_COOKED2: Final = 276
# By the numbers of tcpdump.org/linktypes.html.
_LINKS: Final = {
    **dict.fromkeys((0, 108), _loopback),
    1: _ethernet,
    **dict.fromkeys((12, 14, 101, 228, 229), _raw),
    _COOKED: _cooked,
    _COOKED2: _cooked2,
}
