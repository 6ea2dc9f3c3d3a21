"""The module store says whether it works: metrics, faults, and in which threads it waits for the disk."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from modules import store
from modules.store import FAULT_SECONDS, RESTART_LIMIT, Store
from netconsd.crashes import Event
from netconsd.interfaces import IExportsMetrics
from netconsd.outputs.runner import Outputs, RunningModule
from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.journal import parts, read
from netconsd.store.lock import Lock
from netconsd.store.records import unpack
from netconsd.testing import RecordingModule, extended_message, source
from netconsd.units import Duration
from tests.support.loggers import logged
from tests.support.outputs import done
from tests.support.scripted_lane import PATIENCE, Mailbox

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")


def lines(count: int, start: int = 0) -> list[Message]:
    """Return messages with sequence numbers."""
    return [extended_message(f"line {seq}", seq=seq) for seq in range(start, start + count)]


def event(day: int) -> Event:
    """Return an event of a day of 1970."""
    return Event("lost", source(), 86400.0 * day, "2 messages were lost", lines(1)[0], {"count": 2})


EVENT = event(1)


class NoThread:
    """Replaces a thread: does nothing. The test calls what the thread does."""

    def __init__(self, **_: object) -> None: ...

    def start(self) -> None: ...

    def join(self, timeout: float) -> None: ...


class Disk:
    """The operating system, which records who waits for the disk, and is full when it is told to."""

    def __init__(self) -> None:
        self.full = False
        self.wait: Callable[[], object] = lambda: None
        self.syncs: list[tuple[str, threading.Thread]] = []
        self.synced: list[str] = []

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)

        def called(*arguments: Any) -> Any:
            if name == "pwrite":
                self.wait()
            if name in ("fdatasync", "fsync"):
                self.syncs.append((name, threading.current_thread()))
                self.synced.append(os.readlink(f"/proc/self/fd/{arguments[0]}"))
            if name == "pwrite" and self.full:
                raise OSError(ENOSPC, "No space left on device")
            return call(*arguments)

        return called


@pytest.fixture
def disk() -> Disk:
    """A disk."""
    return Disk()


@pytest.fixture
def made(tmp_path: Path, disk: Disk) -> Iterator[Callable[..., Store]]:
    """Return a function that returns a started module without threads; its time is the attribute ``now``."""
    modules: list[Store] = []

    def start(thread: Any = NoThread, **settings: Any) -> Any:
        module: Any = Store(directory=tmp_path / "store", **settings)
        module.system, module.thread, module.now = disk, thread, 1000.0
        module._monotonic = lambda: module.now
        module._clock = lambda: module.now
        module.start(2)
        modules.append(module)
        return module

    yield start
    for module in modules:
        module.finish()


def values(module: Store) -> dict[str, float | None]:
    """Return the metrics by name, without the prefix."""
    return {metric.name.removeprefix("store_"): metric.value for metric in module.metrics()}


def test_the_metrics_are_those_of_the_contract(made: Callable[..., Any]) -> None:
    """It exports what can be shown; before the compactor has said something, its numbers are unknown."""
    module = made()
    verifyObject(IExportsMetrics, module)
    running = RunningModule("store", module, 2, lambda *_: pytest.fail("the metrics cannot be shown"))
    assert len(running.metrics()) == len(module.metrics()) == 10
    assert [name for name, value in values(module).items() if value is None] == [
        "journal_bytes",
        "bytes",
        "segments",
        "oldest_message_timestamp_seconds",
        "lag_seconds",
    ]
    assert running.faults() == ()


def test_counters_go_on_over_restarts_of_the_compactor(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each compactor counts from 0; the metrics are the sums, and count the restarts."""
    module = made()
    runs: list[int] = []
    said = {"segments": 3, "bytes": 9, "oldest": 5.0, "failing": ""}

    def run(self: Store) -> int:
        runs.append(1)
        self._heard(json.dumps({"stored": 10, "damaged": 2, "deleted": 1, **said}))
        if len(runs) == 3:
            self._stopping.set()
        return 9

    monkeypatch.setattr(Store, "_run_compactor", run)
    monkeypatch.setattr(store, "RESTART_SECONDS", 0.0)
    with logged():
        module._watch()
    found = values(module)
    assert (found["messages"], found["damaged_messages"], found["deleted_messages"]) == (30, 6, 3)
    assert found["compactor_restarts"] == 2
    assert (found["segments"], found["bytes"], found["oldest_message_timestamp_seconds"]) == (3, 9, 5.0)


