"""The loads: the datagrams of one message, with marks in place of the numbers, which blast.c describes.

The numbers have as many digits as those of a machine that has been up for some weeks.
"""

from __future__ import annotations

from netconsd.testing import extended, fragments, legacy

# Placeholders for the marks in the datagrams of netconsd.testing. They occur in no text below.
SEQ = 7777777
TS_USEC = 888888888888
MSGID = 9999999
MARKS = {SEQ: 1, TS_USEC: 2, MSGID: 3}

RELEASE = "6.12.107+deb13-amd64"
TEXT = "eth0: NIC Link is Up 10 Gbps Full Duplex, Flow Control: RX/TX, "


def marked(datagram: bytes) -> bytes:
    """The datagram with its placeholders replaced by marks."""
    for number, mark in MARKS.items():
        datagram = datagram.replace(b"%d" % number, bytes([mark]) * len(str(number)))
    return datagram


def in_order(msgid: int | None = None, size: int = 140) -> list[bytes]:
    """One extended datagram of ``size`` bytes."""
    without_text = len(extended("", seq=SEQ, ts_usec=TS_USEC, msgid=msgid))
    return [marked(extended(_text(size - without_text), seq=SEQ, ts_usec=TS_USEC, msgid=msgid))]


def rich() -> list[bytes]:
    """One extended datagram with release, userdata and all sysdata."""
    return [marked(_rich(TEXT))]


def fragmented() -> list[bytes]:
    """One extended message of three datagrams."""
    return [marked(piece) for piece in fragments(_rich(_text(2400)))]


def one_line() -> list[bytes]:
    """One legacy datagram."""
    return [marked(legacy(f"{TEXT}{SEQ}", ts_usec=1234567890123, caller="T123"))]


def forged_crash() -> list[bytes]:
    """One extended datagram with the first line of a crash."""
    text = "BUG: kernel NULL pointer dereference, address: 0000000000000008"
    return [marked(extended(text, seq=SEQ, ts_usec=TS_USEC, level=1, caller="T417"))]


def template(pieces: list[bytes]) -> bytes:
    """The contents of the file that blast.c reads."""
    return b"".join(len(piece).to_bytes(2, "big") + piece for piece in pieces)


def _rich(text: str) -> bytes:
    return extended(
        text,
        seq=SEQ,
        ts_usec=TS_USEC,
        release=RELEASE,
        caller="T123",
        dictionary={"SUBSYSTEM": "net", "DEVICE": "n2"},
        userdata={"rack": "r17 b", "role": "web", "site": "fra1"},
        cpu=3,
        taskname="kworker/0:1",
        sysrelease=RELEASE,
        msgid=MSGID,
    )


def _text(size: int) -> str:
    return (TEXT * (size // len(TEXT) + 1))[:size]
