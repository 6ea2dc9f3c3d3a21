"""The printer, on a standard output that is a socket or a terminal."""

from __future__ import annotations

import os
import re
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO
from unittest.mock import patch

import pytest
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from modules import printer as printer_module
from modules.printer import Printer
from netconsd.interfaces import IBatchOutputModule, IUsesNames
from netconsd.names import Names
from netconsd.protocol.message import Message
from netconsd.rendering import netconsd_line
from netconsd.testing import extended_message, legacy_message

RECEIVED_AT = 1763820245.1234
ESC = "\x1b["


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC, and the environment does not set NO_COLOR."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    with monkeypatch.context() as context:
        context.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


class Output:
    """A standard output whose other end the test reads, one write at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8") -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._stream: TextIO = open(self._theirs.fileno(), "w", encoding=encoding, closefd=False)  # noqa: SIM115
        monkeypatch.setattr(sys, "__stdout__", self._stream)

    def write_read(self) -> str:
        return self._ours.recv(1 << 20).decode()

    def is_empty(self) -> bool:
        try:
            self._ours.recv(1)
        except BlockingIOError:
            return True
        return False

    def hang_up(self) -> None:
        self._ours.close()

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    """The standard output of the process during a test."""
    replaced = Output(monkeypatch)
    yield replaced
    replaced.close()


def shown(output: Output, *messages: Message, **settings: Any) -> list[str]:
    """Print the messages as one batch, and return the lines."""
    printer = Printer(**settings)
    printer.start(1)
    printer.handle_batch(0, list(messages))
    printer.stop()
    printed = output.write_read()
    assert printed.endswith("\n")
    return printed.split("\n")[:-1]


def unbroken(printed: str) -> list[str]:
    """Return the lines of the terminal without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", printed).removesuffix("\n").split("\n")


def arrived(ours: int) -> str:
    """Return the text that arrived at a terminal, whose other end is closed; close it."""
    data = b""
    # Linux raises EIO at the end.
    with suppress(OSError):
        while part := os.read(ours, 65536):
            data += part
    os.close(ours)
    return data.decode()


