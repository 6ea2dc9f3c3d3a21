"""netconsd.testing builds datagrams as kernels do, and messages as the protocol room decodes them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from netconsd.interfaces import IOutputModule
from netconsd.protocol.body import readable
from netconsd.protocol.decode import Fragment, decode
from netconsd.protocol.legacy import split
from netconsd.protocol.message import LegacyMessage, Message
from netconsd.protocol.reassembly import Reassembly
from netconsd.testing import (
    RecordingModule,
    escape,
    extended,
    extended_message,
    fragments,
    legacy,
    legacy_message,
    source,
)
from tests.support.decoding import SENDER, is_text, piece, read
from tests.support.strategies import EXTENDED, LEGACY, numbers

# The recording module.


def test_recording_module_is_one() -> None:
    """The recording module provides the interface of output modules."""
    assert verifyObject(IOutputModule, RecordingModule())


def test_recording_module_records() -> None:
    """It records the messages in order, with worker and thread, and its start and stop."""
    module = RecordingModule()
    assert (module.worker_count, module.stopped, module.calls, module.messages) == (None, False, [], [])
    module.start(2)
    first, second = legacy_message("one"), extended_message("two")
    module.handle(0, first)
    thread = threading.Thread(target=module.handle, args=(1, second))
    thread.start()
    thread.join()
    module.stop()
    assert (module.worker_count, module.stopped) == (2, True)
    assert module.messages == [first, second]
    assert [call.worker for call in module.calls] == [0, 1]
    assert [call.message for call in module.calls] == [first, second]
    assert module.calls[0].thread == threading.get_ident() != module.calls[1].thread


# Legacy datagrams.


@pytest.mark.parametrize(
    ("datagram", "same_as"),
    [
        (legacy("usb 1-1: new high-speed USB device number 2 using xhci_hcd", ts_usec=5123456), LEGACY[0]),
        (legacy("foo: bar", ts_usec=12345678, level=6), LEGACY[1]),
        (legacy("foo: bar", ts_usec=12345678, caller="T123"), LEGACY[2]),
        (legacy("line one\nline two", ts_usec=12345678), LEGACY[3]),
        (legacy("foo"), b"foo\n"),
        (legacy(b"\xff\0"), b"\xff\0\n"),
        (legacy(""), b"\n"),
        (legacy("foo", level=3, facility=3), b"<27>foo\n"),
        (legacy("foo", caller="C5"), b"[    C5] foo\n"),
        (legacy("foo", ts_usec=0), b"[    0.000000] foo\n"),
        (legacy("foo", ts_usec=123456789000001), b"[123456789.000001] foo\n"),
    ],
)
def test_legacy(datagram: bytes, same_as: bytes) -> None:
    """A legacy datagram is the kernel's console text, with the prefix on each line."""
    assert datagram == same_as


_line = st.text(st.characters(codec="utf-8", exclude_characters="\n\r<["), max_size=20)


@given(
    lines=st.lists(_line, min_size=1, max_size=3),
    ts_usec=st.none() | st.integers(0, 10**19 - 1),
    level=st.none() | st.integers(0, 7),
    facility=st.integers(0, 255),
    caller=st.none() | st.from_regex(r"\A[TC][0-9]{1,10}\Z"),
)
def test_legacy_round_trip(
    lines: list[str], ts_usec: int | None, level: int | None, facility: int, caller: str | None
) -> None:
    """All fields of a legacy datagram are decoded, line by line."""
    datagram = legacy("\n".join(lines), ts_usec=ts_usec, level=level, facility=facility, caller=caller)
    assume(is_text(datagram))
    messages: list[LegacyMessage] = []
    assert split(None, datagram, SENDER, 1.5, 2.0, messages) is None
    assert [message.text for message in messages] == lines
    for message in messages:
        assert (message.ts_usec, message.level, message.caller) == (ts_usec, level, caller)
        assert message.facility == (None if level is None else facility)


# Extended datagrams.


