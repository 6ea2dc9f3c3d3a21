"""netconsblaster as a command: its options, its summary, and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.cli import blaster
from netconsd.protocol.encode import CHUNK
from netconsd.send.fleet import FIRST_SEQ
from netconsd.send.source_addresses import AddressError
from tests.support.scripted_lane import PATIENCE

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "netconsd", "blaster"]


@pytest.fixture
def there() -> Iterator[socket.socket]:
    """A receiver at 127.0.0.1 whose buffer holds the datagrams of a test."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.setblocking(False)
        yield opened


def port_of(there: socket.socket) -> str:
    """The receiver's port, as the value of an option."""
    return str(there.getsockname()[1])


def arrived(there: socket.socket) -> list[tuple[str, bytes]]:
    """The address and contents of all datagrams that arrived."""
    datagrams = []
    try:
        while True:
            datagram, address = there.recvfrom(2000)
            datagrams.append((address[0], datagram))
    except BlockingIOError:
        return datagrams


def seqs_of(datagrams: list[tuple[str, bytes]]) -> list[bytes]:
    """The seq of each datagram."""
    return [datagram.split(b",")[1] for _, datagram in datagrams]


def test_json(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON summary has the numbers of datagrams, bytes and senders that arrived, and netconsd's counters."""
    faulty = ["--loss", "10", "--duplicate", "10", "--seed", "3"]
    assert blaster.main(["-p", port_of(there), "-n", "100", "-o", "4", "--json", *faulty]) == 0
    summary = json.loads(capsys.readouterr().out)
    datagrams = arrived(there)
    assert summary["sent"] == {
        "messages": 100, "datagrams": len(datagrams), "octets": sum(len(datagram) for _, datagram in datagrams),
        "senders": len({address for address, _ in datagrams}),
    }  # fmt: skip
    faults = summary["faults"]
    assert len(datagrams) == 100 - faults["lost"] + faults["duplicated"]
    assert faults["lost"] > 0 and faults["duplicated"] > 0
    assert summary["netconsd"]["datagrams"] == len(datagrams)
    assert summary["netconsd"]["messages"] == len({datagram for _, datagram in datagrams})
    assert (summary["format"], summary["seed"]) == ("extended", 3)


def test_same_seed(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """The seed that the summary names repeats the faults."""
    options = ["-p", port_of(there), "-n", "150", "-o", "2", "--loss", "20"]
    assert blaster.main(options) == 0
    summary = capsys.readouterr().out
    first = arrived(there)
    assert blaster.main([*options, "--seed", summary.partition("--seed ")[2].split()[0]]) == 0
    assert capsys.readouterr().out.splitlines()[1] == summary.splitlines()[1]
    assert [datagram.split(b",")[1] for _, datagram in arrived(there)] == [
        datagram.split(b",")[1] for _, datagram in first
    ]


def test_other_seed(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """Another seed gives other faults."""
    seqs = []
    for seed in ("1", "2"):
        assert blaster.main(["-p", port_of(there), "-n", "100", "-o", "2", "--loss", "20", "--seed", seed]) == 0
        seqs.append(seqs_of(arrived(there)))
    assert seqs[0] != seqs[1]


def test_threads_share_the_rate(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """The rate is that of all threads together, and the signal handlers are restored."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert blaster.main(["-p", port_of(there), "-n", "50", "-t", "1", "--rate", "500", "--json"]) == 0
    # A busy machine may be slower.
    assert json.loads(capsys.readouterr().out)["seconds"] >= 0.19
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_threads_share_the_addresses(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """2^t threads send n messages each, from different addresses."""
    assert blaster.main(["-p", port_of(there), "-n", "6", "-o", "4", "-t", "2", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    datagrams = arrived(there)
    assert summary["sent"]["messages"] == len(datagrams) == 24
    numbers: dict[str, list[int]] = {}
    for address, datagram in datagrams:
        numbers.setdefault(address, []).append(int(datagram.split(b",")[1]))
    assert sorted(numbers) == sorted(f"127.64.0.{number}" for number in range(16))
    assert all(len(set(seqs)) == len(seqs) for seqs in numbers.values())


def test_summary(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """The summary has the numbers sent, the faults, and the counters of netconsd."""
    options = ["-p", port_of(there), "-n", "40", "-o", "0", "--loss", "50", "--seed", "1", "--format", "sysdata"]
    assert blaster.main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    datagrams = arrived(there)
    count = len(datagrams)
    octets = sum(len(datagram) for _, datagram in datagrams)
    assert lines[0].startswith(f"Sent {count} datagrams ({octets} bytes) of 40 messages from 1 sender in ")
    assert lines[1] == f"Faults: {40 - count} lost, 0 sent twice, 0 reordered; repeat them with --seed 1"
    # A receiver cannot notice a loss after the last datagram that arrived.
    missing = int(datagrams[-1][1].split(b",")[2]) - FIRST_SEQ + 1 - count
    assert 0 < missing < 40
    assert lines[2] == (
        f"If all of it arrives, netconsd counts: {count} datagrams, {count} messages, 1 sender, missing {missing}, "
        f"lost {missing}"
    )


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["-o", "57"], "argument -o: 57 is not from 0 to 56"),
        (["-t", "9"], "argument -t: 9 is not from 0 to 8"),
        (["-t", "3", "-o", "2"], "-t 3: more threads than addresses; raise -o 2"),
        (["-p", "0"], "argument -p: 0 is not from 1 to 65535"),
        (["-n", "-1"], "argument -n: -1 is not from 0 up"),
        (["-n", "many"], "argument -n: 'many' is not a number"),
        (["--rate", "nan"], "argument --rate: nan is not from 0 up"),
        (["--rate", "inf"], "argument --rate: inf is not from 0 up"),
        (["--loss", "101"], "argument --loss: 101 is not from 0 to 100"),
        (["--size", str(CHUNK + 1)], "--size: 1001 is not between 27 and 1000 bytes"),
        (["--format", "xml"], "argument --format: invalid choice: 'xml'"),
    ],
)
def test_bad_options(options: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid value is an error of one line that names the option, and status 2."""
    with pytest.raises(SystemExit) as raised:
        blaster.main(options)
    assert raised.value.code == 2
    assert error in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["-d", "localhost"], "netconsblaster: -d localhost: "),
        (["-d", "::1", "-s", "127.0.0.1"], "netconsblaster: -s 127.0.0.1 and -d ::1 "),
        (["-o", "23"], "netconsblaster: -o 23: "),
        # A broadcast address needs SO_BROADCAST, which is not set.
        (["-d", "255.255.255.255", "-n", "1"], "netconsblaster: -d 255.255.255.255: "),
    ],
)
def test_addresses_refused(options: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Addresses that do not fit, or that the kernel refuses, are an error of one line, and status 1; no summary."""
    assert blaster.main(options) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(error)
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_default_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is 127.0.0.1, from 65,536 loopback addresses; to other destinations, one source address."""
    calls: list[Any] = []

    def refuse(target: Any, source: Any, bits: int) -> Any:
        calls.append((target.name, target.port, source, bits))
        raise AddressError("enough")

    monkeypatch.setattr(blaster, "open_source_addresses", refuse)
    for options in ([], ["-d", "192.0.2.1"], ["-d", "::1"]):
        assert blaster.main(options) == 1
    assert calls == [("127.0.0.1", 1514, None, 16), ("192.0.2.1", 1514, None, 0), ("::1", 1514, None, 0)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal(number: int, there: socket.socket) -> None:
    """SIGINT and SIGTERM end it with progress on stderr, the summary on stdout, and status 0."""
    # The buffer has room for the datagrams of some seconds.
    options = ["-p", port_of(there), "-o", "3", "--rate", "40", "--json", "--progress", "--reorder", "30"]
    with subprocess.Popen(
        [*COMMAND, *options], cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            while int(line.split()[0]) < 20:
                line = process.stderr.readline()
            process.send_signal(number)
            out, rest = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 0
    assert line.split()[1].startswith("datagrams")
    assert "Traceback" not in rest
    summary = json.loads(out)
    assert summary["sent"]["datagrams"] == summary["sent"]["messages"] == len(arrived(there)) >= 20
    assert summary["faults"]["reordered"] > 0
