"""The module store: what it was given is on disk, whatever ends its processes."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from modules import store
from modules.store import Store
from netconsd.crashes import Event, Report
from netconsd.interfaces import IBatchOutputModule, ICheckable, ICountsLosses, IEventModule, IReportModule
from netconsd.jsonl import finding_to_json
from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.findings import event_of, report_of
from netconsd.store.journal import Journal, parts, read
from netconsd.store.lock import Lock
from netconsd.store.records import unpack
from netconsd.testing import extended_message, source
from netconsd.units import Duration, Size
from tests.support.loggers import logged
from tests.support.scripted_lane import PATIENCE

#: The texts of two causes.
KILLED = "netconsd was killed; the messages that it had written are all there"
MISSING = "the messages of its last 1 s can be missing"

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")


def lines(count: int) -> list[Message]:
    """Return messages with the sequence numbers from 0."""
    return [extended_message(f"line {seq}", seq=seq) for seq in range(count)]


def in_journal(directory: Path) -> list[Message]:
    """Return the messages of the journal."""
    found = parts(directory / layout.JOURNAL)
    return [message for part in found for _, records, _ in read(part.path) for message in unpack(records)]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace the compactor by nothing that writes; return the number of its starts."""
    starts: list[int] = []

    def run(self: Store) -> int:
        starts.append(1)
        self._stopping.wait()
        return 0

    monkeypatch.setattr(Store, "_run_compactor", run)
    return starts


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Return a function that returns a started module; it is stopped after the test."""
    modules: list[Store] = []

    def start(**settings: Any) -> Store:
        module = Store(directory=tmp_path / "store", **settings)
        module.start(2)
        modules.append(module)
        return module

    yield start
    for module in modules:
        module.finish()


def test_it_is_a_module(tmp_path: Path) -> None:
    """It has the methods of its interfaces, and starts only if it is named."""
    module = Store(directory=tmp_path)
    for interface in (IBatchOutputModule, IReportModule, IEventModule, ICountsLosses, ICheckable):
        verifyObject(interface, module)
    assert module.only_if_named


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"sync_interval": Duration(0)}, "sync_interval"),
        ({"segment_size": Size("1G")}, "segment_size"),
        ({"segment_age": Duration(0)}, "segment_age"),
        ({"journal_size": Size("1M")}, "journal_size"),
        ({"max_size": Size("1M")}, "max_size"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, settings: dict[str, Any], name: str) -> None:
    """A setting out of range stops the start, with its name."""
    with pytest.raises(ValueError, match=f"^{name}: "):
        Store(directory=tmp_path, **settings)


def test_messages_are_in_the_journal_at_once(tmp_path: Path, made: Callable[..., Store], quiet: list[int]) -> None:
    """What a worker gave is found when the call returned; the stop closes the parts."""
    module = made()
    module.handle_batch(1, lines(5))
    assert in_journal(tmp_path / "store") == lines(5)
    module.finish()
    assert [part.is_open for part in parts(tmp_path / "store" / layout.JOURNAL)] == [False]
    assert module.lost(1) == 0


def test_reports_and_events_are_beside_the_messages(
    tmp_path: Path, made: Callable[..., Store], quiet: list[int]
) -> None:
    """A report and an event are in the file of their day, as the module jsonl writes them."""
    module = made()
    report = Report("BUG: x", "bug", "degraded", source=source(), messages=tuple(lines(2)), received_at=86400.0)
    event = Event("lost", source(), 86400.0, "2 messages were lost", lines(1)[0], {"count": 2})
    module.handle_report(0, report)
    module.handle_event(1, event)
    module.finish()
    for kind, finding in (("reports", report), ("events", event)):
        path = tmp_path / "store" / kind / "1970-01-02.jsonl"
        line = path.read_bytes()
        assert (report_of if kind == "reports" else event_of)(line) == finding
        assert json.loads(finding_to_json(finding)).items() <= json.loads(line).items()


def test_two_stores_in_one_directory_are_refused(made: Callable[..., Store], quiet: list[int]) -> None:
    """The second is refused with the process of the first, and the first continues."""
    module = made()
    with pytest.raises(RuntimeError, match=f"process {os.getpid()}; give this one another directory"):
        made()
    module.handle_batch(0, lines(1))
    module.finish()
    made().handle_batch(0, lines(1))


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file in place of the directory stops the start and the check, with the path."""
    (tmp_path / "store").write_text("")
    module = Store(directory=tmp_path / "store")
    for attempt in (module.check, lambda: module.start(1)):
        with pytest.raises(RuntimeError, match=f"^directory: .*{tmp_path}"):
            attempt()


