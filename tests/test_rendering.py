"""Rendering: lines for people, without control characters."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.logger import lines as lines_module
from netconsd.logger.lines import LineForm, log_lines
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.decode import decode
from netconsd.protocol.message import ExtendedMessage, Message, Source
from netconsd.protocol.table import SourceTable
from netconsd.protocol.translation import PART
from netconsd.rendering import fields_text, is_blank, marks, netconsd_line, place, printable, uptime
from netconsd.testing import extended_message, legacy_message, source

MESSAGE_START = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z \[")


@pytest.mark.parametrize("text", ["", "eth0: link is up", "C:\\x1b", "Grüße, 世界, \N{GRINNING FACE}"])
def test_printable_leaves_text_alone(text: str) -> None:
    """Printable text stays, with backslashes and letters of all languages."""
    assert printable(text) is text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[m", "\\x1b[31mred\\x1b[m"),
        ("a\nb\r\0", "a\\x0ab\\x0d\\x00"),
        ("\x7f\x9b31m\x85", "\\x7f\\x9b31m\\x85"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", "\\u202egpj.exe"),
        ("\N{ZERO WIDTH SPACE}\N{SOFT HYPHEN}", "\\u200b\\xad"),
        ("\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}", "\\u2028\\u2029"),
        ("\N{NO-BREAK SPACE}", "\\xa0"),
        ("\udc80", "\\udc80"),
        ("\N{TAG LATIN SMALL LETTER A}", "\\U000e0061"),
        ("\uffff\ue000", "\\uffff\\ue000"),
        ("é\x01", "é\\x01"),
    ],
)
def test_printable_escapes(text: str, shown: str) -> None:
    """Controls, format characters, separators, surrogates and unassigned characters become visible escapes."""
    assert printable(text) == shown


@given(st.text(alphabet=st.characters()))
def test_printable_is_safe(text: str) -> None:
    """The result of any text is one printable line in UTF-8 of bounded length, and unchanged by a second call."""
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.encode()) <= 10 * len(text)
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("ts_usec", "shown"),
    [
        (0, "[    0.000000]"),
        (999_999, "[    0.999999]"),
        (1_000_000, "[    1.000000]"),
        (12_345_678, "[   12.345678]"),
        (99_999_000_001, "[99999.000001]"),
        (8_640_000_000_000, "[8640000.000000]"),
        (2**64 - 1, "[18446744073709.551615]"),
        (None, "[           -]"),
    ],
)
def test_uptime(ts_usec: int | None, shown: str) -> None:
    """Uptime is formatted as by the kernel's printf("[%5lu.%06lu]"); an unknown uptime has the same width."""
    assert uptime(ts_usec) == shown


def test_marks() -> None:
    """Each mark has its text, in a fixed order; most messages have none."""
    assert marks(extended_message("text")) == ""
    assert marks(extended_message("text", lost=0)) == ""
    assert marks(extended_message("text", seq_reset=True, missing=7)) == ""
    assert marks(legacy_message("text")) == ""
    everything = extended_message(
        "text",
        new=True,
        boot=True,
        replayed=True,
        out_of_order=True,
        incomplete=True,
        lost=3,
        limited=202,
        flag="c",
    )
    assert marks(everything) == "[new] [boot] [again] [3 lost] [202 over --rate] [late] [incomplete] [cont] "


def test_marks_of_loss() -> None:
    """A gap is lost by msgid or else missing by seq, never both; nothing is said of a gap that may be no loss."""
    assert marks(extended_message("x", lost=2, likely_lost=2, missing=2)) == "[2 lost] "
    assert marks(extended_message("x", lost=0, likely_lost=2, missing=2)) == ""
    assert marks(extended_message("x", lost=None, likely_lost=2, missing=2)) == "[2 missing] "
    assert marks(extended_message("x", lost=None, missing=2)) == ""


def test_marks_of_legacy_messages() -> None:
    """Legacy messages can be new, the first after a reboot, and the first after limited datagrams."""
    message = legacy_message("text")
    message._new = message._boot = True
    message._limited = 5
    assert marks(message) == "[new] [boot] [5 over --rate] "
    assert log_lines([message]).decode().endswith(" -      [new] [boot] [5 over --rate] text\n")


@pytest.mark.parametrize(
    "mark",
    [
        *({"new": True}, {"boot": True}, {"limited": 1}, {"likely_lost": 1}, {"lost": 1}, {"flag": "c"}),
        *({"replayed": True}, {"out_of_order": True}, {"incomplete": True}),
    ],
    ids=str,
)
def test_no_mark_is_left_out_of_a_log(mark: dict[str, Any]) -> None:
    """The line of a message that is plain but for a mark has the mark."""
    message = extended_message("text", **mark)
    assert marks(message)
    assert log_lines([message]).decode().endswith(f" info   {marks(message)}text\n")


