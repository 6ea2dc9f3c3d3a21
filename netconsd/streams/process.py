"""The process of a stream: ``python -m netconsd.streams.process``.

Its first line of input is a JSON object (:class:`Task`), so that no password is in the list of processes. The end of
the input asks it to stop, also that of a daemon that was killed. It writes lines of JSON: the counts after each batch,
or each second (:class:`netconsd.streams.delivery.Counts`, with ``spared``), and ``{"warn": TEXT}`` for the log.

A call of the sink that takes :data:`HANG_SECONDS` ends the process (SIGALRM); the module starts it again.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from netconsd.crash.event import Event
from netconsd.crash.report import Report
from netconsd.logger.selection import Level, Selection
from netconsd.names import Names
from netconsd.outputs.modulefile import import_file
from netconsd.outputs.parameters import parameters
from netconsd.outputs.setting_types import ModuleSetting, convert
from netconsd.protocol.message import LegacyMessage, Message
from netconsd.store.findings import EVENTS, REPORTS
from netconsd.store.lock import Lock, Locked
from netconsd.streams.blockspool import BlockSpool
from netconsd.streams.cursor import Cursor
from netconsd.streams.deadletters import FILE, DeadLetters
from netconsd.streams.delivery import Counts, Delivery, Limits
from netconsd.streams.findingfiles import FindingSource
from netconsd.streams.journalspool import JournalSource
from netconsd.streams.record import Record
from netconsd.streams.sink import Sink
from netconsd.streams.spool import CURSOR, Source, Spool, Spooled

#: The file of the lock by which a stream has one process at a time.
LOCK: Final = "process"
#: Seconds for a call of the sink, or a read of the spool: some times the timeouts of sinks.
HANG_SECONDS: Final = 600
#: Pauses are cut into pieces of so many seconds, with a report after each.
REPORT_SECONDS: Final = 1.0
#: The process gives way to the reception (nice(2)): what it has not sent waits in the spool, and a datagram that is not
#: read in time is lost.
NICENESS: Final = 10
#: Address space: the batches, Arrow and a server's library.
PROCESS_BYTES: Final = 4 << 30


@dataclass(frozen=True)
class Task:
    """The first line of input."""

    #: The file and the class of the module, and its settings as JSON can hold them.
    file: str
    cls: str
    settings: Mapping[str, Any]
    #: Of the stream; it exists.
    directory: str
    #: Of the store; None for a journal in the stream's directory.
    store: str | None
    #: The Unix time at which the daemon started the stream: a stream of a store without a cursor begins then.
    since: float
    #: ``messages``, ``reports``, ``events``: those that are sent.
    kinds: list[str]
    dead_bytes: int
    limits: Limits = field(default_factory=Limits)
    #: The conditions for records of a store; those of a journal were selected before.
    level: Level | None = None
    hosts: list[str] = field(default_factory=list)
    keep: str | None = None
    drop: str | None = None
    host_key: str = "host"
    hosts_file: str | None = None
    #: Whether the messages of the stream's journal are sent as blocks.
    blocks: bool = False

    def line(self) -> str:
        """Return the line, with its newline."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of(cls, line: str) -> Task:
        """Return the task of a line."""
        fields = json.loads(line)
        return cls(**{**fields, "limits": Limits(**fields["limits"])})


