"""The benchmark ``lanes``: its loads, its figures, and one small run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import lanes
from netconsd.protocol.decode import decode
from netconsd.protocol.message import ExtendedMessage, Source
from netconsd.receive.lanes import Workers
from netconsd.settings import Settings


def test_the_generated_load() -> None:
    """Each sender counts on, and each of two lanes gets the same number of senders."""
    load = list(lanes.generated(3 * lanes.SENDERS))
    records = [decode(datagram, Source.from_key(key), 1.0) for key, datagram in load]
    seqs = [record.seq for record in records if isinstance(record, ExtendedMessage)]
    assert seqs[:: lanes.SENDERS] == [1_000_000, 1_000_001, 1_000_002]
    assert len(seqs) == 3 * lanes.SENDERS
    assert len({key for key, _ in load}) == lanes.SENDERS
    workers = Workers(lambda number, messages: None, Settings(workers=2), reactor=lanes._Direct())  # type: ignore[arg-type]
    numbers = [workers.lane_for(lanes.key(number)[:16]).number for number in range(lanes.SENDERS)]
    assert numbers.count(0) == numbers.count(1)


def test_a_recording_is_sent_by_several(tmp_path: Path) -> None:
    """Each datagram of a recording is sent by a number of senders, each of which sends them in order."""
    path = tmp_path / "recording.jsonl"
    path.write_text("".join(json.dumps({"t": 1.0 + n, "data": f"6,{n},{n},-;text\n"}) + "\n" for n in range(1, 4)))
    load = list(lanes.recorded(path, 12))
    assert len(load) == 12
    assert len({key for key, _ in load}) == 4
    assert [data for key, data in load if key == lanes.key(0)] == [b"6,%d,%d,-;text\n" % (n, n) for n in range(1, 4)]
    path.write_text("no datagrams\n")
    with pytest.raises(SystemExit, match="has no datagrams"):
        lanes.recorded(path, 12)


def test_batches_are_those_of_the_reader() -> None:
    """Nothing is missing, and the last batch is smaller."""
    batches = list(lanes.reads(lanes.generated(lanes.BATCH + 7)))
    assert [len(datagrams) for _, datagrams in batches] == [lanes.BATCH, 7]
    assert all(len(senders) == len(datagrams) for senders, datagrams in batches)


def test_the_ratio_is_that_of_each_round() -> None:
    """A disturbance that slows a whole round down does not change the ratio."""
    rounds = [(1.0, 0.5), (8.0, 4.0), (2.0, 1.9)]
    runs = [vars(lanes.Run(count, each[count - 1], 1.0, 1000)) for each in rounds for count in (1, 2)]
    text = lanes.table({"python": "3.14.7t", "build": "compiled", "processors": 2, "gil": {"off": runs}})
    assert [line.split()[-6] for line in text.splitlines()[1:]] == ["1.00", "2.00"]


def test_more_than_a_queue_holds() -> None:
    """The whole load is queued before the clock starts."""
    with pytest.raises(SystemExit, match="--messages"):
        lanes.main(["--messages", str(lanes.QUEUE + 1)])


def test_a_small_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The state of the GIL, and a line for each number of lanes."""
    out = tmp_path / "lanes.json"
    assert command.main(["lanes", "--quick", "--json", str(out)]) == 0
    content = json.loads(out.read_text())
    assert set(content["gil"]) in ({"on"}, {"on", "off"})
    for runs in content["gil"].values():
        assert [(run["lanes"], run["datagrams"]) for run in runs] == [(1, lanes.QUICK), (2, lanes.QUICK)]
    assert "GIL on" in capsys.readouterr().out