def test_the_lag_is_the_age_of_the_oldest_part(made: Callable[..., Any]) -> None:
    """It grows while a part is no segment, whatever the clock of the machine does, and is 0 without a part."""
    module = made()
    module._sync_once()
    assert values(module)["lag_seconds"] == 0.0
    assert values(module)["journal_bytes"] == 0
    module._journal._clock = lambda: 990.0
    module.handle_batch(0, lines(3))
    module._sync_once()
    assert values(module)["lag_seconds"] == 10.0
    module.now += 5
    module._clock = lambda: -1e9
    module._sync_once()
    assert values(module)["lag_seconds"] == 15.0
    assert values(module)["journal_bytes"] == parts(module._journal.directory)[0].path.stat().st_size


def test_a_compactor_that_is_behind_is_a_fault(made: Callable[..., Any]) -> None:
    """A part that has waited for minutes longer than it should is named."""
    module = made(segment_age=Duration("10s"))
    module._journal._clock = lambda: module.now
    module.handle_batch(0, lines(1))
    module._sync_once()
    module.now += 10 + FAULT_SECONDS - 1
    assert module.faults() == []
    module.now += 1
    assert module.faults() == ["the compactor is behind: messages wait for minutes to become segments"]


def test_a_journal_of_yesterday_is_no_fault_at_the_start(made: Callable[..., Any]) -> None:
    """What the last daemon left has to become a segment within minutes of this one's start."""
    module = made(segment_age=Duration("10s"))
    module._journal._clock = lambda: module.now - 86400
    module.handle_batch(0, lines(1))
    module._sync_once()
    assert module.lag > 86000
    module.now += FAULT_SECONDS - 1
    assert module.faults() == []
    module.now += 1
    assert module.faults() == ["the compactor is behind: messages wait for minutes to become segments"]


def test_a_compactor_that_ends_again_and_again_is_a_fault(made: Callable[..., Any]) -> None:
    """It is one after minutes, also in the pauses, and none when the process has lived for a minute."""
    module = made()
    module._ends_since = module.now
    module.now += FAULT_SECONDS - 1
    module._begun_at = module.now
    assert module.faults() == []
    module.now += 1
    assert module.faults() == ["the compactor ends again and again; the log has its last words"]
    module._process = type("Process", (), {"kill": lambda self: None})()
    module.now += RESTART_LIMIT
    assert module.faults() == []


def test_a_full_disk_is_a_fault_until_something_is_written(made: Callable[..., Any], disk: Disk) -> None:
    """The journal, and reports and events, each name the disk's error, until a write succeeds."""
    module = made()
    disk.full = True
    with logged():
        module.handle_batch(0, lines(2))
        module.handle_event(0, EVENT)
    directory = module._directory
    assert module.faults() == [
        f"cannot write the files in {directory}: No space left on device",
        f"cannot write events to the files in {directory}: No space left on device",
    ]
    assert module.lost(0) == 3
    disk.full = False
    module.handle_batch(0, lines(2))
    module.handle_event(0, EVENT)
    assert module.faults() == []


def test_what_the_compactor_cannot_write_is_a_fault(made: Callable[..., Any]) -> None:
    """The error that the compactor names is one until it names none."""
    module = made()
    said = {"stored": 0, "damaged": 0, "deleted": 0}
    module._heard(json.dumps({**said, "failing": "No space left on device"}))
    assert module.faults() == ["the compactor cannot write: No space left on device"]
    module._heard(json.dumps({**said, "failing": ""}))
    assert module.faults() == []


def test_a_journal_that_drops_its_oldest_is_a_fault(made: Callable[..., Any]) -> None:
    """Parts that were removed to make room are logged and counted, and are a fault for some minutes."""
    module = made()
    module.handle_batch(0, lines(3))
    module._journal._writers[0].sync(end=True)
    assert module._journal.make_room()
    with logged() as texts:
        module._sync_once()
    assert module.lost(0) == 3
    assert len(texts) == 1 and "3 messages lost" in texts[0]
    assert len(module.faults()) == 1
    module.now += FAULT_SECONDS
    assert module.faults() == []


