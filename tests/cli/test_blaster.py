"""netconsblaster as a command: its options, its account, and how it ends."""

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
from netconsd.send.source_addresses import OriginError

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "netconsd", "blaster"]


@pytest.fixture
def there() -> Iterator[socket.socket]:
    """A receiver at 127.0.0.1 with room for what these tests send."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.setblocking(False)
        yield opened


def port_of(there: socket.socket) -> str:
    """Its port, as an option's value."""
    return str(there.getsockname()[1])


def arrived(there: socket.socket) -> list[tuple[str, bytes]]:
    """All that has arrived: address and datagram."""
    found = []
    try:
        while True:
            datagram, address = there.recvfrom(2000)
            found.append((address[0], datagram))
    except BlockingIOError:
        return found


def test_json_is_what_was_sent(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """The account in JSON has what arrived: datagrams, bytes and senders; and what netconsd will say of it."""
    options = [
        "-p",
        port_of(there),
        "-n",
        "100",
        "-o",
        "4",
        "--json",
        "--loss",
        "10",
        "--duplicate",
        "10",
        "--seed",
        "3",
    ]
    assert blaster.main(options) == 0
    told = json.loads(capsys.readouterr().out)
    found = arrived(there)
    assert told["sent"] == {
        "messages": 100, "datagrams": len(found), "octets": sum(len(datagram) for _, datagram in found),
        "senders": len({address for address, _ in found}),
    }  # fmt: skip
    faults = told["faults"]
    assert len(found) == 100 - faults["lost"] + faults["duplicated"]
    assert faults["lost"] > 0 and faults["duplicated"] > 0
    assert told["netconsd"]["datagrams"] == len(found)
    assert told["netconsd"]["messages"] == len({datagram for _, datagram in found})
    assert (told["format"], told["seed"]) == ("extended", 3)


def test_the_same_seed_sends_the_same(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """With the seed that the summary names, the same faults happen again."""
    options = ["-p", port_of(there), "-n", "150", "-o", "2", "--loss", "20"]
    assert blaster.main(options) == 0
    told = capsys.readouterr().out
    first = arrived(there)
    assert blaster.main([*options, "--seed", told.partition("--seed ")[2].split()[0]]) == 0
    assert capsys.readouterr().out.splitlines()[1] == told.splitlines()[1]
    assert [datagram.split(b",")[1] for _, datagram in arrived(there)] == [each.split(b",")[1] for _, each in first]


def test_another_seed_is_other_faults(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds differ in what they do."""
    found = []
    for seed in ("1", "2"):
        assert blaster.main(["-p", port_of(there), "-n", "100", "-o", "2", "--loss", "20", "--seed", seed]) == 0
        found.append([datagram.split(b",")[1] for _, datagram in arrived(there)])
    assert found[0] != found[1]


def test_threads_share_the_rate(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """The rate is that of all threads together, and signals are afterwards whose they were before."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert blaster.main(["-p", port_of(there), "-n", "50", "-t", "1", "--rate", "500", "--json"]) == 0
    # Slower than asked for is what a busy machine may be.
    assert json.loads(capsys.readouterr().out)["seconds"] >= 0.19
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_threads_share_the_addresses(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """2^t threads send n messages each, and no two of them from one address."""
    assert blaster.main(["-p", port_of(there), "-n", "6", "-o", "4", "-t", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = arrived(there)
    assert told["sent"]["messages"] == len(found) == 24
    numbers: dict[str, list[int]] = {}
    for address, datagram in found:
        numbers.setdefault(address, []).append(int(datagram.split(b",")[1]))
    assert sorted(numbers) == sorted(f"127.64.0.{number}" for number in range(16))
    assert all(len(set(each)) == len(each) for each in numbers.values())


def test_the_summary_in_words(there: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    """Without JSON it is lines: what was sent, the faults, and the totals of netconsd in its own words."""
    options = ["-p", port_of(there), "-n", "40", "-o", "0", "--loss", "50", "--seed", "1", "--format", "sysdata"]
    assert blaster.main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    found = arrived(there)
    count = len(found)
    octets = sum(len(datagram) for _, datagram in found)
    assert lines[0].startswith(f"Sent {count} datagrams, {octets} bytes, of 40 messages from 1 senders in ")
    assert lines[1] == (
        f"Faults: {40 - count} datagrams lost, 0 sent twice, 0 out of order; the same again with --seed 1"
    )
    assert lines[2] == f"If all of it came, netconsd says: {count} datagrams received, {count} messages from 1 senders"
    # What is lost behind the last that came, nobody can miss.
    missing = int(found[-1][1].split(b",")[2]) - FIRST_SEQ + 1 - count
    assert 0 < missing < 40
    assert lines[3] == f"Of note: missing {missing}, lost {missing}"


@pytest.mark.parametrize(
    ("options", "told"),
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
        (
            ["--size", str(CHUNK + 1)],
            "--size: 1001 is not between 27 and 1000 bytes, as messages in the format extended",
        ),
        (["--format", "xml"], "argument --format: invalid choice: 'xml'"),
    ],
)
def test_bad_options(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that cannot be is one line that names it, and status 2."""
    with pytest.raises(SystemExit) as raised:
        blaster.main(options)
    assert raised.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-d", "localhost"], "netconsblaster: -d localhost: not an IPv4 or IPv6 address\n"),
        (["-d", "::1", "-s", "127.0.0.1"], "netconsblaster: -s 127.0.0.1 and -d ::1 are not of one family: both IPv4"),
        (["-o", "23"], "netconsblaster: -o 23: so many bits of 127.64.0.0 lead out of 127.0.0.0/8"),
        # A broadcast address needs SO_BROADCAST, which we do not set.
        (["-d", "255.255.255.255", "-n", "1"], "netconsblaster: -d 255.255.255.255: "),
    ],
)
def test_what_cannot_be_sent(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Addresses that do not fit, or that the kernel refuses, are one line, and status 1; there is no summary."""
    assert blaster.main(options) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(told)
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_by_default_it_stays_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without options it sends to the loopback, from 65,536 of its addresses; to other places from one address only."""
    asked: list[Any] = []

    def origin(target: Any, source: Any, bits: int) -> Any:
        asked.append((target.name, target.port, source, bits))
        raise OriginError("enough")

    monkeypatch.setattr(blaster, "origin_for", origin)
    for options in ([], ["-d", "192.0.2.1"], ["-d", "::1"]):
        assert blaster.main(options) == 1
    assert asked == [("127.0.0.1", 1514, None, 16), ("192.0.2.1", 1514, None, 0), ("::1", 1514, None, 0)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_summary(number: int, there: socket.socket) -> None:
    """Ctrl-C and SIGTERM end it in good order: the progress so far on stderr, the account on stdout, status 0."""
    options = ["-p", port_of(there), "-o", "3", "--rate", "200", "--json", "--progress", "--reorder", "30"]
    with subprocess.Popen(
        [*COMMAND, *options], cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            process.send_signal(number)
            out, rest = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert line.split()[1].startswith("datagrams")
    assert "Traceback" not in rest
    told = json.loads(out)
    assert told["sent"]["datagrams"] == told["sent"]["messages"] == len(arrived(there)) > 100
    assert told["faults"]["reordered"] > 0
