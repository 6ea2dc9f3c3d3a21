"""Captures of packets: pcap files, as of tcpdump, and pcapng files, as of Wireshark.

A pcap file is a head and packets (draft-ietf-opsawg-pcap), and needs no library. pcapng is read with python-pcapng
(``netconsd[pcap]``), which of three libraries is the only one that reads several interfaces and sections rightly
(findings/pcapng-second-interface.sh); the offset of times is added here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

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
_UDP: Final = 17
_EXTENSIONS: Final = (0, 43, 60)


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


def datagrams(
    file: BinaryIO, head: bytes = b"", other_packet: Callable[[], object] = lambda: None
) -> Iterator[Datagram]:
    """Yield the UDP datagrams of a capture over IPv4 and IPv6, with VLAN tags or not, in the order of the file.

    Fragments of IP are left out: a kernel's datagram has at most 1000 bytes. A capture that ends within a packet is
    read up to there. Packets without a time (pcapng's Simple Packet Blocks) have that of the packet before them.

    :param head: at least the first four bytes, which were already read from the file.
    :param other_packet: called for each packet that is left out.
    :raises ModuleNotFoundError: for pcapng, without the package python-pcapng.
    :raises BadCaptureError: for a capture that is damaged, or has only packets of links that are not read; what was
        before has been yielded.
    """
    source = _Bounded(file, head)
    number = read = 0
    other = -1
    for link, time, packet in _pcapng(source) if head.startswith(PCAPNG) else _pcap(source):
        number += 1
        if link not in _LINKS:
            other = link
            other_packet()
            continue
        read += 1
        found = _udp(link, packet)
        if found is not None:
            key, data = found
            yield Datagram(number, time, key, data)
        else:
            other_packet()
    if other >= 0 and not read:
        raise BadCaptureError(
            f"is a capture of link type {other}: only Ethernet, Linux cooked, loopback and raw IP are read"
        )


def _pcap(source: _Bounded) -> Iterator[tuple[int, float, bytes]]:
    """Yield (link type, time, packet)."""
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
        yield link, seconds + fraction * unit, packet


def _pcapng(source: _Bounded) -> Iterator[tuple[int, float, bytes]]:
    """Yield (link type, time, packet)."""
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
            yield interface.link_type, float(time), block.packet_data
    except (BadCaptureError, GeneratorExit):
        raise
    except (StreamEmpty, TruncatedFile):
        # Wireshark was killed.
        return
    except Exception as error:
        # The library raises nearly anything for damaged files.
        raise BadCaptureError(f"is a capture that is damaged after packet {number}: {type(error).__name__}") from error


def _udp(link: int, packet: bytes) -> tuple[bytes, bytes] | None:
    """Return the sender's key and the data of a datagram, or None for another packet."""
    protocol, at = _LINKS[link](packet)
    while protocol in _VLANS and len(packet) >= at + 4:
        protocol, at = int.from_bytes(packet[at + 2 : at + 4], "big"), at + 4
    if protocol == _IPV4 and len(packet) >= at + 20:
        length = (packet[at] & 15) * 4
        # More fragments, or not the first.
        if packet[at] >> 4 != 4 or length < 20 or packet[at + 9] != _UDP or (packet[at + 6] & 0x3F or packet[at + 7]):
            return None
        address, at = MAPPED_IPV4 + packet[at + 12 : at + 16], at + length
    elif protocol == _IPV6 and len(packet) >= at + 40:
        following, address, at = packet[at + 6], packet[at + 8 : at + 24], at + 40
        while following in _EXTENSIONS and len(packet) >= at + 8:
            following, at = packet[at], at + 8 * (packet[at + 1] + 1)
        if following != _UDP:
            return None
    else:
        return None
    if len(packet) < at + 8:
        return None
    # Ethernet pads short packets; a capture can cut long ones.
    end = at + int.from_bytes(packet[at + 4 : at + 6], "big")
    return address + packet[at : at + 2], packet[at + 8 : end]


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


# By the numbers of tcpdump.org/linktypes.html.
_LINKS: Final = {
    **dict.fromkeys((0, 108), _loopback),
    1: _ethernet,
    **dict.fromkeys((12, 14, 101, 228, 229), _raw),
    113: _cooked,
    276: _cooked2,
}
