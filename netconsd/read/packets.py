"""Captures of packets: pcap and pcapng files, as of tcpdump and Wireshark. Needs dpkt, ``netconsd[pcap]``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from netconsd.protocol.message import MAPPED_IPV4
from netconsd.read.compressed import UnreadableError
from netconsd.read.entries import Datagram

#: Magic numbers, in either byte order, with times in microseconds or nanoseconds.
PCAP: Final = (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1")
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
        self.name = "capture"

    def read(self, size: int) -> bytes:
        if not 0 <= size <= BLOCK_LIMIT:
            raise BadCaptureError(f"is a damaged capture: a block of {size} bytes")
        data, self._head = self._head[:size], self._head[size:]
        while len(data) < size and (more := self._file.read(size - len(data))):
            data += more
        return data


def require() -> None:
    """Check that the library is installed.

    :raises UnreadableError: if it is not; the text says how to install it.
    """
    try:
        import dpkt  # noqa: F401
    except ImportError:
        raise UnreadableError('is a capture of packets: install "netconsd[pcap]" to read it') from None


def datagrams(file: BinaryIO, head: bytes = b"") -> Iterator[Datagram]:
    """Yield the UDP datagrams of a capture over IPv4 and IPv6, with VLAN tags or not, in the order of the file.

    Fragments of IP are left out: a kernel's datagram has at most 1000 bytes. A capture that ends within a packet is
    read up to there.

    :param head: bytes that were already read from the file.
    :raises ModuleNotFoundError: without the package dpkt.
    :raises BadCaptureError: for a capture that is damaged; what was before it has been yielded.
    """
    import dpkt.pcap
    import dpkt.pcapng

    number = 0
    try:
        source: Any = _Bounded(file, head)
        reader = dpkt.pcapng.Reader(source) if head.startswith(PCAPNG) else dpkt.pcap.Reader(source)
        link = reader.datalink()
        if link not in _LINKS:
            raise BadCaptureError(
                f"is a capture of link type {link}: only Ethernet, Linux cooked, loopback and raw IP are read"
            )
        for time, packet in reader:
            number += 1
            found = _udp(link, bytes(packet))
            if found is not None:
                key, data = found
                yield Datagram(number, float(time), key, data)
    except BadCaptureError:
        raise
    except dpkt.dpkt.NeedData:
        # tcpdump was killed.
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
