"""The proof ``store``: what a stored message costs, and how fast it is found, beside other stores in the same run.

Every store is given the same messages in turns of 65,536, so that a disturbance of the machine affects all. Five times,
after a fifth of the messages, each has to have all on disk. Costs are processor time per message over all five: merges
come now and then. The queries are run in a process for each store; medians, each query having been run once before.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import report, store_chart
from benchmarks.kernel_log import BATCH, SENDERS, Fleet
from benchmarks.store_queries import LAST, LIMIT
from benchmarks.stores import ROOT, Ingest, Turn, VictoriaLogs, chosen, disk_bytes
from benchmarks.verdict import Check, verdict
from netconsd.build import KIND
from netconsd.protocol.message import Message

MESSAGES: Final = 10_000_000
PORTIONS: Final = 5
TURN: Final = 65_536
RUNS: Final = 5
PEERS: Final = ("duckdb", "sqlite", "victorialogs")
#: A test of the benchmark: a second or two.
QUICK_MESSAGES: Final = 20_000
#: The begin of the messages: the last one is hours old.
HOURS_AGO: Final = 24 * 7

MB: Final = 1_000_000
COST_US: Final = 2.0
COST_RATIO: Final = 0.35
BYTES: Final = 30
BYTES_RATIO: Final = 0.5
COMPACTOR_MB: Final = 400
QUERY_RATIO: Final = 0.5
#: The limit of each query in milliseconds of processor time, None for no target; and its text.
QUERIES: Final[Mapping[str, tuple[float | None, str]]] = {
    "host": (20, f"last {LAST} of a host"),
    "rare": (300, "rare word"),
    "absent": (2, "absent word"),
    "limit": (60, f"word with limit {LIMIT}"),
    "regex": (500, "rare regex"),
    "scan": (None, "regex of frequent words"),
    "counts": (50, "counts per minute"),
}


def main(arguments: list[str]) -> int:
    """Measure, print, and return 0 if all targets were met."""
    options = _parser().parse_args(arguments)
    if options.load:
        content = json.loads(options.load.read_text())
    else:
        peers = [peer for peer in options.peers.split(",") if peer]
        unknown = set(peers) - set(PEERS)
        if unknown:
            raise SystemExit(f"benchmarks: no peer {', '.join(sorted(unknown))}; the peers are {', '.join(PEERS)}")
        usable = [peer for peer in peers if _usable(peer, options.victorialogs)]
        with tempfile.TemporaryDirectory(prefix="netconsd-store-", dir=options.directory) as directory:
            content = measure(
                Path(directory), options.messages, usable, options.runs, victorialogs=options.victorialogs
            )
    if options.rst:
        print(rst(content))
        return 0
    print(f"{', '.join(f'{key} {value}' for key, value in content['machine'].items())}\n\n{table(content)}\n")
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    if options.chart:
        options.chart.write_text(store_chart.svg(content))
    if content["messages"] < MESSAGES:
        print(f"The targets are for {MESSAGES} messages; these are {content['messages']}.")
    return verdict(checks(content))


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m benchmarks store", description=__doc__)
    options.add_argument("--messages", type=int, default=MESSAGES, help="[%(default)s]")
    options.add_argument("--runs", type=int, default=RUNS, help="runs of each query; the median counts [%(default)s]")
    options.add_argument("--peers", default=",".join(PEERS), help="the other stores, with commas [%(default)s]")
    options.add_argument(
        "--victorialogs", type=Path, metavar="PATH", help="the program victoria-logs (.ci/install-victorialogs)"
    )
    options.add_argument("--directory", type=Path, help="for the stores: about 1.3 KB per message with all peers")
    options.add_argument("--json", type=Path, metavar="FILE", help="write all results to FILE")
    options.add_argument("--chart", type=Path, metavar="FILE", help="draw cost and size, as SVG")
    options.add_argument("--rst", action="store_true", help="print only the tables of docs/tuning")
    options.add_argument("--load", type=Path, metavar="FILE", help="load the results of --json instead of measuring")
    return options


def _usable(peer: str, victorialogs: Path | None) -> bool:
    if peer == "duckdb" and find_spec("duckdb") is None:
        print("not measured: duckdb is not installed")
        return False
    if peer == "victorialogs" and victorialogs is None:
        print("not measured: victorialogs needs --victorialogs PATH")
        return False
    return True


def quick() -> None:
    """Run all that needs no server with a few messages, once; the figures mean nothing.

    :raises OSError: or another error of the proof, if something does not work.
    """
    if find_spec("pyarrow") is None:
        print("not measured: the store needs pyarrow")
        return
    peers = [peer for peer in PEERS if _usable(peer, None)]
    with tempfile.TemporaryDirectory(prefix="netconsd-store-") as directory:
        content = measure(Path(directory), QUICK_MESSAGES, peers, 1, portions=1)
    print(table(content))


def measure(
    directory: Path,
    messages: int,
    peers: Sequence[str],
    runs: int,
    *,
    portions: int = PORTIONS,
    victorialogs: Path | None = None,
) -> dict[str, Any]:
    """Fill the stores, run the queries, and return all results."""
    if victorialogs is not None:
        VictoriaLogs.program = victorialogs.absolute()
    begin = time.time() // 3600 * 3600 - HOURS_AGO * 3600
    fleet = Fleet(begin, SENDERS)
    stores = {name: make(directory / name) for name, make in chosen(peers)}
    try:
        seconds = _fill(fleet, messages, portions, stores)
        for store in stores.values():
            store.close()
    finally:
        for store in stores.values():
            store.kill()
    results: dict[str, Any] = {}
    for name, store in stores.items():
        results[name] = {
            "rows": store.rows / messages,
            "engine": store.engine / messages,
            "cost": store.cpu / messages,
            "portions": seconds[name],
            "bytes": disk_bytes(directory / name) / messages,
            "peak": store.peak,
        }
    for name in stores:
        _show(f"queries of {name}")
        results[name]["queries"] = _queries(name, directory / name, runs, victorialogs)
    _show("")
    for query in QUERIES:
        counts = {name: result["queries"][query]["count"] for name, result in results.items()}
        if len(set(counts.values())) != 1:
            raise subprocess.SubprocessError(f"{query}: different results: {counts}")
    return {"machine": _machine(victorialogs), "messages": messages, "senders": SENDERS, "results": results}


def _fill(fleet: Fleet, messages: int, portions: int, stores: Mapping[str, Ingest]) -> dict[str, list[list[float]]]:
    """Add the messages to all stores; return the seconds of each for each portion: rows, engine."""
    seconds: dict[str, list[list[float]]] = {name: [] for name in stores}
    stored = 0
    # The messages of a turn live as long as it does.
    gc.disable()
    for portion in range(portions):
        before = {name: (store.rows, store.engine) for name, store in stores.items()}
        count = messages * (portion + 1) // portions - messages * portion // portions
        for batches in _turns(fleet.batches(count)):
            stored += sum(map(len, batches))
            turn = Turn(batches, len(stores) > 1)
            _show(f"{stored} of {messages} messages")
            for store in stores.values():
                store.add(turn)
        for name, store in stores.items():
            _show(f"{stored} of {messages} messages: {name} finishes")
            store.finish()
            rows, engine = before[name]
            seconds[name].append([store.rows - rows, store.engine - engine])
    gc.enable()
    assert stored == messages, f"{stored} messages were delivered"
    return seconds


def _turns(batches: Iterator[list[Message]]) -> Iterator[list[list[Message]]]:
    turn: list[list[Message]] = []
    for batch in batches:
        turn.append(batch)
        if len(turn) == TURN // BATCH:
            yield turn
            turn = []
    if turn:
        yield turn


def _queries(name: str, directory: Path, runs: int, victorialogs: Path | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.store_queries", name, str(directory), str(runs)]
    done = subprocess.run(
        [*command, *([str(victorialogs)] if victorialogs else [])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _machine(victorialogs: Path | None) -> dict[str, Any]:
    facts = report.machine(0, False)
    del facts["rcvbuf"], facts["pinned"]
    facts["build"] = KIND
    for library in ("pyarrow", "duckdb"):
        try:
            facts[library] = version(library)
        except PackageNotFoundError:
            continue
    import sqlite3

    facts["sqlite"] = sqlite3.sqlite_version
    if victorialogs is not None:
        said = subprocess.run([victorialogs, "-version"], capture_output=True, text=True, check=True)
        facts["victorialogs"] = (said.stdout + said.stderr).strip()
    return facts


def table(content: Mapping[str, Any]) -> str:
    """The costs, and the medians of the queries, a line for each; with netconsd's share of each peer's figure."""
    results = content["results"]
    lines: list[list[str]] = [["", *results]]

    def add(title: str, values: Sequence[float], digits: int) -> None:
        lines.append([title, *(f"{value:.{digits}f}" for value in values)])
        if len(values) > 1:
            shares = [f"{values[0] / value:.2f} x" if value else "" for value in values[1:]]
            lines.append(["", "", *shares])

    each = list(results.values())
    add("us of CPU per message", [result["cost"] * 1e6 for result in each], 2)
    lines.append(["  rows or journal", *(f"{result['rows'] * 1e6:.2f}" for result in each)])
    lines.append(["  engine or compactor", *(f"{result['engine'] * 1e6:.2f}" for result in each)])
    add("bytes per message", [result["bytes"] for result in each], 1)
    lines.append(
        ["peak MB of its process", *(f"{result['peak'] / MB:.0f}" if result["peak"] else "" for result in each)]
    )
    for query, (_, title) in QUERIES.items():
        add(f"ms of CPU: {title}", [_cpu_ms(result, query) for result in each], 2)
        walls = [median(result["queries"][query]["wall"]) * 1e3 for result in each]
        lines.append(["  ms", *(f"{wall:.2f}" for wall in walls)])
        lines.append(["  ms of CPU, first", *(f"{result['queries'][query]['first'] * 1e3:.2f}" for result in each)])
    widths = [max(len(line[column]) for line in lines if column < len(line)) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=False))
        ).rstrip()
        for line in lines
    )


def rst(content: Mapping[str, Any]) -> str:
    """Return the tables of docs/tuning: the stores beside each other, and the targets beside the figures."""
    results = content["results"]
    rows = [["", *(store_chart.NAMES[name].replace(", FTS5", "").replace("'s own file", "") for name in results)]]
    rows.append(["µs of CPU per message", *(f"{result['cost'] * 1e6:.1f}" for result in results.values())])
    rows.append(["bytes per message", *(f"{result['bytes']:.0f}" for result in results.values())])
    for query, (_, title) in QUERIES.items():
        rows.append([f"{title}, ms of CPU", *(_short(_cpu_ms(result, query)) for result in results.values())])
    targets = [["figure", "measured", "at most", ""]]
    targets += [
        [check.about, f"{check.figure:g}", f"{check.limit:g}", "" if check.passed else "missed"]
        for check in checks(content)
    ]
    return f"{_grid(rows)}\n\n{_grid(targets)}"


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _grid(rows: Sequence[Sequence[str]]) -> str:
    """Return a simple table of reStructuredText; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    line = "  ".join("=" * max(1, width) for width in widths)
    # An empty first cell would continue the row before.
    body = [
        "  ".join((cell or "\\").ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([line, body[0], line, *body[1:], line])


def _cpu_ms(result: Mapping[str, Any], query: str) -> float:
    return float(median(result["queries"][query]["cpu"])) * 1e3


def checks(content: Mapping[str, Any]) -> list[Check]:
    """The figures with their targets."""
    results = content["results"]
    ours, duckdb, victorialogs = (results.get(name) for name in ("netconsd", "duckdb", "victorialogs"))
    found = [Check("us of CPU per message, journal to segment", round(ours["cost"] * 1e6, 3), COST_US)]
    for name, peer in (("DuckDB's file", duckdb), ("VictoriaLogs", victorialogs)):
        if peer is not None:
            found.append(Check(f"times the CPU of {name}", round(ours["cost"] / peer["cost"], 3), COST_RATIO))
    found.append(Check("bytes per message, all files", round(ours["bytes"], 2), BYTES))
    if duckdb is not None:
        found.append(Check("times the bytes of DuckDB's file", round(ours["bytes"] / duckdb["bytes"], 3), BYTES_RATIO))
    found.append(Check("peak MB of the compactor", round(ours["peak"] / MB, 1), COMPACTOR_MB))
    for query, (limit, title) in QUERIES.items():
        if limit is None:
            continue
        mine = _cpu_ms(ours, query)
        found.append(Check(f"ms of CPU: {title}", round(mine, 2), limit))
        # The limit ends a search of segments; DuckDB's file has no such order.
        if duckdb is not None and query != "limit":
            found.append(Check(f"times DuckDB's: {title}", round(mine / _cpu_ms(duckdb, query), 3), QUERY_RATIO))
    return found


def _show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