def on_terminal(monkeypatch: pytest.MonkeyPatch, message: Message, *, columns: int = 0, **settings: Any) -> str:
    """Print the message on a terminal of so many columns (0: unknown), and return the text that follows the title."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    termios.tcsetwinsize(theirs, (24, columns))
    with open(theirs, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        printer = Printer(**settings)
        printer.start(1)
        printer.handle_batch(0, [message])
    title, newline, printed = arrived(ours).partition("\n")
    assert newline
    assert unbroken(title)[0] in (printer_module.TITLE, printer_module.SHORT_TITLE)
    return printed


def test_interface() -> None:
    """The printer provides the interfaces of modules with batches, and of those with names."""
    verifyObject(IBatchOutputModule, Printer())
    verifyObject(IUsesNames, Printer())


def test_format_person(output: Output) -> None:
    """A line has local time in ms with its offset, sender, uptime, level in words, caller and text."""
    message = extended_message(
        "eth0: link is up", address="192.0.2.7", received_at=RECEIVED_AT, ts_usec=12345678, level=4, caller="T12"
    )
    assert shown(output, message) == [
        "11-22 14:04:05.123+00:00 192.0.2.7         [   12.345678] warn   [T12] eth0: link is up"
    ]


def test_unknown_fields(output: Output) -> None:
    """The uptime and level of a legacy line without them are dashes in the same columns."""
    message = legacy_message("U-Boot 2024.01", address="192.0.2.7", received_at=RECEIVED_AT)
    assert shown(output, message) == ["11-22 14:04:05.123+00:00 192.0.2.7         [           -] -      U-Boot 2024.01"]


def test_marks(output: Output) -> None:
    """Marks are directly before the text."""
    (line,) = shown(output, extended_message("text", lost=3))
    assert line.endswith(" info   [3 lost] text")


def test_format_short(output: Output) -> None:
    """The short format has time, sender, level and text; the uptime is in the first message and the first of a boot."""
    fields: dict[str, Any] = {"address": "192.0.2.7", "received_at": RECEIVED_AT, "ts_usec": 12345678, "caller": "T1"}
    legacy = legacy_message("U-Boot", address="192.0.2.7", received_at=RECEIVED_AT)
    legacy._new = True
    assert shown(
        output,
        extended_message("one\ntwo", level=4, lost=2, **fields),
        extended_message("three", new=True, **fields),
        extended_message("four", boot=True, **fields),
        legacy,
        format="short",
    ) == [
        "14:04:05 192.0.2.7       warn   [2 lost] one",
        "         two",
        "14:04:05 192.0.2.7       info   [new] [   12.345678] three",
        "14:04:05 192.0.2.7       info   [boot] [   12.345678] four",
        "14:04:05 192.0.2.7       -      [new] U-Boot",
    ]


@pytest.mark.parametrize(("columns", "short"), [(80, True), (119, True), (120, False), (160, False), (0, False)])
def test_format_of_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, short: bool) -> None:
    """By default a terminal with less than 120 columns has the short format; the setting takes precedence."""
    message = extended_message("text", received_at=RECEIVED_AT)
    assert on_terminal(monkeypatch, message, columns=columns, color="never").startswith("14:04:05 ") == short
    assert on_terminal(monkeypatch, message, columns=columns, color="never", format="person").startswith("11-22 ")


def test_titles() -> None:
    """The names of the columns, which a terminal gets once, before the first message, stand above the columns."""
    fields: dict[str, Any] = {"address": "192.0.2.7", "received_at": RECEIVED_AT, "ts_usec": 12345678}
    for format, title in (("person", printer_module.TITLE), ("short", printer_module.SHORT_TITLE)):
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        with open(theirs, "w", encoding="utf-8") as stream, patch.object(sys, "__stdout__", stream):
            printer = Printer(format=format, color="never")  # type: ignore[arg-type]
            printer.start(1)
            for _ in range(2):
                printer.handle_batch(0, [extended_message("text", **fields)])
        first, line, *more = arrived(ours).splitlines()
        assert (first, more) == (title, [line])
        assert title.index("sender") == line.index("192.0.2.7")
        assert title.index("level") == line.index("info")
        assert title.index("message") == line.index("text")
        assert format == "short" or title.index("uptime") <= line.index("[") <= title.index("uptime") + 2


def test_lines_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets lines that it need not break: broken between words, and indented behind the first column."""
    text = "Modules linked in: " + " ".join(f"mod_{number}" for number in range(30))
    message = extended_message(f"{text}\n{'x' * 200}", received_at=RECEIVED_AT, level=3)
    for columns, indent in ((80, 9), (160, 65)):
        lines = unbroken(on_terminal(monkeypatch, message, columns=columns))
        assert all(len(line) <= columns for line in lines)
        assert [line[:indent].strip() for line in lines[1:]] == [""] * (len(lines) - 1)
        words = " ".join(line[indent:] for line in lines[1:])
        assert "mod_29" in words and all(word == "mod_29" or "x" in word for word in words.split()[-4:])
        assert words.replace(" ", "").endswith("x" * 200)
        together = " ".join([lines[0].partition(" err    ")[2], words])
        assert together.startswith(f"{text} x")


def test_fields_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the fields have lines of their own if they do not fit behind the text."""
    message = extended_message("text", cpu=3, userdata={"k": "v" * 80})
    first, *rest = unbroken(on_terminal(monkeypatch, message, columns=80, fields=("cpu", "userdata")))
    assert first.endswith(" text")
    assert rest == [f"         {{cpu=3 k={'v' * 62}", f"         {'v' * 18}}}"]
    for columns in (80, 160):
        for text in ("text", "two\nlines", "x" * 120):
            message = extended_message(text, cpu=3)
            *_, last = lines = unbroken(on_terminal(monkeypatch, message, columns=columns, fields=("cpu",)))
            assert last.endswith(f"{text[-1]} {{cpu=3}}")
            assert all(len(line) <= columns for line in lines)
    # To the last column, and one character beyond.
    room = 160 - len(unbroken(on_terminal(monkeypatch, extended_message("", cpu=3), columns=160, fields=("cpu",)))[0])
    for beyond in (0, 1):
        message = extended_message("x" * (room + beyond), cpu=3)
        lines = unbroken(on_terminal(monkeypatch, message, columns=160, fields=("cpu",)))
        assert len(lines) == 1 + beyond


def test_a_very_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that has hardly room for the columns gets every character of a text; one below 40 breaks itself."""
    message = extended_message("y" * 300, userdata={"host": "h" * 60})
    for columns in (1, 39, 40, 41):
        lines = unbroken(on_terminal(monkeypatch, message, columns=columns))
        assert "".join(lines).count("y") == 300
        assert (len(lines) == 1) == (columns < 40)


