"""The fields and checksums of UDP packets."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from netconsd.send.packets import checksum, udp_packet

HERE, THERE = ip_address("192.0.2.1").packed, ip_address("198.51.100.2").packed
HERE6, THERE6 = ip_address("2001:db8::1").packed, ip_address("2001:db8::2").packed


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071 literally: word by word, with each carry added."""
    total = 0
    for (word,) in struct.iter_unpack(">H", data + b"\0" * (len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header(packet: bytes) -> bytes:
    """The header before the UDP header in the receiver's sum (RFC 768, RFC 8200 section 8.1)."""
    if packet[0] >> 4 == 4:
        return packet[12:20] + b"\0\x11" + packet[24:26]
    return packet[8:40] + b"\0\0" + packet[4:6] + b"\0\0\0\x11"


def udp(packet: bytes) -> bytes:
    """The UDP part."""
    return packet[20 if packet[0] >> 4 == 4 else 40 :]


def test_checksum_of_rfc_1071() -> None:
    """The example of RFC 1071, section 3: the words 0001 f203 f4f5 f6f7 sum to ddf2."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_checksum_at_the_edges() -> None:
    """Empty data and zeros sum to 0; a sum of all ones is 0xffff, not 0; an odd byte is the upper half of a word."""
    assert checksum(b"") == checksum(bytes(10)) == 0xFFFF
    assert checksum(b"\xff\xff") == checksum(b"\xff\xfe\0\x01") == 0
    assert checksum(b"\x12") == 0xFFFF - 0x1200


def test_ipv4_packet() -> None:
    """A packet over IPv4, computed by hand, byte for byte."""
    assert udp_packet(HERE, THERE, 6665, 1514, b"hi\n").hex(" ", -2) == (
        # Version, length, no identification, do not fragment, 64 hops, UDP, checksum, from, to.
        "4500 001f 0000 4000 4011 4e97 c000 0201 c633 6402 "
        # From port 6665 to 1514, 11 bytes, checksum, text.
        "1a09 05ea 000b 8144 6869 0a"
    ).replace("  ", " ")


def test_ipv6_packet() -> None:
    """A packet over IPv6, computed by hand, byte for byte."""
    assert udp_packet(HERE6, THERE6, 6665, 1514, b"hi\n").hex(" ", -2) == (
        # Version, length of the payload, UDP, 64 hops, from, to.
        "6000 0000 000b 1140 2001 0db8 0000 0000 0000 0000 0000 0001 2001 0db8 0000 0000 0000 0000 0000 0002 "
        "1a09 05ea 000b 1207 6869 0a"
    )


addresses = st.one_of(
    st.tuples(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4)),
    st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16)),
)
ports = st.integers(0, 65535)


@given(addresses, ports, ports, st.binary(max_size=1200))
def test_checksums(addresses: tuple[bytes, bytes], source_port: int, port: int, payload: bytes) -> None:
    """A receiver's sum over every packet with its pseudo header is 0xffff, and so is the sum over an IPv4 header."""
    packet = udp_packet(*addresses, source_port, port, payload)
    assert ones_complement_sum(pseudo_header(packet) + udp(packet)) == 0xFFFF
    if len(addresses[0]) == 4:
        assert ones_complement_sum(packet[:20]) == 0xFFFF
        assert packet[12:20] == addresses[0] + addresses[1]
        assert int.from_bytes(packet[2:4], "big") == len(packet)
    else:
        assert packet[8:40] == addresses[0] + addresses[1]
        assert int.from_bytes(packet[4:6], "big") == len(packet) - 40
    assert struct.unpack(">HHH", udp(packet)[:6]) == (source_port, port, 8 + len(payload))
    assert udp(packet)[8:] == payload


@given(addresses, ports, ports, st.binary(max_size=40))
def test_checksum_is_never_zero(addresses: tuple[bytes, bytes], source_port: int, port: int, payload: bytes) -> None:
    """A checksum of zero, which means "no checksum", is sent as 0xffff in both families."""
    payload += b"\0" * (len(payload) % 2)
    bare = udp_packet(*addresses, source_port, port, payload + b"\0\0")
    # This word makes the checksum zero.
    balance = udp(bare)[6:8]
    packet = udp_packet(*addresses, source_port, port, payload + balance)
    assert udp(packet)[6:8] == b"\xff\xff"
    assert ones_complement_sum(pseudo_header(packet) + udp(packet)) == 0xFFFF