def test_only_the_thread_of_the_syncs_waits_for_the_disk(
    made: Callable[..., Any], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sync is made in a thread that hands over messages, nor in that of the start: parts end, days change, another
    daemon's parts are adopted."""
    monkeypatch.setattr(store, "PART_BYTES", 100)
    monkeypatch.setattr(Store, "_watch", lambda self: None)
    before = made()
    before.handle_batch(0, lines(3))
    before._lock.release()
    module = made(thread=threading.Thread, sync_interval=Duration("0.05s"))
    for day in range(3):
        for worker in (0, 1):
            module.handle_batch(worker, lines(3))
            module.handle_event(worker, event(day))
    done = threading.Event()
    monkeypatch.setattr(module, "_look_at_journal", done.set)
    assert done.wait(PATIENCE)
    module._stopping.set()
    for thread in module._threads:
        thread.join(PATIENCE)
    assert disk.syncs
    assert {thread.name for _, thread in disk.syncs} == {"netconsd store sync"}
    adopted = parts(module._journal.directory)[0].path
    assert str(adopted) in disk.synced, "what the last daemon left is synced as well"


def test_a_power_cut_costs_what_was_not_synced(
    tmp_path: Path, made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut everything that was synced is found; what came after is not, and the next start says so."""
    monkeypatch.setattr(store, "Lock", lambda directory: Lock(directory, boot_id=tmp_path / "boot"))
    (tmp_path / "boot").write_text("one")
    module = made()
    module.handle_batch(0, lines(3))
    module._sync_once()
    path = parts(module._journal.directory)[0].path
    synced = path.read_bytes()
    module.handle_batch(0, lines(3, start=3))
    os.close(module._lock._fd)
    module._lock = None
    # Of a block that was not synced, some pages can be there.
    path.write_bytes(synced + path.read_bytes()[len(synced) :][:100])
    (tmp_path / "boot").write_text("two")
    with logged() as texts:
        again = made()
    assert [text for text in texts if "lost power" in text and "100 bytes" in text]
    found = [message for _, records, _ in read(parts(again._journal.directory)[0].path) for message in unpack(records)]
    assert found == lines(3)


def test_others_of_the_group_can_read(made: Callable[..., Any], tmp_path: Path) -> None:
    """Directories are readable by the group, files too, and neither by others; with the umask of the service."""
    umask = os.umask(0o027)
    try:
        module = made()
        module.handle_batch(0, lines(1))
        module.handle_event(0, EVENT)
        module._sync_once()
    finally:
        os.umask(umask)
    modes = {path.relative_to(tmp_path): path.stat().st_mode & 0o777 for path in (tmp_path / "store").rglob("*")}
    assert {mode for path, mode in modes.items() if path.suffix or path.name == "lock"} == {0o640}
    assert {mode for path, mode in modes.items() if not path.suffix and path.name != "lock"} == {0o750}
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o750
    assert layout.DIRECTORY_MODE == 0o750


def test_a_disk_that_hangs_holds_up_nobody_else(tmp_path: Path, disk: Disk) -> None:
    """While a write does not return, the worker hands over every message at once, another module gets them, and the
    store drops and counts those beyond its queue."""
    module: Any = Store(directory=tmp_path / "store")
    module.system, module.thread = disk, NoThread
    hanging, release, seen = threading.Event(), threading.Event(), threading.Semaphore(0)

    class Other(RecordingModule):
        def handle(self, worker: int, message: Message) -> None:
            seen.release()

    def hang() -> None:
        hanging.set()
        assert release.wait(PATIENCE)

    disk.wait = hang
    # Not one that makes the calls in the queues' threads: without the GIL, two that end at once break the Deferred.
    mailbox: Any = Mailbox()
    outputs = Outputs({"store": module, "other": Other()}, 1, queue=5)
    done(outputs.start(mailbox))
    try:
        outputs.deliver(0, lines(1))
        assert hanging.wait(PATIENCE) and seen.acquire(timeout=PATIENCE)
        for number in range(1, 20):
            outputs.deliver(0, lines(1, start=number))
            assert seen.acquire(timeout=PATIENCE)
        counters = outputs.started[0].counters[0]
        assert counters.dropped_queue_full == 20 - counters.queued > 0
    finally:
        release.set()
        mailbox.wait_for(outputs.finish())
        module.finish()
