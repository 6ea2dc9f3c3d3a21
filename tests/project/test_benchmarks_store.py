"""The benchmarks of the store work. Their figures depend on the machine, and are not tested here."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import kernel_log, store, store_chart, store_reception, store_start
from benchmarks.kernel_log import ABSENT, FREQUENT, RARE, RARE_REGEX, SCAN_REGEX, Fleet
from benchmarks.store_queries import HOST
from netconsd.protocol.message import ExtendedMessage, LegacyMessage, Message

BEGIN = 1795849200.0


@cache
def fleet_messages(count: int) -> list[Message]:
    """Return the first messages of a fleet."""
    return [message for batch in Fleet(BEGIN).batches(count) for message in batch]


def test_the_fleet() -> None:
    """It sends both formats, userdata, sysdata, reboots, and all levels; nothing is lost or late."""
    found = fleet_messages(60_000)
    assert len(found) == 60_000
    extended = [message for message in found if isinstance(message, ExtendedMessage)]
    assert {type(message) for message in found} == {ExtendedMessage, LegacyMessage}
    assert len({message.source for message in found}) > 0.9 * kernel_log.SENDERS
    assert {message.level for message in extended} == set(range(8))
    rich = [message for message in extended if message.userdata]
    assert 0.15 < len(rich) / len(extended) < 0.25
    assert all(message.release and message.msgid and message.taskname for message in rich)
    assert any(message.seq_reset and not message.new for message in extended), "no machine booted again"
    assert not any(message.missing or message.out_of_order for message in extended if not message.new)
    assert [message.received_at for message in found] == sorted(message.received_at for message in found)
    assert len({message.text for message in found}) > 20_000


def test_the_fleet_is_always_the_same() -> None:
    """The messages depend on nothing but their number."""
    texts = [message.text for batch in Fleet(BEGIN).batches(2048) for message in batch]
    assert texts == [message.text for message in fleet_messages(60_000)[:2048]]


def test_the_words() -> None:
    """The words and expressions of the queries are as frequent as they say, and a host of the queries sends."""
    found = fleet_messages(60_000)
    texts = [message.text for message in found]
    assert [ABSENT in text for text in texts].count(True) == 0
    assert [RARE in text for text in texts].count(True) == 1
    assert len([text for text in texts if re.search(RARE_REGEX, text)]) <= 1
    assert 1 / 40 < sum(FREQUENT in text for text in texts) / len(texts) < 1 / 10
    assert 0 < sum(bool(re.search(SCAN_REGEX, text)) for text in texts) < len(texts) / 1000
    assert any(message.source.address == HOST for message in found)


def result(cost: float, size: float, milliseconds: float) -> dict[str, Any]:
    """The results of one store."""
    query = {"count": 1, "first": 0.0, "cpu": [milliseconds / 1e3], "wall": [1.0]}
    return {
        "rows": cost / 4,
        "engine": cost * 3 / 4,
        "cost": cost,
        "portions": [],
        "bytes": size,
        "peak": 300_000_000,
        "queries": dict.fromkeys(store.QUERIES, query),
    }


def content(**results: dict[str, Any]) -> dict[str, Any]:
    """The results of a run of ten million messages."""
    return {"machine": {}, "messages": store.MESSAGES, "senders": 1, "results": results}


def test_the_targets_of_the_store() -> None:
    """Each figure is compared with its limit, and with DuckDB's and VictoriaLogs' where they were measured. A query
    with a limit is not compared with others, and a scan has no target."""
    good = content(netconsd=result(1.9e-6, 29, 1.5), duckdb=result(7e-6, 67, 4), victorialogs=result(11e-6, 80, 1))
    found = store.checks(good)
    assert all(check.passed for check in found) and len(found) == 6 + 6 + 5
    assert [check.about for check in found if "word with limit" in check.about] == ["ms of CPU: word with limit 100"]
    assert not any("frequent words" in check.about for check in found)
    bad = content(netconsd=result(2.5e-6, 40, 501), duckdb=result(7e-6, 67, 900), victorialogs=result(7e-6, 80, 1))
    failed = {check.about for check in store.checks(bad) if not check.passed}
    # The memory alone is within its limit.
    assert len(failed) == len(found) - 1
    assert len(store.checks(content(netconsd=result(1e-6, 20, 1)))) == 9


def test_the_chart_of_the_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Chart and tables are made from earlier results; each store has its bars and its figures."""
    results, chart = tmp_path / "out.json", tmp_path / "out.svg"
    results.write_text(json.dumps(content(netconsd=result(2e-6, 25, 1), duckdb=result(8e-6, 70, 3))))
    assert command.main(["store", "--load", str(results), "--chart", str(chart)]) in (0, 1)
    assert "8.00" in capsys.readouterr().out
    texts = [
        element.text or "" for element in ET.fromstring(chart.read_text()).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert store_chart.NAMES["duckdb"] in texts
    assert command.main(["store", "--load", str(results), "--rst"]) == 0
    lines = [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert ["µs of CPU per message", "2.0", "8.0"] in lines
    assert ["times DuckDB's: rare word", "0.333", "0.5", "\\"] in lines
    assert "8.00 µs, 4.0 times" in texts and "70.0 bytes, 2.8 times" in texts


def test_an_unknown_peer() -> None:
    """The error names the peers that exist."""
    with pytest.raises(SystemExit, match="no peer mysql; the peers are duckdb, sqlite, victorialogs"):
        command.main(["store", "--peers", "mysql"])


def test_the_targets_of_reception() -> None:
    """The median of the differences counts, and every lost message; a sender that is too slow fails."""
    without = store_reception.Run(rate=3e5, lost=0, cpu=1e-6, peak=50_000_000)
    runs = {
        "noop": [without] * 3,
        "store": [
            store_reception.Run(rate=3e5, lost=lost, cpu=cpu, peak=70_000_000, compactor_peak=1, found=1.0)
            for lost, cpu in ((0, 1.2e-6), (0, 9e-6), (0, 1.1e-6))
        ],
    }
    assert all(check.passed for check in store_reception.checks(runs, 300_000))
    runs["store"][0] = store_reception.Run(rate=2e5, lost=1, cpu=5e-6, peak=90_000_000, compactor_peak=1, found=2.0)
    failed = [check.about for check in store_reception.checks(runs, 300_000) if not check.passed]
    assert failed == [
        "percent of the rate that was not sent",
        "messages lost in all runs",
        "us more than a module that does nothing",
    ]


@pytest.mark.slow
def test_small_stores(capsys: pytest.CaptureFixture[str]) -> None:
    """Every store that needs no server is filled and asked, and all give the same results."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("duckdb")
    store.quick()
    out = capsys.readouterr().out
    assert "sqlite-trigram" in out and "counts per minute" in out


@pytest.mark.slow
def test_small_start(capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon starts on some segments, and the newest messages are found."""
    pytest.importorskip("pyarrow")
    assert command.main(["store-start", "--rows", "1000000", "--runs", "1"]) in (0, 1)
    out = capsys.readouterr().out
    assert re.search(r"^[2-9] segments, 1\d{6} messages$", out, re.MULTILINE)
    assert out.count(", at most 2\n") == 2
    assert store_start.READY_SECONDS == 2


@pytest.mark.slow
def test_small_reception(capsys: pytest.CaptureFixture[str]) -> None:
    """A daemon with a store is loaded beside one without, and its messages are counted in the store."""
    pytest.importorskip("pyarrow")
    assert command.main(["store-reception", "--seconds", "1", "--rate", "20000", "--runs", "1", "--no-pin"]) in (0, 1)
    out = capsys.readouterr().out
    assert re.search(r"^store: \d+ messages/s, 0 lost, .*; compactor ", out, re.MULTILINE)
    assert "pass  messages lost in all runs: 0" in out
