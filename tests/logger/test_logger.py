"""The file logger: files of its senders, and what becomes of them when disks, directories and descriptors fail."""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from modules.logger import Logger
from netconsd.interfaces import IBatchOutputModule, IReloadable
from netconsd.logger.files import CHECK, QUIET
from netconsd.logger.lines import log_lines
from netconsd.protocol.message import Message
from netconsd.testing import extended_message, legacy_message

A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Logger]]:
    """Makes and starts a logger for one worker that writes to ``tmp_path / "logs"``; it is stopped after the test."""
    made: list[Logger] = []

    def start(worker_count: int = 1, **settings: Any) -> Logger:
        logger = Logger(directory=tmp_path / "logs", **settings)
        logger.start(worker_count)
        made.append(logger)
        return logger

    yield start
    for logger in made:
        logger.stop()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Where the files are."""
    return tmp_path / "logs"


def batch(*texts: str, address: str = A, at: float = 0.0) -> list[Message]:
    """Messages of one sender."""
    return [extended_message(text, address=address, received_at=at) for text in texts]


def texts(path: Path) -> list[str]:
    """The texts of the lines of a file; each is finished."""
    content = path.read_text()
    assert content.endswith("\n")
    return [line.rpartition(" info   ")[2] for line in content.split("\n")[:-1]]


@contextmanager
def said() -> Iterator[list[str]]:
    """What the module logs meanwhile."""
    words: list[str] = []
    with capturedLogs() as events:
        yield words
    words += [formatEvent(event) for event in events]


@contextmanager
def limit(kind: int, value: int) -> Iterator[None]:
    """Lower one of the process's limits for a while."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def descriptors(directory: Path) -> set[str]:
    """The names of the files of the directory that this process has open."""
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
    """The logger keeps the contracts of modules that take batches and of those that reopen files."""
    logger = Logger(directory=tmp_path)
    verifyObject(IBatchOutputModule, logger)
    verifyObject(IReloadable, logger)


def test_constructor_touches_nothing(tmp_path: Path) -> None:
    """Only the start makes the directory: a directory of modules can be loaded without side effects."""
    Logger(directory=tmp_path / "logs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("kernel.log", "does not contain {address}"),
        ("", "does not contain {address}"),
        ("{address}/kernel.log", 'contains "/"'),
        ("{address}\0", "contains a control character"),
        ("{address}\n", "contains a control character"),
        (".{address}", 'starts with "."'),
        ("{address}{port}", "has nothing between two fields"),
        ("{address}-{release}", "has braces other than"),
        ("{address.packed}", "has braces other than"),
        ("{address:>40}", "has braces other than"),
        ("{address!r}", "has braces other than"),
        ("{addr{port}ess}", "has braces other than"),
        ("{{address}}", "has braces other than"),
        ("{address}" + "x" * 201, "is longer than 200 bytes"),
    ],
)
def test_bad_names(tmp_path: Path, name: str, wrong: str) -> None:
    """A template that is not made of the checked fields, or could leave the directory, is refused by name."""
    with pytest.raises(ValueError, match=rf'^name: "{re.escape(name)}" {re.escape(wrong)}'):
        Logger(directory=tmp_path, name=name)


@pytest.mark.parametrize(("setting", "value"), [("max_open_files", 0), ("rotate_bytes", -1), ("rotate_keep", 0)])
def test_bad_numbers(tmp_path: Path, setting: str, value: int) -> None:
    """A number out of range is refused, and the setting is named."""
    with pytest.raises(ValueError, match=f"^{setting}: {value} is less than {value + 1}$"):
        Logger(directory=tmp_path, **{setting: value})  # type: ignore[arg-type]


def test_start_makes_the_directory(started: Callable[..., Logger], logs: Path) -> None:
    """The directory is made at the start, and nothing is left in it."""
    started()
    assert list(logs.iterdir()) == []


def test_start_without_a_directory(tmp_path: Path) -> None:
    """A directory that cannot be made ends the start with a text that names it and the reason."""
    (tmp_path / "file").touch()
    logger = Logger(directory=tmp_path / "file" / "logs")
    with pytest.raises(RuntimeError, match=rf"^cannot write in {tmp_path}/file/logs: Not a directory$"):
        logger.start(1)


def test_start_in_a_read_only_directory() -> None:
    """A directory in which not even root can make a file ends the start."""
    with pytest.raises(RuntimeError, match=r"^cannot write in /proc/self: "):
        Logger(directory=Path("/proc/self")).start(1)