@pytest.mark.parametrize(
    ("message", "blank"),
    [
        (extended_message(" ", flag="c"), True),
        (extended_message("", flag="c"), True),
        (extended_message("\t \n", flag="c"), True),
        (extended_message(" ", flag="-"), False),
        (extended_message(" x", flag="c"), False),
        (extended_message(" ", flag="c", lost=1), False),
        (legacy_message(" "), False),
    ],
)
def test_blank_continuations(message: Message, blank: bool) -> None:
    """A continuation of blanks has no line, unless another mark would be lost with it."""
    assert is_blank(message) == blank
    assert log_lines([message]).count(b"\n") == 1 - blank


def test_fields() -> None:
    """The requested fields are at the end, in a fixed order; what was not sent is left out."""
    message = extended_message(
        *("nvme nvme0: I/O timeout",),
        release="7.0.0",
        seq=612,
        level=3,
        facility=1,
        dictionary={"SUBSYSTEM": "nvme", "DEVICE": "c241:0"},
        userdata={"rack": "r17", "role": "the web"},
        cpu=5,
        taskname="kworker/5:1H",
        msgid=41,
    )
    everything = (
        " {seq=612 msgid=41 facility=1 cpu=5 task=kworker/5:1H release=7.0.0 SUBSYSTEM=nvme DEVICE=c241:0 rack=r17"
        ' role="the web"}'
    )
    assert fields_text(message, ["all"]) == everything
    assert fields_text(message, ["task", "cpu"]) == " {cpu=5 task=kworker/5:1H}"
    assert fields_text(extended_message("x"), ["cpu", "userdata"]) == " {}"
    assert fields_text(legacy_message("x"), ["facility", "seq"]) == " {}"
    assert fields_text(legacy_message("<13>x"), ["facility", "seq"]) == " {facility=1}"
    line = log_lines([message], LineForm(["all"])).decode()
    assert line.endswith(f" err    nvme nvme0: I/O timeout{everything}\n")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x {cpu=9}", '"x \\x7bcpu=9\\x7d"'),
        ('"', '"\\""'),
        ("", '""'),
        ("a b", '"a b"'),
        ("a\tb\n\u202ec", '"a       b\\x0a\\u202ec"'),
        ("é", '"é"'),
        ("kworker/5:1H-wq@x_y.z+%", "kworker/5:1H-wq@x_y.z+%"),
    ],
)
def test_quoted_values(value: str, shown: str) -> None:
    """A value that is not a plain word is in quotes, without controls and braces; keys are treated alike."""
    message = extended_message("text", userdata={"key": value})
    assert fields_text(message, ["userdata"]) == f" {{key={shown}}}"
    forged = decode(b"6,1,2,-;x\n k {=v\n", source(), 0.0)
    assert isinstance(forged, ExtendedMessage)
    assert fields_text(forged, ["userdata"]) == ' {"k \\x7b"=v}'


@given(st.text(), st.text(), st.binary(max_size=15))
def test_fields_cannot_be_forged(text: str, value: str, task: bytes) -> None:
    """For any text, value and task name, the line is printable and its last `` {`` begins the fields."""
    datagram = b"6,1,2,-;%s\n k=%s\n cpu=3\n taskname=%s\n" % (
        *(text.encode("utf-8", "surrogatepass"), value.encode("utf-8", "surrogatepass"), task),
    )
    message = decode(datagram, source(), 0.0)
    assert isinstance(message, ExtendedMessage)
    shown = fields_text(message, ["cpu", "task", "userdata"])
    assert shown.isprintable()
    line = log_lines([message], LineForm(["cpu", "task", "userdata"])).decode()
    assert line.count("\n") == 1
    assert " {" + line.rpartition(" {")[2] == shown + "\n"


class Shared(Source):
    """A sender whose address has several senders, on any build."""

    shared = True


def shared_sender(address: str, port: int = 6665) -> Source:
    """Return a sender whose address has several senders."""
    return Shared(source(address).packed, port)


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        (source("192.0.2.7"), "192.0.2.7"),
        (source("2001:db8::7"), "2001:db8::7"),
        (shared_sender("192.0.2.7"), "192.0.2.7:6665"),
        (shared_sender("2001:db8::7"), "[2001:db8::7]:6665"),
    ],
)
def test_place(sender: Source, shown: str) -> None:
    """The port is shown where several senders have the address."""
    assert place(sender) == shown


