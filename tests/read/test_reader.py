"""The kind of a file is recognised by its content: compressed, dumps, captures of packets, dmesg's JSON."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.read import packets
from netconsd.read.compressed import UNREAD, UnreadableError, errors
from netconsd.read.entries import Datagram, Line
from netconsd.read.packets import BadCaptureError
from netconsd.read.pstore import parts
from netconsd.read.reader import Entry, reader_of

TEXT = b"[    1.000000] one\n[    2.000000] two\n"
LINES = [Line(1, None, None, b"[    1.000000] one"), Line(2, None, None, b"[    2.000000] two")]


def read(data: bytes) -> list[Entry]:
    """All entries of a file."""
    return [entry for entry in reader_of(io.BytesIO(data), year=2026) if entry is not None]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_compressed(pack: type[bytes]) -> None:
    """Text is read, compressed or not, and compressed twice."""
    assert read(pack(TEXT)) == LINES
    assert read(gzip.compress(pack(TEXT))) == LINES
    assert read(pack(b"")) == []


def test_zstd() -> None:
    """The same with Zstandard, if there is a library for it."""
    zstandard = pytest.importorskip("zstandard")
    assert read(zstandard.ZstdCompressor().compress(TEXT)) == LINES


@pytest.mark.parametrize("magic", UNREAD)
def test_unread_formats(magic: bytes) -> None:
    """A format that is not read is an error that says what to do."""
    with pytest.raises(UnreadableError, match=f"is .* which is not read: unpack it with `{UNREAD[magic][1]}"):
        read(magic + bytes(100))


def test_dumps() -> None:
    """The parts of a dump of pstore are read from the highest to the first, with the lines of the file."""
    dump = b"Panic#1 Part1\n<0>[    3.000000] three\nPanic#1 Part2\n<4>[    1.000000] one\n<4>[    2.000000] two\n"
    assert [(entry.number & 0xFFFF, entry.text) for entry in read(dump) if isinstance(entry, Line)] == [
        (4, b"<4>[    1.000000] one"),
        (5, b"<4>[    2.000000] two"),
        (2, b"<0>[    3.000000] three"),
    ]
    raw = zlib.compressobj(wbits=-15)
    for packed in (zlib.compress(dump), raw.compress(dump) + raw.flush()):
        assert read(packed) == read(dump)
    assert [part.part for part in parts(b"Oops#2 Part1\na\nOops#1 Part1\nb\nOops#1 Part2\nc\n")] == [2, 1, 1]


def test_json_of_dmesg() -> None:
    """The objects of dmesg --json are read, also if the file was cut."""
    text = json.dumps(
        {"dmesg": [{"pri": 6, "time": 1.0, "msg": "one"}, {"pri": 4, "time": 2.0, "msg": "two"}]}, indent=3
    )
    expected = [Line(3, None, None, b"<6>[    1.000000] one"), Line(8, None, None, b"<4>[    2.000000] two")]
    assert read(text.encode()) == expected
    assert read(text.encode()[:-30]) == expected[:1]


def udp(data: bytes, *, source: bytes = bytes((192, 0, 2, 7)), vlan: bytes = b"", port: int = 6665) -> bytes:
    """An Ethernet frame with a datagram."""
    datagram = struct.pack(">HHHH", port, 1514, 8 + len(data), 0) + data
    if len(source) == 4:
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0) + source + bytes(4)
        kind = b"\x08\x00"
    else:
        header = struct.pack(">IHBB", 6 << 28, len(datagram), 17, 64) + source + bytes(16)
        kind = b"\x86\xdd"
    return bytes(12) + vlan + kind + header + datagram


def pcap(frames: Iterable[bytes], *, link: int = 1, order: str = "<", nano: bool = False) -> bytes:
    """A file of tcpdump."""
    found = struct.pack(f"{order}IHHIIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    fraction = 250_000_000 if nano else 250_000
    for frame in frames:
        found += struct.pack(f"{order}IIII", 1000, fraction, len(frame), len(frame)) + frame
    return found


def pcapng(frames: Iterable[bytes], *, link: int = 1) -> bytes:
    """A file of Wireshark."""
    found = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    found += struct.pack("<IIHHII", 1, 20, link, 0, 0, 20)
    for frame in frames:
        padded = frame + bytes(-len(frame) % 4)
        size = 32 + len(padded)
        time = 1_000_250_000
        found += struct.pack("<IIIIIII", 6, size, 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame)) + padded
        found += struct.pack("<I", size)
    return found


V4 = bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 7)) + (6665).to_bytes(2, "big")
V6_ADDRESS = bytes.fromhex("20010db8000000000000000000000007")
V6 = V6_ADDRESS + (6665).to_bytes(2, "big")


@pytest.mark.parametrize("form", [pcap, lambda frames: pcap(frames, order=">", nano=True), pcapng])
def test_captures(form: Callable[[list[bytes]], bytes]) -> None:
    """The UDP datagrams of a capture are read: IPv4, IPv6, tagged; padding is none of them."""
    pytest.importorskip("dpkt")
    frames = [
        udp(b"6,1,2,-;a\n") + bytes(10),
        udp(b"b", source=V6_ADDRESS),
        udp(b"c", vlan=b"\x81\x00\x00\x05"),
        udp(b"d", vlan=b"\x88\xa8\x00\x01\x81\x00\x00\x05"),
        bytes(60),
    ]
    assert read(form(frames)) == [
        Datagram(1, 1000.25, V4, b"6,1,2,-;a\n"),
        Datagram(2, 1000.25, V6, b"b"),
        Datagram(3, 1000.25, V4, b"c"),
        Datagram(4, 1000.25, V4, b"d"),
    ]


@pytest.mark.parametrize(
    ("link", "head"), [(113, bytes(14) + b"\x08\x00"), (276, b"\x08\x00" + bytes(18)), (101, b""), (0, bytes(4))]
)
def test_other_links(link: int, head: bytes) -> None:
    """Linux cooked captures, raw IP and loopback are read as well."""
    pytest.importorskip("dpkt")
    frame = head + udp(b"a")[14:]
    assert read(pcap([frame], link=link)) == [Datagram(1, 1000.25, V4, b"a")]


def test_damaged_captures() -> None:
    """A capture that was cut is read up to there; another link type or a huge length is an error that says so."""
    pytest.importorskip("dpkt")
    whole = pcap([udp(b"a"), udp(b"b")])
    assert [entry.number for entry in read(whole[:-5])] == [1]
    with pytest.raises(BadCaptureError, match="link type 147"):
        read(pcap([udp(b"a")], link=147))
    with pytest.raises(BadCaptureError, match="a block of 4294967295 bytes"):
        read(pcap([]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dpkt the error says how to install it."""
    monkeypatch.setitem(__import__("sys").modules, "dpkt", None)
    with pytest.raises(UnreadableError, match=r'install "netconsd\[pcap\]"'):
        read(pcap([]))


@given(st.sampled_from([pcap([udp(b"a")]), pcapng([udp(b"a")])]), st.data())
def test_any_bytes(capture: bytes, draw: st.DataObject) -> None:
    """A damaged capture raises one exception only."""
    pytest.importorskip("dpkt")
    at = draw.draw(st.integers(4, len(capture)))
    data = capture[:at] + draw.draw(st.binary(max_size=8)) + capture[at + draw.draw(st.integers(0, 8)) :]
    with suppress(BadCaptureError):
        list(packets.datagrams(io.BytesIO(data[4:]), data[:4]))


@given(st.binary(max_size=200))
def test_any_file(data: bytes) -> None:
    """Any bytes are read, or are an error that says why not."""
    with suppress(UnreadableError, *errors()):
        read(data)
