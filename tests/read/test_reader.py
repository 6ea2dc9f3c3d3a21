"""The kind of a file is recognised by its content: compressed, dumps, captures of packets, dmesg's JSON."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import time
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
from tests.support.packets import block, cooked, interface, ip, packet, pcap, pcapng, section, simple, udp

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
    with pytest.raises(UnreadableError, match=f"is .* which is not read: use `{UNREAD[magic][1]}"):
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


def test_json_of_dmesg_in_one_long_line_takes_linear_time() -> None:
    """Objects are read one after the other, each with the number of its last line."""
    objects = [b'{"pri": 6, "msg": "a"}', b'\n{"pri": 6, "msg":\n"b"}', *[b'{"pri": 6, "msg": "c"}'] * 100_000]
    begin = time.process_time()
    found = read(b'{"dmesg": [' + b" " * 64 + b",".join(objects) + b"]}")
    assert time.process_time() - begin < 10
    assert [entry.number for entry in found[:3]] == [1, 3, 3]
    assert len(found) == len(objects)


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


def replayed(capture: bytes) -> tuple[list[bytes], int, list[str]]:
    """The data of the datagrams, the packets passed over, and the faults."""
    reader = reader_of(io.BytesIO(capture), year=2026)
    found = [entry.data for entry in reader if isinstance(entry, Datagram)]
    return found, reader.passed_over, reader.faults()


@pytest.mark.parametrize("source", [bytes((192, 0, 2, 7)), bytes(15) + b"\7"])
def test_fragments_of_ip(source: bytes) -> None:
    """Fragments are put together in any order; those of a datagram that is not whole are counted, and named."""
    text = b"x" * 3000
    datagram = struct.pack(">HHHH", 6665, 1514, 8 + len(text), 0) + text
    frames = [
        ip(datagram[begin : begin + 1480], source=source, number=9, offset=begin, more=begin < 2960)
        for begin in (0, 1480, 2960)
    ]
    for order in (frames, frames[::-1], [frames[1], frames[0], frames[2]]):
        assert replayed(pcap(order)) == ([text], 0, [])
    data, passed_over, (fault,) = replayed(pcap([frames[0], udp(b"a", source=source, number=10)]))
    assert (data, passed_over) == ([b"a"], 1)
    assert fault.startswith("1 fragment of datagrams that are not whole")


def test_fragments_are_bounded() -> None:
    """Packets that stay without their last fragment make room for others."""
    frames = [ip(bytes(16), number=number, more=True) for number in range(packets.FRAGMENTED_LIMIT + 9)]
    datagram = struct.pack(">HHHH", 6665, 1514, 24, 0) + bytes(16)
    frames += [ip(datagram[:16], number=60_000, more=True), ip(datagram[16:], number=60_000, offset=16)]
    assert replayed(pcap(frames))[:2] == ([bytes(16)], packets.FRAGMENTED_LIMIT + 9)


def test_fragments_of_one_packet_are_bounded() -> None:
    """A packet of which more was captured than it can have is dropped, and its fragments are counted."""
    many = [ip(bytes(8), number=9, offset=8 * at, more=True) for at in range(2, 3 + packets.PARTS_LIMIT)]
    assert replayed(pcap(many))[:2] == ([], packets.PARTS_LIMIT + 1)
    large = [ip(bytes(60_000), number=9, offset=8 * at, more=True) for at in range(2, 5)]
    assert replayed(pcap([*large, udp(b"a")]))[:2] == ([b"a"], 3)


def test_fragments_that_overlap() -> None:
    """A packet that was captured twice, the second time in smaller fragments, is whole."""
    datagram = struct.pack(">HHHH", 6665, 1514, 40, 0) + bytes(32)
    frames = [
        ip(datagram[begin:end], number=9, offset=begin, more=end < 40) for begin, end in ((0, 24), (8, 16), (24, 40))
    ]
    assert replayed(pcap(frames))[:2] == ([bytes(32)], 0)


def test_datagrams_that_the_capture_cut() -> None:
    """Nothing continues a datagram of which the capture has only the begin, and the user is told."""
    frames = [udp(b"usb 1-1: new device\n")[:-5], udp(b"sd 0: ready\n", number=2)]
    data, _, (fault,) = replayed(pcap(frames))
    assert data == [b"usb 1-1: new de\n", b"sd 0: ready\n"]
    assert fault.startswith("1 datagram cut by the capture")
    assert replayed(pcap([udp(b"6,1,2,-,ncfrag=0/9;abcdefghi")[:-2]]))[0] == [b"6,1,2,-,ncfrag=0/9;abcdefg"]


def test_copies_of_other_interfaces() -> None:
    """A packet that passes a bridge is captured on each of its interfaces, and is one datagram.

    What a sender sends twice is two datagrams, also without a number of the IP packet.
    """
    first, second = udp(b"a\n", number=0), udp(b"b\n", number=0)
    bridge = [cooked(frame, interface) for frame in (first, second, first) for interface in (3, 5)]
    assert replayed(pcap(bridge, link=276)) == ([b"a\n", b"b\n", b"a\n"], 3, [])
    later = pcap(bridge[:1], link=276) + pcap(bridge[1:2], link=276, seconds=1002)[24:]
    assert replayed(later)[0] == [b"a\n", b"a\n"]
    # Version 1 does not name the interface.
    old = [bytes(14) + udp(b"a\n", number=number)[12:] for number in (7, 7, 8, 0, 0)]
    assert replayed(pcap(old, link=113))[:2] == ([b"a\n"] * 4, 1)
    # On one interface, and in a pcapng file with two.
    assert replayed(pcap([first, first]))[:2] == ([b"a\n"] * 2, 0)
    pytest.importorskip("pcapng")
    two = section() + interface() + interface() + packet(first) + packet(first, number=1) + packet(first)
    assert replayed(two)[:2] == ([b"a\n"] * 2, 1)


def test_acknowledgements_are_no_messages() -> None:
    """What netconsd --acks answered is in a capture of both directions, and no kernel said it."""
    here, there = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 7))

    def sent(data: bytes) -> bytes:
        return udp(data, source=there, to=here)

    def answered(data: bytes) -> bytes:
        return udp(data, source=here, port=1514, to=there, to_port=6665)

    frames = [sent(b"6,1,2,-;a\n"), answered(b"ncrx1"), answered(b"ncrx7 2 5"), sent(b"ncrx1")]
    assert replayed(pcap([*frames, answered(b"ncrx is loaded")]))[:2] == (
        [b"6,1,2,-;a\n", b"ncrx1", b"ncrx is loaded"],
        2,
    )


def test_pppoe() -> None:
    """A session of PPPoE is read."""
    frame = udp(b"a\n")
    session = frame[:12] + b"\x88\x64\x11\0\0\1\0\x20\0\x21" + frame[14:]
    assert replayed(pcap([session, session[:20] + b"\xc0\x21" + session[22:]]))[:2] == ([b"a\n"], 1)


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
