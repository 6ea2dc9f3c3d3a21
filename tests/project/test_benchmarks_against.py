"""The benchmarks with a revision and the C daemon: building, the table of docs/tuning, and how the cost grows."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import builds, growth, growth_chart
from benchmarks.chart import svg
from benchmarks.growth import AXES, MESSAGES, point, scenario_at
from benchmarks.measure import FLOOR, PEER, Result, Run
from benchmarks.place import prepared
from benchmarks.report import as_json, rst, table
from benchmarks.scenarios import FULL, PACED, SCENARIOS
from tests.support.tools import require

# Loads a module as the C daemon does, and counts each datagram as a message.
PEER_PROGRAM = """#!{python}
import ctypes, signal, socket, sys

port, module = int(sys.argv[sys.argv.index("-u") + 1]), ctypes.CDLL(sys.argv[-1])
assert module.netconsd_output_init(2) == 0
listening = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
listening.bind(("::", port))

class Stop(Exception):
    pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGTERM, stop)
try:
    while True:
        listening.recv(65536)
        module.netconsd_output_handler(1, None, None, None)
except Stop:
    module.netconsd_output_exit()
"""


def run(cpu: float, *, received: int = 1000) -> Run:
    """A run of 1000 messages."""
    return Run(1000, received, 3e5, 3e5, cpu, cpu, 0, 0, 100, {})


def compared() -> Result:
    """The scenario in-order with this checkout, a revision, and the C daemon."""
    runs = {FLOOR: [run(1e-6)], "compiled": [run(1.5e-6)], "compiled 1a2b3c4": [run(2e-6)], PEER: [run(4e-6)]}
    return Result(SCENARIOS["in-order"], PACED, runs)


def test_table_of_the_docs() -> None:
    """A revision and the C daemon are a column each, and each line is a load."""
    plain_only = Result(SCENARIOS["in-order"], FULL, {FLOOR: [run(1e-6)], "plain": [run(9e-6)]})
    alone = Result(SCENARIOS["legacy"], FULL, {FLOOR: [run(1e-6)], "compiled": [run(3e-6, received=990)]})
    rule, head, _, *lines, _ = rst(as_json([compared(), plain_only, alone], {})).splitlines()
    starts = [0, *(number + 1 for number, character in enumerate(rule) if character == " " and rule[number + 1] == "=")]
    cells = [
        [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
        for line in (head, *lines)
    ]
    assert cells == [
        ["load", "messages/s", "CPU", "1a2b3c4", "C daemon", "floor", "ratio", "lost"],
        ["`in-order`", "300,000", "1.50 µs", "2.00 µs", "4.00 µs", "1.00 µs", "1.5", "0"],
        ["`legacy`", "300,000", "3.00 µs", "", "", "1.00 µs", "3.0", "1.00%"],
    ]


def test_table_and_chart_have_every_receiver() -> None:
    """The table for the terminal and the chart have a line for each receiver."""
    text = "".join(ET.fromstring(svg(as_json([compared()], {}))).itertext())
    for receiver in ("compiled", "compiled 1a2b3c4", PEER):
        assert f"  {receiver}  " in table([compared()])
    assert "in-order, 300k/s, 1a2b3c4" in text and "netconsd 1a2b3c4" in text and "C daemon" in text


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two revisions of a file, in the place of this one."""
    require("git")
    tree = tmp_path / "repository"
    tree.mkdir()
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", tree, *identity, *arguments], check=True, capture_output=True)

    git("init", "-q")
    for content in ("old", "new"):
        (tree / "file").write_text(content)
        git("add", "file")
        git("commit", "-q", "-m", content)
    monkeypatch.setattr(builds, "ROOT", tree)
    return tree


def test_revision(repository: Path, tmp_path: Path) -> None:
    """The tree of a revision is written, whatever the checkout has."""
    (repository / "file").write_text("changed")
    assert (builds.revision("HEAD~1", "plain", tmp_path / "x") / "file").read_text() == "old"
    assert len(builds.short_name("HEAD")) >= 4
    assert builds.short_name("HEAD") != builds.short_name("HEAD~1")


@pytest.mark.usefixtures("repository")
def test_unknown_revision(capsys: pytest.CaptureFixture[str]) -> None:
    """A revision that does not exist is an error before anything is built."""
    assert command.main(["in-order", "--against", "v0"]) == 1
    assert "benchmarks: git rev-parse: " in capsys.readouterr().err