@pytest.mark.parametrize(
    ("number", "fields"),
    [
        (0, {"text": "NET: Registered protocol family 10", "seq": 339, "ts_usec": 5140900}),
        (1, {"text": "udevd[80]: starting version 181", "seq": 340, "ts_usec": 5690716, "facility": 3}),
        (2, {"text": "max facility", "seq": 700, "ts_usec": 22085407760, "facility": 255, "level": 7}),
        (4, {"text": "bad \x1b[31mred\nsecond line é back\\slash", "seq": 417, "ts_usec": 1758500}),
        (5, {"text": "hello", "seq": 416, "ts_usec": 1758426, "caller": "T123"}),
        (6, {"text": "netconsole: network logging started", "seq": 444, "ts_usec": 501151268, "release": "6.4.0"}),
        (
            7,
            {
                "text": "hello from guest",
                "seq": 397,
                "ts_usec": 6221139,
                "facility": 1,
                "level": 4,
                "release": "6.12.107+deb13-amd64",
                "userdata": {"rack": "r17 b", "role": "web"},
            },
        ),
        (
            8,
            {
                "text": "e1000: eth0 NIC Link is Up",
                "seq": 397,
                "ts_usec": 5558510,
                "release": "7.2.13+deb14-amd64",
                "userdata": {"rack": "r17 b"},
                "cpu": 0,
                "taskname": "kworker/0:1",
                "sysrelease": "7.2.13+deb14-amd64",
                "msgid": 2,
            },
        ),
        (9, {"text": "x", "seq": 613, "ts_usec": 22085607756, "cpu": 1, "taskname": "a\n cpu=99", "msgid": 8}),
    ],
)
def test_extended(number: int, fields: dict[str, Any]) -> None:
    """An extended datagram is, byte for byte, a real kernel's."""
    assert extended(**fields) == EXTENDED[number]


def test_extended_dictionary_and_flag() -> None:
    """The dictionary stands before the userdata, escaped; the flag is that of the header."""
    datagram = extended("x", flag="c", dictionary={"SUBSYSTEM": "é", "DEVICE": "n8"}, userdata={"a": "é"})
    assert datagram == b"6,1,1000000,c;x\n SUBSYSTEM=\\xc3\\xa9\n DEVICE=n8\n a=\xc3\xa9\n"


def test_escape() -> None:
    r"""Bytes below 0x20, from 0x7f up, and the backslash become ``\xNN``, in lower case; others stay."""
    printable = bytes(octet for octet in range(0x20, 0x7F) if octet != 0x5C)
    assert escape(printable) == printable
    assert escape(b"\0\n\x1f\x7f\x80\xff\\") == rb"\x00\x0a\x1f\x7f\x80\xff\x5c"


@settings(max_examples=200)
@given(
    text=st.binary(max_size=20),
    seq=numbers,
    ts_usec=numbers,
    level=st.integers(0, 7),
    facility=st.integers(0, 255),
    flag=st.sampled_from("-c+"),
    release=st.none() | st.sampled_from(["6.4.0", "6.12.107+deb13-amd64", "r" * 64]),
    caller=st.none() | st.from_regex(r"\A[TC][0-9]{1,10}\Z"),
)
def test_extended_round_trip(
    text: bytes, seq: int, ts_usec: int, level: int, facility: int, flag: str, release: str | None, caller: str | None
) -> None:
    """All fields of an extended datagram are decoded."""
    message = read(
        extended(
            text, seq=seq, ts_usec=ts_usec, level=level, facility=facility, flag=flag, release=release, caller=caller
        )
    )
    assert message.text == readable(text)
    assert (message.seq, message.ts_usec, message.level, message.facility) == (seq, ts_usec, level, facility)
    assert (message.continuation, message.release, message.caller) == (flag in "c+", release, caller)


# Fragments.


def reassembled(datagrams: list[bytes]) -> Message:
    """Return the message of these fragments."""
    pieces = [piece(datagram) for datagram in datagrams]
    reassembly = Reassembly(pieces[0], 0.0)
    for part in pieces:
        assert reassembly.add(part.offset, part.piece.raw)
    assert reassembly.complete
    return reassembly.message()