def test_relative_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative directory is relative to where the logger was made, not to where the daemon went later."""
    monkeypatch.chdir(tmp_path)
    logger = Logger(directory=Path("logs"))
    monkeypatch.chdir("/")
    logger.start(1)
    logger.stop()
    assert (tmp_path / "logs").is_dir()


def test_a_file_per_sender(started: Callable[..., Logger], logs: Path) -> None:
    """Each sender's messages are in its file, in order, as lines of the documented format."""
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
    assert texts(logs / f"{A}.log") == ["a", "b", "c"]
    assert texts(logs / f"1@{A}") == ["a", "c"]
    assert texts(logs / f"2@{A}") == ["b"]


def test_appends(started: Callable[..., Logger], logs: Path) -> None:
    """What a file held before stays."""
    started().handle_batch(0, batch("first"))
    started().handle_batch(0, batch("second"))
    assert texts(logs / f"{A}.log") == ["first", "second"]


def test_mode(started: Callable[..., Logger], logs: Path) -> None:
    """Kernel logs are not for everybody: files are made for owner and group, directories likewise."""
    before = os.umask(0)
    try:
        started().handle_batch(0, batch("text"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((logs / f"{A}.log").stat().st_mode) == 0o640
    assert stat.S_IMODE(logs.stat().st_mode) == 0o750


def test_not_inherited(started: Callable[..., Logger], logs: Path) -> None:
    """Processes that the daemon starts do not get the files."""
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
    """What the system takes in pieces is written in pieces, and nothing is lost."""
    write = os.write
    logger = started()
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    logger.handle_batch(0, batch("one", "two"))
    assert texts(logs / f"{A}.log") == ["one", "two"]
    assert logger.lost_lines == 0


def test_open_files_are_bounded(started: Callable[..., Logger], logs: Path) -> None:
    """However many senders there are, each worker keeps its share of files open: those written to last, to a second."""
    logger = started(worker_count=2, max_open_files=6)
    for worker in (0, 1):
        for host in range(20):
            logger.handle_batch(worker, batch("text", address=f"10.0.{worker}.{host}"))
    logger.handle_batch(0, batch("again", address="10.0.0.17", at=CHECK))
    logger.handle_batch(0, batch("text", address="10.0.0.20"))
    assert descriptors(logs) == {f"10.0.{host}.log" for host in ("1.17", "1.18", "1.19", "0.19", "0.17", "0.20")}
    assert len(list(logs.iterdir())) == 41
    logger.stop()
    assert descriptors(logs) == set()


def test_reload(started: Callable[..., Logger], logs: Path) -> None:
    """After a reload each worker writes to new files; what was renamed is left alone and closed."""
    logger = started(worker_count=2)
    for worker, address in enumerate((A, B)):
        logger.handle_batch(worker, batch("old", address=address))
        (logs / f"{address}.log").rename(logs / f"{address}.old")
    logger.reload()
    for worker, address in enumerate((A, B)):
        logger.handle_batch(worker, batch("new", address=address))
        assert texts(logs / f"{address}.old") == ["old"]
        assert texts(logs / f"{address}.log") == ["new"]
    assert descriptors(logs) == {f"{A}.log", f"{B}.log"}


def test_rotation(started: Callable[..., Logger], logs: Path) -> None:
    """A file that would grow beyond the limit is renamed, the older ones move on, and the oldest is dropped."""
    size = len(log_lines(batch("0", "1")))
    logger = started(rotate_bytes=size, rotate_keep=2)
    for number in range(7):
        logger.handle_batch(0, batch(str(number)))
    assert {path.name for path in logs.iterdir()} == {f"{A}.log", f"{A}.log.1", f"{A}.log.2"}
    assert texts(logs / f"{A}.log.2") == ["2", "3"]
    assert texts(logs / f"{A}.log.1") == ["4", "5"]
    assert texts(logs / f"{A}.log") == ["6"]


def test_rotation_at_start(started: Callable[..., Logger], logs: Path) -> None:
    """A file that an earlier run left full is renamed before it is written to."""
    started().handle_batch(0, batch("old"))
    started(rotate_bytes=10).handle_batch(0, batch("new"))
    assert texts(logs / f"{A}.log.1") == ["old"]
    assert texts(logs / f"{A}.log") == ["new"]


def test_large_batch_is_one_file(started: Callable[..., Logger], logs: Path) -> None:
    """A batch that is larger than the limit by itself is written all the same, without making empty files."""
    started(rotate_bytes=10).handle_batch(0, batch("one", "two"))
    assert [path.name for path in logs.iterdir()] == [f"{A}.log"]


def test_rotation_fails(started: Callable[..., Logger], logs: Path) -> None:
    """When a file cannot be renamed, it grows on and that is said once."""
    logger = started(rotate_bytes=10, rotate_keep=1)
    (logs / f"{A}.log.1" / "in the way").mkdir(parents=True)
    with said() as words:
        for number in range(3):
            logger.handle_batch(0, batch(str(number)))
    assert texts(logs / f"{A}.log") == ["0", "1", "2"]
    assert logger.lost_lines == 0
    assert len(words) == 1
    assert words[0].startswith(f"logger: cannot rotate {logs}/{A}.log: Is a directory")


def test_full_disk(started: Callable[..., Logger], logs: Path) -> None:
    """A full disk costs only the lines that go there; it is said once, and once what it cost when it is over."""
    logger = started()
    (logs / f"{A}.log").symlink_to("/dev/full")
    with said() as words:
        for number in range(3):
            logger.handle_batch(0, batch("a", "b", at=number) + batch(str(number), address=B, at=number))
    assert texts(logs / f"{B}.log") == ["0", "1", "2"]
    assert logger.lost_lines == 6
    once = "this is said once, and at its end how many lines it cost"
    assert words == [f"logger: cannot write {logs}/{A}.log: No space left on device; {once}"]
    (logs / f"{A}.log").unlink()
    with said() as words:
        for late in (0, QUIET - 1, QUIET, 2 * QUIET):
            logger.handle_batch(0, batch("back", at=2 + late))
    assert texts(logs / f"{A}.log") == ["back"] * 4
    assert logger.lost_lines == 6
    assert words == [f"logger: over for 10 s: cannot write {logs}/{A}.log: No space left on device; 6 lines were lost"]


def test_said_again_at_the_stop(started: Callable[..., Logger], logs: Path) -> None:
    """What a trouble that lasts until the stop has cost is said then."""
    logger = started()
    (logs / f"{A}.log").symlink_to("/dev/full")
    logger.handle_batch(0, batch("a", "b"))
    with said() as words:
        logger.stop()
    assert words == [f"logger: cannot write {logs}/{A}.log: No space left on device: 2 lines were lost"]


def test_a_clock_that_was_set_back_ends_no_report(started: Callable[..., Logger], logs: Path) -> None:
    """The end of a trouble is said even if the clock was set back meanwhile."""
    logger = started()
    (logs / f"{A}.log").symlink_to("/dev/full")
    logger.handle_batch(0, batch("lost", at=10_000))
    with said() as words:
        logger.handle_batch(0, batch("text", address=B, at=5))
    assert len(words) == 1
    assert words[0].endswith("; 1 lines were lost")


def test_many_files_in_trouble_are_said_once(started: Callable[..., Logger], logs: Path) -> None:
    """A trouble of all files, as a full disk is, does not fill the daemon's log."""
    logger = started()
    for host in range(20):
        (logs / f"10.0.0.{host}.log").symlink_to("/dev/full")
    with said() as words:
        logger.handle_batch(0, [message for host in range(20) for message in batch("x", address=f"10.0.0.{host}")])
    assert len(words) == 1
    assert logger.lost_lines == 20


def test_torn_line(started: Callable[..., Logger], logs: Path) -> None:
    """A line that broke off when space ran out is ended before the next one, and counted as lost with what followed."""
    logger = started()
    size = len(log_lines(batch("whole")))
    # The system would end the process by this signal, had Python not asked it to ignore it.
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
    with limit(resource.RLIMIT_FSIZE, size + 20):
        logger.handle_batch(0, batch("whole", "torn", "lost"))
    assert logger.lost_lines == 2
    logger.handle_batch(0, batch("next"))
    assert texts(logs / f"{A}.log") == ["whole", log_lines(batch("torn"))[:20].decode(), "next"]
    assert descriptors(logs) == {f"{A}.log"}


def test_torn_by_an_earlier_run(started: Callable[..., Logger], logs: Path) -> None:
    """A line that an earlier run could not finish is ended."""
    logs.mkdir()
    (logs / f"{A}.log").write_text("broken o")
    started().handle_batch(0, batch("next"))
    assert texts(logs / f"{A}.log") == ["broken o", "next"]


def test_deleted_file(started: Callable[..., Logger], logs: Path) -> None:
    """A file that was deleted while it was open is made anew with the first batch a second later."""
    logger = started()
    logger.handle_batch(0, batch("old"))
    (logs / f"{A}.log").unlink()
    logger.handle_batch(0, batch("new", at=CHECK))
    assert texts(logs / f"{A}.log") == ["new"]
    assert logger.lost_lines == 0


def test_vanished_directory(started: Callable[..., Logger], logs: Path) -> None:
    """A directory that was deleted is made anew a second later, and the files of all senders in it."""
    logger = started()
    logger.handle_batch(0, batch("old"))
    (logs / f"{A}.log").unlink()
    logs.rmdir()
    logger.handle_batch(0, batch("new", at=CHECK) + batch("other", address=B, at=CHECK))
    assert texts(logs / f"{A}.log") == ["new"]
    assert texts(logs / f"{B}.log") == ["other"]
    assert logger.lost_lines == 0


def test_directory_replaced_by_a_file(started: Callable[..., Logger], logs: Path) -> None:
    """While the directory cannot be made anew lines are lost and counted; then it goes on by itself."""
    logger = started()
    logs.rmdir()
    logs.touch()
    with said() as words:
        logger.handle_batch(0, batch("a") + batch("b", address=B))
        logger.handle_batch(0, batch("c"))
    assert logger.lost_lines == 3
    assert [word.split(";")[0] for word in words] == [f"logger: cannot write {logs}/{A}.log: Not a directory"]
    logs.unlink()
    logger.handle_batch(0, batch("d"))
    assert texts(logs / f"{A}.log") == ["d"]


def test_no_descriptors_left(started: Callable[..., Logger], logs: Path) -> None:
    """When the process cannot open any more files, the logger gets along with those that it has, and loses nothing."""
    logger = started()
    logger.handle_batch(0, batch("one") + batch("two", address=B))
    with limit(resource.RLIMIT_NOFILE, 0):
        # Nothing can be opened at all now; what is open can be written.
        with said() as words:
            logger.handle_batch(0, batch("one") + batch("two", address=B) + batch("lost", address=C))
        assert logger.lost_lines == 1
    assert [word.split(";")[0] for word in words] == [f"logger: cannot write {logs}/{C}.log: Too many open files"]
    assert texts(logs / f"{A}.log") == ["one", "one"]
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
    assert logger.lost_lines == 1
    assert texts(logs / f"{C}.log") == ["three"]


def test_unknown_error(started: Callable[..., Logger], logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever error the system gives for one file, the others are written and the next batch tries again."""
    logger = started()
    logger.handle_batch(0, batch("one") + batch("one", address=B))
    fstat = os.fstat
    failures = [OSError(116, "Stale file handle")]

    def stale_once(fd: int) -> os.stat_result:
        if failures:
            raise failures.pop()
        return fstat(fd)

    monkeypatch.setattr(os, "fstat", stale_once)
    logger.handle_batch(0, batch("two", at=CHECK) + batch("two", address=B, at=CHECK))
    logger.handle_batch(0, batch("three", at=CHECK))
    assert logger.lost_lines == 1
    assert texts(logs / f"{A}.log") == ["one", "three"]
    assert texts(logs / f"{B}.log") == ["one", "two"]
    assert descriptors(logs) == {f"{A}.log", f"{B}.log"}


def test_error_on_close(started: Callable[..., Logger], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that the system gives only when a file is closed is said."""
    logger = started()
    logger.handle_batch(0, batch("text"))
    close = os.close

    def failing(fd: int) -> None:
        close(fd)
        raise OSError(122, "Disk quota exceeded")

    with said() as words, monkeypatch.context() as context:
        context.setattr(os, "close", failing)
        logger.reload()
        logger.handle_batch(0, batch("text"))
    assert len(words) == 1
    assert "cannot close" in words[0]
    assert logger.lost_lines == 0


def test_restart(started: Callable[..., Logger], logs: Path) -> None:
    """A logger that was stopped can be started again."""
    logger = started()
    logger.handle_batch(0, batch("one"))
    logger.stop()
    logger.start(2)
    logger.handle_batch(1, batch("two"))
    assert texts(logs / f"{A}.log") == ["one", "two"]
