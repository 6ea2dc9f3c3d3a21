"""ncrx: the lines it prints, its acknowledgements and its options."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from netconsd.cli.ncrx import DEFAULT_REORDER_MS, Display, Watch, main
from netconsd.settings import Settings
from netconsd.testing import extended, extended_message, legacy_message


def shown(*messages: Any) -> list[str]:
    """The lines printed for the messages, without the first, which names the sender."""
    stream = io.StringIO()
    Display(partial(print, file=stream)).show(list(messages))
    first, *lines = stream.getvalue().splitlines()
    assert first == "[        FROM] 192.0.2.1 port 6665"
    return lines


def test_a_message() -> None:
    """A message is printed as its time since boot and its text."""
    assert shown(extended_message("hello", seq=3, ts_usec=5140900)) == ["[    5.140900] hello"]


@pytest.mark.parametrize(
    ("marks", "line"),
    [
        ({"seq_reset": True}, "[   SEQ RESET] seq=3"),
        ({"missing": 1}, "[ SEQ SKIPPED] 1 message skipped"),
        ({"missing": 7}, "[ SEQ SKIPPED] 7 messages skipped"),
    ],
)
def test_marks(marks: dict[str, Any], line: str) -> None:
    """Resets and skipped numbers are lines before the message."""
    assert shown(extended_message("x", seq=3, ts_usec=1, **marks)) == [line, "[    0.000001] x"]


def test_marks_before_the_text() -> None:
    """A message has the marks of printer and logger before its text; a blank continuation has no line."""
    message = extended_message("x", ts_usec=1, lost=2, out_of_order=True, new=True)
    assert shown(message, extended_message(" ", flag="c")) == ["[    0.000001] [new] [2 lost] [late] x"]


def test_legacy() -> None:
    """Legacy text is printed after a word instead of the time."""
    assert shown(legacy_message("text")) == ["[       INVAL] text"]


def test_control_characters() -> None:
    """Control characters in a message are escaped."""
    assert shown(extended_message(b"\x1b[2J\nforged", ts_usec=1)) == ["[    0.000001] \\x1b[2J\\x0aforged"]


def test_sender_line() -> None:
    """A line names the sender whenever it differs from the previous message's."""
    stream = io.StringIO()
    display = Display(partial(print, file=stream))
    for address in ("192.0.2.1", "192.0.2.1", "2001:db8::1", "192.0.2.1"):
        display.show([extended_message("x", address=address)])
    lines = [line for line in stream.getvalue().splitlines() if "FROM" in line]
    assert lines == [
        "[        FROM] 192.0.2.1 port 6665",
        "[        FROM] 2001:db8::1 port 6665",
        "[        FROM] 192.0.2.1 port 6665",
    ]


class Bench:
    """A Watch on a real socket with a clock that the test moves, and a sender."""

    def __init__(self, *, acks: bool) -> None:
        self.bound, self.sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for each in (self.bound, self.sender):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        self.now = 0.0
        self.stream = io.StringIO()
        self.timeouts: list[float | None] = []
        self.watch = Watch(
            self.bound,
            Settings(acks=acks, reorder=1.0),
            Display(partial(print, file=self.stream)),
            clock=lambda: self.now,
            wait=lambda bound, timeout: self.timeouts.append(timeout),
        )

    def turn(self, *seqs: int, seconds: float = 0.0) -> list[str]:
        """The lines printed when these records arrive after ``seconds``."""
        self.now += seconds
        for seq in seqs:
            self.sender.sendto(extended(str(seq), seq=seq, ts_usec=1), self.bound.getsockname())
        before = len(self.stream.getvalue())
        self.watch.turn()
        return self.stream.getvalue()[before:].splitlines()

    def answers(self) -> list[bytes]:
        """The acknowledgements that arrived."""
        answers = []
        while True:
            try:
                answers.append(self.sender.recv(2000))
            except BlockingIOError:
                return answers

    def close(self) -> None:
        self.bound.close()
        self.sender.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A Watch that acknowledges."""
    with closing(Bench(acks=True)) as opened:
        yield opened


def test_it_prints_and_acknowledges(bench: Bench) -> None:
    """Records are printed and acknowledged; a record after a gap is held, and the missing one requested."""
    assert bench.turn(1)[1:] == ["[   SEQ RESET] seq=1", "[    0.000001] [new] 1"]
    assert bench.answers() == [b"ncrx1"]
    assert bench.turn(3, seconds=0.1) == []
    assert bench.answers() == [b"ncrx1 2"]
    assert bench.turn(2, seconds=0.1) == ["[    0.000001] 2", "[    0.000001] 3"]
    assert bench.answers() == [b"ncrx3"]
    assert bench.timeouts[0] is None


def test_gap(bench: Bench) -> None:
    """After the reorder time a held record is printed, after the number of skipped ones."""
    bench.turn(1)
    bench.turn(4)
    assert bench.turn(seconds=1.0) == ["[ SEQ SKIPPED] 2 messages skipped", "[    0.000001] 4"]


def test_finish(bench: Bench) -> None:
    """``finish`` prints the held records and acknowledges them."""
    bench.turn(1)
    bench.turn(4)
    bench.answers()
    bench.watch.finish()
    assert bench.stream.getvalue().endswith("[    0.000001] 4\n")
    assert bench.answers() == [b"ncrx4 2 3"]


def test_no_acks() -> None:
    """With ``--no-acks`` nothing is sent."""
    with closing(Bench(acks=False)) as quiet:
        quiet.turn(1, 3)
        quiet.watch.finish()
        assert quiet.answers() == []


def test_port_in_use(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """A port in use is an error of one line and status 1."""
    assert main(["-a", "127.0.0.1", str(bench.bound.getsockname()[1])]) == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith("ncrx: port: ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "PORT"),
        (["70000"], "70000"),
        (["x"], "'x' is not a whole number"),
        (["--reorder", "60001", "1514"], "60001"),
    ],
)
def test_bad_options(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad option ends with status 2 and an error that names valid values."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert error in capsys.readouterr().err


def test_default_reorder_time() -> None:
    """The default reorder time is within the bounds of the setting."""
    assert Settings(reorder=DEFAULT_REORDER_MS / 1000).reorder == 1.0
