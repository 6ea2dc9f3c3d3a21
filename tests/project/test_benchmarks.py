"""The benchmarks work. Their figures depend on the machine, and are not tested here."""

from __future__ import annotations

import json
import socket
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import builds, loads
from benchmarks.measure import FLOOR, Place, Result, Run, processors, send
from benchmarks.report import compared, table
from benchmarks.scenarios import FULL, SCENARIOS, TARGETS, Scenario
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import ExtendedMessage, Message, Source
from netconsd.protocol.stream import Stream
from tests.support.tools import require

BENCHMARKS = Path(loads.__file__).parent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The C programs, without a build of the daemon."""
    require("cc")
    directory = tmp_path_factory.mktemp("benchmarks")
    blast, floor = (builds.c_program(BENCHMARKS / f"{name}.c", directory / name) for name in ("blast", "floor"))
    return Place(directory, blast, floor, {}, *processors(pin=False))


def sent(scenario: Scenario, place: Place) -> Iterator[tuple[str, bytes]]:
    """Send a scenario's messages to a socket; yield the address and contents of each datagram, in order."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        here.settimeout(10)
        # Enough for the datagrams of any test, and within the limit for unprivileged users.
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 212992)
        send(scenario, FULL, here.getsockname()[1], place)
        for _ in range(scenario.messages * len(scenario.pieces)):
            datagram, (address, _) = here.recvfrom(65536)
            yield address, datagram


def messages(pieces: list[bytes], place: Place, *, skip: int = 0) -> list[Message]:
    """The messages that netconsd decodes from four messages of one sender, without reordering."""
    scenario = Scenario(name="x", about="", pieces=pieces, senders=1, messages=4, skip=skip)
    stream = Stream(Source(bytes(16), 6665), WorkerCounters(), 0.0)
    out: list[Message] = []
    for _, datagram in sent(scenario, place):
        stream.feed(datagram, 0.0, 0.0, out)
    stream.flush(out)
    return out


def test_in_order(place: Place) -> None:
    """The basic load is extended messages of 140 bytes with consecutive seqs."""
    assert [len(piece) for piece in loads.in_order()] == [140]
    out = messages(loads.in_order(), place)
    assert [message.seq for message in out if isinstance(message, ExtendedMessage)] == list(range(1000000, 1000004))


def test_skip(place: Place) -> None:
    """With ``skip=2`` every third seq is omitted, and the msgids are consecutive."""
    out = messages(loads.in_order(loads.MSGID), place, skip=2)
    numbers = [(message.seq, message.msgid) for message in out if isinstance(message, ExtendedMessage)]
    assert numbers == [(1000000, 1000000), (1000001, 1000001), (1000003, 1000002), (1000004, 1000003)]


@pytest.mark.parametrize("pieces", [loads.rich(), loads.fragmented()], ids=["one", "fragments"])
def test_all_fields(pieces: list[bytes], place: Place) -> None:
    """These loads have release, caller, dictionary, userdata and sysdata, in one datagram or in fragments."""
    out = messages(pieces, place)
    assert len(out) == 4
    for message in out:
        assert isinstance(message, ExtendedMessage) and not message.incomplete
        assert message.release == loads.RELEASE and message.caller == "T123"
        assert message.dictionary == {"SUBSYSTEM": "net", "DEVICE": "n2"}
        assert message.userdata == {"rack": "r17 b", "role": "web", "site": "fra1"}
        assert (message.cpu, message.taskname) == (3, "kworker/0:1")


def test_legacy(place: Place) -> None:
    """The legacy load is one line per message, each with its own number."""
    out = messages(loads.one_line(), place)
    assert [message.text for message in out] == [f"{loads.TEXT}{number}" for number in range(1000000, 1000004)]


def test_senders_take_turns(place: Place) -> None:
    """The senders take turns, each with its own seqs."""
    scenario = Scenario(name="x", about="", pieces=loads.in_order(), senders=300, messages=301)
    datagrams = list(sent(scenario, place))
    assert [address for address, _ in datagrams] == [f"127.1.{n // 256}.{n % 256}" for n in (*range(300), 0)]
    assert [datagram.split(b",")[1] for _, datagram in datagrams] == [b"1000000"] * 300 + [b"1000001"]


def test_targets() -> None:
    """Each target belongs to a build of a scenario."""
    assert [target for target in TARGETS if target.build not in SCENARIOS[target.scenario].builds] == []


def run(*, cpu: float = 1e-6, received: int = 1000, rate: float = 3e5, senders: int = 100) -> Run:
    """A run of 1000 messages."""
    return Run(1000, received, rate, rate, cpu, cpu, 10_000_000, 10_000_000, senders, {})


def test_medians_and_targets() -> None:
    """A ratio is that of neighbouring runs; a target is compared with the median."""
    floors = [run(cpu=1e-6), run(cpu=2e-6), run(cpu=1e-6)]
    runs = [run(cpu=1.5e-6), run(cpu=6e-6), run(cpu=1.6e-6, received=900)]
    result = Result(SCENARIOS["in-order"], FULL, {FLOOR: floors, "compiled": runs})
    assert result.median("compiled", "ratio") == pytest.approx(1.6)
    assert result.median("compiled", "loss") == 0
    assert [(target.figure, verdict) for target, _, _, verdict in compared([result])] == [
        ("ratio", "pass"),
        ("loss", "pass"),
    ]
    assert "1.60" in table([result])


def test_unclear() -> None:
    """No loss at half the rate, and little memory with half of the senders, are unclear instead of passed."""
    slow = Result(SCENARIOS["logger"], 300_000, {FLOOR: [run()], "compiled": [run(rate=1.5e5)]})
    few = Result(SCENARIOS["65536-senders"], FULL, {FLOOR: [run()], "compiled": [run(senders=30_000)]})
    verdicts = [(target.figure, verdict) for target, _, _, verdict in compared([slow, few])]
    assert verdicts == [("ratio", "pass"), ("loss", "unclear"), ("memory", "unclear")]


def test_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command starts the daemon, loads it, and reports the results as a table, as JSON and as a chart."""
    require("cc")
    results, chart = tmp_path / "out.json", tmp_path / "out.svg"
    arguments = ["in-order", "--quick", "--messages", "500", "--build", "plain", "--no-pin"]
    assert command.main([*arguments, "--json", str(results), "--chart", str(chart)]) == 0
    assert "in-order" in capsys.readouterr().out
    floor, plain = json.loads(results.read_text())["results"]
    assert (floor["receiver"], plain["receiver"]) == ("floor", "plain")
    for row in (floor, plain):
        assert row["runs"][0]["received"] == 500
        assert row["median"]["loss"] == 0 and row["median"]["cpu"] > 0
    assert "in-order" in "".join(ET.fromstring(chart.read_text()).itertext())
    assert command.main(["--load", str(results), "--chart", str(chart)]) == 0


def test_unknown_scenario() -> None:
    """An unknown scenario is an error that lists the known ones."""
    with pytest.raises(SystemExit, match="no scenario 'x'; the scenarios are in-order"):
        command.main(["x"])
