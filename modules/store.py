"""Keeps every message on disk, to be found again with netconsd log (docs/store).

Messages go to a journal, which a thread syncs once a second; a process of its own turns it into compressed files. A
crash of the machine, or a power cut, loses the messages of the last second at most; a crash of netconsd none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger as Log
from zope.interface import implementer

from netconsd.crashes import Event, Report
from netconsd.interfaces import (
    IBatchOutputModule,
    ICheckable,
    ICountsLosses,
    IEventModule,
    IExportsMetrics,
    IKeeps,
    IReportModule,
    ModuleMetric,
)
from netconsd.logger.checks import check_directory
from netconsd.message import Message
from netconsd.protocol.plural import plural
from netconsd.store import layout
from netconsd.store.findings import EVENTS, REPORTS, Findings, line_of
from netconsd.store.journal import OPEN_SUFFIX, Journal, adopt, begun, parts, sync_parts
from netconsd.store.lock import Lock, Locked
from netconsd.store.repeats import Repeats, remember
from netconsd.units import Duration, Size

#: The defaults of the settings.
KEEP: Final = Duration("30d")
MAX_SIZE: Final = Size("50G")
LEAST_FREE: Final = Size("1G")
JOURNAL_SIZE: Final = Size("1G")
SEGMENT_SIZE: Final = Size("128M")
SEGMENT_AGE: Final = Duration("5m")
SYNC_INTERVAL: Final = Duration("1s")
#: Seconds before the compactor is started again after it ended: the first time, and at most.
RESTART_SECONDS: Final = 1.0
RESTART_LIMIT: Final = 60.0
#: Seconds for which the stop waits for the compactor, which is killed then: it continues at the next start.
STOP_SECONDS: Final = 5.0
#: An error of the disk is logged once in this time: a full disk fails for each batch.
COMPLAINT_SECONDS: Final = 60.0
#: Seconds for which the compactor may fail, or the journal wait for it, before the store counts as not working.
FAULT_SECONDS: Final = 180.0
#: A part of the journal is closed at this size, so that the compactor can begin with it. As a record has 65 bytes at
#: least, a part has at most 130,000 senders: the compactor's memory grows with them (SEGMENT_SENDERS).
PART_BYTES: Final = 8 << 20

log = Log("netconsd.store")


@implementer(IBatchOutputModule, IReportModule, IEventModule, ICountsLosses, IExportsMetrics, ICheckable, IKeeps)
class Store:
    """Appends each batch to the journal of its worker; nothing here waits for a sync in a worker's thread."""

    #: A directory of modules must not begin to fill a disk.
    only_if_named = True
    #: The calls of the operating system that write.
    system: layout.System = os
    thread: Callable[..., Any] = threading.Thread

    def __init__(
        self,
        *,
        directory: Path | None = None,
        keep: Duration | None = KEEP,
        max_size: Size | None = MAX_SIZE,
        least_free: Size = LEAST_FREE,
        journal_size: Size = JOURNAL_SIZE,
        segment_size: Size = SEGMENT_SIZE,
        segment_age: Duration = SEGMENT_AGE,
        sync_interval: Duration = SYNC_INTERVAL,
        drop_copies: bool = False,
    ) -> None:
        """
        :param directory: where the files are; by default the service's state directory, or that of the user.
        :param keep: the age at which messages are deleted.
        :param max_size: the size of all files at which the oldest messages are deleted.
        :param least_free: the free space of the disk below which the oldest messages are deleted.
        :param journal_size: the size of the journal beyond which its oldest messages are dropped: it only grows if the
            compactor cannot write.
        :param segment_size: the size of the journal that becomes a segment; the compactor's memory grows with it.
        :param segment_age: the age at which a part of the journal becomes a segment.
        :param sync_interval: how often the journal is synced: what a crash of the machine can lose.
        :param drop_copies: drop messages that the store has already: for the store of a processor, to which a broker
            delivers messages again.
        :raises ValueError: if a setting is out of range, with a text that names the setting.
        """
        if not 0.05 <= sync_interval <= 60:
            raise ValueError(f"sync_interval: {sync_interval} is not from 0.05s to 60s")
        if not 1 << 20 <= segment_size <= 128 << 20:
            raise ValueError(f"segment_size: {segment_size} is not from 1M to 128M")
        if segment_age < 1:
            raise ValueError(f"segment_age: {segment_age} is less than 1s")
        if journal_size < 2 * segment_size:
            raise ValueError(f"journal_size: {journal_size} is less than twice the segment_size, {segment_size}")
        if max_size is not None and max_size < journal_size:
            raise ValueError(f"max_size: {max_size} is less than the journal_size, {journal_size}")
        # The daemon changes its working directory before it starts.
        self._directory = (directory or layout.default_directory()).absolute()
        self._keep = keep
        self._max_size = max_size
        self._least_free = least_free
        self._journal_size = int(journal_size)
        self._segment_size = int(segment_size)
        self._segment_age = float(segment_age)
        self._sync_interval = float(sync_interval)
        self._drop_copies = drop_copies
        self._repeats: Repeats | None = None
        # Workers call at once.
        self._repeats_lock = threading.Lock()
        self._lock: Lock | None = None
        self._journal: Journal | None = None
        self._findings: Findings | None = None
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._process: subprocess.Popen[str] | None = None
        self._complained: dict[str, float] = {}
        # The errors of the disk that no success has followed, by what was tried.
        self._errors: dict[str, str] = {}
        self._monotonic: Callable[[], float] = time.monotonic
        self._clock: Callable[[], float] = time.time
        #: Messages since the start that the compactor stored, could not read, and deleted: its last report.
        self.stored = 0
        self.damaged = 0
        self.deleted = 0
        #: How often the compactor was started again.
        self.restarts = 0
        # For one sync at a time, and the error of one that the next call of sync() raises: the system reports it once.
        self._syncing = threading.Lock()
        self._sync_error: OSError | None = None
        # The messages of the compactors before this one; what this one has reported.
        self._before = (0, 0, 0)
        self._reported: dict[str, Any] = {}
        # Since when the compactor ends soon after each start, and when the last one was started; None if it does not.
        self._ends_since: float | None = None
        self._begun_at = 0.0
        self._started_at = 0.0
        # The bytes of the journal, its oldest part, the age of that when it was first seen, and the time of that.
        self._journal_bytes: int | None = None
        self._oldest: tuple[int, float, float] | None = None
        # The parts of the journal that were removed to make room, and when that was last.
        self._removed = 0
        self._removed_at = float("-inf")

    def check(self) -> None:
        """Test the directory and the library.

        :raises RuntimeError: if the directory cannot be used.
        :raises ModuleNotFoundError: if pyarrow is missing.
        """
        _check_library()
        try:
            check_directory(self._directory)
        except RuntimeError as error:
            raise RuntimeError(f"directory: {error}") from error

    def start(self, worker_count: int) -> None:
        """Take the directory, report what a crash cost, and start the threads and the compactor.

        :raises ModuleNotFoundError: if pyarrow is missing.
        :raises RuntimeError: if the directory cannot be used, or another daemon uses it.
        """
        _check_library()
        self._started_at = self._monotonic()
        journal = self._directory / layout.JOURNAL
        try:
            for path in (self._directory, journal, self._directory / layout.SEGMENTS):
                path.mkdir(layout.DIRECTORY_MODE, parents=path == self._directory, exist_ok=True)
            self._lock = Lock(self._directory)
        except Locked as error:
            raise RuntimeError(f"directory: {error}") from error
        except OSError as error:
            raise RuntimeError(f"directory: cannot write {self._directory}: {error.strerror}") from error
        try:
            adopted = self._adopt(journal)
            # The parts first: the compactor of a daemon that was killed can still turn them into segments.
            highest = max([part.number for part in parts(journal)], default=0)
            highest = max(highest, layout.highest_number(self._directory))
            self._journal = Journal(
                journal,
                worker_count,
                first_number=highest + 1,
                part_bytes=min(PART_BYTES, self._segment_size),
                part_seconds=self._segment_age,
                most_bytes=self._journal_size,
                system=self.system,
            )
            if self._drop_copies:
                self._repeats = Repeats()
                remember(self._directory, self._repeats, damaged=_warn_damaged)
        except OSError as error:
            self._lock.release()
            raise RuntimeError(f"directory: cannot use {self._directory}: {error.strerror}") from error
        log.info("store: messages are kept in {directory}", directory=str(self._directory))
        self._findings = Findings(self._directory, worker_count, system=self.system)
        self._stopping.clear()
        for name, run in (("sync", partial(self._sync, adopted)), ("compactor", self._watch)):
            thread = self.thread(target=run, name=f"netconsd store {name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _adopt(self, journal: Path) -> list[Path]:
        """Close the parts that the last daemon left open, log what its end cost, and return the parts."""
        assert self._lock is not None
        left = adopt(journal, self.system)
        if self._lock.crashed or left:
            torn = [size for _, size in left if size]
            log.warn(
                "store: {cause}; {count} half written to the journal {verb} lost: {bytes}"
                if torn
                else "store: {cause}",
                cause=_cause(self._lock.booted, self._sync_interval),
                count=plural(len(torn), "batch", "batches"),
                verb="was" if len(torn) == 1 else "were",
                bytes=plural(sum(torn), "byte"),
            )
        return [Path(str(part.path).removesuffix(OPEN_SUFFIX)) for part, _ in left]

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        """Append messages to the journal; those that cannot be written are counted, and the error is logged."""
        if self._journal is None:
            return
        if self._repeats is not None:
            with self._repeats_lock:
                messages = self._repeats.fresh(messages)
            if not messages:
                return
        try:
            self._journal.append(worker, messages)
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
        if self._findings is None:
            return
        try:
            self._findings.append(worker, kind, finding.received_at, line_of(finding))
        except OSError as error:
            self._complain(f"write {kind} to", error)
        else:
            if self._errors:
                self._errors.pop(f"write {kind} to", None)

    def lost(self, worker: int) -> int:
        """Return how many messages, reports and events of a worker were not written, or removed from a full journal;
        any thread."""
        if self._journal is None or self._findings is None:
            return 0
        return self._journal.lost[worker] + self._findings.lost[worker]

    def _complain(self, verb: str, error: OSError) -> None:
        """Log an error of the disk once in :data:`COMPLAINT_SECONDS`; any thread."""
        self._errors[verb] = error.strerror or str(error)
        now = self._monotonic()
        if now - self._complained.get(verb, -COMPLAINT_SECONDS) >= COMPLAINT_SECONDS:
            self._complained[verb] = now
            log.error(
                "store: cannot {verb} the files in {directory}: {error}; lost messages are counted",
                verb=verb,
                directory=str(self._directory),
                error=error.strerror,
            )

    def _sync(self, adopted: list[Path]) -> None:
        """Sync once in the interval; first what the last daemon left."""
        assert self._lock is not None and self._journal is not None and self._findings is not None
        self._try_sync("sync", partial(self._lock.sync, self.system))
        if adopted:
            self._try_sync("sync", partial(sync_parts, adopted, self._journal.directory, self.system))
        while not self._stopping.wait(self._sync_interval):
            self._sync_once()

    def _sync_once(self) -> None:
        assert self._journal is not None and self._findings is not None
        with self._syncing:
            self._try_sync("sync", self._journal.sync)
            self._try_sync("sync reports and events in", self._findings.sync)
        self._look_at_journal()
        removed = self._journal.removed_parts
        if removed != self._removed:
            self._removed_at = self._monotonic()
            log.warn(
                "store: the journal is full (journal_size), or the disk is: {count} removed; {lost} lost since the "
                "start",
                count=plural(removed - self._removed, "part"),
                lost=plural(sum(self._journal.lost), "message"),
            )
            self._removed = removed

    def _try_sync(self, verb: str, sync: Callable[[], object]) -> None:
        try:
            sync()
        except OSError as error:
            self._sync_error = error
            self._complain(verb, error)
        else:
            self._errors.pop(verb, None)

    def sync(self) -> None:
        """Sync the journal, the reports and the events (:class:`netconsd.interfaces.IKeeps`).

        :raises OSError: if the disk fails.
        """
        assert self._journal is not None and self._findings is not None, "it has started"
        with self._syncing:
            self._try_sync("sync", self._journal.sync)
            self._try_sync("sync reports and events in", self._findings.sync)
            error, self._sync_error = self._sync_error, None
        if error is not None:
            raise error

    def _look_at_journal(self) -> None:
        """Measure the journal: its bytes, and since when its oldest part has not become a segment."""
        assert self._journal is not None
        try:
            self._journal_bytes = self._journal.size()
            oldest = next(iter(parts(self._journal.directory)), None)
            if oldest is None:
                self._oldest = None
            elif self._oldest is None or self._oldest[0] != oldest.number:
                # The clock of the machine is read once: it can be set.
                age = max(0.0, self._clock() - begun(oldest))
                self._oldest = oldest.number, age, self._monotonic()
        except FileNotFoundError:
            pass  # the compactor was faster; the next look finds the next part
        except OSError as error:
            self._complain("read", error)

    @property
    def lag(self) -> float | None:
        """Seconds since the beginning of the oldest part of the journal; 0 if there is none, None before a look."""
        if self._journal_bytes is None:
            return None
        oldest = self._oldest
        return 0.0 if oldest is None else oldest[1] + self._monotonic() - oldest[2]

    def metrics(self) -> list[ModuleMetric]:
        """Return what is known of the store; docs/metrics has the table."""
        reported = self._reported
        return [
            ModuleMetric("store_messages", "Messages that became rows of segments.", self.stored, counter=True),
            ModuleMetric(
                "store_copies",
                "Messages dropped because the store has them already (drop_copies).",
                0 if self._repeats is None else self._repeats.found,
                counter=True,
            ),
            ModuleMetric(
                "store_damaged_messages", "Messages in damaged blocks of the journal.", self.damaged, counter=True
            ),
            ModuleMetric(
                "store_deleted_messages", "Messages deleted by age, size or free space.", self.deleted, counter=True
            ),
            ModuleMetric(
                "store_compactor_restarts", "Starts of the compactor after it had ended.", self.restarts, counter=True
            ),
            ModuleMetric("store_journal_bytes", "Bytes of the journal.", self._journal_bytes),
            ModuleMetric("store_bytes", "Bytes of all files, up to a minute ago.", reported.get("bytes")),
            ModuleMetric("store_segments", "Segments.", reported.get("segments")),
            ModuleMetric(
                "store_oldest_message_timestamp_seconds",
                "Receipt of the oldest message in a segment, in Unix seconds.",
                reported.get("oldest"),
            ),
            ModuleMetric(
                "store_lag_seconds", "Age of the oldest part of the journal that is not yet a segment.", self.lag
            ),
        ]

    def faults(self) -> list[str]:
        """Return the reasons for which messages are lost, or do not become segments."""
        now = self._monotonic()
        found = [
            f"cannot {verb} the files in {self._directory}: {text}"
            for verb, text in sorted(self._errors.copy().items())
        ]
        if now - self._removed_at < FAULT_SECONDS:
            found.append("the journal or the disk is full: the oldest messages that are not in a segment are dropped")
        if self._reported.get("failing"):
            found.append(f"the compactor cannot write: {self._reported['failing']}")
        since, lag = self._ends_since, self.lag
        lives = self._process is not None and now - self._begun_at > RESTART_LIMIT
        if since is not None and not lives and now - since >= FAULT_SECONDS:
            found.append("the compactor ends again and again; the log has its last words")
        # A journal that the last daemon left may be of yesterday: the compactor has to get the time for it.
        elif lag is not None and lag >= self._segment_age + FAULT_SECONDS and now - self._started_at >= FAULT_SECONDS:
            found.append("the compactor is behind: messages wait for minutes to become segments")
        return found

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "netconsd.store.compactor", str(self._directory)]
        for name in ("keep", "max_size", "least_free"):
            value = getattr(self, f"_{name}")
            if value is not None:
                command += [f"--{name.replace('_', '-')}", str(float(value) if name == "keep" else int(value))]
        return [*command, "--segment-bytes", str(self._segment_size)]

    def _watch(self) -> None:
        """Run the compactor, and start it again when it ends."""
        pause = RESTART_SECONDS
        while not self._stopping.is_set():
            begun_at = self._begun_at = self._monotonic()
            self._before = self.stored, self.damaged, self.deleted
            status = self._run_compactor()
            if self._stopping.is_set():
                return
            now = self._monotonic()
            if now - begun_at > RESTART_LIMIT:
                pause = RESTART_SECONDS
                self._ends_since = now
            elif self._ends_since is None:
                self._ends_since = begun_at
            # What it said of itself is no longer so.
            self._reported = self._reported | {"failing": ""}
            log.error(
                "store: the compactor ended with status {status}; it is started again in {seconds:g} s",
                status=status,
                seconds=pause,
            )
            if self._stopping.wait(pause):
                return
            self.restarts += 1
            pause = min(2 * pause, RESTART_LIMIT)

    def _run_compactor(self) -> int | str:
        try:
            process = subprocess.Popen(
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd="/",
                env=_environment(),
                # Ctrl-C in the terminal of the daemon interrupts the daemon only, which ends the compactor.
                process_group=0,
            )
        except OSError as error:
            return str(error.strerror)
        self._process = process
        assert process.stdout is not None and process.stdin is not None
        with process:
            if self._stopping.is_set():
                process.kill()
            for line in process.stdout:
                self._heard(line)
            process.stdin.close()
        self._process = None
        return process.returncode

    def _heard(self, line: str) -> None:
        """Take a line of the compactor (its docstring has the form)."""
        try:
            event = json.loads(line)
        except ValueError:
            log.warn("store: {line}", line=line.rstrip())
            return
        if not isinstance(event, dict):
            log.warn("store: {line}", line=line.rstrip())
        elif "warn" in event:
            log.warn("store: {text}", text=event["warn"])
        else:
            self._reported = event
            self.stored, self.damaged, self.deleted = (
                before + event[name]
                for before, name in zip(self._before, ("stored", "damaged", "deleted"), strict=True)
            )

    def stop(self) -> Any:
        """Sync and close the journal, and end the compactor.

        :returns: a Deferred: closing waits for the disk, in another thread.
        """
        from twisted.internet.threads import deferToThread

        return deferToThread(self.finish)

    def finish(self) -> None:
        """Do the work of :meth:`stop`, in the calling thread."""
        self._stopping.set()
        process = self._process
        if process is not None:
            process.kill()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        self._threads.clear()
        for files in (self._journal, self._findings):
            if files is not None:
                try:
                    files.close()
                except OSError as error:
                    self._complain("sync", error)
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _cause(booted: bool | None, seconds: float) -> str:
    """Return how the last daemon ended, and what that can have cost."""
    if booted is False:
        return "netconsd was killed; the messages that it had written are all there"
    possible = f"the messages of its last {seconds:g} s can be missing"
    if booted:
        return f"the machine crashed or lost power; {possible}"
    return f"netconsd was killed, or the machine crashed; if the machine did, {possible}"


def _environment() -> dict[str, str]:
    """Return the environment of the compactor: it imports the same netconsd as this process, from any directory."""
    package = str(Path(layout.__file__).resolve().parents[2])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
    return {**os.environ, "PYTHONPATH": ":".join(paths)}


def _warn_damaged(text: str) -> None:
    log.warn("store: {text}; copies of its messages are not recognised", text=text)


def _check_library() -> None:
    if find_spec("pyarrow") is None:
        raise ModuleNotFoundError("the module store needs pyarrow: pip install 'netconsd[store]'", name="pyarrow")
