"""Bytes of an attacker cannot control a terminal, forge a line of a log, or appear in a metric."""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from functools import partial
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, eventAsText

from modules.printer import Printer
from netconsd.cli.ncrx import Display
from netconsd.logger.lines import by_file, log_lines
from netconsd.monitor.snapshot import take
from netconsd.outputs.runner import Outputs
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import Message
from netconsd.protocol.table import SourceTable
from netconsd.send.probe import PREFIX, discrepancies, probe_messages
from netconsd.settings import Settings
from netconsd.testing import RecordingModule
from tests.support.hostile import hostile_bytes, hostile_datagrams, is_printable_lines, messages_of
from tests.support.loggers import ManualReactor
from tests.support.scripted_lane import lane_with, put, run

SGR = re.compile(r"\x1b\[[0-9;]*m")


def started(module: RecordingModule, reactor: ManualReactor) -> Outputs:
    """Return the outputs of one module and one worker."""
    outputs = Outputs({"module": module}, 1)
    Deferred.fromCoroutine(outputs.start(reactor))
    assert outputs.started
    return outputs


@settings(max_examples=200)
@given(
    st.sampled_from(["person", "short", "netconsd"]),
    st.sampled_from(["never", "always"]),
    st.sampled_from([(), ("all",)]),
    hostile_datagrams(),
)
def test_the_printer(format: str, color: str, fields: tuple[str, ...], sent: list[bytes]) -> None:
    """The printer prints printable lines only, with its own colours, each reset before the end of its line."""
    messages = messages_of(sent)
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as out:
        printer = Printer(format=format, color=color, fields=fields)  # type: ignore[arg-type]
        with patch.object(sys, "__stdout__", out):
            printer.start(1)
        printer.handle_batch(0, messages)
        out.seek(0)
        text = out.read()
    if color == "never":
        assert not messages or is_printable_lines(text)
    assert SGR.sub("", text) == "" or is_printable_lines(SGR.sub("", text))
    for line in text.split("\n"):
        codes = SGR.findall(line)
        assert codes[1::2] == ["\x1b[m"] * (len(codes) // 2), "every colour is reset"
        assert set(codes[::2]) <= {f"\x1b[{code}m" for code in ("2", "31", "33", "1", "1;31", "1;35", "1;97;41")}
    if format == "netconsd":
        assert text.count("\n") == len(messages)
    # A line begins with a time of receipt or with spaces, so a text cannot forge another message.
    elif color == "never":
        starts = re.findall(r"^07-14 " if format == "person" else r"^\d\d:40:00 ", text, re.MULTILINE)
        assert len(starts) == len(messages)


@given(sent=hostile_datagrams())
def test_the_logger(sent: list[bytes]) -> None:
    """There is one printable line in UTF-8 per message, and the file has the name of the address."""
    messages = messages_of(sent)
    lines = log_lines(messages)
    assert not messages or is_printable_lines(lines.decode())
    assert lines.count(b"\n") == len(messages)
    assert set(by_file(messages, {}, lambda message: message.source.address)) <= {"192.0.2.1"}


@given(sent=hostile_datagrams())
def test_ncrx(sent: list[bytes]) -> None:
    """The tool prints printable lines only."""
    out = io.StringIO()
    messages = messages_of(sent)
    Display(partial(print, file=out)).show(messages)
    assert not messages or is_printable_lines(out.getvalue())


@settings(max_examples=50)
@given(sent=hostile_datagrams())
def test_the_selftest(sent: list[bytes]) -> None:
    """The text about an altered message is one printable line per difference."""
    token = "0123abcd"
    known = probe_messages(token, 5)
    arrived = messages_of([b"6,1,2,-;" + PREFIX.encode() + b" 0123abcd full " + sent[0] + b"\n", *sent])
    differences = discrepancies(known, arrived, token)
    assert differences
    assert all(line.isprintable() for line in differences)


@settings(max_examples=25)
@given(sent=hostile_datagrams())
def test_the_metrics(sent: list[bytes]) -> None:
    """The metrics have the same lines with and without messages: no received byte is in them."""
    prometheus_client = pytest.importorskip("prometheus_client")
    from netconsd.monitor.prometheus import registry as make_registry

    def page(*arrived: bytes) -> list[str]:
        outputs = started(RecordingModule(), ManualReactor())
        lane = lane_with(outputs.deliver)
        put(lane, *arrived)
        run(lane)
        registry = make_registry(lambda: take([], [lane], outputs.started, 0.0), Settings())
        lines = prometheus_client.generate_latest(registry).decode().splitlines()
        return [line.rpartition(" ")[0] for line in lines if line[0] != "#"]

    assert page(*sent) == page()


@given(text=hostile_bytes)
def test_an_exception_of_a_module(text: bytes) -> None:
    """A logged exception with a hostile text is printable lines, below the event's own line."""

    class Raises(RecordingModule):
        def handle(self, worker: int, message: Message) -> None:
            raise ValueError(message.raw.decode("utf-8", "surrogateescape"))

    reactor = ManualReactor()
    outputs = started(Raises(), reactor)
    with capturedLogs() as captured:
        outputs.deliver(0, messages_of([b"6,1,2,-;" + text + b".\n"]))
        reactor.run_calls()
    (event,) = map(eventAsText, captured)
    assert is_printable_lines(event.removesuffix("\n") + "\n")
    assert "ValueError" in event


def test_the_list_of_senders() -> None:
    """The names in the list are addresses, rendered from any sixteen bytes."""
    from netconsd.monitor.pages import _json, _lines
    from netconsd.monitor.top_senders import TopList

    table = SourceTable(WorkerCounters(), limit=300, reorder_time=0.2, gc_interval=0.0, age=0.0)
    keys = [bytes([number]) * 18 for number in range(256)]
    table.feed(keys, [b'"\x1b[2J\n'] * 256, 0.0, 0.0)
    top = TopList("datagrams", tuple(table.top(256, "datagrams")))
    shown = json.loads(_json(top, _lines(top)))
    assert len(shown["senders"]) == 256
    assert all(re.fullmatch(r"[0-9a-f:.]+", sender["address"]) for sender in shown["senders"])