def test_utc(monkeypatch: pytest.MonkeyPatch, output: Output) -> None:
    """Local time has its offset, and UTC a Z."""
    monkeypatch.setenv("TZ", "XXX-1")
    time.tzset()
    message = extended_message("text", received_at=RECEIVED_AT)
    assert shown(output, message)[0].startswith("11-22 15:04:05.123+01:00 ")
    assert shown(output, message, time="utc")[0].startswith("11-22 14:04:05.123Z ")


def test_senders(output: Output) -> None:
    """The sender is shown by its names; a name that it chose itself stands before its address."""
    printer = Printer()
    printer.start(1)
    printer.handle_batch(0, [extended_message("text", userdata={"host": "web01"})])
    assert output.write_read().split()[2] == "web01@192.0.2.1"
    printer.use_names(Names(host_key=""))
    printer.handle_batch(0, [extended_message("text", userdata={"host": "web01"})])
    assert output.write_read().split()[2] == "192.0.2.1"


def test_a_long_name_does_not_widen_the_column(output: Output) -> None:
    """A name that a stranger chose takes no columns from the lines of the others."""
    lines = shown(output, extended_message("one", userdata={"host": "x" * 60}), extended_message("text"))
    assert lines[1].index("[    1.000000]") == len("11-22 14:04:05.123+00:00 192.0.2.1       ") + 2


def test_continuations(output: Output) -> None:
    """A continuation is marked and never joined; one of blanks has no line."""
    lines = shown(
        output,
        extended_message("Modules linked in: mod_a"),
        extended_message(" mod_b", flag="c"),
        extended_message(" ", flag="c"),
        extended_message("end"),
    )
    assert [line.partition(" info   ")[2] for line in lines] == ["Modules linked in: mod_a", "[cont]  mod_b", "end"]


def test_fields(output: Output) -> None:
    """The requested fields are at the end of the first line."""
    message = extended_message("one\ntwo", cpu=5, userdata={"rack": "r17"}, seq=7)
    first, second = shown(output, message, fields=("cpu", "userdata"))
    assert first.endswith(" info   one {cpu=5 rack=r17}")
    assert second.endswith("  two")


def test_selection(output: Output) -> None:
    """Messages that are not selected are not printed, and the stop logs their number."""
    printer = Printer(level="warn")
    printer.start(1)
    printer.handle_batch(0, [extended_message("info", level=6), extended_message("err", level=3)])
    assert output.write_read().endswith(" err    err\n")
    printer.handle_batch(0, [extended_message("info", level=6)])
    assert output.is_empty()
    with capturedLogs() as events:
        printer.stop()
    assert [formatEvent(event) for event in events] == [
        "printer: 2 messages not printed, because of level, hosts, keep or drop"
    ]


def test_columns(output: Output) -> None:
    """Texts of different senders, uptimes and levels begin in the same column."""
    lines = shown(
        output,
        extended_message("text", address="192.0.2.7", ts_usec=0, level=3),
        extended_message("text", address="198.51.100.123", ts_usec=9_999_999_999_999, level=5),
        legacy_message("text", address="10.0.0.1"),
    )
    assert len({line.index("text") for line in lines}) == 1


def test_columns_with_long_addresses(output: Output) -> None:
    """From the first longer address on, the column is wider, also for IPv4 senders."""
    lines = shown(
        output,
        extended_message("text", address="2001:db8:1234:5678:9abc:def0:1234:5678"),
        extended_message("text", address="192.0.2.7"),
    )
    assert lines[0].index("text") == lines[1].index("text")


def test_several_lines(output: Output) -> None:
    """Further lines of a text are indented to its column; empty lines at its end are left out."""
    forged = "11-22 14:04:05.123+00:00 192.0.2.9         [   12.345678] emerg  forged"
    first, *rest = shown(output, extended_message(f"one\n{forged}\n\nfour\n\n"))
    column = first.index("one")
    assert rest == [" " * column + text for text in (forged, "", "four")]


