"""What a stranger writes cannot act on a terminal, begin a line of its own in a log, or stand in a metric."""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from functools import partial
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs, eventAsText

from modules.printer import Printer
from netconsd.cli.ncrx import Display
from netconsd.logger.lines import by_file, log_lines
from netconsd.monitor.snapshot import take
from netconsd.outputs.runner import Outputs
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import Message
from netconsd.protocol.table import SourceTable
from netconsd.send.probe import PREFIX, faults, known_messages
from netconsd.settings import Settings
from netconsd.testing import RecordingModule, source
from tests.support.outputs import HERE, done
from tests.support.scripted_lane import lane_with, put, run
from tests.support.strategies import examples

#: What acts on a terminal, ends a line, a label, a string or a field, or looks like what we write ourselves.
WEAPONS = [
    b"\x1b[2J", b"\x1b]0;title\x07", b"\x9b31m", b"\xc2\x9b31m", b"\r", b"\n", b"\x0b", b"\x85", b"\xc2\x85", b"\0",
    b"\x7f", b"\xe2\x80\xae", b"\xe2\x80\xa8", b"\xf3\xa0\x80\x81", b"\xff", b"\xed\xa0\x80", b"\\x1b[2J", b"\\x0a",
    b"\\", b'"', b"'", b"{", b"}", b"../../etc/passwd", b"/", b"=", b",", b";", b"\t", b"%s%n{0}", b"text",
    b"2026-11-22T14:04:05.123456Z [start] ", b'} 1\nnetconsd_forged_total{x="',
]  # fmt: skip
weapons = st.lists(st.one_of(st.sampled_from(WEAPONS), st.binary(max_size=4)), max_size=6).map(b"".join)


@st.composite
def datagrams(draw: st.DrawFn) -> list[bytes]:
    """Some datagrams of a sender, of either format, with weapons wherever something can stand."""
    made = []
    for seq in range(draw(st.integers(1, 4))):
        release, keys, text, device, key, value, task = (draw(weapons) for _ in range(7))
        forms = [
            b"%s,6,%d,5,-,caller=%s;%s\n SUBSYSTEM=%s\n %s=%s\n cpu=1\n taskname=%s\n release=%s\n"
            % (release, seq, keys, text, device, key, value, task, release),
            b"6,%d,5,-;%s\n %s=%s\n" % (seq, text, key, value),
            b"6,%d,5,-,ncfrag=0/900;%s." % (seq, text),
            b"<6>[   12.345678][  T12] %s\n" % text,
            text + keys,
        ]
        made.append(draw(st.sampled_from(forms)))
    return made


def received(sent: list[bytes], sender: bytes = source().key) -> list[Message]:
    """What comes of them."""
    table = SourceTable(WorkerCounters(), limit=9, hold=0.2, gc_interval=0.0, age=0.0)
    return table.feed([sender] * len(sent), sent, 1.5e9, 0.0) + table.flush()


SGR = re.compile(r"\x1b\[[0-9;]*m")


def harmless(text: str) -> bool:
    """Whether a text has lines of printable characters only, and ends with the last one."""
    return text.endswith("\n") and all(line.isprintable() for line in text[:-1].split("\n"))


