"""netcons-gen as a command: its events, its formats, and its destinations."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path

import pytest

from netconsd.cli import gen
from netconsd.cli.gen import SKIP, Step, steps
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.encode import CHUNK
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.stream import Stream
from netconsd.testing import source
from tests.support.scripted_lane import PATIENCE

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "netconsd", "gen"]
# Empty means unset: these tests are about buffering.
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": ""}


def written(*options: str) -> list[bytes]:
    """The datagrams written for the options, with simulated pauses of 10 ms."""
    datagrams: list[bytes] = []
    now = [5_000_000_000]

    def sleep(seconds: float) -> None:
        now[0] += int(seconds * 1e9)

    parsed = gen.parser("netcons-gen").parse_args(["-q", "--interval", "0.01", *options])
    gen.write_messages(parsed, datagrams.append, sleep=sleep, clock=lambda: now[0])
    return datagrams


def read(datagrams: Sequence[bytes]) -> list[Message]:
    """The messages that a receiver decodes from the datagrams."""
    stream = Stream(source(), WorkerCounters(), 0.2)
    out: list[Message] = []
    for datagram in datagrams:
        stream.feed(datagram, 1.0, 1.0, out)
    stream.flush(out)
    return out


def first_steps(count: int, **events: bool) -> list[Step]:
    """The first ``count`` steps."""
    return list(islice(steps(random.Random(5), **events), count))


def test_without_events() -> None:
    """Without events the numbers are consecutive."""
    assert first_steps(50) == [Step(number, number + 1, False, "") for number in range(50)]


def test_skip() -> None:
    """About half of the messages skip 1 to 5 numbers; the msgids are consecutive."""
    sequence = first_steps(400, skip=True)
    gaps = [(after.event, after.seq - before.seq - 1) for before, after in pairwise(sequence)]
    assert {gap for event, gap in gaps if event == "skip"} == set(range(1, SKIP + 1))
    assert {gap for event, gap in gaps if event == ""} == {0}
    assert 100 < sum(event == "skip" for event, _ in gaps) < 300
    assert [step.msgid for step in sequence] == list(range(1, 401))
    assert not any(step.continuation for step in sequence)


def test_reset() -> None:
    """A reset restarts the seq at 0 and the msgid at 1."""
    sequence = first_steps(200, reset=True)
    for before, after in pairwise(sequence):
        expected = Step(0, 1, False, "reset") if after.event else Step(before.seq + 1, before.msgid + 1, False, "")
        assert after == expected
    assert 50 < sum(step.event == "reset" for step in sequence) < 150


def test_continuations() -> None:
    """About half of the messages are continuations; the numbers are consecutive."""
    sequence = first_steps(200, cont=True)
    assert [step.seq for step in sequence] == list(range(200))
    assert 50 < sum(step.continuation for step in sequence) < 150


def test_all_events() -> None:
    """Events can be combined."""
    sequence = first_steps(200, skip=True, reset=True, cont=True)
    assert {step.event for step in sequence} == {"", "skip", "reset"}
    assert {step.continuation for step in sequence} == {True, False}


def test_highest_number() -> None:
    """The seq wraps from 2**64 - 1 to 0."""
    sequence = islice(steps(random.Random(1), seq=2**64 - 1), 2)
    assert [step.seq for step in sequence] == [2**64 - 1, 0]


def test_events_at_a_receiver() -> None:
    """A receiver sees skipped numbers as missing but not lost, and marks resets and continuations."""
    messages = read(written("--count", "100", "--skip", "--reset", "--cont", "--msgid", "--seed", "2"))
    expected = list(islice(steps(random.Random(2), skip=True, reset=True, cont=True), 100))
    extended = [message for message in messages if isinstance(message, ExtendedMessage)]
    assert [(message.seq, message.msgid, message.continuation) for message in extended] == [
        (step.seq, step.msgid, step.continuation) for step in expected
    ]
    assert [message.seq_reset for message in extended] == [
        number == 0 or step.event == "reset" for number, step in enumerate(expected)
    ]
    assert [message.missing > 0 for message in extended] == [step.event == "skip" for step in expected]
    assert not any(message.lost for message in extended)


def test_defaults() -> None:
    """The default is the C tool's message: a kernel error with the text "hi"."""
    assert written("--count", "2") == [b"3,0,5000000,-;hi\n", b"3,1,5010000,-;hi\n"]


