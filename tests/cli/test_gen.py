"""netcons-gen as a command: its modes, its formats, and where it writes."""

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

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "netconsd", "gen"]
# Empty: as if it were not set. Buffering is what is tested.
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": ""}


def written(*options: str) -> list[bytes]:
    """The datagrams that the options make, a hundredth of a second apart, without waiting for them."""
    found: list[bytes] = []
    now = [5_000_000_000]

    def sleep(seconds: float) -> None:
        now[0] += int(seconds * 1e9)

    given = gen.parser("netcons-gen").parse_args(["-q", "--interval", "0.01", *options])
    gen.generate(given, found.append, sleep=sleep, clock=lambda: now[0])
    return found


def read(datagrams: Sequence[bytes]) -> list[Message]:
    """The messages that a receiver makes of the datagrams."""
    stream = Stream(source(), WorkerCounters(), 0.2)
    out: list[Message] = []
    for datagram in datagrams:
        stream.feed(datagram, 1.0, 1.0, out)
    stream.flush(out)
    return out


def taken(count: int, **modes: bool) -> list[Step]:
    """The first messages' places in the numbering."""
    return list(islice(steps(random.Random(5), **modes), count))


# The modes.


def test_without_modes_numbers_are_in_order() -> None:
    """Each message follows the last, and none is special."""
    assert taken(50) == [Step(number, number + 1, False, "") for number in range(50)]


def test_skip() -> None:
    """About every other message skips, 1 to 5 numbers, each number of them at some time; the msgid passes over none."""
    found = taken(400, skip=True)
    gaps = [(after.what, after.seq - before.seq - 1) for before, after in pairwise(found)]
    assert {gap for what, gap in gaps if what == "skip"} == set(range(1, SKIP + 1))
    assert {gap for what, gap in gaps if what == ""} == {0}
    assert 100 < sum(what == "skip" for what, _ in gaps) < 300
    assert [step.msgid for step in found] == list(range(1, 401))
    assert not any(step.continuation for step in found)


def test_reset() -> None:
    """A reset begins with 0 again, and so does the msgid with 1."""
    found = taken(200, reset=True)
    for before, after in pairwise(found):
        expected = Step(0, 1, False, "reset") if after.what else Step(before.seq + 1, before.msgid + 1, False, "")
        assert after == expected
    assert 50 < sum(step.what == "reset" for step in found) < 150


def test_continuations() -> None:
    """About every other message continues an earlier one; the numbers stay in order."""
    found = taken(200, cont=True)
    assert [step.seq for step in found] == list(range(200))
    assert 50 < sum(step.continuation for step in found) < 150


def test_all_modes_together() -> None:
    """Modes can be combined; all of them happen."""
    found = taken(200, skip=True, reset=True, cont=True)
    assert {step.what for step in found} == {"", "skip", "reset"}
    assert {step.continuation for step in found} == {True, False}


def test_the_last_number() -> None:
    """Behind the highest number comes 0."""
    found = islice(steps(random.Random(1), seq=2**64 - 1), 2)
    assert [step.seq for step in found] == [2**64 - 1, 0]


def test_a_receiver_sees_the_modes() -> None:
    """What is passed over is missing but not lost, a reset is a reset, a continuation is one."""
    messages = read(written("--count", "100", "--skip", "--reset", "--cont", "--msgid", "--seed", "2"))
    expected = list(islice(steps(random.Random(2), skip=True, reset=True, cont=True), 100))
    extended = [message for message in messages if isinstance(message, ExtendedMessage)]
    assert [(each.seq, each.msgid, each.continuation) for each in extended] == [
        (step.seq, step.msgid, step.continuation) for step in expected
    ]
    assert [each.seq_reset for each in extended] == [
        number == 0 or step.what == "reset" for number, step in enumerate(expected)
    ]
    assert [each.missing > 0 for each in extended] == [step.what == "skip" for step in expected]
    assert not any(each.lost for each in extended)


# What the messages hold.


def test_defaults() -> None:
    """Without options it is the C tool's message: an error of the kernel that says hi, by the clock."""
    assert written("--count", "2") == [b"3,0,5000000,-;hi\n", b"3,1,5010000,-;hi\n"]


def test_every_field() -> None:
    """Each option is a field of the message."""
    options = [
        "--level",
        "2",
        "--facility",
        "3",
        "--release",
        "6.12.1",
        "--caller",
        "T7",
        "--userdata",
        "a=b c",
        "--msgid",
    ]
    assert written("--count", "1", "--seq", "9", "--text", "grün", "--userdata", "d=", *options) == [
        b"6.12.1,26,9,5000000,-,caller=T7;gr\\xc3\\xbcn\n d=\n a=b c\n msgid=1\n"
    ]


def test_legacy() -> None:
    """The legacy format is a line of console text; a long one is cut as a kernel cuts."""
    assert written("--count", "1", "--legacy", "--level", "6") == [b"<6>[    5.000000] hi\n"]
    long = written("--count", "1", "--legacy", "--text", "x" * 2500)
    assert [len(datagram) for datagram in long[:-1]] == [CHUNK, CHUNK]
    assert [message.text for message in read(long)] == ["x" * 2500]


def test_a_long_text_goes_in_fragments() -> None:
    """What does not fit one datagram is cut, and a receiver puts it together."""
    long = written("--count", "1", "--text", "y" * 2500)
    assert len(long) == 3
    assert [message.text for message in read(long)] == ["y" * 2500]


# Where to.


@pytest.mark.parametrize("options", [["--count", "3"], ["--count", "3", "--text", "z" * 1500]])
def test_it_sends(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With an address, each datagram is one, and stderr has a line per message."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        there.settimeout(5)
        assert gen.main(["127.0.0.1", str(there.getsockname()[1]), "--interval", "0", *options]) == 0
        pieces = 1 if len(options) == 2 else 2
        arrived = [there.recv(2000) for _ in range(3 * pieces)]
    assert len(read(arrived)) == 3
    assert capsys.readouterr() == ("", "seq 0\nseq 0 -> 1\nseq 1 -> 2\n")


def test_standard_output_and_a_signal() -> None:
    """Each message is written at once, and Ctrl-C ends it without a complaint."""
    with subprocess.Popen(
        [*COMMAND, "--interval", "100"], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline().endswith(b",-;hi\n")
            assert process.stderr.readline() == b"seq 0\n"
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert rest == (b"", b"")


def test_a_reader_that_has_enough() -> None:
    """Whoever reads it may stop reading: that is no error."""
    done = subprocess.run(
        f"{' '.join(COMMAND)} -q --interval 0 | head -n 2", shell=True, cwd=ROOT, env=ENVIRONMENT, capture_output=True,
        timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.count(b"\n") == 2
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["127.0.0.1"], "ADDRESS: it needs a PORT behind it"),
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
def test_bad_options(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that cannot be is one line that names it, and status 2."""
    with pytest.raises(SystemExit) as raised:
        gen.main(options)
    assert raised.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("here", "netcons-gen: here: not an IPv4 or IPv6 address\n"),
        ("255.255.255.255", "netcons-gen: 255.255.255.255: "),
    ],
)
def test_what_cannot_be_sent(address: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An address that is none, or that the kernel refuses, is one line, and status 1."""
    assert gen.main([address, "1514", "-q", "--count", "1"]) == 1
    told_there = capsys.readouterr().err
    assert told_there.startswith(told)
    assert told_there.count("\n") == 1
