"""Whole UDP packets, with the headers of IPv4 (RFC 791) or IPv6 (RFC 8200) and correct checksums (RFC 768, RFC 1071).

Fields are packed big-endian and sums are computed over big-endian numbers, so the machine's byte order does not matter.
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
    """The Internet checksum of ``data`` (RFC 1071), padded with a zero to an even length."""
    number = int.from_bytes(data, "big")
    if len(data) % 2:
        number <<= 8
    # 0x10000 is 1 more than a multiple of 0xffff, so the remainder is the sum of the 16-bit words with the carries
    # added. A remainder of 0 is a sum of 0xffff, unless all words are zero.
    return 0xFFFF - (number % 0xFFFF or (0xFFFF if number else 0))


def udp_packet(source: bytes, destination: bytes, source_port: int, port: int, payload: bytes) -> bytes:
    """A UDP packet with its IP header; the addresses are packed, and both of one family."""
    length = _PORTS.size + len(payload)
    # The pseudo header. IPv6 has 32 bits for length and protocol and IPv4 16: the sum is the same.
    pseudo = source + destination + struct.pack(">HH", _UDP, length)
    udp_checksum = checksum(pseudo + _PORTS.pack(source_port, port, length, 0) + payload)
    # Zero means "no checksum", which IPv6 forbids; 0xffff is the same number in one's complement (RFC 768).
    udp = _PORTS.pack(source_port, port, length, udp_checksum or 0xFFFF) + payload
    if len(source) == 16:
        return _IPV6.pack(_VERSION_6, length, _UDP, HOP_LIMIT, source, destination) + udp
    total = _IPV4.size + length
    header = (_VERSION_4, 0, total, 0, _DONT_FRAGMENT, HOP_LIMIT, _UDP)
    without_checksum = _IPV4.pack(*header, 0, source, destination)
    return _IPV4.pack(*header, checksum(without_checksum), source, destination) + udp
