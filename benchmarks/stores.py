"""The stores that the proof ``store`` compares: netconsd's own, and others as a program would use them.

Each is given the same messages, as a worker delivers them, and has them on disk after :meth:`Ingest.finish`. The other
stores get rows of plain values. Making these from messages counts for each of them, because a module would have to do
it; it is also shown alone.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import proc
from netconsd.protocol.message import Message

ROOT: Final = Path(__file__).parents[1]
#: Messages between two syncs of the journal: those of a second at 300,000 per second.
SYNC_MESSAGES: Final = 300_000
#: A transaction of SQLite, and a request of VictoriaLogs.
SMALL_BATCH: Final = 10_000
START_SECONDS: Final = 30.0

#: The columns of the other stores.
COLUMNS: Final = (
    ("received_at", "TIMESTAMP"),
    ("host", "VARCHAR"),
    ("level", "TINYINT"),
    ("facility", "SMALLINT"),
    ("seq", "UBIGINT"),
    ("ts_usec", "UBIGINT"),
    ("caller", "VARCHAR"),
    ("text", "VARCHAR"),
    ("userdata", "VARCHAR"),
    ("release", "VARCHAR"),
    ("cpu", "UINTEGER"),
    ("taskname", "VARCHAR"),
    ("msgid", "UINTEGER"),
)


def row(message: Message) -> tuple[Any, ...]:
    """Return the values of :data:`COLUMNS`, with the time in microseconds."""
    get = getattr
    userdata = get(message, "userdata", None)
    return (
        int(message.received_at * 1e6),
        message.source.address,
        get(message, "level", None),
        get(message, "facility", None),
        get(message, "seq", None),
        get(message, "ts_usec", None),
        get(message, "caller", None),
        message.text,
        json.dumps(dict(userdata)) if userdata else None,
        get(message, "release", None),
        get(message, "cpu", None),
        get(message, "taskname", None),
        get(message, "msgid", None),
    )


def disk_bytes(directory: Path) -> int:
    """The size of all files."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time of a process since its start, to a hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * proc.TICK_NS / 1e9


def wait_until_quiet(pid: int) -> None:
    """Wait until a process works no more: it used less than a tenth of a second in a second, three times."""
    quiet = 0
    while quiet < 3:
        before = cpu_seconds(pid)
        time.sleep(1.0)
        quiet = quiet + 1 if cpu_seconds(pid) - before < 0.1 else 0


class Turn:
    """Messages, and their rows, which are made once for all stores."""

    def __init__(self, batches: Sequence[list[Message]], with_rows: bool) -> None:
        self.batches = batches
        begin = time.process_time()
        self.rows = [row(message) for batch in batches for message in batch] if with_rows else []
        #: Seconds of processor time.
        self.seconds = time.process_time() - begin