def test_senders_in_a_log() -> None:
    """A line has its sender where several have the address, and everywhere if that is wanted."""
    one, two = extended_message("one"), extended_message("two", received_at=1763820245.5)
    two._source = shared_sender("192.0.2.1", 44501)
    first, second = log_lines([one, two]).decode().splitlines()
    assert first == "1970-01-01T00:00:00.000000Z [    1.000000] info   one"
    assert second == "2025-11-22T14:04:05.500000Z 192.0.2.1:44501 [    1.000000] info   two"
    assert log_lines([one], LineForm(sender=True)).decode().split()[1] == "192.0.2.1"


@pytest.mark.parametrize(
    ("timezone", "when"),
    [("UTC0", "14:04:05.500000+00:00"), ("XXX-5:30", "19:34:05.500000+05:30"), ("XXX+3:30", "10:34:05.500000-03:30")],
)
def test_local_time(monkeypatch: pytest.MonkeyPatch, timezone: str, when: str) -> None:
    """Local time has the offset from UTC, so that lines of different machines can be compared."""
    with monkeypatch.context() as context:
        context.setenv("TZ", timezone)
        time.tzset()
        line = log_lines([extended_message("x", received_at=1763820245.5)], LineForm(local=True)).decode()
    time.tzset()
    lines_module._when.cache_clear()
    assert line.split()[0] == f"2025-11-22T{when}"


def test_netconsd_line_extended() -> None:
    """An extended message has the columns of the C daemon's printer, with release and flags in their places."""
    message = extended_message("hello", address="192.0.2.7", seq=397, ts_usec=6221139, level=4, facility=1)
    assert netconsd_line(message) == " " * 24 + "::ffff:192.0.2.7:  S000397 T00000006221139 F1/L4 hello"
    message = extended_message(
        "a", address="2001:db8::7", seq=12345678, release="6.4.0", flag="+", out_of_order=True, seq_reset=True
    )
    assert netconsd_line(message) == (
        "2001:db8::7".rjust(40) + ": 6.4.0 S12345678 T00000001000000 F0/L6 [CONT] [OOS] [SEQ RESET] a"
    )


def test_netconsd_line_shows_the_text_as_sent() -> None:
    """The text of an extended message stays escaped, and its dictionary is omitted."""
    message = extended_message("a\nb\\ é", dictionary={"SUBSYSTEM": "usb"})
    assert netconsd_line(message).endswith(" F0/L6 a\\x0ab\\x5c \\xc3\\xa9")


def test_netconsd_line_legacy() -> None:
    """A legacy message is the address and the received line, prefix included, made printable."""
    message = legacy_message(b"<6>[   12.345678] foo\x1b[m \xff\0\n", address="192.0.2.7")
    assert netconsd_line(message) == "::ffff:192.0.2.7".rjust(40) + ": <6>[   12.345678] foo\\x1b[m \\xff"
    assert netconsd_line(legacy_message(b"one\ntwo\n")).endswith(": one\\x0atwo")


def test_netconsd_line_is_safe() -> None:
    """A body with raw control characters, which no kernel sends, is made printable."""
    message = decode(b"6,1,2,-;\x1b[2J\x9b\rforged\0\n", source(), 0.0)
    assert isinstance(message, ExtendedMessage)
    assert netconsd_line(message).endswith(" \\x1b[2J\\x9b\\x0dforged")


def test_log_lines() -> None:
    """A line has UTC time of receipt, uptime, level, marks, caller and text; an unknown value is a dash."""
    messages = [
        extended_message("eth0: down", received_at=1763820245.123456, ts_usec=12345678, level=4, lost=3, caller="T123"),
        legacy_message("no stamp", received_at=1763820245.123456),
        legacy_message("<5>[   13.000001][    C2] stamp", received_at=1763820246.0),
        extended_message("rounded", received_at=1763820246.9999999, level=0),
    ]
    assert log_lines([extended_message("x", received_at=-1.0)]).startswith(b"1969-12-31T23:59:5")
    assert log_lines(messages).decode().splitlines() == [
        "2025-11-22T14:04:05.123456Z [   12.345678] warn   [3 lost] [T123] eth0: down",
        "2025-11-22T14:04:05.123456Z [           -] -      no stamp",
        "2025-11-22T14:04:06.000000Z [   13.000001] notice [C2] stamp",
        "2025-11-22T14:04:07.000000Z [    1.000000] emerg  rounded",
    ]