def test_the_library_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without pyarrow neither the start nor the check succeeds; the text says what to install."""
    monkeypatch.setattr(store, "find_spec", lambda _: None)
    module = Store(directory=tmp_path)
    for attempt in (module.check, lambda: module.start(1)):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'netconsd\[store\]'"):
            attempt()


@pytest.mark.parametrize(
    ("holder", "torn", "expected"),
    [
        ("77\nthis boot", b"", f"store: {KILLED}"),
        (
            "77\nthis boot",
            b"\x40\0\0\0\1\2\3\4\1\0\0\0\0\0\0\0half",
            f"store: {KILLED}; 1 batch half written to the journal was lost: 20 bytes",
        ),
        (
            "77\nanother boot",
            b"",
            f"store: the machine crashed or lost power; {MISSING}",
        ),
        (
            "77",
            b"",
            f"store: netconsd was killed, or the machine crashed; if the machine did, {MISSING}",
        ),
    ],
    ids=["killed", "torn", "power", "unknown"],
)
def test_a_crash_is_reported(
    tmp_path: Path,
    made: Callable[..., Store],
    quiet: list[int],
    monkeypatch: pytest.MonkeyPatch,
    holder: str,
    torn: bytes,
    expected: str,
) -> None:
    """After a crash the next start says what it cost, and keeps everything that is whole; after a stop, nothing."""
    journal = tmp_path / "store" / layout.JOURNAL
    journal.mkdir(parents=True)
    (tmp_path / "boot").write_text("this boot\n")
    monkeypatch.setattr(store, "Lock", partial(Lock, boot_id=tmp_path / "boot"))
    (tmp_path / "store" / "lock").write_text(holder)
    Journal(journal, 1, first_number=1, part_bytes=1 << 20, part_seconds=60, most_bytes=1 << 30).append(0, lines(3))
    path = parts(journal)[0].path
    path.write_bytes(path.read_bytes() + torn)
    with logged() as texts:
        made().finish()
        made()
    assert [text for text in texts if "messages are kept" not in text] == [expected]
    assert [part.is_open for part in parts(journal)] == [False]
    assert in_journal(tmp_path / "store") == lines(3)


def test_a_power_cut_without_a_part_is_reported(
    tmp_path: Path, made: Callable[..., Store], quiet: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no part had reached the disk yet, the next start reports the crash nevertheless, by the lock, which was synced
    when the store started."""
    (tmp_path / "boot").write_text("this boot\n")
    monkeypatch.setattr(store, "Lock", partial(Lock, boot_id=tmp_path / "boot"))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "lock").write_text("77\nanother boot\n")
    with logged() as texts:
        made()
    assert [text for text in texts if "lost power" in text]


def test_a_full_disk_is_counted_and_logged_once(made: Callable[..., Store], quiet: list[int], monkeypatch: Any) -> None:
    """Messages that cannot be written are counted for their worker; the log says so once in a minute."""
    module = made()
    assert module._journal is not None

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module._journal._writers[1], "_write", fail)
    with logged() as texts:
        module.handle_batch(1, lines(4))
        module.handle_batch(1, lines(4))
    assert (module.lost(0), module.lost(1)) == (0, 8)
    assert len([line for line in texts if "No space left" in line]) == 1