def test_fragments_of_a_real_message() -> None:
    """A body of 986 bytes is split as by a real kernel: into 966 bytes and 20."""
    datagram = b"4,1509,12767657146,-;" + b"a" * 966 + b"b" * 20
    assert fragments(datagram) == [
        b"4,1509,12767657146,-,ncfrag=0/986;" + b"a" * 966,
        b"4,1509,12767657146,-,ncfrag=966/986;" + b"b" * 20,
    ]


@pytest.mark.parametrize("excess", [-1, 0])
def test_short_datagrams_are_not_split(excess: int) -> None:
    """A datagram of up to 1000 bytes is not split, even a legacy datagram."""
    header = len(extended(""))
    for datagram in (extended("x" * (1000 - header + excess)), legacy("x" * (999 + excess))):
        assert fragments(datagram) == [datagram]


def test_long_datagrams_are_split() -> None:
    """A datagram of 1001 bytes is split; all fragments but the last are full."""
    datagram = extended("x" * (1001 - len(extended(""))))
    first, second = fragments(datagram)
    assert (len(first), piece(first).total) == (1000, 987)
    assert reassembled([second, first]).raw == read(datagram).raw


@given(st.binary(min_size=1, max_size=300), st.integers(80, 400))
def test_fragments_round_trip(text: bytes, size: int) -> None:
    """Fragments of any size reassemble to the message, header included; all but the last have the full size."""
    datagram = extended(text, seq=2**64 - 1, release="6.4.0", caller="T1", userdata={"a": "b" * 100}, msgid=17)
    pieces = fragments(datagram, size)
    if len(datagram) <= size:
        assert pieces == [datagram]
        return
    assert all(len(part) == size for part in pieces[:-1])
    assert 0 < len(pieces[-1]) <= size
    assert reassembled(pieces) == read(datagram)


def test_fragments_errors() -> None:
    """A size without room after the header, or a text without a header, is an error."""
    head = len(b"6,1,1000000,-,ncfrag=0/101;")
    for size in (1, 20, head - 1, head):
        with pytest.raises(ValueError, match="no room"):
            fragments(extended("x" * 100), size)
    with pytest.raises(ValueError, match="header"):
        fragments(legacy("x" * 2000))


# Messages.


def test_extended_message_equals_the_decoded_message() -> None:
    """A built message equals the decoded message."""
    fields: dict[str, Any] = {"seq": 7, "release": "6.4.0", "userdata": {"a": "b"}, "cpu": 1, "msgid": 17}
    decoded = decode(extended("x", **fields), source("2001:db8::7", 514), 1.5)
    assert not isinstance(decoded, Fragment)
    built = extended_message("x", address="2001:db8::7", port=514, received_at=1.5, **fields)
    assert built == decoded


@pytest.mark.parametrize("mark", ["seq_reset", "out_of_order", "incomplete", "replayed", "emergency"])
def test_extended_message_marks(mark: str) -> None:
    """Each mark is set by its own parameter."""
    only: dict[str, Any] = {mark: True}
    message = extended_message("x", **only)
    marks = ["seq_reset", "out_of_order", "incomplete", "replayed", "emergency"]
    assert [name for name in marks if getattr(message, name)] == [mark]
    assert (message.missing, message.lost) == (0, None)


@pytest.mark.parametrize("line", ["<6>[   12.345678] foo", "<6>[   12.345678] foo\n", b"<6>[   12.345678] foo"])
def test_legacy_message(line: str | bytes) -> None:
    """A legacy message is built from a line, with or without its newline."""
    message = legacy_message(line, address="2001:db8::7", port=514, received_at=1.5)
    assert (message.text, message.level, message.ts_usec, message.received_at) == ("foo", 6, 12345678, 1.5)
    assert message.raw == b"<6>[   12.345678] foo\n"
    assert message.source == source("2001:db8::7", 514)
