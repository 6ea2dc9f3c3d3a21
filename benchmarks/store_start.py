"""The proof ``store-start``: the start of the daemon, and of ``netconsd log``, on a store of a billion messages.

The store is one real segment of the largest size, the newest, and copies of it: hard links of the Parquet file, and
indexes with other numbers and times. The tables inside of the copies have the times of the real one.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from benchmarks import builds, proc, receivers
from benchmarks.kernel_log import Fleet
from benchmarks.measure import processors
from benchmarks.verdict import Check, verdict

if TYPE_CHECKING:
    from netconsd.store.journal import Journal
    from netconsd.store.layout import SegmentFile

ROWS: Final = 1_000_000_000
RUNS: Final = 5
#: Messages that are added to the journal at once.
TURN: Final = 8192
#: The number of the real segment: greater than those of its copies.
FIRST_NUMBER: Final = 1_000_000
LAST: Final = 10
READY_SECONDS: Final = 2.0
#: Longest wait for the compactor.
COMPACTOR_SECONDS: Final = 300.0


def main(arguments: list[str]) -> int:
    """Measure, print, and return 0 if all targets were met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks store-start", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="messages of the store [%(default)s]")
    parser.add_argument("--runs", type=int, default=RUNS, help="starts; the median counts [%(default)s]")
    parser.add_argument("--directory", type=Path, help="for the store: about 2 bytes per message")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="netconsd-start-", dir=options.directory) as name:
        directory = Path(name)
        tree = builds.checkout("compiled", directory / "compiled")
        segments, rows = make(directory / "store", options.rows)
        print(f"{segments} segments, {rows} messages", flush=True)
        runs = []
        for _ in range(options.runs):
            without = _start(directory, tree)
            part = _add_part(directory / "store")
            runs.append(_with_store(directory, tree, part) | {"without": without})
    of = {name: median(run[name] for run in runs) for name in runs[0]}
    print(f"ready with a module that does nothing: {of['without']:.2f} s")
    print(f"processor time: daemon until it is ready {of['ready_cpu']:.2f} s, log {of['log_cpu']:.2f} s")
    print(f"the first part of the journal is in a segment: {of['compacted']:.2f} s after the start")
    return verdict(
        [
            Check("seconds until the daemon is ready", round(of["ready"], 3), READY_SECONDS),
            Check(f"seconds of netconsd log -n {LAST} just then", round(of["log"], 3), READY_SECONDS),
        ]
    )


def make(directory: Path, rows: int) -> tuple[int, int]:
    """Make a store of at least so many messages; return its segments and messages."""
    from netconsd.store import index, layout
    from netconsd.store.segment import About

    real = _real_segment(directory)
    newest = index.read(real.index)
    copies = max(0, -(-rows // newest.rows) - 1)
    sections = {name: newest.section(name) or b"" for name in newest.sections}
    # The copies are before it, and do not overlap.
    span = newest.last - newest.first + 1
    for number in range(copies):
        earlier = (copies - number) * span
        head = {
            **About(number).fields(),
            "groups": newest.groups,
            "first": newest.first - earlier,
            "last": newest.last - earlier,
            "size": newest.size,
            "pages_end": newest.pages_end,
            "checksum": newest.checksum,
        }
        file = layout.segment_file(directory, newest.first - earlier, number, 0)
        file.path.parent.mkdir(exist_ok=True)
        os.link(real.path, file.path)
        file.index.write_bytes(index.encode(sections, head))
    return copies + 1, (copies + 1) * newest.rows


def _real_segment(directory: Path) -> SegmentFile:
    """Make a store of one segment, of as much journal as a segment can have; its number is greater than any copy's."""
    from netconsd.store import compactor, layout

    fleet = Fleet(time.time() // 3600 * 3600 - 7200)
    (directory / layout.JOURNAL).mkdir(parents=True)
    journal = _journal(directory, FIRST_NUMBER)
    while journal.size() < compactor.SEGMENT_BYTES * 9 // 10:
        for batch in fleet.batches(TURN):
            journal.append(0, batch)
    journal.close()
    made = compactor.Compactor(directory)
    made.recover()
    made.compact()
    (file,) = layout.segment_files(directory)
    return file


def _journal(directory: Path, number: int) -> Journal:
    from netconsd.store import journal, layout

    # One part, whatever its size.
    limits: dict[str, Any] = {"part_bytes": 1 << 40, "part_seconds": 1e9, "most_bytes": 1 << 50}
    return journal.Journal(directory / layout.JOURNAL, 1, first_number=number, **limits)


def _add_part(directory: Path) -> Path:
    """Add a closed part to the journal, of a few messages, which the compactor is to find."""
    from netconsd.store import journal, layout

    highest = max(file.number for file in layout.segment_files(directory))
    written = _journal(directory, highest + 1)
    for batch in Fleet(time.time()).batches(LAST * 10):
        written.append(0, batch)
    written.close()
    (part,) = journal.parts(directory / layout.JOURNAL)
    return part.path


def _start(directory: Path, tree: Path) -> float:
    """Return the seconds until a daemon listens whose module does nothing; it is stopped then."""
    begin = time.monotonic()
    with receivers.daemon(tree, ("noop",), (), directory, processors(False)[1]) as receiver:
        seconds = time.monotonic() - begin
        receiver.stop()
    return seconds


def _with_store(directory: Path, tree: Path, part: Path) -> dict[str, float]:
    """Return seconds: until the daemon listens, of ``netconsd log`` just then, and until the part is in a segment.

    ``ready_cpu`` and ``log_cpu`` are processor time, which other programs do not change.
    """
    store = directory / "store"
    begin = time.monotonic()
    options = ("--set", f"store.directory={store}", "--set", "store.max_size=1000G")
    with receivers.daemon(tree, ("store",), options, directory, processors(False)[1]) as receiver:
        ready = time.monotonic()
        ready_cpu = sum(proc.cpu_ns(receiver.pid).values()) / 1e9
        command = [sys.executable, "-m", "netconsd", "log", "--store", str(store), "-n", str(LAST), "-o", "json"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": str(tree)}, stdout=subprocess.PIPE, text=True, check=True
        )
        log = time.monotonic()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert len(done.stdout.splitlines()) == LAST, done.stdout
        while part.exists():
            if time.monotonic() > begin + COMPACTOR_SECONDS:
                raise receivers.ReceiverError("the compactor makes no segment of the journal")
            time.sleep(0.01)
        compacted = time.monotonic()
        receiver.stop()
    return {
        "ready": ready - begin,
        "ready_cpu": ready_cpu,
        "log": log - ready,
        "log_cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "compacted": compacted - begin,
    }