def test_an_error_of_a_sync_is_reported_once(
    made: Callable[..., Store], quiet: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync that fails, also that of the store's own thread, fails the next call of sync(): the system reports an
    error of a file once, and what is acknowledged afterwards would not be on the disk."""
    module = made(sync_interval=Duration("60s"))
    assert module._journal is not None
    module.handle_batch(0, lines(4))
    module.sync()

    def fail(*, end: bool) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(module._journal, "_sync", fail)
        module._sync_once()
    with pytest.raises(OSError, match="Input/output error"):
        module.sync()
    module.sync()


def test_numbers_continue_after_those_of_segments(tmp_path: Path, made: Callable[..., Store], quiet: list[int]) -> None:
    """A new part has a higher number than every segment, also if the journal is empty."""
    day = tmp_path / "store" / layout.SEGMENTS / "2026-11-22"
    day.mkdir(parents=True)
    (day / "14-0000000000000041-2.parquet").write_bytes(b"")
    made().handle_batch(0, lines(1))
    assert [part.number for part in parts(tmp_path / "store" / layout.JOURNAL)] == [42]


def test_the_compactor_is_started_again(made: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """A compactor that ends is started again, each time after a longer pause; the log has its status."""
    pauses: list[float] = []
    enough = threading.Event()
    monkeypatch.setattr(Store, "_run_compactor", lambda _: 9)

    class Stopping(threading.Event):
        """An event that nobody waits for."""

        def wait(self, timeout: float | None = None) -> bool:
            if timeout is not None and threading.current_thread().name.endswith("compactor"):
                pauses.append(timeout)
                if len(pauses) < 9:
                    return False
                enough.set()
            return super().wait()

    monkeypatch.setattr("modules.store.threading.Event", Stopping)
    with logged() as texts:
        module = made()
        assert enough.wait(PATIENCE)
        module.finish()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert any("status 9" in line for line in texts)


def test_the_compactor_says_what_it_does(tmp_path: Path) -> None:
    """Its warnings are logged, its numbers kept, and other lines logged as they are."""
    module = Store(directory=tmp_path)
    with logged() as texts:
        module._heard(json.dumps({"warn": "a segment is damaged"}) + "\n")
        module._heard(json.dumps({"stored": 5, "damaged": 1, "deleted": 2}) + "\n")
        module._heard("Traceback\n")
    assert (module.stored, module.damaged, module.deleted) == (5, 1, 2)
    assert any("a segment is damaged" in line for line in texts) and any("Traceback" in line for line in texts)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_messages_become_segments_also_if_the_compactor_is_killed(
    tmp_path: Path, made: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real process makes segments of the journal, is started again when it is killed, and ends with the module."""
    stored = threading.Event()
    heard = Store._heard

    def hear(self: Store, line: str) -> None:
        heard(self, line)
        if self.stored:
            stored.set()

    monkeypatch.setattr(Store, "_heard", hear)
    monkeypatch.setattr(store, "RESTART_SECONDS", 0.01)
    module = made(keep=None, segment_age=Duration(1), sync_interval=Duration(0.05))
    module.handle_batch(0, lines(5))
    assert stored.wait(PATIENCE)
    assert [file.number for file in layout.segment_files(tmp_path / "store")] == [1]
    assert module._process is not None
    # The end of the service, or Ctrl-C in its terminal, is for the daemon.
    os.kill(module._process.pid, signal.SIGTERM)
    assert os.getpgid(module._process.pid) == module._process.pid
    stored.clear()
    module.stored = 0
    module.handle_batch(0, lines(5))
    assert stored.wait(PATIENCE)
    assert [file.number for file in layout.segment_files(tmp_path / "store")] == [1, 2]
    assert module.restarts == 0
    os.kill(module._process.pid, signal.SIGKILL)
    stored.clear()
    module.stored = 0
    module.handle_batch(0, lines(5))
    assert stored.wait(PATIENCE)
    assert [file.number for file in layout.segment_files(tmp_path / "store")] == [1, 2, 3]
    module.finish()
    Lock(tmp_path / "store", "compactor.lock").release()