def test_every_field() -> None:
    """Each option is a field of the message."""
    header = ["--level", "2", "--facility", "3", "--release", "6.12.1", "--caller", "T7"]
    options = [*header, "--userdata", "a=b c", "--msgid"]
    assert written("--count", "1", "--seq", "9", "--text", "grün", "--userdata", "d=", *options) == [
        b"6.12.1,26,9,5000000,-,caller=T7;gr\\xc3\\xbcn\n d=\n a=b c\n msgid=1\n"
    ]


def test_legacy() -> None:
    """A legacy message is a line of console text; a long one is cut every 1000 bytes."""
    assert written("--count", "1", "--legacy", "--level", "6") == [b"<6>[    5.000000] hi\n"]
    long = written("--count", "1", "--legacy", "--text", "x" * 2500)
    assert [len(datagram) for datagram in long[:-1]] == [CHUNK, CHUNK]
    assert [message.text for message in read(long)] == ["x" * 2500]


def test_fragments() -> None:
    """A text too long for one datagram is sent in fragments, which a receiver reassembles."""
    long = written("--count", "1", "--text", "y" * 2500)
    assert len(long) == 3
    assert [message.text for message in read(long)] == ["y" * 2500]


@pytest.mark.parametrize("options", [["--count", "3"], ["--count", "3", "--text", "z" * 1500]])
def test_destination(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With an address the messages are sent there, and stderr has a line per message."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        there.settimeout(PATIENCE)
        assert gen.main(["127.0.0.1", str(there.getsockname()[1]), "--interval", "0", *options]) == 0
        pieces = 1 if len(options) == 2 else 2
        datagrams = [there.recv(2000) for _ in range(3 * pieces)]
    assert len(read(datagrams)) == 3
    assert capsys.readouterr() == ("", "seq 0\nseq 0 -> 1\nseq 1 -> 2\n")


def test_standard_output_and_a_signal() -> None:
    """Each message is written to standard output immediately; SIGINT ends the program with status 0."""
    with subprocess.Popen(
        [*COMMAND, "--interval", "100"], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline().endswith(b",-;hi\n")
            assert process.stderr.readline() == b"seq 0\n"
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 0
    assert rest == (b"", b"")


def test_closed_pipe() -> None:
    """A reader that closes the pipe is not an error."""
    done = subprocess.run(
        f"{' '.join(COMMAND)} -q --interval 0 | head -n 2", shell=True, cwd=ROOT, env=ENVIRONMENT, capture_output=True,
        timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.count(b"\n") == 2
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["127.0.0.1"], "ADDRESS: a PORT must follow it"),
        (["127.0.0.1", "0"], "argument PORT: 0 is not from 1 to 65535"),
        (["--level", "8"], "argument --level: 8 is not from 0 to 7"),
        (["--seq", "-1"], "argument --seq: -1 is not from 0 to 18446744073709551615"),
        (["--interval", "-1"], "argument --interval: -1 is not from 0 to 86400"),
        (["--release", "a b"], "argument --release: 'a b' is not 1 to 64 ASCII characters"),
        (["--release", "x" * 65], "is not 1 to 64 ASCII characters"),
        (["--caller", "X1"], "argument --caller: 'X1' is not T or C and a number"),
        (["--userdata", "novalue"], "argument --userdata: 'novalue' is not KEY=VALUE"),
        (["--text", "\udcff"], "is not UTF-8"),
    ],
)
def test_bad_options(options: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid value is an error of one line that names the option, and status 2."""
    with pytest.raises(SystemExit) as raised:
        gen.main(options)
    assert raised.value.code == 2
    assert error in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("address", "error"), [("here", "netcons-gen: here: "), ("255.255.255.255", "netcons-gen: 255.255.255.255: ")]
)
def test_address_refused(address: str, error: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid address, or one that the kernel refuses, is an error of one line, and status 1."""
    assert gen.main([address, "1514", "-q", "--count", "1"]) == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith(error)
    assert stderr.count("\n") == 1
