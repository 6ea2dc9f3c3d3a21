"""The queries of the proof ``store``, on one store, in a process of its own: ``python -m benchmarks.store_queries``.

Prints a JSON object: for each query, the number of results (``count``), the seconds of processor time and the seconds
of each run (``cpu``, ``wall``), and the processor time of a first run, which opens files (``first``). Results are
fetched with time, host, level, seq and text.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from benchmarks import proc
from benchmarks.kernel_log import ABSENT, FREQUENT, RARE, RARE_REGEX, SCAN_REGEX
from benchmarks.stores import Server, wait_until_quiet

LIMIT: Final = 100
LAST: Final = 200
#: A host of the middle.
HOST: Final = "10.0.9.196"
Queries = Mapping[str, Callable[[], int]]


def netconsd(directory: Path) -> Queries:
    """The public reader."""
    from netconsd.store import Store

    store = Store(directory)

    def count(**query: Any) -> int:
        return sum(1 for _ in store.messages(**query))

    return {
        "host": lambda: count(hosts=[HOST], limit=LAST),
        "rare": lambda: count(grep=RARE),
        "absent": lambda: count(grep=ABSENT),
        "limit": lambda: count(grep=FREQUENT, limit=LIMIT),
        "regex": lambda: count(grep=RARE_REGEX),
        "scan": lambda: count(grep=SCAN_REGEX),
        "counts": lambda: sum(counted for _, _, counted in store.counts()),
    }


def duckdb(directory: Path) -> Queries:
    """SQL on DuckDB's own file."""
    import duckdb as library

    connection = library.connect(str(directory / "messages.duckdb"), read_only=True)
    fields = "SELECT received_at, host, level, seq, text FROM messages"

    def count(sql: str, *values: str) -> int:
        return len(connection.execute(sql, list(values)).fetchall())

    return {
        "host": lambda: count(f"{fields} WHERE host = ? ORDER BY received_at DESC LIMIT {LAST}", HOST),
        "rare": lambda: count(f"{fields} WHERE contains(text, ?)", RARE),
        "absent": lambda: count(f"{fields} WHERE contains(text, ?)", ABSENT),
        "limit": lambda: count(f"{fields} WHERE contains(text, ?) ORDER BY received_at DESC LIMIT {LIMIT}", FREQUENT),
        "regex": lambda: count(f"{fields} WHERE regexp_matches(text, ?)", RARE_REGEX),
        "scan": lambda: count(f"{fields} WHERE regexp_matches(text, ?)", SCAN_REGEX),
        "counts": lambda: sum(
            counted
            for _, _, counted in connection.execute(
                "SELECT date_trunc('minute', received_at) AS minute, level, count(*) FROM messages GROUP BY ALL"
            ).fetchall()
        ),
    }


def sqlite(directory: Path) -> Queries:
    """SQL with FTS5."""
    connection = sqlite3.connect(f"file:{directory / 'messages.sqlite'}?mode=ro", uri=True)
    connection.create_function("regexp", 2, lambda pattern, text: re.search(pattern, text) is not None)
    fields = "SELECT received_at, host, level, seq, m.text FROM messages m"
    found = f"{fields} JOIN words ON m.rowid = words.rowid WHERE words MATCH ?"

    def count(sql: str, *values: str) -> int:
        return len(connection.execute(sql, values).fetchall())

    return {
        "host": lambda: count(f"{fields} WHERE host = ? ORDER BY received_at DESC LIMIT {LAST}", HOST),
        "rare": lambda: count(found, f'"{RARE}"'),
        "absent": lambda: count(found, f'"{ABSENT}"'),
        "limit": lambda: count(f"{found} ORDER BY words.rowid DESC LIMIT {LIMIT}", f'"{FREQUENT}"'),
        # FTS5 knows no expressions: with a word that each match has.
        "regex": lambda: count(f"{found} AND m.text REGEXP ?", f'"{RARE}"', RARE_REGEX),
        "scan": lambda: count(f"{found} AND m.text REGEXP ?", '"I/O error, dev"', SCAN_REGEX),
        "counts": lambda: sum(
            counted
            for _, _, counted in connection.execute(
                "SELECT received_at / 60000000, level, count(*) FROM messages GROUP BY 1, 2"
            ).fetchall()
        ),
    }


def victorialogs(server: Server) -> Queries:
    """LogsQL over HTTP."""

    def lines(query: str, **more: Any) -> list[bytes]:
        rest = "".join(f"&{name}={value}" for name, value in more.items())
        return server.get(f"/select/logsql/query?query={quote(query)}{rest}").splitlines()

    fields = "fields _time, host, level, seq, _msg"
    return {
        "host": lambda: len(lines(f'{{host="{HOST}"}} | {fields}', limit=LAST)),
        "rare": lambda: len(lines(f'"{RARE}" | {fields}')),
        "absent": lambda: len(lines(f'"{ABSENT}" | {fields}')),
        "limit": lambda: len(lines(f'"{FREQUENT}" | {fields}', limit=LIMIT)),
        "regex": lambda: len(lines(f"~{json.dumps(RARE_REGEX)} | {fields}")),
        "scan": lambda: len(lines(f"~{json.dumps(SCAN_REGEX)} | {fields}")),
        "counts": lambda: sum(
            int(json.loads(line)["counted"]) for line in lines("* | stats by (_time:1m, level) count() counted")
        ),
    }


def measured(queries: Queries, runs: int, cpu: Callable[[], float]) -> dict[str, dict[str, Any]]:
    """Run each query once, and then ``runs`` times."""
    results = {}
    for name, query in queries.items():
        begin = cpu()
        count = query()
        first = cpu() - begin
        used, wall = [], []
        for _ in range(runs):
            begin, at = cpu(), time.perf_counter()
            again = query()
            wall.append(time.perf_counter() - at)
            used.append(cpu() - begin)
            assert again == count, name
        results[name] = {"count": count, "first": first, "cpu": used, "wall": wall}
    return results


def main(arguments: list[str]) -> int:
    """Print the results: ``ENGINE DIRECTORY RUNS [PROGRAM]``."""
    engine, directory, runs = arguments[0], Path(arguments[1]), int(arguments[2])
    if engine == "victorialogs":
        server = Server(Path(arguments[3]), directory)
        try:
            wait_until_quiet(server.pid)
            results = measured(victorialogs(server), runs, lambda: sum(proc.cpu_ns(server.pid).values()) / 1e9)
        finally:
            server.stop()
    else:
        make = {"netconsd": netconsd, "duckdb": duckdb}.get(engine, sqlite)
        results = measured(make(directory), runs, time.process_time)
    json.dump(results, sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