def test_format_netconsd(output: Output) -> None:
    """With format="netconsd" the lines are those of the C daemon's printer, never coloured."""
    messages = [extended_message("a\nb", level=0), legacy_message("c")]
    assert shown(output, *messages, format="netconsd", color="always") == [
        netconsd_line(message) for message in messages
    ]


@pytest.mark.parametrize(("level", "sgr"), [(0, "1;97;41"), (2, "1;31"), (3, "31"), (4, "33"), (5, "1"), (7, "2")])
def test_colours_by_level(monkeypatch: pytest.MonkeyPatch, level: int, sgr: str) -> None:
    """On a terminal the text has the colour of its level, and every line ends without colour."""
    printed = on_terminal(monkeypatch, extended_message("one\ntwo", level=level))
    assert f"{ESC}{sgr}mone{ESC}m\n" in printed
    assert f" {ESC}{sgr}mtwo{ESC}m\n" in printed


def test_no_colour_for_the_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of a level that is nothing special, or not known, has no colour."""
    assert on_terminal(monkeypatch, extended_message("text", level=6)).endswith(" text\n")
    assert on_terminal(monkeypatch, legacy_message("text")).endswith(" text\n")


def test_marks_differ_from_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a mark has a colour that no text has, so that a text cannot pretend to be one."""
    printed = on_terminal(monkeypatch, extended_message("[2 lost] x", lost=3))
    assert printed.endswith(f" {ESC}1;35m[3 lost] {ESC}m[2 lost] x\n")


def test_when_colours_are_used(monkeypatch: pytest.MonkeyPatch, output: Output) -> None:
    """By default colours are used on terminals, unless NO_COLOR is set; the setting takes precedence over both."""
    message = extended_message("text", level=3)
    assert ESC not in shown(output, message)[0]
    assert ESC in shown(output, message, color="always")[0]
    assert ESC in on_terminal(monkeypatch, message)
    assert ESC not in on_terminal(monkeypatch, message, color="never")
    monkeypatch.setenv("NO_COLOR", "1")
    assert ESC not in on_terminal(monkeypatch, message)
    assert ESC in on_terminal(monkeypatch, message, color="always")


def test_one_write_per_batch(output: Output) -> None:
    """A batch of any size is one write."""
    assert len(shown(output, *[extended_message("text")] * 500)) == 500
    assert output.is_empty()


def test_an_output_that_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    """A character that the output's encoding lacks is escaped."""
    ascii_output = Output(monkeypatch, encoding="ascii")
    (line,) = shown(ascii_output, extended_message("é \N{GRINNING FACE}"))
    assert line.endswith(" \\xe9 \\U0001f600")
    ascii_output.close()


def test_batches_of_workers_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """While several workers print more than a pipe holds, the lines of a batch stay together."""
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        printer = Printer(format="netconsd")
        printer.start(4)
        batches = [[extended_message(f"worker {worker}:" + "x" * 800)] * 200 for worker in range(4)]
        threads = [threading.Thread(target=printer.handle_batch, args=item) for item in enumerate(batches)]
        for thread in threads:
            thread.start()
        with open(reading, encoding="utf-8") as read:
            lines = [read.readline() for _ in range(800)]
        for thread in threads:
            thread.join()
    workers = [re.findall(r"worker (\d):x{800}\n", line) for line in lines]
    assert all(workers[start : start + 200] == [workers[start]] * 200 for start in range(0, 800, 200))
    assert sorted(workers[::200]) == [["0"], ["1"], ["2"], ["3"]]


def test_not_the_log_of_twistd(
    monkeypatch: pytest.MonkeyPatch, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    """Messages are written to the standard output of the process, not to a replaced sys.stdout."""
    assert len(shown(output, extended_message("text"))) == 1
    assert capsys.readouterr().out == ""


def test_without_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a standard output the printer starts, logs a warning and prints nothing."""
    monkeypatch.setattr(sys, "__stdout__", None)
    printer = Printer()
    with capturedLogs() as events:
        printer.start(1)
    assert [formatEvent(event) for event in events] == [
        "printer: nothing is printed, because this process has no standard output"
    ]
    printer.handle_batch(0, [extended_message("text")])
    printer.stop()


def test_closed_output(output: Output) -> None:
    """A closed output is an OSError of the batch, which the daemon counts."""
    printer = Printer()
    printer.start(1)
    output.hang_up()
    with pytest.raises(OSError, match="Broken pipe"):
        printer.handle_batch(0, [extended_message("text")])