class Ingest(ABC):
    """Fills a store. ``rows`` and ``engine`` are seconds of processor time: for making rows, and for all else."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.rows = 0.0
        self.engine = 0.0
        #: Bytes of the peak of the memory of a process of its own; 0 if it has none.
        self.peak = 0

    @abstractmethod
    def add(self, turn: Turn) -> None:
        """Store messages."""

    @abstractmethod
    def finish(self) -> None:
        """Have all on disk. More can be added after it."""

    @abstractmethod
    def close(self) -> None:
        """End, after the last ``finish``."""

    @abstractmethod
    def kill(self) -> None:
        """End the processes and connections, whatever happened."""

    @property
    def cpu(self) -> float:
        """All seconds of processor time."""
        return self.rows + self.engine


class Netconsd(Ingest):
    """The journal as the module writes it, and the compactor as a process of its own, which merges as well.

    ``rows`` is the journal, ``engine`` the compactor, its start included. The compactor is stopped (SIGSTOP) while
    messages are added: it takes full parts, as under a load that lasts, and disturbs no other store.
    """

    def __init__(self, directory: Path) -> None:
        from netconsd.modules import store as module
        from netconsd.store import layout
        from netconsd.store.journal import Journal

        super().__init__(directory)
        for name in (layout.JOURNAL, layout.SEGMENTS):
            (directory / name).mkdir()
        segment_bytes = int(module.SEGMENT_SIZE)
        self._journal = Journal(
            directory / layout.JOURNAL,
            1,
            first_number=0,
            part_bytes=min(module.PART_BYTES, segment_bytes),
            part_seconds=float(module.SEGMENT_AGE),
            # Nothing is compacted while messages are added.
            most_bytes=1 << 50,
        )
        self._unsynced = 0
        command = [sys.executable, "-m", "netconsd.store.compactor", str(directory)]
        command += ["--segment-bytes", str(segment_bytes)]
        # A pipe could fill up.
        with (directory.parent / "compactor.log").open("w") as said:
            self._compactor = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=said, env=os.environ | {"PYTHONPATH": str(ROOT)}
            )
        self._compactor.send_signal(signal.SIGSTOP)

    def add(self, turn: Turn) -> None:
        begin = time.thread_time()
        for batch in turn.batches:
            self._journal.append(0, batch)
            self._unsynced += len(batch)
            if self._unsynced >= SYNC_MESSAGES:
                self._journal.sync()
                self._unsynced = 0
        self.rows += time.thread_time() - begin

    def finish(self) -> None:
        begin = time.thread_time()
        self._journal.close()
        self.rows += time.thread_time() - begin
        self._compactor.send_signal(signal.SIGCONT)
        while any((self.directory / "journal").iterdir()):
            self._must_run()
            time.sleep(0.1)
        wait_until_quiet(self._compactor.pid)
        self._must_run()
        self._compactor.send_signal(signal.SIGSTOP)
        self.engine = cpu_seconds(self._compactor.pid)

    def _must_run(self) -> None:
        said = (self.directory.parent / "compactor.log").read_text()
        if self._compactor.poll() is not None or '"warn"' in said:
            raise subprocess.SubprocessError(
                f"the compactor failed, status {self._compactor.returncode}: {said[-2000:]}"
            )

    def close(self) -> None:
        assert self._compactor.stdin
        self._compactor.stdin.close()
        self._compactor.send_signal(signal.SIGCONT)
        _, status, used = os.wait4(self._compactor.pid, 0)
        self._compactor.returncode = os.waitstatus_to_exitcode(status)
        self.engine = used.ru_utime + used.ru_stime
        self.peak = used.ru_maxrss * 1024

    def kill(self) -> None:
        self._compactor.kill()


class DuckDB(Ingest):
    """DuckDB's own file: 65,536 rows at a time, as an Arrow table."""

    def __init__(self, directory: Path) -> None:
        import duckdb
        import pyarrow as pa

        super().__init__(directory)
        kinds = {
            "TIMESTAMP": pa.timestamp("us"),
            "VARCHAR": pa.string(),
            "TINYINT": pa.int8(),
            "SMALLINT": pa.int16(),
            "UBIGINT": pa.uint64(),
            "UINTEGER": pa.uint32(),
        }
        self._schema = pa.schema([pa.field(name, kinds[kind]) for name, kind in COLUMNS])
        self._table = pa.Table
        self._connection = duckdb.connect(str(directory / "messages.duckdb"))
        self._connection.execute(f"CREATE TABLE messages ({', '.join(map(' '.join, COLUMNS))})")

    def add(self, turn: Turn) -> None:
        begin = time.process_time()
        columns = zip(*turn.rows, strict=True)
        table = self._table.from_arrays(
            [_array(column, field.type) for column, field in zip(columns, self._schema, strict=True)],
            schema=self._schema,
        )
        made = time.process_time()
        self._connection.register("incoming", table)
        self._connection.execute("INSERT INTO messages SELECT * FROM incoming")
        self._connection.unregister("incoming")
        self.rows += turn.seconds + made - begin
        self.engine += time.process_time() - made

    def finish(self) -> None:
        begin = time.process_time()
        self._connection.execute("CHECKPOINT")
        self.engine += time.process_time() - begin

    def close(self) -> None:
        self._connection.close()

    def kill(self) -> None:
        self._connection.close()


def _array(column: Sequence[Any], kind: Any) -> Any:
    import pyarrow as pa

    return pa.array(column, kind)


