"""Whole UDP packets, with the headers of IPv4 (RFC 791) or IPv6 (RFC 8200) and correct checksums (RFC 768, RFC 1071).

Fields are packed big-endian, and sums are taken of numbers read big-endian: the machine's byte order plays no part.
"""

from __future__ import annotations

import struct

HOP_LIMIT = 64
_UDP = 17
# Version 4 and five words of header; no fragments.
_VERSION_4 = 0x45
_DONT_FRAGMENT = 0x4000
_VERSION_6 = 6 << 28

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_IPV6 = struct.Struct(">IHBB16s16s")
_PORTS = struct.Struct(">HHHH")


def checksum(data: bytes) -> int:
    """The Internet checksum of some bytes (RFC 1071), those of an odd number padded with a zero."""
    number = int.from_bytes(data, "big")
    if len(data) % 2:
        number <<= 8
    # 0x10000 is 1 more than a multiple of 0xffff, so the rest is the sum of the 16-bit words with the carries added
    # again; only a sum of 0xffff, which is no sum of zeros, comes out as 0.
    return 0xFFFF - (number % 0xFFFF or (0xFFFF if number else 0))


def udp_packet(source: bytes, destination: bytes, source_port: int, port: int, payload: bytes) -> bytes:
    """A UDP packet with its IP header; the addresses are packed, and both of one family."""
    length = _PORTS.size + len(payload)
    # The pseudo header: for the sum it makes no difference that IPv6 has 32 bits for what IPv4 has 16 for.
    pseudo = source + destination + struct.pack(">HH", _UDP, length)
    found = checksum(pseudo + _PORTS.pack(source_port, port, length, 0) + payload)
    # Zero stands for no checksum, which IPv6 does not allow; the complement of zero is the same number (RFC 768).
    udp = _PORTS.pack(source_port, port, length, found or 0xFFFF) + payload
    if len(source) == 16:
        return _IPV6.pack(_VERSION_6, length, _UDP, HOP_LIMIT, source, destination) + udp
    total = _IPV4.size + length
    header = (_VERSION_4, 0, total, 0, _DONT_FRAGMENT, HOP_LIMIT, _UDP)
    bare = _IPV4.pack(*header, 0, source, destination)
    return _IPV4.pack(*header, checksum(bare), source, destination) + udp