def plain(value: object) -> Any:
    """Return a setting's value as JSON can hold it, and :func:`made` takes it."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if type(value) in (int, float):
        return value
    return int(value) if isinstance(value, int) else str(value)


def made(file: Path, name: str, settings: Mapping[str, Any]) -> Sink:
    """Return an object of a module's class, with its settings.

    :raises Exception: as its constructor does; the daemon has called it with the same values.
    """
    cls = getattr(import_file(file), name)
    kinds = {parameter.name: parameter.annotation for parameter in parameters(cls)}
    arguments = {
        key: convert(kinds[key], ModuleSetting(value, key, Path("/")))
        for key, value in settings.items()
        if value is not None
    }
    sink: Sink = cls(**arguments)
    return sink


def spool_of(
    task: Task, warn: Callable[[str], object], clock: Callable[[], float] = time.time, *, by_time: bool = False
) -> tuple[Spool, JournalSource | None]:
    """Return the spool of a task, and its journal if it has one.

    :param by_time: as :attr:`Sink.by_time`.
    :raises OSError: if it cannot be read.
    """
    directory = Path(task.directory)
    position = _position(directory / CURSOR, task, warn)
    names = Names(task.host_key, task.hosts_file)
    names.read()

    def name_of(message: Message) -> str:
        names.learn([message])
        source = message.source
        return names.known(source.address, source.port, message.received_at)

    kinds = [kind for kind in (REPORTS, EVENTS) if kind in task.kinds]
    at = (position or {}).get
    files = Path(task.store) if task.store is not None else directory
    findings = FindingSource(
        files,
        at("findings"),
        kinds=kinds,
        since=0.0 if task.store is None else task.since,
        deletes=task.store is None,
        name_of=name_of,
        warn=warn,
        clock=clock,
    )
    sources: dict[str, Source] = {"findings": findings}
    waiting = findings if by_time else None
    if task.store is None:
        journal = JournalSource(directory, at("messages"), name_of, warn, by_time=by_time)
        sources["messages"] = journal
        return Spool(directory, sources, task.store, findings=waiting), journal
    if "messages" in task.kinds:
        # Here, as it needs pyarrow.
        from netconsd.streams.storespool import StoreSource

        begin = at("messages") or {"time": task.since}
        sources["messages"] = StoreSource(Path(task.store), directory, begin, name_of, warn, clock)
    wanted = wanted_by(Selection(task.level, task.hosts, task.keep, task.drop), names)
    spool = Spool(directory, sources, task.store, wanted, findings=waiting)
    if position is None:
        # What is written from now on is sent, also if nothing is before the next start.
        spool.commit({name: source.position() for name, source in sources.items()}, [])
    return spool, None


def blocks_of(task: Task, sink: Sink, warn: Callable[[str], object]) -> BlockSpool:
    """Return the spool of a task that sends blocks.

    :raises OSError: if it cannot be read.
    """
    directory = Path(task.directory)
    position = _position(directory / CURSOR, task, warn)
    return BlockSpool(directory, position, sink.shape, task.limits.size, warn, sink.receiver)


def _position(path: Path, task: Task, warn: Callable[[str], object]) -> dict[str, Any] | None:
    """Return the place of the cursor; None if there is none."""
    position = Cursor(path).load()
    if position is not None and position.get("store") == task.store:
        return position
    if position is not None:
        warn("the setting store was changed: the stream begins with new records; those of the old spool are not sent")
    elif path.exists():
        warn(f"{path} is damaged: records of the time before it was written are sent again, or all that are there")
        if task.store is not None:
            return {"messages": {"time": path.stat().st_mtime}}
    return None


def wanted_by(selection: Selection, names: Names) -> Callable[[list[Record]], list[Record]]:
    """Return the function that returns the selected records."""
    selection.start(1, names.all_of)

    def wanted(records: list[Record]) -> list[Record]:
        if not selection.active:
            return records
        kept = {id(message) for message in selection.kept(0, [r.body for r in records if isinstance(r.body, Message)])}
        return [
            record
            for record in records
            if id(record.body) in kept or (not isinstance(record.body, Message) and is_wanted(selection, record.body))
        ]

    return wanted


def is_wanted(selection: Selection, finding: Report | Event) -> bool:
    """Return whether ``hosts`` selects the machine of a report or an event, by its address or its name."""
    messages = finding.messages[:1] if isinstance(finding, Report) else (finding.message,)
    message = messages[0] if messages else None
    if message is None and finding.source is not None:
        message = LegacyMessage(finding.source, finding.received_at, b"")
    return selection.is_wanted(message)


class _Output:
    """Writes the lines of the process."""

    def __init__(self, file: Any) -> None:
        self._file = file
        #: Whose ``spared`` is reported.
        self.journal: JournalSource | BlockSpool | None = None

    def counts(self, counts: Counts) -> None:
        """Write the counts; a stream that does not call this for :data:`HANG_SECONDS` ends."""
        signal.alarm(HANG_SECONDS)
        self.put({**counts.fields(), "spared": 0 if self.journal is None else self.journal.spared})

    def put(self, fields: Mapping[str, Any]) -> None:
        """Write a line; the daemon may be gone."""
        with suppress(OSError):
            self._file.write(json.dumps(fields) + "\n")
            self._file.flush()


def main() -> int:
    """Send until the end of the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(NICENESS)
    # The hard limit stays: a program that the sink runs may need more; and a lower one cannot be raised.
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = PROCESS_BYTES if hard == resource.RLIM_INFINITY else min(PROCESS_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    task = Task.of(sys.stdin.readline())
    # Output of a library must not be among the lines.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stop = threading.Event()
    output = _Output(out)
    threading.Thread(target=_until_end, args=(stop,), daemon=True).start()

    def warn(text: str) -> None:
        output.put({"warn": text})

    def wait(seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not stop.is_set() and (left := end - time.monotonic()) > 0:
            stop.wait(min(left, REPORT_SECONDS))
            output.counts(delivery.counts)
        return stop.is_set()

    sink = made(Path(task.file), task.cls, task.settings)
    lock: Lock | None = None
    while True:
        try:
            # The process of a daemon that was killed may still send.
            lock = lock or Lock(Path(task.directory), LOCK)
            spool: Spooled
            if task.blocks:
                spool = output.journal = blocks_of(task, sink, warn)
            else:
                spool, output.journal = spool_of(task, warn, by_time=sink.by_time)
            break
        except (OSError, Locked) as error:
            text = f"cannot read the spool: {error}"
            output.counts(Counts(fault=text))
            if stop.wait(REPORT_SECONDS):
                return 0
    dead = DeadLetters(Path(task.directory) / FILE, task.dead_bytes)
    sink.begin(Path(task.directory), warn)
    delivery = Delivery(
        sink,
        spool,
        dead,
        task.limits,
        clock=time.monotonic,
        wall=time.time,
        wait=wait,
        report=output.counts,
        warn=warn,
    )
    delivery.run()
    lock.release()
    return 0


def _until_end(stop: threading.Event) -> None:
    while sys.stdin.readline():
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