class SQLite(Ingest):
    """SQLite with an index for the last messages of a host, and FTS5 over the texts, which are stored once."""

    tokenizer = "trigram"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._connection = sqlite3.connect(directory / "messages.sqlite")
        names = ", ".join(name for name, _ in COLUMNS)
        self._connection.executescript(
            f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE messages ({names});"
            "CREATE INDEX of_host ON messages (host, received_at);"
            f"CREATE VIRTUAL TABLE words USING fts5(text, content='messages', tokenize='{self.tokenizer}');"
        )
        self._last = 0

    def add(self, turn: Turn) -> None:
        begin = time.process_time()
        rows = turn.rows
        marks = ", ".join("?" * len(COLUMNS))
        for start in range(0, len(rows), SMALL_BATCH):
            with self._connection as connection:
                connection.executemany(f"INSERT INTO messages VALUES ({marks})", rows[start : start + SMALL_BATCH])
                connection.execute(
                    "INSERT INTO words (rowid, text) SELECT rowid, text FROM messages WHERE rowid > ?", (self._last,)
                )
                self._last = connection.execute("SELECT max(rowid) FROM messages").fetchone()[0]
        self.rows += turn.seconds
        self.engine += time.process_time() - begin

    def finish(self) -> None:
        begin = time.process_time()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.engine += time.process_time() - begin

    def close(self) -> None:
        self._connection.close()

    def kill(self) -> None:
        self._connection.close()


class SQLiteWords(SQLite):
    """The same with FTS5's default tokenizer, which finds whole words only."""

    tokenizer = "unicode61"


class VictoriaLogs(Ingest):
    """A server: ``rows`` is making JSON lines and sending them, ``engine`` the server's processor time."""

    program = Path("victoria-logs")

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._server = Server(self.program, directory)

    def add(self, turn: Turn) -> None:
        names = [name for name, _ in COLUMNS]
        before = cpu_seconds(self._server.pid)
        begin = time.process_time()
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        for start in range(0, len(turn.rows), SMALL_BATCH):
            lines = []
            for values in turn.rows[start : start + SMALL_BATCH]:
                fields = {name: value for name, value in zip(names, values, strict=True) if value is not None}
                # In nanoseconds.
                fields["received_at"] *= 1000
                lines.append(json.dumps(fields))
            path = "/insert/jsonline?_stream_fields=host&_time_field=received_at&_msg_field=text"
            connection.request("POST", path, "\n".join(lines).encode(), {"Content-Type": "application/stream+json"})
            response = connection.getresponse()
            if response.status != 200:
                raise subprocess.SubprocessError(f"VictoriaLogs answered {response.status}: {response.read()!r}")
            response.read()
        connection.close()
        self.rows += turn.seconds + time.process_time() - begin
        self.engine += cpu_seconds(self._server.pid) - before
        self.peak = proc.memory(self._server.pid)[1]

    def finish(self) -> None:
        before = cpu_seconds(self._server.pid)
        self._server.get("/internal/force_flush")
        wait_until_quiet(self._server.pid)
        self.engine += cpu_seconds(self._server.pid) - before

    def close(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        self._server.kill()


class Server:
    """VictoriaLogs on a free port of 127.0.0.1."""

    def __init__(self, program: Path, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process = subprocess.Popen(
            [
                program,
                f"-storageDataPath={directory}",
                f"-httpListenAddr=127.0.0.1:{self.port}",
                "-retentionPeriod=100y",
                "-loggerLevel=ERROR",
            ]
        )
        self.pid = self._process.pid
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.get("/health")
                return
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self._process.kill()
                    raise subprocess.SubprocessError("VictoriaLogs did not start") from None
                time.sleep(0.05)

    def get(self, path: str) -> bytes:
        """Return the answer to a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", path)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 200:
            raise subprocess.SubprocessError(f"VictoriaLogs answered {response.status}: {answer[:500]!r}")
        return answer

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


def chosen(peers: Sequence[str]) -> Iterator[tuple[str, type[Ingest]]]:
    """Yield netconsd and the peers by name."""
    yield "netconsd", Netconsd
    for peer in peers:
        if peer == "sqlite":
            yield "sqlite-trigram", SQLite
            yield "sqlite-words", SQLiteWords
        else:
            yield peer, {"duckdb": DuckDB, "victorialogs": VictoriaLogs}[peer]
