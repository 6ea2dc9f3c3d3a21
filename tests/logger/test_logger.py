"""The file logger: the files of senders, and failures of disks, directories and descriptors."""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from modules.logger import Logger
from netconsd.interfaces import IBatchOutputModule, ICountsLosses, IReloadable
from netconsd.logger.failures import FAILURE_SECONDS
from netconsd.logger.files import CHECK_SECONDS
from netconsd.logger.lines import log_lines
from netconsd.protocol.message import Message
from netconsd.testing import extended_message, legacy_message
from tests.support.loggers import A, B, C, batch, lines, logged


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Logger]]:
    """A function that starts a logger in ``tmp_path / "logs"``; the logger is stopped after the test."""
    loggers: list[Logger] = []

    def start(worker_count: int = 1, **settings: Any) -> Logger:
        logger = Logger(directory=tmp_path / "logs", **settings)
        logger.start(worker_count)
        loggers.append(logger)
        return logger

    yield start
    for logger in loggers:
        logger.stop()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """The directory of the files."""
    return tmp_path / "logs"


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, *full: Path) -> Iterator[None]:
    """Let the writes to these files fail within the block, as on a full disk; they may not exist yet."""
    write = os.write

    def failing(fd: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{fd}").readlink() in full:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        return write(fd, data)

    with monkeypatch.context() as context:
        context.setattr(os, "write", failing)
        yield


@contextmanager
def limit(kind: int, value: int) -> Iterator[None]:
    """Lower one of the process's limits within the block."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def descriptors(directory: Path) -> set[str]:
    """Return the names of the files of the directory that this process has open."""
    names = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = link.readlink()
        except FileNotFoundError:
            continue
        if target.parent == directory:
            names.add(target.name)
    return names


def test_interfaces(tmp_path: Path) -> None:
    """The logger provides the interfaces of modules with batches, with a reload, and with losses."""
    logger = Logger(directory=tmp_path)
    verifyObject(IBatchOutputModule, logger)
    verifyObject(IReloadable, logger)
    verifyObject(ICountsLosses, logger)


def test_constructor_touches_nothing(tmp_path: Path) -> None:
    """Only the start creates the directory, so loading a directory of modules has no side effects."""
    Logger(directory=tmp_path / "logs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("kernel.log", "does not contain {address}"),
        ("", "does not contain {address}"),
        ("{address}/kernel.log", 'contains "/"'),
        ("{address}\0", "contains a control character"),
        ("{address}\n", "contains a control character"),
        (".{address}", 'starts with "."'),
        ("{address}{port}", "has two fields without a separator"),
        ("{address}-{release}", "has braces other than"),
        ("{address.packed}", "has braces other than"),
        ("{address:>40}", "has braces other than"),
        ("{address!r}", "has braces other than"),
        ("{addr{port}ess}", "has braces other than"),
        ("{{address}}", "has braces other than"),
        ("{address}" + "x" * 201, "is longer than 200 bytes"),
    ],
)
def test_unusable_templates(tmp_path: Path, name: str, error: str) -> None:
    """A template with other fields, or one that could leave the directory, is an error that names the template."""
    with pytest.raises(ValueError, match=rf'^name: "{re.escape(name)}" {re.escape(error)}'):
        Logger(directory=tmp_path, name=name)


@pytest.mark.parametrize(("setting", "value"), [("max_open_files", 0), ("rotate_bytes", -1), ("rotate_keep", 0)])
def test_numbers_out_of_range(tmp_path: Path, setting: str, value: int) -> None:
    """A number out of range is an error that names the setting."""
    with pytest.raises(ValueError, match=f"^{setting}: {value} is less than {value + 1}$"):
        Logger(directory=tmp_path, **{setting: value})  # type: ignore[arg-type]


def test_start_creates_the_directory(started: Callable[..., Logger], logs: Path) -> None:
    """The start creates the directory and leaves nothing in it."""
    started()
    assert list(logs.iterdir()) == []


def test_start_without_a_directory(tmp_path: Path) -> None:
    """A directory that cannot be created stops the start with an error that names it and the reason."""
    (tmp_path / "file").touch()
    logger = Logger(directory=tmp_path / "file" / "logs")
    with pytest.raises(RuntimeError, match=rf"^directory: cannot write in {tmp_path}/file/logs: Not a directory$"):
        logger.start(1)


def test_start_in_a_read_only_directory() -> None:
    """A directory in which not even root can create a file stops the start."""
    with pytest.raises(RuntimeError, match=r"^directory: cannot write in /proc/self: "):
        Logger(directory=Path("/proc/self")).start(1)


def test_relative_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative directory is relative to the working directory of the constructor, not to that of the start."""
    monkeypatch.chdir(tmp_path)
    logger = Logger(directory=Path("logs"))
    monkeypatch.chdir("/")
    logger.start(1)
    logger.stop()
    assert (tmp_path / "logs").is_dir()


def test_a_file_per_sender(started: Callable[..., Logger], logs: Path) -> None:
    """Each sender's messages are in its file, in order, in the documented format."""
    messages = [
        extended_message("one", address=A, lost=2),
        legacy_message(b"two \x1b[m", address="2001:db8::7"),
        extended_message("three\nlines", address=A),
    ]
    started().handle_batch(0, messages)
    assert {path.name for path in logs.iterdir()} == {f"{A}.log", "2001:db8::7.log"}
    assert (logs / f"{A}.log").read_bytes() == log_lines([messages[0], messages[2]])
    assert (logs / "2001:db8::7.log").read_bytes() == log_lines([messages[1]])


def test_ports_share_a_file(started: Callable[..., Logger], logs: Path) -> None:
    """Two ports of an address write to one file, in order, unless the name has the port."""
    messages: list[Message] = [extended_message(text, port=port) for text, port in (("a", 1), ("b", 2), ("c", 1))]
    started().handle_batch(0, messages)
    started(name="{port}@{address}").handle_batch(0, messages)
    assert lines(logs / f"{A}.log") == ["a", "b", "c"]
    assert lines(logs / f"1@{A}") == ["a", "c"]
    assert lines(logs / f"2@{A}") == ["b"]


def test_appends(started: Callable[..., Logger], logs: Path) -> None:
    """Earlier lines of a file stay."""
    started().handle_batch(0, batch("first"))
    started().handle_batch(0, batch("second"))
    assert lines(logs / f"{A}.log") == ["first", "second"]


def test_mode(started: Callable[..., Logger], logs: Path) -> None:
    """Only owner and group may read the files and the directory, because kernel logs are confidential."""
    before = os.umask(0)
    try:
        started().handle_batch(0, batch("text"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((logs / f"{A}.log").stat().st_mode) == 0o640
    assert stat.S_IMODE(logs.stat().st_mode) == 0o750


def test_not_inherited(started: Callable[..., Logger], logs: Path) -> None:
    """Child processes do not inherit the files."""
    started().handle_batch(0, batch("text"))
    fds = [
        int(link.name) for link in Path("/proc/self/fd").iterdir() if link.exists() and link.readlink().parent == logs
    ]
    assert [os.get_inheritable(fd) for fd in fds] == [False]


def test_one_write_per_batch_and_file(started: Callable[..., Logger], monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of two senders costs two writes."""
    sizes = []
    write = os.write

    def counting(fd: int, data: bytes) -> int:
        sizes.append(data.count(b"\n"))
        return write(fd, data)

    logger = started()
    monkeypatch.setattr(os, "write", counting)
    logger.handle_batch(0, batch(*"abc") + batch("d", address=B) + batch(*"efg"))
    assert sizes == [6, 1]


def test_short_writes(started: Callable[..., Logger], logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a short write, the rest is written too, and nothing is dropped."""
    write = os.write
    logger = started()
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    logger.handle_batch(0, batch("one", "two"))
    assert lines(logs / f"{A}.log") == ["one", "two"]
    assert logger.dropped_by_error == 0


def test_open_files_are_bounded(started: Callable[..., Logger], logs: Path) -> None:
    """With any number of senders, the workers together keep the most recent files open, to a second."""
    logger = started(worker_count=2, max_open_files=6)
    for worker in (0, 1):
        for host in range(20):
            logger.handle_batch(worker, batch("text", address=f"10.0.{worker}.{host}"))
    logger.handle_batch(0, batch("again", address="10.0.0.17", at=CHECK_SECONDS))
    logger.handle_batch(0, batch("text", address="10.0.0.20"))
    assert descriptors(logs) == {f"10.0.{host}.log" for host in ("1.16", "1.17", "1.18", "1.19", "0.17", "0.20")}
    assert len(list(logs.iterdir())) == 41
    logger.stop()
    assert descriptors(logs) == set()


def test_reload(started: Callable[..., Logger], logs: Path) -> None:
    """After a reload each worker writes to new files; renamed files are closed and unchanged."""
    logger = started(worker_count=2)
    for worker, address in enumerate((A, B)):
        logger.handle_batch(worker, batch("old", address=address))
        (logs / f"{address}.log").rename(logs / f"{address}.old")
    logger.reload()
    for worker, address in enumerate((A, B)):
        logger.handle_batch(worker, batch("new", address=address))
        assert lines(logs / f"{address}.old") == ["old"]
        assert lines(logs / f"{address}.log") == ["new"]
    assert descriptors(logs) == {f"{A}.log", f"{B}.log"}


def test_rotation(started: Callable[..., Logger], logs: Path) -> None:
    """A file that would grow beyond the limit is renamed, and so are the older files; the oldest is overwritten."""
    size = len(log_lines(batch("0", "1")))
    logger = started(rotate_bytes=size, rotate_keep=2)
    for number in range(7):
        logger.handle_batch(0, batch(str(number)))
    assert {path.name for path in logs.iterdir()} == {f"{A}.log", f"{A}.log.1", f"{A}.log.2"}
    assert lines(logs / f"{A}.log.2") == ["2", "3"]
    assert lines(logs / f"{A}.log.1") == ["4", "5"]
    assert lines(logs / f"{A}.log") == ["6"]


def test_rotation_at_start(started: Callable[..., Logger], logs: Path) -> None:
    """A file that an earlier run filled is renamed before the first write."""
    started().handle_batch(0, batch("old"))
    started(rotate_bytes=10).handle_batch(0, batch("new"))
    assert lines(logs / f"{A}.log.1") == ["old"]
    assert lines(logs / f"{A}.log") == ["new"]


def test_a_large_batch_is_one_file(started: Callable[..., Logger], logs: Path) -> None:
    """A single batch above the limit is written to one file, and no empty files are created."""
    started(rotate_bytes=10).handle_batch(0, batch("one", "two"))
    assert [path.name for path in logs.iterdir()] == [f"{A}.log"]


def test_rotation_fails(started: Callable[..., Logger], logs: Path) -> None:
    """A file that cannot be renamed grows beyond the limit, and the failure is logged once."""
    logger = started(rotate_bytes=10, rotate_keep=1)
    (logs / f"{A}.log.1" / "in the way").mkdir(parents=True)
    with logged() as texts:
        for number in range(3):
            logger.handle_batch(0, batch(str(number)))
    assert lines(logs / f"{A}.log") == ["0", "1", "2"]
    assert logger.dropped_by_error == 0
    assert len(texts) == 1
    assert texts[0].startswith(f"logger: cannot rotate {logs}/{A}.log: Is a directory")


def test_full_disk(started: Callable[..., Logger], logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk drops only the lines of its files; its begin is logged once, and so are its end and its cost."""
    logger = started()
    with logged() as texts, full_disk(monkeypatch, logs / f"{A}.log"):
        for number in range(3):
            logger.handle_batch(0, batch("a", "b", at=number) + batch(str(number), address=B, at=number))
    assert lines(logs / f"{B}.log") == ["0", "1", "2"]
    assert logger.dropped_by_error == 6
    failure = f"cannot write {logs}/{A}.log: No space left on device"
    assert texts == [f"logger: {failure} (logged once; the dropped lines are logged when this is over)"]
    with logged() as texts:
        for late in (0, FAILURE_SECONDS - 1, FAILURE_SECONDS, 2 * FAILURE_SECONDS):
            logger.handle_batch(0, batch("back", at=2 + late))
    assert lines(logs / f"{A}.log") == ["back"] * 4
    assert logger.dropped_by_error == 6
    assert texts == [f"logger: over for 10 s: {failure}; 6 lines dropped"]


def test_a_failure_at_the_stop(started: Callable[..., Logger], logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop logs the lines dropped by a failure that is not over."""
    logger = started()
    with full_disk(monkeypatch, logs / f"{A}.log"):
        logger.handle_batch(0, batch("a", "b"))
    with logged() as texts:
        logger.stop()
    assert texts == [f"logger: 2 lines dropped: cannot write {logs}/{A}.log: No space left on device"]


def test_a_failure_ends_after_the_clock_was_set_back(started: Callable[..., Logger], logs: Path) -> None:
    """The end of a failure is logged even if the clock was set back meanwhile."""
    logger = started()
    (logs / f"{A}.log").mkdir()
    logger.handle_batch(0, batch("dropped", at=10_000))
    with logged() as texts:
        logger.handle_batch(0, batch("text", address=B, at=5))
    assert len(texts) == 1
    assert texts[0].endswith("; 1 line dropped")


def test_a_failure_of_many_files_is_logged_once(started: Callable[..., Logger], logs: Path) -> None:
    """A failure of all files is one line in the daemon's log."""
    logger = started()
    for host in range(20):
        (logs / f"10.0.0.{host}.log").mkdir()
    with logged() as texts:
        logger.handle_batch(0, [message for host in range(20) for message in batch("x", address=f"10.0.0.{host}")])
    assert len(texts) == 1
    assert logger.dropped_by_error == 20


def test_torn_line(started: Callable[..., Logger], logs: Path) -> None:
    """A line that was written in part is ended before the next line, and counted as dropped with the lines after it."""
    logger = started()
    size = len(log_lines(batch("whole")))
    # Python ignores this signal, which otherwise ends the process.
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
    with limit(resource.RLIMIT_FSIZE, size + 20):
        logger.handle_batch(0, batch("whole", "torn", "dropped"))
    assert logger.dropped_by_error == 2
    logger.handle_batch(0, batch("next"))
    assert lines(logs / f"{A}.log") == ["whole", log_lines(batch("torn"))[:20].decode(), "next"]
    assert descriptors(logs) == {f"{A}.log"}


def test_torn_by_an_earlier_run(started: Callable[..., Logger], logs: Path) -> None:
    """A line that an earlier run wrote in part is ended."""
    logs.mkdir()
    (logs / f"{A}.log").write_text("broken o")
    started().handle_batch(0, batch("next"))
    assert lines(logs / f"{A}.log") == ["broken o", "next"]


def test_deleted_file(started: Callable[..., Logger], logs: Path) -> None:
    """A file that was deleted while open is created again by the first batch a second later."""
    logger = started()
    logger.handle_batch(0, batch("old"))
    (logs / f"{A}.log").unlink()
    logger.handle_batch(0, batch("new", at=CHECK_SECONDS))
    assert lines(logs / f"{A}.log") == ["new"]
    assert logger.dropped_by_error == 0


def test_vanished_directory(started: Callable[..., Logger], logs: Path) -> None:
    """A directory that was deleted is created again a second later, with the files of all senders."""
    logger = started()
    logger.handle_batch(0, batch("old"))
    (logs / f"{A}.log").unlink()
    logs.rmdir()
    logger.handle_batch(0, batch("new", at=CHECK_SECONDS) + batch("other", address=B, at=CHECK_SECONDS))
    assert lines(logs / f"{A}.log") == ["new"]
    assert lines(logs / f"{B}.log") == ["other"]
    assert logger.dropped_by_error == 0


def test_directory_replaced_by_a_file(started: Callable[..., Logger], logs: Path) -> None:
    """While the directory cannot be created, lines are dropped and counted; afterwards lines are written again."""
    logger = started()
    logs.rmdir()
    logs.touch()
    with logged() as texts:
        logger.handle_batch(0, batch("a") + batch("b", address=B))
        logger.handle_batch(0, batch("c"))
    assert logger.dropped_by_error == 3
    assert [text.split(" (")[0] for text in texts] == [f"logger: cannot write {logs}/{A}.log: Not a directory"]
    logs.unlink()
    logger.handle_batch(0, batch("d"))
    assert lines(logs / f"{A}.log") == ["d"]


def test_no_descriptors_left(started: Callable[..., Logger], logs: Path) -> None:
    """When the process cannot open more files, the logger uses the descriptors that it has, and drops nothing."""
    logger = started()
    logger.handle_batch(0, batch("one") + batch("two", address=B))
    with limit(resource.RLIMIT_NOFILE, 0):
        # No file can be opened; open files can be written.
        with logged() as texts:
            logger.handle_batch(0, batch("one") + batch("two", address=B) + batch("dropped", address=C))
        assert logger.dropped_by_error == 1
    assert [text.split(" (")[0] for text in texts] == [f"logger: cannot write {logs}/{C}.log: Too many open files"]
    assert lines(logs / f"{A}.log") == ["one", "one"]
    highest = max(int(name) for name in os.listdir("/proc/self/fd") if Path(f"/proc/self/fd/{name}").exists())
    fillers = []
    with limit(resource.RLIMIT_NOFILE, highest + 1):
        try:
            while True:
                fillers.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        logger.handle_batch(0, batch("three") + batch("three", address=B) + batch("three", address=C))
        for filler in fillers:
            os.close(filler)
    assert logger.dropped_by_error == 1
    assert lines(logs / f"{C}.log") == ["three"]


def test_stale_handle(started: Callable[..., Logger], logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose check fails is opened again at its path, and nothing is dropped."""
    logger = started()
    logger.handle_batch(0, batch("one") + batch("one", address=B))
    find = os.stat
    failures = [OSError(116, "Stale file handle")]

    def stale_once(path: str) -> os.stat_result:
        if failures and str(path).endswith(f"{A}.log"):
            raise failures.pop()
        return find(path)

    with monkeypatch.context() as context:
        context.setattr(os, "stat", stale_once)
        logger.handle_batch(0, batch("two", at=CHECK_SECONDS) + batch("two", address=B, at=CHECK_SECONDS))
    assert failures == []
    assert logger.dropped_by_error == 0
    assert lines(logs / f"{A}.log") == lines(logs / f"{B}.log") == ["one", "two"]
    assert descriptors(logs) == {f"{A}.log", f"{B}.log"}


def test_unknown_error(started: Callable[..., Logger], logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any error with one file, the other files are written, and the next batch opens the file again."""
    logger = started()
    write = os.write
    failures = [OSError(116, "Stale file handle")]

    def stale_once(fd: int, data: bytes) -> int:
        if failures:
            raise failures.pop()
        return write(fd, data)

    with monkeypatch.context() as context:
        context.setattr(os, "write", stale_once)
        logger.handle_batch(0, batch("one") + batch("one", address=B))
    logger.handle_batch(0, batch("two"))
    assert logger.dropped_by_error == 1
    assert lines(logs / f"{A}.log") == ["two"]
    assert lines(logs / f"{B}.log") == ["one"]
    assert descriptors(logs) == {f"{A}.log", f"{B}.log"}


def test_error_on_close(started: Callable[..., Logger], logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error at the close of a file is a loss of unknown size: counted as such, with the worker that wrote last, and
    logged with the most lines that it can be; it is never a loss of 0 lines."""
    logger = started(worker_count=2)
    logger.handle_batch(0, batch("one", "two"))
    logger.handle_batch(1, batch("three"))
    close = os.close

    def failing(fd: int) -> None:
        close(fd)
        raise OSError(122, "Disk quota exceeded")

    with logged() as texts, monkeypatch.context() as context:
        context.setattr(os, "close", failing)
        logger.reload()
        logger.handle_batch(0, batch("text"))
    assert [text.split(" (")[0] for text in texts] == [f"logger: cannot close {logs}/{A}.log: Disk quota exceeded"]
    assert logger.dropped_by_error == 0
    assert [logger.unknown_losses(worker) for worker in (0, 1)] == [0, 1]
    with logged() as texts:
        logger.handle_batch(0, batch("text", at=FAILURE_SECONDS))
    assert len(texts) == 1
    assert texts[0].endswith("Disk quota exceeded; an unknown number of lines dropped, 3 at most")


def test_restart(started: Callable[..., Logger], logs: Path) -> None:
    """A stopped logger can be started again."""
    logger = started()
    logger.handle_batch(0, batch("one"))
    logger.stop()
    logger.start(2)
    logger.handle_batch(1, batch("two"))
    assert lines(logs / f"{A}.log") == ["one", "two"]