@examples(200)
@given(st.sampled_from(["person", "netconsd"]), st.sampled_from(["never", "always"]), datagrams())
def test_the_printer(format: str, color: str, sent: list[bytes]) -> None:
    """Nothing but printable lines, and the colours of the printer itself, each switched off where its line ends."""
    messages = received(sent)
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as out:
        printer = Printer(format=format, color=color)  # type: ignore[arg-type]
        with patch.object(sys, "__stdout__", out):
            printer.start(1)
        printer.handle_batch(0, messages)
        out.seek(0)
        text = out.read()
    if color == "never":
        assert not messages or harmless(text)
    assert SGR.sub("", text) == "" or harmless(SGR.sub("", text))
    for line in text.split("\n"):
        codes = SGR.findall(line)
        assert codes[1::2] == ["\x1b[m"] * (len(codes) // 2), "every colour ends"
        assert set(codes[::2]) <= {f"\x1b[{code}m" for code in ("2", "31", "33", "1", "1;31", "1;35", "1;97;41")}
    if format == "netconsd":
        assert text.count("\n") == len(messages)
    # What stands at the left is a time of receipt, or the spaces under it: no line can be taken for another message.
    elif color == "never":
        starts = re.findall(r"^07-14 ", text, re.MULTILINE)
        assert len(starts) == len(messages)


@examples(100)
@given(sent=datagrams())
def test_the_logger(sent: list[bytes]) -> None:
    """One printable line in UTF-8 for each message, and the file's name is what the address says."""
    messages = received(sent)
    lines = log_lines(messages)
    assert not messages or harmless(lines.decode())
    assert lines.count(b"\n") == len(messages)
    assert set(by_file(messages, {}, lambda sender: sender.address)) <= {"192.0.2.1"}


@examples(100)
@given(sent=datagrams())
def test_ncrx(sent: list[bytes]) -> None:
    """The tool prints printable lines, and what it says itself stands in brackets at the left."""
    out = io.StringIO()
    messages = received(sent)
    Display(partial(print, file=out)).show(messages)
    assert not messages or harmless(out.getvalue())


@examples(50)
@given(sent=datagrams())
def test_the_selftest(sent: list[bytes]) -> None:
    """What it says of messages that are not as they were sent is one printable line for each thing."""
    token = "0123abcd"
    known = known_messages(token, 5)
    arrived = received([b"6,1,2,-;" + PREFIX.encode() + b" 0123abcd full " + sent[0] + b"\n", *sent])
    said = faults(known, arrived, token)
    assert said
    assert all(line.isprintable() for line in said)


@examples(25)
@given(sent=datagrams())
def test_the_metrics(sent: list[bytes]) -> None:
    """However it is called, the page has the lines that it has without a message: nothing that arrived is in it."""
    prometheus_client = pytest.importorskip("prometheus_client")
    from netconsd.monitor.prometheus import registry as make_registry

    def page(*arrived: bytes) -> list[str]:
        outputs = Outputs({"module": RecordingModule()}, 1)
        done(outputs.start(HERE))
        lane = lane_with(outputs.deliver)
        put(lane, *arrived)
        run(lane)
        registry = make_registry(lambda: take([], [lane], outputs.started, 0.0), Settings())
        lines = prometheus_client.generate_latest(registry).decode().splitlines()
        return [line.rpartition(" ")[0] for line in lines if line[0] != "#"]

    assert page(*sent) == page()


@examples(100)
@given(text=weapons)
def test_what_a_module_raises(text: bytes) -> None:
    """A module may raise what it was sent: in the log every line of it is printable, and below the event's own."""

    class Raises(RecordingModule):
        def handle(self, worker: int, message: Message) -> None:
            raise ValueError(message.raw.decode("utf-8", "surrogateescape"))

    outputs = Outputs({"bad": Raises()}, 1)
    done(outputs.start(HERE))
    with capturedLogs() as captured:
        outputs.deliver(0, received([b"6,1,2,-;" + text + b".\n"]))
    (told,) = map(eventAsText, captured)
    assert harmless(told + "\n" if not told.endswith("\n") else told)
    assert "ValueError" in told


def test_the_list_of_senders() -> None:
    """The names in it are addresses, made by us of sixteen bytes, whatever those are."""
    from netconsd.monitor.pages import _json
    from netconsd.monitor.top_senders import TopList

    table = SourceTable(WorkerCounters(), limit=300, hold=0.2, gc_interval=0.0, age=0.0)
    keys = [bytes([number]) * 18 for number in range(256)]
    table.feed(keys, [b'"\x1b[2J\n'] * 256, 0.0, 0.0)
    shown = json.loads(_json(TopList("datagrams", tuple(table.top(256, "datagrams"))), 256))
    assert len(shown["senders"]) == 256
    assert all(re.fullmatch(r"[0-9a-f:.]+", sender["address"]) for sender in shown["senders"])
