#!/usr/bin/env bash
# A pcapng file can have several interfaces and several sections, each with a time resolution of its own: Wireshark's
# tools write such files when they capture on two interfaces, and files can be joined by cat. dpkt 1.9.8 takes the first
# interface's resolution for all, so that packets of a second one with nanoseconds are from the year 58692, and leaves out
# a second section of the other byte order and all Simple Packet Blocks, without an error. scapy 2.8.0 takes the
# interfaces of the first section for those of the second, and ignores if_tsoffset, as python-pcapng 2.1.1 does.
# (draft-ietf-opsawg-pcapng, sections 4.1, 4.2 and 4.4.)
#
# Prints what each library reads of five files with packets of one second; fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet dpkt==1.9.8 scapy==2.8.0 python-pcapng==2.1.1

cat >"$work/read.py" <<'PYTHON'
import io
import logging
import struct

logging.disable(logging.CRITICAL)

import dpkt
import pcapng
from scapy.utils import PcapNgReader

SECOND = 1_790_000_000


def block(kind, body, order="<"):
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def section(order="<"):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order="<", **options):
    body = struct.pack(order + "HHI", 1, 0, 0)
    if "resolution" in options:
        body += struct.pack(order + "HHB3x", 9, 1, options["resolution"])
    if "offset" in options:
        body += struct.pack(order + "HHq", 14, 8, options["offset"])
    return block(1, body + (bytes(4) if options else b""), order)


def packet(units, number=0, order="<"):
    return block(6, struct.pack(order + "IIIII", number, units >> 32, units & 0xFFFFFFFF, 60, 60) + bytes(60), order)


MICRO, NANO = packet(SECOND * 10**6), SECOND * 10**9
FILES = {
    "two interfaces": section() + interface() + interface(resolution=9) + MICRO + packet(NANO, 1),
    "two sections": section() + interface() + MICRO + section() + interface(resolution=9) + packet(NANO),
    "two byte orders": section(">") + interface(">") + packet(SECOND * 10**6, 0, ">") + section() + interface() + MICRO,
    "offset": section() + interface(offset=SECOND) + packet(0),
    "simple packet": section() + interface() + block(3, struct.pack("<I", 60) + bytes(60)),
}


def by_dpkt(data):
    return [int(time) for time, _ in dpkt.pcapng.Reader(io.BytesIO(data))]


def by_scapy(data):
    return [int(found.time) for found in PcapNgReader(io.BytesIO(data))]


def by_pcapng(data):
    kinds = (pcapng.blocks.EnhancedPacket, pcapng.blocks.SimplePacket)
    blocks = [found for found in pcapng.FileScanner(io.BytesIO(data)) if isinstance(found, kinds)]
    return [int(found.timestamp) if isinstance(found, kinds[0]) else None for found in blocks]


LATE = SECOND * 1000
EXPECTED = {
    ("two interfaces", "dpkt 1.9.8"): [SECOND, LATE],
    ("two sections", "dpkt 1.9.8"): [SECOND, LATE],
    ("two sections", "scapy 2.8.0"): [SECOND, LATE],
    ("two byte orders", "dpkt 1.9.8"): [SECOND],
    ("offset", "scapy 2.8.0"): [0],
    ("offset", "python-pcapng 2.1.1"): [0],
    ("simple packet", "dpkt 1.9.8"): [],
    ("simple packet", "python-pcapng 2.1.1"): [None],
}
RIGHT = {"offset": [SECOND]}
changed = False
for name, data in FILES.items():
    for library, read in (("dpkt 1.9.8", by_dpkt), ("scapy 2.8.0", by_scapy), ("python-pcapng 2.1.1", by_pcapng)):
        if (name, library) == ("simple packet", "scapy 2.8.0"):
            continue  # the time of reading: nothing to compare
        found = read(data)
        print(f"{name:16} {library:20} {found}")
        changed |= found != EXPECTED.get((name, library), RIGHT.get(name, [SECOND, SECOND]))
if changed:
    raise SystemExit("The behaviour has changed.")
PYTHON
"$work/venv/bin/python" "$work/read.py"
