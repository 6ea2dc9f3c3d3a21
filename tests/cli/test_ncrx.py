"""ncrx: what it prints of messages, whom it answers; its options."""

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
    """The lines that are printed for messages, without the first, which names the sender."""
    stream = io.StringIO()
    Display(partial(print, file=stream)).show(list(messages))
    first, *lines = stream.getvalue().splitlines()
    assert first == "[        FROM] 192.0.2.1 port 6665"
    return lines


def test_a_message() -> None:
    """A message is its time since boot and its text."""
    assert shown(extended_message("hello", seq=3, ts_usec=5140900)) == ["[    5.140900] hello"]


@pytest.mark.parametrize(
    ("marks", "line"),
    [
        ({"seq_reset": True}, "[   SEQ RESET] seq=3"),
        ({"missing": 1}, "[ SEQ SKIPPED] 1 message skipped"),
        ({"missing": 7}, "[ SEQ SKIPPED] 7 messages skipped"),
        ({"lost": 2}, "[        LOST] 2 messages lost, by msgid"),
    ],
)
def test_what_is_said_before_a_message(marks: dict[str, Any], line: str) -> None:
    """Resets, skipped numbers and losses have a line of their own before the message."""
    assert shown(extended_message("x", seq=3, ts_usec=1, **marks)) == [line, "[    0.000001] x"]


def test_out_of_order_and_legacy() -> None:
    """A late message, and what is no record, stand behind a word instead of the time."""
    assert shown(extended_message("x", out_of_order=True), legacy_message("text")) == [
        "[         OOS] x",
        "[       INVAL] text",
    ]


def test_text_cannot_move_the_cursor() -> None:
    """Escape sequences and newlines in a message are shown, not obeyed."""
    assert shown(extended_message(b"\x1b[2J\nforged", ts_usec=1)) == ["[    0.000001] \\x1b[2J\\x0aforged"]


def test_senders_are_named_when_they_change() -> None:
    """The sender is named before its first message, and again whenever it is another one than before."""
    stream = io.StringIO()
    display = Display(partial(print, file=stream))
    for address in ("192.0.2.1", "192.0.2.1", "2001:db8::1", "192.0.2.1"):
        display.show([extended_message("x", address=address)])
    said = [line for line in stream.getvalue().splitlines() if "FROM" in line]
    assert said == [
        "[        FROM] 192.0.2.1 port 6665",
        "[        FROM] 2001:db8::1 port 6665",
        "[        FROM] 192.0.2.1 port 6665",
    ]


class Bench:
    """A watch on a real socket in a time that the test moves, and a sender."""

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
        """What is printed when these records come after so many seconds."""
        self.now += seconds
        for seq in seqs:
            self.sender.sendto(extended(str(seq), seq=seq, ts_usec=1), self.bound.getsockname())
        before = len(self.stream.getvalue())
        self.watch.turn()
        return self.stream.getvalue()[before:].splitlines()

    def answers(self) -> list[bytes]:
        """The acknowledgements that came."""
        found = []
        while True:
            try:
                found.append(self.sender.recv(2000))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self.bound.close()
        self.sender.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A watch that acknowledges."""
    with closing(Bench(acks=True)) as made:
        yield made


def test_it_prints_and_acknowledges(bench: Bench) -> None:
    """Records are printed and acknowledged; one behind a gap waits, and what is missing is asked for."""
    assert bench.turn(1)[1:] == ["[   SEQ RESET] seq=1", "[    0.000001] 1"]
    assert bench.answers() == [b"ncrx1"]
    assert bench.turn(3, seconds=0.1) == []
    assert bench.answers() == [b"ncrx1 2"]
    assert bench.turn(2, seconds=0.1) == ["[    0.000001] 2", "[    0.000001] 3"]
    assert bench.answers() == [b"ncrx3"]
    assert bench.timeouts[0] is None


def test_a_gap_is_given_up_in_time(bench: Bench) -> None:
    """What waited long enough is printed without another datagram, with the number of those skipped."""
    bench.turn(1)
    bench.turn(4)
    assert bench.turn(seconds=1.0) == ["[ SEQ SKIPPED] 2 messages skipped", "[    0.000001] 4"]


def test_what_waits_is_printed_at_the_end(bench: Bench) -> None:
    """The end gives up waiting: nothing that came is lost, and the sender learns of it."""
    bench.turn(1)
    bench.turn(4)
    bench.answers()
    bench.watch.finish()
    assert bench.stream.getvalue().endswith("[    0.000001] 4\n")
    assert bench.answers() == [b"ncrx4 2 3"]


def test_it_can_keep_quiet() -> None:
    """Without acknowledgements nothing is sent."""
    with closing(Bench(acks=False)) as quiet:
        quiet.turn(1, 3)
        quiet.watch.finish()
        assert quiet.answers() == []


def test_a_port_in_use(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """A port in use is one line and status 1."""
    assert main(["-a", "127.0.0.1", str(bench.bound.getsockname()[1])]) == 1
    told = capsys.readouterr().err
    assert told.startswith("ncrx: port: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "PORT"),
        (["70000"], "70000 is not between 0 and 65535"),
        (["x"], "'x' is not a whole number"),
        (["--reorder", "60001", "1514"], "60001 is not between 0 and 60000 milliseconds"),
    ],
)
def test_bad_options(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad option ends with status 2 and says what would be good."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_the_default_is_within_the_bounds() -> None:
    """The reorder time that is used without an option is one that can be given."""
    assert Settings(reorder=DEFAULT_REORDER_MS / 1000).reorder == 1.0
