"""A module that is a stream: it keeps the records for its process, and watches that.

::

    class MyServer(Stream):
        def __init__(self, *, url: str, **settings: Any) -> None:
            super().__init__(**settings)
            self._url = url

        def encode(self, record: Record) -> bytes: ...
        def send(self, batch: Sequence[Encoded]) -> Answer: ...

The class is constructed twice with the same settings: in the daemon, where the methods of a module are called, and in
the stream's process, where those of a sink are. docs/streams has a whole one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from twisted.logger import Logger as Log
from zope.interface import implementer

import netconsd
from netconsd.crash.event import Event
from netconsd.crash.report import Report
from netconsd.interfaces import (
    IBatchOutputModule,
    ICheckable,
    ICountsLosses,
    IEventModule,
    IExportsMetrics,
    IKeeps,
    IReloadable,
    IReportModule,
    ISends,
    IUsesNames,
    ModuleMetric,
)
from netconsd.logger.checks import check_all, check_directory, read_regular
from netconsd.logger.selection import Level, Selection
from netconsd.names import Names
from netconsd.protocol.decode import decode
from netconsd.protocol.encode import extended
from netconsd.protocol.message import MAPPED_IPV4, ExtendedMessage, Message, Source
from netconsd.protocol.plural import plural
from netconsd.rendering import printable
from netconsd.store import layout
from netconsd.store.findings import EVENTS, REPORTS, Findings, line_of, size
from netconsd.store.journal import Journal, adopt
from netconsd.store.lock import Lock, Locked
from netconsd.streams.delivery import Limits
from netconsd.streams.journalspool import JOURNAL, next_part
from netconsd.streams.process import Task, is_wanted, plain
from netconsd.streams.record import Record, message_id
from netconsd.streams.sink import Encoded, Refused, Sink, TryLater, reason_of
from netconsd.units import Duration, Size

Kind = Literal["messages", "reports", "events"]

KINDS: Final[tuple[Kind, ...]] = ("messages", "reports", "events")
SPOOL_SIZE: Final = Size("1G")
DEAD_SIZE: Final = Size("64M")
BATCH_RECORDS: Final = 1000
BATCH_BYTES: Final = Size("1M")
BATCH_SECONDS: Final = Duration("1s")
#: A part of the journal is closed at this size, or at this age in seconds: then it can be deleted.
PART_BYTES: Final = 8 << 20
PART_SECONDS: Final = 60.0
#: Seconds between two syncs of the journal: a crash of the machine loses the messages of that time.
SYNC_SECONDS: Final = 1.0
#: The share of ``spool_size`` that reports and events can have, beside the messages.
FINDINGS_SHARE: Final = 4
#: Seconds before the process is started again after it ended: the first time, and at most.
RESTART_SECONDS: Final = 1.0
RESTART_LIMIT: Final = 60.0
#: Seconds for which the stop waits for the process, which is killed then: it drains for less.
STOP_SECONDS: Final = 5.0
#: An error of the disk is logged once in this time.
COMPLAINT_SECONDS: Final = 60.0
#: Seconds for which the process may end again and again before that is a fault.
FAULT_SECONDS: Final = 30.0

log = Log("netconsd.streams")


@implementer(
    IBatchOutputModule,
    IReportModule,
    IEventModule,
    IReloadable,
    ICountsLosses,
    IExportsMetrics,
    ICheckable,
    IUsesNames,
    ISends,
    IKeeps,
)
class Stream(Sink):
    """Appends records to the stream's journal, or nothing if its process reads a store."""

    #: A directory of modules must not begin to send.
    only_if_named = True
    #: The Python package that the sink imports when it connects; the extra of netconsd has the module's name.
    library = ""
    #: Whether the process sends the journal's messages as blocks (:mod:`netconsd.streams.broker`).
    sends_blocks = False
    #: The calls of the operating system that write.
    system: layout.System = os
    thread: Callable[..., Any] = threading.Thread

    _arguments: dict[str, Any]
    #: The private attributes of this class, until the object is made.
    _own: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        """Have the constructor of the class keep its settings, for the process.

        :raises TypeError: if a private name of the class is one of this class; of an attribute, the constructor raises
            it.
        """
        super().__init_subclass__(**options)
        construct = cls.__init__
        for name in sorted(vars(cls)):
            if _is_private(name) and any(name in vars(base) for base in Stream.__mro__):
                raise TypeError(f"{cls.__name__}.{name}: Stream has this name: choose another one")

        @wraps(construct)
        def keep_settings(self: Stream, **settings: Any) -> None:
            if hasattr(self, "_arguments"):
                construct(self, **settings)
                return
            self._arguments = settings
            construct(self, **settings)
            for name, value in self._own.items():
                if vars(self).get(name) is not value:
                    raise TypeError(f"{type(self).__name__}.{name}: Stream has this name: choose another one")
            del self._own

        cls.__init__ = keep_settings  # type: ignore[method-assign]

    def __init__(
        self,
        *,
        kinds: list[Kind] | None = None,
        level: Level | None = None,
        hosts: list[str] | None = None,
        keep: str | None = None,
        drop: str | None = None,
        store: Path | None = None,
        directory: Path | None = None,
        spool_size: Size = SPOOL_SIZE,
        dead_size: Size = DEAD_SIZE,
        batch_records: int = BATCH_RECORDS,
        batch_bytes: Size = BATCH_BYTES,
        batch_seconds: Duration = BATCH_SECONDS,
    ) -> None:
        """
        :param kinds: messages, reports, events: those that are sent; by default all. Only crashes: reports.
        :param level: messages of this level and of more severe ones are sent, and those without a level.
        :param hosts: addresses, networks and names of the senders whose records are sent.
        :param keep: a regular expression; only messages that match are sent.
        :param drop: a regular expression; messages that match are not sent.
        :param store: the directory of the module store, from which the records are read. Without it, the stream has a
            journal of its own.
        :param directory: where the journal, the cursor and the dead letters are; by default beside the store.
        :param spool_size: the size of the journal beyond which its oldest messages are dropped.
        :param dead_size: the size of the file of dead letters beyond which refused records are dropped.
        :param batch_records: the most records that are sent at once.
        :param batch_bytes: the most bytes that are sent at once; a larger record is sent alone.
        :param batch_seconds: how long a record waits for others.
        :raises ValueError: if a setting is out of range, with a text that names the setting.
        """
        unknown = sorted(set(kinds or ()) - set(KINDS))
        if unknown or kinds == []:
            raise ValueError(f"kinds: write some of {', '.join(KINDS)}")
        if spool_size < 4 * PART_BYTES:
            raise ValueError(f"spool_size: {spool_size} is less than {Size(4 * PART_BYTES)}")
        if not 1 <= batch_records <= 100_000:
            raise ValueError(f"batch_records: {batch_records} is not from 1 to 100000")
        if not 1024 <= batch_bytes <= 16 << 20:
            raise ValueError(f"batch_bytes: {batch_bytes} is not from 1K to 16M")
        if not 0.01 <= batch_seconds <= 60:
            raise ValueError(f"batch_seconds: {batch_seconds} is not from 0.01s to 60s")
        self._kinds: list[str] = list(kinds or KINDS)
        self._level: Level | None = level
        self._hosts = list(hosts or ())
        self._keep = keep
        self._drop = drop
        # Here, so that an error has the place of the setting.
        self._selection = Selection(level, self._hosts, keep, drop)
        name = Path(str(sys.modules[type(self).__module__].__file__)).stem
        #: The name of the stream: that of the module's file.
        self.stream_name = name
        # The daemon changes its working directory before it starts.
        self._directory = (directory or layout.default_directory().parent / "streams" / name).absolute()
        self._store = None if store is None else store.absolute()
        self._spool_size = int(spool_size)
        self._dead_size = int(dead_size)
        self._limits = Limits(batch_records, int(batch_bytes), float(batch_seconds))
        # A store is read by the process; the module takes nothing then.
        self.wants_reports = store is None and REPORTS in self._kinds
        self.wants_events = store is None and EVENTS in self._kinds
        self._takes_messages = store is None and "messages" in self._kinds
        self._names: Names | None = None
        self._lock: Lock | None = None
        self._journal: Journal | None = None
        self._findings: Findings | None = None
        self._findings_full = False
        # For one sync at a time, and the error of one that the next call of sync() raises: the system reports it once.
        self._syncing = threading.Lock()
        self._sync_error: OSError | None = None
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._process: subprocess.Popen[str] | None = None
        self._complained: dict[str, float] = {}
        self._errors: dict[str, str] = {}
        self._monotonic: Callable[[], float] = time.monotonic
        self._clock: Callable[[], float] = time.time
        # Records by worker that were appended, and those that were not.
        self._appended: list[int] = []
        self._lost: list[int] = []
        # The sums of the processes before this one, and the last line of this one.
        self._before: dict[str, int] = {}
        self._numbers_before: dict[str, int] = {}
        self._reported: dict[str, Any] = {}
        self._restarts = 0
        self._reloading = False
        self._ends_since: float | None = None
        self._task: Task | None = None
        self._own = {name: value for name, value in vars(self).items() if _is_private(name)}

    def use_names(self, names: Names) -> None:
        """Use the key of the userdata and the file of names that the daemon has."""
        self._names = names

    def check(self) -> None:
        """Test the directory, the files of the settings, and the libraries.

        :raises ExceptionGroup: with everything that cannot be used; ``store`` need not exist yet.
        :raises ModuleNotFoundError: if pyarrow or the library of the sink is missing.
        """
        self._check_library()
        files = {
            name: partial(read_regular, str(value))
            for name, value in self._arguments.items()
            if isinstance(value, Path) and name not in ("directory", "store")
        }
        check_all(directory=partial(check_directory, self._directory), **files)

    def _check_library(self) -> None:
        if self.library and find_spec(self.library) is None:
            name = self.stream_name
            raise ModuleNotFoundError(
                f"the module {name} needs {self.library}: pip install 'netconsd[{name}]'", name=self.library
            )
        if self._store is not None and find_spec("pyarrow") is None:
            raise ModuleNotFoundError("the setting store needs pyarrow: pip install 'netconsd[store]'", name="pyarrow")

    def start(self, worker_count: int) -> None:
        """Take the directory, and start the threads and the process.

        :raises ModuleNotFoundError: if pyarrow or the library of the sink is missing.
        :raises RuntimeError: if the directory cannot be used, or another daemon uses it.
        """
        self._check_library()
        journal = self._directory / JOURNAL
        try:
            for path in (self._directory, journal):
                path.mkdir(layout.DIRECTORY_MODE, parents=path == self._directory, exist_ok=True)
            self._lock = Lock(self._directory)
        except Locked as error:
            raise RuntimeError(f"directory: {error}") from error
        except OSError as error:
            raise RuntimeError(f"directory: cannot write {self._directory}: {error.strerror}") from error
        self._appended, self._lost = [0] * worker_count, [0] * worker_count
        try:
            if self._store is None:
                torn = [size for _, size in adopt(journal, self.system) if size]
                if torn:
                    log.warn(
                        "{name}: the machine crashed: {count} half written to the journal lost",
                        name=self.stream_name,
                        count=plural(len(torn), "batch", "batches"),
                    )
                self._journal = Journal(
                    journal,
                    worker_count,
                    first_number=next_part(self._directory),
                    part_bytes=PART_BYTES,
                    part_seconds=PART_SECONDS,
                    most_bytes=self._spool_size,
                    system=self.system,
                )
                self._findings = Findings(self._directory, worker_count, system=self.system)
        except OSError as error:
            self._lock.release()
            raise RuntimeError(f"directory: cannot use {self._directory}: {error.strerror}") from error
        names = self._names or Names()
        self._selection.start(worker_count, names.all_of)
        self._task = Task(
            file=str(sys.modules[type(self).__module__].__file__),
            cls=type(self).__name__,
            settings={name: plain(value) for name, value in self._arguments.items()},
            directory=str(self._directory),
            store=None if self._store is None else str(self._store),
            since=self._clock(),
            kinds=self._kinds,
            dead_bytes=self._dead_size,
            limits=self._limits,
            blocks=self.sends_blocks,
            level=self._level,
            hosts=self._hosts,
            keep=self._keep,
            drop=self._drop,
            host_key=names.host_key,
            hosts_file=None if names.hosts_file is None else str(names.hosts_file),
        )
        log.info("{name}: the spool is in {directory}", name=self.stream_name, directory=str(self._directory))
        self._stopping.clear()
        for what, run in (("sync", self._sync), ("process", self._watch)):
            thread = self.thread(target=run, name=f"netconsd {self.stream_name} {what}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        """Append the selected messages to the journal; those that cannot be written are counted, and the error is
        logged."""
        if self._journal is None or not self._takes_messages:
            return
        kept = list(self._selection.kept(worker, messages))
        if not kept:
            return
        self._appended[worker] += len(kept)
        try:
            self._journal.append(worker, kept)
        except OSError as error:
            self._complain("write", error)
        else:
            if self._errors:
                self._errors.pop("write", None)

    def handle_report(self, worker: int, report: Report) -> None:
        """Write a crash report; one that cannot be written is counted, and the error is logged."""
        self._add(worker, REPORTS, report)

    def handle_event(self, worker: int, event: Event) -> None:
        """Write an event; one that cannot be written is counted, and the error is logged."""
        self._add(worker, EVENTS, event)

    def _add(self, worker: int, kind: str, finding: Report | Event) -> None:
        if self._findings is None or not is_wanted(self._selection, finding):
            return
        self._appended[worker] += 1
        if self._findings_full:
            self._lost[worker] += 1
            return
        try:
            self._findings.append(worker, kind, finding.received_at, line_of(finding))
        except OSError as error:
            self._complain("write", error)
        else:
            if self._errors:
                self._errors.pop("write", None)

    def lost(self, worker: int) -> int:
        """Return how many records of a worker were not written, or removed from a full journal; any thread.

        Of a removed part, those that had been sent are counted as well: the process tells in ``spared``, and
        ``stream_dropped_records`` leaves them out.
        """
        written = 0 if self._journal is None else self._journal.lost[worker]
        return written + (0 if self._findings is None else self._findings.lost[worker]) + self._lost[worker]

    def _sync(self) -> None:
        """Sync once a second, and look how much room reports and events take."""
        while not self._stopping.wait(SYNC_SECONDS):
            self._sync_once()

    def _sync_once(self) -> None:
        with self._syncing:
            self._sync_files()

    def sync(self) -> None:
        """Sync the journal of the stream (:class:`netconsd.interfaces.IKeeps`); of a stream that reads the store, the
        store does.

        :raises OSError: if the disk fails.
        """
        with self._syncing:
            self._sync_files()
            error, self._sync_error = self._sync_error, None
        if error is not None:
            raise error

    def _sync_files(self) -> None:
        if self._journal is None or self._findings is None:
            return
        try:
            self._journal.sync()
            self._findings.sync()
            self._findings_full = size(self._directory) > self._spool_size // FINDINGS_SHARE
        except OSError as error:
            self._sync_error = error
            self._complain("sync", error)
        else:
            self._errors.pop("sync", None)

    def _complain(self, verb: str, error: OSError) -> None:
        """Log an error of the disk once in :data:`COMPLAINT_SECONDS`; any thread."""
        self._errors[verb] = error.strerror or str(error)
        now = self._monotonic()
        if now - self._complained.get(verb, -COMPLAINT_SECONDS) >= COMPLAINT_SECONDS:
            self._complained[verb] = now
            log.error(
                "{name}: cannot {verb} the files in {directory}: {error}; lost records are counted",
                name=self.stream_name,
                verb=verb,
                directory=str(self._directory),
                error=error.strerror,
            )

    def _watch(self) -> None:
        """Run the process, and start it again when it ends."""
        pause = RESTART_SECONDS
        while not self._stopping.is_set():
            begun_at = self._monotonic()
            self._carry_over()
            status = self._run_process()
            if self._stopping.is_set():
                return
            if self._reloading:
                self._reloading = False
                continue
            now = self._monotonic()
            if now - begun_at > RESTART_LIMIT:
                pause = RESTART_SECONDS
                self._ends_since = now
            elif self._ends_since is None:
                self._ends_since = begun_at
            log.error(
                "{name}: the process of the stream ended with status {status}; it is started again in {seconds:g} s",
                name=self.stream_name,
                status=status,
                seconds=pause,
            )
            if self._stopping.wait(pause):
                return
            self._restarts += 1
            pause = min(2 * pause, RESTART_LIMIT)

    def _carry_over(self) -> None:
        """Add the counts of the process that has ended to those before."""
        self._before = {name: self._sum(name) for name in _SUMS}
        names = {*self._numbers_before, *self._reported.get("numbers", {})}
        self._numbers_before = {name: self.counted(name) for name in names}
        self._reported = {}

    def _run_process(self) -> int | str:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "netconsd.streams.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd="/",
                env=environment(),
                # Ctrl-C in the terminal of the daemon interrupts the daemon only, which ends the process.
                process_group=0,
            )
        except OSError as error:
            return str(error.strerror)
        assert process.stdout is not None and process.stdin is not None
        self._process = process
        with process:
            assert self._task is not None, "it is started"
            try:
                process.stdin.write(self._task.line())
                process.stdin.flush()
            except OSError:
                pass  # it ended: its status says why
            if self._stopping.is_set():
                _end_input(process)
            for line in process.stdout:
                self._heard(line)
        self._process = None
        return process.returncode

    def _heard(self, line: str) -> None:
        """Take a line of the process (its docstring has the form)."""
        try:
            fields = json.loads(line)
        except ValueError:
            fields = {"warn": line.rstrip()}
        if "warn" in fields:
            # A trace has several lines, and may have a server's answer in it.
            text = "\n".join([printable(line) for line in str(fields["warn"]).split("\n")])
            log.warn("{name}: {text}", name=self.stream_name, text=text)
            return
        self._reported = fields

    def reload(self) -> None:
        """Have the process read the file of names and certificates again: it ends in order, and is started again."""
        process = self._process
        if process is not None:
            self._reloading = True
            _end_input(process)

    def _sum(self, name: str) -> int:
        return self._before.get(name, 0) + int(self._reported.get(name, 0))

    def counted(self, name: str) -> int:
        """Return the sum of one of :attr:`numbers` over this process and those before it; any thread."""
        return self._numbers_before.get(name, 0) + int(self._reported.get("numbers", {}).get(name, 0))

    @property
    def lag(self) -> float | None:
        """Seconds since the receipt of the oldest record that was read and is not known to be delivered; 0 if there is
        none, None before the process's first line."""
        if "oldest" not in self._reported:
            return None
        oldest = self._reported["oldest"]
        return 0.0 if oldest is None else max(0.0, self._clock() - oldest)

    def metrics(self) -> list[ModuleMetric]:
        """Return the numbers of the stream; docs/metrics has the table."""
        lost = sum(self.lost(worker) for worker in range(len(self._lost)))
        queued = self._sum("queued") if self._store is not None else sum(self._appended)
        dropped = self._sum("dropped") + max(0, lost - self._sum("spared"))
        return [
            ModuleMetric("stream_queued_records", "Records to be sent.", queued, counter=True),
            ModuleMetric("stream_sent_records", "Records that the server accepted.", self._sum("sent"), counter=True),
            ModuleMetric("stream_retried_batches", "Batches that were sent again.", self._sum("retried"), counter=True),
            ModuleMetric(
                "stream_refused_records", "Records that the server refused.", self._sum("refused"), counter=True
            ),
            ModuleMetric(
                "stream_dead_records", "Refused records in the dead letters.", self._sum("dead"), counter=True
            ),
            ModuleMetric(
                "stream_dropped_records", "Records that are neither sent nor dead letters.", dropped, counter=True
            ),
            ModuleMetric(
                "stream_process_restarts", "Starts of the process after it had ended.", self._restarts, counter=True
            ),
            ModuleMetric("stream_lag_seconds", "Age of the oldest record that is not known to be delivered.", self.lag),
        ]

    def faults(self) -> list[str]:
        """Return the reasons for which records are lost, refused, or not delivered."""
        found = [
            f"cannot {verb} the files in {self._directory}: {text}"
            for verb, text in sorted(self._errors.copy().items())
        ]
        found += [self._reported[name] for name in ("fault", "refusal", "sink_fault") if self._reported.get(name)]
        if self._findings_full:
            found.append("reports and events fill their part of the spool: further ones are dropped")
        now = self._monotonic()
        if self._ends_since is not None and not self._reported and now - self._ends_since >= FAULT_SECONDS:
            found.append("the process of the stream ends again and again; the log has its last words")
        return found

    def stop(self) -> Any:
        """Sync and close the journal, and end the process: it sends the rest if the server answers.

        :returns: a Deferred: this waits for the disk and the server, in another thread.
        """
        from twisted.internet.threads import deferToThread

        return deferToThread(self.finish)

    def finish(self) -> None:
        """Do the work of :meth:`stop`, in the calling thread."""
        self._stopping.set()
        for files in (self._journal, self._findings):
            if files is not None:
                try:
                    files.close()
                except OSError as error:
                    self._complain("sync", error)
        process = self._process
        if process is not None:
            _end_input(process)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        self._threads.clear()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def send_test(self) -> str:
        """Deliver a record that says that it is a test, in the calling thread, and return the server's answer.

        :raises RuntimeError: if the server refuses it, or does not answer.
        """
        record = test_record(self._clock())
        try:
            encoded = Encoded(record, self.encode(record))
            answer = self.send([encoded])
        except (Refused, TryLater, OSError, ValueError) as error:
            raise RuntimeError(f"the test record was not delivered: {reason_of(error)}") from error
        finally:
            self.close()
        if answer.refused or answer.later:
            raise RuntimeError(f"the test record was not delivered: {next(iter(answer.refused.values()), answer.text)}")
        return answer.text


_SUMS: Final = ("queued", "sent", "retried", "refused", "dead", "dropped", "spared")


def test_record(now: float) -> Record:
    """Return the record of ``netconsd check --send``: a message of level info from 127.0.0.1."""
    sender = Source.from_key(MAPPED_IPV4 + bytes((127, 0, 0, 1)) + bytes(2))
    message = decode(extended("netconsd check --send: a test record", seq=0, level=6), sender, now)
    assert isinstance(message, ExtendedMessage), "it is whole"
    return Record(message, message_id(message, int(now), 0), int(now), "netconsd-check")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _end_input(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    # It may have ended.
    with suppress(OSError):
        process.stdin.close()


def environment() -> dict[str, str]:
    """Return the environment of the process: it imports the same netconsd as this one, from any directory."""
    package = str(Path(netconsd.__file__).resolve().parents[1])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
    return {**os.environ, "PYTHONPATH": ":".join(paths), "OMP_NUM_THREADS": "1"}