@pytest.mark.usefixtures("repository")
def test_revision_of_a_tree_that_cannot_be_compiled(tmp_path: Path) -> None:
    """A revision that cannot be compiled is an error, and never measured in plain Python."""
    with pytest.raises(builds.CannotBuildError, match="cannot be compiled"):
        builds.revision("HEAD", "compiled", tmp_path / "x")


def test_peer_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A C daemon that is not there is an error before anything is built."""
    assert command.main(["in-order", "--peer", str(tmp_path / "x")]) == 1
    assert f"--peer: there is no file {tmp_path / 'x'}" in capsys.readouterr().err


def test_against_and_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both builds and the C daemon get the same load, in turn; only where the C daemon has an equal module."""
    require("cc")
    # 100 messages fit into any receive buffer, so that nothing is lost on a slow machine.
    # A revision is as good as the checkout for this test, and needs no repository.
    monkeypatch.setattr(builds, "short_name", lambda revision: f"{revision}1")
    monkeypatch.setattr(builds, "revision", lambda name, build, target: builds.checkout(build, target))
    peer = tmp_path / "peer"
    peer.write_text(PEER_PROGRAM.format(python=sys.executable))
    peer.chmod(0o755)
    written, docs = tmp_path / "x.json", tmp_path / "x.rst"
    arguments = ["in-order", "two-modules", "--quick", "--messages", "100", "--build", "plain", "--no-pin"]
    arguments += ["--against", "old", "--peer", str(peer), "--json", str(written), "--rst", str(docs)]
    assert command.main(arguments) == 0
    rows = json.loads(written.read_text())["results"]
    assert [(row["scenario"], row["receiver"]) for row in rows] == [
        *(("in-order", receiver) for receiver in ("floor", "plain", "plain old1", "peer")),
        *(("two-modules", receiver) for receiver in ("floor", "plain", "plain old1")),
    ]
    assert [row["runs"][0]["received"] for row in rows] == [100] * 7
    assert docs.read_text().startswith("====")


@pytest.mark.parametrize(("axis", "value"), [(axis, value) for axis, values in AXES.items() for value in values])
def test_point_of_growth(axis: str, value: int) -> None:
    """Each point changes one value, sends enough for each sender, and takes seconds."""
    scenario, rate = scenario_at(axis, value)
    assert rate == (value if axis == "rate" else PACED)
    assert scenario.senders == (value if axis == "senders" else 100)
    assert len(scenario.pieces) == 1
    assert len(scenario.pieces[0]) == (value if axis == "size" else 140)
    assert scenario.messages >= 2 * scenario.senders
    assert scenario.messages <= max(MESSAGES, 2 * scenario.senders)
    assert not rate or scenario.messages <= 7 * rate


def grown() -> dict[str, Any]:
    """Figures of each axis, of which the first has no C daemon."""
    points = []
    for axis, values in AXES.items():
        for value in values:
            result = compared()
            if axis == "rate":
                del result.runs[PEER]
            points.append(point(axis, value, result))
    return {"machine": {}, "points": points}


def test_growth_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table and the chart are made from figures that were written before."""
    (tmp_path / "in.json").write_text(json.dumps(grown()))
    chart = tmp_path / "x.svg"
    assert command.main(["growth", "--load", str(tmp_path / "in.json"), "--chart", str(chart)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + sum(map(len, AXES.values()))
    assert lines[-1].split("  ")[-1].strip() == "4.00 µs, 4.00 times"
    root = ET.fromstring(chart.read_text())
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 3 * 4
    text = "|".join(root.itertext())
    for title in (*growth_chart.TITLES.values(), "netconsd 1a2b3c4", "C daemon", "1M"):
        assert title in text


def test_chart_of_one_point() -> None:
    """A single point, and a cost of almost nothing, are drawn."""
    content = {
        "points": [point("size", 140, Result(SCENARIOS["in-order"], PACED, {FLOOR: [run(1e-9)], "x": [run(1e-9)]}))]
    }
    ET.fromstring(growth_chart.svg(content))


def test_unknown_axis() -> None:
    """An unknown axis is an error that lists the known ones."""
    with pytest.raises(SystemExit, match="no axis 'x'; the axes are rate, senders, size"):
        growth.main(["x"])


def test_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary builds are removed."""
    require("cc")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with prepared(Namespace(against=None, peer=None, no_pin=True), set(), lambda text: None) as place:
        assert place.directory.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