@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode)), min_size=1, max_size=4))
def test_log_lines_cannot_be_forged(texts: list[bytes]) -> None:
    """Each message is one printable line in UTF-8, for any texts."""
    messages = [extended_message(text) if number % 2 else legacy_message(text) for number, text in enumerate(texts)]
    data = log_lines(messages)
    assert data.endswith(b"\n")
    lines = data.decode("utf-8").split("\n")[:-1]
    assert len(lines) == len(texts)
    assert all(line.isprintable() and MESSAGE_START.match(line) for line in lines)
    assert lines == [log_lines([message]).decode().removesuffix("\n") for message in messages]


def test_log_lines_escapes_every_control() -> None:
    """Every control character is escaped."""
    for code in (*range(0x20), *range(0x7F, 0xA0)):
        shown = log_lines([extended_message(f"a{chr(code)}b")]).decode()
        assert shown.endswith(" info   a     b\n" if code == 9 else f" info   a\\x{code:02x}b\n")


@pytest.mark.parametrize("ts_usec", [0, 1, 999_999, 1_000_000, 99_999_999_999, 100_000_000_000, 2**64 - 1])
def test_uptime_of_log_lines(ts_usec: int) -> None:
    """A timestamp of any size is formatted as by ``uptime``."""
    line = log_lines([extended_message("x", ts_usec=ts_usec)]).decode()
    assert f"Z {uptime(ts_usec)} " in line


def test_plain_lines() -> None:
    """Any single byte is rendered equally alone and after other messages."""
    for octet in range(256):
        message = extended_message(bytes([0x61, octet, 0x62]).decode("latin-1"))
        plain = extended_message("plain")
        assert log_lines([plain, message]) == log_lines([plain]) + log_lines([message])
        assert log_lines([message]).count(b"\n") == 1


def calls_in(function: Callable[[], object]) -> int:
    """Return the number of function calls in Python, by code that is not compiled."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


LONG = {
    "control": b"\x01" * 60_000,
    "mixed": b"a\x01\xe2\x80\xae" * 10_000,
    "beyond": b"\xf4\x8f\xbf\xbf" * 15_000,
    "no UTF-8": b"\xff" * 60_000,
    "every other": b"\xffa" * 30_000,
    "tabs": b"\t\x01" * 30_000,
    "escapes": b"\\x01" * 15_000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("form", [b"6,1,2,-;%b\n", b"%b\n"], ids=["extended", "legacy"])
def test_no_text_takes_long(text: bytes, form: bytes) -> None:
    """Rendering makes no call per character: no sender can slow down the other senders of its worker."""
    table = SourceTable(WorkerCounters(), limit=9, reorder_time=0.2, gc_interval=0.0, age=0.0)
    (message,) = table.feed([source().key], [form % text], 1.5e9, 0.0)
    renderings: list[Callable[[], object]] = [
        lambda: log_lines([message]),
        lambda: netconsd_line(message),
        lambda: printable(message.text),
    ]
    for render in renderings:
        render()
        # One call per part of a text; in plain Python, a few calls per escape of four bytes.
        assert calls_in(render) < 100 + 8 * len(text) / PART + 4 * text.count(b"\\")


def test_each_message_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is not plain is rendered once, and so are the others."""
    rendered: list[str] = []

    def note(text: str) -> str:
        rendered.append(text)
        return printable(text)

    monkeypatch.setattr("netconsd.logger.lines.printable", note)
    messages = [
        extended_message("plain"),
        extended_message("a\x01"),
        legacy_message("a line\x01"),
        extended_message("marked", new=True),
        legacy_message("another"),
    ]
    lines = log_lines(messages).decode().splitlines()
    assert [line.split()[-1] for line in lines] == ["plain", "a\\x01", "line\\x01", "marked", "another"]
    assert len(rendered) == len(messages) - 1, "one is plain"
    rendered.clear()
    assert len(log_lines([messages[0], messages[2]]).splitlines()) == 2
    assert len(rendered) == 1


@given(st.text())
def test_printable_by_character(text: str) -> None:
    """Printable characters stay, a tab becomes spaces, and every other character becomes its escape."""

    def shown(character: str) -> str:
        code = ord(character)
        form = (
            "{}"
            if character.isprintable()
            else "\\x{:02x}"
            if code < 256
            else "\\u{:04x}"
            if code < 65536
            else "\\U{:08x}"
        )
        return form.format(character if form == "{}" else code)

    assert printable(text) == "".join(map(shown, text.expandtabs()))
