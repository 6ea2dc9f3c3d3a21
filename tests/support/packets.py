"""Captures of packets, as tcpdump and Wireshark write them."""

from __future__ import annotations

import struct
from collections.abc import Iterable


def udp(
    data: bytes,
    *,
    source: bytes = bytes((192, 0, 2, 7)),
    vlan: bytes = b"",
    port: int = 6665,
    to: bytes = b"",
    to_port: int = 1514,
    number: int = 1,
) -> bytes:
    """An Ethernet frame with a datagram; ``number`` is the identification of the IP packet."""
    datagram = struct.pack(">HHHH", port, to_port, 8 + len(data), 0) + data
    return ip(datagram, source=source, vlan=vlan, to=to, number=number)


def ip(
    data: bytes,
    *,
    source: bytes = bytes((192, 0, 2, 7)),
    vlan: bytes = b"",
    to: bytes = b"",
    number: int = 1,
    offset: int = 0,
    more: bool = False,
) -> bytes:
    """An Ethernet frame with an IP packet of UDP, or with a fragment of one."""
    to = to or bytes(len(source))
    if len(source) == 4:
        part = more << 13 | offset >> 3
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(data), number, part, 64, 17, 0) + source + to
        kind = b"\x08\x00"
    else:
        fragment = struct.pack(">BBHI", 17, 0, offset | more, number) if offset or more else b""
        following = 44 if fragment else 17
        header = struct.pack(">IHBB", 6 << 28, len(fragment + data), following, 64) + source + to + fragment
        kind = b"\x86\xdd"
    return bytes(12) + vlan + kind + header + data


def cooked(frame: bytes, interface: int) -> bytes:
    """The packet of a frame as a capture on all interfaces has it (Linux cooked, version 2)."""
    return frame[12:14] + struct.pack(">HIHBB", 0, interface, 1, 0, 6) + bytes(8) + frame[14:]


def pcap(frames: Iterable[bytes], *, link: int = 1, order: str = "<", nano: bool = False, seconds: int = 1000) -> bytes:
    """A file of tcpdump."""
    found = struct.pack(f"{order}IHHIIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    fraction = 250_000_000 if nano else 250_000
    for frame in frames:
        found += struct.pack(f"{order}IIII", seconds, fraction, len(frame), len(frame)) + frame
    return found


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of a pcapng file."""
    length = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    """The head of a section."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order: str = "<", *, link: int = 1, resolution: int = 6, offset: int = 0) -> bytes:
    """An interface with the resolution of its times, in digits of a second, and their offset in seconds."""
    options = struct.pack(f"{order}HHB3xHHqHH", 9, 1, resolution, 14, 8, offset, 0, 0)
    return block(1, struct.pack(f"{order}HHI", link, 0, 0) + options, order)


def packet(frame: bytes, units: int = 1_000_250_000, *, number: int = 0, order: str = "<") -> bytes:
    """A packet of an interface."""
    head = struct.pack(f"{order}IIIII", number, units >> 32, units & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, head + frame + bytes(-len(frame) % 4), order)


def simple(frame: bytes) -> bytes:
    """A Simple Packet Block."""
    return block(3, struct.pack("<I", len(frame)) + frame + bytes(-len(frame) % 4))


def pcapng(frames: Iterable[bytes], *, link: int = 1, seconds: int = 1000) -> bytes:
    """A file of Wireshark."""
    packets = [packet(frame, seconds * 1_000_000 + 250_000) for frame in frames]
    return section() + interface(link=link) + b"".join(packets)
