"""The kind of a file is recognised by its content: compressed, dumps, captures of packets, dmesg's JSON."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import zlib
from collections.abc import Callable
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
from tests.support.packets import block, interface, packet, pcap, pcapng, section, simple, udp

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


@pytest.mark.parametrize("name", ["gzip", "xz", "bzip2", "zstd"])
def test_compressed_files_one_after_the_other(name: str) -> None:
    """`cat one.gz two.gz` is a compressed file, which is read to its end."""
    packs: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress}
    if name == "zstd":
        packs["zstd"] = pytest.importorskip("zstandard").ZstdCompressor().compress
    half = len(TEXT) // 2 + 1
    assert read(packs[name](TEXT[:half]) + packs[name](TEXT[half:])) == LINES


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
    assert read(text.encode()[:-60]) == expected[:1]


def test_json_of_dmesg_2_38() -> None:
    """Of a record that has the rest of the file as well, as that of util-linux 2.38, the text ends at its line, and a
    file of any size is read; bytes that are not UTF-8 cost nothing."""
    texts = [f"{number} " + "x" * 100 for number in range(900)]
    rests = ["\n<4>[    1.0] ".join(texts[number:]) for number in range(len(texts))]
    objects = b"},{\n".join(
        b'"pri": 6,\n"time": 1.0,\n"msg": %b\n' % json.dumps(rest).encode().replace(b"7 x", b"\xff x") for rest in rests
    )
    data = b'{\n"dmesg": [\n{\n%b}\n]\n}\n' % objects
    assert len(data) > 1 << 25
    found = [entry.text for entry in read(data) if isinstance(entry, Line)]
    assert found == [f"<6>[    1.000000] {text}".replace("7 x", "\ufffd x").encode() for text in texts]


def test_json_of_dmesg_in_one_line() -> None:
    """The same in one line, as jq -c writes it, has a bound, and says so."""
    data = json.dumps({"dmesg": [{"pri": 6, "time": 1.0, "msg": "one\n<4>[    2.0] two"}]}).encode()
    assert read(data) == [Line(1, None, None, b"<6>[    1.000000] one")]
    with pytest.raises(UnreadableError, match="more than 16 MiB"):
        read(data[:-2] + b" " * (1 << 24) + data[-2:])


V4 = bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 7)) + (6665).to_bytes(2, "big")
V6_ADDRESS = bytes.fromhex("20010db8000000000000000000000007")
V6 = V6_ADDRESS + (6665).to_bytes(2, "big")


@pytest.mark.parametrize("form", [pcap, lambda frames: pcap(frames, order=">", nano=True), pcapng])
def test_captures(form: Callable[[list[bytes]], bytes]) -> None:
    """The UDP datagrams of a capture are read: IPv4, IPv6, tagged; padding is none of them."""
    if form is pcapng:
        pytest.importorskip("pcapng")
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
    "capture",
    [
        pytest.param(
            section()
            + interface()
            + interface(resolution=9)
            + packet(udp(b"a"))
            + packet(udp(b"b"), 1_000_250_000_000, number=1),
            id="two interfaces",
        ),
        pytest.param(
            section(">")
            + interface(">")
            + packet(udp(b"a"), order=">")
            + section()
            + interface(resolution=9)
            + packet(udp(b"b"), 1_000_250_000_000),
            id="two sections of either byte order",
        ),
        pytest.param(
            section() + interface(offset=1000) + packet(udp(b"a"), 250_000) + packet(udp(b"b"), 250_000), id="an offset"
        ),
        pytest.param(section() + interface() + packet(udp(b"a")) + simple(udp(b"b")), id="a simple packet"),
        pytest.param(
            section()
            + block(0x80000ABC, b"abcd")
            + interface(link=189)
            + interface()
            + packet(udp(b"a"), number=1)
            + block(5, struct.pack("<III", 0, 0, 0))
            + packet(bytes(20))
            + packet(udp(b"b"), number=1),
            id="other blocks and links",
        ),
    ],
)
def test_pcapng(capture: bytes) -> None:
    """Each interface and section has its own byte order, resolution, offset and link type; other blocks are passed
    over. findings/pcapng-second-interface.sh shows what libraries make of such files."""
    pytest.importorskip("pcapng")
    found = [(round(entry.time, 6), entry.key, entry.data) for entry in read(capture) if isinstance(entry, Datagram)]
    assert found == [(1000.25, V4, b"a"), (1000.25, V4, b"b")]


@pytest.mark.parametrize(
    ("link", "head"), [(113, bytes(14) + b"\x08\x00"), (276, b"\x08\x00" + bytes(18)), (101, b""), (0, bytes(4))]
)
def test_other_links(link: int, head: bytes) -> None:
    """Linux cooked captures, raw IP and loopback are read as well."""
    frame = head + udp(b"a")[14:]
    assert read(pcap([frame], link=link)) == [Datagram(1, 1000.25, V4, b"a")]


def test_damaged_captures() -> None:
    """A capture that was cut is read up to there; another link type or a huge length is an error that says so."""
    whole = pcap([udp(b"a"), udp(b"b")])
    assert [entry.number for entry in read(whole[:-5])] == [1]
    with pytest.raises(BadCaptureError, match="link type 147"):
        read(pcap([udp(b"a")], link=147))
    with pytest.raises(BadCaptureError, match="a block of 4294967295 bytes"):
        read(pcap([]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error says how to install it; pcap is read."""
    monkeypatch.setitem(__import__("sys").modules, "pcapng", None)
    with pytest.raises(UnreadableError, match=r'install "netconsd\[pcap\]"'):
        read(pcapng([]))
    assert [entry.number for entry in read(pcap([udp(b"a")]))] == [1]


@given(st.sampled_from([pcap([udp(b"a")]), pcapng([udp(b"a")])]), st.data())
def test_any_bytes(capture: bytes, draw: st.DataObject) -> None:
    """A damaged capture raises one exception only."""
    pytest.importorskip("pcapng")
    at = draw.draw(st.integers(4, len(capture)))
    data = capture[:at] + draw.draw(st.binary(max_size=8)) + capture[at + draw.draw(st.integers(0, 8)) :]
    with suppress(BadCaptureError):
        list(packets.datagrams(io.BytesIO(data[4:]), data[:4]))


@given(st.binary(max_size=200))
def test_any_file(data: bytes) -> None:
    """Any bytes are read, or are an error that says why not."""
    with suppress(UnreadableError, *errors()):
        read(data)
